//! Workers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::access::Caller;
use super::page::Page;
use super::problem::{self, Problem};
use crate::store::fleet::{WorkerRow, silence_max};

/// A process that takes executions, or did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Worker {
    name: String,
    host: String,
    /// As it is on record.
    status: String,
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

impl From<WorkerRow> for Worker {
    fn from(row: WorkerRow) -> Self {
        let installed = row.installed.into_iter();
        Self {
            name: row.name,
            host: row.host,
            status: row.status,
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

/// List the workers, by name
#[utoipa::path(get, path = "/workers", tag = "workers", operation_id = "list_workers",
    responses((status = 200, body = Page<Worker>), problem::Every))]
pub(super) async fn workers(State(api): State<Arc<Api>>, _: Caller) -> Result<Json<Page<Worker>>, Problem> {
    let workers = api.worker.store.workers(silence_max(api.worker.settings.lease)).await?;
    Ok(Json(Page::whole(workers.into_iter().map(Worker::from).collect())))
}
