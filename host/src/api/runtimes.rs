//! Runtimes, and what their components may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::{Body, Tagged, expected, typed};
use super::change::{Change, Changeable, merged, written};
use super::page::{Listed, Page, Query, SortKey, Wanted};
use super::problem::{self, Problem};
use super::programs::{self, surroundings};
use super::versions::Version;
use crate::pack::install::{self, Approve};
use crate::pack::{self, Grants};
use crate::reference::RuntimeRef;
use crate::store::change::{ChangeError, Kind};
use crate::store::denial::DenialRow;
use crate::store::runtime::RuntimeRow;
use crate::token::Role;

/// A language, as a file of a pack declares it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct NewRuntime {
    /// Pack and name.
    #[schema(example = "tools.own")]
    r#ref: String,
    label: Option<String>,
    description: Option<String>,
    /// Other names for it.
    #[serde(default)]
    aliases: Vec<String>,
    /// The component that serves it: `component` as `pack.component`, `grants`, `settings`.
    #[schema(value_type = Option<Object>)]
    plugin: Option<Value>,
    /// How installations are verified.
    #[schema(value_type = Option<Object>)]
    distributions: Option<Value>,
    /// How things are run, and environments built.
    #[schema(value_type = Option<Object>)]
    execution_config: Option<Value>,
    /// Each complete, with an `execution_config` of its own.
    #[schema(value_type = Option<Vec<Object>>)]
    versions: Option<Value>,
}

type RuntimeChange = Change<NewRuntime>;

impl Changeable for NewRuntime {
    const FIXED: &'static [&'static str] = &["ref", "plugin", "versions"];
}

/// Whether what a component asks for is allowed with it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Options {
    /// Allow what the component asks for.
    #[serde(default)]
    #[param(default = false)]
    approve: bool,
}

/// A language, and what of it can be used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runtime {
    r#ref: String,
    label: String,
    description: Option<String>,
    /// Other names for it.
    aliases: Vec<String>,
    /// Words that stand for constraints, each with its constraint.
    constraint_aliases: BTreeMap<String, String>,
    /// SHA-256 of the component that serves it; none if it needs none.
    component: Option<String>,
    /// Whether the operator approved what that may do.
    approved: bool,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
    versions: Vec<Version>,
}

