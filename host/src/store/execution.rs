//! Executions, their logs and their results.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::action::require_as_now;
use super::database::{Engine, Query, Row};
use super::group::Group;
use super::queue::PRIORITY_STEP;
use super::requirement::{NewRequirement, keep_requirement};
use super::row::{json, optional_json, parsed, to_json};
use super::slice::{Slice, sliced};
use super::worker::WorkerId;
use super::{Durability, Result, Store};
use crate::execution::{ExecutionId, IdPrefix, Status};
use crate::installation::Identity;
use crate::reference::{ActionRef, PackRef};
use crate::trace::TraceContext;

/// An execution as it is accepted.
#[derive(Clone, Debug)]
pub struct NewExecution<'a> {
    pub id: ExecutionId,
    pub action: &'a ActionRef,
    pub pack_digest: &'a str,
    pub requirement: NewRequirement<'a>,
    pub parameters: &'a Json,
    pub worker: WorkerId,
    /// What its spans belong to.
    pub trace: Option<TraceContext>,
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
    /// None until nothing is left to be prepared.
    pub sandbox: Option<String>,
    pub warnings: Vec<String>,
    /// Of the token that the attempt has for the API.
    pub token_hash: Option<String>,
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
    /// When it is to be tried again, if it is and nobody has asked for its end.
    pub retry_at: Option<DateTime<Utc>>,
}

/// The end of an attempt, with what it printed that is not on record yet.
#[derive(Clone, Debug)]
pub struct End {
    pub attempt: Attempt,
    pub ended: Ended,
    /// Of the first piece of `rest`.
    pub sequence: i64,
    pub rest: Vec<LogChunk>,
}

/// What of an execution has to be on the disk before anything else happens; for each is answered whether it still was the
/// attempt that runs.
#[derive(Clone, Debug)]
pub(super) enum Milestone {
    Decided(Attempt, Decided),
    Ended(Attempt, Ended),
}

/// Milestones that wait to be written.
pub(super) type Milestones = Group<Arc<Milestone>, bool>;

/// One of the times that an execution is run: whoever has an older one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: ExecutionId,
    /// From 1.
    pub number: i64,
}

/// A piece of what an execution printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    pub stream: LogStream,
    pub bytes: Vec<u8>,
}

/// Which stream something was printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    Stdout,
    Stderr,
}

impl LogStream {
    pub(super) fn name(self) -> &'static str {
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
    /// How often it was started.
    pub attempt: i64,
    /// How often it is tried again if it fails.
    pub retries: i64,
    /// How often it was given to another worker since the one that had it was lost.
    pub rescues: i64,
    pub priority: i64,
    /// Not before.
    pub run_at: DateTime<Utc>,
    /// Not to be started any more after this.
    pub deadline_at: Option<DateTime<Utc>>,
    pub cancel_requested: bool,
    /// Whether it came through the queue.
    pub queued: bool,
    /// Name of the worker that runs it or ran it last, while that is known.
    pub worker: Option<String>,
    pub parameters: Json,
    /// The constraint that was asked for; empty for none.
    pub constraint: Option<String>,
    /// None until it is decided what this attempt is run with.
    pub runtime: Option<String>,
    /// While the runtime is installed.
    pub runtime_label: Option<String>,
    pub selected_version: Option<String>,
    pub runtime_version: Option<String>,
    pub installation_path: Option<String>,
    /// Where the installation was found, while its worker has it.
    pub installation_source: Option<String>,
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
    /// What its spans belong to.
    pub trace: Option<TraceContext>,
}

impl ExecutionRow {
    /// The attempt that runs or ran last.
    #[must_use]
    pub fn last_attempt(&self) -> Attempt {
        Attempt { id: self.id, number: self.attempt }
    }

    /// What went wrong: a class, and a sentence. While it waits or runs, that was in the attempt before.
    #[must_use]
    pub fn error(&self) -> Option<(&str, &str)> {
        let class = self.error_class.as_deref()?;
        Some((class, self.error_message.as_deref().unwrap_or_default()))
    }
}

/// Which executions are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecutionsFilter<'a> {
    /// Those of this action.
    pub action: Option<&'a ActionRef>,
    /// Those of actions of this pack.
    pub pack: Option<&'a PackRef>,
    pub status: Option<Status>,
    /// Those whose identifiers begin so.
    pub prefix: Option<IdPrefix>,
}

impl ExecutionsFilter<'_> {
    /// Binds what a statement for a slice of some executions asks for: `$1` to `$7`.
    pub(super) fn bind<'e>(&self, statement: Query<'e>, slice: &Slice<ExecutionId>) -> Query<'e> {
        let range = self.prefix.map(IdPrefix::range);
        statement
            .bind(self.action.map(ToString::to_string))
            .bind(self.status.map(Status::name))
            .bind(self.pack.map(|pack| pack.as_str().to_owned()))
            .bind(range.map(|(first, _)| first.0))
            .bind(range.map(|(_, last)| last.0))
            .bind(slice.after.map(|id| id.0))
            .bind(slice.limit())
    }
}

