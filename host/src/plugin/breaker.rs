//! Leaves a component alone that keeps failing. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// What is known about a component's recent calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a call may be made at `now`; if not, how long to wait.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        match self.open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) | None => Ok(()),
        }
    }

    /// A call came back, whatever it answered.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A call failed by the component's own fault. After the cool-down one more failure is enough to
    /// wait again: the count starts over only with a success.
    pub(crate) fn failed(&mut self, now: Instant, most: u32, cool_down: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= most {
            self.open_until = Some(now + cool_down);
        }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL_DOWN: Duration = Duration::from_mins(1);

    /// `F`: a failure, `S`: a success, a digit: minutes pass. Then: is the next call admitted?
    fn check(history: &str, admitted: bool) {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for event in history.chars() {
            match event {
                'F' => breaker.failed(now, 3, COOL_DOWN),
                'S' => breaker.succeeded(),
                minutes => now += COOL_DOWN * minutes.to_digit(10).expect("a digit"),
            }
        }
        assert_eq!(breaker.admit(now).is_ok(), admitted, "{history}");
    }

    #[test]
    fn opens_and_closes() {
        for (history, admitted) in [
            ("", true),
            ("FF", true),
            ("FFF", false),
            ("FFSF", true),
            ("FFSFFF", false),
            ("FFF1", true),
            ("FFF1F", false),
            ("FFF1S", true),
            ("FFF1SFF", true),
            ("FFF1F1", true),
        ] {
            check(history, admitted);
        }
    }
}
