//! The component of the runtime `{{name}}`. `logic` is what {{name}} is like, and runs anywhere, so that `cargo test`
//! can test it; `component` is how the host calls it, and exists in WebAssembly alone.

#[cfg(target_family = "wasm")]
mod component;
pub mod logic;
