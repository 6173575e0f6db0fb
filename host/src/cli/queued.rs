//! What is asked of the queue: where it comes in, how it is watched, and why it waits.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::execution::{finished, shown_as_json};
use super::failure::{Exit, Failed};
use super::interruption;
use super::output::{Output, Tone, table};
use super::printer::Printer;
use super::progress::Progress;
use super::run::ask_failed;
use crate::execution::{ExecutionId, Request, Status};
use crate::printable::printable;
use crate::process::Stream;
use crate::queue::{QueueError, Queued, Terms, enqueue};
use crate::settings::duration;
use crate::store::Store;
use crate::store::bell::Bell;
use crate::store::execution::{Attempt, ExecutionRow, LogStream};
use crate::store::requirement::JudgedRequirement;
use crate::worker::Worker;

/// How often a watcher looks.
const LOOK: Duration = Duration::from_millis(100);

/// What waits longer than this is said to wait, and why.
const PATIENCE: Duration = Duration::from_secs(2);

/// A worker that gave no sign of life for longer than this is not counted on.
const LIVE: chrono::TimeDelta = chrono::TimeDelta::seconds(30);

/// Where an execution comes in the queue.
#[derive(Debug, Args)]
#[command(next_help_heading = "In the queue")]
pub(super) struct Place {
    /// Come before what has a lower priority in the pack; a minute of waiting counts like one more
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Start it this long from now, not before
    #[arg(long, value_name = "TIME", value_parser = duration)]
    delay: Option<Duration>,
    /// Don't start it any more after this long from now
    #[arg(long, value_name = "TIME", value_parser = duration)]
    deadline: Option<Duration>,
    /// Ask only once under this key: asking again shows the execution that there is
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Place {
    pub(super) fn terms(&self) -> Terms {
        Terms {
            priority: self.priority.unwrap_or_default(),
            delay: self.delay.unwrap_or_default(),
            deadline: self.deadline,
            idempotency_key: self.idempotency_key.clone(),
        }
    }

    pub(super) fn is_given(&self) -> bool {
        self.priority.is_some()
            || self.delay.is_some()
            || self.deadline.is_some()
            || self.idempotency_key.is_some()
    }
}

async fn queue_failed(worker: &Worker, error: QueueError) -> Failed {
    match error {
        QueueError::Ask(error) => ask_failed(worker, error).await,
        QueueError::Store(error) => error.into(),
        QueueError::TooLarge { .. } | QueueError::Conflict { .. } | QueueError::TooFar => {
            Failed::new(Exit::Input, error)
        }
    }
}

/// `attune execution enqueue`.
pub(super) async fn put(
    worker: &Worker,
    request: &Request,
    terms: &Terms,
    output: &Output,
) -> Result<Exit, Failed> {
    #[derive(Serialize)]
    struct Shown {
        id: String,
        known: bool,
    }
    let queued = match enqueue(worker, request, terms).await {
        Ok(queued) => queued,
        Err(error) => return Err(queue_failed(worker, error).await),
    };
    let Queued { id, known } = queued;
    output.data(&Shown { id: id.to_string(), known }, || id.to_string())?;
    if known {
        output.say("it was asked for before, under the same key");
    }
    Ok(Exit::Success)
}

/// `attune run --queue`: asks, and waits for the end. An interruption asks for the end of the execution.
pub(super) async fn run(
    worker: &Worker,
    request: &Request,
    terms: &Terms,
    output: &Output,
) -> Result<Exit, Failed> {
    let queued = match enqueue(worker, request, terms).await {
        Ok(queued) => queued,
        Err(error) => return Err(queue_failed(worker, error).await),
    };
    let (interruptions, mut cancel) = interruption::listen(output);
    let watching = watch(&worker.store, queued.id, output);
    let asked = async {
        cancel.asked().await;
        if let Err(error) = worker.store.cancel_execution(queued.id).await {
            output.warn(&format!("can't ask for its end: {error}"));
        }
        worker.store.ring(Bell::Queue).await;
        cancel.forced().await;
    };
    let outcome = tokio::select! {
        outcome = watching => outcome,
        () = asked => {
            output.say(&format!("{} goes on without being watched", queued.id));
            Ok(Exit::Cancelled)
        }
    };
    interruptions.abort();
    outcome
}

/// Shows what an execution prints until it has ended, and how it ended.
pub(super) async fn watch(store: &Store, id: ExecutionId, output: &Output) -> Result<Exit, Failed> {
    let progress = Progress::begin(output);
    let printer = Printer::new(output);
    let mut seen = Seen { attempt: 0, sequence: 0 };
    let mut patience = Instant::now() + PATIENCE;
    let row = loop {
        let Some(row) = store.execution(id).await? else {
            progress.end();
            return Err(Failed::message(Exit::NotFound, "the execution is gone: it ended long ago"));
        };
        pass_on(store, &row, &mut seen, &printer).await?;
        match row.status {
            Status::Queued => {
                if Instant::now() > patience {
                    progress.say(waiting_line(&waiting(store, &row).await?));
                    patience = Instant::now() + PATIENCE;
                }
            }
            Status::Running => progress.say("running".to_owned()),
            _ => break row,
        }
        sleep(LOOK).await;
    };
    progress.end();
    let open_line = printer.finish();
    if output.json {
        output.data(&shown_as_json(&row), String::new)?;
    } else {
        if open_line {
            output.say("");
        }
        output.say(&finished(output, &row));
    }
    Ok(exit_of(&row))
}

/// Up to where a log was shown.
struct Seen {
    attempt: i64,
    sequence: i64,
}

/// Prints what came since the last time.
async fn pass_on(
    store: &Store,
    row: &ExecutionRow,
    seen: &mut Seen,
    printer: &Printer,
) -> Result<(), Failed> {
    if row.attempt != seen.attempt {
        *seen = Seen { attempt: row.attempt, sequence: 0 };
    }
    let attempt = Attempt { id: row.id, number: seen.attempt };
    for (sequence, chunk) in store.execution_log(attempt, seen.sequence).await? {
        let stream = match chunk.stream {
            LogStream::Stdout => Stream::Stdout,
            LogStream::Stderr => Stream::Stderr,
        };
        printer.push(stream, &chunk.bytes);
        seen.sequence = sequence + 1;
    }
    Ok(())
}

fn exit_of(row: &ExecutionRow) -> Exit {
    match (row.status, row.error_class.as_deref()) {
        (Status::Succeeded, _) => Exit::Success,
        (Status::TimedOut, _) => Exit::TimedOut,
        (Status::Cancelled, _) => Exit::Cancelled,
        (_, Some("no_match")) => Exit::NoMatch,
        (_, Some("environment_failed")) => Exit::Environment,
        (_, Some("invalid_request")) => Exit::Input,
        _ => Exit::Failure,
    }
}

/// Why an execution waits.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    /// In a sentence.
    reason: String,
    workers: Vec<WaitingWorker>,
}

