//! Installations of programs that verification commands name.

use attune_plugin::declared::{by_priority, judge, written};
use attune_plugin::detection::{Alias, Candidate, Command, Request};
use attune_plugin::failure::{failure, invalid_declaration};
use attune_plugin::machine::{file_name, invocation};
use attune_plugin::types::{Failure, FailureClass, Installation, Version};
use attune_plugin::{Machine, Program};

/// Everything that is called like a declared binary, with the version that the declared commands report.
pub fn detect(machine: &impl Machine, request: Request) -> Result<Vec<Candidate>, Failure> {
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
    for pattern in patterns {
        let own: Vec<&Command> = commands.iter().filter(|command| command.binary == pattern).collect();
        for found in machine.find(&[pattern]) {
            if candidates.iter().any(|candidate| candidate.path == found.path) {
                continue;
            }
            let outcome = match found.outcome {
                Ok(program) if known.contains(&program.path) => continue,
                Ok(program) => {
                    known.push(program.path.clone());
                    version(machine, &program, &own).map(|version| installation(program, version))
                }
                Err(failure) => Err(failure),
            };
            candidates.push(Candidate { path: found.path, outcome });
        }
    }
    Ok(candidates)
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

/// The version that the first command that tells one reports. A required command that fails is why
/// the program is no installation.
fn version(machine: &impl Machine, program: &Program, commands: &[&Command]) -> Result<Version, Failure> {
    let mut version: Option<Version> = None;
    for command in commands {
        let completion = machine.run_all(&[program], &invocation(&command.arguments, true));
        let outcome = match completion.into_iter().next() {
            Some(completion) => completion.and_then(|completion| judge(machine, command, &completion)),
            None => Err(failure(FailureClass::Other("no-answer".to_owned()), "the host did not answer")),
        };
        match outcome {
            Ok(reported) => version = version.or(reported),
            Err(_) if command.optional => {}
            Err(failure) => return Err(failure),
        }
    }
    version.ok_or_else(|| {
        let tried: Vec<String> = commands.iter().map(|command| format!("`{}`", written(command))).collect();
        failure(FailureClass::UnparsableOutput, format!("no version in the output of {}", tried.join(", ")))
    })
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
