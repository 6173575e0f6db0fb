//! `attune execution`: what ran and what it printed.

use std::fmt::Write as _;
use std::io::IsTerminal;

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value as Json;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone, table};
use super::queued::{self, Place, Waiting};
use super::run::{Ask, timing_line};
use super::runtime::open_worker;
use super::shape::{Problem, object};
use crate::execution::{ExecutionId, Status};
use crate::printable::{coloured, printable};
use crate::reference::ActionRef;
use crate::store::Store;
use crate::store::bell::Bell;
use crate::store::execution::{Attempt, ExecutionRow, LogStream};
use crate::store::queue::CancelOutcome;
use crate::trace::TraceContext;

#[derive(Debug, Subcommand)]
pub(super) enum Execution {
    /// List executions, newest first
    List {
        /// Only those of this action
        #[arg(long, value_name = "ACTION")]
        action: Option<ActionRef>,
        /// Only those with this status
        #[arg(long)]
        status: Option<Status>,
        /// How many at most
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: u32,
    },
    /// Show everything about one execution
    Show {
        /// The execution, the beginning of its identifier, or `last` for the newest
        id: Which,
    },
    /// Print what an execution printed
    ///
    /// On a terminal, colours are shown and other control characters are written out, so that what was
    /// printed then can't steer it now. Into a pipe or a file goes every byte as it was.
    Logs {
        /// The execution, the beginning of its identifier, or `last` for the newest
        id: Which,
        /// Only this stream
        #[arg(long, value_enum)]
        stream: Option<Stream>,
        /// Of this attempt; of the last one unless given
        #[arg(long, value_name = "NUMBER")]
        attempt: Option<i64>,
    },
    /// Have a worker run an action, and print the identifier of the execution
    Enqueue {
        #[command(flatten)]
        ask: Ask,
        #[command(flatten)]
        place: Place,
    },
    /// Show what an execution prints until it ends; the exit code is that of `attune run`
    Watch {
        /// The execution, the beginning of its identifier, or `last` for the newest
        id: Which,
    },
    /// End an execution: at once if it waits, in good order if a worker runs it
    Cancel {
        /// The execution, the beginning of its identifier, or `last` for the newest
        id: Which,
    },
    /// Put an execution that has ended back into the queue, with the same parameters
    Retry {
        /// The execution, the beginning of its identifier, or `last` for the newest
        id: Which,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// An execution as people name it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Last,
    Id(ExecutionId),
    /// It begins with so many digits, the rest being zero.
    Begins(ExecutionId, usize),
}

/// As many digits as the beginning of an identifier needs.
const DIGITS_MIN: usize = 4;
/// As many executions as are listed when an identifier is not clear.
const LISTED_MAX: u32 = 10;

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "last" {
            return Ok(Self::Last);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        ExecutionId::beginning(text)
            .filter(|(_, digits)| *digits >= DIGITS_MIN)
            .map(|(id, digits)| Self::Begins(id, digits))
            .ok_or_else(|| {
                format!(
                    "write {DIGITS_MIN} or more digits of the identifier that `attune execution list` shows, or `last`"
                )
            })
    }
}

impl Execution {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        if let Self::Enqueue { ask, place } = self {
            let request = ask.request()?;
            let worker = open_worker(options, output).await?;
            let outcome = queued::put(&worker, &request, &place.terms(), output).await;
            worker.close().await;
            return outcome;
        }
        let store = Store::open(&options.settings(output)?.database).await?;
        let mut exit = Exit::Success;
        match self {
            Self::Enqueue { .. } => {}
            Self::List { action, status, limit } => {
                let executions = store.executions(action.as_ref(), status, limit).await?;
                let shown = executions.iter().map(Shown::from).collect::<Vec<_>>();
                output.data(&shown, || list(output, &executions))?;
            }
            Self::Show { id } => {
                let execution = find(&store, id).await?;
                let waiting = match execution.status {
                    Status::Queued => Some(queued::waiting(&store, &execution).await?),
                    _ => None,
                };
                let shown = Shown { waiting: waiting.as_ref(), ..Shown::from(&execution) };
                output.data(&shown, || {
                    let waiting = waiting.as_ref().map(|waiting| queued::waiting_text(output, waiting));
                    show(output, &execution) + &waiting.unwrap_or_default()
                })?;
            }
            Self::Logs { id, stream, attempt } => {
                let last = find(&store, id).await?.last_attempt();
                let attempt = Attempt { number: attempt.unwrap_or(last.number), ..last };
                logs(&store, output, attempt, stream).await?;
            }
            Self::Watch { id } => {
                let execution = find(&store, id).await?;
                exit = queued::watch(&store, execution.id, output).await?;
            }
            Self::Cancel { id } => cancel(&store, &find(&store, id).await?, output).await?,
            Self::Retry { id } => retry(&store, &find(&store, id).await?, output).await?,
        }
        store.close().await;
        Ok(exit)
    }
}

