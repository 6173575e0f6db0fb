//! The queue: executions that are accepted and not yet run, and who gets which.
//!
//! The database is the queue. A claim lends executions to a worker for the time of a [lease](super::lease). It raises
//! their attempt, and whoever changes an execution afterwards says for which attempt: what comes too late changes
//! nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;

use super::action::require_as_now;
use super::clock::interval;
use super::database::{Engine, Query, Row, Transaction};
use super::execution::{Attempt, attempt_row, trace_context};
use super::lease::Lessee;
use super::requirement::{NewRequirement, keep_requirement};
use super::row::{json, parsed, to_json};
use super::worker::WorkerId;
use super::{Durability, Result, Store};
use crate::execution::{ExecutionId, Status};
use crate::reference::ActionRef;
use crate::trace::TraceContext;

/// How much longer somebody may wait before he comes before one whose priority is higher by one.
pub(super) const PRIORITY_STEP: TimeDelta = TimeDelta::minutes(1);

/// An execution for the queue.
#[derive(Clone, Debug)]
pub struct NewQueued<'a> {
    pub id: ExecutionId,
    pub action: &'a ActionRef,
    pub pack_digest: &'a str,
    pub requirement: NewRequirement<'a>,
    pub parameters: &'a Json,
    /// Instead of the action's own.
    pub constraint: Option<&'a str>,
    pub timeout: Option<Duration>,
    pub priority: i64,
    /// Now, by the [database's clock](Store::time).
    pub created_at: DateTime<Utc>,
    /// No later than `created_at` if it is not to wait.
    pub run_at: DateTime<Utc>,
    pub deadline: Option<DateTime<Utc>>,
    /// How often it is tried again if it fails.
    pub retries: u32,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    pub idempotency_key: Option<&'a str>,
    /// Digest of what was asked: the same key with another one is a mistake.
    pub request_digest: &'a str,
    /// What its spans belong to.
    pub trace: Option<&'a TraceContext>,
}

/// What became of an execution for the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in the queue.
    New,
    /// The same was asked before, under the same key.
    Known(ExecutionId),
    /// Something else was asked before, under the same key.
    Conflict(ExecutionId),
}

/// An execution that a worker has claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub attempt: Attempt,
    pub action: ActionRef,
    pub parameters: Json,
    /// Instead of the action's own.
    pub constraint: Option<String>,
    /// Instead of the action's own.
    pub timeout: Option<Duration>,
    pub retries: i64,
    pub run_at: DateTime<Utc>,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// What its spans belong to.
    pub trace: Option<TraceContext>,
}

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was waiting, and is cancelled.
    Cancelled,
    /// Its worker is asked to end it.
    Requested,
    /// It runs outside of the queue, where nobody would see the request.
    Direct,
    /// It has ended before.
    Ended(Status),
    /// There is no such execution.
    Unknown,
}

/// How much waits in the queue of those who need the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    pub runtime: String,
    pub constraint: String,
    /// Also those that are to wait.
    pub waiting: usize,
    /// For how long the first of them could have begun already.
    pub oldest: Duration,
}

/// The smaller, the earlier: a higher priority counts as having waited longer.
fn rank(run_at: DateTime<Utc>, priority: i64) -> i64 {
    let step = PRIORITY_STEP.num_microseconds().unwrap_or(i64::MAX);
    run_at.timestamp_micros().saturating_sub(priority.saturating_mul(step))
}

