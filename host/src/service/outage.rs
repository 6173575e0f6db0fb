//! What is said of something that fails for a while.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Instant;

/// Something that is tried again and again: it is said once that it fails, and once that it works again.
#[derive(Debug)]
pub(super) struct Outage {
    /// What is tried; to follow `can't`.
    what: &'static str,
    since: Cell<Option<Instant>>,
}

impl Outage {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, since: Cell::new(None) }
    }

    /// Says what came of it, unless that is known.
    pub(super) fn tell<T>(&self, outcome: &Result<T, impl Display>) {
        let what = self.what;
        match (outcome, self.since.get()) {
            (Ok(_), None) => {}
            (Ok(_), Some(since)) => {
                self.since.set(None);
                tracing::warn!("can {what} again, after {} s", since.elapsed().as_secs());
            }
            (Err(error), None) => {
                self.since.set(Some(Instant::now()));
                tracing::warn!("can't {what}, trying again: {error}");
            }
            (Err(error), Some(_)) => tracing::debug!("still can't {what}: {error}"),
        }
    }
}
