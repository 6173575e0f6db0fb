//! What an interpreter is asked about itself, and how its answer is read.

use attune_plugin::failure::failure;
use attune_plugin::frame::{self, Facts, MARK};
use attune_plugin::interpreter::Report;
use attune_plugin::tools::Completion;
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::version;

/// JavaScript that runs unchanged on every Node.js since 0.10.
const SOURCE: &str = include_str!("probe.js");

/// What is kept of an answer, besides version and path.
const ATTRIBUTES: [&str; 8] = ["implementation", "arch", "platform", "lts", "abi", "napi", "v8", "openssl"];

/// Asks who it is.
#[must_use]
pub fn identity() -> Vec<String> {
    vec!["-e".to_owned(), SOURCE.replace("@MARK@", MARK)]
}

/// Reads what an interpreter says about itself.
pub fn report(completion: &Completion) -> Result<Report, Failure> {
    of_facts(&frame::read(completion)?)
}

/// What `facts` say about an interpreter.
pub fn of_facts(facts: &Facts) -> Result<Report, Failure> {
    let native = facts.require("native")?;
    let version = version::read(native)
        .ok_or_else(|| failure(FailureClass::UnparsableOutput, format!("reports the version `{native}`")))?;
    let implementation = facts.require("implementation")?;
    if implementation != "node" {
        return Err(failure(
            FailureClass::WrongImplementation,
            format!("is {implementation} under the name of Node.js"),
        ));
    }
    Ok(Report {
        executable: facts.require("executable")?.to_owned(),
        version: (version.semver, version.native, version.variant),
        environment_of: None,
        attributes: facts.select(&ATTRIBUTES),
    })
}

#[cfg(test)]
mod tests {
    use attune_plugin::tools::ExitStatus;

    use super::*;

    #[track_caller]
    fn check(lines: &str, expected: Result<&str, &str>) {
        let stdout = format!("{MARK}-begin\n{lines}\n{MARK}-end\n").into_bytes();
        let status = ExitStatus::Exited(0);
        let completion =
            Completion { status, stdout, stderr: Vec::new(), truncated: false, extra: Vec::new() };
        match (report(&completion), expected) {
            (Ok(report), Ok(semver)) => assert_eq!(report.version.0, semver),
            (Err(failure), Err(words)) => assert!(failure.message.contains(words), "{}", failure.message),
            (report, expected) => panic!("{report:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn answers() {
        check("native=v20.20.2\nimplementation=node\nexecutable=/n", Ok("20.20.2"));
        check("native=v23.0.0-rc.1\nimplementation=node\nexecutable=/n", Ok("23.0.0-rc.1"));
        check("native=v22.6.0\nimplementation=bun\nexecutable=/n", Err("is bun under"));
        check("native=next\nimplementation=node\nexecutable=/n", Err("`next`"));
        check("native=v20.20.2\nimplementation=node", Err("`executable`"));
    }
}
