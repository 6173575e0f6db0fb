//! Workers: who has which installations, and who runs what.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::installation::{lock_versions, roll_up};
use super::{Durability, Result, Store};

/// A worker's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct WorkerId(pub(super) Uuid);

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerStatus {
    /// It takes executions.
    Active,
    /// It takes no more and waits for what runs.
    Draining,
    /// It has ended.
    Stopped,
}

impl WorkerStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl Store {
    /// The worker called `name`, registered if it is new; its heartbeat is now.
    pub async fn register_worker(&self, name: &str, host: &str) -> Result<WorkerId> {
        let known = self
            .database
            .query("select id from worker where name = $1 and host = $2 and version = $3")
            .bind(name)
            .bind(host)
            .bind(env!("CARGO_PKG_VERSION"))
            .fetch_optional()
            .await?;
        if let Some(row) = known {
            return Ok(WorkerId(row.try_get("id")?));
        }
        let mut transaction = self.begin(Durability::Disk).await?;
        let row = transaction.query(
            "insert into worker (id, name, host, labels, status, capacity, version, started_at, heartbeat_at)
             values ($1, $2, $3, '{}', 'stopped', 0, $4, coalesce($5, current_timestamp),
                 coalesce($5, current_timestamp))
             on conflict (name) do update set
                 host = excluded.host, version = excluded.version, heartbeat_at = excluded.heartbeat_at
             returning id",
        )
        .bind(Uuid::now_v7())
        .bind(name)
        .bind(host)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(self.clock())
        .fetch_one()
        .await?;
        transaction.commit().await?;
        Ok(WorkerId(row.try_get("id")?))
    }

    /// Records that a service of this worker is there.
    pub async fn heartbeat(&self, worker: WorkerId) -> Result<()> {
        self.database
            .query("update worker set heartbeat_at = coalesce($2, current_timestamp) where id = $1")
            .bind(worker.0)
            .bind(self.clock())
            .execute()
            .await?;
        Ok(())
    }

    /// Records what a service of this worker does, and how many executions it runs at a time.
    pub async fn worker_status(&self, worker: WorkerId, status: WorkerStatus, capacity: usize) -> Result<()> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        transaction
            .query(
                "update worker set status = $2, capacity = $3, heartbeat_at = coalesce($4, current_timestamp)
             where id = $1",
            )
            .bind(worker.0)
            .bind(status.name())
            .bind(i64::try_from(capacity).unwrap_or(i64::MAX))
            .bind(self.clock())
            .execute()
            .await?;
        roll_up(&mut transaction, None).await?;
        transaction.commit().await
    }

    /// Marks services as lost that gave no sign of life since a time: what only they have installed is not available
    /// any more. Their names.
    pub async fn lose_workers(&self, silent_since: DateTime<Utc>) -> Result<Vec<String>> {
        let rows = self
            .database
            .query(
                "select name from worker
             where status in ('active', 'draining') and heartbeat_at < $1 order by name",
            )
            .bind(silent_since)
            .fetch_all()
            .await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let lost = transaction
            .query(
                "update worker set status = 'lost'
             where status in ('active', 'draining') and heartbeat_at < $1 returning name",
            )
            .bind(silent_since)
            .fetch_all()
            .await?;
        roll_up(&mut transaction, None).await?;
        transaction.commit().await?;
        lost.iter().map(|row| row.try_get("name")).collect()
    }

    /// Whether a worker counts as lost; a sign of life of its own says that it is not.
    pub async fn is_lost(&self, worker: WorkerId) -> Result<bool> {
        let row = self
            .database
            .query("select 1 from worker where id = $1 and status = 'lost'")
            .bind(worker.0)
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }
}
