//! An execution as it is shown: everything as JSON, what matters as text.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;

use super::ending::{because, considered, timing_line};
use super::output::{Output, Tone};
use super::queued::waiting_text;
use super::watch::attempt;
use crate::client::executions::Summary;
use crate::execution::{ExecutionId, Status};
use crate::printable::printable;
use crate::queue::waiting::Waiting;
use crate::reference::ActionRef;
use crate::shape::{Problem, object};
use crate::store::execution::ExecutionRow;
use crate::trace::TraceContext;

/// As wide as the names of what is shown.
pub(super) const NAME: usize = 17;

/// Of a value that is longer, text shows only the beginning: bytes.
const VALUE_MAX: usize = 16 << 10;

/// `2026-01-31 12:00:00`, in UTC, which a heading has to say.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `status` in the colour that it deserves.
pub(super) fn status_text(output: &Output, status: Status) -> String {
    let tone = match status {
        Status::Succeeded => Tone::Good,
        Status::Queued | Status::Running => Tone::Strong,
        Status::Failed | Status::TimedOut | Status::Abandoned => Tone::Bad,
        Status::Cancelled => Tone::Warning,
    };
    output.data_tone(tone, status.name())
}

/// When the attempt began that runs or ran last; none while it waits for another.
pub(super) fn begun(status: Status, started_at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    started_at.filter(|_| status != Status::Queued)
}

/// How long the last attempt took; none while it runs.
pub(super) fn took(execution: &Summary) -> Option<String> {
    let milliseconds = (execution.finished_at? - execution.started_at?).num_milliseconds();
    Some(if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
    })
}

/// The worker that has it or had it last.
fn worker(execution: &ExecutionRow) -> Option<&str> {
    execution.worker.as_deref().filter(|_| execution.started_at.is_some())
}

/// Everything that matters of it, and why it waits while it does.
pub(super) fn show(output: &Output, execution: &ExecutionRow, waiting: Option<&Waiting>) -> String {
    let mut text = format!("{:<NAME$}{}\n", "execution", execution.id);
    // Writing to a string can't fail.
    let _ = writeln!(text, "{:<NAME$}{}", "action", execution.action);
    let _ = writeln!(text, "{:<NAME$}{}", "status", status_text(output, execution.status));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "{name:<NAME$}{}", printable(&value));
        }
    };
    let time = |time: DateTime<Utc>| time.to_rfc3339();
    line("reason", execution.reason.clone().filter(|reason| execution.error_class.as_ref() != Some(reason)));
    let error = if execution.status.has_ended() { "error" } else { "last error" };
    line(error, execution.error().map(|(class, message)| format!("{class}: {message}")));
    line(
        "exit code",
        execution.exit_code.filter(|_| execution.status.has_ended()).map(|code| code.to_string()),
    );
    line("attempt", Some(execution).filter(|row| row.attempt > 0).map(attempt));
    line("worker", worker(execution).map(str::to_owned));
    line("priority", Some(execution.priority.to_string()).filter(|_| execution.queued));
    line(if execution.queued { "enqueued" } else { "created" }, Some(time(execution.created_at)));
    line("not before", Some(execution.run_at).filter(|at| *at > execution.created_at).map(time));
    line("deadline", execution.deadline_at.map(time));
    line("started", begun(execution.status, execution.started_at).map(time));
    line("finished", execution.finished_at.map(time));
    line("asked for", Some(execution.constraint.clone().unwrap_or_else(|| "any version".to_owned())));
    line("runtime", execution.runtime.clone());
    line("version", execution.selected_version.clone());
    let by = if execution.selected_version.is_some() { "interpreter" } else { "program" };
    line(by, execution.installation_path.clone());
    line(
        "because",
        execution.selection.as_ref().and_then(|view| because(execution.constraint.as_deref(), view)),
    );
    line("environment", execution.environment_path.clone());
    line("environment key", execution.environment_key.clone());
    line("sandbox", execution.sandbox.clone());
    line("trace", execution.trace.as_ref().map(TraceContext::trace_id));
    line("timings", Some(timing_line(&execution.timings)));
    line("parameters", Some(shortened(execution.parameters.to_string(), execution.id)));
    for warning in &execution.warnings {
        line("warning", Some(warning.clone()));
    }
    if execution.output_incomplete {
        line("output", Some("may be incomplete: a process of the action's outlived it".to_owned()));
    }
    line(
        "result",
        execution.result.as_ref().map(|result| {
            let text = result.as_str().map_or_else(|| format!("{result:#}"), str::to_owned);
            shortened(text, execution.id)
        }),
    );
    if let Some(considered) = considered(execution).filter(|_| execution.status.has_ended()) {
        let _ = write!(text, "\n{considered}");
    }
    if let Some(waiting) = waiting {
        text += &waiting_text(output, waiting);
    }
    text
}

