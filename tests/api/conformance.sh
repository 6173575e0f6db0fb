#!/bin/bash
# Asks a server of the API, in a data folder of its own, for whatever its document allows, and for what it does not:
# conformance.sh PROGRAM BIN [MAX_EXAMPLES], where BIN has schemathesis,
# openapi-spec-validator and openapi-python-client.
# None of it may be a 5xx, a status that the document does not name, or an answer that is not of its schema.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
program=$(realpath "$1") tools=$(realpath "$2") examples=${3:-15}
folder=$(mktemp -d)
# Where it keeps what it found.
cd "$folder"
mkdir "$folder/data"
export ATTUNE_DATA_DIR=$folder/data
"$program" serve --listen 127.0.0.1:0 --json >"$folder/events" 2>"$folder/log" &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; cd /; rm -rf "$folder"' EXIT
for _ in $(seq 300); do
    [ -s "$folder/events" ] && break
    sleep 0.1
done
url=$(python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["url"])' <"$folder/events")
curl -sf "$url/openapi.json" >"$folder/openapi.json"
"$tools/openapi-spec-validator" "$folder/openapi.json"
# What others make of the document can be used.
"$tools/openapi-python-client" generate --path "$folder/openapi.json" --output-path "$folder/generated" --meta none 2>"$folder/generating"
PYTHONPATH=$folder "$tools/python" "$here/client.py" "${url%/api/v1}" "$(cat "$ATTUNE_DATA_DIR/admin.token")"
# What is right by its schema may still be refused: there may be no such action. Revoking the token that asks would end it, and
# what follows all executions does not end.
"$tools/schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" --seed 1 --max-examples "$examples" --no-color \
    --exclude-checks positive_data_acceptance --exclude-operation-id revoke_token --exclude-operation-id follow_executions -H "Authorization: Bearer $(cat "$ATTUNE_DATA_DIR/admin.token")" || {
    cat "$folder/log"
    exit 1
}
