//! The contract in `wit/`, as Rust: generated once here, used by every component.
#![allow(clippy::pedantic, reason = "generated code")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "runtime",
    pub_export_macro: true,
    default_bindings_module: "attune_plugin::bindings",
});
