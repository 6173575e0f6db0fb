#!/bin/sh
# Builds the component and puts it where the pack has it. COMPONENTIZE_PY may name the program to do it with; otherwise it is
# installed into `.venv`.
set -eu
cd "$(dirname "$0")"
if [ -z "${COMPONENTIZE_PY:-}" ]; then
    [ -x .venv/bin/componentize-py ] || {
        python3 -m venv .venv
        .venv/bin/pip install --quiet --requirement requirements.txt
    }
    COMPONENTIZE_PY=.venv/bin/componentize-py
fi
mkdir -p ../components
"$COMPONENTIZE_PY" --wit-path ../../../wit --world runtime componentize component --output ../components/tcl.wasm
