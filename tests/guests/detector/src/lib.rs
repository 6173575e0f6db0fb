//! Detects nothing, and exports nothing else.
//!
//! Only for WebAssembly: an exported function can't be linked into a native library.
#![cfg(target_family = "wasm")]

mod bindings {
    #![allow(
        clippy::pedantic,
        unreachable_pub,
        reason = "generated code follows the generator's conventions"
    )]
    wit_bindgen::generate!({ path: "../../../wit", world: "detector" });
    use super::Detector;
    export!(Detector with_types_in self);
}

use bindings::exports::attune::runtime::detection::{
    Alias, Candidate, DeclaredVersion, Failure, Guest, Request,
};

struct Detector;

impl Guest for Detector {
    fn detect(_: Request) -> Result<Vec<Candidate>, Failure> {
        Ok(Vec::new())
    }

    fn aliases(versions: Vec<DeclaredVersion>) -> Vec<Alias> {
        let newest = versions.last();
        newest
            .map(|version| Alias { name: "latest".to_owned(), constraint: version.version.clone() })
            .into_iter()
            .collect()
    }
}
