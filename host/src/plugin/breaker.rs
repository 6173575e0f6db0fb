//! Leaves a component alone that keeps failing for a runtime. Pure: the time is an argument.

use std::time::{Duration, Instant};

use super::error::Cause;

/// What is known about a component's recent calls for one runtime: its YAML may be what makes them fail, and others
/// that the component serves are not to suffer for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    /// Until when it is left alone, and what it failed of last.
    open: Option<(Instant, Cause)>,
}

impl Breaker {
    /// Whether a call may be made at `now`; if not, how long to wait.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Cause> {
        match &self.open {
            Some((until, last)) if now < *until => Err(Cause::CircuitOpen {
                failures: self.failures,
                wait: *until - now,
                last: Box::new(last.clone()),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// A call failed by the component's own fault. After the cool-down one more failure is enough to
    /// wait again: the count starts over only with a success.
    pub(crate) fn failed(&mut self, now: Instant, cause: &Cause, most: u32, cool_down: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= most {
            self.open = Some((now + cool_down, cause.clone()));
        }
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
        let cause = Cause::Trap { reason: "unreachable".to_owned(), message: None };
        for event in history.chars() {
            match event {
                'F' => breaker.failed(now, &cause, 3, COOL_DOWN),
                'S' => breaker = Breaker::default(),
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
