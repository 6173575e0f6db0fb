//! Installations of programs that verification commands name.

use attune_plugin::declared::{agree, by_priority, judge, written};
use attune_plugin::detection::{Alias, Candidate, Command, Request};
use attune_plugin::failure::{failure, invalid_declaration};
use attune_plugin::machine::{file_name, invocation};
use attune_plugin::shim::{self, Shim};
use attune_plugin::tools::Format;
use attune_plugin::types::{Failure, FailureClass, Installation, Version};
use attune_plugin::{Machine, Program};

/// What is to become of scripts: `run`, as of any other program, or `refuse`, where interpreters are machine code and
/// a script starts one or another of them.
const SCRIPTS: &str = "scripts";

/// Everything that is called like a declared binary, with the version that the declared commands report.
///
/// A shim is never asked: it is another name of what it starts.
pub fn detect(machine: &impl Machine, request: Request) -> Result<Vec<Candidate>, Failure> {
    let refuses_scripts = refuses_scripts(&request.settings)?;
    let commands = commands(request);
    if commands.is_empty() {
        return Err(invalid_declaration(
            "declares no program to look for: name one in `distributions.verification.commands` or `interpreter.binary`",
        ));
    }
    let mut patterns: Vec<String> = Vec::new();
    for command in &commands {
        if !patterns.contains(&command.binary) {
            patterns.push(command.binary.clone());
        }
    }
    // A program that goes by several declared names is asked by the commands of the first.
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    let mut shims: Vec<(String, Program, String)> = Vec::new();
    let mut order: Vec<String> = Vec::new();
    for pattern in patterns {
        let own: Vec<&Command> = commands.iter().filter(|command| command.binary == pattern).collect();
        let mut programs: Vec<(String, Program)> = Vec::new();
        for found in machine.find(&[pattern]) {
            order.push(found.path.clone());
            if candidates.iter().any(|candidate| candidate.path == found.path) {
                continue;
            }
            match found.outcome {
                Ok(program) if known.contains(&program.path) => {}
                Ok(program) => {
                    known.push(program.path.clone());
                    match shim::follow(machine, &program, &found.path) {
                        Shim::Target(target) => shims.push((found.path, program, target)),
                        Shim::Unresolved(failure) => {
                            candidates.push(Candidate { path: found.path, outcome: Err(failure) });
                        }
                        Shim::Unknown if refuses_scripts && matches!(program.format, Format::Script(_)) => {
                            let outcome = Err(failure(
                                FailureClass::ShimUnresolved,
                                "a script, which may start one program or another",
                            ));
                            candidates.push(Candidate { path: found.path, outcome });
                        }
                        Shim::Unknown => programs.push((found.path, program)),
                    }
                }
                Err(failure) => candidates.push(Candidate { path: found.path, outcome: Err(failure) }),
            }
        }
        let asked: Vec<&Program> = programs.iter().map(|(_, program)| program).collect();
        let versions = versions(machine, &asked, &own);
        for ((path, program), version) in programs.into_iter().zip(versions) {
            let outcome = version.map(|version| installation(program, version));
            candidates.push(Candidate { path, outcome });
        }
    }
    for (path, program, target) in shims {
        let mut installations = candidates.iter_mut().filter_map(|candidate| candidate.outcome.as_mut().ok());
        match installations.find(|installation| installation.path == target) {
            Some(installation) => installation.aliases.extend(program.names),
            None => candidates.push(Candidate {
                path,
                outcome: Err(failure(
                    FailureClass::ShimUnresolved,
                    format!("a shim that starts `{target}`, which is no installation"),
                )),
            }),
        }
    }
    candidates.sort_by_key(|candidate| order.iter().position(|path| *path == candidate.path));
    Ok(candidates)
}

fn refuses_scripts(settings: &[(String, String)]) -> Result<bool, Failure> {
    match settings.iter().find(|(name, _)| name == SCRIPTS).map(|(_, value)| value.as_str()) {
        None | Some("run") => Ok(false),
        Some("refuse") => Ok(true),
        Some(other) => Err(invalid_declaration(format!(
            "`{SCRIPTS}: {other}` of `plugin.settings` has no meaning: write `run` or `refuse`"
        ))),
    }
}

/// Words that stand for constraints.
#[must_use]
pub fn aliases() -> Vec<Alias> {
    vec![Alias { name: "latest".to_owned(), constraint: "*".to_owned() }]
}

/// The declared commands, or `--version` of every declared binary.
fn commands(request: Request) -> Vec<Command> {
    if !request.commands.is_empty() {
        return by_priority(request.commands);
    }
    let version_of = |binary| Command {
        binary,
        arguments: vec!["--version".to_owned()],
        exit_code: 0,
        pattern: None,
        priority: 0,
        optional: false,
        extra: Vec::new(),
    };
    request.binaries.into_iter().map(version_of).collect()
}

/// For each program the version that the first command that tells one reports. A required command that fails, or one
/// that reports another version, is why the program is no installation.
///
/// All programs are asked at once, so that one that hangs takes no time from the others.
fn versions(
    machine: &impl Machine,
    programs: &[&Program],
    commands: &[&Command],
) -> Vec<Result<Version, Failure>> {
    let mut versions: Vec<Result<Option<Version>, Failure>> = programs.iter().map(|_| Ok(None)).collect();
    for command in commands {
        // An optional command has nothing more to say about a program whose version is known.
        let is_asked = |version: &Result<Option<Version>, Failure>| match version {
            Ok(version) => version.is_none() || !command.optional,
            Err(_) => false,
        };
        let asked: Vec<usize> = (0..programs.len()).filter(|&index| is_asked(&versions[index])).collect();
        let handles: Vec<&Program> = asked.iter().map(|&index| programs[index]).collect();
        let mut completions = machine.run_all(&handles, &invocation(&command.arguments, true)).into_iter();
        for index in asked {
            let outcome = match completions.next() {
                Some(completion) => completion
                    .map_err(|failure| {
                        let run = written(&run_on(&programs[index].path, command));
                        Failure { message: format!("`{run}`: {}", failure.message), ..failure }
                    })
                    .and_then(|completion| judge(machine, command, &completion)),
                None => Err(failure(FailureClass::Other("no-answer".to_owned()), "the host did not answer")),
            };
            match (outcome, &mut versions[index]) {
                (Ok(reported), Ok(version)) => match agree(version.as_ref(), reported.as_ref()) {
                    Ok(()) => *version = version.take().or(reported),
                    Err(failure) => versions[index] = Err(failure),
                },
                (Err(failure), version) if !command.optional => *version = Err(failure),
                _ => {}
            }
        }
    }
    versions
        .into_iter()
        .map(|version| {
            version?.ok_or_else(|| {
                let tried: Vec<String> =
                    commands.iter().map(|command| format!("`{}`", written(command))).collect();
                failure(
                    FailureClass::UnparsableOutput,
                    format!("no version in the output of {}", tried.join(", ")),
                )
            })
        })
        .collect()
}

/// The command by the name of the program that it is run on: the declared one may be a pattern.
pub(crate) fn run_on(path: &str, command: &Command) -> Command {
    Command { binary: file_name(path).to_owned(), ..command.clone() }
}

fn installation(program: Program, version: Version) -> Installation {
    let aliases = program.names.into_iter().filter(|name| *name != program.path).collect();
    let name = file_name(&program.path).to_owned();
    Installation {
        path: program.path,
        version,
        source: program.source,
        aliases,
        attributes: vec![("program".to_owned(), name)],
    }
}
