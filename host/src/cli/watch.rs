//! Watching an execution until it ends: what becomes of it, what it prints, and how it ended.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, sleep};

use super::ending::{Ending, RanBy, named};
use super::failure::{Exit, Failed};
use super::output::Output;
use super::printer::Printer;
use super::progress::Progress;
use super::queued::waiting_line;
use super::shown::Shown;
use crate::execution::{ExecutionId, Status};
use crate::printable::printable;
use crate::process::Stream;
use crate::queue::waiting::waiting;
use crate::store::Store;
use crate::store::execution::{Attempt, ExecutionRow, LogStream};
use crate::store::slice::Slice;

/// How soon a watcher looks again after something has changed, and how soon at the latest: twice as long each time, so
/// that what is short is over at once, and what is long costs little. What it prints reaches the database twice a second.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_millis(250);

/// What waits longer than this is said to wait, and why.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Shows what becomes of an execution until it has ended, and how it ended.
///
/// Workers are not counted on that were silent for `silence_max`.
pub(super) async fn watch(
    store: &Store,
    id: ExecutionId,
    silence_max: TimeDelta,
    output: &Output,
) -> Result<Exit, Failed> {
    let printer = Printer::new(output);
    let mut told = Told::begin(output);
    let mut seen = Seen { attempt: 0, sequence: 0 };
    let mut look = LOOK_FIRST;
    let row = loop {
        match look_at(store, (id, silence_max), &mut told, &mut seen, &printer).await {
            Ok(Some(Looked { row, .. })) if row.status.has_ended() => break row,
            Ok(Some(Looked { is_new, .. })) => {
                if is_new {
                    look = LOOK_FIRST;
                }
            }
            Ok(None) => {
                told.end();
                return Err(Failed::message(Exit::NotFound, "the execution is gone: it ended long ago"));
            }
            // It goes on meanwhile, or is put back.
            Err(failed) if failed.is_outage() => {
                told.tell_outage("database", &failed.text());
                look = LOOK_LAST;
            }
            Err(failed) => {
                told.end();
                return Err(failed);
            }
        }
        sleep(look).await;
        look = (look * 2).min(LOOK_LAST);
    };
    told.end();
    finish(&row, printer, output)
}

/// Shows how an execution ended, after all that it printed.
pub(super) fn finish(row: &ExecutionRow, printer: Printer, output: &Output) -> Result<Exit, Failed> {
    let passed_on = printer.finish();
    if output.json {
        output.data(&Shown::from(row), String::new)?;
    } else {
        if passed_on.open_line {
            output.say("");
        }
        Ending::from(row).say(output);
    }
    passed_on.exit(exit_of(row), row.id)
}

/// An execution as it was found.
struct Looked {
    row: ExecutionRow,
    /// Whether it stands somewhere else than before.
    is_new: bool,
}

/// Says and prints what has come since the last time; none if it is gone. When that fails, it can be tried again.
async fn look_at(
    store: &Store,
    (id, silence_max): (ExecutionId, TimeDelta),
    told: &mut Told<'_>,
    seen: &mut Seen,
    printer: &Printer,
) -> Result<Option<Looked>, Failed> {
    let Some(row) = store.execution(id).await? else { return Ok(None) };
    let is_new = told.tell(&row);
    if told.is_impatient() {
        told.tell_waiting(waiting_line(&waiting(store, &row, silence_max).await?));
    }
    if pass_on(store, &row, seen, printer).await? {
        // It would be drawn between what the action prints.
        told.end();
    }
    Ok(Some(Looked { row, is_new }))
}

/// What was said of an execution that has not ended.
pub(super) struct Told<'o> {
    output: &'o Output,
    progress: Option<Progress>,
    /// When to say why it waits.
    patience: Instant,
    status: Option<Status>,
    attempt: i64,
    is_decided: bool,
    /// Whether it was said that what knows of it is out of reach.
    is_waited_for: bool,
    /// The last line that explains a state.
    because: String,
}

impl<'o> Told<'o> {
    pub(super) fn begin(output: &'o Output) -> Self {
        Self {
            output,
            progress: Some(Progress::begin(output)),
            patience: Instant::now() + PATIENCE,
            status: None,
            attempt: 0,
            is_decided: false,
            is_waited_for: false,
            because: String::new(),
        }
    }

    /// Says what has changed. Whether it stands somewhere else than before.
    pub(super) fn tell(&mut self, row: &ExecutionRow) -> bool {
        self.is_waited_for = false;
        if row.status.has_ended() {
            return false;
        }
        let is_new = self.status != Some(row.status) || self.attempt != row.attempt;
        if is_new {
            self.is_decided = false;
            self.patience = Instant::now() + PATIENCE;
            self.tell_again(row);
        }
        self.status = Some(row.status);
        self.attempt = row.attempt;
        if row.status != Status::Queued {
            self.tell_running(row, is_new);
        }
        is_new
    }

