//! What every runtime component needs: the bindings of the contract, and the stages that do not depend
//! on a language.
//!
//! A component is a `lib.rs` that implements the exports and nothing else, with its logic beside it.
//! The logic sees the outside only through a [`Machine`], so that it runs natively in tests. What a
//! language is like (its probe, its environments, its package installer) is not in here.

pub mod bindings;
pub mod declared;
pub mod failure;
pub mod frame;
#[cfg(target_family = "wasm")]
pub mod host;
pub mod interpreter;
#[cfg(all(feature = "local", unix))]
pub mod local;
pub mod machine;
pub mod plan;
pub mod shim;
pub mod version;

pub use bindings::attune::runtime::{files, log, patterns, tools, types};
pub use bindings::exports::attune::runtime::{detection, environment, verification};
pub use machine::{Machine, Program};
