//! `attune execution`: what ran and what it printed.

use std::io::IsTerminal;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::ending::headline;
use super::failure::{Exit, Failed};
use super::options::{DryRun, Options};
use super::output::Output;
use super::queued::{self, Place};
use super::redraw::{View, Watch, redraw};
use super::run::{Ask, nearest_action};
use super::runtime::{open_worker, worker_failed};
use super::shown::{Shown, begun, show, status_text, time, took};
use super::table::narrowed;
use super::watch::watch;
use crate::client::executions::{Piece, Summary};
use crate::execution::{ExecutionId, IdPrefix, Status};
use crate::nearest::did_you_mean;
use crate::printable::coloured;
use crate::queue::waiting::{Waiting, waiting};
use crate::reference::ActionRef;
use crate::store::Store;
use crate::store::bell::Bell;
use crate::store::execution::{Attempt, ExecutionRow, ExecutionsFilter, LogStream};
use crate::store::fleet::silence_max;
use crate::store::queue::CancelOutcome;
use crate::store::slice::Slice;
use crate::worker;

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
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show everything about one execution
    Show {
        /// The execution, the beginning of its identifier, or `last` for the newest
        id: Which,
        #[command(flatten)]
        watch: Watch,
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
        #[command(flatten)]
        dry: DryRun,
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

impl Stream {
    fn of(stream: LogStream) -> Self {
        match stream {
            LogStream::Stdout => Self::Stdout,
            LogStream::Stderr => Self::Stderr,
        }
    }
}

/// An execution as people name it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Last,
    Id(ExecutionId),
    Begins(IdPrefix),
}

/// As many digits as the beginning of an identifier needs.
const DIGITS_MIN: usize = 4;
/// As many executions as are listed when an identifier is not clear.
pub(super) const LISTED_MAX: u32 = 10;

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "last" {
            return Ok(Self::Last);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        text.parse::<IdPrefix>()
            .ok()
            .filter(|prefix| prefix.digits() >= DIGITS_MIN)
            .map(Self::Begins)
            .ok_or_else(|| {
                format!(
                    "write {DIGITS_MIN} or more digits of the identifier that `attune execution list` shows, or `last`"
                )
            })
    }
}

impl Execution {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        if let Self::Enqueue { ask, place, dry } = self {
            let request = ask.request()?;
            let terms = place.terms()?;
            let worker = open_worker(options, output).await?;
            let outcome = queued::put(&worker, &request, &terms, dry, output).await;
            worker.close().await;
            return outcome;
        }
        let settings = options.settings(output)?;
        let store = worker::open_store(&settings).await.map_err(worker_failed)?;
        // Else what a killed `attune run` left would seem to be running.
        if settings.runs_dir().is_dir()
            && let Err(error) = worker::sweep(&settings, &store).await
        {
            output.warn(&format!("can't look for what is not running any more: {error}"));
        }
        let mut exit = Exit::Success;
        match self {
            Self::Enqueue { .. } => {}
            Self::List { action, status, limit, watch } => {
                let filter =
                    ExecutionsFilter { action: action.as_ref(), status, ..ExecutionsFilter::default() };
                let slice = Slice::last(limit);
                if watch.watch {
                    let look = async || {
                        let found = store.executions_where(&filter, &slice).await?;
                        let found = found.iter().map(Summary::from).collect::<Vec<_>>();
                        Ok(View::passing(list(output, &found, NONE)))
                    };
                    exit = redraw(output, look).await?;
                    store.close().await;
                    return Ok(exit);
                }
                let executions = store.executions_where(&filter, &slice).await?;
                let none = match action {
                    Some(action) if executions.is_empty() => none_of(&store, &action).await?,
                    None if status.is_none() => {
                        "no executions yet: `attune run examples.greet` makes one".to_owned()
                    }
                    Some(_) | None => NONE.to_owned(),
                };
                let shown = executions.iter().map(Shown::from).collect::<Vec<_>>();
                output.data(&shown, || {
                    list(output, &executions.iter().map(Summary::from).collect::<Vec<_>>(), &none)
                })?;
            }
            Self::Show { id, watch: Watch { watch: true } } => {
                let id = find(&store, id).await?.id;
                let look = async || {
                    let execution = store.execution(id).await?.ok_or_else(no_execution)?;
                    let waiting = why(&store, &execution, silence_max(settings.lease)).await?;
                    let text = show(output, &execution, waiting.as_ref());
                    Ok(View { text, is_final: execution.status.has_ended() })
                };
                exit = redraw(output, look).await?;
            }
            Self::Show { id, .. } => {
                let execution = find(&store, id).await?;
                let waiting = why(&store, &execution, silence_max(settings.lease)).await?;
                let shown = Shown::from(&execution).waiting(waiting.as_ref());
                output.data(&shown, || show(output, &execution, waiting.as_ref()))?;
            }
            Self::Logs { id, stream, attempt } => {
                let last = find(&store, id).await?.last_attempt();
                let attempt = Attempt { number: attempt.unwrap_or(last.number), ..last };
                logs(&store, output, attempt, stream).await?;
            }
            Self::Watch { id } => {
                let execution = find(&store, id).await?;
                if !execution.status.has_ended() {
                    headline(output, &execution.action, execution.status, execution.id);
                }
                exit = watch(&store, execution.id, silence_max(settings.lease), output).await?;
            }
            Self::Cancel { id } => cancel(&store, &find(&store, id).await?, output).await?,
            Self::Retry { id } => retry(&store, &find(&store, id).await?, output).await?,
        }
        store.close().await;
        Ok(exit)
    }
}

