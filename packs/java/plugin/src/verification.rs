//! Proof that an installation is the Java that it claims to be: its virtual machine starts, and says so.

use attune_plugin::declared;
use attune_plugin::failure::{failure, missing_capability, unexpected_exit};
use attune_plugin::machine::{Machine, Run, folder, invocation};
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::verification::{Check, Outcome, Request, Verdict};

use crate::detection::{attributes, is_of};
use crate::release;

/// Starts the virtual machine, compares with what was claimed, and runs what the YAML declares.
pub fn verify(machine: &impl Machine, request: Request, run: &Run) -> Result<Verdict, Failure> {
    let claim = &request.installation;
    let completion = run(&invocation(&release::QUESTION, false))?;
    if let Some(failure) = unexpected_exit(&completion, 0) {
        return Err(failure);
    }
    let facts = release::of_settings(&completion)?;
    let home = facts.home.clone().unwrap_or_default();
    let mut checks = vec![
        check("path", is_of(&claim.path, &home), &home, || {
            let own = folder(folder(&claim.path));
            failure(FailureClass::ShimUnresolved, format!("the folder was `{own}` and is `{home}`"))
        }),
        check("version", claim.version.semver == facts.version.semver, &facts.version.native, || {
            let message =
                format!("the version was `{}` and is `{}`", claim.version.native, facts.version.native);
            failure(FailureClass::VersionMismatch, message)
        }),
    ];
    let mut attributes = attributes(machine, &claim.path, &facts);
    // Who built it is said in the file by the name that people know.
    for (name, value) in &mut attributes {
        if let Some((_, known)) = claim.attributes.iter().find(|(known, _)| known == name) {
            known.clone_into(value);
        }
    }
    checks.push(compiler(attributes.iter().any(|(name, value)| name == "compiler" && value == "yes")));
    checks.extend(declared::checks(machine, &declared::by_priority(request.commands), run));
    Ok(Verdict { version: facts.version, checks, attributes })
}

fn check(name: &str, passed: bool, seen: &str, reason: impl FnOnce() -> Failure) -> Check {
    let outcome = if passed { Outcome::Passed } else { Outcome::Failed(reason()) };
    Check { name: name.to_owned(), outcome, detail: seen.to_owned() }
}

/// Matters to actions that are a source file only.
fn compiler(has: bool) -> Check {
    let outcome = if has {
        Outcome::Passed
    } else {
        Outcome::Warned(missing_capability("compiler", "only what is compiled can be run: it has no `javac`"))
    };
    Check { name: "compiler".to_owned(), outcome, detail: if has { "javac" } else { "no" }.to_owned() }
}
