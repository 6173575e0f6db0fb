//! What somebody may do to the queue.

use proptest::prelude::*;
use proptest::sample::Index;

use super::{KINDS, WORKERS};

/// What somebody does. Indexes choose among the executions that there are.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Asks for an execution of one of the kinds.
    Ask {
        kind: usize,
        priority: i64,
        retries: u32,
        idempotent: bool,
        key: Option<u8>,
        when: When,
    },
    /// One of the workers takes some.
    Claim {
        worker: usize,
        free: usize,
    },
    /// The worker that has an attempt says how it ended; or one that had an earlier attempt does.
    End {
        which: Index,
        ok: bool,
        late: bool,
    },
    /// The worker that has an attempt is given up; or somebody gives up an earlier attempt.
    Lose {
        which: Index,
        late: bool,
    },
    /// The worker that has an attempt gives it back, since it can't begin it; or one that had an earlier attempt does.
    GiveBack {
        which: Index,
        late: bool,
    },
    /// A worker is killed, and started again.
    Crash {
        worker: usize,
    },
    /// A worker does not renew its leases in time, and another one looks.
    Silence {
        worker: usize,
    },
    /// Somebody ends what waited beyond its deadline.
    Expire,
    Cancel {
        which: Index,
    },
    Retry {
        which: Index,
    },
}

/// When an execution may begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    Now,
    /// In an hour: no test takes so long.
    Later,
    /// No later than a moment that has passed already.
    TooLate,
    /// No later than in an hour.
    Soon,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let when = prop_oneof![
        6 => Just(When::Now),
        1 => Just(When::Later),
        1 => Just(When::TooLate),
        1 => Just(When::Soon),
    ];
    let key = proptest::option::weighted(0.2, 0_u8..3);
    let ask = (0..KINDS.len(), -2_i64..3, 0_u32..3, any::<bool>(), key, when);
    prop_oneof![
        5 => ask.prop_map(|(kind, priority, retries, idempotent, key, when)| {
            Step::Ask { kind, priority, retries, idempotent, key, when }
        }),
        5 => (0..WORKERS.len(), 1_usize..4).prop_map(|(worker, free)| Step::Claim { worker, free }),
        5 => (any::<Index>(), any::<bool>(), proptest::bool::weighted(0.2))
            .prop_map(|(which, ok, late)| Step::End { which, ok, late }),
        3 => (any::<Index>(), proptest::bool::weighted(0.2)).prop_map(|(which, late)| Step::Lose { which, late }),
        2 => (any::<Index>(), proptest::bool::weighted(0.2))
            .prop_map(|(which, late)| Step::GiveBack { which, late }),
        1 => (0..WORKERS.len()).prop_map(|worker| Step::Crash { worker }),
        1 => (0..WORKERS.len()).prop_map(|worker| Step::Silence { worker }),
        1 => Just(Step::Expire),
        2 => any::<Index>().prop_map(|which| Step::Cancel { which }),
        1 => any::<Index>().prop_map(|which| Step::Retry { which }),
    ]
}
