//! Which programs are Ruby installations.

use attune_plugin::Machine;
use attune_plugin::detection::{Alias, Candidate};
use attune_plugin::interpreter::{self, Probe};

use crate::probe;

/// Names that interpreters go by; which of them are looked for is for the grants to say.
const PATTERNS: [&str; 4] = ["ruby", "ruby[0-9].[0-9]", "ruby[0-9][0-9]", "truffleruby"];

/// Everything that looks like a Ruby installation.
pub fn detect(machine: &impl Machine) -> Vec<Candidate> {
    let probe = Probe {
        patterns: PATTERNS.map(str::to_owned).into(),
        stems: &["ruby", "truffleruby"],
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
