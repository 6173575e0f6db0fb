//! Which programs are Node.js installations.

use attune_plugin::Machine;
use attune_plugin::detection::Candidate;
use attune_plugin::interpreter::{self, Probe};

use crate::probe;

/// Names that interpreters go by.
const PATTERNS: [&str; 4] = ["node", "nodejs", "node[0-9]", "node[0-9][0-9]"];

/// Everything that looks like a Node.js installation; `binaries` are further names to look for.
pub fn detect(machine: &impl Machine, binaries: Vec<String>) -> Vec<Candidate> {
    let mut patterns: Vec<String> = PATTERNS.iter().map(|&pattern| pattern.to_owned()).collect();
    for binary in binaries {
        if !patterns.contains(&binary) {
            patterns.push(binary);
        }
    }
    let probe = Probe { patterns, stems: &["node"], arguments: probe::identity(), read: probe::report };
    interpreter::detect(machine, &probe)
}
