//! The queue: executions that are accepted and not yet run, and who gets which.
//!
//! The database is the queue. A claim lends executions to a worker for the time of a [lease](super::lease). It raises
//! their attempt, and whoever changes an execution afterwards says for which attempt: what comes too late changes
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;

use super::action::require_as_now;
use super::database::{Row, Transaction};
use super::execution::Attempt;
use super::group::Group;
use super::requirement::{NewRequirement, keep_requirement};
use super::row::{parsed, to_json};
use super::{Durability, Result, Store};
use crate::execution::{ExecutionId, Status};
use crate::reference::{ActionRef, RuntimeRef};
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

/// What was asked under an idempotency key.
const BY_KEY: &str = "select id, request_digest from execution where idempotency_key = $1";

/// Whether what was asked before is what is asked now.
fn asked_before(row: &Row, request_digest: &str) -> Result<Enqueued> {
    let id = ExecutionId(row.try_get("id")?);
    let digest: Option<String> = row.try_get("request_digest")?;
    let is_same = digest.as_deref() == Some(request_digest);
    Ok(if is_same { Enqueued::Known(id) } else { Enqueued::Conflict(id) })
}

/// Executions that wait to be put into the queue.
pub(super) type Arrivals = Group<Arc<Arrival>, Enqueued>;

/// An execution on its way into the queue: what [`NewQueued`] borrows.
#[derive(Debug)]
pub(super) struct Arrival {
    id: ExecutionId,
    action: ActionRef,
    pack_digest: String,
    needs: Needs,
    parameters: Json,
    constraint: Option<String>,
    timeout: Option<i64>,
    priority: i64,
    created_at: DateTime<Utc>,
    run_at: DateTime<Utc>,
    deadline: Option<DateTime<Utc>>,
    retries: u32,
    idempotent: bool,
    idempotency_key: Option<String>,
    request_digest: String,
    trace: Option<String>,
}

/// What an execution needs, apart from its action.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Needs {
    runtime: RuntimeRef,
    constraint: String,
    variant: String,
    fallback: bool,
    limit: Option<i64>,
    /// Whose executions share the row.
    scope: String,
}

impl From<&NewQueued<'_>> for Arrival {
    fn from(new: &NewQueued<'_>) -> Self {
        let required = new.requirement;
        Self {
            id: new.id,
            action: new.action.clone(),
            pack_digest: new.pack_digest.to_owned(),
            needs: Needs {
                runtime: required.runtime.clone(),
                constraint: required.constraint.to_owned(),
                variant: required.variant.to_owned(),
                fallback: required.fallback,
                limit: required.limit,
                scope: required.scope(),
            },
            parameters: new.parameters.clone(),
            constraint: new.constraint.map(str::to_owned),
            timeout: milliseconds(new.timeout),
            priority: new.priority,
            created_at: new.created_at,
            run_at: new.run_at,
            deadline: new.deadline,
            retries: new.retries,
            idempotent: new.idempotent,
            idempotency_key: new.idempotency_key.map(str::to_owned),
            request_digest: new.request_digest.to_owned(),
            trace: new.trace.map(ToString::to_string),
        }
    }
}

impl Arrival {
    fn requirement(&self) -> NewRequirement<'_> {
        let Needs { runtime, constraint, variant, fallback, limit, .. } = &self.needs;
        NewRequirement {
            runtime,
            constraint,
            variant,
            fallback: *fallback,
            action: &self.action,
            limit: *limit,
        }
    }
}

impl Store {
    /// Puts an execution into the queue, together with what others put there meanwhile.
    pub async fn enqueue(&self, new: &NewQueued<'_>) -> Result<Enqueued> {
        let arrival = Arc::new(Arrival::from(new));
        if arrival.idempotency_key.is_some() {
            // Two servers may be asked the same at once, each with others in another order: they would wait for each other.
            let answers = self.enqueue_all(vec![arrival]).await?;
            return answers.into_iter().next().ok_or_else(|| sqlx::Error::RowNotFound.into());
        }
        self.arrivals.write(&arrival, |all| self.enqueue_all(all)).await
    }

    async fn enqueue_all(&self, arrivals: Vec<Arc<Arrival>>) -> Result<Vec<Enqueued>> {
        let mut transaction = self.begin(Durability::Disk).await?;
        // Always in the same order, since each of them is locked.
        let mut requirements =
            arrivals.iter().map(|arrival| (&arrival.needs, None)).collect::<BTreeMap<_, _>>();
        for (needs, id) in &mut requirements {
            let one = arrivals.iter().find(|arrival| arrival.needs == **needs);
            if let Some(one) = one {
                *id = Some(keep_requirement(&mut transaction, one.requirement()).await?);
            }
        }
        let mut answers = Vec::with_capacity(arrivals.len());
        for arrival in &arrivals {
            let requirement = requirements.get(&arrival.needs).copied().flatten();
            let inserted = insert(&mut transaction, arrival, requirement).await?;
            answers.push(if inserted == 1 {
                Enqueued::New
            } else {
                let row = transaction.query(BY_KEY).bind(&arrival.idempotency_key).fetch_one().await?;
                asked_before(&row, &arrival.request_digest)?
            });
        }
        transaction.commit().await?;
        Ok(answers)
    }

    /// What was asked under an idempotency key, if anything was.
    pub async fn asked_before(&self, key: &str, request_digest: &str) -> Result<Option<Enqueued>> {
        let row = self.database.query(BY_KEY).bind(key).fetch_optional().await?;
        row.map(|row| asked_before(&row, request_digest)).transpose()
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
                 error_message = case when error_class is null
                     then 'it waited in the queue until its deadline had passed, and was not started'
                     else 'its deadline passed before it was tried again, after ' || error_class || ': ' || error_message
                     end,
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
                 error_message = case when error_class is null
                     then 'it was cancelled before it was started'
                     else 'it was cancelled before it was tried again, after ' || error_class || ': ' || error_message
                     end,
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
}

/// How many it inserted: none if its key was used before.
async fn insert(transaction: &mut Transaction, arrival: &Arrival, requirement: Option<i64>) -> Result<u64> {
    transaction
        .query(
            "insert into execution
             (id, action, pack, pack_digest, requirement, parameters, status, priority, rank, run_at, created_at,
              deadline_at, timeout_ms, constraint_override, retries, idempotent, idempotency_key, request_digest,
              warnings, timings, trace_context)
         values ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, '[]', '[]',
             $18)
         on conflict (idempotency_key) where idempotency_key is not null do nothing",
        )
        .bind(arrival.id.0)
        .bind(arrival.action.to_string())
        .bind(arrival.action.pack().as_str())
        .bind(&arrival.pack_digest)
        .bind(requirement)
        .bind(to_json(&arrival.parameters))
        .bind(arrival.priority)
        .bind(rank(arrival.run_at, arrival.priority))
        .bind(arrival.run_at)
        .bind(arrival.created_at)
        .bind(arrival.deadline)
        .bind(arrival.timeout)
        .bind(&arrival.constraint)
        .bind(i64::from(arrival.retries))
        .bind(arrival.idempotent)
        .bind(&arrival.idempotency_key)
        .bind(&arrival.request_digest)
        .bind(&arrival.trace)
        .execute()
        .await
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
