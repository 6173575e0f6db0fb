//! Runtimes and their versions.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::access::Caller;
use super::body::{Body, Tagged, expected};
use super::page::Page;
use super::problem::{self, Problem};
use crate::pack::{DeclaredVersion, Distributions, ExecutionConfig};
use crate::reference::RuntimeRef;
use crate::store::bell::Bell;
use crate::store::runtime::RuntimeRow;
use crate::store::runtime_version::{RuntimeVersionRow, VersionFilter};
use crate::token::Role;

/// A language, and what of it can be used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runtime {
    r#ref: String,
    label: String,
    description: Option<String>,
    /// Other names for it.
    aliases: Vec<String>,
    /// Words that stand for constraints, each with its constraint.
    constraint_aliases: Vec<(String, String)>,
    /// SHA-256 of the component that serves it; none if it needs none.
    component: Option<String>,
    /// Whether the operator approved what that may do.
    approved: bool,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
    versions: Vec<Version>,
}

/// A version of a runtime.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, clippy::struct_excessive_bools, reason = "a document, not a state")]
pub(super) struct Version {
    runtime: String,
    /// As declared, `3.12` for instance.
    version: String,
    is_default: bool,
    /// Whether it is declared, or was only found.
    declared: bool,
    /// Whether a live worker has an installation of it that was verified.
    available: bool,
    verified_at: Option<DateTime<Utc>>,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
    /// `eol`, `lts` and the like.
    meta: std::collections::BTreeMap<String, String>,
}

impl From<RuntimeVersionRow> for Version {
    fn from(row: RuntimeVersionRow) -> Self {
        Self {
            runtime: row.runtime.to_string(),
            version: row.declared.version,
            is_default: row.declared.is_default,
            declared: row.is_declared,
            available: row.available,
            verified_at: row.verified_at,
            ad_hoc: row.ad_hoc,
            meta: row.declared.meta,
        }
    }
}

impl From<RuntimeRow> for Runtime {
    fn from(row: RuntimeRow) -> Self {
        Self {
            r#ref: row.runtime.reference.to_string(),
            label: row.runtime.label,
            description: row.runtime.description,
            aliases: row.runtime.aliases,
            constraint_aliases: row.constraint_aliases,
            approved: row.plugin.as_ref().is_some_and(|plugin| plugin.approved.is_some()),
            component: row.plugin.map(|plugin| plugin.sha256),
            ad_hoc: row.ad_hoc,
            versions: row.versions.into_iter().map(Version::from).collect(),
        }
    }
}

/// A version to be registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewVersion {
    /// `3.12`, for instance.
    version: String,
    /// `eol`, `lts` and the like.
    #[serde(default)]
    meta: std::collections::BTreeMap<String, String>,
}

fn none(reference: &str) -> Problem {
    Problem::not_found(format!("there is no runtime `{reference}`"))
}

async fn find(api: &Api, text: &str) -> Result<RuntimeRow, Problem> {
    let reference = text.parse::<RuntimeRef>().map_err(|_| none(text))?;
    api.worker.store.runtime(&reference).await?.ok_or_else(|| none(text))
}

/// List the runtimes, by reference
#[utoipa::path(get, path = "/runtimes", tag = "runtimes", operation_id = "list_runtimes",
    responses((status = 200, body = Page<Runtime>), problem::Every))]
pub(super) async fn list(State(api): State<Arc<Api>>, _: Caller) -> Result<Json<Page<Runtime>>, Problem> {
    let runtimes = api.worker.store.runtimes().await?;
    Ok(Json(Page::whole(runtimes.into_iter().map(Runtime::from).collect())))
}

/// Show a runtime
#[utoipa::path(get, path = "/runtimes/{ref}", tag = "runtimes", operation_id = "show_runtime",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Runtime, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Runtime>, Problem> {
    let row = find(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// List the versions of a runtime, the newest first
#[utoipa::path(get, path = "/runtimes/{ref}/versions", tag = "runtimes", operation_id = "list_versions",
    params(("ref" = String, Path, description = "The runtime's reference")),
    responses((status = 200, body = Page<Version>), problem::Every, problem::NotFound))]
pub(super) async fn versions(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Json<Page<Version>>, Problem> {
    let runtime = find(&api, &reference).await?;
    let filter = VersionFilter { runtime: Some(runtime.id), ..VersionFilter::default() };
    let versions = api.worker.store.runtime_versions(filter).await?;
    Ok(Json(Page::whole(versions.into_iter().map(Version::from).collect())))
}

/// Register a version of a runtime
#[utoipa::path(post, path = "/runtimes/{ref}/versions", tag = "runtimes", operation_id = "register_version",
    params(("ref" = String, Path, description = "The runtime's reference")),
    request_body = NewVersion,
    responses((status = 201, body = Version, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn register(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    Body(new): Body<NewVersion>,
) -> Result<(StatusCode, Tagged<Version>), Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    caller.needs_in(Role::Author, runtime.pack())?;
    let declared = DeclaredVersion {
        version: new.version.clone(),
        is_default: false,
        execution_config: ExecutionConfig::default(),
        distributions: Distributions::default(),
        meta: new.meta,
    };
    api.worker.store.create_runtime_version(&runtime, &declared).await?;
    api.worker.store.ring(Bell::Runnable).await;
    Ok((StatusCode::CREATED, find_version(&api, &runtime, &new.version).await?))
}

async fn find_version(api: &Api, runtime: &RuntimeRef, version: &str) -> Result<Tagged<Version>, Problem> {
    let row = api
        .worker
        .store
        .runtime_version(runtime, version)
        .await?
        .ok_or_else(|| Problem::not_found(format!("there is no version `{version}` of `{runtime}`")))?;
    Ok(Tagged(row.revision, row.into()))
}

/// Show a version of a runtime
#[utoipa::path(get, path = "/runtimes/{ref}/versions/{version}", tag = "runtimes", operation_id = "show_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path)),
    responses((status = 200, body = Version, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn version(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path((reference, version)): Path<(String, String)>,
) -> Result<Tagged<Version>, Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    find_version(&api, &runtime, &version).await
}

/// Delete a version of a runtime
#[utoipa::path(delete, path = "/runtimes/{ref}/versions/{version}", tag = "runtimes", operation_id = "delete_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((reference, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    caller.needs_in(Role::Author, runtime.pack())?;
    api.worker.store.delete_runtime_version(&runtime, &version, expected(&headers)?).await?;
    api.worker.store.ring(Bell::Runnable).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a version the default of its runtime
#[utoipa::path(post, path = "/runtimes/{ref}/versions/{version}/default", tag = "runtimes", operation_id = "set_default_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    responses((status = 200, body = Version, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn set_default(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((reference, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Tagged<Version>, Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    caller.needs_in(Role::Author, runtime.pack())?;
    api.worker.store.set_default_version(&runtime, &version, expected(&headers)?).await?;
    api.worker.store.ring(Bell::Runnable).await;
    find_version(&api, &runtime, &version).await
}
