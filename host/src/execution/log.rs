//! The log of an execution while it grows: what is to be kept, and how much of it is.
//!
//! The first half of what may be kept of a stream is handed out as it comes, so that a watcher sees it and
//! a killed worker leaves it; the last half is only known at the end.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::process::{Capture, Captured, Stream};
use crate::store::execution::{LogChunk, LogStream};

/// A piece of the log is not larger than this.
const CHUNK_MAX: usize = 64 << 10;

/// Collects what an action prints, secrets already masked.
#[derive(Debug)]
pub(crate) struct LogRecorder(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    stdout: Recorded,
    stderr: Recorded,
    pending: Vec<LogChunk>,
    /// Of the first piece in `pending`.
    sequence: i64,
}

#[derive(Debug)]
struct Recorded {
    capture: Capture,
    /// Bytes that may still be handed out as they come.
    room: usize,
    handed_out: usize,
}

impl LogRecorder {
    /// Keeps `limit` bytes of each stream.
    pub(crate) fn new(limit: usize) -> Self {
        let recorded = || Recorded { capture: Capture::new(limit), room: limit - limit / 2, handed_out: 0 };
        Self(Mutex::new(Inner { stdout: recorded(), stderr: recorded(), pending: Vec::new(), sequence: 0 }))
    }

    /// Takes in the next bytes of a stream.
    pub(crate) fn push(&self, stream: Stream, bytes: &[u8]) {
        let mut inner = self.lock();
        let recorded = match stream {
            Stream::Stdout => &mut inner.stdout,
            Stream::Stderr => &mut inner.stderr,
        };
        recorded.capture.push(bytes);
        let now = bytes.len().min(recorded.room);
        recorded.room -= now;
        recorded.handed_out += now;
        append(&mut inner.pending, log_stream(stream), &bytes[..now]);
    }

    /// What came since the last time, and the number of its first piece.
    pub(crate) fn take(&self) -> Option<(i64, Vec<LogChunk>)> {
        let mut inner = self.lock();
        if inner.pending.is_empty() {
            return None;
        }
        let chunks = std::mem::take(&mut inner.pending);
        let sequence = inner.sequence;
        inner.sequence += i64::try_from(chunks.len()).unwrap_or(i64::MAX);
        Some((sequence, chunks))
    }

    /// Takes back, as what comes next, what was taken last and could not be written.
    pub(crate) fn give_back(&self, (sequence, mut chunks): (i64, Vec<LogChunk>)) {
        let mut inner = self.lock();
        chunks.append(&mut inner.pending);
        inner.pending = chunks;
        inner.sequence = sequence;
    }

    /// The rest, with a line in each gap that says how much is missing; and all that was kept of standard
    /// output and of standard error.
    pub(crate) fn finish(self) -> (i64, Vec<LogChunk>, [Captured; 2]) {
        let Inner { stdout, stderr, mut pending, sequence } =
            self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut rest = |stream: LogStream, recorded: Recorded| {
            let kept = recorded.capture.finish();
            append(&mut pending, stream, kept.bytes().get(recorded.handed_out..).unwrap_or_default());
            kept
        };
        let printed = rest(LogStream::Stdout, stdout);
        let complained = rest(LogStream::Stderr, stderr);
        (sequence, pending, [printed, complained])
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_stream(stream: Stream) -> LogStream {
    match stream {
        Stream::Stdout => LogStream::Stdout,
        Stream::Stderr => LogStream::Stderr,
    }
}

/// Adds to the last piece if it is of the same stream and not full, else begins a new one.
fn append(pending: &mut Vec<LogChunk>, stream: LogStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let fits = pending.last().is_some_and(|last| last.stream == stream && last.bytes.len() < CHUNK_MAX);
        if !fits {
            pending.push(LogChunk { stream, bytes: Vec::new() });
        }
        let Some(last) = pending.last_mut() else { return };
        let (now, later) = bytes.split_at(bytes.len().min(CHUNK_MAX - last.bytes.len()));
        last.bytes.extend_from_slice(now);
        bytes = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chunks: &[LogChunk], stream: LogStream) -> String {
        let bytes =
            chunks.iter().filter(|chunk| chunk.stream == stream).flat_map(|chunk| chunk.bytes.clone());
        String::from_utf8(bytes.collect()).unwrap()
    }

    #[test]
    fn streams_keep_their_order_and_numbers_go_on() {
        let log = LogRecorder::new(1000);
        log.push(Stream::Stdout, b"one ");
        log.push(Stream::Stderr, b"oops ");
        log.push(Stream::Stdout, b"two ");
        let (first, mut chunks) = log.take().unwrap();
        assert_eq!((first, chunks.len()), (0, 3));
        assert!(log.take().is_none());
        log.push(Stream::Stdout, b"three");
        let (next, rest, [printed, complained]) = log.finish();
        assert_eq!((&*printed.text(), &*complained.text()), ("one two three", "oops "));
        assert_eq!(next, 3);
        chunks.extend(rest);
        assert_eq!(text(&chunks, LogStream::Stdout), "one two three");
        assert_eq!(text(&chunks, LogStream::Stderr), "oops ");
    }

    #[test]
    fn what_could_not_be_written_comes_first_the_next_time() {
        let log = LogRecorder::new(1000);
        log.push(Stream::Stdout, b"one ");
        log.push(Stream::Stderr, b"oops ");
        let piece = log.take().unwrap();
        log.push(Stream::Stderr, b"and ");
        log.give_back(piece.clone());
        log.push(Stream::Stderr, b"again ");
        let (first, chunks) = log.take().unwrap();
        assert_eq!((first, &chunks[..2]), (0, &piece.1[..]));
        assert_eq!(text(&chunks, LogStream::Stderr), "oops and again ");
        log.give_back((first, chunks.clone()));
        log.push(Stream::Stdout, b"two");
        let (first, rest, _) = log.finish();
        assert_eq!((first, &rest[..chunks.len()]), (0, &chunks[..]));
        assert_eq!(text(&rest, LogStream::Stdout), "one two");
    }

    #[test]
    fn too_much_keeps_head_and_tail_whenever_it_is_taken() {
        let all = (0..1000).map(|number| format!("{number:04} ")).collect::<Vec<_>>().concat();
        for step in [1, 7, 100, 5000] {
            let log = LogRecorder::new(100);
            let mut chunks = Vec::new();
            for piece in all.as_bytes().chunks(step) {
                log.push(Stream::Stdout, piece);
                chunks.extend(log.take().map(|(_, chunks)| chunks).unwrap_or_default());
            }
            chunks.extend(log.finish().1);
            let kept = text(&chunks, LogStream::Stdout);
            assert!(kept.starts_with(&all[..50]), "{kept}");
            assert!(kept.ends_with(&all[all.len() - 50..]), "{kept}");
            assert!(kept.contains("4900 bytes are missing"), "{kept}");
        }
    }

    #[test]
    fn pieces_are_bounded() {
        let log = LogRecorder::new(1 << 20);
        log.push(Stream::Stdout, &vec![b'x'; 200_000]);
        let (_, chunks, _) = log.finish();
        assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= CHUNK_MAX));
        assert_eq!(chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>(), 200_000);
    }
}
