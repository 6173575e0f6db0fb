//! What executions need to be started, and which workers have it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::database::{Engine, Row, Transaction};
use super::row::{optional_json, parsed, to_json};
use super::worker::WorkerId;
use super::{Durability, Result, Store, now};
use crate::execution::ExecutionId;
use crate::pack::{Action, VersionPolicy};
use crate::reference::{ActionRef, RuntimeRef};

/// What an execution needs to be started: the same row for all of a pack that need the same.
#[derive(Clone, Copy, Debug)]
pub struct NewRequirement<'a> {
    pub runtime: &'a RuntimeRef,
    /// Empty for none.
    pub constraint: &'a str,
    /// Empty for none.
    pub variant: &'a str,
    /// Whether the base runtime will do if nothing satisfies the constraint.
    pub fallback: bool,
    /// What is run.
    pub action: &'a ActionRef,
    /// How many executions of the action may run at a time.
    pub limit: Option<i64>,
}

impl NewRequirement<'_> {
    /// Whose executions share the row: those of the action, if it has a limit of its own, or of the pack.
    pub(super) fn scope(&self) -> String {
        match self.limit {
            Some(_) => self.action.to_string(),
            None => self.action.pack().to_string(),
        }
    }
}

impl<'a> NewRequirement<'a> {
    /// What an execution of an action needs. `constraint` is empty for none.
    #[must_use]
    pub fn of(action: &'a Action, runtime: &'a RuntimeRef, constraint: &'a str) -> Self {
        Self {
            runtime,
            constraint,
            variant: action.program.variant.as_deref().unwrap_or_default(),
            fallback: action.program.version_policy == VersionPolicy::Fallback,
            action: &action.reference,
            limit: action.concurrency.map(i64::from),
        }
    }
}

/// A requirement as it is kept.
#[derive(Clone, Debug)]
pub struct RequirementRow {
    pub id: i64,
    pub runtime: RuntimeRef,
    pub constraint: String,
    pub variant: String,
    pub fallback: bool,
}

/// What a worker made of a requirement.
#[derive(Clone, Debug)]
pub enum Verdict {
    Satisfied,
    /// Only the base runtime will do, as the requirement allows.
    Fallback,
    Unsatisfied {
        /// In a sentence.
        reason: String,
        /// The candidates and the reason for each.
        selection: Option<Json>,
    },
}

/// Whether a live worker can run what is required, and what it judged.
#[derive(Clone, Debug)]
pub struct JudgedRequirement {
    pub worker: String,
    pub satisfied: bool,
    /// Why not, in a sentence; empty if it is.
    pub reason: String,
    /// The candidates and the reason for each.
    pub selection: Option<Json>,
}

/// How many executions of an action or a pack may run at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// Whose limit it is.
    pub of: Limited,
    /// The action or the pack.
    pub name: String,
    pub allowed: i64,
    /// Those that count run now: what somebody runs himself does not.
    pub running: i64,
}

/// What limits are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    Action,
    Pack,
}

impl Limit {
    /// Whether no other may start.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.running >= self.allowed
    }
}

/// The statement for what live workers judged; what follows says of which requirement.
macro_rules! select_judgements {
    ($which:literal) => {
        concat!(
            "select worker.name as name, worker_requirement.satisfied as satisfied,
                 worker_requirement.reason as reason, worker_requirement.selection as selection
             from worker_requirement
             join worker on worker.id = worker_requirement.worker ",
            $which,
            " and worker.status = 'active' and worker.heartbeat_at >= $1 order by worker.name"
        )
    };
}

