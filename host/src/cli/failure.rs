//! How commands fail: what is said, and the exit code.

use std::num::NonZeroU8;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::pack::problem::counted;
use crate::printable::{printable, with_causes};
use crate::settings::SettingsError;
use crate::store::StoreError;
use crate::store::change::ChangeError;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Success,
    /// Something went wrong, or the action failed without an exit code.
    Failure,
    /// The action failed with this exit code.
    Action(NonZeroU8),
    /// The input is wrong.
    Input,
    /// No installation satisfies what was asked.
    NoMatch,
    /// There is nothing by that name.
    NotFound,
    /// An environment can't be built.
    Environment,
    /// A component asks for more than the operator allowed.
    NotApproved,
    /// The action ran longer than it may.
    TimedOut,
    /// Somebody asked for the end.
    Cancelled,
}

impl Exit {
    /// That of an action that failed, with the exit code that it has.
    pub(super) fn of_action(code: Option<i64>) -> Self {
        let code = code.and_then(|code| u8::try_from(code).ok()).and_then(NonZeroU8::new);
        code.map_or(Self::Failure, Self::Action)
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Action(code) => code.get(),
            Self::Input => 2,
            Self::NoMatch => 3,
            Self::NotFound => 4,
            Self::Environment => 5,
            Self::NotApproved => 6,
            Self::TimedOut => 124,
            Self::Cancelled => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub exit: Exit,
    pub error: anyhow::Error,
    /// What to do about it.
    pub hints: Vec<String>,
    /// Text that stands by itself, such as the problems of a pack, shown before the error.
    pub report: Option<String>,
}

impl Failed {
    /// A failure that `error` explains.
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hints: Vec::new(), report: None }
    }

    /// A failure that a sentence explains.
    pub(super) fn message(exit: Exit, message: impl Into<String>) -> Self {
        Self::new(exit, anyhow::Error::msg(message.into()))
    }

    /// Whether the database or the server is out of reach, and the same may succeed when it is back.
    pub(super) fn is_outage(&self) -> bool {
        self.error.downcast_ref::<StoreError>().is_some_and(StoreError::is_outage)
            || self.error.downcast_ref::<ClientError>().is_some_and(ClientError::is_outage)
    }

    /// The error and its causes, in one line.
    pub(super) fn text(&self) -> String {
        with_causes(&*self.error)
    }

    /// With something to do about it.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With text to show before the error.
    #[must_use]
    pub(super) fn report(mut self, report: impl Into<String>) -> Self {
        self.report = Some(report.into());
        self
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failure, error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failure, error)
    }
}

impl From<ChangeError> for Failed {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::NotFound { .. } => Self::new(Exit::NotFound, error),
            error => Self::new(Exit::Input, error),
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::new(Exit::Failure, error)
    }
}

impl From<SettingsError> for Failed {
    fn from(error: SettingsError) -> Self {
        let SettingsError::Several(mistakes) = &error else { return Self::new(Exit::Input, error) };
        let report = mistakes.iter().map(|mistake| format!("  {}\n", printable(&mistake.to_string())));
        let message = format!("the settings have {}", counted(mistakes.len(), "mistake"));
        Self::message(Exit::Input, message).report(report.collect::<String>())
    }
}
