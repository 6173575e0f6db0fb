//! Passing on what an action prints, without the action's supervision ever waiting for the reader.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::output::Output;
use crate::process::Stream;

/// With more than this unread, even the action has to wait.
const BACKLOG_MAX: usize = 64 << 20;

/// Prints on a thread of its own: a pager that nobody scrolls must not keep a timeout from passing.
#[derive(Debug)]
pub(super) struct Printer {
    sender: Sender<(Stream, Vec<u8>)>,
    backlog: Arc<Backlog>,
    thread: Option<JoinHandle<bool>>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: Mutex<usize>,
    shrunk: Condvar,
}

impl Printer {
    /// What an action prints goes where it would go if it were started directly; with `--json`, only its
    /// complaints do.
    pub(super) fn start(output: &Output) -> Self {
        let (sender, receiver) = channel();
        let backlog = Arc::<Backlog>::default();
        let (output, shared) = (output.clone(), Arc::clone(&backlog));
        let thread = std::thread::Builder::new()
            .name("printer".to_owned())
            .spawn(move || print(&output, &receiver, &shared))
            .ok();
        Self { sender, backlog, thread }
    }

    /// Takes what is to be printed.
    pub(super) fn push(&self, stream: Stream, bytes: &[u8]) {
        let waiting = self.backlog.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |waiting: &mut usize| *waiting > BACKLOG_MAX;
        let mut waiting =
            self.backlog.shrunk.wait_while(waiting, is_full).unwrap_or_else(PoisonError::into_inner);
        // Without a thread there is nobody to print; the log has it all.
        if self.sender.send((stream, bytes.to_vec())).is_ok() {
            *waiting += bytes.len();
        }
    }

    /// Waits until everything is printed. Whether the last line of it has no end.
    pub(super) fn finish(self) -> bool {
        drop(self.sender);
        self.thread.is_some_and(|thread| thread.join().unwrap_or(false))
    }
}

fn print(output: &Output, receiver: &Receiver<(Stream, Vec<u8>)>, backlog: &Backlog) -> bool {
    let mut open_line = false;
    for (stream, bytes) in receiver {
        // A reader that went away is no reason to end the action.
        match stream {
            Stream::Stdout if output.json => {}
            Stream::Stdout => drop(output.bytes(&bytes)),
            Stream::Stderr => drop(std::io::stderr().write_all(&bytes)),
        }
        open_line = bytes.last().is_some_and(|last| *last != b'\n');
        *backlog.bytes.lock().unwrap_or_else(PoisonError::into_inner) -= bytes.len();
        backlog.shrunk.notify_one();
    }
    open_line
}
