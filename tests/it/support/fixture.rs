//! Packs that tests write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::cli::{Machine, Output};

/// Files of a pack.
pub(crate) struct Pack {
    name: &'static str,
    files: Vec<(String, Vec<u8>)>,
}

impl Pack {
    pub(crate) fn new(name: &'static str) -> Self {
        let manifest = format!("ref: {name}\nversion: \"1.0.0\"\n");
        Self { name, files: Vec::new() }.file("pack.yaml", manifest)
    }

    /// With a file, in place of one of that name.
    pub(crate) fn file(mut self, path: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.files.retain(|(other, _)| other != path);
        self.files.push((path.to_owned(), contents.into()));
        self
    }

    /// With an action that starts `script`, whose file name follows `name`: `say.sh` for the action `say`.
    pub(crate) fn action(self, file: &str, yaml: &str, script: &str) -> Self {
        let (name, _) = file.split_once('.').expect("a name and an extension");
        let declared = format!("ref: {}.{name}\nentry_point: actions/{file}\n{yaml}\n", self.name);
        self.file(&format!("actions/{name}.yaml"), declared).file(&format!("actions/{file}"), script)
    }

    /// With an action for the shell.
    pub(crate) fn shell(self, name: &str, yaml: &str, script: &str) -> Self {
        self.action(&format!("{name}.sh"), &format!("runtime: core.shell\n{yaml}"), script)
    }

    /// Writes the pack into a folder of its name.
    pub(crate) fn write(&self, parent: &Path) -> PathBuf {
        let root = parent.join(self.name);
        if root.exists() {
            fs::remove_dir_all(&root).expect("removed");
        }
        for (path, contents) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, contents).expect("a file");
            if contents.starts_with(b"#!") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
            }
        }
        root
    }

    /// Its files as a `.tar.gz`.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, contents) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(if contents.starts_with(b"#!") { 0o755 } else { 0o644 });
            builder.append_data(&mut header, path, contents.as_slice()).expect("a file");
        }
        builder.into_inner().and_then(GzEncoder::finish).expect("an archive")
    }

    /// Installs it, with everything that it asks for approved.
    #[track_caller]
    pub(crate) fn install(&self, machine: &Machine) -> Output {
        self.installs(machine, 0)
    }

    /// The same for a pack that has a component that fails: it is installed, and the exit code says so.
    #[track_caller]
    pub(crate) fn install_failing(&self, machine: &Machine) -> Output {
        self.installs(machine, 1)
    }

    #[track_caller]
    fn installs(&self, machine: &Machine, code: i32) -> Output {
        let folder = self.write(&machine.make("packs"));
        machine.runs(code, &["pack", "install", "--approve", &folder.to_string_lossy()])
    }
}

/// A runtime of made-up tools in `~/tools/VERSION/bin`, found and run by the declarative component.
pub(crate) const TOOL: &str = r#"
ref: tools.tool
label: Tool
aliases: [tool, the-tool]
plugin:
  component: core.declarative
  grants:
    tools: [tool]
    search:
      - source: home
        folders: ["~/tools/*/bin"]
distributions:
  verification:
    commands:
      - { binary: tool, args: ["--version"], pattern: '^tool (?P<version>\S+)' }
execution_config: &config
  interpreter: { binary: tool }
versions:
  - version: "3.11"
    execution_config: *config
  - version: "3.12"
    is_default: true
    execution_config:
      interpreter: { binary: tool }
      env_vars: { SERIES: "3.12" }
"#;

/// The pack of the runtime `tools.tool`, to which actions can be added.
pub(crate) fn tools() -> Pack {
    Pack::new("tools").file("runtimes/tool.yaml", TOOL)
}

/// Puts a made-up tool onto the machine, which notes each of its starts.
pub(crate) fn tool(machine: &Machine, version: &str) -> PathBuf {
    // Before the tool: what a search looks at must not change when the tool is started.
    machine.write(&format!("home/tools/{version}/starts"), "");
    machine.script(
        &format!("home/tools/{version}/bin/tool"),
        format!(
            r#"#!/bin/sh
echo "$1" >> "${{0%/bin/*}}/starts"
if [ "$1" = --version ]; then echo "tool {version}"; exit 0; fi
exec /bin/sh "$@"
"#
        ),
    )
}

/// How often a made-up tool was started.
pub(crate) fn starts(machine: &Machine, version: &str) -> usize {
    let path = machine.at(format!("home/tools/{version}/starts"));
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
