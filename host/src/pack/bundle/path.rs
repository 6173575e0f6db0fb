//! Which relative paths a file of a pack may have.

use super::BundleError;
use crate::printable::one_line;

/// What most file systems allow for one name.
const NAME_BYTES_MAX: usize = 255;
/// Leaves room for the folder that packs are kept in, below the 4,096 of most systems.
const PATH_BYTES_MAX: usize = 1_024;

/// Whether the path stays within whatever folder it is put in, on every system.
pub(super) fn check(path: &str) -> Result<(), BundleError> {
    let reason = if path.is_empty() {
        "it is empty"
    } else if path.starts_with('/') {
        "it is absolute"
    } else if path.len() > PATH_BYTES_MAX {
        "it is too long"
    } else if path.contains('\\') {
        "it has a backslash"
    } else if path.chars().any(char::is_control) {
        "it has control characters"
    } else {
        match path.split('/').find_map(name_fault) {
            Some(reason) => reason,
            None => return Ok(()),
        }
    };
    Err(BundleError::InvalidPath { path: one_line(path).into_owned(), reason })
}

fn name_fault(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it has an empty name"),
        "." => Some("it has a `.`"),
        ".." => Some("it has a `..`"),
        _ if name.len() > NAME_BYTES_MAX => Some("it has a name that is too long"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let long_name = "n".repeat(256);
        let long_path = "n/".repeat(600) + "n";
        for (path, expected) in [
            ("pack.yaml", None),
            ("actions/greet.sh", None),
            (".attuneignore", None),
            ("a/..b/c..", None),
            ("a b/ü", None),
            ("", Some("it is empty")),
            ("/etc/passwd", Some("it is absolute")),
            ("..", Some("it has a `..`")),
            ("a/../../b", Some("it has a `..`")),
            ("./a", Some("it has a `.`")),
            ("a//b", Some("it has an empty name")),
            ("a/", Some("it has an empty name")),
            ("a\\b", Some("it has a backslash")),
            ("a\nb", Some("it has control characters")),
            ("a\0b", Some("it has control characters")),
            (&long_name, Some("it has a name that is too long")),
            (&long_path, Some("it is too long")),
        ] {
            let found = match check(path) {
                Ok(()) => None,
                Err(BundleError::InvalidPath { reason, .. }) => Some(reason),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found, expected, "{path:?}");
        }
    }
}
