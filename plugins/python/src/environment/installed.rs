//! What an environment had in it when it was built. Nothing is installed into it later, so what is missing
//! now was taken away: packages themselves can't tell, since what they know of themselves goes with them.

use attune_plugin::Machine;
use attune_plugin::environment::{Program, Step};
use attune_plugin::plan::{command, run};
use attune_plugin::types::Failure;

use super::INTERPRETER;
use super::health::damaged;

/// Where it is noted, relative to the environment: what lies in the folder of packages, one a line, and of each
/// package the file that makes it one. Empty if nothing was to be installed.
pub(super) const LIST: &str = "installed.txt";
/// Writes the list.
const NOTE: &str = include_str!("installed.py");
/// The most of the list that is read: some ten thousand lines.
const LIST_MAX: u32 = 512 * 1024;

/// The step that notes what lies in the folder of packages.
pub(super) fn note(site_packages: &str) -> Step {
    let folder = format!("${{environment}}/{site_packages}");
    let list = format!("${{environment}}/{LIST}");
    // What packages have the interpreter do when it starts is not for this.
    let arguments = ["-E", "-s", "-S", "-c", NOTE, &folder, &list];
    run("note what was installed", command(Program::Environment(INTERPRETER.to_owned()), &arguments))
}

/// Whether everything is still there.
pub(super) fn check(machine: &impl Machine, environment: &str, site_packages: &str) -> Result<(), Failure> {
    let list = machine
        .read(&format!("{environment}/{LIST}"), LIST_MAX)
        .map_err(|reason| damaged(format!("`{LIST}` can't be read: {}", reason.message)))?;
    let list = String::from_utf8_lossy(&list);
    // The last line may have been cut.
    let complete = list.rfind('\n').map_or("", |end| &list[..end]);
    let folder = format!("{environment}/{site_packages}");
    let present = machine.list(&folder)?;
    let is_there = |name: &str| {
        if name.contains('/') {
            machine.stat(&format!("{folder}/{name}")).is_ok()
        } else {
            present.iter().any(|entry| entry == name)
        }
    };
    match complete.lines().filter(|name| !is_there(name)).collect::<Vec<_>>()[..] {
        [] => Ok(()),
        [name] => Err(damaged(format!("`{name}` was installed and is gone"))),
        [first, ref rest @ ..] => {
            Err(damaged(format!("`{first}` and {} more were installed and are gone", rest.len())))
        }
    }
}
