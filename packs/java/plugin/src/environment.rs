//! Starting programs. Nothing is built: libraries lie in the pack, in a folder `lib` beside what uses them.

use std::path::Path;

use attune_plugin::Machine;
use attune_plugin::environment::{
    BuildPlan, Change, CheckRequest, Command, LaunchRequest, PlanRequest, Program,
};
use attune_plugin::failure::missing_capability;
use attune_plugin::machine::folder;
use attune_plugin::types::Failure;
use attune_plugin::version;

/// Where a program's libraries are, relative to the folder of the entry point.
const LIBRARIES: &str = "lib";
/// The first version that starts a source file.
const SOURCES_SINCE: u64 = 11;

/// No environment is needed.
pub fn plan(_request: &PlanRequest) -> Result<BuildPlan, Failure> {
    Ok(BuildPlan { steps: Vec::new(), stage: None, inputs: Vec::new(), extra: Vec::new() })
}

/// There is none that could be damaged.
pub fn check(_machine: &impl Machine, _request: &CheckRequest) -> Result<(), Failure> {
    Ok(())
}

/// How an entry point is started: a source file, or an archive that says which class is its program.
pub fn launch(request: LaunchRequest) -> Result<Command, Failure> {
    let installation = &request.installation;
    let mut arguments = request.config.interpreter_arguments;
    if Path::new(&request.entry_point).extension().is_some_and(|extension| extension == "jar") {
        arguments.push("-jar".to_owned());
    } else {
        let native = &installation.version.native;
        let [major, ..] = version::parts(&installation.version.semver).unwrap_or_default();
        if major < SOURCES_SINCE {
            let message =
                format!("Java {native} starts archives only: source files need {SOURCES_SINCE} or later");
            return Err(missing_capability("compiler", message));
        }
        if installation.attributes.iter().any(|(name, value)| name == "compiler" && value == "no") {
            let message = format!("`{}` has no compiler, which a source file needs", installation.path);
            return Err(missing_capability("compiler", message));
        }
    }
    let own = folder(&request.entry_point);
    let libraries = format!("{}/{LIBRARIES}/*", own.trim_end_matches('/'));
    arguments.push(request.entry_point.clone());
    arguments.extend(request.arguments);
    Ok(Command {
        program: Program::Installation,
        arguments,
        variables: vec![("CLASSPATH".to_owned(), Change::Set(libraries))],
        extra: Vec::new(),
    })
}
