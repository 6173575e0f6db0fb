//! Environments by declared commands: `create` makes one, `install` puts the dependencies into it.

use attune_plugin::Machine;
use attune_plugin::environment::{
    BuildPlan, CheckRequest, Command, DeclaredCommand, LaunchRequest, PlanRequest, Program, RunStep, Step,
};
use attune_plugin::failure::{failure, invalid_declaration};
use attune_plugin::machine::file_name;
use attune_plugin::plan::{command, make_dir, run, verify, write_files};
use attune_plugin::types::{Failure, FailureClass};

/// Where the manifests are laid, relative to the environment, and where `install` commands start.
const MANIFESTS: &str = "manifests";

/// The declared commands as steps; none if nothing is declared that would need an environment.
pub fn plan(machine: &impl Machine, request: &PlanRequest) -> Result<BuildPlan, Failure> {
    let config = &request.config;
    let installs = !config.install.is_empty() && !request.manifests.is_empty();
    let mut steps: Vec<Step> = Vec::new();
    if !config.create.is_empty() || installs {
        steps.push(make_dir(MANIFESTS));
        for declared in &config.create {
            steps.push(run(title(declared), run_step(machine, declared, "")?));
        }
    }
    if installs {
        let files = request.manifests.iter();
        steps.extend(write_files(
            MANIFESTS,
            files.map(|manifest| (manifest.name.as_str(), manifest.contents.as_slice())),
        )?);
        for declared in &config.install {
            steps.push(run(title(declared), run_step(machine, declared, MANIFESTS)?));
        }
    }
    if let (Some(interpreter), false) = (&config.environment_interpreter, steps.is_empty()) {
        steps.push(verify(interpreter));
    }
    Ok(BuildPlan { steps, stage: None, inputs: Vec::new(), extra: Vec::new() })
}

fn title(declared: &DeclaredCommand) -> String {
    format!("run {}", declared.arguments.join(" "))
}

fn run_step(machine: &impl Machine, declared: &DeclaredCommand, folder: &str) -> Result<RunStep, Failure> {
    let (program, arguments) = declared
        .arguments
        .split_first()
        .ok_or_else(|| invalid_declaration("a command of `execution_config` names no program"))?;
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| {
            // Some installers are scripts that the selected interpreter has to run.
            if let Some(name) = argument.strip_prefix("${tool:").and_then(|name| name.strip_suffix('}')) {
                return tool(machine, name);
            }
            Ok(argument
                .replace("${interpreter}", "${installation}")
                .replace("${manifests}", &format!("${{environment}}/{MANIFESTS}")))
        })
        .collect::<Result<_, Failure>>()?;
    let mut step = command(self::program(machine, program)?, &arguments);
    folder.clone_into(&mut step.folder);
    step.network = declared.network;
    step.timeout = declared.timeout;
    Ok(step)
}

/// What the first word of a declared command is: the interpreter, a program of the environment, or the
/// name of a granted tool.
fn program(machine: &impl Machine, word: &str) -> Result<Program, Failure> {
    if word == "${interpreter}" {
        return Ok(Program::Installation);
    }
    if let Some(path) = word.strip_prefix("${environment}/") {
        return Ok(Program::Environment(path.to_owned()));
    }
    if word.contains('/') || word.contains("${") {
        return Err(invalid_declaration(format!(
            "`{word}` is no program: write `${{interpreter}}`, `${{environment}}/…` or the name of a granted tool"
        )));
    }
    tool(machine, word).map(Program::Tool)
}

/// The canonical path of the first granted tool of this name that can be run.
fn tool(machine: &impl Machine, name: &str) -> Result<String, Failure> {
    let mut reason = None;
    for found in machine.find(&[name.to_owned()]) {
        match found.outcome {
            Ok(program) => return Ok(program.path),
            Err(failure) => reason = reason.or(Some(failure)),
        }
    }
    Err(reason.unwrap_or_else(|| {
        failure(
            FailureClass::NotFound,
            format!("the tool `{name}` was not found: it has to be granted and in a folder that is searched"),
        )
    }))
}

/// An error says why the environment can't be used.
pub fn check(machine: &impl Machine, request: &CheckRequest) -> Result<(), Failure> {
    let Some(interpreter) = &request.config.environment_interpreter else { return Ok(()) };
    let path = format!("{}/{interpreter}", request.environment);
    let damaged = |message: String| failure(FailureClass::Other("damaged-environment".to_owned()), message);
    match machine.stat(&path) {
        Ok(status) if status.executable => Ok(()),
        Ok(_) => Err(damaged(format!("`{interpreter}` may not be executed"))),
        Err(reason) => Err(damaged(format!("`{}` is gone: {}", file_name(interpreter), reason.message))),
    }
}

/// How an entry point is started.
#[must_use]
pub fn launch(request: LaunchRequest) -> Command {
    let mut arguments = request.config.interpreter_arguments;
    arguments.push(request.entry_point);
    arguments.extend(request.arguments);
    let program = match (request.environment, request.config.environment_interpreter) {
        (Some(_), Some(interpreter)) => Program::Environment(interpreter),
        _ => Program::Installation,
    };
    Command { program, arguments, variables: Vec::new(), extra: Vec::new() }
}
