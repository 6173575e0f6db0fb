//! Which programs are Java installations. Those that say in a file what they are do not have to be started: that takes
//! a virtual machine a while, and there are often many.

use attune_plugin::detection::{Alias, Candidate};
use attune_plugin::failure::{failure, unexpected_exit};
use attune_plugin::machine::{Found, folder, invocation};
use attune_plugin::shim::{self, Shim};
use attune_plugin::tools::Format;
use attune_plugin::types::{DeclaredVersion, Failure, FailureClass, Installation};
use attune_plugin::{Machine, Program};

use crate::release::{self, Facts};

/// The program that is looked for.
const PROGRAM: &str = "java";
/// The compiler, beside it where it has one.
const COMPILER: &str = "javac";

/// Everything that looks like a Java installation, in the order in which it was found.
pub fn detect(machine: &impl Machine) -> Vec<Candidate> {
    let found = machine.find(&[PROGRAM.to_owned()]);
    let silent: Vec<&Program> = found
        .iter()
        .filter_map(|found| found.outcome.as_ref().ok())
        .filter(|program| is_native(program) && release::read(machine, &program.path).is_none())
        .collect();
    let said: Vec<Result<Facts, Failure>> = machine
        .run_all(&silent, &invocation(&release::QUESTION, true))
        .into_iter()
        .map(|answer| {
            let completion = answer?;
            unexpected_exit(&completion, 0).map_or_else(|| release::of_settings(&completion), Err)
        })
        .collect();
    let said: Vec<(&str, Result<Facts, Failure>)> =
        silent.iter().map(|program| program.path.as_str()).zip(said).collect();
    let outcomes: Vec<Lead> = found.iter().map(|found| lead(machine, found, &said)).collect();
    candidates(&found, outcomes)
}

fn is_native(program: &Program) -> bool {
    matches!(program.format, Format::Native)
}

/// What became of one found entry before other entries are considered.
enum Lead {
    Done(Result<Installation, Failure>),
    /// A shim that starts this program.
    Starts(String, Vec<String>),
}

fn lead(machine: &impl Machine, found: &Found, said: &[(&str, Result<Facts, Failure>)]) -> Lead {
    let program = match &found.outcome {
        Ok(program) => program,
        Err(failure) => return Lead::Done(Err(failure.clone())),
    };
    match shim::follow(machine, program, &found.path) {
        Shim::Target(target) => return Lead::Starts(target, program.names.clone()),
        Shim::Unresolved(failure) => return Lead::Done(Err(failure)),
        Shim::Unknown => {}
    }
    if !is_native(program) {
        let message = "a script, which may start one Java or another";
        return Lead::Done(Err(failure(FailureClass::ShimUnresolved, message)));
    }
    let facts = match said.iter().find(|(path, _)| *path == program.path) {
        Some((_, said)) => said.clone(),
        None => release::read(machine, &program.path)
            .ok_or_else(|| failure(FailureClass::NotFound, "its file `release` has gone meanwhile")),
    };
    Lead::Done(facts.and_then(|facts| installation(machine, program, &facts)))
}

fn installation(machine: &impl Machine, program: &Program, facts: &Facts) -> Result<Installation, Failure> {
    // A launcher that starts an installation elsewhere, as macOS has one in `/usr/bin`.
    if let Some(home) = facts.home.as_ref().filter(|home| !is_of(&program.path, home)) {
        let message = format!("starts the Java of `{home}`");
        return Err(failure(FailureClass::ShimUnresolved, message));
    }
    Ok(Installation {
        path: program.path.clone(),
        version: facts.version.clone(),
        source: program.source.clone(),
        aliases: program.names.iter().filter(|name| **name != program.path).cloned().collect(),
        attributes: attributes(machine, &program.path, facts),
    })
}

/// Whether a program belongs to the installation of this folder.
#[must_use]
pub fn is_of(program: &str, home: &str) -> bool {
    program
        .strip_prefix(home.trim_end_matches('/'))
        .is_some_and(|rest| rest == "/bin/java" || rest == "/jre/bin/java")
}

/// What is kept of an installation, besides version and path.
pub fn attributes(machine: &impl Machine, program: &str, facts: &Facts) -> Vec<(String, String)> {
    let home = folder(folder(program));
    let has_compiler = [home, home.strip_suffix("/jre").unwrap_or(home)]
        .iter()
        .any(|home| machine.stat(&format!("{home}/bin/{COMPILER}")).is_ok_and(|status| status.executable));
    let compiler = if has_compiler { "yes" } else { "no" };
    let known = [
        ("vendor", facts.vendor.as_deref()),
        ("machine", facts.machine.as_deref()),
        ("arch", facts.arch.as_deref()),
        ("home", Some(home)),
        ("compiler", Some(compiler)),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

fn candidates(found: &[Found], leads: Vec<Lead>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut shims: Vec<(String, Vec<String>)> = Vec::new();
    for (found, lead) in found.iter().zip(leads) {
        let outcome = match lead {
            Lead::Done(outcome) => outcome,
            Lead::Starts(target, names) => {
                let message = format!("a shim that starts `{target}`, which is no installation");
                shims.push((target, names));
                Err(failure(FailureClass::ShimUnresolved, message))
            }
        };
        candidates.push(Candidate { path: found.path.clone(), outcome });
    }
    for (target, names) in shims {
        let mut installations = candidates.iter_mut().filter_map(|candidate| candidate.outcome.as_mut().ok());
        let Some(installation) = installations.find(|installation| installation.path == target) else {
            continue;
        };
        installation.aliases.extend(names.iter().cloned());
        candidates.retain(|candidate| candidate.outcome.is_ok() || !names.contains(&candidate.path));
    }
    candidates
}

/// Words that stand for constraints: `lts` is the newest declared version with long-term support.
#[must_use]
pub fn aliases(versions: &[DeclaredVersion]) -> Vec<Alias> {
    let supported = versions.iter().filter(|version| version.meta.iter().any(|(name, _)| name == "lts"));
    let newest = supported.filter_map(|version| version.version.parse::<u32>().ok()).max();
    let mut aliases = vec![Alias { name: "latest".to_owned(), constraint: "*".to_owned() }];
    aliases.extend(newest.map(|newest| Alias { name: "lts".to_owned(), constraint: newest.to_string() }));
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_program_an_installation_has() {
        for (program, home, is) in [
            ("/j/bin/java", "/j", true),
            ("/j/bin/java", "/j/", true),
            ("/j/jre/bin/java", "/j/jre", true),
            ("/j/jre/bin/java", "/j", true),
            ("/usr/bin/java", "/Library/j", false),
            ("/j2/bin/java", "/j", false),
        ] {
            assert_eq!(is_of(program, home), is, "{program} {home}");
        }
    }

    #[test]
    fn the_newest_with_support() {
        let version = |version: &str, lts: bool| DeclaredVersion {
            version: version.to_owned(),
            is_default: false,
            meta: lts.then(|| ("lts".to_owned(), "yes".to_owned())).into_iter().collect(),
        };
        let constraints = |versions: &[DeclaredVersion]| {
            aliases(versions)
                .into_iter()
                .map(|alias| format!("{} {}", alias.name, alias.constraint))
                .collect::<Vec<_>>()
        };
        assert_eq!(constraints(&[]), ["latest *"]);
        let all = [version("8", true), version("21", true), version("17", true), version("24", false)];
        assert_eq!(constraints(&all), ["latest *", "lts 21"]);
    }
}
