//! Executions, their logs and their results.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;

use super::database::{Query, Row, Transaction};
use super::row::{json, optional_json, parsed, to_json};
use super::worker::WorkerId;
use super::{Durability, Result, Store, now};
use crate::execution::{ExecutionId, Status};
use crate::installation::Identity;
use crate::reference::{ActionRef, RuntimeRef};

/// An execution as it is accepted.
#[derive(Clone, Debug)]
pub struct NewExecution<'a> {
    pub id: ExecutionId,
    pub action: &'a ActionRef,
    pub pack_digest: &'a str,
    /// What it needs: the runtime, its constraint and variant as text, empty for none.
    pub requirement: (&'a RuntimeRef, &'a str, &'a str),
    pub parameters: &'a Json,
    pub worker: WorkerId,
}

/// What an execution is going to run with, decided before it starts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Decided {
    pub runtime: String,
    /// Exact version of the installation.
    pub selected_version: Option<String>,
    /// Label of the version of the runtime that covers it.
    pub runtime_version: Option<String>,
    pub installation_path: Option<PathBuf>,
    pub installation_identity: Option<Identity>,
    /// The candidates and the reason for each.
    pub selection: Option<Json>,
    pub environment_key: Option<String>,
    pub environment_path: Option<PathBuf>,
    pub plugin_digest: Option<String>,
    pub sandbox: String,
    pub warnings: Vec<String>,
}

/// How an execution ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub status: Status,
    pub reason: Option<String>,
    pub result: Option<Json>,
    pub error_class: Option<String>,
    pub error_message: Option<String>,
    pub exit_code: Option<i32>,
    pub output_incomplete: bool,
    pub warnings: Vec<String>,
    /// Stage and milliseconds.
    pub timings: Vec<(String, f64)>,
}

/// A piece of what an execution printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    pub stream: LogStream,
    pub bytes: Vec<u8>,
}

/// Which stream something was printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    Stdout,
    Stderr,
}

impl LogStream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// An execution as it is kept.
#[derive(Clone, Debug)]
pub struct ExecutionRow {
    pub id: ExecutionId,
    pub action: ActionRef,
    pub pack_digest: String,
    pub status: Status,
    pub reason: Option<String>,
    pub attempt: i64,
    pub parameters: Json,
    /// The constraint that was asked for; empty for none.
    pub constraint: Option<String>,
    pub runtime: Option<String>,
    pub selected_version: Option<String>,
    pub runtime_version: Option<String>,
    pub installation_path: Option<String>,
    pub selection: Option<Json>,
    pub environment_key: Option<String>,
    pub environment_path: Option<String>,
    pub plugin_digest: Option<String>,
    pub sandbox: Option<String>,
    pub warnings: Vec<String>,
    pub result: Option<Json>,
    pub error_class: Option<String>,
    pub error_message: Option<String>,
    pub exit_code: Option<i64>,
    pub output_incomplete: bool,
    /// Stage and milliseconds.
    pub timings: Vec<(String, f64)>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The statement for executions with the constraint that each asked for; what follows says which.
macro_rules! select_execution {
    ($which:literal) => {
        concat!(
            "select execution.*, requirement.constraint_text as constraint_text from execution
             left join requirement on requirement.id = execution.requirement ",
            $which
        )
    };
}

impl Store {
    /// Accepts an execution that this worker runs at once. It is on the disk when what it runs with has
    /// been decided; until then nothing is started for it.
    pub async fn start_execution(&self, new: &NewExecution<'_>) -> Result<()> {
        if self.insert_execution(new).await? == 0 {
            self.keep_requirement(new.requirement).await?;
            self.insert_execution(new).await?;
        }
        Ok(())
    }

    /// How many it inserted: none while its requirement is not kept.
    async fn insert_execution(&self, new: &NewExecution<'_>) -> Result<u64> {
        let (runtime, constraint, variant) = new.requirement;
        self.database
            .query(
                "insert into execution
                 (id, action, pack, pack_digest, requirement, parameters, status, attempt, run_at,
                  created_at, started_at, worker, warnings, timings)
             select $1, $2, $3, $4, requirement.id, $5, 'running', 1, $6, $6, $6, $7, '[]', '[]'
             from requirement where runtime = $8 and constraint_text = $9 and variant = $10",
            )
            .bind(new.id.0)
            .bind(new.action.to_string())
            .bind(new.action.pack().as_str())
            .bind(new.pack_digest)
            .bind(to_json(new.parameters))
            .bind(now())
            .bind(new.worker.0)
            .bind(runtime.to_string())
            .bind(constraint)
            .bind(variant)
            .execute()
            .await
    }

