#!/bin/sh
# Builds the program of a folder and becomes it, so that its exit code is the action's. Arguments: the toolchain,
# the folder, what to build in it, and what the program is given. The folder stays as it is.
set -eu
go=$1 folder=$2 what=$3
shift 3
started=$PWD
cd "$folder"
"$go" build -o "$TMPDIR/program" "$what"
cd "$started"
exec "$TMPDIR/program" "$@"
