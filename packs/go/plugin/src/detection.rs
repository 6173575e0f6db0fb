//! Which programs are Go toolchains.

use attune_plugin::Machine;
use attune_plugin::detection::{Alias, Candidate};
use attune_plugin::interpreter::{self, Probe};

use crate::probe;

/// Everything that looks like a Go toolchain.
pub fn detect(machine: &impl Machine) -> Vec<Candidate> {
    let probe = Probe {
        patterns: vec!["go".to_owned()],
        stems: &["go"],
        arguments: probe::identity(),
        read: probe::report,
    };
    interpreter::detect(machine, &probe)
}

/// Words that stand for constraints.
#[must_use]
pub fn aliases() -> Vec<Alias> {
    vec![Alias { name: "latest".to_owned(), constraint: "*".to_owned() }]
}
