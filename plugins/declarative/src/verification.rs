//! Proof by the declared commands, and by nothing else.

use attune_plugin::Machine;
use attune_plugin::declared::{by_priority, checks, judge};
use attune_plugin::failure::failure;
use attune_plugin::machine::{Run, invocation};
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::verification::{Check, Outcome, Request, Verdict};

/// Runs every declared command, and compares the version that they report with the claim.
pub fn verify(machine: &impl Machine, request: Request, run: &Run) -> Result<Verdict, Failure> {
    let commands = by_priority(request.commands);
    let claim = request.installation.version;
    let mut verdict =
        Verdict { version: claim.clone(), checks: Vec::new(), attributes: request.installation.attributes };
    if commands.is_empty() {
        let outcome = Outcome::Skipped("the runtime declares no verification commands".to_owned());
        verdict.checks.push(Check { name: "version".to_owned(), outcome, detail: claim.native });
        return Ok(verdict);
    }
    let reported = commands.iter().find_map(|command| {
        let completion = run(&invocation(&command.arguments, false)).ok()?;
        judge(machine, command, &completion).ok()?
    });
    if let Some(version) = reported {
        let outcome = if version.semver == claim.semver {
            Outcome::Passed
        } else {
            Outcome::Failed(failure(
                FailureClass::VersionMismatch,
                format!("the version was `{}` and is `{}`", claim.native, version.native),
            ))
        };
        let detail = version.native.clone();
        verdict.checks.push(Check { name: "version".to_owned(), outcome, detail });
        verdict.version = version;
    }
    verdict.checks.extend(checks(machine, &commands, run));
    Ok(verdict)
}
