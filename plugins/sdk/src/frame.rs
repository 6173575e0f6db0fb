//! Probe output: `key=value` lines between two marks, so that whatever else a program prints does no harm.
//!
//! The mark is fixed, not drawn for each call: a probe that the host may answer from memory has to be
//! the same invocation every time. A probe's source must join the mark and its ending at run time, so
//! that a script that merely prints its arguments is not taken for an interpreter.

use crate::failure::{failure, unexpected_exit, with_excerpt};
use crate::tools::Completion;
use crate::types::{Failure, FailureClass};

/// What both marks begin with.
pub const MARK: &str = "attune-5b0c7f1e9a3d4826";
/// How the first mark ends.
pub const BEGIN: &str = "-begin";
/// How the last mark ends.
pub const END: &str = "-end";

/// What a probe reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<(String, String)>);

impl Facts {
    /// The value of `key`, if it was reported and is not empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// The value of a key without which the answer is none.
    pub fn require(&self, key: &str) -> Result<&str, Failure> {
        self.get(key).ok_or_else(|| {
            failure(FailureClass::UnparsableOutput, format!("answered the probe without saying `{key}`"))
        })
    }

    /// Names and values of those `keys` that were reported.
    #[must_use]
    pub fn select(&self, keys: &[&str]) -> Vec<(String, String)> {
        keys.iter().filter_map(|key| Some(((*key).to_owned(), self.get(key)?.to_owned()))).collect()
    }
}

/// What a probe reported, or why it did not.
///
/// A complete frame counts whatever the exit code is: an interpreter can fail on its way out for
/// reasons that are not its own, such as a hook of the machine's.
pub fn read(completion: &Completion) -> Result<Facts, Failure> {
    let text = String::from_utf8_lossy(&completion.stdout);
    match between_marks(&text) {
        Some(lines) => Ok(Facts(
            lines
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )),
        None => Err(unexpected_exit(completion, 0).unwrap_or_else(|| {
            failure(
                FailureClass::UnparsableOutput,
                with_excerpt("did not answer the probe".to_owned(), completion),
            )
        })),
    }
}

fn between_marks(text: &str) -> Option<impl Iterator<Item = &str>> {
    let lines: Vec<&str> = text.lines().collect();
    let position = |ending: &str| {
        lines.iter().position(|line| line.strip_prefix(MARK).is_some_and(|rest| rest.trim_end() == ending))
    };
    let (begin, end) = (position(BEGIN)?, position(END)?);
    (begin < end).then(|| lines.into_iter().take(end).skip(begin + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tools::ExitStatus;

    fn printed(stdout: String, code: i32) -> Completion {
        Completion {
            status: ExitStatus::Exited(code),
            stdout: stdout.into_bytes(),
            stderr: Vec::new(),
            truncated: false,
            extra: Vec::new(),
        }
    }

    #[test]
    fn only_a_whole_frame_counts() {
        for (stdout, code, class) in [
            (String::new(), 0, "UnparsableOutput"),
            (format!("{MARK}{BEGIN}\na=1\n"), 0, "UnparsableOutput"),
            (format!("{MARK}{END}\na=1\n{MARK}{BEGIN}\n"), 0, "UnparsableOutput"),
            (format!("echo {MARK}{BEGIN}\na=1\necho {MARK}{END}\n"), 0, "UnparsableOutput"),
            ("Segmentation fault".to_owned(), 139, "NonzeroExit(139)"),
        ] {
            let failure = read(&printed(stdout, code)).expect_err("no frame");
            assert!(format!("{:?}", failure.class).ends_with(class), "{failure:?}");
        }
    }

    #[test]
    fn a_missing_fact_is_named() {
        let facts = read(&printed(format!("{MARK}{BEGIN}\na=\nb=x=y\n{MARK}{END}\n"), 1)).expect("a frame");
        assert_eq!(facts.get("b"), Some("x=y"));
        assert_eq!(facts.select(&["a", "b", "c"]), [("b".to_owned(), "x=y".to_owned())]);
        assert!(facts.require("a").expect_err("empty").message.contains("`a`"));
    }

    proptest! {
        #[test]
        fn noise_around_a_frame_does_no_harm(before in "(\\PC{0,40}\n){0,5}", after in "\\PC{0,200}") {
            let stdout = format!("{before}{MARK}{BEGIN}\r\nversion=1.2.3\n{MARK}{END}\n{after}");
            let facts = read(&printed(stdout, 0)).expect("a frame");
            prop_assert_eq!(facts.get("version"), Some("1.2.3"));
        }
    }
}
