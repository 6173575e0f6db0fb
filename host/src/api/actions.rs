//! Actions.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Api;
use super::access::Caller;
use super::body::{Body, Tagged, expected, typed};
use super::page::{Page, Query, Wanted};
use super::problem::{self, Problem};
use super::programs::{self, Filter, merged, surroundings, written};
use crate::pack::{self, OutputFormat, ParameterDelivery, ParameterFormat, VersionPolicy};
use crate::reference::ActionRef;
use crate::store::action::ActionRow;
use crate::store::program::ProgramFilter;
use crate::token::Role;

/// An action in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActionSummary {
    r#ref: String,
    label: String,
    runtime: String,
    runtime_version_constraint: Option<String>,
    enabled: bool,
}

/// Something that can be run, as a file of a pack declares it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct NewAction {
    /// Pack and name.
    #[schema(example = "tools.report")]
    r#ref: String,
    label: Option<String>,
    description: Option<String>,
    /// A reference, a name or an alias.
    runtime: String,
    #[schema(example = ">=3.12")]
    runtime_version_constraint: Option<String>,
    /// A build variant that is wanted.
    runtime_variant: Option<String>,
    /// What happens when no installation satisfies the constraint.
    #[serde(default)]
    #[schema(value_type = String, example = "strict")]
    version_policy: VersionPolicy,
    /// A file of the pack, relative to it.
    entry_point: String,
    /// JSON Schema of an object.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    #[serde(default)]
    #[schema(value_type = String, example = "stdin")]
    parameter_delivery: ParameterDelivery,
    #[serde(default)]
    #[schema(value_type = String, example = "json")]
    parameter_format: ParameterFormat,
    #[serde(default)]
    #[schema(value_type = String, example = "json")]
    output_format: OutputFormat,
    /// JSON Schema.
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Value>,
    /// Seconds; none for no limit but the operator's.
    timeout: Option<f64>,
    #[serde(default)]
    retries: u32,
    /// How many executions may run at a time.
    concurrency: Option<u32>,
    /// Whether running it twice does no harm.
    #[serde(default)]
    idempotent: bool,
    #[serde(default = "yes")]
    enabled: bool,
    /// What is set in its environment: a text, or one of `prepend`, `append` and `unset`.
    #[serde(default)]
    #[schema(value_type = Object)]
    env_vars: Map<String, Value>,
    /// The secrets that it may read: `name`, `description`, `required`, `env`.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    secrets: Vec<Value>,
}

fn yes() -> bool {
    true
}

/// What of an action is to be another: what is null is taken out, what is left out stays.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes a document that is merged as it is")]
pub(super) struct ActionChange {
    label: Option<String>,
    description: Option<String>,
    runtime: Option<String>,
    #[schema(example = ">=3.12")]
    runtime_version_constraint: Option<String>,
    runtime_variant: Option<String>,
    version_policy: Option<String>,
    entry_point: Option<String>,
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    parameter_delivery: Option<String>,
    parameter_format: Option<String>,
    output_format: Option<String>,
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Value>,
    timeout: Option<f64>,
    retries: Option<u32>,
    concurrency: Option<u32>,
    idempotent: Option<bool>,
    enabled: Option<bool>,
    #[schema(value_type = Option<Object>)]
    env_vars: Option<Value>,
    secrets: Option<Vec<Value>>,
}

/// Something that can be run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Action {
    #[serde(flatten)]
    declared: NewAction,
    pack_digest: String,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
}

impl From<ActionRow> for ActionSummary {
    fn from(ActionRow { action, .. }: ActionRow) -> Self {
        Self {
            r#ref: action.reference.to_string(),
            runtime_version_constraint: programs::constraint(&action.program),
            label: action.label,
            runtime: action.program.runtime,
            enabled: action.enabled,
        }
    }
}

impl From<pack::Action> for NewAction {
    fn from(action: pack::Action) -> Self {
        let program = action.program;
        Self {
            r#ref: action.reference.to_string(),
            label: Some(action.label),
            description: action.description,
            runtime_version_constraint: programs::constraint(&program),
            env_vars: programs::variables(&program),
            secrets: programs::secrets(&program),
            runtime: program.runtime,
            runtime_variant: program.variant,
            version_policy: program.version_policy,
            entry_point: program.entry_point,
            parameters: action.parameters.schema,
            parameter_delivery: action.parameters.delivery,
            parameter_format: action.parameters.format,
            output_format: action.output.format,
            output_schema: action.output.schema,
            timeout: action.timeout.map(|timeout| timeout.as_secs_f64()),
            retries: action.retries,
            concurrency: action.concurrency,
            idempotent: action.idempotent,
            enabled: action.enabled,
        }
    }
}

