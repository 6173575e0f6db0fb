//! Executions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::Body;
use super::page::{Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::programs;
use super::query::{DryRun, Query};
use super::state::Created;
use crate::execution::{AskError, ExecutionId, Given, IdPrefix, Request, Status};
use crate::pack;
use crate::queue::outlook::{Outlook, outlook};
use crate::queue::waiting::{Waiting, waiting};
use crate::queue::{QueueError, Terms, enqueue as put};
use crate::reference::ActionRef;
use crate::shape::object;
use crate::store::bell::Bell;
use crate::store::execution::{Attempt, ExecutionRow, ExecutionsFilter, LogStream};
use crate::store::fleet::silence_max;
use crate::store::follow::Standing;
use crate::store::queue::CancelOutcome;
use crate::token::Role;
use crate::version::constraint::Constraint;

/// More seconds than this are no time anybody means.
const SECONDS_MAX: f64 = 1e9;

/// More characters than this has no idempotency key.
const KEY_MAX: usize = 255;

/// Which executions are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this action.
    action: Option<String>,
    /// Only those of actions of this pack.
    pack: Option<String>,
    /// Only those whose identifier begins so, with hyphens or without.
    id: Option<String>,
    /// Only those with this status.
    #[param(value_type = Option<Status>)]
    status: Option<String>,
}

/// An execution in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExecutionSummary {
    #[schema(value_type = String, format = Uuid)]
    id: String,
    action: String,
    status: Status,
    runtime: Option<String>,
    /// Exact version of the installation.
    selected_version: Option<String>,
    worker: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

/// What was asked to run, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Execution {
    #[serde(flatten)]
    summary: ExecutionSummary,
    pack_digest: String,
    /// Why it is where it is.
    reason: Option<String>,
    /// Why it waits, while it does.
    waiting: Option<Waiting>,
    /// How often it was started.
    attempt: i64,
    /// How often it is tried again if it fails.
    retries: i64,
    /// How often it was given to another worker since the one that had it was lost.
    rescues: i64,
    /// Whether it came through the queue.
    queued: bool,
    priority: i64,
    /// Not before.
    run_at: DateTime<Utc>,
    /// Not to be started any more after this.
    deadline_at: Option<DateTime<Utc>>,
    cancel_requested: bool,
    parameters: Value,
    /// The constraint that was asked for; empty for none.
    runtime_version_constraint: Option<String>,
    /// What people call the runtime, while it is installed.
    runtime_label: Option<String>,
    /// Label of the version of the runtime that covers the installation.
    runtime_version: Option<String>,
    installation_path: Option<String>,
    /// Where the installation was found, while its worker has it.
    installation_source: Option<String>,
    environment_key: Option<String>,
    environment_path: Option<String>,
    /// SHA-256 of the component that served it.
    plugin_digest: Option<String>,
    sandbox: Option<String>,
    /// Every candidate, and the reason why it was chosen or was not.
    selection: Option<Value>,
    warnings: Vec<String>,
    result: Option<Value>,
    exit_code: Option<i64>,
    /// What went wrong; while it waits or runs, in the attempt before.
    error: Option<Failure>,
    /// Whether a process of the action's outlived it, and printed on.
    output_incomplete: bool,
    /// Milliseconds by stage, in their order.
    #[serde(serialize_with = "object")]
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    timings: Vec<(String, f64)>,
}

/// What went wrong with an execution.
#[derive(Debug, Serialize, ToSchema)]
struct Failure {
    class: String,
    message: String,
}

impl Listed for ExecutionSummary {
    const KEYS: &'static [SortKey<Self>] = &[("created_at", |execution| (&execution.created_at).into())];
    const DEFAULT: &'static str = "-created_at";

    fn identity(&self) -> String {
        self.id.clone()
    }
}

