//! Verification commands that a runtime's YAML declares, carried out as written.

use crate::detection::Command;
use crate::failure::{failure, unexpected_exit, with_excerpt};
use crate::machine::{Machine, Run, invocation};
use crate::tools::Completion;
use crate::types::{Failure, FailureClass, Version};
use crate::verification::{Check, Outcome};
use crate::version;

/// The commands in order of priority, those of equal priority as they were written.
#[must_use]
pub fn by_priority(mut commands: Vec<Command>) -> Vec<Command> {
    commands.sort_by_key(|command| command.priority);
    commands
}

/// Runs every command on the program of `run`; a check for each, named `command-1` and so on.
pub fn checks(machine: &impl Machine, commands: &[Command], run: &Run) -> Vec<Check> {
    carry_out(machine, commands, run).0
}

/// The same, with the version that the first command names whose output names one. A command that names another
/// version has failed: what a program says it is may not be what it runs.
///
/// Commands that hang do not add up: after one that is required and hung nothing more is run, after an optional
/// one no other that is optional.
pub fn carry_out(machine: &impl Machine, commands: &[Command], run: &Run) -> (Vec<Check>, Option<Version>) {
    let mut version: Option<Version> = None;
    let mut hung: Option<&Command> = None;
    let mut checks = Vec::with_capacity(commands.len());
    for (index, command) in commands.iter().enumerate() {
        let written = written(command);
        let in_vain = hung.filter(|hung| command.optional || !hung.optional);
        let (outcome, detail) = if let Some(hung) = in_vain {
            (
                Outcome::Skipped(format!("not run, since `{}` hung", self::written(hung))),
                format!("`{written}`"),
            )
        } else {
            let result = run(&invocation(&command.arguments, false)).and_then(|completion| {
                let reported = judge(machine, command, &completion)?;
                agree(version.as_ref(), reported.as_ref())?;
                version = version.take().or(reported);
                Ok(with_excerpt("ran".to_owned(), &completion))
            });
            if result.as_ref().is_err_and(is_hang) {
                hung = hung.filter(|hung| !hung.optional).or(Some(command));
            }
            match result {
                Ok(said) => (Outcome::Passed, format!("`{written}` {said}")),
                Err(failure) if command.optional => (Outcome::Warned(failure), format!("`{written}`")),
                Err(failure) => (Outcome::Failed(failure), format!("`{written}`")),
            }
        };
        checks.push(Check { name: format!("command-{}", index + 1), outcome, detail });
    }
    (checks, version)
}

fn is_hang(failure: &Failure) -> bool {
    matches!(failure.class, FailureClass::Timeout)
}

/// Whether a command's outcome is as declared, and the version that its output names.
pub fn judge(
    machine: &impl Machine,
    command: &Command,
    completion: &Completion,
) -> Result<Option<Version>, Failure> {
    if let Some(failure) = unexpected_exit(completion, command.exit_code) {
        return Err(failure);
    }
    let mut output = completion.stdout.clone();
    output.extend_from_slice(&completion.stderr);
    let output = String::from_utf8_lossy(&output);
    let Some(pattern) = &command.pattern else { return Ok(version::search(&output)) };
    let groups = machine.captures(pattern, &output)?.ok_or_else(|| {
        failure(
            FailureClass::PatternMismatch,
            with_excerpt(format!("did not print what `{pattern}` expects"), completion),
        )
    })?;
    let group = version_group(pattern);
    match groups.get(group).and_then(Option::as_deref) {
        Some(text) => version::read(text).map(Some).ok_or_else(|| {
            failure(FailureClass::UnparsableOutput, format!("printed `{text}` where a version was expected"))
        }),
        None => Ok(None),
    }
}

/// Whether two commands told the same version, as far as both tell one. Only the numbers are compared: a language
/// often knows no more of itself.
pub fn agree(first: Option<&Version>, second: Option<&Version>) -> Result<(), Failure> {
    match (first, second) {
        (Some(first), Some(second)) if version::parts(&first.semver) != version::parts(&second.semver) => {
            Err(failure(
                FailureClass::VersionMismatch,
                format!("says that it is {} and runs {}", first.native, second.native),
            ))
        }
        _ => Ok(()),
    }
}

/// A command as a person would type it.
#[must_use]
pub fn written(command: &Command) -> String {
    std::iter::once(&command.binary)
        .chain(&command.arguments)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The number of the group named `version`, or else of the first.
///
/// The host hands over groups by number only, so the pattern's own text has to tell.
fn version_group(pattern: &str) -> usize {
    let mut number = 0;
    let mut in_class = false;
    let mut characters = pattern.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let rest = &pattern[index + 1..];
                let name = rest.strip_prefix("?P<").or_else(|| rest.strip_prefix("?<"));
                if name.is_some() || !rest.starts_with('?') {
                    number += 1;
                }
                if name.is_some_and(|name| name.starts_with("version>")) {
                    return number;
                }
            }
            _ => {}
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_group_is_the_version() {
        for (pattern, group) in [
            ("^Python ([0-9.]+)", 1),
            ("(?P<version>[0-9.]+)", 1),
            (r"(a)\((?:b)[(](?<version>c)", 2),
            ("(a)(?i)(b(?P<name>c))(?P<version>d)", 4),
            ("none", 1),
        ] {
            assert_eq!(version_group(pattern), group, "{pattern}");
        }
    }
}