impl Store {
    /// Requirements that a worker has not judged yet, or all of them.
    pub async fn requirements(&self, worker: WorkerId, judged_too: bool) -> Result<Vec<RequirementRow>> {
        let rows = self
            .database
            .query(
                "select requirement.* from requirement
             left join worker_requirement on worker_requirement.requirement = requirement.id
                and worker_requirement.worker = $1
             where $2 or worker_requirement.requirement is null
             order by requirement.id",
            )
            .bind(worker.0)
            .bind(judged_too)
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(RequirementRow {
                    id: row.try_get("id")?,
                    runtime: parsed(row, "runtime")?,
                    constraint: row.try_get("constraint_text")?,
                    variant: row.try_get("variant")?,
                    fallback: row.try_get("fallback")?,
                })
            })
            .collect()
    }

    /// Records what a worker made of requirements.
    pub async fn keep_judgements(&self, worker: WorkerId, judged: &[(i64, Verdict)]) -> Result<()> {
        macro_rules! insert {
            ($lock:literal) => {
                concat!(
                    "insert into worker_requirement
                         (worker, requirement, satisfied, fallback, reason, selection, judged_at)
                     select $1, id, $3, $4, $5, cast($6 as text), $7 from requirement where id = $2",
                    $lock,
                    " on conflict (worker, requirement) do update set
                         satisfied = excluded.satisfied, fallback = excluded.fallback, reason = excluded.reason,
                         selection = excluded.selection, judged_at = excluded.judged_at"
                )
            };
        }
        if judged.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin(Durability::Process).await?;
        for (requirement, verdict) in judged {
            let (satisfied, reason, selection) = match verdict {
                Verdict::Satisfied | Verdict::Fallback => (true, "", None),
                Verdict::Unsatisfied { reason, selection } => (false, reason.as_str(), selection.as_ref()),
            };
            let keep = match transaction.engine() {
                Engine::Sqlite => insert!(""),
                // One that is being removed counts as removed.
                Engine::Postgres => insert!(" for key share of requirement"),
            };
            transaction
                .query(keep)
                .bind(worker.0)
                .bind(requirement)
                .bind(satisfied)
                .bind(matches!(verdict, Verdict::Fallback))
                .bind(reason)
                .bind(selection.map(to_json))
                .bind(now())
                .execute()
                .await?;
        }
        transaction.commit().await
    }

    /// Records that a worker does not satisfy what an execution needs, though it judged otherwise before: why not, and what
    /// was considered.
    pub async fn withdraw_judgement(
        &self,
        worker: WorkerId,
        id: ExecutionId,
        reason: &str,
        selection: Option<&Json>,
    ) -> Result<()> {
        self.database
            .query(
                "update worker_requirement set satisfied = false, reason = $3, selection = $4, judged_at = $5
             where worker = $1 and requirement = (select requirement from execution where id = $2)",
            )
            .bind(worker.0)
            .bind(id.0)
            .bind(reason)
            .bind(selection.map(to_json))
            .bind(now())
            .execute()
            .await?;
        Ok(())
    }

    /// The limits that an execution counts against: its action's, and its pack's.
    pub async fn limits(&self, id: ExecutionId) -> Result<Vec<Limit>> {
        let row = self
            .database
            .query(
                "select execution.action as action, execution.pack as pack,
                     requirement.concurrency_limit as action_allows, pack.concurrency as pack_allows,
                     (select count(*) from execution as other where other.action = execution.action
                         and other.status = 'running' and other.lease_owner is not null) as of_action,
                     (select count(*) from execution as other where other.pack = execution.pack
                         and other.status = 'running' and other.lease_owner is not null) as of_pack
                 from execution
                 left join requirement on requirement.id = execution.requirement
                 left join pack on pack.ref = execution.pack
                 where execution.id = $1",
            )
            .bind(id.0)
            .fetch_optional()
            .await?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let mut limits = Vec::new();
        for (of, name, allowed, running) in [
            (Limited::Action, "action", "action_allows", "of_action"),
            (Limited::Pack, "pack", "pack_allows", "of_pack"),
        ] {
            if let Some(allowed) = row.try_get(allowed)? {
                limits.push(Limit { of, name: row.try_get(name)?, allowed, running: row.try_get(running)? });
            }
        }
        Ok(limits)
    }

    /// What every live worker that takes executions made of the requirement of one.
    pub async fn judgements(
        &self,
        id: ExecutionId,
        live_since: DateTime<Utc>,
    ) -> Result<Vec<JudgedRequirement>> {
        let rows = self
            .database
            .query(select_judgements!(
                "join execution on execution.requirement = worker_requirement.requirement where execution.id = $2"
            ))
            .bind(live_since)
            .bind(id.0)
            .fetch_all()
            .await?;
        rows.iter().map(judged_row).collect()
    }

    /// The same for what an execution would need; nothing if none needed it before.
    pub async fn judgements_of(
        &self,
        requirement: NewRequirement<'_>,
        live_since: DateTime<Utc>,
    ) -> Result<Vec<JudgedRequirement>> {
        let rows = self
            .database
            .query(select_judgements!(
                "join requirement on requirement.id = worker_requirement.requirement
             where requirement.runtime = $2 and requirement.constraint_text = $3 and requirement.variant = $4
                and requirement.fallback = $5 and requirement.scope = $6"
            ))
            .bind(live_since)
            .bind(requirement.runtime.to_string())
            .bind(requirement.constraint)
            .bind(requirement.variant)
            .bind(requirement.fallback)
            .bind(requirement.scope())
            .fetch_all()
            .await?;
        rows.iter().map(judged_row).collect()
    }
}

fn judged_row(row: &Row) -> Result<JudgedRequirement> {
    Ok(JudgedRequirement {
        worker: row.try_get("name")?,
        satisfied: row.try_get("satisfied")?,
        reason: row.try_get("reason")?,
        selection: optional_json(row, "selection")?,
    })
}

/// The row of a requirement, made if it is new.
pub(super) async fn keep_requirement(
    transaction: &mut Transaction,
    requirement: NewRequirement<'_>,
) -> Result<i64> {
    let row = transaction
        .query(
            "insert into requirement (runtime, constraint_text, variant, fallback, scope, pack, concurrency_limit)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (runtime, constraint_text, variant, fallback, scope)
             do update set concurrency_limit = excluded.concurrency_limit
             returning id",
        )
        .bind(requirement.runtime.to_string())
        .bind(requirement.constraint)
        .bind(requirement.variant)
        .bind(requirement.fallback)
        .bind(requirement.scope())
        .bind(requirement.action.pack().as_str())
        .bind(requirement.limit)
        .fetch_one()
        .await?;
    row.try_get("id")
}

/// Has the executions of an action that wait in the queue need what the action needs now. A constraint of their own stays.
pub(super) async fn require_anew(
    transaction: &mut Transaction,
    action: &Action,
    runtime: &RuntimeRef,
) -> Result<()> {
    let own = action.program.constraint.as_ref().map(ToString::to_string).unwrap_or_default();
    let rows = transaction
        .query(
            "select distinct constraint_override as given from execution
         where action = $1 and status = 'queued'",
        )
        .bind(action.reference.to_string())
        .fetch_all()
        .await?;
    for row in rows {
        let given: Option<String> = row.try_get("given")?;
        let constraint = given.as_deref().unwrap_or(&own);
        let requirement =
            keep_requirement(transaction, NewRequirement::of(action, runtime, constraint)).await?;
        transaction
            .query(
                "update execution set requirement = $3
             where action = $1 and status = 'queued' and constraint_override is not distinct from $2
                and requirement <> $3",
            )
            .bind(action.reference.to_string())
            .bind(given)
            .bind(requirement)
            .execute()
            .await?;
    }
    Ok(())
}
