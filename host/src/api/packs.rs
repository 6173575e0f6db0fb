//! Packs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::access::Caller;
use super::page::Page;
use super::problem::{self, Problem};
use crate::reference::PackRef;
use crate::store::pack::PackRow;

/// A pack that is installed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pack {
    r#ref: String,
    label: String,
    description: Option<String>,
    version: String,
    author: Option<String>,
    tags: Vec<String>,
    /// How many of its queued executions run at a time.
    concurrency: Option<i64>,
    /// What its configuration is, as a JSON Schema.
    config_schema: Option<serde_json::Value>,
    /// SHA-256 of the bundle.
    digest: String,
    /// Where it was installed from.
    source: String,
    installed_at: DateTime<Utc>,
    /// The trusted key that it was signed with.
    verified_by: Option<String>,
    /// Whether its lock names the digests of its components.
    locked: bool,
}

impl From<PackRow> for Pack {
    fn from(row: PackRow) -> Self {
        Self {
            r#ref: row.reference.to_string(),
            label: row.label,
            description: row.description,
            version: row.version,
            author: row.author,
            tags: row.tags,
            concurrency: row.concurrency,
            config_schema: row.config_schema,
            digest: row.digest,
            source: row.source,
            installed_at: row.installed_at,
            verified_by: row.verified_by,
            locked: row.locked,
        }
    }
}

/// List the installed packs, by reference
#[utoipa::path(get, path = "/packs", tag = "packs", operation_id = "list_packs",
    responses((status = 200, body = Page<Pack>), problem::Every))]
pub(super) async fn list(State(api): State<Arc<Api>>, _: Caller) -> Result<Json<Page<Pack>>, Problem> {
    let packs = api.worker.store.packs().await?;
    Ok(Json(Page::whole(packs.into_iter().map(Pack::from).collect())))
}

/// Show a pack
#[utoipa::path(get, path = "/packs/{ref}", tag = "packs", operation_id = "show_pack",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Pack), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Json<Pack>, Problem> {
    let none = || Problem::not_found(format!("there is no pack `{reference}`"));
    let known = reference.parse::<PackRef>().map_err(|_| none())?;
    Ok(Json(api.worker.store.pack(&known).await?.ok_or_else(none)?.into()))
}
