//! Workers, and what they built.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::page::{Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::query::Query;
use crate::store::environment::EnvironmentRow;
use crate::store::fleet::{WorkerRow, silence_max};
use crate::store::worker;
use crate::token::Role;

/// A process that takes executions, or did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Worker {
    name: String,
    host: String,
    /// As it is on record.
    status: String,
    /// What somebody wants of it: `cordoned` or `drained`.
    wanted: Option<worker::Wanted>,
    /// Whether it gave a sign of life of late.
    live: bool,
    /// How many executions it runs at a time.
    slots: i64,
    /// How many it runs now.
    running: i64,
    /// Of its program.
    version: String,
    heartbeat_at: DateTime<Utc>,
    /// What it has installed and verified.
    installed: Vec<Installed>,
}

/// What a worker has of a runtime.
#[derive(Debug, Serialize, ToSchema)]
struct Installed {
    runtime: String,
    /// The newest first.
    versions: Vec<String>,
}

impl Listed for Worker {
    const KEYS: &'static [SortKey<Self>] = &[
        ("name", |worker| (&worker.name).into()),
        ("heartbeat_at", |worker| (&worker.heartbeat_at).into()),
        ("running", |worker| (&worker.running).into()),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }
}

impl From<WorkerRow> for Worker {
    fn from(row: WorkerRow) -> Self {
        let installed = row.installed.into_iter();
        Self {
            name: row.name,
            host: row.host,
            status: row.status,
            wanted: row.wanted,
            live: row.is_live,
            slots: row.slots,
            running: row.running,
            version: row.version,
            heartbeat_at: row.heartbeat_at,
            installed: installed
                .map(|(runtime, versions)| Installed { runtime: runtime.to_string(), versions })
                .collect(),
        }
    }
}

/// List the workers
#[utoipa::path(get, path = "/workers", tag = "workers", operation_id = "list_workers", params(Wanted<Worker>),
    responses((status = 200, body = Page<Worker>), problem::Every))]
pub(super) async fn workers(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(page): Query<Wanted<Worker>>,
) -> Result<Json<Page<Worker>>, Problem> {
    let cut = page.read()?;
    let workers = api.worker.store.workers(silence_max(api.worker.settings.lease)).await?;
    Ok(Json(cut.page_of(workers.into_iter().map(Worker::from).collect())))
}

/// Which environments are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this worker.
    worker: Option<String>,
    /// Only those of this pack.
    pack: Option<String>,
}

/// What a worker built for the dependencies of a pack.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Environment {
    worker: String,
    pack: String,
    runtime: String,
    /// Of the version that it is for; empty for the base environment.
    runtime_version: String,
    /// The folder of the pack that the dependencies are for; empty for its root.
    scope: String,
    path: String,
    /// What it is built with.
    installation: String,
    /// `building`, `ready`, `failed` or `broken`.
    status: String,
    /// Bytes on the disk when it was built.
    size: Option<i64>,
    /// Why it failed.
    error: Option<String>,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
}

impl Listed for Environment {
    const KEYS: &'static [SortKey<Self>] = &[
        ("worker", |environment| (&environment.worker).into()),
        ("pack", |environment| (&environment.pack).into()),
        ("size", |environment| environment.size.as_ref().into()),
        ("created_at", |environment| (&environment.created_at).into()),
        ("last_used_at", |environment| (&environment.last_used_at).into()),
    ];

    fn identity(&self) -> String {
        format!("{}\n{}", self.worker, self.path)
    }
}

impl Environment {
    fn new(worker: String, row: EnvironmentRow) -> Self {
        Self {
            worker,
            pack: row.pack,
            runtime: row.runtime,
            runtime_version: row.runtime_version,
            scope: row.scope,
            path: row.path,
            installation: row.installation,
            status: row.status,
            size: row.size,
            error: row.error,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// List the environments
#[utoipa::path(get, path = "/environments", tag = "workers", operation_id = "list_environments", 
    params(Filter, Wanted<Environment>),
    responses((status = 200, body = Page<Environment>), problem::Every))]
pub(super) async fn environments(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted<Environment>>,
) -> Result<Json<Page<Environment>>, Problem> {
    let cut = page.read()?;
    let pack = caller.pack(filter.pack.as_deref())?;
    let all = api.worker.store.environments_everywhere().await?.into_iter();
    let wanted = all.filter(|(worker, row)| {
        filter.worker.as_ref().is_none_or(|wanted| wanted == worker)
            && pack.as_ref().is_none_or(|pack| pack.as_str() == row.pack)
    });
    Ok(Json(cut.page_of(wanted.map(|(worker, row)| Environment::new(worker, row)).collect())))
}

async fn find(api: &Api, name: &str) -> Result<WorkerRow, Problem> {
    let workers = api.worker.store.workers(silence_max(api.worker.settings.lease)).await?;
    let found = workers.into_iter().find(|worker| worker.name == name);
    found.ok_or_else(|| Problem::not_found(format!("there is no worker `{name}`")))
}

/// Show a worker
#[utoipa::path(get, path = "/workers/{name}", tag = "workers", operation_id = "show_worker",
    params(("name" = String, Path)),
    responses((status = 200, body = Worker), problem::Every, problem::NotFound))]
pub(super) async fn worker(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(name): Path<String>,
) -> Result<Json<Worker>, Problem> {
    Ok(Json(find(&api, &name).await?.into()))
}

async fn want(
    api: &Api,
    caller: &Caller,
    name: &str,
    wanted: Option<worker::Wanted>,
) -> Result<Json<Worker>, Problem> {
    caller.needs(Role::Admin)?;
    find(api, name).await?;
    api.worker.store.want_of_worker(name, wanted).await?;
    Ok(Json(find(api, name).await?.into()))
}

/// Have a worker take nothing more, also after it was started again; what it runs goes on
#[utoipa::path(post, path = "/workers/{name}/cordon", tag = "workers", operation_id = "cordon_worker",
    params(("name" = String, Path)),
    responses((status = 200, body = Worker), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn cordon(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Worker>, Problem> {
    want(&api, &caller, &name, Some(worker::Wanted::Cordoned)).await
}

/// Have a worker take executions again
#[utoipa::path(post, path = "/workers/{name}/uncordon", tag = "workers", operation_id = "uncordon_worker",
    params(("name" = String, Path)),
    responses((status = 200, body = Worker), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn uncordon(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Worker>, Problem> {
    want(&api, &caller, &name, None).await
}

/// Have a worker take nothing more, and end when what it runs has ended
#[utoipa::path(post, path = "/workers/{name}/drain", tag = "workers", operation_id = "drain_worker",
    params(("name" = String, Path)),
    responses((status = 200, body = Worker), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn drain(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Worker>, Problem> {
    want(&api, &caller, &name, Some(worker::Wanted::Drained)).await
}
