//! What a service runs now, and how each of it is asked to end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

use crate::execution::ExecutionId;
use crate::process::{Cancel, Canceller};
use crate::store::execution::Attempt;
use crate::store::lease::Held;

/// What runs now.
#[derive(Debug, Default)]
pub(super) struct Running(RefCell<HashMap<ExecutionId, Run>>);

#[derive(Debug)]
struct Run {
    attempt: Attempt,
    since: Instant,
    canceller: Canceller,
}

impl Running {
    /// Adds an attempt; what it is asked to end by.
    pub(super) fn insert(&self, attempt: Attempt) -> Cancel {
        let (canceller, cancel) = Cancel::new();
        self.0.borrow_mut().insert(attempt.id, Run { attempt, since: Instant::now(), canceller });
        cancel
    }

    /// Removes an attempt that has ended, unless a later one has taken its place.
    pub(super) fn remove(&self, attempt: Attempt) {
        let mut runs = self.0.borrow_mut();
        if runs.get(&attempt.id).is_some_and(|run| run.attempt == attempt) {
            runs.remove(&attempt.id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.0.borrow().values().map(|run| run.attempt).collect()
    }

    /// Compares what runs with what the database says this service still had at `asked_at`: ends at once what it has
    /// no more, and asks to end what somebody wants to end.
    pub(super) fn compare(&self, held: &[Held], asked_at: Instant) {
        for run in self.0.borrow().values().filter(|run| run.since < asked_at) {
            match held.iter().find(|held| held.attempt == run.attempt) {
                None => {
                    tracing::warn!(execution.id = %run.attempt.id, "somebody else has taken an execution");
                    run.end_at_once();
                }
                Some(held) if held.cancel_requested => run.canceller.ask(),
                Some(_) => {}
            }
        }
    }

    /// Ends at once whatever runs.
    pub(super) fn kill_all(&self) {
        self.0.borrow().values().for_each(Run::end_at_once);
    }

    /// Asks all that runs to end.
    pub(super) fn end_all(&self) {
        self.0.borrow().values().for_each(|run| run.canceller.ask());
    }
}

impl Run {
    fn end_at_once(&self) {
        self.canceller.ask();
        self.canceller.urge();
    }
}
