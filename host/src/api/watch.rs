//! Watching executions for all who follow some: the database is asked for all of them at once, and not at all while nobody
//! follows any.
//!
//! What a follower sees of an execution is where it stands, not each step on the way there: what comes and goes between two
//! looks is not seen. Who follows all executions is told of every change, in the order in which the changes were numbered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::execution::ExecutionId;
use crate::process::{Cancel, Canceller};
use crate::store::bell::Listener;
use crate::store::follow::{CHANGES_MAX, Change, Kept, Standing};
use crate::store::{Result, Store};

/// How soon it looks again after something has changed, and how soon at the latest: twice as long each time, so that what is
/// short is over at once, and what is long costs little. What an action prints reaches the database twice a second.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_millis(250);

/// The last look of all takes no longer than this.
const LAST_LOOK_MAX: Duration = Duration::from_secs(1);

/// A look may keep the database busy for this part of the time.
const REST: u32 = 10;

/// How often it is said that changes are to be kept for longer, and old ones are removed.
const KEEP_EVERY: Duration = Duration::from_secs(30);
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// The last changes that need not be read again for each follower.
const RECENT_MAX: usize = 4096;

/// What is known of an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nobody has looked yet.
    #[default]
    Nothing,
    Standing(Arc<Standing>),
    /// It ended so long ago that it is not kept any more.
    Gone,
}

/// Watches the executions of a database for all who follow some.
#[derive(Debug)]
pub(super) struct Watch {
    store: Store,
    executions: Mutex<HashMap<ExecutionId, watch::Sender<Seen>>>,
    /// None while nobody follows all executions.
    kept: watch::Sender<Option<Kept>>,
    /// The last changes, in order.
    recent: Mutex<VecDeque<Arc<Change>>>,
    /// Somebody has begun to follow something.
    begun: Notify,
    end: Canceller,
    ended: Cancel,
}

impl Watch {
    pub(super) fn new(store: Store) -> Self {
        let (end, ended) = Cancel::new();
        Self {
            store,
            executions: Mutex::default(),
            kept: watch::Sender::new(None),
            recent: Mutex::default(),
            begun: Notify::new(),
            end,
            ended,
        }
    }

    /// Where an execution stands, from now on.
    pub(super) fn follow(&self, id: ExecutionId) -> watch::Receiver<Seen> {
        let receiver = lock(&self.executions).entry(id).or_default().subscribe();
        self.begun.notify_one();
        receiver
    }

    /// Which changes are kept, from now on.
    pub(super) fn follow_all(&self) -> watch::Receiver<Option<Kept>> {
        let receiver = self.kept.subscribe();
        self.begun.notify_one();
        receiver
    }

    /// Some of the changes after one, in order; none if there are none yet.
    pub(super) async fn changes_after(&self, number: i64) -> Result<Vec<Arc<Change>>> {
        {
            let recent = lock(&self.recent);
            if recent.front().is_some_and(|first| first.number <= number + 1) {
                let seen = recent.partition_point(|change| change.number <= number);
                return Ok(recent.range(seen..).cloned().collect());
            }
        }
        Ok(self.store.changes_after(number).await?.into_iter().map(Arc::new).collect())
    }

    /// What ends all following.
    pub(super) fn ended(&self) -> Cancel {
        self.ended.clone()
    }

    /// Ends all following, after a last look: what ended a moment ago is told.
    pub(super) async fn end(&self) {
        // Whoever can't be told goes on where he was.
        let _ = timeout(LAST_LOOK_MAX, self.look(&self.followed())).await;
        self.end.ask();
    }