/// Why an execution waits, if it does.
async fn why(
    store: &Store,
    execution: &ExecutionRow,
    silence_max: TimeDelta,
) -> Result<Option<Waiting>, Failed> {
    match execution.status {
        Status::Queued => Ok(Some(waiting(store, execution, silence_max).await?)),
        _ => Ok(None),
    }
}

async fn cancel(store: &Store, execution: &ExecutionRow, output: &Output) -> Result<(), Failed> {
    let outcome = store.cancel_execution(execution.id).await?;
    store.ring(Bell::Queue).await;
    let (status, said) = match outcome {
        CancelOutcome::Cancelled => (Status::Cancelled, "it was waiting, and is cancelled"),
        CancelOutcome::Requested => (Status::Running, "its worker is asked to end it"),
        CancelOutcome::Direct => {
            let text = format!(
                "{} was not queued, but started by `attune run`: end it there, with Ctrl-C",
                execution.id
            );
            return Err(Failed::message(Exit::Input, text));
        }
        CancelOutcome::Ended(status) => {
            let text = format!("{} can't be cancelled: it has ended before, as {status}", execution.id);
            return Err(Failed::message(Exit::Input, text));
        }
        CancelOutcome::Unknown => return Err(Failed::message(Exit::NotFound, "there is no such execution")),
    };
    output.data(&Changed { id: execution.id, status }, || format!("{}: {said}", execution.id))?;
    Ok(())
}

async fn retry(store: &Store, execution: &ExecutionRow, output: &Output) -> Result<(), Failed> {
    if !store.retry_execution(execution.id).await? {
        let (id, status) = (execution.id, execution.status);
        let why = if execution.queued {
            format!("{id} can't be tried again: it has not ended yet, it is {status}")
        } else {
            format!("{id} was not queued, but started by `attune run`: run it again there")
        };
        return Err(Failed::message(Exit::Input, why));
    }
    store.ring(Bell::Queue).await;
    output.data(&Changed { id: execution.id, status: Status::Queued }, || {
        format!("{}: it is in the queue again, as attempt {}", execution.id, execution.attempt + 1)
    })?;
    Ok(())
}

/// What became of an execution that somebody changed, as `--json` shows it.
#[derive(Serialize)]
pub(super) struct Changed {
    pub id: ExecutionId,
    pub status: Status,
}

