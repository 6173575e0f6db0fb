//! Whether an environment that was built can still be used.

use attune_plugin::Machine;
use attune_plugin::environment::CheckRequest;
use attune_plugin::failure::failure;
use attune_plugin::files::Kind;
use attune_plugin::frame;
use attune_plugin::machine::{folder, invocation};
use attune_plugin::types::{Failure, FailureClass};

use super::{INTERPRETER, installed, site_packages};
use crate::probe;

/// The most of `pyvenv.cfg` that is read.
const CONFIGURATION_MAX: u32 = 16 * 1024;

/// An error says what is wrong with the environment.
pub fn check(machine: &impl Machine, request: &CheckRequest) -> Result<(), Failure> {
    let environment = &request.environment;
    let installation = &request.installation;
    let configuration = machine
        .read(&format!("{environment}/pyvenv.cfg"), CONFIGURATION_MAX)
        .map_err(|reason| damaged(format!("`pyvenv.cfg` can't be read: {}", reason.message)))?;
    let configuration = String::from_utf8_lossy(&configuration);
    for (name, expected) in
        [("home", folder(&installation.path)), ("version", installation.version.native.as_str())]
    {
        let written = setting(&configuration, name).unwrap_or_default();
        if written != expected {
            return Err(failure(
                FailureClass::VersionMismatch,
                format!("was made for the {name} `{written}`, and the installation's is `{expected}`"),
            ));
        }
    }
    let interpreter = format!("{environment}/{INTERPRETER}");
    let target = machine
        .read_link(&interpreter)
        .map_err(|reason| damaged(format!("`{INTERPRETER}` is no link: {}", reason.message)))?;
    if target != installation.path {
        return Err(damaged(format!("`{INTERPRETER}` leads to `{target}`, not to `{}`", installation.path)));
    }
    let site_packages = site_packages(installation)?;
    match machine.stat(&format!("{environment}/{site_packages}")) {
        Ok(status) if matches!(status.kind, Kind::Directory) => {}
        Ok(_) => return Err(damaged(format!("`{site_packages}` is no folder"))),
        Err(reason) => return Err(damaged(format!("`{site_packages}` is gone: {}", reason.message))),
    }
    installed::check(machine, environment, &site_packages)?;
    if request.thorough { run(machine, request, &interpreter) } else { Ok(()) }
}

/// Starts the environment's interpreter and has it say that it is one.
fn run(machine: &impl Machine, request: &CheckRequest, interpreter: &str) -> Result<(), Failure> {
    let base = machine.open(&request.installation.path)?;
    let answers = machine.run_all(&[&base], &invocation(&probe::identity_of(interpreter), false));
    let completion = answers.into_iter().next().unwrap_or_else(|| {
        Err(failure(FailureClass::Other("no-answer".to_owned()), "the host did not answer"))
    })?;
    let facts = frame::read(&completion)?;
    let report = probe::of_facts(&facts)?;
    if report.version.0 != request.installation.version.semver {
        return Err(failure(
            FailureClass::VersionMismatch,
            format!("runs {}, not {}", report.version.1, request.installation.version.native),
        ));
    }
    let prefix = machine.canonicalize(facts.require("prefix")?)?;
    if prefix == machine.canonicalize(&request.environment)? {
        Ok(())
    } else {
        Err(damaged(format!("the interpreter does not know that it is in an environment: `{prefix}`")))
    }
}

fn setting<'a>(configuration: &'a str, name: &str) -> Option<&'a str> {
    configuration.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

pub(super) fn damaged(message: String) -> Failure {
    failure(FailureClass::Other("damaged-environment".to_owned()), message)
}
