//! Asking for an execution that some worker runs later: checked like one that runs at once, and put into the queue.

pub mod outlook;
pub mod waiting;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;

use crate::digest;
use crate::execution::asked::{self, AskError, Checked};
use crate::execution::{ExecutionId, Request};
use crate::pack::Action;
use crate::reference::RuntimeRef;
use crate::store::bell::Bell;
use crate::store::queue::{Enqueued, NewQueued};
use crate::store::requirement::NewRequirement;
use crate::trace::{self, TraceContext, stage_span};
use crate::worker::Worker;

/// More bytes of parameters than this are not taken.
const PARAMETERS_MAX: usize = 1 << 20;

/// How an execution is to be queued.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Of two executions, the one with the higher priority comes first; a minute of waiting counts like one.
    pub priority: i64,
    /// Not before this long from now.
    pub delay: Duration,
    /// Not to be started later than this long from now.
    pub deadline: Option<Duration>,
    /// Asking twice under one key is asking once.
    pub idempotency_key: Option<String>,
}

/// An execution in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    pub id: ExecutionId,
    /// Whether it had been asked for before, under the same key.
    pub known: bool,
}

/// Why an execution can't be queued.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// What was asked is wrong.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The parameters are too large.
    #[error("the parameters are {bytes} bytes; the queue takes at most {PARAMETERS_MAX}")]
    TooLarge {
        /// As JSON.
        bytes: usize,
    },
    /// The key was used for something else.
    #[error("the idempotency key `{key}` was used for something else: the execution {id}")]
    Conflict {
        /// The key.
        key: String,
        /// What it was used for.
        id: ExecutionId,
    },
    /// The time is beyond what can be told.
    #[error("that is too far in the future")]
    TooFar,
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// Puts an execution into the queue, and wakes who may run it. When this returns, it is on the disk.
pub async fn enqueue(worker: &Worker, request: &Request, terms: &Terms) -> Result<Queued, QueueError> {
    let given = TraceContext::given(&worker.settings.process_variables);
    let span = stage_span!("enqueue", otel.kind = "producer", action.r#ref = %request.action);
    trace::adopt(&span, given.as_ref());
    // Whoever runs it may know what to do with a trace that this process was given and only hands on.
    let trace = trace::below(&span).or(given);
    let queued = trace::stage(span.clone(), enqueue_within(worker, request, terms, trace.as_ref())).await;
    if let Ok(queued) = &queued {
        trace::describe(&span, [("execution.id", &queued.id), ("pack.ref", request.action.pack())]);
    }
    queued
}

/// What is to be put into the queue.
#[derive(Clone, Debug)]
pub struct Plan {
    pub action: Action,
    pub pack_digest: String,
    pub runtime: RuntimeRef,
    /// What is asked of the runtime's version; empty for nothing.
    pub constraint: String,
    /// Complete: defaults are filled in.
    pub parameters: Json,
    /// Instead of the action's own constraint.
    pub given: Option<String>,
    pub priority: i64,
    pub created_at: DateTime<Utc>,
    pub run_at: DateTime<Utc>,
    pub deadline: Option<DateTime<Utc>>,
    timeout: Option<Duration>,
    idempotency_key: Option<String>,
    request_digest: String,
}

/// Checks what is asked, and finds out what is to be put into the queue for it.
pub async fn plan(worker: &Worker, request: &Request, terms: &Terms) -> Result<Plan, QueueError> {
    let Checked { action, pack_digest, runtime, constraint, parameters } =
        asked::check(worker, request).await?;
    let parameters = Json::Object(parameters);
    let bytes = parameters.to_string().len();
    if bytes > PARAMETERS_MAX {
        return Err(QueueError::TooLarge { bytes });
    }
    let given = request.constraint.as_ref().map(ToString::to_string);
    let timeout = request.timeout;
    let request_digest = digest::of_json(&(&action.reference, &parameters, &given, timeout, terms.priority));
    let time = worker.store.time().await?;
    Ok(Plan {
        action,
        pack_digest,
        runtime: runtime.runtime.reference,
        constraint: constraint.as_ref().map(ToString::to_string).unwrap_or_default(),
        parameters,
        given,
        priority: terms.priority,
        created_at: time,
        run_at: later(time, terms.delay)?,
        deadline: terms.deadline.map(|deadline| later(time, deadline)).transpose()?,
        timeout,
        idempotency_key: terms.idempotency_key.clone(),
        request_digest,
    })
}

impl Plan {
    /// What a worker needs to run it.
    #[must_use]
    pub fn requirement(&self) -> NewRequirement<'_> {
        NewRequirement::of(&self.action, &self.runtime, &self.constraint)
    }

    /// What was asked under its key before.
    pub async fn known(&self, worker: &Worker) -> Result<Option<ExecutionId>, QueueError> {
        let Some(key) = &self.idempotency_key else { return Ok(None) };
        match worker.store.asked_before(key, &self.request_digest).await? {
            Some(Enqueued::Conflict(id)) => Err(QueueError::Conflict { key: key.clone(), id }),
            Some(Enqueued::Known(id)) => Ok(Some(id)),
            Some(Enqueued::New) | None => Ok(None),
        }
    }
}

async fn enqueue_within(
    worker: &Worker,
    request: &Request,
    terms: &Terms,
    trace: Option<&TraceContext>,
) -> Result<Queued, QueueError> {
    let plan = plan(worker, request, terms).await?;
    let id = ExecutionId::new();
    let enqueued = worker
        .store
        .enqueue(&NewQueued {
            id,
            action: &plan.action.reference,
            pack_digest: &plan.pack_digest,
            requirement: plan.requirement(),
            parameters: &plan.parameters,
            constraint: plan.given.as_deref(),
            timeout: plan.timeout,
            priority: plan.priority,
            created_at: plan.created_at,
            run_at: plan.run_at,
            deadline: plan.deadline,
            retries: plan.action.retries,
            idempotent: plan.action.idempotent,
            idempotency_key: plan.idempotency_key.as_deref(),
            request_digest: &plan.request_digest,
            trace,
        })
        .await?;
    match enqueued {
        Enqueued::New => {
            worker.store.ring(Bell::Queue).await;
            Ok(Queued { id, known: false })
        }
        Enqueued::Known(id) => Ok(Queued { id, known: true }),
        Enqueued::Conflict(id) => {
            Err(QueueError::Conflict { key: plan.idempotency_key.unwrap_or_default(), id })
        }
    }
}

fn later(time: DateTime<Utc>, by: Duration) -> Result<DateTime<Utc>, QueueError> {
    TimeDelta::from_std(by).ok().and_then(|by| time.checked_add_signed(by)).ok_or(QueueError::TooFar)
}
