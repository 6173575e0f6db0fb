//! What would be put into the queue, and who could run it: a dry run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::{QueueError, Terms, plan};
use crate::execution::Request;
use crate::store::fleet::{WorkerRow, silence_max};
use crate::store::requirement::JudgedRequirement;
use crate::worker::Worker;

/// What would be put into the queue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Outlook {
    pub action: String,
    pub requirement: Requirement,
    /// Complete: defaults are filled in.
    #[schema(value_type = Object)]
    pub parameters: Json,
    pub priority: i64,
    /// How often it is tried again if it fails.
    pub retries: u32,
    /// Not before.
    pub run_at: DateTime<Utc>,
    /// Not to be started any more after this.
    pub deadline_at: Option<DateTime<Utc>>,
    /// The execution that was asked for under the same key: nothing more would be queued.
    pub known: Option<String>,
    /// Those that take executions now.
    pub workers: Vec<Prospect>,
}

/// What an execution would need.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Requirement {
    pub runtime: String,
    /// None for any version.
    pub constraint: Option<String>,
    /// Build variant.
    pub variant: Option<String>,
    /// Whether another version will do if none satisfies the constraint.
    pub fallback: bool,
}

/// Whether a worker could run it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Prospect {
    pub worker: String,
    /// None if it has not judged that yet.
    pub satisfied: Option<bool>,
    /// Why not.
    pub reason: String,
}

/// Finds out what asking would put into the queue, and which workers could run it as far as they have judged that. Nothing
/// is written.
pub async fn outlook(worker: &Worker, request: &Request, terms: &Terms) -> Result<Outlook, QueueError> {
    let plan = plan(worker, request, terms).await?;
    let known = plan.known(worker).await?;
    let requirement = plan.requirement();
    let silence_max = silence_max(worker.settings.lease);
    let mut judged = worker.store.judgements_of(requirement, plan.created_at - silence_max).await?;
    let live = worker.store.workers(silence_max).await?;
    let workers = live.into_iter().filter(WorkerRow::takes_executions).map(|live| {
        let found = judged.iter().position(|judged| judged.worker == live.name);
        match found.map(|found| judged.swap_remove(found)) {
            Some(JudgedRequirement { worker, satisfied, reason, .. }) => {
                Prospect { worker, satisfied: Some(satisfied), reason }
            }
            None => Prospect { worker: live.name, satisfied: None, reason: String::new() },
        }
    });
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(Outlook {
        requirement: Requirement {
            runtime: requirement.runtime.to_string(),
            constraint: given(requirement.constraint),
            variant: given(requirement.variant),
            fallback: requirement.fallback,
        },
        workers: workers.collect(),
        action: plan.action.reference.to_string(),
        retries: plan.action.retries,
        parameters: plan.parameters,
        priority: plan.priority,
        run_at: plan.run_at,
        deadline_at: plan.deadline,
        known: known.map(|id| id.to_string()),
    })
}
