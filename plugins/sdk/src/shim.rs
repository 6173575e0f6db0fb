//! Scripts of version managers that start one version or another of a program.
//!
//! The kind that a whole family of managers writes is followed by reading what it would read, since
//! starting a dozen of them takes seconds. What such a script would do in `/` without variables is
//! what is wanted, and in there only the manager's own `version` file decides. Other scripts have to
//! be asked; that is [`crate::interpreter`]'s part.

use crate::failure::failure;
use crate::machine::{Machine, Program, file_name};
use crate::tools::Format;
use crate::types::{Failure, FailureClass};

/// The most of a script that is read.
const SCRIPT_MAX: u32 = 8 * 1024;

/// What a script starts, as far as reading it tells.
#[derive(Debug)]
pub enum Shim {
    /// This program.
    Target(String),
    /// Nothing that exists.
    Unresolved(Failure),
    /// It is none of the kind that can be followed by reading.
    Unknown,
}

/// Follows `program`, found by the name of `path`, if it is a script of the kind
/// `exec "<root>/libexec/<manager>" exec "$program" "$@"`.
pub fn follow(machine: &impl Machine, program: &Program, path: &str) -> Shim {
    let Format::Script(_) = program.format else { return Shim::Unknown };
    let Ok(script) = machine.read(&program.path, SCRIPT_MAX) else { return Shim::Unknown };
    let script = String::from_utf8_lossy(&script);
    let Some((root, manager)) = script.lines().find_map(dispatch) else { return Shim::Unknown };
    let name = file_name(path);
    let file = format!("{root}/version");
    let selected = match machine.read(&file, SCRIPT_MAX) {
        Ok(contents) => String::from_utf8_lossy(&contents).into_owned(),
        Err(Failure { class: FailureClass::NotFound, .. }) => String::new(),
        Err(_) => return Shim::Unknown,
    };
    let versions: Vec<&str> = selected.split_whitespace().filter(|version| !version.contains('/')).collect();
    for version in &versions {
        if let Ok(target) = machine.canonicalize(&format!("{root}/versions/{version}/bin/{name}")) {
            return Shim::Target(target);
        }
    }
    let versions = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
    Shim::Unresolved(failure(
        FailureClass::ShimUnresolved,
        format!("a shim of {manager}: no version that `{file}` selects ({versions}) has `{name}`"),
    ))
}

/// Root folder and name of the manager that a line of a script hands over to.
fn dispatch(line: &str) -> Option<(&str, &str)> {
    let (program, arguments) = line.trim().strip_prefix("exec \"")?.split_once("\" exec ")?;
    let (root, manager) = program.rsplit_once("/libexec/")?;
    let plain = root.starts_with('/') && !root.contains('$') && !manager.contains('/');
    (plain && arguments.trim() == "\"$program\" \"$@\"").then_some((root, manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_hands_over() {
        for (line, expected) in [
            (r#"exec "/opt/mgr/libexec/mgr" exec "$program" "$@""#, Some(("/opt/mgr", "mgr"))),
            (r#"  exec "/a b/libexec/mgr" exec "$program" "$@"  "#, Some(("/a b", "mgr"))),
            (r#"exec "$ROOT/libexec/mgr" exec "$program" "$@""#, None),
            (r#"exec "mgr/libexec/mgr" exec "$program" "$@""#, None),
            (r#"exec "/m/libexec/mgr" exec "other" "$@""#, None),
            (r#"# exec "/m/libexec/mgr" exec "$program" "$@""#, None),
            (r#"exec /usr/bin/python3 "$@""#, None),
        ] {
            assert_eq!(dispatch(line), expected, "{line}");
        }
    }
}
