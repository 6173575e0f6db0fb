//! What a component answered and what it did for that, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value as Json;

use crate::cli::failure::{Exit, Failed};
use crate::cli::output::{Output, Tone};
use crate::cli::plugin::inspect::size;
use crate::cli::plugin::milliseconds;
use crate::cli::preview::{program_text, step_lines, written};
use crate::cli::table::table;
use crate::environment::{LaunchCommand, Plan};
use crate::installation::{Candidate, CheckOutcome, Failure, Installation, Verdict};
use crate::pack::problem::counted;
use crate::pack::{VariableChange, Voucher};
use crate::plugin::{Alias, Answer, CallReport, Ending, Function, Health, How, Message, Plugin, PluginError};
use crate::printable::one_line;
use crate::reference::RuntimeRef;
use crate::shape::answer;

/// An answer in both forms.
pub(super) struct Told {
    json: Json,
    lines: Vec<String>,
}

impl Told {
    pub(super) fn found(candidates: &[Candidate]) -> Self {
        let mut lines = Vec::new();
        for Candidate { path, outcome } in candidates {
            lines.push(match outcome {
                Ok(Installation { path, version, source, .. }) => {
                    format!("found {version} at {}  {source}", path.display())
                }
                Err(Failure { class, message }) => format!("not {}: {message} ({class})", path.display()),
            });
        }
        if lines.is_empty() {
            lines.push("nothing found".to_owned());
        }
        Self { json: answer::candidates(candidates), lines }
    }

    pub(super) fn aliases(aliases: &[Alias]) -> Self {
        let lines = aliases.iter().map(|Alias { name, constraint }| format!("{name} = {constraint}"));
        let mut lines = lines.collect::<Vec<_>>();
        if lines.is_empty() {
            lines.push("none".to_owned());
        }
        Self { json: answer::aliases(aliases), lines }
    }

    pub(super) fn verdict(verdict: &Verdict) -> Self {
        let mut lines = vec![format!("version {}", verdict.version)];
        for check in &verdict.checks {
            let outcome = match &check.outcome {
                CheckOutcome::Passed => "passed".to_owned(),
                CheckOutcome::Warned { reason } => format!("passed, but {reason}"),
                CheckOutcome::Failed { reason } => format!("failed: {reason}"),
                CheckOutcome::Skipped { reason } => format!("skipped: {reason}"),
            };
            let detail = if check.detail.is_empty() { String::new() } else { format!("  {}", check.detail) };
            lines.push(format!("check {}: {outcome}{detail}", check.name));
        }
        lines.extend(verdict.attributes.iter().map(|(name, value)| format!("{name} = {value}")));
        Self { json: answer::verdict(verdict), lines }
    }

    pub(super) fn plan(plan: &Plan) -> Self {
        let mut lines = step_lines(plan).collect::<Vec<_>>();
        if lines.is_empty() {
            lines.push("no step: no environment is needed".to_owned());
        }
        lines.extend(plan.inputs.iter().map(|(name, value)| format!("depends on {name} = {value}")));
        for (name, target) in plan.stage.iter().flat_map(|stage| &stage.links) {
            lines.push(format!("actions start beside a link {name} to {target}"));
        }
        Self { json: answer::plan(plan), lines }
    }

    pub(super) fn health(health: &Health) -> Self {
        let line = match health {
            Health::Healthy => "healthy".to_owned(),
            Health::Unhealthy { reason } => format!("not to be used: {reason}"),
        };
        Self { json: answer::health(health), lines: vec![line] }
    }

    pub(super) fn command(command: &LaunchCommand) -> Self {
        let LaunchCommand { program, arguments, variables } = command;
        let mut lines = vec![written(&program_text(program), arguments)];
        lines.extend(variables.iter().map(|(name, change)| match change {
            VariableChange::Set(value) => format!("{name} = {value}"),
            VariableChange::Prepend(value) => format!("{name} = {value}:…"),
            VariableChange::Append(value) => format!("{name} = …:{value}"),
            VariableChange::Unset => format!("without {name}"),
        }));
        Self { json: answer::command(command), lines }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    runtime: String,
    /// `pack.component`.
    component: &'a str,
    sha256: &'a str,
    /// What says that it is the one that is meant.
    vouched: &'a Voucher,
    function: &'static str,
    answer: Option<&'a Json>,
    error: Option<String>,
    /// None if the component was not called at all.
    #[serde(flatten)]
    report: Option<Report<'a>>,
}

#[derive(Serialize)]
struct Report<'a> {
    programs: Vec<Program<'a>>,
    /// All of them, of which `programs` has the first.
    programs_started: u32,
    programs_remembered: u32,
    denials: &'a [String],
    log: &'a [Message],
    guest_ms: f64,
    host_ms: f64,
    child_ms: f64,
    memory_peak: usize,
}