impl From<ExecutionRow> for ExecutionSummary {
    fn from(row: ExecutionRow) -> Self {
        Self {
            id: row.id.to_string(),
            action: row.action.to_string(),
            status: row.status,
            runtime: row.runtime,
            selected_version: row.selected_version,
            worker: row.worker,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

impl From<&Standing> for ExecutionSummary {
    fn from(standing: &Standing) -> Self {
        Self {
            id: standing.id.to_string(),
            action: standing.action.to_string(),
            status: standing.status,
            runtime: standing.runtime.clone(),
            selected_version: standing.selected_version.clone(),
            worker: standing.worker.clone(),
            created_at: standing.created_at,
            started_at: standing.started_at,
            finished_at: standing.finished_at,
        }
    }
}

impl From<ExecutionRow> for Execution {
    fn from(row: ExecutionRow) -> Self {
        let error = row
            .error()
            .map(|(class, message)| Failure { class: class.to_owned(), message: message.to_owned() });
        Self {
            pack_digest: row.pack_digest.clone(),
            reason: row.reason.clone(),
            waiting: None,
            attempt: row.attempt,
            retries: row.retries,
            rescues: row.rescues,
            queued: row.queued,
            priority: row.priority,
            run_at: row.run_at,
            deadline_at: row.deadline_at,
            cancel_requested: row.cancel_requested,
            parameters: row.parameters.clone(),
            runtime_version_constraint: row.constraint.clone(),
            runtime_label: row.runtime_label.clone(),
            runtime_version: row.runtime_version.clone(),
            installation_path: row.installation_path.clone(),
            installation_source: row.installation_source.clone(),
            environment_key: row.environment_key.clone(),
            environment_path: row.environment_path.clone(),
            plugin_digest: row.plugin_digest.clone(),
            sandbox: row.sandbox.clone(),
            selection: row.selection.clone(),
            warnings: row.warnings.clone(),
            result: row.result.clone(),
            exit_code: row.exit_code,
            error,
            output_incomplete: row.output_incomplete,
            timings: row.timings.clone(),
            summary: row.into(),
        }
    }
}

/// What is to be run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewExecution {
    #[schema(example = "core.echo")]
    action: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// Instead of the action's own.
    #[schema(example = ">=3.12")]
    runtime_version_constraint: Option<String>,
    /// Seconds, instead of the action's own.
    #[schema(minimum = 0)]
    timeout: Option<f64>,
    /// Of two executions of a pack, the one with the higher priority comes first; a minute of waiting counts like one.
    #[serde(default)]
    priority: i64,
    /// Seconds from now, not before.
    #[serde(default)]
    #[schema(minimum = 0)]
    delay: f64,
    /// Seconds from now, not later.
    #[schema(minimum = 0)]
    deadline: Option<f64>,
}

/// An execution that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queued {
    #[schema(value_type = String, format = Uuid)]
    id: String,
    /// Whether it had been asked for before, under the same `Idempotency-Key`.
    known: bool,
}

/// What was put into the queue, or would be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum QueuedOrOutlook {
    Queued(Queued),
    Outlook(Box<Outlook>),
}

/// What became of an execution that somebody changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    #[schema(value_type = String, format = Uuid)]
    id: String,
    status: Status,
}

/// A piece of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Piece {
    sequence: i64,
    stream: LogStream,
    /// Bytes that are no UTF-8 are replaced.
    text: String,
}

impl Listed for Piece {
    const KEYS: &'static [SortKey<Self>] = &[("sequence", |piece| (&piece.sequence).into())];

    fn identity(&self) -> String {
        self.sequence.to_string()
    }
}

fn seconds(field: &str, seconds: f64) -> Result<Duration, Problem> {
    if (0.0..=SECONDS_MAX).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(Problem::invalid(field, format!("these are seconds, from 0 to {SECONDS_MAX}")))
    }
}

pub(super) async fn find(api: &Api, caller: &Caller, text: &str) -> Result<ExecutionRow, Problem> {
    let none = || Problem::not_found(format!("there is no execution `{text}`"));
    let id = text.parse::<ExecutionId>().map_err(|_| none())?;
    let row = api.worker.store.execution(id).await?.ok_or_else(none)?;
    caller.sees(row.action.pack())?;
    Ok(row)
}

