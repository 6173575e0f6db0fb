//! Which program installs packages into an environment, and with which arguments.
//!
//! All of them read no configuration of the machine's: an index is set by the operator's variables or by the
//! manifest, so that the same plan installs the same packages for every user.

use attune_plugin::Machine;
use attune_plugin::environment::{Program, RunStep};
use attune_plugin::failure::missing_capability;
use attune_plugin::plan::command;
use attune_plugin::tools::Format;
use attune_plugin::types::{Failure, Installation};
use attune_plugin::version;

use super::INTERPRETER;
use crate::verification::attribute;

/// Milliseconds that an installation may take.
const TIMEOUT: u32 = 15 * 60 * 1000;

/// What installs packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Installer {
    /// The program `uv`, at this path.
    Uv(String),
    /// The base installation's own pip, new enough to install elsewhere.
    Pip,
    /// The wheel of pip that came with the base installation, run inside the environment.
    Wheel(String),
}

/// Path of the program `uv`, if there is one and it supports this version.
pub(crate) fn uv(machine: &impl Machine, installation: &Installation) -> Option<String> {
    let [major, minor, _] = super::numbers(installation).ok()?;
    if (major, minor) < (3, 8) {
        return None;
    }
    let found = machine.find(&["uv".to_owned()]);
    let native = |program: &attune_plugin::Program| matches!(program.format, Format::Native);
    found.into_iter().filter_map(|found| found.outcome.ok()).find(native).map(|uv| uv.path)
}

/// The fastest installer there is for `installation`.
pub(super) fn choose(machine: &impl Machine, installation: &Installation) -> Result<Installer, Failure> {
    if let Some(uv) = uv(machine, installation) {
        return Ok(Installer::Uv(uv));
    }
    // The option `--python` came with pip 22.3.
    let installs_elsewhere = attribute(installation, "pip")
        .and_then(version::read)
        .and_then(|pip| version::parts(&pip.semver))
        .is_some_and(|[major, minor, _]| (major, minor) >= (22, 3));
    if installs_elsewhere {
        return Ok(Installer::Pip);
    }
    attribute(installation, "pip-wheel").map(|wheel| Installer::Wheel(wheel.to_owned())).ok_or_else(|| {
        let path = &installation.path;
        missing_capability(
            "pip",
            format!("`{path}` has no pip that could install the dependencies: install `uv`, or run `{path} -m ensurepip` (Debian: `apt install python3-venv`), then verify the runtime again"),
        )
    })
}

impl Installer {
    /// What people know it as.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip => "pip",
            Self::Wheel(_) => "bundled pip",
        }
    }

    /// The step that installs what `manifest` names.
    pub(super) fn install(&self, manifest: &str) -> RunStep {
        let interpreter = format!("${{environment}}/{INTERPRETER}");
        let mut step = match self {
            // Copies: a hard link would let an action that writes to a package change the cache.
            Self::Uv(path) => command(
                Program::Tool(path.clone()),
                &[
                    "pip",
                    "install",
                    "--python",
                    &interpreter,
                    "--requirement",
                    manifest,
                    "--cache-dir",
                    "${cache}/uv",
                    "--link-mode",
                    "copy",
                    "--compile-bytecode",
                    "--no-config",
                    "--no-progress",
                ],
            ),
            Self::Pip => pip(Program::Installation, &["-I", "-m", "pip", "--python", &interpreter], manifest),
            Self::Wheel(path) => {
                let pip_in_wheel = format!("{path}/pip");
                pip(Program::Environment(INTERPRETER.to_owned()), &["-I", &pip_in_wheel], manifest)
            }
        };
        step.network = true;
        step.timeout = Some(TIMEOUT);
        step
    }
}

fn pip(program: Program, start: &[&str], manifest: &str) -> RunStep {
    let install = [
        "install",
        "--requirement",
        manifest,
        "--cache-dir",
        "${cache}/pip",
        "--disable-pip-version-check",
        "--no-input",
        "--no-warn-script-location",
    ];
    let arguments: Vec<&str> = start.iter().chain(&install).copied().collect();
    command(program, &arguments)
}
