//! A new pack to start from: a manifest, one action and its script, with comments that teach; and one with a component
//! of its own.

mod component;

pub use component::{languages, scaffold_component};

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::MANIFEST;
use crate::reference::PackRef;

/// Why no pack was written.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// Something has the name already.
    #[error("{} exists already", path.display())]
    Exists {
        /// Where the pack was to be.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("can't write {}", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A file of the new pack.
struct NewFile {
    path: String,
    text: String,
    executable: bool,
}

/// Writes a new pack into a folder of its name in `parent`, and says where it is.
pub fn scaffold(parent: &Path, name: &PackRef) -> Result<PathBuf, ScaffoldError> {
    write(parent, name, files(name))
}

/// Writes files into a folder of the pack's name in `parent`, which must not be there yet.
fn write(
    parent: &Path,
    name: &PackRef,
    files: impl IntoIterator<Item = NewFile>,
) -> Result<PathBuf, ScaffoldError> {
    let root = parent.join(name.as_str());
    let failed = |path: &Path, source| ScaffoldError::Write { path: path.to_owned(), source };
    match fs::create_dir(&root) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(ScaffoldError::Exists { path: root });
        }
        Err(source) => return Err(failed(&root, source)),
    }
    for NewFile { path, text, executable } in files {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(&root);
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        fs::write(&path, text).map_err(|source| failed(&path, source))?;
        if executable {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&path, mode).map_err(|source| failed(&path, source))?;
        }
    }
    Ok(root)
}

fn files(name: &PackRef) -> [NewFile; 4] {
    let named = |text: &str| text.replace("PACK", name.as_str());
    [
        NewFile { path: MANIFEST.to_owned(), text: named(MANIFEST_TEXT), executable: false },
        NewFile { path: "actions/greet.yaml".to_owned(), text: named(ACTION_TEXT), executable: false },
        NewFile { path: "actions/greet.sh".to_owned(), text: named(SCRIPT_TEXT), executable: true },
        NewFile { path: ".attuneignore".to_owned(), text: named(IGNORE_TEXT), executable: false },
    ]
}

const MANIFEST_TEXT: &str = r#"# What this pack is. Check it with `attune pack validate .`, install it with `attune pack install .`
ref: PACK
label: PACK
description: What these actions are for.
version: "0.1.0"

# How many of its queued executions may run at a time, on all workers; an action can have a limit of its own.
# concurrency: 4
"#;

const ACTION_TEXT: &str = r#"# An action: something to start, under a version of a runtime.
# After `attune pack install .`, run it with `attune run PACK.greet -p name=Ada`
ref: PACK.greet
label: Greet
description: Says hello.

# Which runtime reads the script; `attune runtime list` shows all. An action can ask for versions of it,
# in quotes, since YAML makes a number of what looks like one:
#   runtime_version: ">=5,<6"
# `attune resolve PACK.greet` then says which installation is chosen, and why no other.
runtime: core.shell

# Relative to the pack.
entry_point: actions/greet.sh

# What it takes, as JSON Schema. Nothing runs with parameters that do not fit.
parameters:
  type: object
  properties:
    name:
      type: string
      description: Whom to greet.
      default: World
  additionalProperties: false

# They arrive on standard input: as one JSON object, or, for shell scripts, as lines of name='value'.
parameter_delivery: stdin
parameter_format: dotenv

# What it prints is its result: as text, or read as `json`, `jsonl` or `yaml`.
output_format: text

# Seconds, or with a unit: 90s, 5m.
timeout: 30s
"#;

const SCRIPT_TEXT: &str = r#"#!/bin/sh
# Parameters arrive on standard input, never on the command line, where everybody could read them.
# Each is a line name='value', quoted so that a shell can take it as it is.
set -eu
eval "$(cat)"

printf 'Hello, %s!\n' "$name"
"#;

const IGNORE_TEXT: &str = r"# What is not part of the pack, by the rules of .gitignore.
*.log
*.swp
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::bundle::Bundle;
    use crate::pack::{Known, KnownRuntime, load};

    #[test]
    fn a_new_pack_loads() {
        let folder = tempfile::tempdir().expect("a folder");
        let name: PackRef = "my-pack".parse().expect("a name");
        let root = scaffold(folder.path(), &name).expect("a pack");
        let bundle = Bundle::from_dir(&root).expect("a bundle");
        let shell = KnownRuntime {
            reference: "core.shell".parse().expect("a reference"),
            aliases: Vec::new(),
            has_versions: true,
        };
        let known = Known { runtimes: vec![shell], components: Vec::new() };
        let pack =
            load(&bundle, &known).into_pack().map_err(|problems| problems.render(false)).expect("a pack");
        assert_eq!(pack.reference, name);
        assert_eq!(pack.actions[0].reference.to_string(), "my-pack.greet");
        assert!(bundle.get("actions/greet.sh").expect("a script").executable);
    }

    #[test]
    fn its_script_greets() {
        use std::io::Write;
        use std::process::{Command, Stdio};

        let folder = tempfile::tempdir().expect("a folder");
        let root = scaffold(folder.path(), &"x".parse().expect("a name")).expect("a pack");
        for (input, expected) in [
            ("name='World'\n", "Hello, World!\n"),
            ("name='Ada $HOME'\n", "Hello, Ada $HOME!\n"),
            ("name='O'\\''Neill'\n", "Hello, O'Neill!\n"),
        ] {
            let mut child = Command::new("/bin/sh")
                .arg(root.join("actions/greet.sh"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a shell");
            child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
            let output = child.wait_with_output().expect("an output");
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{input}");
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = "x".parse().expect("a name");
        scaffold(folder.path(), &name).expect("a pack");
        let error = scaffold(folder.path(), &name).expect_err("an error");
        assert!(matches!(error, ScaffoldError::Exists { path } if path == folder.path().join("x")));

        let missing = folder.path().join("missing");
        let error = scaffold(&missing, &name).expect_err("an error");
        assert!(matches!(error, ScaffoldError::Write { .. }), "{error}");
    }
}