#[derive(Serialize)]
struct Program<'a> {
    path: &'a std::path::Path,
    arguments: &'a [String],
    exit_code: Option<i32>,
    signal: Option<i32>,
    failure: Option<&'a Failure>,
    /// Its answer was known; it did not run.
    remembered: bool,
    milliseconds: f64,
}

impl<'a> Report<'a> {
    fn of(report: &'a CallReport) -> Self {
        let programs = report.runs.iter().map(|run| {
            let (exit_code, signal) = match run.ending {
                Ok(Ending::Exited(code)) => (Some(code), None),
                Ok(Ending::Signalled(signal)) => (None, Some(signal)),
                Err(_) => (None, None),
            };
            Program {
                path: &run.program,
                arguments: &run.arguments,
                exit_code,
                signal,
                failure: run.ending.as_ref().err(),
                remembered: run.how == How::Remembered,
                milliseconds: milliseconds(run.took),
            }
        });
        Self {
            programs: programs.collect(),
            programs_started: report.tools_run,
            programs_remembered: report.tools_remembered,
            denials: &report.denials,
            log: &report.log,
            guest_ms: milliseconds(report.guest),
            host_ms: milliseconds(report.host),
            child_ms: milliseconds(report.child),
            memory_peak: report.memory_peak,
        }
    }
}

/// Shows the answer, or what the component did before it failed.
pub(super) fn show(
    (runtime, component): (&RuntimeRef, &Plugin),
    function: Function,
    answer: Result<Answer<Told>, PluginError>,
    output: &Output,
) -> Result<(), Failed> {
    let report = match &answer {
        Ok(answer) => Some(&answer.report),
        Err(error) => error.report.as_deref(),
    };
    let name = format!("{}.{}", component.pack(), component.name());
    let shown = Shown {
        runtime: runtime.to_string(),
        component: &name,
        sha256: component.sha256(),
        vouched: component.vouched(),
        function: function.name(),
        answer: answer.as_ref().ok().map(|answer| &answer.value.json),
        error: answer.as_ref().err().map(ToString::to_string),
        report: report.map(Report::of),
    };
    output.data(&shown, || {
        let lines = answer.as_ref().map(|answer| answer.value.lines.as_slice()).unwrap_or_default();
        let lines = lines.iter().flat_map(|line| [one_line(line), "\n".into()]).collect::<String>();
        let mut report = report.map(|report| describe(report, output)).unwrap_or_default();
        // Writing to a string can't fail.
        let _ = writeln!(report, "vouched for: {}", component.vouched());
        format!("{lines}{}{report}", if lines.is_empty() || report.is_empty() { "" } else { "\n" })
    })?;
    answer.map(drop).map_err(|error| Failed::new(Exit::Failure, error))
}

fn describe(report: &CallReport, output: &Output) -> String {
    let mut text = table(
        ["PROGRAM", "ENDED", "MS", "ARGUMENTS"],
        report.runs.iter().map(|run| {
            let ended = match &run.ending {
                Ok(Ending::Exited(0)) => "0".to_owned(),
                Ok(Ending::Exited(code)) => output.data_tone(Tone::Warning, &code.to_string()),
                Ok(Ending::Signalled(signal)) => output.data_tone(Tone::Bad, &format!("signal {signal}")),
                Err(failure) => output.data_tone(Tone::Bad, &failure.class.to_string()),
            };
            let took = match run.how {
                How::Started => format!("{:.1}", milliseconds(run.took)),
                How::Remembered => "remembered".to_owned(),
                How::Refused => "not run".to_owned(),
            };
            let arguments = written("", &run.arguments);
            [run.program.display().to_string(), ended, took, one_line(arguments.trim_start()).into_owned()]
        }),
    );
    if report.runs.is_empty() {
        "no program was run\n".clone_into(&mut text);
    }
    let all = report.tools_run + report.tools_remembered;
    let more = (all as usize).saturating_sub(report.runs.len());
    // Writing to a string can't fail.
    let mut line = |line: &str| {
        let _ = writeln!(text, "{}", one_line(line));
    };
    if more > 0 {
        line(&format!("and {}", counted(more, "more program")));
    }
    for denial in &report.denials {
        line(&format!("denied: {denial}"));
    }
    for Message { level, text, fields } in &report.log {
        line(format!("{level}: {text} {fields}").trim_end());
    }
    let (guest, host, child) =
        (milliseconds(report.guest), milliseconds(report.host), milliseconds(report.child));
    line(&format!(
        "took {guest:.1} ms in the component, {host:.1} ms in the host, {child:.1} ms in programs; memory at most {}",
        size(report.memory_peak as u64)
    ));
    text
}
