//! Leases: what a service has claimed, for how long, and what becomes of it when the service is gone.

use std::time::Duration;

use chrono::{DateTime, Utc};

use uuid::Uuid;

use super::action::require_as_now;
use super::clock::interval;
use super::database::{Row, Transaction};
use super::execution::{Attempt, attempt_row};
use super::row::parsed;
use super::worker::WorkerId;
use super::{Durability, Result, Store};
use crate::execution::Status;

/// How often an execution whose worker died is given to another one.
const RESCUES_MAX: i64 = 3;

/// A service that runs executions from the queue; another one of the same worker is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lessee {
    pub worker: WorkerId,
    pub(super) incarnation: Uuid,
}

impl Lessee {
    /// A new service of a worker.
    #[must_use]
    pub fn new(worker: WorkerId) -> Self {
        Self { worker, incarnation: Uuid::now_v7() }
    }
}

/// Which of a service's executions it still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub attempt: Attempt,
    pub cancel_requested: bool,
}

impl Store {
    /// Prolongs the leases of a service, and says which executions it still has.
    pub async fn renew(&self, lessee: Lessee, lease: Duration) -> Result<Vec<Held>> {
        let rows = self
            .database
            .query(
                "update execution set lease_expires_at = coalesce($2, current_timestamp + cast($3 as interval))
             where lease_owner = $1 and status = 'running' returning id, attempt, cancel_requested_at",
            )
            .bind(lessee.incarnation)
            .bind(self.clock().map(|time| time + lease))
            .bind(interval(lease))
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Held {
                    attempt: attempt_row(row)?,
                    cancel_requested: !row.is_null("cancel_requested_at")?,
                })
            })
            .collect()
    }

    /// Executions whose lease has run out.
    pub async fn leases_run_out(&self) -> Result<Vec<Attempt>> {
        let rows = self
            .database
            .query(
                "select id, attempt from execution
             where status = 'running' and lease_owner is not null
                and lease_expires_at < coalesce($1, current_timestamp)",
            )
            .bind(self.clock())
            .fetch_all()
            .await?;
        rows.iter().map(attempt_row).collect()
    }

    /// Executions that earlier services of the same worker had.
    pub async fn left_to(&self, successor: Lessee) -> Result<Vec<Attempt>> {
        let rows = self
            .database
            .query(
                "select id, attempt from execution
             where status = 'running' and worker = $1 and lease_owner is not null and lease_owner <> $2",
            )
            .bind(successor.worker.0)
            .bind(successor.incarnation)
            .fetch_all()
            .await?;
        rows.iter().map(attempt_row).collect()
    }

    /// Takes an execution from a worker that died: it is given to another one if running it again does no harm, was
    /// asked for, or if nothing was decided that could have been started, and is abandoned otherwise. What became of it;
    /// none if it had ended, or has been claimed again.
    pub async fn lose(&self, attempt: Attempt, reason: &str) -> Result<Option<Status>> {
        let mut transaction = self.begin(Durability::Disk).await?;
        // What somebody runs at once, without a lease, is nobody else's to begin. All of it goes by the row as it is when it
        // is written: what it is going to run with may be recorded at the same moment.
        let row = transaction
            .query(
                "update execution set
                 status = case
                     when cancel_requested_at is not null then 'cancelled'
                     when (idempotent or retries > 0 or (sandbox is null and lease_owner is not null))
                         and rescues < $5 then 'queued'
                     else 'abandoned' end,
                 finished_at = case
                     when cancel_requested_at is null and rescues < $5
                         and (idempotent or retries > 0 or (sandbox is null and lease_owner is not null)) then null
                     else coalesce($4, current_timestamp) end,
                 rescues = rescues + case
                     when cancel_requested_at is null and rescues < $5
                         and (idempotent or retries > 0 or (sandbox is null and lease_owner is not null)) then 1
                     else 0 end,
                 reason = 'worker_lost', error_class = 'worker_lost', error_message = $3,
                 lease_owner = null, lease_expires_at = null
             where id = $1 and attempt = $2 and status = 'running' returning status, action",
            )
            .bind(attempt.id.0)
            .bind(attempt.number)
            .bind(reason)
            .bind(self.clock())
            .bind(RESCUES_MAX)
            .fetch_optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let status = is_back(&mut transaction, &row).await?;
        transaction.commit().await?;
        Ok(Some(status))
    }

    /// Puts an attempt back for which nothing was started, to be started by anybody after a while, unless somebody has
    /// asked for its end; it does not count, so the next has its number. `started_at`, when it was claimed, tells it from
    /// that one. Why it could not be begun is on record until it is. Whether it still was this one that ran.
    pub async fn give_back(
        &self,
        attempt: Attempt,
        started_at: DateTime<Utc>,
        delay: Duration,
        why: &str,
    ) -> Result<bool> {
        let run_at = self.time().await? + delay;
        let mut transaction = self.begin(Durability::Disk).await?;
        let row = transaction
            .query(
                "update execution set
                 status = case when cancel_requested_at is null then 'queued' else 'cancelled' end,
                 finished_at = case when cancel_requested_at is null then null
                     else coalesce($4, current_timestamp) end,
                 reason = case when cancel_requested_at is null then reason else 'cancelled' end,
                 error_class = case when cancel_requested_at is null then 'not_begun' else 'cancelled' end,
                 error_message = case when cancel_requested_at is null then $6
                     else 'it was cancelled before it was started' end,
                 attempt = attempt - 1, started_at = null, lease_owner = null, lease_expires_at = null, run_at = $3
             where id = $1 and attempt = $2 and started_at = $5 and status = 'running' returning status, action",
            )
            .bind(attempt.id.0)
            .bind(attempt.number)
            .bind(run_at)
            .bind(self.clock())
            .bind(started_at)
            .bind(why)
            .fetch_optional()
            .await?;
        let Some(row) = row else { return Ok(false) };
        is_back(&mut transaction, &row).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// What has become of an attempt that its worker does not have any more. Back in the queue, it needs what its action does by
/// now.
async fn is_back(transaction: &mut Transaction, row: &Row) -> Result<Status> {
    let status = parsed(row, "status")?;
    if status == Status::Queued {
        require_as_now(transaction, &parsed(row, "action")?).await?;
    }
    Ok(status)
}