/// List executions
#[utoipa::path(get, path = "/executions", tag = "executions", operation_id = "list_executions", params(Filter, Wanted<ExecutionSummary>),
    responses((status = 200, body = Page<ExecutionSummary>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted<ExecutionSummary>>,
) -> Result<Json<Page<ExecutionSummary>>, Problem> {
    let action = filter.action.as_deref().map(str::parse::<ActionRef>).transpose();
    let action = action.map_err(|error| Problem::invalid("query/action", error.to_string()))?;
    let pack = caller.pack(filter.pack.as_deref())?;
    let prefix = filter.id.as_deref().map(str::parse::<IdPrefix>).transpose();
    let prefix = prefix.map_err(|error| Problem::invalid("query/id", error.to_string()))?;
    let status = filter.status.as_deref().map(str::parse::<Status>).transpose();
    let status = status.map_err(|error| Problem::invalid("query/status", error.to_string()))?;
    let cut = page.read()?;
    let wanted = ExecutionsFilter { action: action.as_ref(), pack: pack.as_ref(), status, prefix };
    let standings = api.worker.store.executions_listed(&wanted, &cut.slice()?).await?;
    Ok(Json(cut.page(standings.iter().map(ExecutionSummary::from).collect())))
}

/// Show an execution
#[utoipa::path(get, path = "/executions/{id}", tag = "executions", operation_id = "show_execution",
    params(("id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = Execution), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Execution>, Problem> {
    let row = find(&api, &caller, &id).await?;
    let store = &api.worker.store;
    let waiting = match row.status {
        Status::Queued => Some(waiting(store, &row, silence_max(api.worker.settings.lease)).await?),
        _ => None,
    };
    Ok(Json(Execution { waiting, ..row.into() }))
}

/// Show what an execution returned, as it is
#[utoipa::path(get, path = "/executions/{id}/result", tag = "executions", operation_id = "show_result",
    params(("id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = Value), (status = 409, description = "It has not ended", body = Problem, content_type = "application/problem+json"),
        problem::Every, problem::NotFound))]
pub(super) async fn result(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Option<Value>>, Problem> {
    let row = find(&api, &caller, &id).await?;
    if row.finished_at.is_none() {
        return Err(Problem::conflict("not-ended", format!("it is {}", row.status)));
    }
    Ok(Json(row.result))
}

/// Have a worker run an action
#[utoipa::path(post, path = "/executions", tag = "executions", operation_id = "enqueue",
    params(DryRun, ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Asking twice under one key is asking once")),
    request_body = NewExecution,
    responses((status = 201, body = Queued, headers(("Location" = String))),
        (status = 200, body = QueuedOrOutlook, description = "It was asked for before; or, in a dry run, what would be queued"),
        problem::Every, problem::Changes))]
pub(super) async fn enqueue(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(DryRun { dry_run }): Query<DryRun>,
    headers: HeaderMap,
    Body(new): Body<NewExecution>,
) -> Result<Response, Problem> {
    let action = new.action.parse::<ActionRef>();
    let action = action.map_err(|error| Problem::invalid("/action", error.to_string()))?;
    caller.needs_in(Role::Operator, action.pack())?;
    let constraint = new.runtime_version_constraint.as_deref().map(Constraint::parse).transpose();
    let constraint =
        constraint.map_err(|error| Problem::constraint("/runtime_version_constraint", &error))?;
    let request = Request {
        action,
        parameters: Given { values: new.parameters, ..Given::default() },
        constraint,
        timeout: new.timeout.map(|timeout| seconds("/timeout", timeout)).transpose()?,
        secrets_file: None,
        since: Instant::now(),
    };
    let terms = Terms {
        priority: new.priority,
        delay: seconds("/delay", new.delay)?,
        deadline: new.deadline.map(|deadline| seconds("/deadline", deadline)).transpose()?,
        idempotency_key: idempotency_key(&headers)?,
    };
    if dry_run {
        let outlook = outlook(&api.asker, &request, &terms).await?;
        return Ok(Json(QueuedOrOutlook::Outlook(Box::new(outlook))).into_response());
    }
    let queued = match put(&api.asker, &request, &terms).await {
        Err(QueueError::Ask(error @ AskError::NoAction { .. })) => {
            let hint = programs::nearest::<pack::Action>(&api, &caller, &new.action).await;
            return Err(Problem::from(error).hinted(hint));
        }
        queued => queued?,
    };
    let (id, known) = (queued.id.to_string(), queued.known);
    let body = Json(QueuedOrOutlook::Queued(Queued { id: id.clone(), known }));
    Ok(if known { body.into_response() } else { Created::new(["executions", &id], body).into_response() })
}

/// The key under which asking twice is asking once.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong = || {
        let detail = format!("a key has 1 to {KEY_MAX} visible ASCII characters");
        Problem::invalid("header/Idempotency-Key", detail).hint("a random UUID is one that nobody else has")
    };
    let key = key.to_str().map_err(|_| wrong())?;
    if key.is_empty() || key.len() > KEY_MAX { Err(wrong()) } else { Ok(Some(key.to_owned())) }
}

