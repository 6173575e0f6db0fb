//! `attune execution`: what ran and what it printed.

use std::fmt::Write as _;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone, table};
use super::run::timing_line;
use crate::execution::{ExecutionId, Status};
use crate::reference::ActionRef;
use crate::store::Store;
use crate::store::execution::{ExecutionRow, LogStream};

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
        /// The execution, or `last` for the newest
        id: Which,
    },
    /// Print what an execution printed
    Logs {
        /// The execution, or `last` for the newest
        id: Which,
        /// Only this stream
        #[arg(long, value_enum)]
        stream: Option<Stream>,
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
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "last" {
            return Ok(Self::Last);
        }
        text.parse()
            .map(Self::Id)
            .map_err(|_| "write the identifier that `attune execution list` shows, or `last`".to_owned())
    }
}

impl Execution {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let store = Store::open(&options.settings()?.database()).await?;
        match self {
            Self::List { action, status, limit } => {
                let executions = store.executions(action.as_ref(), status, limit).await?;
                output.data(&executions, || list(output, &executions))?;
            }
            Self::Show { id } => {
                let execution = find(&store, id).await?;
                output.data(&execution, || show(output, &execution))?;
            }
            Self::Logs { id, stream } => {
                let execution = find(&store, id).await?;
                logs(&store, output, execution.id, stream).await?;
            }
        }
        store.close().await;
        Ok(Exit::Success)
    }
}

async fn find(store: &Store, which: Which) -> Result<ExecutionRow, Failed> {
    let found = match which {
        Which::Last => store.executions(None, None, 1).await?.pop(),
        Which::Id(id) => store.execution(id).await?,
    };
    found.ok_or_else(|| {
        Failed::message(Exit::NotFound, "there is no such execution")
            .hint("`attune execution list` shows what there is")
    })
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
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name:<14}{value}");
        }
    };
    line("execution", Some(execution.id.to_string()));
    line("action", Some(execution.action.to_string()));
    line("status", Some(status_text(output, execution.status)));
    line("reason", execution.reason.clone());
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

/// A piece of a log, as `--json` shows it: invalid UTF-8 is replaced.
#[derive(Serialize)]
struct Piece {
    sequence: i64,
    stream: LogStream,
    text: String,
}

async fn logs(store: &Store, output: &Output, id: ExecutionId, wanted: Option<Stream>) -> Result<(), Failed> {
    let mut pieces = Vec::new();
    for (sequence, chunk) in store.execution_log(id, 0).await? {
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
        } else {
            output.bytes(&chunk.bytes)?;
        }
    }
    if output.json {
        output.data(&pieces, String::new)?;
    }
    Ok(())
}