fn milliseconds(duration: Option<Duration>) -> Option<i64> {
    duration.map(|duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// The statement that claims. For each requirement that the worker satisfies it takes the first few, by an index, and of those
/// the first: it does not matter how many executions wait, nor what the others need. One whose deadline has passed is
/// not started. One that was not told to wait does not, even if the clock has been set back since.
///
/// `$first` and `$them` join the first of a requirement, `$ahead` times as many as are wanted; `$limited` leaves out what is
/// limited and not locked; `$picked` chooses among the `possible`.
macro_rules! claim {
    ($first:literal, $ahead:literal, $them:literal, $limited:literal, $picked:literal) => {
        concat!(
            "with waiting as (
                 select execution.id, execution.rank, requirement.scope, requirement.pack,
                     requirement.concurrency_limit as allowed,
                     row_number() over (partition by requirement.scope order by execution.rank, execution.id) as place
                 from worker_requirement
                 join requirement on requirement.id = worker_requirement.requirement
                 ",
            $first,
            "(
                     select queued.id from execution as queued
                     where queued.requirement = worker_requirement.requirement and queued.status = 'queued'
                         and (queued.run_at <= queued.created_at or queued.run_at <= coalesce($2, current_timestamp))
                         and (queued.deadline_at is null or queued.deadline_at > coalesce($2, current_timestamp))
                     order by queued.rank, queued.id limit $3 * ",
            $ahead,
            ") ",
            $them,
            "
                 where worker_requirement.worker = $1 and worker_requirement.satisfied
                     and execution.status = 'queued' ",
            $limited,
            "),
             served as (
                 select asking.pack, pack.concurrency as allowed,
                     (select count(*) from execution
                      where execution.pack = asking.pack and status = 'running' and lease_owner is not null) as running,
                     (select max(started_at) from execution
                      where execution.pack = asking.pack and started_at is not null) as started_at
                 from (select distinct pack from waiting) as asking
                 left join pack on pack.ref = asking.pack),
             startable as (
                 select waiting.id, waiting.rank, served.allowed, served.started_at,
                     served.running + row_number() over (partition by waiting.pack order by waiting.rank, waiting.id) as turn
                 from waiting join served on served.pack = waiting.pack
                 where waiting.allowed is null or waiting.allowed >= waiting.place + (
                     select count(*) from execution
                     where execution.action = waiting.scope and status = 'running' and lease_owner is not null)),
             possible as (select * from startable where allowed is null or turn <= allowed),
             picked as (",
            $picked,
            ")
             update execution set
                 status = 'running', attempt = attempt + 1, reason = null, worker = $1, lease_owner = $4,
                 lease_expires_at = coalesce($5, current_timestamp + cast($6 as interval)),
                 started_at = coalesce($2, current_timestamp), finished_at = null, runtime = null,
                 selected_version = null, runtime_version = null, installation_path = null, installation_identity = null,
                 selection = null, environment_key = null, environment_path = null, plugin_digest = null, sandbox = null,
                 exit_code = null, warnings = '[]', timings = '[]'
             where id in (select id from picked) and status = 'queued'
             returning id, attempt, action, parameters, constraint_override, timeout_ms, retries, run_at, started_at, rank,
                 trace_context, (select number from generation) as generation"
        )
    };
}

const CLAIM_FROM_FILE: &str = claim!(
    "join execution on execution.id in",
    1,
    "",
    "",
    "select id from possible order by turn, started_at nulls first, rank, id limit $3"
);

/// It would look for the first once for each of all that wait. What another is about to claim is passed over, so there has
/// to be more to choose from.
const CLAIM_FROM_SERVER: &str = claim!(
    "cross join lateral",
    4,
    "as first join execution on execution.id = first.id",
    "and (requirement.concurrency_limit is null or requirement.scope in
         (select json_array_elements_text(cast($7 as json))))
     and (requirement.pack in (select json_array_elements_text(cast($7 as json)))
         or not exists (select 1 from pack where ref = requirement.pack and concurrency is not null))",
    "select execution.id from possible join execution on execution.id = possible.id
     order by possible.turn, possible.started_at nulls first, possible.rank, possible.id limit $3
     for update of execution skip locked"
);

impl Store {
    /// Puts an execution into the queue.
    pub async fn enqueue(&self, new: &NewQueued<'_>) -> Result<Enqueued> {
        let mut transaction = self.begin(Durability::Disk).await?;
        let requirement = keep_requirement(&mut transaction, new.requirement).await?;
        let inserted = transaction
            .query(
                "insert into execution
                 (id, action, pack, pack_digest, requirement, parameters, status, priority, rank, run_at, created_at,
                  deadline_at, timeout_ms, constraint_override, retries, idempotent, idempotency_key, request_digest,
                  warnings, timings, trace_context)
             values ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, '[]', '[]',
                 $18)
             on conflict (idempotency_key) where idempotency_key is not null do nothing",
            )
            .bind(new.id.0)
            .bind(new.action.to_string())
            .bind(new.action.pack().as_str())
            .bind(new.pack_digest)
            .bind(requirement)
            .bind(to_json(new.parameters))
            .bind(new.priority)
            .bind(rank(new.run_at, new.priority))
            .bind(new.run_at)
            .bind(new.created_at)
            .bind(new.deadline)
            .bind(milliseconds(new.timeout))
            .bind(new.constraint)
            .bind(i64::from(new.retries))
            .bind(new.idempotent)
            .bind(new.idempotency_key)
            .bind(new.request_digest)
            .bind(new.trace.map(ToString::to_string))
            .execute()
            .await?;
        if inserted == 1 {
            transaction.commit().await?;
            return Ok(Enqueued::New);
        }
        let row = transaction
            .query("select id, request_digest from execution where idempotency_key = $1")
            .bind(new.idempotency_key)
            .fetch_one()
            .await?;
        let id = ExecutionId(row.try_get("id")?);
        let digest: Option<String> = row.try_get("request_digest")?;
        let is_same = digest.as_deref() == Some(new.request_digest);
        Ok(if is_same { Enqueued::Known(id) } else { Enqueued::Conflict(id) })
    }

    /// Lends at most `free` executions that this worker can run, for the time of `lease`; none if there is nothing
    /// to do.
    ///
    /// In a pack, the first in the queue come first. Between packs, the one of which the fewest run comes first, then the
    /// one that had to wait longest for a start: a pack that asks for much keeps none of the others waiting.
    pub async fn claim(&self, lessee: Lessee, free: usize, lease: Duration) -> Result<Vec<Claimed>> {
        let wanted = Wanted { lessee, free, lease, clock: self.clock() };
        let rows = match self.engine() {
            // Nobody else claims meanwhile. It reaches the disk with what each execution is decided to run with; when a power
            // cut comes before that, nothing was started, and nobody is left who claimed it.
            Engine::Sqlite => wanted.bind(self.database.query(CLAIM_FROM_FILE)).fetch_all().await?,
            Engine::Postgres => {
                let mut transaction = self.begin(Durability::Disk).await?;
                let locked = lock_limits(&mut transaction, lessee.worker).await?;
                let claim = wanted.bind(transaction.query(CLAIM_FROM_SERVER)).bind(to_json(&locked));
                let rows = claim.fetch_all().await?;
                if !rows.is_empty() {
                    transaction.commit().await?;
                }
                rows
            }
        };
        if let (Some(cache), Some(row)) = (&self.cache, rows.first()) {
            cache.look(row.try_get("generation")?);
        }
        let mut rows = rows
            .iter()
            .map(|row| Ok((row.try_get::<i64>("rank")?, claimed_row(row)?)))
            .collect::<Result<Vec<_>>>()?;
        rows.sort_by_key(|(rank, claimed)| (*rank, claimed.attempt.id));
        Ok(rows.into_iter().map(|(_, claimed)| claimed).collect())
    }

    /// Has the next attempts of an execution belong to the same trace as this one, unless it belongs to one already.
    pub async fn keep_trace(&self, Attempt { id, number }: Attempt, trace: &TraceContext) -> Result<()> {
        self.database
            .query(
                "update execution set trace_context = $3
             where id = $1 and attempt = $2 and trace_context is null",
            )
            .bind(id.0)
            .bind(number)
            .bind(trace.to_string())
            .execute()
            .await?;
        Ok(())
    }

    /// Ends what waited in the queue beyond its deadline. How many that were.
    pub async fn expire(&self) -> Result<usize> {
        let rows = self
            .database
            .durable(
                "update execution set status = 'timed_out', reason = 'deadline', error_class = 'deadline',
                 error_message = 'it waited in the queue until its deadline had passed, and was not started',
                 finished_at = coalesce($1, current_timestamp)
             where status = 'queued' and deadline_at < coalesce($1, current_timestamp) returning id",
            )
            .bind(self.clock())
            .fetch_all()
            .await?;
        Ok(rows.len())
    }

    /// Asks for the end of an execution.
    pub async fn cancel_execution(&self, id: ExecutionId) -> Result<CancelOutcome> {
        loop {
            // None if it has come back into the queue between two statements.
            if let Some(outcome) = self.try_to_cancel(id).await? {
                return Ok(outcome);
            }
        }
    }

    async fn try_to_cancel(&self, id: ExecutionId) -> Result<Option<CancelOutcome>> {
        let waiting = self
            .database
            .durable(
                "update execution set status = 'cancelled', reason = 'cancelled', error_class = 'cancelled',
                 error_message = 'it was cancelled before it was started',
                 finished_at = coalesce($2, current_timestamp)
             where id = $1 and status = 'queued' returning id",
            )
            .bind(id.0)
            .bind(self.clock())
            .fetch_all()
            .await?;
        if !waiting.is_empty() {
            return Ok(Some(CancelOutcome::Cancelled));
        }
        let running = self
            .database
            .durable(
                "update execution set cancel_requested_at = coalesce(cancel_requested_at, $2, current_timestamp)
             where id = $1 and status = 'running' and lease_owner is not null returning id",
            )
            .bind(id.0)
            .bind(self.clock())
            .fetch_all()
            .await?;
        if !running.is_empty() {
            return Ok(Some(CancelOutcome::Requested));
        }
        let row = self
            .database
            .query("select status from execution where id = $1")
            .bind(id.0)
            .fetch_optional()
            .await?;
        Ok(Some(match row.map(|row| parsed(&row, "status")).transpose()? {
            None => CancelOutcome::Unknown,
            Some(Status::Running) => CancelOutcome::Direct,
            Some(Status::Queued) => return Ok(None),
            Some(status) => CancelOutcome::Ended(status),
        }))
    }

    /// Puts an execution that has ended back into the queue, with the same parameters. It needs from now on what its action
    /// does, and keeps a constraint of its own. Whether it was one that came from the queue and has ended.
    pub async fn retry_execution(&self, id: ExecutionId) -> Result<bool> {
        let time = self.time().await?;
        let mut transaction = self.begin(Durability::Disk).await?;
        let rows = transaction
            .query(
                "update execution set
                 status = 'queued', reason = 'retried', rescues = 0, run_at = $2, rank = $3 - priority * $4,
                 cancel_requested_at = null, deadline_at = null, finished_at = null, lease_owner = null,
                 lease_expires_at = null, result = null, exit_code = null, output_incomplete = false
             where id = $1 and request_digest is not null and status not in ('queued', 'running') returning action",
            )
            .bind(id.0)
            .bind(time)
            .bind(time.timestamp_micros())
            .bind(PRIORITY_STEP.num_microseconds())
            .fetch_all()
            .await?;
        let Some(row) = rows.first() else { return Ok(false) };
        require_as_now(&mut transaction, &parsed(row, "action")?).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// How much waits, by what it needs.
    pub async fn queue_depths(&self) -> Result<Vec<Depth>> {
        let rows = self
            .database
            .query(
                "select requirement.runtime as runtime, requirement.constraint_text as constraint_text,
                     count(*) as waiting, min(execution.run_at) as oldest
                 from execution join requirement on requirement.id = execution.requirement
                 where execution.status = 'queued'
                 group by requirement.runtime, requirement.constraint_text",
            )
            .fetch_all()
            .await?;
        let time = self.time().await?;
        rows.iter()
            .map(|row| {
                let (waiting, oldest): (i64, DateTime<Utc>) =
                    (row.try_get("waiting")?, row.try_get("oldest")?);
                Ok(Depth {
                    runtime: row.try_get("runtime")?,
                    constraint: row.try_get("constraint_text")?,
                    waiting: usize::try_from(waiting).unwrap_or_default(),
                    oldest: (time - oldest).to_std().unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Removes executions that ended before a time, with their logs, at most `limit` at once. How many that were.
    pub async fn forget_executions(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        self.database
            .query(
                "delete from execution where id in
                 (select id from execution where finished_at < $1 order by finished_at limit $2)",
            )
            .bind(before)
            .bind(i64::from(limit))
            .execute()
            .await
    }
}

/// On a server: has others wait who would claim what counts against the same limits, until this transaction ends. The packs and
/// actions whose limits these are: what comes into the queue only now is left to the next claim. Packs first and all in
/// order, as whoever changes them, so that no two wait for each other.
async fn lock_limits(transaction: &mut Transaction, worker: WorkerId) -> Result<Vec<String>> {
    let mut locked = Vec::new();
    for limits in [
        "select pack.ref as limited from pack where pack.concurrency is not null and exists (
             select 1 from worker_requirement
             join requirement on requirement.id = worker_requirement.requirement
             join execution on execution.requirement = requirement.id
             where worker_requirement.worker = $1 and worker_requirement.satisfied and requirement.pack = pack.ref
                 and execution.status = 'queued')
         order by pack.id for no key update of pack",
        // Those who may run an action may be others at each of its constraints.
        "select requirement.scope as limited from requirement
         where requirement.concurrency_limit is not null and requirement.scope in (
             select asked.scope from worker_requirement
             join requirement as asked on asked.id = worker_requirement.requirement
             where worker_requirement.worker = $1 and worker_requirement.satisfied
                 and exists (select 1 from execution where execution.requirement = asked.id
                     and execution.status = 'queued'))
         order by requirement.id for update of requirement",
    ] {
        for row in transaction.query(limits).bind(worker.0).fetch_all().await? {
            locked.push(row.try_get("limited")?);
        }
    }
    Ok(locked)
}

/// What is bound to a claim on either engine.
struct Wanted {
    lessee: Lessee,
    free: usize,
    lease: Duration,
    clock: Option<DateTime<Utc>>,
}

impl Wanted {
    fn bind<'e>(&self, claim: Query<'e>) -> Query<'e> {
        claim
            .bind(self.lessee.worker.0)
            .bind(self.clock)
            .bind(i64::try_from(self.free).unwrap_or(i64::MAX / 4))
            .bind(self.lessee.incarnation)
            .bind(self.clock.map(|time| time + self.lease))
            .bind(interval(self.lease))
    }
}

fn claimed_row(row: &Row) -> Result<Claimed> {
    let timeout: Option<i64> = row.try_get("timeout_ms")?;
    Ok(Claimed {
        attempt: attempt_row(row)?,
        action: parsed(row, "action")?,
        parameters: json(row, "parameters")?,
        constraint: row.try_get("constraint_override")?,
        timeout: timeout.map(|timeout| Duration::from_millis(timeout.unsigned_abs())),
        retries: row.try_get("retries")?,
        run_at: row.try_get("run_at")?,
        trace: trace_context(row)?,
        started_at: row.try_get("started_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_counts_for_priority() {
        let early = "2026-01-01T00:00:00Z".parse().expect("a time");
        let later = "2026-01-01T00:00:59Z".parse().expect("a time");
        let much_later = "2026-01-01T00:01:01Z".parse().expect("a time");
        assert!(rank(early, 0) < rank(later, 0));
        assert!(rank(later, 1) < rank(early, 0));
        assert!(rank(early, 0) < rank(much_later, 1));
        assert!(rank(early, i64::MAX) < rank(early, 0));
    }
}
