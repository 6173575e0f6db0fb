//! Failures: made here, so that the same thing reads the same whichever component saw it.

use crate::tools::{Completion, ExitStatus};
use crate::types::{Failure, FailureClass};

/// The longest excerpt of a program's output in a message, in characters.
const EXCERPT_MAX: usize = 160;

/// A failure of `class` with a sentence that says what was seen.
#[must_use]
pub fn failure(class: FailureClass, message: impl Into<String>) -> Failure {
    Failure { class, message: message.into() }
}

/// What the pack or its YAML declares cannot be carried out.
#[must_use]
pub fn invalid_declaration(message: impl Into<String>) -> Failure {
    failure(FailureClass::InvalidDeclaration, message)
}

/// The installation lacks `capability`.
#[must_use]
pub fn missing_capability(capability: &str, message: impl Into<String>) -> Failure {
    failure(FailureClass::MissingCapability(capability.to_owned()), message)
}

/// Why a program that ran did not end with `expected`, if it did not.
#[must_use]
pub fn unexpected_exit(completion: &Completion, expected: i32) -> Option<Failure> {
    match &completion.status {
        ExitStatus::Exited(code) if *code == expected => None,
        ExitStatus::Exited(0) => Some(failure(
            FailureClass::Other("zero-exit".to_owned()),
            format!("ended with exit code 0 where {expected} was expected"),
        )),
        ExitStatus::Exited(code) => Some(failure(
            FailureClass::NonzeroExit(*code),
            with_excerpt(format!("ended with exit code {code}"), completion),
        )),
        ExitStatus::Signalled(signal) => Some(failure(
            FailureClass::KilledBySignal(*signal),
            with_excerpt(format!("was ended by signal {signal}"), completion),
        )),
        ExitStatus::Other(text) => {
            Some(failure(FailureClass::Other("unknown-exit".to_owned()), format!("ended with {text}")))
        }
    }
}

/// `sentence`, and the first line of what the program said, errors first.
#[must_use]
pub fn with_excerpt(sentence: String, completion: &Completion) -> String {
    match excerpt(&completion.stderr).or_else(|| excerpt(&completion.stdout)) {
        Some(line) => format!("{sentence}: {line}"),
        None => sentence,
    }
}

fn excerpt(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let printable = line.chars().map(|character| if character.is_control() { ' ' } else { character });
    Some(printable.take(EXCERPT_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(status: ExitStatus, stdout: &str, stderr: &str) -> Completion {
        Completion {
            status,
            stdout: stdout.into(),
            stderr: stderr.into(),
            truncated: false,
            extra: Vec::new(),
        }
    }

    #[test]
    fn exits() {
        #[track_caller]
        fn check(status: ExitStatus, expected: i32, message: Option<&str>) {
            let failure = unexpected_exit(&completion(status, "out\n", "\n err\tor\nmore"), expected);
            assert_eq!(failure.map(|failure| failure.message).as_deref(), message);
        }
        check(ExitStatus::Exited(0), 0, None);
        check(ExitStatus::Exited(3), 3, None);
        check(ExitStatus::Exited(3), 0, Some("ended with exit code 3: err or"));
        check(ExitStatus::Exited(0), 3, Some("ended with exit code 0 where 3 was expected"));
        check(ExitStatus::Signalled(9), 0, Some("was ended by signal 9: err or"));
        check(ExitStatus::Other("a core dump".to_owned()), 0, Some("ended with a core dump"));
    }

    #[test]
    fn excerpts_are_short_and_prefer_errors() {
        let long = "é".repeat(EXCERPT_MAX * 2);
        let message = with_excerpt("said".to_owned(), &completion(ExitStatus::Exited(0), &long, ""));
        assert_eq!(message.chars().count(), "said: ".len() + EXCERPT_MAX);
        assert_eq!(with_excerpt("said".to_owned(), &completion(ExitStatus::Exited(0), "", " \n")), "said");
    }
}
