//! How long each stage of an execution took.

use std::time::Instant;

/// Stages and their durations, in the order in which they ended.
#[derive(Clone, Debug)]
pub(crate) struct Timings {
    since: Instant,
    stages: Vec<(String, f64)>,
}

impl Timings {
    /// The first stage began at `since`.
    pub(crate) fn begin(since: Instant) -> Self {
        Self { since, stages: Vec::new() }
    }

    /// Ends a stage; the next one begins.
    pub(crate) fn end(&mut self, stage: &str) {
        let now = Instant::now();
        let milliseconds = (now - self.since).as_secs_f64() * 1000.0;
        self.stages.push((stage.to_owned(), (milliseconds * 1000.0).round() / 1000.0));
        self.since = now;
    }

    /// Stage and milliseconds.
    pub(crate) fn stages(&self) -> Vec<(String, f64)> {
        self.stages.clone()
    }
}
