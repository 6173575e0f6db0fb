//! `attune run --dry-run`: what would be chosen, built and started.

use std::path::Path;

use serde::Serialize;

use super::ending::{RanBy, because_chosen};
use super::failure::{Exit, Failed};
use super::output::Output;
use super::run::execution_failed;
use crate::environment::prepare::Planned;
use crate::environment::{Plan, PlannedProgram, StepAction};
use crate::execution::choice::Choice;
use crate::execution::launch::Launch;
use crate::execution::{self, ExecutionError, Preview, Request};
use crate::pack::SecretDeclaration;
use crate::printable::one_line;
use crate::selection::SelectionView;
use crate::shape::{PlanShape, Problem};
use crate::worker::Worker;

#[derive(Serialize)]
struct ShownPreview<'a> {
    action: String,
    parameters: &'a serde_json::Map<String, serde_json::Value>,
    /// Those that the action declares; no value is read.
    secrets: Vec<ShownSecret<'a>>,
    secrets_file: Option<&'a Path>,
    /// Why it would not be started, and the rest is not known.
    error: Option<Problem<'a>>,
    selection: Option<SelectionView<'a>>,
    environment: Option<ShownPlan<'a>>,
    command: Option<ShownCommand<'a>>,
    warnings: Vec<&'a str>,
}

#[derive(Serialize)]
struct ShownPlan<'a> {
    path: &'a Path,
    key: Option<&'a str>,
    ready: bool,
    plan: PlanShape<'a>,
}

#[derive(Serialize)]
struct ShownCommand<'a> {
    program: &'a Path,
    arguments: &'a [String],
}

#[derive(Serialize)]
struct ShownSecret<'a> {
    name: &'a str,
    required: bool,
}

pub(super) async fn preview(worker: &Worker, request: &Request, output: &Output) -> Result<Exit, Failed> {
    let preview = match execution::preview(worker, request).await {
        Ok(preview) => preview,
        Err(error) => return Err(execution_failed(worker, error).await),
    };
    if !output.json
        && let Some(cause) = preview.cause
    {
        return Err(execution_failed(worker, cause).await);
    }
    let problem = preview.cause.as_ref().map(|cause| (cause.class(), cause.to_string()));
    let warnings = preview.choice.iter().flat_map(|choice| &choice.warnings).map(String::as_str);
    let declared = &preview.asked.action.program.secrets;
    let shown = ShownPreview {
        action: request.action.to_string(),
        parameters: &preview.asked.parameters,
        secrets: declared
            .iter()
            .map(|secret| ShownSecret { name: secret.name.as_str(), required: secret.required })
            .collect(),
        secrets_file: preview.secrets_file.as_deref(),
        error: problem.as_ref().map(|(class, message)| Problem { class, message }),
        selection: preview
            .choice
            .as_ref()
            .map(Choice::view)
            .or_else(|| preview.cause.as_ref().and_then(ExecutionError::selection)),
        environment: preview.environment.as_ref().map(|planned| ShownPlan {
            path: &planned.link,
            key: planned.key.as_ref().map(crate::environment::key::Key::as_str),
            ready: planned.ready,
            plan: (&planned.plan).into(),
        }),
        command: preview
            .launch
            .as_ref()
            .map(|launch| ShownCommand { program: &launch.program, arguments: &launch.arguments }),
        warnings: warnings.collect(),
    };
    if !output.json {
        for warning in &shown.warnings {
            output.warn(warning);
        }
    }
    output.plan(&shown, || preview_text(&preview))?;
    Ok(match preview.cause {
        Some(cause) => execution_failed(worker, cause).await.exit,
        None => Exit::Success,
    })
}

