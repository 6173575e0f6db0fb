//! When what could not be built is tried again, unless somebody asks for it.
//!
//! What fails once for a reason that stays, such as a package that does not exist, would otherwise be tried anew by
//! every execution that wants it: seconds of work and a request to a registry for each, to the same end.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::environment::EnvironmentRow;

/// How long a failure is believed, at least and at most.
const WAIT: (TimeDelta, TimeDelta) = (TimeDelta::seconds(10), TimeDelta::minutes(10));

/// Whether a build is tried though the last one failed a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Somebody asks for it now, and watches.
    AtOnce,
    /// Not before its time has come.
    WhenDue,
}

/// An environment whose last build failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its build failed at {failed_at} and is not tried again before {again_at}, unless by `attune env repair`: {error}"
)]
pub struct Failing {
    /// The stable path.
    pub path: PathBuf,
    /// When it failed for the first time in a row.
    pub since: DateTime<Utc>,
    /// When it failed for the last time.
    pub failed_at: DateTime<Utc>,
    /// When it is tried again.
    pub again_at: DateTime<Utc>,
    /// Why it failed.
    pub error: String,
    /// What the steps printed.
    pub output: String,
}

impl Failing {
    /// What is on record of an environment, if that is a failure.
    #[must_use]
    pub fn of(row: &EnvironmentRow) -> Option<Self> {
        (row.status == "failed").then(|| Self {
            path: PathBuf::from(&row.path),
            since: row.created_at,
            failed_at: row.last_used_at,
            again_at: again_at(row.created_at, row.last_used_at),
            error: row.error.clone().unwrap_or_default(),
            output: row.log.clone().unwrap_or_default(),
        })
    }

    /// Whether it is left alone now. Not if the failure is one of the future: a clock was set back.
    #[must_use]
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        (self.failed_at..self.again_at).contains(&now)
    }
}

/// When to try again what has failed since then, and for the last time at `failed_at`: it waits as long again as it
/// has been failing, so about twice as long each time.
#[must_use]
pub fn again_at(since: DateTime<Utc>, failed_at: DateTime<Utc>) -> DateTime<Utc> {
    failed_at + (failed_at - since).clamp(WAIT.0, WAIT.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let since = DateTime::UNIX_EPOCH;
        let mut failed_at = since;
        let mut waits = Vec::new();
        for _ in 0..9 {
            let next = again_at(since, failed_at);
            waits.push((next - failed_at).num_seconds());
            failed_at = next;
        }
        assert_eq!(waits, [10, 10, 20, 40, 80, 160, 320, 600, 600]);
        let second = TimeDelta::seconds(1);
        assert_eq!(again_at(since, since - second), since + second * 9, "the clock was set back");
    }

    #[test]
    fn a_failure_of_the_future_does_not_hold() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let failing = Failing {
            path: PathBuf::new(),
            since: at(100),
            failed_at: at(100),
            again_at: at(110),
            error: String::new(),
            output: String::new(),
        };
        assert_eq!([99, 100, 109, 110].map(|now| failing.holds(at(now))), [false, true, true, false]);
    }
}
