//! Why an execution that is queued has not been started.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::execution::ExecutionRow;
use crate::store::requirement::{JudgedRequirement, Limit, Limited};
use crate::store::{Store, StoreError};

/// Why an execution waits.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// In a sentence.
    pub reason: String,
    /// What it counts against.
    pub limits: Vec<Limit>,
    pub workers: Vec<WaitingWorker>,
}

/// What a live worker made of what an execution needs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingWorker {
    pub worker: String,
    pub satisfied: bool,
    /// Why not, in a sentence; empty if it is.
    pub reason: String,
    /// Every candidate, and the reason why it would do or not.
    pub selection: Option<serde_json::Value>,
}

impl From<JudgedRequirement> for WaitingWorker {
    fn from(judged: JudgedRequirement) -> Self {
        let JudgedRequirement { worker, satisfied, reason, selection } = judged;
        Self { worker, satisfied, reason, selection }
    }
}

/// Why an execution that is queued has not been started.
pub async fn waiting(
    store: &Store,
    row: &ExecutionRow,
    silence_max: TimeDelta,
) -> Result<Waiting, StoreError> {
    let time = store.time().await?;
    let judged = store.judgements(row.id, time - silence_max).await?;
    let limits = store.limits(row.id).await?;
    let judging = store.workers(silence_max).await?.into_iter().filter(|worker| {
        worker.takes_executions() && judged.iter().all(|judged| judged.worker != worker.name)
    });
    let judging = judging.map(|worker| worker.name).collect::<Vec<_>>();
    let is_satisfied = judged.iter().any(|judged| judged.satisfied);
    let reason = if let Some(("not_begun", why)) = row.error() {
        format!("it could not be begun, and is tried again in a moment: {why}")
    } else if row.run_at > time.max(row.created_at) {
        format!("it is not to be started before {}", row.run_at.to_rfc3339())
    } else if let [one] = &judging[..]
        && !is_satisfied
    {
        format!("it is being judged: the worker `{one}` finds out whether it can run it")
    } else if !judging.is_empty() && !is_satisfied {
        format!("it is being judged: {} workers find out whether they can run it", judging.len())
    } else if judged.is_empty() {
        "no worker is there that could run it: `attune worker` starts one".to_owned()
    } else if is_satisfied {
        let reached = limits.iter().filter(|limit| limit.is_reached()).map(reached).collect::<Vec<_>>();
        if reached.is_empty() { "others come first".to_owned() } else { reached.join("; ") }
    } else {
        "no worker that is there satisfies what it asks for; it starts by itself when one does".to_owned()
    };
    Ok(Waiting { reason, limits, workers: judged.into_iter().map(WaitingWorker::from).collect() })
}

/// That so many run as may.
fn reached(limit: &Limit) -> String {
    let Limit { of, name, allowed, running } = limit;
    let of = match of {
        Limited::Action => "action",
        Limited::Pack => "pack",
    };
    format!("the {of} `{name}` runs {running} of at most {allowed} at a time (its `concurrency`)")
}
