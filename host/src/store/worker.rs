//! Workers: who has which installations, and who runs what.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::bell::Bell;
use super::database::Row;
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

/// What somebody wants of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It is to take nothing more, also after it was started again.
    Cordoned,
    /// It is to take nothing more, and to end when what it runs has ended.
    Drained,
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Self::Cordoned => "cordoned",
            Self::Drained => "drained",
        }
    }

    pub(super) fn of(row: &Row) -> Result<Option<Self>> {
        let name: Option<String> = row.try_get("wanted")?;
        Ok(match name.as_deref() {
            Some("cordoned") => Some(Self::Cordoned),
            Some("drained") => Some(Self::Drained),
            Some(_) | None => None,
        })
    }
}

/// What tells a worker from every other one.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// As somebody called it.
    pub name: &'a str,
    /// The machine.
    pub host: &'a str,
    /// The data folder.
    pub home: Uuid,
}

impl Identity<'_> {
    /// A name that nobody else has, in place of one that somebody else has.
    fn own_name(&self) -> String {
        let home = self.home.simple().to_string();
        format!("{}-{}", self.name, &home[home.len() - 8..])
    }
}

/// How a worker's service is seen by the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it is.
    There,
    /// They have given it up, since it gave no sign of life for too long.
    Lost,
    /// They have given it up, and another data folder has its name by now.
    Superseded,
}

impl Store {
    /// Says what is wanted of a worker, by its name, and wakes it.
    pub async fn want_of_worker(&self, name: &str, wanted: Option<Wanted>) -> Result<()> {
        self.database
            .durable("update worker set wanted = $2 where name = $1 returning id")
            .bind(name)
            .bind(wanted.map(Wanted::name))
            .fetch_all()
            .await?;
        self.ring(Bell::Runnable).await;
        Ok(())
    }

    /// What somebody wants of a worker.
    pub async fn wanted_of_worker(&self, worker: WorkerId) -> Result<Option<Wanted>> {
        let row = self.database.query("select wanted from worker where id = $1").bind(worker.0);
        row.fetch_optional().await?.as_ref().map_or(Ok(None), Wanted::of)
    }

    /// Forgets that a worker was to end: it has been started again.
    pub async fn forget_drain(&self, worker: WorkerId) -> Result<()> {
        let forget = "update worker set wanted = null where id = $1 and wanted = 'drained'";
        self.database.query(forget).bind(worker.0).execute().await?;
        Ok(())
    }

    /// Registers a worker, if it is new, under its name; if that is the name of a service of another data folder that is
    /// there, as far as anybody knows, then under one of its own. The name that it has.
    pub async fn register_worker(&self, identity: &Identity<'_>) -> Result<(WorkerId, String)> {
        let own_name = identity.own_name();
        let known = self
            .database
            .query(
                "select id, name from worker
             where home = $1 and host = $2 and version = $3 and name in ($4, $5) order by name limit 1",
            )
            .bind(identity.home)
            .bind(identity.host)
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(identity.name)
            .bind(&own_name)
            .fetch_optional()
            .await?;
        if let Some(row) = known {
            return Ok((WorkerId(row.try_get("id")?), row.try_get("name")?));
        }
        let mut transaction = self.begin(Durability::Disk).await?;
        for name in [identity.name, &own_name] {
            let row = transaction
                .query(
                    "insert into worker
                 (id, name, host, home, labels, status, capacity, version, started_at, heartbeat_at)
             values ($1, $2, $3, $4, '{}', 'stopped', 0, $5, coalesce($6, current_timestamp),
                 coalesce($6, current_timestamp))
             on conflict (name) do update set
                 host = excluded.host, home = excluded.home, version = excluded.version,
                 heartbeat_at = excluded.heartbeat_at
             where worker.home is null or (worker.home = excluded.home and worker.host = excluded.host)
                or worker.status not in ('active', 'draining')
             returning id",
                )
                .bind(Uuid::now_v7())
                .bind(name)
                .bind(identity.host)
                .bind(identity.home)
                .bind(env!("CARGO_PKG_VERSION"))
                .bind(self.clock())
                .fetch_optional()
                .await?;
            if let Some(row) = row {
                transaction.commit().await?;
                return Ok((WorkerId(row.try_get("id")?), name.to_owned()));
            }
        }
        Err(sqlx::Error::RowNotFound.into())
    }

    /// Records that a service of this worker is there, and says how the worker was found.
    pub async fn heartbeat(&self, worker: WorkerId, home: Uuid) -> Result<Standing> {
        let row = self
            .database
            .query(
                "update worker set heartbeat_at = coalesce($3, current_timestamp)
             where id = $1 and home = $2 returning status",
            )
            .bind(worker.0)
            .bind(home)
            .bind(self.clock())
            .fetch_optional()
            .await?;
        let Some(row) = row else { return Ok(Standing::Superseded) };
        let status: String = row.try_get("status")?;
        Ok(if status == "lost" { Standing::Lost } else { Standing::There })
    }

    /// Records what a service of this worker does, and how many executions it runs at a time. Whether it still has its
    /// name; nothing is recorded if another data folder has it.
    pub async fn worker_status(
        &self,
        (worker, home): (WorkerId, Uuid),
        status: WorkerStatus,
        capacity: usize,
    ) -> Result<bool> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let changed = transaction
            .query(
                "update worker set status = $2, capacity = $3, heartbeat_at = coalesce($4, current_timestamp)
             where id = $1 and home = $5",
            )
            .bind(worker.0)
            .bind(status.name())
            .bind(i64::try_from(capacity).unwrap_or(i64::MAX))
            .bind(self.clock())
            .bind(home)
            .execute()
            .await?;
        roll_up(&mut transaction, None).await?;
        transaction.commit().await?;
        Ok(changed > 0)
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
}