/// End an execution: at once if it waits, in good order if a worker runs it
#[utoipa::path(post, path = "/executions/{id}/cancel", tag = "executions", operation_id = "cancel",
    params(("id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = Changed), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Changed>, Problem> {
    let row = find(&api, &caller, &id).await?;
    caller.needs_in(Role::Operator, row.action.pack())?;
    let status = match api.worker.store.cancel_execution(row.id).await? {
        CancelOutcome::Cancelled => Status::Cancelled,
        CancelOutcome::Requested => {
            api.worker.store.ring(Bell::Queue).await;
            Status::Running
        }
        CancelOutcome::Ended(status) => status,
        CancelOutcome::Unknown => return Err(Problem::not_found(format!("there is no execution `{id}`"))),
        CancelOutcome::Direct => {
            return Err(Problem::conflict(
                "not-queued",
                "it was started by `attune run`, and ends with that command",
            ));
        }
    };
    Ok(Json(Changed { id: row.id.to_string(), status }))
}

/// Put an execution that has ended back into the queue, with the same parameters
#[utoipa::path(post, path = "/executions/{id}/retry", tag = "executions", operation_id = "retry",
    params(("id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = Changed), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Changed>, Problem> {
    let row = find(&api, &caller, &id).await?;
    caller.needs_in(Role::Operator, row.action.pack())?;
    if !api.worker.store.retry_execution(row.id).await? {
        let why = if row.queued {
            "it has not ended yet"
        } else {
            "it was not queued, but started by `attune run`"
        };
        return Err(Problem::conflict("not-ended", why));
    }
    api.worker.store.ring(Bell::Queue).await;
    Ok(Json(Changed { id: row.id.to_string(), status: Status::Queued }))
}

/// Which part of a log is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogFilter {
    /// Of the last one unless given.
    attempt: Option<i64>,
}

/// Show what an execution printed
#[utoipa::path(get, path = "/executions/{id}/log", tag = "executions", operation_id = "log",
    params(("id" = String, Path, description = "Its identifier"), LogFilter, Wanted<Piece>),
    responses((status = 200, body = Page<Piece>), problem::Every, problem::NotFound))]
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(filter): Query<LogFilter>,
    Query(page): Query<Wanted<Piece>>,
) -> Result<Json<Page<Piece>>, Problem> {
    let row = find(&api, &caller, &id).await?;
    if let Some(attempt) = filter.attempt.filter(|attempt| !(1..=row.attempt).contains(attempt)) {
        let hint = format!("attempts are counted from 1; there are {} so far", row.attempt);
        return Err(Problem::not_found(format!("there is no attempt {attempt} of it")).hint(hint));
    }
    let attempt = Attempt { id: row.id, number: filter.attempt.unwrap_or(row.attempt) };
    let cut = page.read()?;
    let pieces = api.worker.store.execution_log(attempt, &cut.slice()?).await?;
    let pieces = pieces.into_iter().map(|(sequence, chunk)| Piece {
        sequence,
        stream: chunk.stream,
        text: String::from_utf8_lossy(&chunk.bytes).into_owned(),
    });
    Ok(Json(cut.page(pieces.collect())))
}
