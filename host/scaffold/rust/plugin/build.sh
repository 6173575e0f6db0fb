#!/bin/sh
# Builds the component and puts it where the pack has it.
set -eu
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip2 --target-dir target
mkdir -p ../components
cp target/wasm32-wasip2/release/component.wasm ../components/{{name}}.wasm
