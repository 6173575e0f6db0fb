//! Rust types and traits generated from `wit/`. Nothing is written by hand here, and nothing outside
//! [`plugin`](crate::plugin) sees them: `convert` turns them into the host's own model.

#![allow(
    unreachable_pub,
    clippy::pedantic,
    reason = "generated code follows the generator's conventions, not ours"
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "runtime",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "attune:runtime/tools.executable": crate::plugin::program::Executable,
    },
});