/// The statement for executions with the constraint that each asked for, and with the names of what ran it; what follows
/// says which.
macro_rules! select_execution {
    ($which:literal) => {
        concat!(
            "select execution.*, requirement.constraint_text as constraint_text, worker.name as worker_name,
                 (select label from runtime where ref = execution.runtime) as runtime_label,
                 (select min(source) from runtime_installation as installation
                  where installation.worker = execution.worker and installation.path = execution.installation_path)
                     as installation_source
             from execution
             left join requirement on requirement.id = execution.requirement
             left join worker on worker.id = execution.worker ",
            $which
        )
    };
}

impl Store {
    /// Accepts an execution that this worker runs at once. It is on the disk when what it runs with has
    /// been decided; until then nothing is started for it.
    pub async fn start_execution(&self, new: &NewExecution<'_>) -> Result<()> {
        // Who removes what nobody needs may be faster.
        while self.insert_execution(new).await? == 0 {
            let mut transaction = self.begin(Durability::Process).await?;
            keep_requirement(&mut transaction, new.requirement).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    /// How many it inserted: none while its requirement is not kept.
    async fn insert_execution(&self, new: &NewExecution<'_>) -> Result<u64> {
        macro_rules! insert {
            ($lock:literal) => {
                concat!(
                    "insert into execution
                     (id, action, pack, pack_digest, requirement, parameters, status, attempt, run_at,
                      created_at, started_at, worker, warnings, timings, trace_context)
                 select $1, $2, $3, $4, requirement.id, $5, 'running', 1, clock.now, clock.now, clock.now, $7, '[]',
                     '[]', cast($13 as text)
                 from requirement, (select coalesce($6, current_timestamp) as now) as clock
                 where runtime = $8 and constraint_text = $9 and variant = $10
                    and fallback = $11 and scope = $12",
                    $lock
                )
            };
        }
        let NewRequirement { runtime, constraint, variant, fallback, .. } = new.requirement;
        self.database
            .query(match self.engine() {
                Engine::Sqlite => insert!(""),
                // One that is being removed counts as removed.
                Engine::Postgres => insert!(" for key share of requirement"),
            })
            .bind(new.id.0)
            .bind(new.action.to_string())
            .bind(new.action.pack().as_str())
            .bind(new.pack_digest)
            .bind(to_json(new.parameters))
            .bind(self.clock())
            .bind(new.worker.0)
            .bind(runtime.to_string())
            .bind(constraint)
            .bind(variant)
            .bind(fallback)
            .bind(new.requirement.scope())
            .bind(new.trace.as_ref().map(ToString::to_string))
            .execute()
            .await
    }

    /// Records what an execution is going to run with, before it starts, or what is known of that so far. Whether it still
    /// is this attempt that runs. On a file, this is what takes its beginning to the disk, also if it was claimed.
    pub async fn decide_execution(&self, attempt: Attempt, decided: &Decided) -> Result<bool> {
        self.keep(Milestone::Decided(attempt, decided.clone())).await
    }

    /// Says what keeps a running attempt busy, until it is decided what it runs with.
    pub async fn note_progress(&self, Attempt { id, number }: Attempt, doing: &str) -> Result<()> {
        self.database
            .query(
                "update execution set reason = $3
             where id = $1 and attempt = $2 and status = 'running' and sandbox is null",
            )
            .bind(id.0)
            .bind(number)
            .bind(doing)
            .execute()
            .await?;
        Ok(())
    }

    /// Ends a running attempt, after the rest of its log. Whether it still was the one that runs.
    pub async fn finish_execution(&self, end: &End) -> Result<bool> {
        self.append_log(end.attempt, end.sequence, &end.rest).await?;
        self.keep(Milestone::Ended(end.attempt, end.ended.clone())).await
    }

    async fn keep(&self, milestone: Milestone) -> Result<bool> {
        let milestone = Arc::new(milestone);
        match self.engine() {
            // It has one connection, so those who wait for it share a transaction.
            Engine::Sqlite => {
                self.milestones.write(&milestone, |all| async move { self.keep_all(&all).await }).await
            }
            Engine::Postgres => Ok(self.keep_all(&[milestone]).await?.contains(&true)),
        }
    }

    async fn keep_all(&self, milestones: &[Arc<Milestone>]) -> Result<Vec<bool>> {
        if let [milestone] = milestones
            && !milestone.is_tried_again()
        {
            let statement = self.database.durable(milestone.statement());
            return Ok(vec![!milestone.bind(statement, self.clock()).fetch_all().await?.is_empty()]);
        }
        let mut transaction = self.begin(Durability::Disk).await?;
        let mut answers = Vec::with_capacity(milestones.len());
        for milestone in milestones {
            let statement = transaction.query(milestone.statement());
            let rows = milestone.bind(statement, self.clock()).fetch_all().await?;
            if let Some(row) = rows.first().filter(|_| milestone.is_tried_again()) {
                require_as_now(&mut transaction, &parsed(row, "action")?).await?;
            }
            answers.push(!rows.is_empty());
        }
        transaction.commit().await?;
        Ok(answers)
    }

    /// Some executions, in the order of their asking.
    pub async fn executions_where(
        &self,
        filter: &ExecutionsFilter<'_>,
        slice: &Slice<ExecutionId>,
    ) -> Result<Vec<ExecutionRow>> {
        let statement = self.database.query(slice.way(sliced!(
            select_execution!(
                "where ($1 is null or execution.action = $1) and ($2 is null or execution.status = $2)
                     and ($3 is null or execution.pack = $3)
                     and ($4 is null or execution.id between $4 and $5)"
            ),
            "execution.id" after "$6", limit "$7"
        )));
        let rows = filter.bind(statement, slice).fetch_all().await?;
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
}

impl Milestone {
    fn statement(&self) -> &'static str {
        match self {
            Self::Decided(..) => DECIDE,
            Self::Ended(..) => FINISH,
        }
    }

    fn bind<'e>(&self, statement: Query<'e>, clock: Option<DateTime<Utc>>) -> Query<'e> {
        match self {
            Self::Decided(attempt, decided) => decide(statement, *attempt, decided),
            Self::Ended(attempt, ended) => finish(statement, *attempt, ended, clock),
        }
    }