/// A value, or its beginning and where the rest is.
fn shortened(mut text: String, id: ExecutionId) -> String {
    let bytes = text.len();
    if bytes > VALUE_MAX {
        text.truncate(text.floor_char_boundary(VALUE_MAX));
        let rest = bytes - text.len();
        let _ = write!(text, "\n[… {rest} more bytes: `attune execution show {id} --json` …]");
    }
    text
}

/// An execution, as `--json` shows it.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: ExecutionId,
    action: &'a ActionRef,
    pack_digest: &'a str,
    status: Status,
    reason: Option<&'a str>,
    /// Why it waits, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a Waiting>,
    attempt: i64,
    /// How often it is tried again if it fails.
    retries: i64,
    /// Whether it came through the queue.
    queued: bool,
    priority: i64,
    run_at: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    /// The worker that has it or had it last.
    worker: Option<&'a str>,
    cancel_requested: bool,
    parameters: &'a Json,
    result: Option<&'a Json>,
    exit_code: Option<i64>,
    /// How it ended, if that was badly.
    error: Option<Problem<'a>>,
    /// How the attempt before ended, while it waits for the next one or that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<Problem<'a>>,
    constraint: Option<&'a str>,
    runtime: Option<&'a str>,
    /// Exact version of the installation.
    selected_version: Option<&'a str>,
    /// Label of the version of the runtime that covers it.
    runtime_version: Option<&'a str>,
    installation_path: Option<&'a str>,
    selection: Option<&'a Json>,
    environment_key: Option<&'a str>,
    environment_path: Option<&'a str>,
    plugin_digest: Option<&'a str>,
    sandbox: Option<&'a str>,
    output_incomplete: bool,
    warnings: &'a [String],
    /// Milliseconds by stage.
    #[serde(serialize_with = "object")]
    timings: &'a [(String, f64)],
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl<'a> Shown<'a> {
    /// With the reason why it waits.
    pub(super) fn waiting(self, waiting: Option<&'a Waiting>) -> Self {
        Self { waiting, ..self }
    }
}

impl<'a> From<&'a ExecutionRow> for Shown<'a> {
    fn from(row: &'a ExecutionRow) -> Self {
        let error = row.error().map(|(class, message)| Problem { class, message });
        Self {
            id: row.id,
            action: &row.action,
            pack_digest: &row.pack_digest,
            status: row.status,
            reason: row.reason.as_deref(),
            waiting: None,
            attempt: row.attempt,
            retries: row.retries,
            queued: row.queued,
            priority: row.priority,
            run_at: row.run_at,
            deadline_at: row.deadline_at,
            worker: worker(row),
            cancel_requested: row.cancel_requested,
            parameters: &row.parameters,
            result: row.result.as_ref(),
            exit_code: row.exit_code.filter(|_| row.status.has_ended()),
            error: error.filter(|_| row.status.has_ended()),
            last_error: error.filter(|_| !row.status.has_ended()),
            constraint: row.constraint.as_deref(),
            runtime: row.runtime.as_deref(),
            selected_version: row.selected_version.as_deref(),
            runtime_version: row.runtime_version.as_deref(),
            installation_path: row.installation_path.as_deref(),
            selection: row.selection.as_ref(),
            environment_key: row.environment_key.as_deref(),
            environment_path: row.environment_path.as_deref(),
            plugin_digest: row.plugin_digest.as_deref(),
            sandbox: row.sandbox.as_deref(),
            output_incomplete: row.output_incomplete,
            warnings: &row.warnings,
            timings: &row.timings,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            trace_id: row.trace.as_ref().map(TraceContext::trace_id),
        }
    }
}