    /// Requirements are few and stay.
    async fn keep_requirement(
        &self,
        (runtime, constraint, variant): (&RuntimeRef, &str, &str),
    ) -> Result<()> {
        self.database
            .query(
                "insert into requirement (runtime, constraint_text, variant) values ($1, $2, $3)
             on conflict (runtime, constraint_text, variant) do nothing",
            )
            .bind(runtime.to_string())
            .bind(constraint)
            .bind(variant)
            .execute()
            .await?;
        Ok(())
    }

    /// Records, on the disk, what an execution is going to run with, before it starts.
    pub async fn decide_execution(&self, id: ExecutionId, decided: &Decided) -> Result<()> {
        self.database
            .durable(
                "update execution set
                 runtime = $2, selected_version = $3, runtime_version = $4, installation_path = $5,
                 installation_identity = $6, selection = $7, environment_key = $8, environment_path = $9,
                 plugin_digest = $10, sandbox = $11, warnings = $12
             where id = $1 and status = 'running'",
            )
            .bind(id.0)
            .bind(&decided.runtime)
            .bind(&decided.selected_version)
            .bind(&decided.runtime_version)
            .bind(decided.installation_path.as_ref().map(|path| path.to_string_lossy()))
            .bind(decided.installation_identity.as_ref().map(to_json))
            .bind(decided.selection.as_ref().map(to_json))
            .bind(&decided.environment_key)
            .bind(decided.environment_path.as_ref().map(|path| path.to_string_lossy()))
            .bind(&decided.plugin_digest)
            .bind(&decided.sandbox)
            .bind(to_json(&decided.warnings))
            .execute()
            .await?;
        Ok(())
    }

    /// Appends to the log of a running execution, numbered from `sequence` on.
    pub async fn append_log(&self, id: ExecutionId, sequence: i64, chunks: &[LogChunk]) -> Result<()> {
        let mut transaction = self.begin(Durability::Process).await?;
        insert_log(&mut transaction, id, sequence, chunks).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends a running execution with the rest of its log. Whether it still was running.
    pub async fn finish_execution(
        &self,
        id: ExecutionId,
        ended: &Ended,
        sequence: i64,
        rest: &[LogChunk],
    ) -> Result<bool> {
        if rest.is_empty() {
            return Ok(!finish(self.database.durable(FINISH), id, ended).fetch_all().await?.is_empty());
        }
        let mut transaction = self.begin(Durability::Disk).await?;
        let finished = finish(transaction.query(FINISH), id, ended).fetch_all().await?;
        insert_log(&mut transaction, id, sequence, rest).await?;
        transaction.commit().await?;
        Ok(!finished.is_empty())
    }

    /// The newest executions, newest first.
    pub async fn executions(
        &self,
        action: Option<&ActionRef>,
        status: Option<Status>,
        limit: u32,
    ) -> Result<Vec<ExecutionRow>> {
        let rows = self
            .database
            .query(select_execution!(
                "where ($1 is null or execution.action = $1) and ($2 is null or execution.status = $2)
             order by execution.created_at desc, execution.id desc limit $3"
            ))
            .bind(action.map(ToString::to_string))
            .bind(status.map(Status::name))
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.iter().map(execution_row).collect()
    }

    /// Executions whose identifiers lie between two, newest first.
    pub async fn executions_between(
        &self,
        first: ExecutionId,
        last: ExecutionId,
        limit: u32,
    ) -> Result<Vec<ExecutionRow>> {
        let rows = self
            .database
            .query(select_execution!(
                "where execution.id between $1 and $2
             order by execution.created_at desc, execution.id desc limit $3"
            ))
            .bind(first.0)
            .bind(last.0)
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.iter().map(execution_row).collect()
    }

    /// One execution.
    pub async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRow>> {
        let row = self
            .database
            .query(select_execution!("where execution.id = $1"))
            .bind(id.0)
            .fetch_optional()
            .await?;
        row.as_ref().map(execution_row).transpose()
    }

    /// What an execution printed, in order, from a sequence number on.
    pub async fn execution_log(&self, id: ExecutionId, from: i64) -> Result<Vec<(i64, LogChunk)>> {
        let rows = self
            .database
            .query(
                "select sequence, stream, bytes from execution_log
             where execution = $1 and sequence >= $2 order by sequence",
            )
            .bind(id.0)
            .bind(from)
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                let stream: String = row.try_get("stream")?;
                let stream = if stream == "stderr" { LogStream::Stderr } else { LogStream::Stdout };
                Ok((row.try_get("sequence")?, LogChunk { stream, bytes: row.try_get("bytes")? }))
            })
            .collect()
    }