    /// Whether there is more to be written with it: what the next attempt requires.
    fn is_tried_again(&self) -> bool {
        matches!(self, Self::Ended(_, ended) if ended.retry_at.is_some())
    }
}

/// Records what an attempt that is running runs with.
const DECIDE: &str = "update execution set
         runtime = $2, selected_version = $3, runtime_version = $4, installation_path = $5,
         installation_identity = $6, selection = $7, environment_key = $8, environment_path = $9,
         plugin_digest = $10, sandbox = $11, warnings = $12, token_hash = $14,
         reason = case when cast($11 as text) is null then reason end
     where id = $1 and attempt = $13 and status = 'running' returning id";

fn decide<'e>(statement: Query<'e>, Attempt { id, number }: Attempt, decided: &Decided) -> Query<'e> {
    statement
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
        .bind(number)
        .bind(&decided.token_hash)
}

/// Ends an attempt that is running; with a time at which to try again, it goes back into the queue.
const FINISH: &str = "update execution set
         status = case
             when cast($13 as bigint) is null or cancel_requested_at is not null then $2 else 'queued' end,
         finished_at = case
             when cast($13 as bigint) is null or cancel_requested_at is not null
                 then coalesce($11, current_timestamp) else null end,
         run_at = case
             when cast($13 as bigint) is null or cancel_requested_at is not null then run_at else $14 end,
         rank = case
             when cast($13 as bigint) is null or cancel_requested_at is not null then rank
             else $13 - priority * $15 end,
         reason = $3, result = $4, error_class = $5, error_message = $6, exit_code = $7, output_incomplete = $8,
         warnings = $9, timings = $10, lease_owner = null, lease_expires_at = null
     where id = $1 and attempt = $12 and status = 'running' returning action";

fn finish<'e>(
    statement: Query<'e>,
    attempt: Attempt,
    ended: &Ended,
    clock: Option<DateTime<Utc>>,
) -> Query<'e> {
    statement
        .bind(attempt.id.0)
        .bind(ended.status.name())
        .bind(&ended.reason)
        .bind(ended.result.as_ref().map(to_json))
        .bind(&ended.error_class)
        .bind(&ended.error_message)
        .bind(ended.exit_code)
        .bind(ended.output_incomplete)
        .bind(to_json(&ended.warnings))
        .bind(to_json(&ended.timings))
        .bind(clock)
        .bind(attempt.number)
        .bind(ended.retry_at.map(|time| time.timestamp_micros()))
        .bind(ended.retry_at)
        .bind(PRIORITY_STEP.num_microseconds())
}

pub(super) fn attempt_row(row: &Row) -> Result<Attempt> {
    Ok(Attempt { id: ExecutionId(row.try_get("id")?), number: row.try_get("attempt")? })
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
        retries: row.try_get("retries")?,
        rescues: row.try_get("rescues")?,
        priority: row.try_get("priority")?,
        run_at: row.try_get("run_at")?,
        deadline_at: row.try_get("deadline_at")?,
        cancel_requested: !row.is_null("cancel_requested_at")?,
        queued: !row.is_null("request_digest")?,
        worker: row.try_get("worker_name")?,
        parameters: json(row, "parameters")?,
        constraint: constraint.filter(|text| !text.is_empty()),
        runtime: row.try_get("runtime")?,
        runtime_label: row.try_get("runtime_label")?,
        selected_version: row.try_get("selected_version")?,
        runtime_version: row.try_get("runtime_version")?,
        installation_path: row.try_get("installation_path")?,
        installation_source: row.try_get("installation_source")?,
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
        trace: trace_context(row)?,
    })
}

pub(super) fn trace_context(row: &Row) -> Result<Option<TraceContext>> {
    let text: Option<String> = row.try_get("trace_context")?;
    // One that can't be read is no reason not to run what it belongs to.
    Ok(text.and_then(|text| text.parse().ok()))
}
