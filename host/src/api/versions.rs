//! Versions of runtimes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::access::Caller;
use super::body::Body;
use super::page::{Key, Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::query::Query;
use super::runtimes::find;
use super::state::{Created, IfMatch, MayMatch, Tagged};
use crate::pack::DeclaredVersion;
use crate::reference::RuntimeRef;
use crate::store::runtime_version::{RuntimeVersionRow, VersionFilter};
use crate::token::Role;
use crate::version::Series;

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
    meta: BTreeMap<String, String>,
}

impl Listed for Version {
    const KEYS: &'static [SortKey<Self>] = &[
        ("version", |version| match version.version.parse::<Series>() {
            Ok(series) => Key::Version(series.floor()),
            Err(_) => (&version.version).into(),
        }),
        ("verified_at", |version| version.verified_at.as_ref().into()),
    ];
    const DEFAULT: &'static str = "-version";

    fn identity(&self) -> String {
        self.version.clone()
    }
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

/// A version to be registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewVersion {
    /// `3.12`, for instance.
    version: String,
    /// `eol`, `lts` and the like.
    #[serde(default)]
    meta: BTreeMap<String, String>,
}

/// What of a version is to be another; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionChange {
    /// `eol`, `lts` and the like; all of them.
    meta: Option<BTreeMap<String, String>>,
    /// For whoever knows before the workers do: what they have installed overrules it with their next change.
    available: Option<bool>,
}

/// List the versions of a runtime
#[utoipa::path(get, path = "/runtimes/{ref}/versions", tag = "runtimes", operation_id = "list_versions",
    params(("ref" = String, Path, description = "The runtime's reference"), Wanted<Version>),
    responses((status = 200, body = Page<Version>), problem::Every, problem::NotFound))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
    Query(page): Query<Wanted<Version>>,
) -> Result<Json<Page<Version>>, Problem> {
    let cut = page.read()?;
    let runtime = find(&api, &reference).await?;
    let filter = VersionFilter { runtime: Some(runtime.id), ..VersionFilter::default() };
    let versions = api.worker.store.runtime_versions(filter).await?;
    Ok(Json(cut.page_of(versions.into_iter().map(Version::from).collect())))
}

/// Register a version of a runtime
///
/// It is verified and run as the runtime says, and stays when the pack is installed again.
#[utoipa::path(post, path = "/runtimes/{ref}/versions", tag = "runtimes", operation_id = "register_version",
    params(("ref" = String, Path, description = "The runtime's reference")),
    request_body = NewVersion,
    responses((status = 201, body = Version, headers(("ETag" = String), ("Location" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn register(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    Body(new): Body<NewVersion>,
) -> Result<Created<Tagged<Version>>, Problem> {
    let row = find(&api, &reference).await?;
    let runtime = row.runtime.reference;
    caller.needs_in(Role::Author, runtime.pack())?;
    let version = new.version.trim().to_owned();
    let declared = DeclaredVersion {
        version: version.clone(),
        is_default: false,
        execution_config: row.runtime.execution_config,
        distributions: row.runtime.distributions,
        meta: new.meta,
    };
    api.worker.store.create_runtime_version(&runtime, &declared).await?;
    let made = tagged(&api, &runtime, &version).await?;
    Ok(Created::new(["runtimes", &runtime.to_string(), "versions", &version], made))
}

async fn find_row(api: &Api, runtime: &RuntimeRef, version: &str) -> Result<RuntimeVersionRow, Problem> {
    let row = api.worker.store.runtime_version(runtime, version).await?;
    row.ok_or_else(|| Problem::not_found(format!("there is no version `{version}` of `{runtime}`")))
}

/// A version in the state in which it is now.
pub(super) async fn tagged(
    api: &Api,
    runtime: &RuntimeRef,
    version: &str,
) -> Result<Tagged<Version>, Problem> {
    let row = find_row(api, runtime, version).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Show a version of a runtime
#[utoipa::path(get, path = "/runtimes/{ref}/versions/{version}", tag = "runtimes", operation_id = "show_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path)),
    responses((status = 200, body = Version, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path((reference, version)): Path<(String, String)>,
) -> Result<Tagged<Version>, Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    tagged(&api, &runtime, &version).await
}

/// Change a version of a runtime
#[utoipa::path(patch, path = "/runtimes/{ref}/versions/{version}", tag = "runtimes", operation_id = "change_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path), IfMatch),
    request_body = VersionChange,
    responses((status = 200, body = Version, headers(("ETag" = String))), problem::Every, problem::Changes, problem::Updates, problem::NotFound))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((reference, version)): Path<(String, String)>,
    state: IfMatch,
    Body(change): Body<VersionChange>,
) -> Result<Tagged<Version>, Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    caller.needs_in(Role::Author, runtime.pack())?;
    let row = find_row(&api, &runtime, &version).await?;
    let expected = Some(state.of(row.revision)?);
    let store = &api.worker.store;
    match (change.meta, change.available) {
        (None, Some(available)) => {
            store.set_availability(&runtime, &version, (available, None), expected).await?;
        }
        (meta, available) => {
            let meta = meta.unwrap_or_else(|| row.declared.meta.clone());
            let changed = DeclaredVersion { meta, ..row.declared };
            store.update_runtime_version(&runtime, &changed, available, expected).await?;
        }
    }
    tagged(&api, &runtime, &version).await
}

/// Delete a version of a runtime
#[utoipa::path(delete, path = "/runtimes/{ref}/versions/{version}", tag = "runtimes", operation_id = "delete_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path), MayMatch),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((reference, version)): Path<(String, String)>,
    state: MayMatch,
) -> Result<StatusCode, Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    caller.needs_in(Role::Author, runtime.pack())?;
    let expected = state.of(find_row(&api, &runtime, &version).await?.revision)?;
    api.worker.store.delete_runtime_version(&runtime, &version, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a version the default of its runtime
#[utoipa::path(post, path = "/runtimes/{ref}/versions/{version}/default", tag = "runtimes", operation_id = "set_default_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path), MayMatch),
    responses((status = 200, body = Version, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn set_default(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((reference, version)): Path<(String, String)>,
    state: MayMatch,
) -> Result<Tagged<Version>, Problem> {
    let runtime = find(&api, &reference).await?.runtime.reference;
    caller.needs_in(Role::Author, runtime.pack())?;
    let expected = state.of(find_row(&api, &runtime, &version).await?.revision)?;
    api.worker.store.set_default_version(&runtime, &version, expected).await?;
    tagged(&api, &runtime, &version).await
}