    /// Watches until it is ended.
    pub(super) async fn run(&self) {
        let mut ended = self.ended();
        tokio::select! {
            () = ended.asked() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&self) {
        loop {
            self.begun.notified().await;
            let mut listener = self.store.listen().await;
            self.watch_while_followed(&mut listener).await;
        }
    }

    async fn watch_while_followed(&self, listener: &mut Listener) {
        let mut pause = LOOK_FIRST;
        let mut is_out = false;
        let mut keeping = Keeping::default();
        loop {
            let begun = Instant::now();
            let ids = self.followed();
            let is_all = self.kept.receiver_count() > 0;
            if !is_all {
                keeping = Keeping::default();
                self.kept.send_replace(None);
                lock(&self.recent).clear();
                if ids.is_empty() {
                    return;
                }
            }
            let looked = match self.look(&ids).await {
                Ok(is_new) if is_all => {
                    self.look_at_all(&mut keeping).await.map(|is_other| is_new || is_other)
                }
                looked => looked,
            };
            pause = match looked {
                Ok(true) => LOOK_FIRST,
                Ok(false) | Err(_) => (pause * 2).min(LOOK_LAST),
            };
            if let Err(error) = &looked
                && !is_out
            {
                tracing::warn!("what becomes of executions is not seen: {error}");
            }
            is_out = looked.is_err();
            let rest = LOOK_FIRST.max(begun.elapsed() * REST);
            sleep(rest).await;
            // What is rung from now on, or was meanwhile, is looked at now.
            let wait = async {
                tokio::select! {
                    () = self.begun.notified() => {}
                    () = async { while !listener.heard().await.queue {} } => {}
                }
            };
            if timeout(pause.saturating_sub(rest), wait).await.is_ok() {
                pause = LOOK_FIRST;
            }
        }
    }

    /// What anybody follows.
    fn followed(&self) -> Vec<ExecutionId> {
        let mut executions = lock(&self.executions);
        executions.retain(|_, seen| seen.receiver_count() > 0);
        executions.keys().copied().collect()
    }

    /// Looks where executions stand. Whether anything is new.
    async fn look(&self, ids: &[ExecutionId]) -> Result<bool> {
        if ids.is_empty() {
            return Ok(false);
        }
        let standings = self.store.standings(ids).await?;
        let mut found = standings
            .into_iter()
            .map(|standing| (standing.id, Seen::Standing(Arc::new(standing))))
            .collect::<HashMap<_, _>>();
        let executions = lock(&self.executions);
        let mut is_new = false;
        for id in ids {
            let Some(seen) = executions.get(id) else { continue };
            let now = found.remove(id).unwrap_or(Seen::Gone);
            is_new |= seen.send_if_modified(|seen| {
                let is_new = *seen != now;
                *seen = now;
                is_new
            });
        }
        Ok(is_new)
    }

    /// Looks what became of all executions. Whether anything is new.
    async fn look_at_all(&self, keeping: &mut Keeping) -> Result<bool> {
        if due(&mut keeping.kept_at, KEEP_EVERY)
            && let Err(error) = self.store.follow_changes().await
        {
            keeping.kept_at = None;
            return Err(error);
        }
        let kept = self.store.number_changes().await?;
        if due(&mut keeping.forgotten_at, FORGET_EVERY) {
            while self.store.forget_changes().await? == u64::from(CHANGES_MAX) {}
        }
        let before = *self.kept.borrow();
        let mut number = before.map_or(kept.last, |before| before.last);
        while number < kept.last {
            let changes = self.store.changes_after(number).await?;
            let Some(last) = changes.last() else { break };
            number = last.number;
            let mut recent = lock(&self.recent);
            recent.extend(changes.into_iter().map(Arc::new));
            let too_many = recent.len().saturating_sub(RECENT_MAX);
            recent.drain(..too_many);
        }
        let kept = Kept { last: kept.last.max(number), ..kept };
        Ok(self.kept.send_if_modified(|known| known.replace(kept) != Some(kept))
            && before.is_none_or(|before| before.last != kept.last))
    }
}

/// When what keeps changes was done last.
#[derive(Debug, Default)]
struct Keeping {
    kept_at: Option<Instant>,
    forgotten_at: Option<Instant>,
}

/// Whether something is to be done once more; if so, that counts as now.
fn due(last: &mut Option<Instant>, every: Duration) -> bool {
    let is_due = last.is_none_or(|last| last.elapsed() >= every);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