    /// Whether it has waited for so long that it is time to say why.
    pub(super) fn is_impatient(&self) -> bool {
        self.status == Some(Status::Queued) && Instant::now() >= self.patience
    }

    /// Says why it waits, unless that was said.
    pub(super) fn tell_waiting(&mut self, why: String) {
        self.explain("waiting", why);
        self.patience = Instant::now() + PATIENCE;
    }

    /// Says why an attempt has ended without being the last one, unless that was said. It may have been put back and claimed
    /// again between two looks.
    fn tell_again(&self, row: &ExecutionRow) {
        let ended = match (row.status, self.status) {
            (Status::Queued, _) => row.attempt,
            (_, Some(Status::Running)) if row.attempt > self.attempt => row.attempt - 1,
            (..) => 0,
        };
        if ended > 0 {
            let why = row.error().map(|(class, message)| format!(": {class}: {message}"));
            self.say("again", &format!("after attempt {ended}{}", why.unwrap_or_default()));
        }
    }

    /// Says that what knows of it is out of reach, once for each time that it is.
    pub(super) fn tell_outage(&mut self, what: &str, why: &str) {
        if !self.is_waited_for {
            self.is_waited_for = true;
            self.say("waiting", &format!("for the {what} to be back: {why}"));
        }
    }

    fn tell_running(&mut self, row: &ExecutionRow, is_new: bool) {
        if is_new && row.queued {
            let worker = row.worker.as_deref().unwrap_or("a worker that is gone");
            self.say("claimed", &format!("by {worker}, attempt {}", attempt(row)));
        }
        if let Some(doing) = &row.reason {
            self.explain("busy", doing.clone());
        }
        if let Some(runtime) = &row.runtime
            && row.sandbox.is_some()
            && !self.is_decided
        {
            self.is_decided = true;
            let ran_by = RanBy::recorded(row).map(|ran_by| ran_by.to_string());
            self.say("running", ran_by.as_ref().unwrap_or(runtime));
        }
    }

    /// Says why it stands where it does, unless that was said.
    fn explain(&mut self, name: &str, text: String) {
        if self.because != text {
            self.say(name, &text);
            self.because = text;
        }
    }

    fn say(&self, name: &str, text: &str) {
        let line = named(self.output, name, text);
        match &self.progress {
            Some(progress) => {
                progress.say(format!("{name}: {}", printable(text)));
                progress.note(self.output, &line);
            }
            None => self.output.say(&line),
        }
    }

    /// From now on, nothing is drawn.
    pub(super) fn end(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.end();
        }
    }
}

/// Which attempt it is, and of how many: of those that may fail, and those whose worker was lost.
pub(super) fn attempt(row: &ExecutionRow) -> String {
    let most = row.retries.saturating_add(row.rescues).saturating_add(1);
    if row.queued && row.attempt <= most {
        format!("{} of {most}", row.attempt)
    } else {
        // Somebody has had it tried once more, or it is run at once.
        row.attempt.to_string()
    }
}

/// Up to where a log was shown.
struct Seen {
    attempt: i64,
    sequence: i64,
}

/// Prints what came since the last time. Whether that was anything.
async fn pass_on(
    store: &Store,
    row: &ExecutionRow,
    seen: &mut Seen,
    printer: &Printer,
) -> Result<bool, Failed> {
    if row.attempt != seen.attempt {
        *seen = Seen { attempt: row.attempt, sequence: 0 };
    }
    if seen.attempt == 0 {
        return Ok(false);
    }
    let attempt = Attempt { id: row.id, number: seen.attempt };
    let pieces =
        store.execution_log(attempt, &Slice { after: Some(seen.sequence - 1), ..Slice::default() }).await?;
    let is_any = !pieces.is_empty();
    for (sequence, chunk) in pieces {
        printer.push(stream(chunk.stream), &chunk.bytes);
        seen.sequence = sequence + 1;
    }
    Ok(is_any)
}

/// The stream of the action's that a piece of a log was printed to.
pub(super) fn stream(stream: LogStream) -> Stream {
    match stream {
        LogStream::Stdout => Stream::Stdout,
        LogStream::Stderr => Stream::Stderr,
    }
}

fn exit_of(row: &ExecutionRow) -> Exit {
    match (row.status, row.error_class.as_deref()) {
        (Status::Succeeded, _) => Exit::Success,
        (Status::TimedOut, _) => Exit::TimedOut,
        (Status::Cancelled, _) => Exit::Cancelled,
        (_, Some("no_match")) => Exit::NoMatch,
        (_, Some("environment_failed")) => Exit::Environment,
        (_, Some("invalid_request")) => Exit::Input,
        _ => Exit::of_action(row.exit_code),
    }
}
