//! What {{name}} is like: pure functions, without the host.

/// The semantic version in what a program calls its version; none if it is not one.
///
/// The host compares semantic versions alone, which have three numbers: what is missing is 0, what is left over
/// becomes build metadata.
#[must_use]
pub fn semver(native: &str) -> Option<String> {
    let numbers = native
        .split('.')
        .map(str::parse::<u64>)
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let part = |index: usize| numbers.get(index).copied().unwrap_or(0);
    let version = format!("{}.{}.{}", part(0), part(1), part(2));
    let rest = numbers
        .iter()
        .skip(3)
        .map(u64::to_string)
        .collect::<Vec<_>>();
    Some(if rest.is_empty() {
        version
    } else {
        format!("{version}+{}", rest.join("."))
    })
}

/// Arguments that start `entry_point`: those of the interpreter's own come first.
#[must_use]
pub fn start(interpreter: Vec<String>, entry_point: String, arguments: Vec<String>) -> Vec<String> {
    [interpreter, vec![entry_point], arguments].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_numbers() {
        for (native, expected) in [
            ("1.2.3", Some("1.2.3")),
            ("1.2", Some("1.2.0")),
            ("1.2.3.4", Some("1.2.3+4")),
            ("1.2.x", None),
            ("", None),
        ] {
            assert_eq!(semver(native).as_deref(), expected, "{native}");
        }
    }

    #[test]
    fn the_entry_point_is_between_its_arguments_and_the_interpreters() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            start(words(&["-w"]), "x".to_owned(), words(&["a", "b"])),
            ["-w", "x", "a", "b"]
        );
    }
}