impl Listed for Runtime {
    const KEYS: &'static [SortKey<Self>] =
        &[("ref", |runtime| (&runtime.r#ref).into()), ("label", |runtime| (&runtime.label).into())];

    fn identity(&self) -> String {
        self.r#ref.clone()
    }
}

impl From<RuntimeRow> for Runtime {
    fn from(row: RuntimeRow) -> Self {
        Self {
            r#ref: row.runtime.reference.to_string(),
            label: row.runtime.label,
            description: row.runtime.description,
            aliases: row.runtime.aliases,
            constraint_aliases: row.constraint_aliases.into_iter().collect(),
            approved: row.plugin.as_ref().is_some_and(|plugin| plugin.approved.is_some()),
            component: row.plugin.map(|plugin| plugin.sha256),
            ad_hoc: row.ad_hoc,
            versions: row.versions.into_iter().map(Version::from).collect(),
        }
    }
}

/// What the component of a runtime asks for, may do, and was denied.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GrantsOf {
    runtime: String,
    /// As the runtime names it.
    component: String,
    sha256: String,
    #[schema(value_type = Object)]
    asked: Grants,
    /// None if nobody approved it: then the component is not used.
    #[schema(value_type = Option<Object>)]
    approved: Option<Grants>,
    approved_by: Option<String>,
    approved_at: Option<DateTime<Utc>>,
    /// What the settings of the server withhold of it.
    withheld: Vec<String>,
    /// What it asked for and was denied, the last first.
    denials: Vec<Denial>,
}

/// Something that a component was denied.
#[derive(Debug, Serialize, ToSchema)]
struct Denial {
    what: String,
    /// How many times.
    count: i64,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
}

impl From<DenialRow> for Denial {
    fn from(DenialRow { what, count, first_at, last_at, .. }: DenialRow) -> Self {
        Self { what, count, first_at, last_at }
    }
}

/// Whether a component may do what it asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    approved: bool,
}

fn none(reference: &str) -> Problem {
    Problem::not_found(format!("there is no runtime `{reference}`"))
}

pub(super) async fn find(api: &Api, text: &str) -> Result<RuntimeRow, Problem> {
    let reference = text.parse::<RuntimeRef>().map_err(|_| none(text))?;
    api.worker.store.runtime(&reference).await?.ok_or_else(|| none(text))
}

/// List the runtimes
#[utoipa::path(get, path = "/runtimes", tag = "runtimes", operation_id = "list_runtimes", params(Wanted<Runtime>),
    responses((status = 200, body = Page<Runtime>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(page): Query<Wanted<Runtime>>,
) -> Result<Json<Page<Runtime>>, Problem> {
    let cut = page.read()?;
    let runtimes = api.worker.store.runtimes().await?;
    Ok(Json(cut.page_of(runtimes.into_iter().map(Runtime::from).collect())))
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

/// What is declared, read as a file of the pack would be.
async fn read(
    api: &Api,
    reference: &RuntimeRef,
    document: Map<String, Value>,
) -> Result<pack::Runtime, Problem> {
    typed::<NewRuntime>(Value::Object(document.clone()))?;
    let surroundings = surroundings(api, reference.pack()).await?;
    surroundings.runtime(&written(document)).map_err(Problem::declaration)
}

/// Add a runtime to a pack that is installed
///
/// It stays when the pack is installed again, unless that has one of its name.
#[utoipa::path(post, path = "/runtimes", tag = "runtimes", operation_id = "create_runtime", params(Options),
    request_body = NewRuntime,
    responses((status = 201, body = Runtime, headers(("ETag" = String))), problem::Every, problem::Changes))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(options): Query<Options>,
    Body(document): Body<Map<String, Value>>,
) -> Result<(StatusCode, Tagged<Runtime>), Problem> {
    let reference = programs::reference::<RuntimeRef>(&document)?;
    caller.needs_in(if options.approve { Role::Admin } else { Role::Author }, reference.pack())?;
    let runtime = read(&api, &reference, document).await?;
    if api.worker.store.runtime(&reference).await?.is_some() {
        let name = reference.to_string();
        return Err(ChangeError::Duplicate { kind: Kind::Runtime, name }.into());
    }
    let approve = if options.approve { Approve::All { by: &caller.token.name } } else { Approve::Known };
    let served = install::serve(&api.worker, &runtime, &approve).await?;
    api.worker.store.create_runtime(&runtime, &served).await?;
    let row = find(&api, &reference.to_string()).await?;
    Ok((StatusCode::CREATED, Tagged(row.revision, row.into())))
}

/// Change a runtime
///
/// Its versions are changed by themselves. What the pack ships comes back when that is installed again.
#[utoipa::path(patch, path = "/runtimes/{ref}", tag = "runtimes", operation_id = "change_runtime",
    params(("ref" = String, Path, description = "Its reference"),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    request_body = RuntimeChange,
    responses((status = 200, body = Runtime, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
    Body(change): Body<Map<String, Value>>,
) -> Result<Tagged<Runtime>, Problem> {
    let RuntimeRow { runtime: before, revision, .. } = find(&api, &reference).await?;
    caller.needs_in(Role::Author, before.reference.pack())?;
    if let Some(field) = ["plugin", "versions"].into_iter().find(|field| change.contains_key(*field)) {
        return Err(Problem::invalid(format!("/{field}"), format!("`{field}` is not changed like this"))
            .hint("versions have an address of their own; what serves a runtime comes with its pack"));
    }
    let configured = ["distributions", "execution_config"].map(|field| change.contains_key(field));
    let current = NewRuntime {
        r#ref: before.reference.to_string(),
        label: Some(before.label.clone()),
        description: before.description.clone(),
        aliases: before.aliases.clone(),
        plugin: None,
        distributions: None,
        execution_config: None,
        versions: None,
    };
    let mut runtime = read(&api, &before.reference, merged(&current, change)?).await?;
    // What is left out stays.
    let [distributions, execution_config] = configured;
    if !distributions {
        runtime.distributions = before.distributions;
    }
    if !execution_config {
        runtime.execution_config = before.execution_config;
    }
    (runtime.plugin, runtime.versions) = (before.plugin, before.versions);
    let expected = expected(&headers)?.unwrap_or(revision);
    api.worker.store.update_runtime(&runtime, None, Some(expected)).await?;
    let row = find(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Delete a runtime with its versions
///
/// Refused while actions or sensors are started with it.
#[utoipa::path(delete, path = "/runtimes/{ref}", tag = "runtimes", operation_id = "delete_runtime",
    params(("ref" = String, Path, description = "Its reference"),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let known = find(&api, &reference).await?.runtime.reference;
    caller.needs_in(Role::Author, known.pack())?;
    api.worker.store.delete_runtime(&known, expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show what the component of a runtime may do
#[utoipa::path(get, path = "/runtimes/{ref}/grants", tag = "plugins", operation_id = "show_grants",
    params(("ref" = String, Path, description = "The runtime's reference")),
    responses((status = 200, body = GrantsOf), problem::Every, problem::NotFound))]
pub(super) async fn grants(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Json<GrantsOf>, Problem> {
    Ok(Json(grants_of(&api, &reference).await?))
}

async fn grants_of(api: &Api, reference: &str) -> Result<GrantsOf, Problem> {
    let row = find(api, reference).await?;
    let Some((declared, used)) = row.runtime.plugin.as_ref().zip(row.plugin.as_ref()) else {
        return Err(Problem::not_found(format!("`{reference}` needs no component")));
    };
    let consent = api.worker.store.consent(row.id).await?;
    let allowed = api.worker.grants(&row);
    Ok(GrantsOf {
        runtime: row.runtime.reference.to_string(),
        component: declared.component.clone(),
        sha256: used.sha256.clone(),
        asked: declared.grants.clone(),
        withheld: used
            .approved
            .as_ref()
            .zip(allowed)
            .map(|(approved, allowed)| approved.withheld(&allowed))
            .unwrap_or_default(),
        approved: used.approved.clone(),
        approved_by: consent.as_ref().map(|(by, _)| by.clone()),
        approved_at: consent.map(|(_, at)| at),
        denials: api.worker.store.denials(row.id).await?.into_iter().map(Denial::from).collect(),
    })
}

/// Allow what the component of a runtime asks for, or take that back
///
/// What is taken back from is not used any more: nothing is run with its runtime.
#[utoipa::path(put, path = "/runtimes/{ref}/grants", tag = "plugins", operation_id = "set_grants",
    params(("ref" = String, Path, description = "The runtime's reference")), request_body = Consent,
    responses((status = 200, body = GrantsOf), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn set_grants(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    Body(consent): Body<Consent>,
) -> Result<Json<GrantsOf>, Problem> {
    caller.has(Role::Admin)?;
    let by = caller.token.name.as_str();
    let row = find(&api, &reference).await?;
    caller.needs_in(Role::Admin, row.runtime.reference.pack())?;
    api.worker.store.set_consent(row.id, consent.approved.then_some(by)).await?;
    Ok(Json(grants_of(&api, &reference).await?))
}
