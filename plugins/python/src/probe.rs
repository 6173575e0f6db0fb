//! What an interpreter is asked about itself, and how its answer is read.
//!
//! The questions are Python that runs unchanged on 2.7 and on everything since 3.3, and import next to nothing:
//! `ssl`, `sysconfig` and `platform` cost more than starting the interpreter.

use attune_plugin::failure::failure;
use attune_plugin::frame::{self, Facts, MARK};
use attune_plugin::interpreter::Report;
use attune_plugin::tools::Completion;
use attune_plugin::types::{Failure, FailureClass};

const FACTS: &str = include_str!("probe.py");
const CAPABILITIES: &str = include_str!("capabilities.py");
const PRINT: &str = include_str!("print.py");

/// What is kept of an answer, besides version and path.
const ATTRIBUTES: [&str; 10] = [
    "implementation",
    "arch",
    "bits",
    "abi",
    "extension-suffix",
    "multiarch",
    "libc",
    "prefix",
    "pip",
    "pip-wheel",
];

/// Asks who it is, without its site packages: fast, and nothing installed can get in the way. `-I`
/// would say the same in one letter, but 2.7 does not know it.
#[must_use]
pub fn identity() -> Vec<String> {
    arguments(&["-E", "-s", "-S", "-c"], &[FACTS, PRINT])
}

/// Asks also what it can do, with its site packages.
#[must_use]
pub fn capabilities() -> Vec<String> {
    arguments(&["-E", "-s", "-c"], &[FACTS, CAPABILITIES, PRINT])
}

/// Asks another interpreter who it is, by way of the one that is started. A link to an interpreter
/// makes it the one of an environment, and only the kernel's way of starting it keeps the link.
#[must_use]
pub fn identity_of(interpreter: &str) -> Vec<String> {
    let replace = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])";
    let mut all = vec!["-I".to_owned(), "-S".to_owned(), "-c".to_owned(), replace.to_owned()];
    all.push(interpreter.to_owned());
    all.extend(arguments(&["-I", "-c"], &[FACTS, PRINT]));
    all
}

fn arguments(options: &[&str], sources: &[&str]) -> Vec<String> {
    let source = sources.concat().replace("@MARK@", MARK);
    options.iter().map(|option| (*option).to_owned()).chain([source]).collect()
}

/// Reads what an interpreter says about itself.
pub fn report(completion: &Completion) -> Result<Report, Failure> {
    of_facts(&frame::read(completion)?)
}

/// What `facts` say about an interpreter.
pub fn of_facts(facts: &Facts) -> Result<Report, Failure> {
    let reported = facts.require("version")?;
    let semver = semver(reported).ok_or_else(|| {
        failure(FailureClass::UnparsableOutput, format!("reports the version `{reported}`"))
    })?;
    let native = facts.require("native")?.to_owned();
    let variant = variant(facts.require("implementation")?, facts.get("abiflags").unwrap_or_default());
    Ok(Report {
        executable: facts.require("executable")?.to_owned(),
        version: (semver, native, variant),
        environment_of: facts.get("environment-of").map(str::to_owned),
        attributes: facts.select(&ATTRIBUTES),
    })
}

/// `3.14.0.candidate.1`, as `sys.version_info` has it, as a semantic version.
fn semver(version_info: &str) -> Option<String> {
    let mut parts = version_info.split('.');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (major, minor, micro) = (number()?, number()?, number()?);
    let (level, serial) = (parts.next()?, parts.next()?.parse::<u64>().ok()?);
    let release = format!("{major}.{minor}.{micro}");
    Some(match level {
        "final" => release,
        "candidate" => format!("{release}-rc.{serial}"),
        "alpha" | "beta" => format!("{release}-{level}.{serial}"),
        _ => return None,
    })
}

/// A build that is only chosen when asked for: another implementation, or another ABI.
fn variant(implementation: &str, abiflags: &str) -> Option<String> {
    let mut names = Vec::new();
    if implementation != "cpython" {
        names.push(implementation);
    }
    if abiflags.contains('t') {
        names.push("freethreaded");
    }
    if abiflags.contains('d') {
        names.push("debug");
    }
    (!names.is_empty()).then(|| names.join("-"))
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

    fn lines(version: &str, implementation: &str, flags: &str) -> String {
        format!(
            "version={version}\nnative=x\nimplementation={implementation}\nexecutable=/p\nabiflags={flags}"
        )
    }

    #[test]
    fn versions_and_variants() {
        check(&lines("3.12.9.final.0", "cpython", ""), Ok(("3.12.9", None)));
        check(&lines("3.6.15.final.0", "cpython", "m"), Ok(("3.6.15", None)));
        check(&lines("3.14.0.candidate.1", "cpython", ""), Ok(("3.14.0-rc.1", None)));
        check(&lines("3.15.0.alpha.10", "cpython", ""), Ok(("3.15.0-alpha.10", None)));
        check(&lines("3.13.0.final.0", "cpython", "t"), Ok(("3.13.0", Some("freethreaded"))));
        check(&lines("3.13.0.final.0", "cpython", "td"), Ok(("3.13.0", Some("freethreaded-debug"))));
        check(&lines("3.10.14.final.0", "pypy", ""), Ok(("3.10.14", Some("pypy"))));
    }

    #[test]
    fn answers_that_are_none() {
        check(&lines("3.12", "cpython", ""), Err("`3.12`"));
        check(&lines("3.12.0.strange.0", "cpython", ""), Err("strange"));
        check("version=3.12.0.final.0", Err("`native`"));
        check("", Err("`version`"));
    }
}
