//! `attune run --dry-run`: what would be chosen, built and started.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::failure::{Exit, Failed};
use super::output::Output;
use super::run::execution_failed;
use super::shape::PlanShape;
use crate::environment::StepAction;
use crate::environment::prepare::Planned;
use crate::execution::choice::Choice;
use crate::execution::launch::Launch;
use crate::execution::{self, Preview, Request};
use crate::selection::SelectionView;
use crate::worker::Worker;

#[derive(Serialize)]
struct ShownPreview<'a> {
    action: String,
    parameters: &'a serde_json::Map<String, serde_json::Value>,
    selection: Option<SelectionView<'a>>,
    environment: Option<ShownPlan<'a>>,
    command: Option<ShownCommand<'a>>,
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

pub(super) async fn preview(worker: &Worker, request: &Request, output: &Output) -> Result<Exit, Failed> {
    let preview = match execution::preview(worker, request).await {
        Ok(preview) => preview,
        Err(error) => return Err(execution_failed(worker, error).await),
    };
    let shown = ShownPreview {
        action: request.action.to_string(),
        parameters: &preview.asked.parameters,
        selection: preview.choice.as_ref().map(Choice::view),
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
    };
    output.data(&shown, || preview_text(&preview))?;
    Ok(Exit::Success)
}

fn preview_text(preview: &Preview) -> String {
    let mut text = String::new();
    if let Some(choice) = &preview.choice {
        text.push_str("selection\n");
        text.push_str(&indented(&crate::selection::table(&choice.selection)));
    }
    text.push_str("environment\n");
    text.push_str(&preview.environment.as_ref().map_or_else(|| "  none is needed\n".to_owned(), plan_text));
    let command = preview
        .launch
        .as_ref()
        .map_or_else(|| "known when the environment is built".to_owned(), command_text);
    let parameters = serde_json::Value::Object(preview.asked.parameters.clone());
    // Writing to a string can't fail.
    let _ = writeln!(text, "command\n  {command}\nparameters\n  {parameters}");
    text
}

fn command_text(launch: &Launch) -> String {
    let program = [launch.program.display().to_string()];
    program.iter().chain(&launch.arguments).map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn plan_text(planned: &Planned) -> String {
    let Some(key) = &planned.key else { return "  none is needed\n".to_owned() };
    let state = if planned.ready { "is there already" } else { "would be built" };
    let mut text = format!(
        "  {} {state} (key {})\n",
        planned.link.display(),
        key.as_str().get(..12).unwrap_or_default()
    );
    for (number, step) in (1..).zip(&planned.plan.steps) {
        let what = match &step.action {
            StepAction::MakeDir { path } => format!("make the folder {path}"),
            StepAction::WriteFile { path, contents, .. } => {
                format!("write {path} ({} bytes)", contents.len())
            }
            StepAction::Link { path, target } => format!("link {path} to {target}"),
            StepAction::Run(run) => format!("run {} {}", program_text(&run.program), run.arguments.join(" ")),
            StepAction::Verify { path } => format!("make sure that {path} is there"),
        };
        // Most titles say what is done themselves.
        let title = if what.starts_with(&step.title) { String::new() } else { format!("{}: ", step.title) };
        let _ = writeln!(text, "  {number:>3}. {title}{what}");
    }
    text
}

fn program_text(program: &crate::environment::PlannedProgram) -> String {
    match program {
        crate::environment::PlannedProgram::Installation => "the interpreter".to_owned(),
        crate::environment::PlannedProgram::Environment(path) => format!("${{environment}}/{path}"),
        crate::environment::PlannedProgram::Tool(path) => path.display().to_string(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect::<Vec<_>>().concat()
}