async fn find(store: &Store, which: Which) -> Result<ExecutionRow, Failed> {
    let found = match which {
        Which::Last => store.executions_where(&ExecutionsFilter::default(), &Slice::last(1)).await?.pop(),
        Which::Id(id) => store.execution(id).await?,
        Which::Begins(prefix) => {
            let filter = ExecutionsFilter { prefix: Some(prefix), ..ExecutionsFilter::default() };
            let mut found = store.executions_where(&filter, &Slice::last(LISTED_MAX + 1)).await?;
            if found.len() > 1 {
                return Err(ambiguous(&found.iter().map(Summary::from).collect::<Vec<_>>()));
            }
            found.pop()
        }
    };
    found.ok_or_else(no_execution)
}

pub(super) fn no_execution() -> Failed {
    Failed::message(Exit::NotFound, "there is no such execution")
        .hint("`attune execution list` shows what there is")
}

pub(super) fn ambiguous(found: &[Summary]) -> Failed {
    let listed = found.iter().take(LISTED_MAX as usize).map(|execution| {
        let (id, action, status) = (execution.id, &execution.action, execution.status);
        format!("  {id}  {action}  {status}  {} UTC\n", time(execution.created_at))
    });
    let mut report = listed.collect::<String>();
    if found.len() > LISTED_MAX as usize {
        report.push_str("  and others\n");
    }
    Failed::message(Exit::Input, "more than one execution begins like that: write more of it").report(report)
}

/// That no execution of an action is listed; with the action that was probably meant, if there is none by that name.
async fn none_of(store: &Store, action: &ActionRef) -> Result<String, Failed> {
    if store.action(action).await?.is_some() {
        return Ok(NONE.to_owned());
    }
    let nearest = nearest_action(store, action).await?;
    let nearest = nearest.as_deref().map(did_you_mean).unwrap_or_default();
    Ok(format!("no execution matches, and there is no action `{action}`{nearest}"))
}

/// What there is to say where nothing is found.
pub(super) const NONE: &str = "no execution matches";

/// A line for each, or what there is to say if there are none.
pub(super) fn list(output: &Output, executions: &[Summary], none: &str) -> String {
    if executions.is_empty() {
        return none.to_owned();
    }
    narrowed(
        3,
        ["EXECUTION", "ACTION", "STATUS", "VERSION", "ENQUEUED (UTC)", "STARTED", "TOOK"],
        executions.iter().map(|execution| {
            let absent = || "-".to_owned();
            [
                execution.id.to_string(),
                execution.action.to_string(),
                status_text(output, execution.status),
                execution.selected_version.clone().unwrap_or_else(absent),
                time(execution.created_at),
                begun(execution.status, execution.started_at)
                    .map_or_else(absent, |at| started(at, execution.created_at)),
                took(execution).unwrap_or_else(absent),
            ]
        }),
    )
}

/// Without the day if that is the one on which it was enqueued.
fn started(at: DateTime<Utc>, enqueued: DateTime<Utc>) -> String {
    if at.date_naive() == enqueued.date_naive() { at.format("%H:%M:%S").to_string() } else { time(at) }
}

async fn logs(
    store: &Store,
    output: &Output,
    attempt: Attempt,
    wanted: Option<Stream>,
) -> Result<(), Failed> {
    let pieces = store.execution_log(attempt, &Slice::default()).await?.into_iter();
    let pieces = pieces.map(|(sequence, chunk)| (sequence, chunk.stream, chunk.bytes));
    print_log(pieces, wanted, output)
}

/// Prints the pieces of a log, each with its sequence number.
pub(super) fn print_log(
    pieces: impl Iterator<Item = (i64, LogStream, Vec<u8>)>,
    wanted: Option<Stream>,
    output: &Output,
) -> Result<(), Failed> {
    let mut listed = Vec::new();
    let mut shown = Vec::new();
    let is_terminal = std::io::stdout().is_terminal();
    for (sequence, stream, bytes) in pieces {
        if wanted.is_some_and(|wanted| wanted != Stream::of(stream)) {
            continue;
        }
        if output.json {
            // Invalid UTF-8 is replaced.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            listed.push(Piece { sequence, stream, text });
        } else if is_terminal {
            shown.extend_from_slice(&bytes);
        } else {
            output.bytes(&bytes)?;
        }
    }
    output.bytes(coloured(&String::from_utf8_lossy(&shown)).as_bytes())?;
    if output.json {
        output.data(&listed, String::new)?;
    }
    Ok(())
}
