//! The process while it runs: recorded, watched, its output masked, shown and kept.

use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Instrument;

use crate::process::{self, Cancel, Captured, Command, Escaped, Finished, Stream};
use crate::secret::Masked;
use crate::store::execution::{Attempt, LogChunk};
use crate::worker::Worker;

use super::delivery::{ATTEMPT, EXECUTION_ID};
use super::log::LogRecorder;
use super::outcome::ExecutionError;
use super::record::Record;
use super::run_folder::RunFolder;
use super::{Asked, Event, Observer};

/// How often the log so far is written while an action runs.
const FLUSH: Duration = Duration::from_millis(500);

/// A process that has ended.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) finished: Finished,
    /// What was kept of its standard output, secrets masked.
    pub(super) printed: Captured,
    /// How many bytes of its standard error were not kept.
    pub(super) unkept_errors: u64,
    /// What it had started and left behind, out of its group, and was ended.
    pub(super) escaped: Vec<Escaped>,
}

/// Starts the process and waits for its end. Writing the log never keeps the process from writing.
pub(super) async fn supervise(
    worker: &Worker,
    asked: &Asked,
    command: Command,
    folder: &RunFolder,
    record: &mut Record,
    observe: Observer<'_>,
    cancel: Cancel,
) -> Result<Supervised, ExecutionError> {
    let running = process::start(command).await?;
    if let Err(error) = folder.record(running.record()) {
        tracing::warn!("can't record the process, so a sweep could not end it: {error}");
    }
    tracing::debug!(process.id = running.record().pid, "started");
    let log = LogRecorder::new(worker.settings.output_limit);
    let maskers = Mutex::new([asked.masker.stream(), asked.masker.stream()]);
    let take_in = |stream: Stream, masked: &[u8]| {
        if !masked.is_empty() {
            observe(Event::Output(stream, masked));
            log.push(stream, masked);
        }
    };
    let on_chunk = |stream: Stream, bytes: &[u8]| {
        let mut maskers = maskers.lock().unwrap_or_else(PoisonError::into_inner);
        take_in(stream, &masker(&mut maskers, stream).push(bytes));
    };
    let finished = {
        let mut ended = pin!(running.wait(on_chunk, cancel));
        let mut flush = interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        flush.reset();
        let mut writing: Option<JoinHandle<Option<Piece>>> = None;
        let finished = loop {
            tokio::select! {
                finished = &mut ended => break finished,
                _ = flush.tick() => {
                    if writing.as_ref().is_none_or(JoinHandle::is_finished) {
                        settle(writing.take(), &log).await;
                        writing = write(worker, asked, &log);
                    }
                }
            }
        };
        settle(writing, &log).await;
        finished
    };
    let [stdout, stderr] = maskers.into_inner().unwrap_or_else(PoisonError::into_inner);
    take_in(Stream::Stdout, &stdout.finish());
    take_in(Stream::Stderr, &stderr.finish());
    let (sequence, rest, [printed, complained]) = log.finish();
    record.log_rest((sequence, rest));
    let finished = finished?;
    let escaped = if finished.output_incomplete { end_escaped(asked).await } else { Vec::new() };
    Ok(Supervised { finished, printed, unkept_errors: complained.missing(), escaped })
}

/// Ends what still holds the output though its group is gone. What has let go of it is not looked for: that would
/// cost every execution a look at every process.
async fn end_escaped(asked: &Asked) -> Vec<Escaped> {
    // Another attempt may have begun by now, and is none of this one's.
    let Attempt { id, number } = asked.attempt;
    let variables = [(EXECUTION_ID, id.to_string()), (ATTEMPT, number.to_string())];
    let ending = tokio::task::spawn_blocking(move || process::end_escaped(&variables));
    ending.await.map_err(io::Error::other).flatten().unwrap_or_else(|error| {
        tracing::warn!("can't look for what an action left running: {error}");
        Vec::new()
    })
}

fn masker<'m, 's>(maskers: &'m mut [Masked<'s>; 2], stream: Stream) -> &'m mut Masked<'s> {
    match stream {
        Stream::Stdout => &mut maskers[0],
        Stream::Stderr => &mut maskers[1],
    }
}

/// A piece of the log, and the number of its first chunk.
type Piece = (i64, Vec<LogChunk>);

/// Writes what came since the last time, beside the process. What comes of it is what could not be written.
fn write(worker: &Worker, asked: &Asked, log: &LogRecorder) -> Option<JoinHandle<Option<Piece>>> {
    let (sequence, chunks) = log.take()?;
    let (store, attempt) = (worker.store.clone(), asked.attempt);
    let writing = async move {
        let error = store.append_log(attempt, sequence, &chunks).await.err()?;
        tracing::warn!("can't write a piece of the log, trying again: {error}");
        Some((sequence, chunks))
    };
    Some(tokio::spawn(writing.in_current_span()))
}

/// What could not be written is written with what comes next.
async fn settle(writing: Option<JoinHandle<Option<Piece>>>, log: &LogRecorder) {
    if let Some(writing) = writing
        && let Ok(Some(piece)) = writing.await
    {
        log.give_back(piece);
    }
}
