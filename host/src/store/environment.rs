//! Environments that a worker has built, or tried to.

use chrono::{DateTime, Utc};

use super::cache::Key;
use super::database::Row;
use super::row::{optional_json, to_json};
use super::worker::WorkerId;
use super::{Durability, Result, Store};
use crate::environment::Stage;

macro_rules! insert_environment {
    () => {
        "insert into environment
             (worker, pack, runtime, runtime_version, scope, key, path, installation, status, plan_digest,
              prepared_for, stage, size, log, error, created_at, last_used_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
    };
}

/// An environment of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentRow {
    pub pack: String,
    pub runtime: String,
    /// Label of the version, or empty for the base environment.
    pub runtime_version: String,
    /// Folder of the pack that the dependencies are for, or empty for its root.
    pub scope: String,
    pub key: String,
    /// The stable path, a link to the built folder.
    pub path: String,
    /// The interpreter that it is built with; the same path may lead to one that was built with another.
    pub installation: String,
    /// `building`, `ready`, `failed` or `broken`.
    pub status: String,
    pub plan_digest: String,
    /// Digest of what the component was asked when it planned.
    pub prepared_for: String,
    /// Links that a stage of it needs.
    pub stage: Option<Stage>,
    /// Bytes on the disk when it was built.
    pub size: Option<i64>,
    /// What the steps printed.
    pub log: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
}

impl Store {
    /// The environments of a worker, by path and interpreter.
    pub async fn environments(&self, worker: WorkerId) -> Result<Vec<EnvironmentRow>> {
        let rows = self
            .database
            .query("select * from environment where worker = $1 order by path, installation")
            .bind(worker.0)
            .fetch_all()
            .await?;
        rows.iter().map(environment_row).collect()
    }

    /// The environments of every worker, by worker, path and interpreter.
    pub async fn environments_everywhere(&self) -> Result<Vec<(String, EnvironmentRow)>> {
        let rows = self
            .database
            .query(
                "select environment.*, worker.name as worker_name from environment
             join worker on worker.id = environment.worker
             order by worker.name, environment.path, environment.installation",
            )
            .fetch_all()
            .await?;
        rows.iter().map(|row| Ok((row.try_get("worker_name")?, environment_row(row)?))).collect()
    }

    /// The environment at a stable path that is built with an interpreter.
    pub async fn environment(
        &self,
        worker: WorkerId,
        path: &str,
        installation: &str,
    ) -> Result<Option<EnvironmentRow>> {
        let read = async {
            let row = self
                .database
                .query("select * from environment where worker = $1 and path = $2 and installation = $3")
                .bind(worker.0)
                .bind(path)
                .bind(installation)
                .fetch_optional()
                .await?;
            row.as_ref().map(environment_row).transpose()
        };
        self.cached(|| Key::Environment(worker, [path, installation].map(str::to_owned)), read).await
    }

    /// Records that an environment is built for the first time; what is on record of it stays.
    pub async fn begin_environment(&self, worker: WorkerId, environment: &EnvironmentRow) -> Result<()> {
        self.put_environment(
            worker,
            environment,
            concat!(insert_environment!(), " on conflict (worker, path, installation) do nothing"),
        )
        .await
    }

    /// Records what became of an environment.
    pub async fn record_environment(&self, worker: WorkerId, environment: &EnvironmentRow) -> Result<()> {
        self.put_environment(
            worker,
            environment,
            concat!(
                insert_environment!(),
                " on conflict (worker, path, installation) do update set
                 key = excluded.key, status = excluded.status, plan_digest = excluded.plan_digest,
                 prepared_for = excluded.prepared_for, stage = excluded.stage, size = excluded.size, log = excluded.log,
                 error = excluded.error, created_at = excluded.created_at,
                 last_used_at = excluded.last_used_at"
            ),
        )
        .await
    }

    async fn put_environment(
        &self,
        worker: WorkerId,
        environment: &EnvironmentRow,
        statement: &'static str,
    ) -> Result<()> {
        let mut transaction = self.begin(Durability::Process).await?;
        transaction
            .query(statement)
            .bind(worker.0)
            .bind(&environment.pack)
            .bind(&environment.runtime)
            .bind(&environment.runtime_version)
            .bind(&environment.scope)
            .bind(&environment.key)
            .bind(&environment.path)
            .bind(&environment.installation)
            .bind(&environment.status)
            .bind(&environment.plan_digest)
            .bind(&environment.prepared_for)
            .bind(environment.stage.as_ref().map(to_json))
            .bind(environment.size)
            .bind(&environment.log)
            .bind(&environment.error)
            .bind(environment.created_at)
            .bind(environment.last_used_at)
            .execute()
            .await?;
        transaction.commit().await?;
        self.has_changed();
        Ok(())
    }

    /// Forgets an environment that was removed from the disk.
    pub async fn forget_environment(&self, worker: WorkerId, path: &str, installation: &str) -> Result<()> {
        let mut transaction = self.begin(Durability::Process).await?;
        transaction
            .query("delete from environment where worker = $1 and path = $2 and installation = $3")
            .bind(worker.0)
            .bind(path)
            .bind(installation)
            .execute()
            .await?;
        transaction.commit().await?;
        self.has_changed();
        Ok(())
    }

    /// Keys of environments that running executions use.
    pub async fn environment_keys_in_use(&self, worker: WorkerId) -> Result<Vec<String>> {
        let rows = self
            .database
            .query(
                "select distinct environment_key from execution
             where worker = $1 and status = 'running' and environment_key is not null",
            )
            .bind(worker.0)
            .fetch_all()
            .await?;
        rows.iter().map(|row| row.try_get("environment_key")).collect()
    }
}

fn environment_row(row: &Row) -> Result<EnvironmentRow> {
    Ok(EnvironmentRow {
        pack: row.try_get("pack")?,
        runtime: row.try_get("runtime")?,
        runtime_version: row.try_get("runtime_version")?,
        scope: row.try_get("scope")?,
        key: row.try_get("key")?,
        path: row.try_get("path")?,
        installation: row.try_get("installation")?,
        status: row.try_get("status")?,
        plan_digest: row.try_get("plan_digest")?,
        prepared_for: row.try_get("prepared_for")?,
        stage: optional_json(row, "stage")?,
        size: row.try_get("size")?,
        log: row.try_get("log")?,
        error: row.try_get("error")?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}
