//! Runtimes, and what their components may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::{Body, typed};
use super::change::{Change, Changeable, merged, written};
use super::declaration;
use super::page::{Key, Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::programs::{self, surroundings};
use super::query::Query;
use super::state::{Created, IfMatch, MayMatch, Tagged};
use super::versions::Version;
use crate::grants::GrantsOf;
use crate::pack;
use crate::pack::install::{self, Approve};
use crate::reference::RuntimeRef;
use crate::store::change::{ChangeError, Kind};
use crate::store::runtime::RuntimeRow;
use crate::token::Role;
use crate::worker::RuntimeError;

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
    /// How installations are verified.
    #[schema(value_type = Object)]
    distributions: Value,
    /// How things are run, and environments built.
    #[schema(value_type = Object)]
    execution_config: Value,
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
            distributions: declaration::distributions(&row.runtime.distributions),
            execution_config: declaration::execution_config(&row.runtime.execution_config),
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

impl Listed for GrantsOf {
    const KEYS: &'static [SortKey<Self>] = &[
        ("runtime", |grants| Key::Text(grants.runtime.to_string())),
        ("approved_at", |grants| grants.approved_at.as_ref().into()),
    ];

    fn identity(&self) -> String {
        self.runtime.to_string()
    }
}

/// Whether a component may do what it asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    approved: bool,
}

/// The runtime that is called so: a reference, or an alias that means one.
pub(super) async fn find(api: &Api, text: &str) -> Result<RuntimeRow, Problem> {
    api.worker.runtime(text, None).await.map_err(|error| match error {
        RuntimeError::Store(error) => error.into(),
        error @ (RuntimeError::Unknown { .. } | RuntimeError::Ambiguous { .. }) => {
            Problem::not_found(error.to_string())
        }
    })
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
    responses((status = 201, body = Runtime, headers(("ETag" = String), ("Location" = String))), problem::Every, problem::Changes))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(options): Query<Options>,
    Body(document): Body<Map<String, Value>>,
) -> Result<Created<Tagged<Runtime>>, Problem> {
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
    let reference = reference.to_string();
    let row = find(&api, &reference).await?;
    Ok(Created::new(["runtimes", &reference], Tagged(row.revision, row.into())))
}

/// Change a runtime
///
/// Its versions are changed by themselves. What the pack ships comes back when that is installed again.
#[utoipa::path(patch, path = "/runtimes/{ref}", tag = "runtimes", operation_id = "change_runtime",
    params(("ref" = String, Path, description = "Its reference"), IfMatch),
    request_body = RuntimeChange,
    responses((status = 200, body = Runtime, headers(("ETag" = String))), problem::Every, problem::Changes, problem::Updates, problem::NotFound))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    state: IfMatch,
    Body(change): Body<Map<String, Value>>,
) -> Result<Tagged<Runtime>, Problem> {
    let RuntimeRow { runtime: before, revision, .. } = find(&api, &reference).await?;
    caller.needs_in(Role::Author, before.reference.pack())?;
    if let Some(field) = ["plugin", "versions"].into_iter().find(|field| change.contains_key(*field)) {
        return Err(Problem::invalid(format!("/{field}"), format!("`{field}` is not changed like this"))
            .hint("versions have an address of their own; what serves a runtime comes with its pack"));
    }
    let current = NewRuntime {
        r#ref: before.reference.to_string(),
        label: Some(before.label.clone()),
        description: before.description.clone(),
        aliases: before.aliases.clone(),
        plugin: None,
        distributions: Some(declaration::distributions(&before.distributions)),
        execution_config: Some(declaration::execution_config(&before.execution_config)),
        versions: None,
    };
    let mut runtime = read(&api, &before.reference, merged(&current, change)?).await?;
    (runtime.plugin, runtime.versions) = (before.plugin, before.versions);
    api.worker.store.update_runtime(&runtime, None, Some(state.of(revision)?)).await?;
    let row = find(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Delete a runtime with its versions
///
/// Refused while actions or sensors are started with it.
#[utoipa::path(delete, path = "/runtimes/{ref}", tag = "runtimes", operation_id = "delete_runtime",
    params(("ref" = String, Path, description = "Its reference"), MayMatch),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    state: MayMatch,
) -> Result<StatusCode, Problem> {
    let RuntimeRow { runtime, revision, .. } = find(&api, &reference).await?;
    caller.needs_in(Role::Author, runtime.reference.pack())?;
    api.worker.store.delete_runtime(&runtime.reference, state.of(revision)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List what the components of runtimes ask for, and whether they may
#[utoipa::path(get, path = "/grants", tag = "plugins", operation_id = "list_grants", params(Wanted<GrantsOf>),
    responses((status = 200, body = Page<GrantsOf>), problem::Every))]
pub(super) async fn all_grants(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(page): Query<Wanted<GrantsOf>>,
) -> Result<Json<Page<GrantsOf>>, Problem> {
    let cut = page.read()?;
    Ok(Json(cut.page_of(GrantsOf::all(&api.worker).await?)))
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
    Ok(Json(grants_of(&api, &find(&api, &reference).await?).await?))
}

async fn grants_of(api: &Api, row: &RuntimeRow) -> Result<GrantsOf, Problem> {
    let none = || Problem::not_found(format!("`{}` needs no component", row.runtime.reference));
    GrantsOf::runtime(&api.worker, row).await?.ok_or_else(none)
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
    grants_of(&api, &row).await?;
    api.worker.store.set_consent(row.id, consent.approved.then_some(by)).await?;
    Ok(Json(grants_of(&api, &find(&api, &reference).await?).await?))
}
