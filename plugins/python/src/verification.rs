//! Proof that an installation is the Python that it claims to be, and what it can do.

use attune_plugin::declared;
use attune_plugin::failure::missing_capability;
use attune_plugin::frame::{self, Facts};
use attune_plugin::interpreter::equal;
use attune_plugin::machine::{Machine, Run, invocation};
use attune_plugin::types::{Failure, FailureClass, Installation};
use attune_plugin::verification::{Check, Outcome, Request, Verdict};
use attune_plugin::version;

use crate::environment::installer;
use crate::probe;

/// Asks the installation, compares with what was claimed, and runs what the YAML declares.
pub fn verify(machine: &impl Machine, request: Request, run: &Run) -> Result<Verdict, Failure> {
    let claim = &request.installation;
    let facts = frame::read(&run(&invocation(&probe::capabilities(), false))?)?;
    let report = probe::of_facts(&facts)?;
    let version = report.version();

    let mut checks = vec![
        equal("path", FailureClass::ShimUnresolved, &claim.path, &report.executable),
        equal("version", FailureClass::VersionMismatch, &claim.version.semver, &version.semver),
        equal(
            "variant",
            FailureClass::VariantMismatch,
            claim.version.variant.as_deref().unwrap_or("none"),
            version.variant.as_deref().unwrap_or("none"),
        ),
    ];
    for (name, class) in [
        ("implementation", FailureClass::WrongImplementation),
        ("arch", FailureClass::ExecFormat),
        ("bits", FailureClass::ExecFormat),
    ] {
        let seen = facts.get(name).unwrap_or_default();
        checks.push(equal(name, class, attribute(claim, name).unwrap_or(seen), seen));
    }
    checks.push(venv(&facts, &version.semver));
    checks.push(ssl(&facts));
    checks.push(pip(machine, &facts, claim));
    checks.extend(declared::checks(machine, &declared::by_priority(request.commands), run));
    Ok(Verdict { version, checks, attributes: report.attributes })
}

/// An attribute of an installation.
#[must_use]
pub fn attribute<'a>(installation: &'a Installation, name: &str) -> Option<&'a str> {
    installation.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Environments need an interpreter that knows `pyvenv.cfg`; the module `venv`, which others need to
/// write one, is not used.
fn venv(facts: &Facts, semver: &str) -> Check {
    let knows = version::parts(semver).is_some_and(|[major, minor, _]| (major, minor) >= (3, 3));
    let outcome = match (knows, facts.get("venv")) {
        (false, _) => {
            Outcome::Failed(missing_capability("venv", "this version has no isolated environments"))
        }
        (true, None) => {
            Outcome::Skipped("the module is missing; environments are built without it".to_owned())
        }
        (true, Some(_)) => Outcome::Passed,
    };
    Check { name: "venv".to_owned(), outcome, detail: facts.get("venv").unwrap_or("no").to_owned() }
}

/// Loads the extension module: its being there would not show that its libraries are. The module `ssl`
/// above it takes five times as long.
fn ssl(facts: &Facts) -> Check {
    let (outcome, detail) = match facts.get("ssl") {
        Some(library) => (Outcome::Passed, library),
        None => (
            Outcome::Failed(missing_capability(
                "ssl",
                "the module `_ssl` can't be loaded: this Python was built without OpenSSL, or its libraries are gone",
            )),
            "no",
        ),
    };
    Check { name: "ssl".to_owned(), outcome, detail: detail.to_owned() }
}

/// Matters to packs with dependencies only, and not even to them where there is another installer.
fn pip(machine: &impl Machine, facts: &Facts, claim: &Installation) -> Check {
    let path = &claim.path;
    let (outcome, detail) = match (facts.get("pip"), facts.get("pip-wheel")) {
        (Some(version), _) => (Outcome::Passed, version),
        (None, Some(wheel)) => (Outcome::Passed, wheel),
        (None, None) if installer::uv(machine, claim).is_some() => (Outcome::Passed, "no; uv installs"),
        (None, None) => (
            Outcome::Warned(missing_capability(
                "pip",
                format!("has no pip and no ensurepip: dependencies need `uv`, or `{path} -m ensurepip`"),
            )),
            "no",
        ),
    };
    Check { name: "pip".to_owned(), outcome, detail: detail.to_owned() }
}
