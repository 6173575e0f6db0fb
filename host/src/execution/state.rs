//! Names and states of executions.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::pack::problem::alternatives;

/// Names an execution; later ones sort after earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecutionId(pub(crate) Uuid);

impl ExecutionId {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

/// What identifiers of executions begin with: one hexadecimal digit or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPrefix {
    first: ExecutionId,
    digits: usize,
}

impl IdPrefix {
    /// How many digits it has.
    #[must_use]
    pub fn digits(self) -> usize {
        self.digits
    }

    /// The first and the last identifier that begins so.
    #[must_use]
    pub fn range(self) -> (ExecutionId, ExecutionId) {
        let rest = 1_u128.checked_shl(below(self.digits)).map_or(u128::MAX, |next| next - 1);
        (self.first, ExecutionId(Uuid::from_u128(self.first.0.as_u128() | rest)))
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.first.0.simple().to_string();
        formatter.write_str(digits.get(..self.digits).unwrap_or(&digits))
    }
}

/// That a text begins no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the beginning of an identifier is 1 to {DIGITS} hexadecimal digits, with hyphens or without")]
pub struct InvalidIdPrefix;

impl std::str::FromStr for IdPrefix {
    type Err = InvalidIdPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidIdPrefix> {
        let digits = text.chars().filter(|character| *character != '-').collect::<String>();
        let count = digits.len();
        if count == 0 || count > DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidIdPrefix);
        }
        let value = u128::from_str_radix(&digits, 16).map_err(|_| InvalidIdPrefix)?;
        let first = ExecutionId(Uuid::from_u128(value.checked_shl(below(count)).unwrap_or_default()));
        Ok(Self { first, digits: count })
    }
}

/// Hexadecimal digits of an identifier.
const DIGITS: usize = 32;

/// How many bits follow the first `digits` digits.
fn below(digits: usize) -> u32 {
    u32::try_from(DIGITS.saturating_sub(digits) * 4).unwrap_or_default()
}

impl Default for ExecutionId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::str::FromStr for ExecutionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(text.parse()?))
    }
}

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted, not yet started.
    Queued,
    /// A worker has it.
    Running,
    /// The action succeeded.
    Succeeded,
    /// The action failed, or could not be started.
    Failed,
    /// It ran longer than it may.
    TimedOut,
    /// Somebody asked for its end.
    Cancelled,
    /// Its worker died, and running it again might do harm.
    Abandoned,
}

impl Status {
    /// As it is called in the database and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether it neither waits nor runs.
    #[must_use]
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Every status, in the order in which they come.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Abandoned,
    ];
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text that names no status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {names}", names = alternatives(Status::ALL.map(Status::name)))]
pub struct UnknownStatus(String);

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_of_a_beginning() {
        let check = |text: &str, first: &str, last: &str| {
            let prefix = text.parse::<IdPrefix>().expect("a beginning");
            let (lowest, highest) = prefix.range();
            assert_eq!((lowest.to_string().as_str(), highest.to_string().as_str()), (first, last));
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
        };
        let whole = "01a1ffe9-01a2-7421-86a8-425e358c4c1b";
        check("01a1", "01a10000-0000-0000-0000-000000000000", "01a1ffff-ffff-ffff-ffff-ffffffffffff");
        check("01A1FFE9-01a", "01a1ffe9-01a0-0000-0000-000000000000", "01a1ffe9-01af-ffff-ffff-ffffffffffff");
        check(whole, whole, whole);
        for text in ["", "-", "01g1", "last", "+123", &format!("{whole}0")] {
            assert!(text.parse::<IdPrefix>().is_err(), "{text}");
        }
    }
}
