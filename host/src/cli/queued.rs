//! What is asked of the queue: where it comes in, and why it waits.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::amount::time;
use super::ending::{self, headline};
use super::failure::{Exit, Failed};
use super::interruption;
use super::options::DryRun;
use super::output::{Output, Tone};
use super::run::ask_failed;
use super::shown::NAME;
use super::table::table;
use super::watch::watch;
use crate::execution::{ExecutionId, Request, Status};
use crate::printable::printable;
use crate::queue::outlook::{Outlook, Prospect, Requirement, outlook};
use crate::queue::waiting::{Waiting, WaitingWorker};
use crate::queue::{QueueError, Queued, Terms, enqueue};
use crate::store::Store;
use crate::store::bell::Bell;
use crate::store::fleet::silence_max;
use crate::worker::Worker;

/// Time between two tries to ask for the end of something.
pub(super) const AGAIN: Duration = Duration::from_millis(250);

/// For how long the database is waited for to ask for the end of something.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Where an execution comes in the queue.
#[derive(Debug, Args)]
#[command(next_help_heading = "In the queue")]
pub(super) struct Place {
    /// Come before what has a lower priority in the pack; a minute of waiting counts like one more
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Start it this long from now, not before
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    delay: Option<Duration>,
    /// Don't start it any more after this long from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    deadline: Option<Duration>,
    /// Ask only once under this key: asking again shows the execution that there is
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Place {
    pub(super) fn terms(&self) -> Result<Terms, Failed> {
        let delay = self.delay.unwrap_or_default();
        if self.deadline.is_some_and(|deadline| deadline <= delay) {
            let message =
                "it could never start: `--deadline` has to be later than now, and later than `--delay`";
            return Err(Failed::message(Exit::Input, message));
        }
        Ok(Terms {
            priority: self.priority.unwrap_or_default(),
            delay,
            deadline: self.deadline,
            idempotency_key: self.idempotency_key.clone(),
        })
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
    dry: DryRun,
    output: &Output,
) -> Result<Exit, Failed> {
    #[derive(Serialize)]
    struct Shown {
        id: String,
        known: bool,
    }
    if dry.dry_run {
        return show_plan(worker, request, terms, output).await;
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
    dry: DryRun,
    output: &Output,
) -> Result<Exit, Failed> {
    if dry.dry_run {
        return show_plan(worker, request, terms, output).await;
    }
    let queued = match enqueue(worker, request, terms).await {
        Ok(queued) => queued,
        Err(error) => return Err(queue_failed(worker, error).await),
    };
    headline(output, &request.action, Status::Queued, queued.id);
    let watching = watch(&worker.store, queued.id, silence_max(worker.settings.lease), output);
    let ask = ask_for_end(&worker.store, queued.id, output);
    attend(queued.id, watching, ("database", ask), output).await
}

/// Waits for the end of an execution. An interruption asks `what` knows of it for that end; asking says whether that worked.
pub(super) async fn attend(
    id: ExecutionId,
    watching: impl Future<Output = Result<Exit, Failed>>,
    (what, ask): (&str, impl Future<Output = bool>),
    output: &Output,
) -> Result<Exit, Failed> {
    let (interruptions, mut cancel) = interruption::listen(output);
    let asked = async {
        cancel.asked().await;
        // Whoever waits for the answer can still be told to end at once.
        let is_asked = tokio::select! {
            asked = timeout(END_PATIENCE, ask) => asked.unwrap_or(false),
            () = cancel.forced() => false,
        };
        if is_asked {
            cancel.forced().await;
        }
        is_asked
    };
    let outcome = tokio::select! {
        outcome = watching => outcome,
        is_asked = asked => {
            output.say(&format!("{id} goes on without being watched"));
            if is_asked {
                Ok(Exit::Cancelled)
            } else {
                let text = format!("whether it was asked to end is not known: the {what} can't be asked");
                Err(Failed::message(Exit::Cancelled, text)
                    .hint(format!("when it is back: attune execution cancel {id}")))
            }
        }
    };
    interruptions.abort();
    outcome
}

/// Shows what would be put into the queue, and which workers could run it as far as they have judged that.
async fn show_plan(
    worker: &Worker,
    request: &Request,
    terms: &Terms,
    output: &Output,
) -> Result<Exit, Failed> {
    match outlook(worker, request, terms).await {
        Ok(outlook) => print_outlook(&outlook, terms, output),
        Err(error) => Err(queue_failed(worker, error).await),
    }
}

/// Shows what would be put into the queue, here or on a server.
pub(super) fn print_outlook(outlook: &Outlook, terms: &Terms, output: &Output) -> Result<Exit, Failed> {
    output.plan(outlook, || plan_text(output, outlook, !terms.delay.is_zero()))?;
    Ok(Exit::Success)
}

fn plan_text(output: &Output, plan: &Outlook, waits: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name:<NAME$}{value}");
    };
    line("action", &printable(&plan.action));
    let Requirement { runtime, constraint, variant, .. } = &plan.requirement;
    let asked = [Some(constraint.as_deref().unwrap_or("any version")), variant.as_deref()];
    let asked = asked.into_iter().flatten().collect::<Vec<_>>().join(" ");
    line("asks for", &printable(&format!("{runtime} {asked}")));
    line("parameters", &printable(&plan.parameters.to_string()));
    line("priority", &plan.priority.to_string());
    if waits {
        line("not before", &plan.run_at.to_rfc3339());
    }
    if let Some(deadline) = plan.deadline_at {
        line("deadline", &deadline.to_rfc3339());
    }
    if let Some(id) = &plan.known {
        line("asked before", &format!("{}, under the same key: nothing more would be queued", printable(id)));
    }
    if plan.workers.is_empty() {
        line("workers", "none is there: it would wait for one, `attune worker` starts it");
    }
    for Prospect { worker, satisfied, reason } in &plan.workers {
        let (tone, state) = match satisfied {
            Some(true) => (Tone::Good, "can run it"),
            Some(false) => (Tone::Bad, reason.as_str()),
            None => (Tone::Strong, "finds out whether it can run it when it is queued"),
        };
        line("worker", &format!("{}: {}", printable(worker), output.data_tone(tone, &printable(state))));
    }
    text
}

/// Asks for the end of an execution, again and again while the database is out of reach. Whether it was asked for.
async fn ask_for_end(store: &Store, id: ExecutionId, output: &Output) -> bool {
    let mut is_said = false;
    while let Err(error) = store.cancel_execution(id).await {
        if !std::mem::replace(&mut is_said, true) {
            output.warn(&format!("can't ask for its end: {error}"));
        }
        if !error.is_outage() {
            return false;
        }
        sleep(AGAIN).await;
    }
    store.ring(Bell::Queue).await;
    true
}

pub(super) fn waiting_line(waiting: &Waiting) -> String {
    let reasons = waiting.workers.iter().filter(|worker| !worker.satisfied);
    let reasons = reasons.map(|worker| format!("{}: {}", worker.worker, worker.reason)).collect::<Vec<_>>();
    if reasons.is_empty() {
        waiting.reason.clone()
    } else {
        format!("{} ({})", waiting.reason, reasons.join("; "))
    }
}

/// The same for people, a line each, and what each of the workers has that can't run it.
pub(super) fn waiting_text(output: &Output, waiting: &Waiting) -> String {
    let mut text = format!("{:<NAME$}{}\n", "waiting", waiting.reason);
    for worker in &waiting.workers {
        let (tone, state) =
            if worker.satisfied { (Tone::Good, "can run it") } else { (Tone::Bad, worker.reason.as_str()) };
        let state = output.data_tone(tone, &printable(state));
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:<NAME$}{}: {state}", "", printable(&worker.worker));
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
    worker
        .selection
        .iter()
        .flat_map(ending::candidates)
        .map(|[version, path, reason]| [printable(&worker.worker).into_owned(), version, path, reason])
}
