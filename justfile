# What people type; CI types the same.

set shell := ["bash", "-euo", "pipefail", "-c"]

# The packages that are components
components := "-p attune-plugin-declarative -p attune-plugin-python -p attune-plugin-node -p attune-plugin-go -p attune-plugin-java -p attune-plugin-ruby"

# List the recipes
default:
    @just --list

# Everything that must hold before a change lands, tests apart
check: fmt clippy doc

# Formatting
fmt:
    cargo fmt --all --check

# Lints, for the host and for the components as they are shipped
clippy:
    cargo clippy --release --workspace --all-targets -- -D warnings
    cargo clippy --release --target wasm32-wasip2 -p attune-plugin {{components}} -- -D warnings

# Documentation, without broken links
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --document-private-items

# All tests
test:
    cargo test --release --workspace

# The tests of the program again, with PostgreSQL as its database
test-postgres:
    ATTUNE_TEST_DATABASE=postgres cargo test --release --workspace --test it

# The components' own tests as WebAssembly, with the host's imports on machines that are only described
test-components:
    cargo build --release
    ATTUNE_TEST_PACK="$PWD/packs/core" ATTUNE_TEST_RUNTIME=core.shell \
    CARGO_TARGET_WASM32_WASIP2_RUNNER="$PWD/target/release/attune plugin test-runner" \
        cargo test --profile plugin --target wasm32-wasip2 --target-dir target/guests {{components}}

# The same as cargo-component builds them, where it is installed
test-cargo-component:
    cargo build --release
    ATTUNE_TEST_PACK="$PWD/packs/core" ATTUNE_TEST_RUNTIME=core.shell \
    ATTUNE_TEST_MACHINE="$PWD/plugins/declarative/machine.yaml" \
    CARGO_TARGET_WASM32_WASIP1_RUNNER="$PWD/target/release/attune plugin test-runner" \
        cargo component test --profile plugin --target-dir target/guests {{components}}

# Whatever the API's document allows, and what it does not, asked of a server: schemathesis is in `tools`
conformance tools="target/api-tools/bin" examples="15":
    cargo build --release
    tests/api/conformance.sh target/release/attune {{tools}} {{examples}}

# The document that describes the API, by Redocly's rules: `npm install @redocly/cli` brings the linter
lint-api redocly="redocly":
    {{redocly}} lint docs/openapi.json

# A worker that is killed again and again, for longer than the tests have time for
crash crashes="100":
    ATTUNE_TEST_CRASHES={{crashes}} cargo test --release --workspace --test it killed_again_and_again

# Every benchmark, each figure beside its baseline
bench: bench-plugin bench-run bench-queue

# One call of a component: store, instance, call, drop
bench-plugin:
    cargo bench --profile release --bench plugin_call

# What Attune adds to a process start; detection and environments against uv and venv
bench-run:
    cargo build --release
    python3 bench/run.py

# Executions through the queue, against a bare loop of process starts
bench-queue *arguments:
    cargo build --release
    python3 bench/queue.py {{arguments}}

# Other queues beside Attune, with equal slots and durability
bench-compare *arguments:
    cargo build --release
    python3 bench/compare.py {{arguments}}

# The API under load: reads at a steady rate, what it takes into the queue, open streams; needs `oha`
bench-api *arguments:
    cargo build --release
    python3 bench/api.py {{arguments}}

# The built components beside the packs that ship them, to install these from their folders
components:
    cargo build --release
    mkdir -p packs/core/components
    for file in target/plugins/wasm32-wasip2/plugin/attune_plugin_*.wasm; do \
        name=${file##*attune_plugin_}; cp "$file" "packs/core/components/$name"; \
    done
    for plugin in packs/*/plugin; do \
        if [ -e "$plugin/build.sh" ]; then sh "$plugin/build.sh"; continue; fi; \
        name=$(basename "$(dirname "$plugin")"); mkdir -p "packs/$name/components"; \
        cargo build --profile plugin --target wasm32-wasip2 -p "attune-plugin-$name"; \
        cp "target/wasm32-wasip2/plugin/attune_plugin_$name.wasm" "packs/$name/components/$name.wasm"; \
    done

# The binary that a release ships: slow to build, fast to run
dist:
    cargo build --profile dist
