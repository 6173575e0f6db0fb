//! Proof by the declared commands, and by nothing else.

use attune_plugin::Machine;
use attune_plugin::declared::{by_priority, carry_out};
use attune_plugin::detection::Command;
use attune_plugin::failure::failure;
use attune_plugin::machine::Run;
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::verification::{Check, Outcome, Request, Verdict};

use crate::detection::run_on;

/// Runs the declared commands, each once, and compares the version that they report with the claim. One of them has to
/// succeed, also where all of them are optional.
pub fn verify(machine: &impl Machine, request: Request, run: &Run) -> Result<Verdict, Failure> {
    let path = &request.installation.path;
    let commands: Vec<Command> =
        by_priority(request.commands).iter().map(|command| run_on(path, command)).collect();
    let claim = request.installation.version;
    let mut verdict =
        Verdict { version: claim.clone(), checks: Vec::new(), attributes: request.installation.attributes };
    if commands.is_empty() {
        let outcome = Outcome::Skipped("the runtime declares no verification commands".to_owned());
        verdict.checks.push(Check { name: "version".to_owned(), outcome, detail: claim.native });
        return Ok(verdict);
    }
    let (checks, reported) = carry_out(machine, &commands, run);
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
    let is_proved = checks.iter().any(|check| matches!(check.outcome, Outcome::Passed));
    let unproved = checks.iter().find_map(|check| match &check.outcome {
        Outcome::Warned(failure) if !is_proved => Some(failure.clone()),
        _ => None,
    });
    verdict.checks.extend(checks);
    if let Some(failure) = unproved {
        let detail = "every command is optional, and none succeeded".to_owned();
        verdict.checks.push(Check { name: "any".to_owned(), outcome: Outcome::Failed(failure), detail });
    }
    Ok(verdict)
}
