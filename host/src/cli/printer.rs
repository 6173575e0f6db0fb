//! Passing on what an action prints, without the action's supervision ever waiting for the reader.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use super::failure::{Exit, Failed};
use super::output::Output;
use crate::execution::ExecutionId;
use crate::process::Stream;

/// With more than this unread, even the action has to wait.
const BACKLOG_MAX: usize = 64 << 20;

/// Prints on a thread of its own: a pager that nobody scrolls must not keep a timeout from passing.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    backlog: Arc<Backlog>,
    /// Started with the first thing to print; none if it could not be.
    thread: OnceLock<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    sender: Sender<(Stream, Vec<u8>)>,
    thread: JoinHandle<Printed>,
}

/// What came of printing.
#[derive(Debug, Default)]
pub(super) struct Printed {
    /// Whether the last line has no end.
    pub(super) open_line: bool,
    /// Why some of the data did not get where it was to go.
    lost: Option<io::Error>,
}

impl Printed {
    /// How the command ends that would end with `exit` if all was printed.
    pub(super) fn exit(self, exit: Exit, id: ExecutionId) -> Result<Exit, Failed> {
        let Some(error) = self.lost else { return Ok(exit) };
        let exit = if exit == Exit::Success { Exit::Failure } else { exit };
        let error = anyhow::Error::new(error).context("what the action printed can't be passed on");
        Err(Failed::new(exit, error).hint(format!("`attune execution logs {id}` prints it again")))
    }
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: Mutex<usize>,
    shrunk: Condvar,
}

impl Printer {
    /// What an action prints goes where it would go if it were started directly; with `--json`, only its
    /// complaints do.
    pub(super) fn new(output: &Output) -> Self {
        Self { output: output.clone(), backlog: Arc::default(), thread: OnceLock::new() }
    }

    fn start(&self) -> Option<Running> {
        let (sender, receiver) = channel();
        let (output, shared) = (self.output.clone(), Arc::clone(&self.backlog));
        let thread = std::thread::Builder::new()
            .name("printer".to_owned())
            .spawn(move || print(&output, &receiver, &shared))
            .ok()?;
        Some(Running { sender, thread })
    }

    /// Takes what is to be printed.
    pub(super) fn push(&self, stream: Stream, bytes: &[u8]) {
        // Without a thread there is nobody to print; the log has it all.
        let Some(running) = self.thread.get_or_init(|| self.start()) else { return };
        let waiting = self.backlog.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |waiting: &mut usize| *waiting > BACKLOG_MAX;
        let mut waiting =
            self.backlog.shrunk.wait_while(waiting, is_full).unwrap_or_else(PoisonError::into_inner);
        if running.sender.send((stream, bytes.to_vec())).is_ok() {
            *waiting += bytes.len();
        }
    }

    /// Waits until everything is printed.
    pub(super) fn finish(self) -> Printed {
        let Some(Some(Running { sender, thread })) = self.thread.into_inner() else {
            return Printed::default();
        };
        drop(sender);
        thread.join().unwrap_or_default()
    }
}

fn print(output: &Output, receiver: &Receiver<(Stream, Vec<u8>)>, backlog: &Backlog) -> Printed {
    let mut printed = Printed::default();
    for (stream, bytes) in receiver {
        // A reader that went away is no reason to end the action.
        match stream {
            Stream::Stdout if output.json => {}
            Stream::Stdout => {
                if let Err(error) = output.bytes(&bytes) {
                    printed.lost.get_or_insert(error);
                }
            }
            Stream::Stderr => drop(std::io::stderr().write_all(&bytes)),
        }
        printed.open_line = bytes.last().is_some_and(|last| *last != b'\n');
        *backlog.bytes.lock().unwrap_or_else(PoisonError::into_inner) -= bytes.len();
        backlog.shrunk.notify_one();
    }
    printed
}
