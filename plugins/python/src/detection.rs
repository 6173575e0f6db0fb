//! Which programs are Python installations.

use attune_plugin::Machine;
use attune_plugin::detection::{Alias, Candidate};
use attune_plugin::interpreter::{self, Probe};

use crate::probe;

/// Names that interpreters go by.
const PATTERNS: [&str; 10] = [
    "python",
    "python[23]",
    "python[23].[0-9]",
    "python3.[0-9][0-9]",
    "python3.[0-9][0-9]t",
    "pypy",
    "pypy[23]",
    "pypy[23].[0-9]",
    "pypy3.[0-9][0-9]",
    "graalpy",
];

/// Everything that looks like a Python installation; `binaries` are further names to look for.
pub fn detect(machine: &impl Machine, binaries: Vec<String>) -> Vec<Candidate> {
    let mut patterns: Vec<String> = PATTERNS.iter().map(|&pattern| pattern.to_owned()).collect();
    for binary in binaries {
        if !patterns.contains(&binary) {
            patterns.push(binary);
        }
    }
    let probe = Probe {
        patterns,
        stems: &["python", "pypy", "graalpy"],
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