async fn cancel(store: &Store, execution: &ExecutionRow, output: &Output) -> Result<(), Failed> {
    let outcome = store.cancel_execution(execution.id).await?;
    store.ring(Bell::Queue).await;
    let (status, said) = match outcome {
        CancelOutcome::Cancelled => (Status::Cancelled, "it was waiting, and is cancelled"),
        CancelOutcome::Requested => (Status::Running, "its worker is asked to end it"),
        CancelOutcome::Direct => {
            let text = "it was not queued, but started by `attune run`: end it there, with Ctrl-C";
            return Err(Failed::message(Exit::Input, text));
        }
        CancelOutcome::Ended(status) => {
            return Err(Failed::message(Exit::Input, format!("it has ended before: {status}")));
        }
        CancelOutcome::Unknown => return Err(Failed::message(Exit::NotFound, "there is no such execution")),
    };
    output.data(&Changed { id: execution.id, status }, || format!("{} {said}", execution.id))?;
    Ok(())
}

async fn retry(store: &Store, execution: &ExecutionRow, output: &Output) -> Result<(), Failed> {
    if !store.retry_execution(execution.id).await? {
        let why = if execution.queued {
            format!("it has not ended yet: {}", execution.status)
        } else {
            "it was not queued, but started by `attune run`: run it again there".to_owned()
        };
        return Err(Failed::message(Exit::Input, why));
    }
    store.ring(Bell::Queue).await;
    output.data(&Changed { id: execution.id, status: Status::Queued }, || {
        format!("{} is in the queue again", execution.id)
    })?;
    Ok(())
}

/// What became of an execution that somebody changed, as `--json` shows it.
#[derive(Serialize)]
struct Changed {
    id: ExecutionId,
    status: Status,
}

/// How an execution ended, in a line or two.
pub(super) fn finished(output: &Output, execution: &ExecutionRow) -> String {
    let mut text = format!(
        "{} {} {} ({})",
        output.tone(Tone::Dim, "--"),
        execution.action,
        status_text(output, execution.status),
        execution.id
    );
    if let Some(message) = &execution.error_message {
        let class = execution.error_class.as_deref().unwrap_or("failed");
        // Writing to a string can't fail.
        let _ = write!(text, "\n   {} {class}: {}", output.tone(Tone::Dim, "error   "), printable(message));
    }
    if let (Some(version), Some(path)) = (&execution.selected_version, &execution.installation_path) {
        let runtime = execution.runtime.as_deref().unwrap_or_default();
        let _ = write!(text, "\n   {} {runtime} {version} at {path}", output.tone(Tone::Dim, "ran by  "));
    }
    text
}

/// An execution, as `--json` shows it.
pub(super) fn shown_as_json(execution: &ExecutionRow) -> impl Serialize {
    Shown::from(execution)
}

async fn find(store: &Store, which: Which) -> Result<ExecutionRow, Failed> {
    let found = match which {
        Which::Last => store.executions(None, None, 1).await?.pop(),
        Which::Id(id) => store.execution(id).await?,
        Which::Begins(first, digits) => {
            let mut found = store.executions_between(first, first.last_with(digits), LISTED_MAX + 1).await?;
            if found.len() > 1 {
                return Err(ambiguous(&found));
            }
            found.pop()
        }
    };
    found.ok_or_else(|| {
        Failed::message(Exit::NotFound, "there is no such execution")
            .hint("`attune execution list` shows what there is")
    })
}

