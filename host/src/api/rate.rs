//! How often each token may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use uuid::Uuid;

/// So many callers are remembered before those are forgotten who have not asked for a while.
const CALLERS_MAX: usize = 1024;

/// So many requests a second for each caller, after as many at once as that is in two seconds.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    /// What each may still ask at once.
    left: Mutex<HashMap<Uuid, Left>>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    count: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), left: Mutex::default() }
    }

    /// Whether a caller may ask now; if so, he has.
    pub(super) fn allows(&self, caller: Uuid, now: Instant) -> bool {
        let all = self.per_second * 2.0;
        let grown = |left: &Left| {
            let since = now.saturating_duration_since(left.at).as_secs_f64();
            (left.count + since * self.per_second).min(all)
        };
        let mut callers = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_MAX {
            callers.retain(|_, left| grown(left) < all);
        }
        let left = callers.entry(caller).or_insert(Left { count: all, at: now });
        let count = grown(left);
        let is_allowed = count >= 1.0;
        *left = Left { count: if is_allowed { count - 1.0 } else { count }, at: now };
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_may_ask_so_often_and_no_more() {
        let rate = Rate::new(10);
        let (one, other, begin) = (Uuid::now_v7(), Uuid::now_v7(), Instant::now());
        let asked = |caller, at| (0..100).filter(|_| rate.allows(caller, at)).count();
        assert_eq!(asked(one, begin), 20, "for two seconds at once");
        assert_eq!(asked(other, begin), 20, "each by himself");
        assert_eq!(asked(one, begin + Duration::from_millis(500)), 5);
        assert_eq!(asked(one, begin + Duration::from_mins(1)), 20);
        for _ in 0..2 * CALLERS_MAX {
            assert!(rate.allows(Uuid::now_v7(), begin));
        }
        assert_eq!(asked(other, begin), 0, "who has just asked is not forgotten");
    }
}
