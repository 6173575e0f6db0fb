//! Proof that an installation is the Node.js that it claims to be, and what it can do.

use attune_plugin::declared;
use attune_plugin::failure::missing_capability;
use attune_plugin::frame;
use attune_plugin::interpreter::equal;
use attune_plugin::machine::{Machine, Run, invocation};
use attune_plugin::types::{Failure, FailureClass, Installation};
use attune_plugin::verification::{Check, Outcome, Request, Verdict};

use crate::{npm, probe};

/// Asks the installation, compares with what was claimed, and runs what the YAML declares.
pub fn verify(machine: &impl Machine, request: Request, run: &Run) -> Result<Verdict, Failure> {
    let claim = &request.installation;
    let facts = frame::read(&run(&invocation(&probe::identity(), false))?)?;
    let report = probe::of_facts(&facts)?;
    let version = report.version();
    let arch = facts.get("arch").unwrap_or_default();
    let mut checks = vec![
        equal("path", FailureClass::ShimUnresolved, &claim.path, &report.executable),
        equal("version", FailureClass::VersionMismatch, &claim.version.semver, &version.semver),
        equal("arch", FailureClass::ExecFormat, attribute(claim, "arch").unwrap_or(arch), arch),
        ssl(facts.get("openssl")),
    ];
    let (npm, npm_version) = npm_check(machine, claim, &version.semver);
    checks.push(npm);
    checks.extend(declared::checks(machine, &declared::by_priority(request.commands), run));
    let mut attributes = report.attributes;
    attributes.extend(npm_version.map(|version| ("npm".to_owned(), version)));
    Ok(Verdict { version, checks, attributes })
}

fn attribute<'a>(installation: &'a Installation, name: &str) -> Option<&'a str> {
    installation.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn ssl(openssl: Option<&str>) -> Check {
    let outcome = match openssl {
        Some(_) => Outcome::Passed,
        None => Outcome::Failed(missing_capability("ssl", "was built without OpenSSL")),
    };
    Check { name: "ssl".to_owned(), outcome, detail: openssl.unwrap_or("no").to_owned() }
}

/// Matters to packs with dependencies only.
fn npm_check(machine: &impl Machine, claim: &Installation, semver: &str) -> (Check, Option<String>) {
    let (outcome, npm) = match npm::choose(machine, &claim.path, semver) {
        Ok(npm) => (Outcome::Passed, Some(npm)),
        Err(reason) => (Outcome::Warned(reason), None),
    };
    let detail = npm.as_ref().map_or("no".to_owned(), |npm| format!("{} ({})", npm.version, npm.path));
    (Check { name: "npm".to_owned(), outcome, detail }, npm.map(|npm| npm.version))
}