impl From<ActionRow> for Action {
    fn from(ActionRow { action, pack_digest, ad_hoc, .. }: ActionRow) -> Self {
        Self { declared: action.into(), pack_digest, ad_hoc }
    }
}

/// List the actions, by reference
#[utoipa::path(get, path = "/actions", tag = "actions", operation_id = "list_actions", params(Filter, Wanted),
    responses((status = 200, body = Page<ActionSummary>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted>,
) -> Result<Json<Page<ActionSummary>>, Problem> {
    let (pack, limit) = filter.read(&page)?;
    let wanted = ProgramFilter {
        pack: pack.as_ref(),
        enabled: filter.enabled,
        after: page.cursor.as_deref(),
        limit: Some(limit + 1),
    };
    let rows = api.worker.store.actions_where(&wanted).await?;
    let items = rows.into_iter().map(ActionSummary::from).collect();
    Ok(Json(Page::new(items, limit, |last: &ActionSummary| last.r#ref.clone())))
}

/// Show an action
#[utoipa::path(get, path = "/actions/{ref}", tag = "actions", operation_id = "show_action",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Action, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Action>, Problem> {
    let row = find(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

async fn find(api: &Api, text: &str) -> Result<ActionRow, Problem> {
    let none = || Problem::not_found(format!("there is no action `{text}`"));
    let reference = text.parse::<ActionRef>().map_err(|_| none())?;
    api.worker.store.action(&reference).await?.ok_or_else(none)
}

/// What is declared, read as a file of the pack would be.
async fn read(
    api: &Api,
    reference: &ActionRef,
    document: Map<String, Value>,
) -> Result<pack::Action, Problem> {
    // Of the types that the description says; what is in there besides is found by what reads it.
    let declared = typed::<NewAction>(Value::Object(document.clone()))?;
    programs::check_constraint(declared.runtime_version_constraint.as_deref())?;
    let surroundings = surroundings(api, reference.pack()).await?;
    surroundings.action(&written(document)).map_err(Problem::declaration)
}

/// Add an action to a pack that is installed
///
/// It stays when the pack is installed again, unless that has one of its name.
#[utoipa::path(post, path = "/actions", tag = "actions", operation_id = "create_action", request_body = NewAction,
    responses((status = 201, body = Action, headers(("ETag" = String))), problem::Every, problem::Changes))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(document): Body<Map<String, Value>>,
) -> Result<(StatusCode, Tagged<Action>), Problem> {
    let reference = programs::reference::<ActionRef>(&document)?;
    caller.needs_in(Role::Author, reference.pack())?;
    let action = read(&api, &reference, document).await?;
    api.worker.store.create_action(&action).await?;
    let row = find(&api, &reference.to_string()).await?;
    Ok((StatusCode::CREATED, Tagged(row.revision, row.into())))
}

/// Change an action
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(patch, path = "/actions/{ref}", tag = "actions", operation_id = "change_action",
    params(("ref" = String, Path, description = "Its reference"),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    request_body = ActionChange,
    responses((status = 200, body = Action, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
    Body(change): Body<Map<String, Value>>,
) -> Result<Tagged<Action>, Problem> {
    let ActionRow { action, revision, .. } = find(&api, &reference).await?;
    let known = action.reference.clone();
    caller.needs_in(Role::Author, known.pack())?;
    let action = read(&api, &known, merged(&NewAction::from(action), change)?).await?;
    // What is left out stays as it was read just now: nobody else's change is lost.
    let expected = expected(&headers)?.unwrap_or(revision);
    api.worker.store.update_action(&action, Some(expected)).await?;
    let row = find(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Delete an action; its executions stay
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(delete, path = "/actions/{ref}", tag = "actions", operation_id = "delete_action",
    params(("ref" = String, Path, description = "Its reference"),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let known = find(&api, &reference).await?.action.reference;
    caller.needs_in(Role::Author, known.pack())?;
    api.worker.store.delete_action(&known, expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
