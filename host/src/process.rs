//! Child processes: started with a clean environment, bounded, and always ended.
//!
//! Owns everything between a complete [`Command`] and what became of it. Which program that is, with
//! which variables and for whose sake, is decided elsewhere; [`variables`] offers the arithmetic.
//!
//! A child leads a process group of its own, and whatever is left of the group when the leader is gone
//! is killed. A descendant that starts a session of its own escapes that. If it still holds the output, it is looked
//! for, ended and named; to hold one that lets go of everything takes the stronger sandbox tiers.

pub mod init;
pub mod variables;

mod cancel;
mod capture;
mod hardening;
mod record;
mod running;
mod spawn;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use cancel::{Cancel, Canceller};
pub use capture::{Capture, Captured};
pub use hardening::harden;
pub use record::{Escaped, ProcessRecord, Swept, end_escaped, started_with, sweep};
pub(crate) use running::signal_text;
pub use running::{CpuTime, Ending, Finished, Running, WaitError};
pub(crate) use spawn::spawn_when_written;
pub use spawn::{SpawnError, start};

/// Everything that a child is started with: nothing is inherited.
#[derive(Clone, Debug)]
pub struct Command {
    /// Absolute path.
    pub program: PathBuf,
    /// Without the program itself.
    pub arguments: Vec<OsString>,
    /// The complete environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Where it starts; absolute.
    pub folder: PathBuf,
    pub stdin: Stdin,
    /// None: as long as it takes.
    pub timeout: Option<Duration>,
    /// How long it has between TERM and KILL.
    pub grace: Duration,
    pub limits: OutputLimits,
}

impl Command {
    /// `program` without arguments or variables, in `/`, without a timeout.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: PathBuf::from("/"),
            stdin: Stdin::Null,
            timeout: None,
            grace: Duration::from_secs(5),
            limits: OutputLimits::default(),
        }
    }
}

/// What a child reads from its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    Null,
    /// Then end of file. A child that does not read it is not an error.
    Bytes(Vec<u8>),
}

/// How much of each stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Bytes: half of them from the beginning, half from the end.
    pub per_stream: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { per_stream: 10 * 1024 * 1024 }
    }
}

/// Which of its two streams a child wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}
