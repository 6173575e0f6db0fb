//! What an interpreter is asked about itself, and how its answer is read.

use attune_plugin::failure::failure;
use attune_plugin::frame::{self, Facts, MARK};
use attune_plugin::interpreter::Report;
use attune_plugin::tools::Completion;
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::version;

/// Ruby that runs unchanged since 1.9.
const SOURCE: &str = include_str!("probe.rb");

/// The implementation that is meant when none is asked for.
const USUAL: &str = "ruby";

/// What is kept of an answer, besides version and path.
const ATTRIBUTES: [&str; 5] = ["implementation", "platform", "abi", "openssl", "bundler"];

/// Asks who it is and what it can do.
#[must_use]
pub fn identity() -> Vec<String> {
    vec!["-e".to_owned(), SOURCE.replace("@MARK@", MARK)]
}

/// Reads what an interpreter says about itself.
pub fn report(completion: &Completion) -> Result<Report, Failure> {
    of_facts(&frame::read(completion)?)
}

/// What `facts` say about an interpreter. Another implementation counts by the version of Ruby that it is
/// compatible with, and is a variant.
pub fn of_facts(facts: &Facts) -> Result<Report, Failure> {
    let native = facts.require("native")?;
    let implementation = facts.require("implementation")?;
    let usual = implementation == USUAL;
    let reported = if usual { native } else { facts.require("version")? };
    let version = version::read(reported).ok_or_else(|| {
        failure(FailureClass::UnparsableOutput, format!("reports the version `{reported}`"))
    })?;
    Ok(Report {
        executable: facts.require("executable")?.to_owned(),
        version: (version.semver, native.to_owned(), (!usual).then(|| implementation.to_owned())),
        environment_of: None,
        attributes: facts.select(&ATTRIBUTES),
    })
}

#[cfg(test)]
mod tests {
    use attune_plugin::tools::ExitStatus;

    use super::*;

    #[track_caller]
    fn check(lines: &str, expected: Result<(&str, Option<&str>), &str>) {
        let stdout = format!("noise\n{MARK}-begin\n{lines}\n{MARK}-end\n").into_bytes();
        let status = ExitStatus::Exited(0);
        let completion =
            Completion { status, stdout, stderr: Vec::new(), truncated: false, extra: Vec::new() };
        match (report(&completion), expected) {
            (Ok(report), Ok((semver, variant))) => {
                assert_eq!((report.version.0.as_str(), report.version.2.as_deref()), (semver, variant));
            }
            (Err(failure), Err(words)) => assert!(failure.message.contains(words), "{}", failure.message),
            (report, expected) => panic!("{report:?} instead of {expected:?}"),
        }
    }

    fn lines(implementation: &str, version: &str, native: &str) -> String {
        format!("implementation={implementation}\nversion={version}\nnative={native}\nexecutable=/r")
    }

    #[test]
    fn versions_and_variants() {
        check(&lines("ruby", "3.1.7", "3.1.7p261"), Ok(("3.1.7+261", None)));
        check(&lines("ruby", "4.0.1", "4.0.1"), Ok(("4.0.1", None)));
        check(&lines("ruby", "3.5.0", "3.5.0preview1"), Ok(("3.5.0-preview.1", None)));
        check(&lines("ruby", "3.5.0", "3.5.0dev"), Ok(("3.5.0-dev", None)));
        check(&lines("truffleruby", "3.3.7", "24.2.1"), Ok(("3.3.7", Some("truffleruby"))));
        check(&lines("jruby", "3.4.2", "10.0.0.1"), Ok(("3.4.2", Some("jruby"))));
    }

    #[test]
    fn answers_that_are_none() {
        check(&lines("ruby", "3.1.7", "head"), Err("`head`"));
        check("implementation=ruby\nnative=3.1.7", Err("`executable`"));
        check("", Err("`native`"));
    }
}