/// What a live worker made of what an execution needs.
#[derive(Debug, Serialize)]
struct WaitingWorker {
    worker: String,
    satisfied: bool,
    reason: String,
    selection: Option<serde_json::Value>,
}

impl From<JudgedRequirement> for WaitingWorker {
    fn from(judged: JudgedRequirement) -> Self {
        let JudgedRequirement { worker, satisfied, reason, selection } = judged;
        Self { worker, satisfied, reason, selection }
    }
}

/// Why an execution that is queued has not been started.
pub(super) async fn waiting(store: &Store, row: &ExecutionRow) -> Result<Waiting, Failed> {
    let time = store.time().await?;
    let judged = store.judgements(row.id, time - LIVE).await?;
    let reason = if row.run_at > time.max(row.created_at) {
        format!("it is not to be started before {}", row.run_at.to_rfc3339())
    } else if judged.is_empty() {
        "no worker is there that could run it: `attune worker` starts one".to_owned()
    } else if judged.iter().any(|judged| judged.satisfied) {
        "others come first".to_owned()
    } else {
        "no worker that is there satisfies what it asks for; it starts by itself when one does".to_owned()
    };
    Ok(Waiting { reason, workers: judged.into_iter().map(WaitingWorker::from).collect() })
}

fn waiting_line(waiting: &Waiting) -> String {
    let reasons = waiting.workers.iter().filter(|worker| !worker.satisfied);
    let reasons = reasons.map(|worker| format!("{}: {}", worker.worker, worker.reason)).collect::<Vec<_>>();
    if reasons.is_empty() {
        format!("waiting: {}", waiting.reason)
    } else {
        format!("waiting: {} ({})", waiting.reason, printable(&reasons.join("; ")))
    }
}

/// The same for people, a line each, and what each of the workers has that can't run it.
pub(super) fn waiting_text(output: &Output, waiting: &Waiting) -> String {
    let mut text = format!("{:<14}{}\n", "waits since", waiting.reason);
    for worker in &waiting.workers {
        let (tone, state) =
            if worker.satisfied { (Tone::Good, "can run it") } else { (Tone::Bad, worker.reason.as_str()) };
        let state = output.data_tone(tone, &printable(state));
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:<14}{}: {state}", "", printable(&worker.worker));
    }
    let candidates = waiting.workers.iter().filter(|worker| !worker.satisfied).flat_map(candidates);
    let candidates = candidates.collect::<Vec<_>>();
    if !candidates.is_empty() {
        text.push('\n');
        text += &table(["WORKER", "VERSION", "PATH", "REASON"], candidates);
    }
    text
}

/// What a worker considered, a row each.
fn candidates(worker: &WaitingWorker) -> impl Iterator<Item = [String; 4]> {
    let considered = worker.selection.as_ref().and_then(|selection| selection["candidates"].as_array());
    considered.into_iter().flatten().map(|candidate| {
        let [version, path, reason] =
            ["version", "path", "message"].map(|name| candidate[name].as_str().unwrap_or_default());
        [worker.worker.as_str(), version, path, reason].map(|text| printable(text).into_owned())
    })
}
