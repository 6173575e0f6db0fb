//! Proof that an installation is the Ruby that it claims to be, and what it can do.

use attune_plugin::declared;
use attune_plugin::failure::missing_capability;
use attune_plugin::frame;
use attune_plugin::interpreter::equal;
use attune_plugin::machine::{Machine, Run, invocation};
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::verification::{Check, Outcome, Request, Verdict};

use crate::probe;

/// Asks the installation, compares with what was claimed, and runs what the YAML declares.
pub fn verify(machine: &impl Machine, request: Request, run: &Run) -> Result<Verdict, Failure> {
    let claim = &request.installation;
    let facts = frame::read(&run(&invocation(&probe::identity(), false))?)?;
    let report = probe::of_facts(&facts)?;
    let version = report.version();
    let variant = |variant: Option<&String>| variant.map_or("none", String::as_str).to_owned();
    let mut checks = vec![
        equal("path", FailureClass::ShimUnresolved, &claim.path, &report.executable),
        equal("version", FailureClass::VersionMismatch, &claim.version.semver, &version.semver),
        equal(
            "variant",
            FailureClass::VariantMismatch,
            &variant(claim.version.variant.as_ref()),
            &variant(version.variant.as_ref()),
        ),
        // Neither matters but to packs with gems.
        capability("openssl", facts.get("openssl"), "gems can't be fetched: it was built without OpenSSL"),
        capability("bundler", facts.get("bundler"), "gems can't be installed: `gem install bundler`"),
    ];
    checks.extend(declared::checks(machine, &declared::by_priority(request.commands), run));
    Ok(Verdict { version, checks, attributes: report.attributes })
}

fn capability(name: &str, version: Option<&str>, without: &str) -> Check {
    let outcome = match version {
        Some(_) => Outcome::Passed,
        None => Outcome::Warned(missing_capability(name, without)),
    };
    Check { name: name.to_owned(), outcome, detail: version.unwrap_or("no").to_owned() }
}
