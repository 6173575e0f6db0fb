//! How an execution ended, in the host's words: status, error class, result.

use std::io;

use serde_json::Value as Json;

use super::choice::{Choice, ChoiceError};
use super::launch::LaunchError;
use super::supervision::Supervised;
use super::{AskError, Asked, ExecutionId, Status};
use crate::environment::prepare::PrepareError;
use crate::process::{Ending as ProcessEnding, SpawnError, WaitError};
use crate::result::{self, ResultError};
use crate::store::StoreError;

/// Why an execution was not accepted, or could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// What was asked is wrong; nothing was accepted.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The execution can't have a folder.
    #[error("can't make a folder for the execution: {0}")]
    RunFolder(#[source] io::Error),
    /// No installation was chosen.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// There is no environment.
    #[error(transparent)]
    Environment(#[from] PrepareError),
    /// It can't be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What it is to read can't be written.
    #[error("can't hand over parameters: {0}")]
    Delivery(String),
    /// The operating system did not start it.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The process was lost sight of.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// Somebody else ended its record while it ran, so its own end does not count.
    #[error("the execution {id} was given up by somebody else while it ran")]
    NotRunning {
        /// The execution.
        id: ExecutionId,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ExecutionError {
    /// The name under which it is recorded.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Ask(_) => "invalid_request",
            Self::RunFolder(_) | Self::Delivery(_) => "io",
            Self::Choice(ChoiceError::NoMatch { .. }) => "no_match",
            Self::Choice(ChoiceError::Alias(_)) => "unknown_alias",
            Self::Choice(ChoiceError::NotServed { .. }) => "not_served",
            Self::Choice(ChoiceError::Direct { .. }) => "no_versions",
            Self::Choice(ChoiceError::Detection(_)) => "detection_failed",
            Self::Environment(_) => "environment_failed",
            Self::Launch(_) => "launch_failed",
            Self::Spawn(_) => "spawn_failed",
            Self::Wait(_) | Self::NotRunning { .. } => "worker_lost",
            Self::Store(_) => "store",
        }
    }
}

/// How an execution ended, before it is recorded.
#[derive(Debug)]
pub struct Ending {
    pub status: Status,
    pub result: Option<Json>,
    pub exit_code: Option<i32>,
    pub output_incomplete: bool,
    /// Class and sentence.
    pub error: Option<(String, String)>,
    /// What went wrong before the process was there, for whoever asked.
    pub cause: Option<ExecutionError>,
}

impl Ending {
    /// Somebody asked for the end while there was no process yet.
    pub(super) fn cancelled_before_start() -> Self {
        let message = "the action was cancelled before it was started".to_owned();
        Self {
            status: Status::Cancelled,
            result: None,
            exit_code: None,
            output_incomplete: false,
            error: Some(("cancelled".to_owned(), message)),
            cause: None,
        }
    }
}

impl From<ExecutionError> for Ending {
    fn from(error: ExecutionError) -> Self {
        Self {
            status: Status::Failed,
            result: None,
            exit_code: None,
            output_incomplete: false,
            error: Some((error.class().to_owned(), error.to_string())),
            cause: Some(error),
        }
    }
}

/// An execution that has ended and is recorded.
#[derive(Debug)]
pub struct Outcome {
    pub id: ExecutionId,
    pub status: Status,
    pub result: Option<Json>,
    pub exit_code: Option<i32>,
    pub output_incomplete: bool,
    /// Class and sentence.
    pub error: Option<(String, String)>,
    /// What went wrong before the process was there.
    pub cause: Option<ExecutionError>,
    /// Label of the runtime.
    pub runtime: String,
    pub choice: Option<Choice>,
    /// Whether an environment was built for it.
    pub built: bool,
    pub warnings: Vec<String>,
    /// Stage and milliseconds.
    pub timings: Vec<(String, f64)>,
}

/// What a finished process comes to.
pub(super) fn conclude(asked: &Asked, Supervised { finished, printed }: &Supervised) -> Ending {
    let mut ending = Ending {
        status: Status::Failed,
        result: None,
        exit_code: None,
        output_incomplete: finished.output_incomplete,
        error: None,
        cause: None,
    };
    match finished.ending {
        ProcessEnding::Exited(0) => {
            ending.exit_code = Some(0);
            match result::parse(&asked.action.output, finished.ending, printed) {
                Ok(value) => {
                    ending.status = Status::Succeeded;
                    ending.result = value;
                }
                Err(error) => ending.error = Some((class_of(&error).to_owned(), error.to_string())),
            }
        }
        ProcessEnding::Exited(code) => {
            ending.exit_code = Some(code);
            ending.error =
                Some(("nonzero_exit".to_owned(), format!("the action ended with exit code {code}")));
        }
        ProcessEnding::Signalled(signal) => {
            ending.error =
                Some(("killed_by_signal".to_owned(), format!("the action was ended by signal {signal}")));
        }
        ProcessEnding::TimedOut { limit, forced } => {
            ending.status = Status::TimedOut;
            let how = if forced { "did not end when asked to, and was killed" } else { "was ended" };
            ending.error =
                Some(("timeout".to_owned(), format!("the action ran longer than {limit:?} and {how}")));
        }
        ProcessEnding::Cancelled { forced } => {
            ending.status = Status::Cancelled;
            let how = if forced { "did not end when asked to, and was killed" } else { "was ended" };
            ending.error = Some(("cancelled".to_owned(), format!("the action was cancelled and {how}")));
        }
    }
    ending
}

fn class_of(error: &ResultError) -> &'static str {
    match error {
        ResultError::Unparsable { .. } | ResultError::NotUtf8 { .. } => "unparsable_result",
        ResultError::Incomplete { .. } => "result_too_large",
        ResultError::Invalid { .. } => "invalid_result",
        ResultError::Schema(_) => "invalid_output_schema",
    }
}
