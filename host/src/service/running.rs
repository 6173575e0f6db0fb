//! What a service runs now, and how each of it is asked to end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::Span;

use crate::execution::ExecutionId;
use crate::process::{Cancel, Canceller};
use crate::store::execution::Attempt;
use crate::store::lease::Held;

/// What runs now.
#[derive(Debug, Default)]
pub(super) struct Running {
    runs: RefCell<HashMap<ExecutionId, Run>>,
    /// What the database said this service had, and nobody here knew of.
    strays: RefCell<Vec<Attempt>>,
    /// What ran here and has no end on record.
    failed: RefCell<Vec<Attempt>>,
}

#[derive(Debug)]
struct Run {
    attempt: Attempt,
    /// For what is logged about it.
    span: Span,
    since: Instant,
    canceller: Canceller,
    /// Whether it was ended since its lease could not be renewed.
    is_over: Cell<bool>,
}

impl Running {
    /// Adds an attempt; what it is asked to end by.
    pub(super) fn insert(&self, attempt: Attempt, span: Span) -> Cancel {
        let (canceller, cancel) = Cancel::new();
        let run = Run { attempt, span, since: Instant::now(), canceller, is_over: Cell::new(false) };
        self.runs.borrow_mut().insert(attempt.id, run);
        cancel
    }

    /// What is to be held for as long as an attempt that was inserted runs.
    pub(super) fn enter(&self, attempt: Attempt) -> Entry<'_> {
        let since = self.runs.borrow().get(&attempt.id).map(|run| run.since);
        Entry { running: self, attempt, since }
    }

    /// Removes an attempt that has ended, unless a later one has taken its place, be it of the same number.
    fn remove(&self, entry: &Entry<'_>) {
        let mut runs = self.runs.borrow_mut();
        let id = entry.attempt.id;
        if runs.get(&id).is_some_and(|run| (run.attempt, Some(run.since)) == (entry.attempt, entry.since)) {
            runs.remove(&id);
        }
    }

    /// Notes that the end of an attempt could not be recorded.
    pub(super) fn fail(&self, attempt: Attempt) {
        self.failed.borrow_mut().push(attempt);
    }

    /// Whether the end of an attempt could not be recorded. Of what the database says this service has, this tells what
    /// ran from what it has never heard of.
    pub(super) fn has_failed(&self, attempt: Attempt) -> bool {
        self.failed.borrow().contains(&attempt)
    }

    pub(super) fn len(&self) -> usize {
        self.runs.borrow().len()
    }

    /// Compares what runs with what the database says this service still had at `asked_at`: ends at once what it has
    /// no more, and asks to end what somebody wants to end. What nobody here runs, and that for the second time: their
    /// end could not be recorded, or the answer to their claim was lost.
    pub(super) fn compare(&self, held: &[Held], asked_at: Instant) -> Vec<Attempt> {
        for run in self.runs.borrow().values().filter(|run| run.since < asked_at) {
            match held.iter().find(|held| held.attempt == run.attempt) {
                None => {
                    run.span.in_scope(|| tracing::warn!("somebody else has taken an execution"));
                    run.end_at_once();
                }
                Some(held) if held.cancel_requested => run.canceller.ask(),
                Some(_) => {}
            }
        }
        let runs = self.runs.borrow();
        let is_here =
            |held: &&Held| runs.get(&held.attempt.id).is_some_and(|run| run.attempt == held.attempt);
        let strays = held.iter().filter(|held| !is_here(held)).map(|held| held.attempt).collect::<Vec<_>>();
        let before = self.strays.replace(strays.clone());
        strays.into_iter().filter(|attempt| before.contains(attempt)).collect()
    }

    /// Ends at once what was claimed longer ago than `age`, as far as it was not ended before. How many that were.
    pub(super) fn end_older(&self, age: Duration) -> usize {
        let runs = self.runs.borrow();
        let ended = runs.values().filter(|run| run.since.elapsed() > age && !run.is_over.replace(true));
        ended.map(Run::end_at_once).count()
    }

    /// Asks all that runs to end.
    pub(super) fn end_all(&self) {
        self.runs.borrow().values().for_each(|run| run.canceller.ask());
    }

    /// Ends all that runs.
    pub(super) fn end_all_at_once(&self) {
        self.runs.borrow().values().for_each(Run::end_at_once);
    }
}

/// An attempt that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Entry<'r> {
    running: &'r Running,
    attempt: Attempt,
    since: Option<Instant>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // Nobody recorded its end, and its lease must not be renewed for ever.
        if std::thread::panicking() {
            self.running.fail(self.attempt);
        }
        self.running.remove(self);
    }
}

impl Run {
    fn end_at_once(&self) {
        self.canceller.ask();
        self.canceller.urge();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_panics_runs_no_more_and_has_no_end_on_record() {
        let running = Running::default();
        let ends = |panics: bool| {
            let attempt = Attempt { id: ExecutionId::new(), number: 1 };
            drop(running.insert(attempt, Span::none()));
            let ended = catch_unwind(AssertUnwindSafe(|| {
                let _entry = running.enter(attempt);
                assert!(!panics, "as it is to be");
            }));
            assert_eq!((ended.is_err(), running.len()), (panics, 0));
            running.has_failed(attempt)
        };
        assert!(!ends(false));
        assert!(ends(true));

        // One that was given back and is here again, with the same number.
        let attempt = Attempt { id: ExecutionId::new(), number: 1 };
        drop(running.insert(attempt, Span::none()));
        let first = running.enter(attempt);
        drop(running.insert(attempt, Span::none()));
        drop(first);
        assert_eq!(running.len(), 1);
    }
}
