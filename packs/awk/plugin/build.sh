#!/bin/sh
# Builds the component and puts it where the pack has it. The tool for that is installed into `node_modules`.
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || npm install --no-audit --no-fund --loglevel error
node build.mjs
