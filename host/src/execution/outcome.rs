//! How an execution ended, in the host's words: status, error class, result.

use std::io;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::choice::{Choice, ChoiceError};
use super::launch::LaunchError;
use super::supervision::Supervised;
use super::{AskError, Asked, ExecutionId, Status};
use crate::detection::DetectionError;
use crate::environment::prepare::PrepareError;
use crate::process::{Ending as ProcessEnding, Escaped, SpawnError, WaitError, signal_text};
use crate::result::{self, Parsed, RESULT_MAX, ResultError};
use crate::selection::SelectionView;
use crate::store::StoreError;

/// As much of a failing step's output as goes into the record's error.
const STEP_LINES: usize = 20;

/// As many survivors as a warning names.
const ESCAPED_NAMED: usize = 10;

/// Why an execution was not accepted, or could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// What was asked is wrong; nothing was accepted.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The execution can't have a folder.
    #[error("can't make a folder for the execution in {0}")]
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
    /// The database failed before anything was started, so that it may as well be begun again.
    #[error("the execution could not begin: {source}")]
    NotBegun {
        /// What the database says.
        source: Box<ExecutionError>,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ExecutionError {
    /// The message, with the end of what a failing step printed: whoever reads it later has nothing else.
    fn told(&self) -> String {
        match self {
            Self::Environment(error) if let Some(output) = error.output() => {
                let lines = output.trim_end().lines().collect::<Vec<_>>();
                let last = lines[lines.len().saturating_sub(STEP_LINES)..].join("\n");
                format!("{self}\n{last}").trim_end().to_owned()
            }
            _ => self.to_string(),
        }
    }

    /// What was judged, if nothing of it would do.
    #[must_use]
    pub fn selection(&self) -> Option<SelectionView<'_>> {
        match self {
            Self::Choice(error) => error.selection(),
            _ => None,
        }
    }

    /// The name under which it is recorded.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Ask(AskError::Files(_))
            | Self::Choice(ChoiceError::Detection(DetectionError::Files(_))) => "pack_missing",
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
            Self::Store(_) | Self::NotBegun { .. } => "store",
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
    pub warnings: Vec<String>,
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
            warnings: Vec::new(),
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
            error: Some((error.class().to_owned(), error.told())),
            cause: Some(error),
            warnings: Vec::new(),
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
    /// The entry point's absolute path, if it is itself the program and nothing was to be chosen.
    pub program: Option<PathBuf>,
    /// Whether an environment was built for it.
    pub built: bool,
    pub warnings: Vec<String>,
    /// Stage and milliseconds.
    pub timings: Vec<(String, f64)>,
}

/// What a finished process comes to.
pub(super) fn conclude(asked: &Asked, supervised: &Supervised) -> Ending {
    let Supervised { finished, printed, unkept_errors, escaped } = supervised;
    let mut ending = Ending {
        status: Status::Failed,
        result: None,
        exit_code: None,
        output_incomplete: finished.output_incomplete,
        error: None,
        cause: None,
        warnings: escaped_warning(escaped).into_iter().collect(),
    };
    match finished.ending {
        ProcessEnding::Exited(0) => {
            ending.exit_code = Some(0);
            match result::parse(&asked.action.output, finished.ending, printed) {
                Ok(parsed) => {
                    ending.status = Status::Succeeded;
                    if let Some(Parsed { value, missing }) = parsed {
                        ending.warnings.extend(cut(asked.attempt.id, printed.missing(), missing));
                        ending.result = Some(value);
                    }
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
            ending.error = Some((
                "killed_by_signal".to_owned(),
                format!("the action was ended by {}", signal_text(signal)),
            ));
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
    // What is missing of a result is said with it.
    let unkept_output = if ending.result.is_some() { 0 } else { printed.missing() };
    ending.warnings.extend(unkept(unkept_output, "standard output"));
    ending.warnings.extend(unkept(*unkept_errors, "standard error"));
    ending
}

/// What whoever reads the log has to know.
fn unkept(bytes: u64, stream: &str) -> Option<String> {
    (bytes > 0)
        .then(|| format!("{bytes} bytes in the middle of {stream} were not kept (setting `output_limit`)"))
}

/// What whoever reads the result has to know: how much of the output was not kept, and how much is not in the result.
fn cut(id: ExecutionId, lost: u64, missing: u64) -> Option<String> {
    let only_in_log = missing.saturating_sub(lost);
    let logs = format!("only in the log: `attune execution logs {id} --stream stdout`");
    let unkept = "in the middle of the output were not kept (setting `output_limit`)";
    match (lost, only_in_log) {
        (0, 0) => None,
        (0, _) => Some(format!(
            "the result is cut: {only_in_log} bytes in the middle, beyond {RESULT_MAX}, are {logs}"
        )),
        (_, 0) => Some(format!("the result is cut: {lost} bytes {unkept}")),
        (_, _) => {
            Some(format!("the result is cut: {lost} bytes {unkept}, and {only_in_log} more are {logs}"))
        }
    }
}

/// Names the first of them.
fn escaped_warning(escaped: &[Escaped]) -> Option<String> {
    let named = escaped.iter().take(ESCAPED_NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let rest = escaped.len().saturating_sub(ESCAPED_NAMED);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    match escaped.len() {
        0 => None,
        1 => {
            Some(format!("ended 1 process that had left the action's process group and outlived it: {named}"))
        }
        count => Some(format!(
            "ended {count} processes that had left the action's process group and outlived it: {named}{rest}"
        )),
    }
}

fn class_of(error: &ResultError) -> &'static str {
    match error {
        ResultError::Unparsable { .. } | ResultError::NotUtf8 { .. } => "unparsable_result",
        ResultError::Incomplete { .. } | ResultError::TooLarge { .. } => "result_too_large",
        ResultError::Invalid { .. } => "invalid_result",
        ResultError::Schema(_) => "invalid_output_schema",
    }
}
