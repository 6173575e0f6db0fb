//! Actions.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, Type};

use super::Api;
use super::access::Caller;
use super::body::Body;
use super::change::{Change, Changeable};
use super::declaration;
use super::page::{Page, Wanted};
use super::problem::{self, Problem};
use super::programs::{self, Filter, ProgramSummary, Served};
use super::query::Query;
use super::state::{Created, IfMatch, MayMatch, Tagged};
use crate::pack::part::{Fault, Surroundings};
use crate::pack::{self, OutputFormat, ParameterDelivery, ParameterFormat, VersionPolicy};
use crate::reference::ActionRef;
use crate::store::action::ActionRow;
use crate::store::{self, Store};

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
    #[serde(default)]
    #[schema(inline)]
    version_policy: VersionPolicy,
    /// A file of the pack, relative to it.
    entry_point: String,
    /// JSON Schema of an object.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    #[serde(default)]
    #[schema(inline)]
    parameter_delivery: ParameterDelivery,
    #[serde(default)]
    #[schema(inline)]
    parameter_format: ParameterFormat,
    #[serde(default)]
    #[schema(inline)]
    output_format: OutputFormat,
    /// JSON Schema.
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Value>,
    /// Seconds, or a number with a unit; none for no limit but the operator's.
    #[schema(schema_with = amount_of_time)]
    timeout: Option<Value>,
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

fn amount_of_time() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Number, Type::String, Type::Null]))
        .description(Some("Seconds, or a number with a unit; none for no limit but the operator's."))
        .pattern(Some("^[1-9][0-9]{0,5}(ms|s|m|h|d)$"))
        .minimum(Some(0))
        .examples([json!(90), json!("90s")])
}

fn yes() -> bool {
    true
}

type ActionChange = Change<NewAction>;

impl Changeable for NewAction {}

/// Something that can be run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Action {
    #[serde(flatten)]
    declared: NewAction,
    pack_digest: String,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
}

impl From<pack::Action> for ProgramSummary {
    fn from(action: pack::Action) -> Self {
        Self::new(action.reference.to_string(), action.label, action.enabled, action.program)
    }
}

impl From<pack::Action> for NewAction {
    fn from(action: pack::Action) -> Self {
        let program = action.program;
        Self {
            r#ref: action.reference.to_string(),
            label: Some(action.label),
            description: action.description,
            runtime_version_constraint: declaration::constraint(&program),
            env_vars: declaration::variables(&program.env_vars),
            secrets: declaration::secrets(&program),
            runtime: program.runtime,
            runtime_variant: program.variant,
            version_policy: program.version_policy,
            entry_point: program.entry_point,
            parameters: action.parameters.schema,
            parameter_delivery: action.parameters.delivery,
            parameter_format: action.parameters.format,
            output_format: action.output.format,
            output_schema: action.output.schema,
            timeout: action.timeout.map(|timeout| timeout.as_secs_f64().into()),
            retries: action.retries,
            concurrency: action.concurrency,
            idempotent: action.idempotent,
            enabled: action.enabled,
        }
    }
}

impl From<ActionRow> for Action {
    fn from(ActionRow { declared, pack_digest, ad_hoc, .. }: ActionRow) -> Self {
        Self { declared: declared.into(), pack_digest, ad_hoc }
    }
}

impl Served for pack::Action {
    type Document = NewAction;

    fn read(surroundings: &Surroundings, document: &Value) -> Result<Self, Vec<Fault>> {
        surroundings.action(document)
    }

    async fn find(store: &Store, reference: &ActionRef) -> store::Result<Option<ActionRow>> {
        store.action(reference).await
    }
}

/// List the actions
#[utoipa::path(get, path = "/actions", tag = "actions", operation_id = "list_actions", 
    params(Filter, Wanted<ProgramSummary>),
    responses((status = 200, body = Page<ProgramSummary>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted<ProgramSummary>>,
) -> Result<Json<Page<ProgramSummary>>, Problem> {
    programs::list::<pack::Action>(&api, &caller, &filter, page).await
}

/// Show an action
#[utoipa::path(get, path = "/actions/{ref}", tag = "actions", operation_id = "show_action",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Action, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Action>, Problem> {
    let row = programs::show::<pack::Action>(&api, &caller, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Add an action to a pack that is installed
///
/// It stays when the pack is installed again, unless that has one of its name.
#[utoipa::path(post, path = "/actions", tag = "actions", operation_id = "create_action", request_body = NewAction,
    responses((status = 201, body = Action, headers(("ETag" = String), ("Location" = String))), problem::Every, problem::Changes))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(document): Body<Map<String, Value>>,
) -> Result<Created<Tagged<Action>>, Problem> {
    let row = programs::create::<pack::Action>(&api, &caller, document).await?;
    let reference = row.declared.reference.to_string();
    Ok(Created::new(["actions", &reference], Tagged(row.revision, row.into())))
}

/// Change an action
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(patch, path = "/actions/{ref}", tag = "actions", operation_id = "change_action",
    params(("ref" = String, Path, description = "Its reference"), IfMatch),
    request_body = ActionChange,
    responses((status = 200, body = Action, headers(("ETag" = String))), problem::Every, problem::Changes, problem::Updates, problem::NotFound))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    state: IfMatch,
    Body(change): Body<Map<String, Value>>,
) -> Result<Tagged<Action>, Problem> {
    let row = programs::change::<pack::Action>(&api, &caller, (&reference, &state), change).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Delete an action; its executions stay
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(delete, path = "/actions/{ref}", tag = "actions", operation_id = "delete_action",
    params(("ref" = String, Path, description = "Its reference"), MayMatch),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    state: MayMatch,
) -> Result<StatusCode, Problem> {
    programs::delete::<pack::Action>(&api, &caller, (&reference, &state)).await
}