    /// Gives up an execution whose process died with its worker. Whether it still was running.
    pub async fn abandon_execution(&self, id: ExecutionId, reason: &str) -> Result<bool> {
        let abandoned = self
            .database
            .durable(
                "update execution set status = 'abandoned', reason = 'worker_lost', error_class = 'worker_lost',
                 error_message = $2, finished_at = $3
             where id = $1 and status = 'running' returning id",
            )
            .bind(id.0)
            .bind(reason)
            .bind(now())
            .fetch_all()
            .await?;
        Ok(!abandoned.is_empty())
    }
}

/// Ends an execution that is running.
const FINISH: &str = "update execution set
         status = $2, reason = $3, result = $4, error_class = $5, error_message = $6,
         exit_code = $7, output_incomplete = $8, warnings = $9, timings = $10, finished_at = $11
     where id = $1 and status = 'running' returning id";

fn finish<'e>(statement: Query<'e>, id: ExecutionId, ended: &Ended) -> Query<'e> {
    statement
        .bind(id.0)
        .bind(ended.status.name())
        .bind(&ended.reason)
        .bind(ended.result.as_ref().map(to_json))
        .bind(&ended.error_class)
        .bind(&ended.error_message)
        .bind(ended.exit_code)
        .bind(ended.output_incomplete)
        .bind(to_json(&ended.warnings))
        .bind(to_json(&ended.timings))
        .bind(now())
}

async fn insert_log(
    transaction: &mut Transaction,
    id: ExecutionId,
    sequence: i64,
    chunks: &[LogChunk],
) -> Result<()> {
    for (sequence, chunk) in (sequence..).zip(chunks) {
        transaction
            .query("insert into execution_log (execution, sequence, stream, bytes) values ($1, $2, $3, $4)")
            .bind(id.0)
            .bind(sequence)
            .bind(chunk.stream.name())
            .bind(&chunk.bytes)
            .execute()
            .await?;
    }
    Ok(())
}

fn execution_row(row: &Row) -> Result<ExecutionRow> {
    let constraint: Option<String> = row.try_get("constraint_text")?;
    Ok(ExecutionRow {
        id: ExecutionId(row.try_get("id")?),
        action: parsed(row, "action")?,
        pack_digest: row.try_get("pack_digest")?,
        status: parsed(row, "status")?,
        reason: row.try_get("reason")?,
        attempt: row.try_get("attempt")?,
        parameters: json(row, "parameters")?,
        constraint: constraint.filter(|text| !text.is_empty()),
        runtime: row.try_get("runtime")?,
        selected_version: row.try_get("selected_version")?,
        runtime_version: row.try_get("runtime_version")?,
        installation_path: row.try_get("installation_path")?,
        selection: optional_json(row, "selection")?,
        environment_key: row.try_get("environment_key")?,
        environment_path: row.try_get("environment_path")?,
        plugin_digest: row.try_get("plugin_digest")?,
        sandbox: row.try_get("sandbox")?,
        warnings: json(row, "warnings")?,
        result: optional_json(row, "result")?,
        error_class: row.try_get("error_class")?,
        error_message: row.try_get("error_message")?,
        exit_code: row.try_get("exit_code")?,
        output_incomplete: row.try_get("output_incomplete")?,
        timings: json(row, "timings")?,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}
