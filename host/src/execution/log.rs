//! The log of an execution while it grows: what is to be kept, and how much of it is.
//!
//! The first half of what may be kept of a stream is handed out as it comes, so that a watcher sees it and
//! a killed worker leaves it; the last half is only known at the end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::process::{Capture, Captured, Stream};
use crate::store::execution::{LogChunk, LogStream};

/// A piece of the log is not larger than this.
const CHUNK_MAX: usize = 64 << 10;

/// For so many pieces, each change of stream begins a new one. After that, until they are written, one goes on for each
/// stream: only within a stream is the order kept.
const ORDERED_MAX: usize = 32;

/// Nothing is added to a piece that began longer ago, so what was printed long before comes first.
const OPEN_MAX: Duration = Duration::from_millis(500);

/// Collects what an action prints, secrets already masked.
#[derive(Debug)]
pub(crate) struct LogRecorder(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    stdout: Recorded,
    stderr: Recorded,
    pending: Pending,
}

/// What waits to be written.
#[derive(Debug)]
struct Pending {
    chunks: Vec<LogChunk>,
    /// Of the first piece.
    sequence: i64,
    /// So many pieces are not added to any more.
    closed: usize,
    /// When the first piece that is not closed began.
    opened: Instant,
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
        let pending = Pending { chunks: Vec::new(), sequence: 0, closed: 0, opened: Instant::now() };
        Self(Mutex::new(Inner { stdout: recorded(), stderr: recorded(), pending }))
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
        inner.pending.append(log_stream(stream), &bytes[..now], Instant::now());
    }

    /// What came since the last time, and the number of its first piece.
    pub(crate) fn take(&self) -> Option<(i64, Vec<LogChunk>)> {
        let Pending { chunks, sequence, closed, .. } = &mut self.lock().pending;
        if chunks.is_empty() {
            return None;
        }
        let taken = (*sequence, std::mem::take(chunks));
        *sequence += i64::try_from(taken.1.len()).unwrap_or(i64::MAX);
        *closed = 0;
        Some(taken)
    }

    /// Takes back, as what comes next, what was taken last and could not be written. Nothing is added to it: nobody can
    /// tell whether some of it was written.
    pub(crate) fn give_back(&self, (sequence, mut chunks): (i64, Vec<LogChunk>)) {
        let pending = &mut self.lock().pending;
        pending.closed += chunks.len();
        chunks.append(&mut pending.chunks);
        pending.chunks = chunks;
        pending.sequence = sequence;
    }

    /// The rest, with a line in each gap that says how much is missing; and all that was kept of standard
    /// output and of standard error.
    pub(crate) fn finish(self) -> (i64, Vec<LogChunk>, [Captured; 2]) {
        let Inner { stdout, stderr, mut pending } =
            self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut rest = |stream: LogStream, recorded: Recorded| {
            let kept = recorded.capture.finish();
            pending.append(stream, kept.bytes().get(recorded.handed_out..).unwrap_or_default(), now);
            kept
        };
        let printed = rest(LogStream::Stdout, stdout);
        let complained = rest(LogStream::Stderr, stderr);
        (pending.sequence, pending.chunks, [printed, complained])
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

impl Pending {
    /// Adds to the open piece of the stream, else begins a new one.
    fn append(&mut self, stream: LogStream, mut bytes: &[u8], now: Instant) {
        if now.saturating_duration_since(self.opened) >= OPEN_MAX {
            self.closed = self.chunks.len();
        }
        while !bytes.is_empty() {
            if self.closed == self.chunks.len() {
                self.opened = now;
            }
            let is_ordered = self.chunks.len() < ORDERED_MAX;
            let mut open = self.chunks[self.closed..].iter_mut().rev();
            let last = if is_ordered { open.next() } else { open.find(|chunk| chunk.stream == stream) };
            let fits = last.filter(|chunk| chunk.stream == stream && chunk.bytes.len() < CHUNK_MAX);
            if let Some(chunk) = fits {
                let (added, later) = bytes.split_at(bytes.len().min(CHUNK_MAX - chunk.bytes.len()));
                chunk.bytes.extend_from_slice(added);
                bytes = later;
            } else {
                self.chunks.push(LogChunk { stream, bytes: Vec::new() });
            }
        }
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
        log.push(Stream::Stderr, b"and again");
        log.push(Stream::Stdout, b"two");
        let (first, rest, _) = log.finish();
        assert_eq!((first, &rest[..chunks.len()]), (0, &chunks[..]), "they may have been written");
        assert_eq!(text(&rest, LogStream::Stdout), "one two");
        assert_eq!(text(&rest, LogStream::Stderr), "oops and again and again");
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

    /// What was printed so often, in turn on standard output and on standard error.
    struct Turns {
        /// Milliseconds after the beginning.
        at: u64,
        count: usize,
        line: usize,
    }

    #[test]
    fn pieces_are_few_and_bounded_and_in_a_sensible_order() {
        let turns = |at, count, line| Turns { at, count, line };
        let table = [
            ("every change while there are few", vec![turns(0, 10, 2), turns(700, 5, 2)], 30),
            ("one of each stream when there are many", vec![turns(0, 100_000, 2)], ORDERED_MAX + 2 * 3),
            ("the same for long lines", vec![turns(0, 10, 100_000)], 38),
            ("what comes later is in others", vec![turns(0, 1000, 2), turns(700, 1000, 2)], ORDERED_MAX + 2),
            ("and so on", vec![turns(0, 90, 2), turns(400, 90, 2), turns(800, 9, 2), turns(1400, 9, 2)], 36),
        ];
        for (case, printed, count) in table {
            let begin = Instant::now();
            let mut pending = Pending { chunks: Vec::new(), sequence: 0, closed: 0, opened: begin };
            let mut lengths = Vec::new();
            for Turns { at, count, line } in &printed {
                for _ in 0..*count {
                    for stream in [LogStream::Stdout, LogStream::Stderr] {
                        pending.append(stream, &vec![b'0'; *line], begin + Duration::from_millis(*at));
                    }
                }
                lengths.push(pending.chunks.iter().map(|chunk| chunk.bytes.len()).collect::<Vec<_>>());
            }
            let chunks = pending.chunks;
            assert_eq!(chunks.len(), count, "{case}");
            assert!(chunks.iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.bytes.len())), "{case}");
            let total = printed.iter().map(|turns| turns.count * turns.line).sum::<usize>();
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                assert_eq!(text(&chunks, stream).len(), total, "{case}");
            }
            // What was there more than half a second before has not grown.
            let (first, last) = (&lengths[0], &lengths[lengths.len() - 1]);
            assert!(printed.len() == 1 || printed[1].at < 500 || last.starts_with(first), "{case}");
        }
    }

    #[test]
    fn within_a_stream_the_order_is_kept_however_it_comes() {
        let log = LogRecorder::new(1 << 20);
        let mut chunks = Vec::new();
        let mut expected = [String::new(), String::new()];
        for number in 0..20_000_usize {
            let (index, stream) = if number % 3 == 0 { (0, Stream::Stdout) } else { (1, Stream::Stderr) };
            let line = format!("{number} ").repeat(number % 7);
            log.push(stream, line.as_bytes());
            expected[index].push_str(&line);
            if number % 1000 == 0
                && let Some(piece) = log.take()
            {
                log.push(stream, b"!");
                expected[index].push('!');
                if number % 2000 == 0 {
                    log.give_back(piece);
                } else {
                    chunks.extend(piece.1);
                }
            }
        }
        let (_, rest, _) = log.finish();
        chunks.extend(rest);
        assert_eq!([LogStream::Stdout, LogStream::Stderr].map(|stream| text(&chunks, stream)), expected);
    }
}