fn ambiguous(found: &[ExecutionRow]) -> Failed {
    let listed = found.iter().take(LISTED_MAX as usize).map(|execution| {
        let (id, action, status) = (execution.id, &execution.action, execution.status);
        format!("  {id}  {action}  {status}  {}\n", execution.created_at.format("%Y-%m-%d %H:%M:%S"))
    });
    let mut report = listed.collect::<String>();
    if found.len() > LISTED_MAX as usize {
        report.push_str("  and others\n");
    }
    Failed::message(Exit::Input, "more than one execution begins like that: write more of it").report(report)
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

fn list(output: &Output, executions: &[ExecutionRow]) -> String {
    if executions.is_empty() {
        return "no executions yet: `attune run examples.greet` makes one".to_owned();
    }
    table(
        ["EXECUTION", "ACTION", "STATUS", "VERSION", "STARTED", "TOOK"],
        executions.iter().map(|execution| {
            [
                execution.id.to_string(),
                execution.action.to_string(),
                status_text(output, execution.status),
                execution.selected_version.clone().unwrap_or_else(|| "-".to_owned()),
                execution.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
                took(execution),
            ]
        }),
    )
}

fn took(execution: &ExecutionRow) -> String {
    match (execution.started_at, execution.finished_at) {
        (Some(started), Some(finished)) => {
            let milliseconds = (finished - started).num_milliseconds();
            if milliseconds < 1000 {
                format!("{milliseconds} ms")
            } else {
                format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
            }
        }
        _ => "-".to_owned(),
    }
}

fn show(output: &Output, execution: &ExecutionRow) -> String {
    let mut text = format!("{:<14}{}\n", "execution", execution.id);
    // Writing to a string can't fail.
    let _ = writeln!(text, "{:<14}{}", "action", execution.action);
    let _ = writeln!(text, "{:<14}{}", "status", status_text(output, execution.status));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "{name:<14}{}", printable(&value));
        }
    };
    line("reason", execution.reason.clone().filter(|reason| execution.error_class.as_ref() != Some(reason)));
    line(
        "error",
        execution.error_message.as_ref().map(|message| {
            execution
                .error_class
                .as_ref()
                .map_or_else(|| message.clone(), |class| format!("{class}: {message}"))
        }),
    );
    line("exit code", execution.exit_code.map(|code| code.to_string()));
    line("asked for", Some(execution.constraint.clone().unwrap_or_else(|| "any version".to_owned())));
    line("runtime", execution.runtime.clone());
    line("version", execution.selected_version.clone());
    line("interpreter", execution.installation_path.clone());
    line("environment", execution.environment_path.clone());
    line("sandbox", execution.sandbox.clone());
    line("trace", execution.trace.as_ref().map(TraceContext::trace_id));
    line("created", Some(execution.created_at.to_rfc3339()));
    line("finished", execution.finished_at.map(|time| time.to_rfc3339()));
    line("timings", Some(timing_line(&execution.timings)));
    line("parameters", Some(execution.parameters.to_string()));
    for warning in &execution.warnings {
        line("warning", Some(warning.clone()));
    }
    if execution.output_incomplete {
        line("output", Some("may be incomplete: a process of the action's outlived it".to_owned()));
    }
    line(
        "result",
        execution
            .result
            .as_ref()
            .map(|result| result.as_str().map_or_else(|| format!("{result:#}"), str::to_owned)),
    );
    text
}

/// An execution, as `--json` shows it.
#[derive(Serialize)]
struct Shown<'a> {
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
    priority: i64,
    run_at: DateTime<Utc>,
    cancel_requested: bool,
    parameters: &'a Json,
    result: Option<&'a Json>,
    exit_code: Option<i64>,
    error: Option<Problem<'a>>,
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

impl<'a> From<&'a ExecutionRow> for Shown<'a> {
    fn from(row: &'a ExecutionRow) -> Self {
        Self {
            id: row.id,
            action: &row.action,
            pack_digest: &row.pack_digest,
            status: row.status,
            reason: row.reason.as_deref(),
            waiting: None,
            attempt: row.attempt,
            retries: row.retries,
            priority: row.priority,
            run_at: row.run_at,
            cancel_requested: row.cancel_requested,
            parameters: &row.parameters,
            result: row.result.as_ref(),
            exit_code: row.exit_code,
            error: row
                .error_class
                .as_deref()
                .map(|class| Problem { class, message: row.error_message.as_deref().unwrap_or_default() }),
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

/// A piece of a log, as `--json` shows it: invalid UTF-8 is replaced.
#[derive(Serialize)]
struct Piece {
    sequence: i64,
    stream: LogStream,
    text: String,
}

async fn logs(
    store: &Store,
    output: &Output,
    attempt: Attempt,
    wanted: Option<Stream>,
) -> Result<(), Failed> {
    let mut pieces = Vec::new();
    let mut shown = Vec::new();
    let is_terminal = std::io::stdout().is_terminal();
    for (sequence, chunk) in store.execution_log(attempt, 0).await? {
        let stream = match chunk.stream {
            LogStream::Stdout => Stream::Stdout,
            LogStream::Stderr => Stream::Stderr,
        };
        if wanted.is_some_and(|wanted| wanted != stream) {
            continue;
        }
        if output.json {
            let text = String::from_utf8_lossy(&chunk.bytes).into_owned();
            pieces.push(Piece { sequence, stream: chunk.stream, text });
        } else if is_terminal {
            shown.extend_from_slice(&chunk.bytes);
        } else {
            output.bytes(&chunk.bytes)?;
        }
    }
    output.bytes(coloured(&String::from_utf8_lossy(&shown)).as_bytes())?;
    if output.json {
        output.data(&pieces, String::new)?;
    }
    Ok(())
}