fn preview_text(preview: &Preview) -> String {
    let asked = &preview.asked;
    let mut sections = Vec::new();
    if let Some(choice) = &preview.choice {
        let chosen = RanBy::chosen(&asked.runtime.runtime.label, choice).to_string();
        let because = because_chosen(asked.constraint.as_ref(), choice);
        sections.push(("selection", [chosen].into_iter().chain(because).collect()));
        let environment = preview.environment.as_ref().and_then(plan_lines);
        sections.push(("environment", environment.unwrap_or_else(|| vec!["none is needed".to_owned()])));
    }
    let command = preview.launch.as_ref().map(command_text);
    let command = command.unwrap_or_else(|| "known when the environment is built".to_owned());
    sections.push(("command", vec![command]));
    let parameters = serde_json::Value::Object(asked.parameters.clone());
    sections.push(("parameters", vec![parameters.to_string()]));
    let secrets = &asked.action.program.secrets;
    if !secrets.is_empty() {
        let file = preview.secrets_file.as_deref();
        sections.push(("secrets", secrets.iter().map(|secret| secret_text(secret, file)).collect()));
    }
    let texts = sections.into_iter().map(|(heading, lines)| {
        // A line of its own for each, whatever it says.
        let lines = lines.iter().map(|line| format!("  {}\n", one_line(line)));
        format!("{heading}\n{}", lines.collect::<String>())
    });
    texts.collect()
}

/// Which secret would be read and from where; nothing of it is read for this.
fn secret_text(secret: &SecretDeclaration, file: Option<&Path>) -> String {
    let name = &secret.name;
    match file {
        Some(file) if secret.required => format!("{name} would be read from {}", file.display()),
        Some(file) => format!("{name} would be read from {}, if it is there", file.display()),
        None if secret.required => {
            format!("{name} is needed, and no file of secrets is named: --secrets FILE")
        }
        None => format!("{name} would do without: no file of secrets is named"),
    }
}

fn command_text(launch: &Launch) -> String {
    let program = launch.program.display().to_string();
    written(&program, &launch.arguments)
}

/// None if none is needed.
fn plan_lines(planned: &Planned) -> Option<Vec<String>> {
    let key = planned.key.as_ref()?.as_str();
    let key = key.get(..12).unwrap_or(key);
    let link = planned.link.display();
    if planned.ready {
        return Some(vec![format!("{link} is there already (key {key})")]);
    }
    Some(
        [format!("{link} would be built (key {key})")].into_iter().chain(step_lines(&planned.plan)).collect(),
    )
}

/// The steps of a plan, a line for each.
pub(super) fn step_lines(plan: &Plan) -> impl Iterator<Item = String> + '_ {
    (1..).zip(&plan.steps).map(|(number, step): (u32, _)| {
        let what = match &step.action {
            StepAction::MakeDir { path } => format!("make the folder {path}"),
            StepAction::WriteFile { path, contents, .. } => {
                format!("write {path} ({} bytes)", contents.len())
            }
            StepAction::Link { path, target } => format!("link {path} to {target}"),
            StepAction::Run(run) => {
                format!("run {}", written(&program_text(&run.program), &run.arguments))
            }
            StepAction::Verify { path } => format!("make sure that {path} is there"),
        };
        // Most titles say what is done themselves.
        let title = if what.starts_with(&step.title) { String::new() } else { format!("{}: ", step.title) };
        format!("{number:>3}. {title}{what}")
    })
}

pub(super) fn program_text(program: &PlannedProgram) -> String {
    match program {
        PlannedProgram::Installation => "the interpreter".to_owned(),
        PlannedProgram::Environment(path) => format!("${{environment}}/{path}"),
        PlannedProgram::Tool(path) => path.display().to_string(),
    }
}

/// A command in a line. Of a script that is handed over as an argument there is no more than its length: `--json`
/// has its text.
pub(super) fn written(program: &str, arguments: &[String]) -> String {
    let arguments = arguments.iter().map(|argument| match argument.trim_end().lines().count() {
        0 => "''".to_owned(),
        1 if argument.contains(char::is_whitespace) => format!("'{}'", argument.trim_end()),
        1 => argument.clone(),
        lines => format!("(a script of {lines} lines)"),
    });
    [program.to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}
