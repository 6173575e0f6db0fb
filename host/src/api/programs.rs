//! Actions and sensors.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::{Body, Tagged, expected};
use super::page::{Page, Query, Wanted};
use super::problem::{self, Problem};
use crate::execution::AskError;
use crate::pack::{Program, VersionPolicy};
use crate::reference::{ActionRef, PackRef, SensorRef};
use crate::store::action::ActionRow;
use crate::store::bell::Bell;
use crate::store::program::ProgramFilter;
use crate::store::sensor::SensorRow;
use crate::token::Role;
use crate::version::constraint::Constraint;

/// Which actions or sensors are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this pack.
    pack: Option<String>,
    /// Only those that are enabled, or are not.
    enabled: Option<bool>,
}

/// An action in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActionSummary {
    r#ref: String,
    label: String,
    runtime: String,
    runtime_version_constraint: Option<String>,
    enabled: bool,
}

/// Something that can be run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Action {
    r#ref: String,
    label: String,
    description: Option<String>,
    pack_digest: String,
    /// As written: a reference or an alias.
    runtime: String,
    runtime_version_constraint: Option<String>,
    /// A build variant that is wanted.
    variant: Option<String>,
    /// What happens when no installation satisfies the constraint.
    #[schema(value_type = String, example = "strict")]
    version_policy: VersionPolicy,
    /// Relative to the pack.
    entry_point: String,
    /// What parameters it takes, as a JSON Schema.
    parameters: Option<serde_json::Value>,
    /// Seconds; none for no limit but the operator's.
    timeout: Option<f64>,
    retries: u32,
    /// How many executions may run at a time.
    concurrency: Option<u32>,
    /// Whether running it twice does no harm.
    idempotent: bool,
    enabled: bool,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
}

/// Something that watches for events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sensor {
    r#ref: String,
    label: String,
    description: Option<String>,
    pack_digest: String,
    /// As written: a reference or an alias.
    runtime: String,
    runtime_version_constraint: Option<String>,
    /// A build variant that is wanted.
    variant: Option<String>,
    /// What happens when no installation satisfies the constraint.
    #[schema(value_type = String, example = "strict")]
    version_policy: VersionPolicy,
    /// Relative to the pack.
    entry_point: String,
    enabled: bool,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
}

/// What of an action is to be another; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActionChange {
    label: Option<String>,
    /// Empty for none.
    #[schema(example = ">=3.12")]
    runtime_version_constraint: Option<String>,
    enabled: Option<bool>,
}

fn constraint(program: &Program) -> Option<String> {
    program.constraint.as_ref().map(ToString::to_string)
}

impl From<ActionRow> for ActionSummary {
    fn from(ActionRow { action, .. }: ActionRow) -> Self {
        Self {
            r#ref: action.reference.to_string(),
            runtime_version_constraint: constraint(&action.program),
            label: action.label,
            runtime: action.program.runtime,
            enabled: action.enabled,
        }
    }
}

impl From<ActionRow> for Action {
    fn from(ActionRow { action, pack_digest, ad_hoc, .. }: ActionRow) -> Self {
        Self {
            r#ref: action.reference.to_string(),
            label: action.label,
            description: action.description,
            pack_digest,
            runtime_version_constraint: constraint(&action.program),
            runtime: action.program.runtime,
            variant: action.program.variant,
            version_policy: action.program.version_policy,
            entry_point: action.program.entry_point,
            parameters: action.parameters.schema,
            timeout: action.timeout.map(|timeout| timeout.as_secs_f64()),
            retries: action.retries,
            concurrency: action.concurrency,
            idempotent: action.idempotent,
            enabled: action.enabled,
            ad_hoc,
        }
    }
}

impl From<SensorRow> for Sensor {
    fn from(SensorRow { sensor, pack_digest, ad_hoc, .. }: SensorRow) -> Self {
        Self {
            r#ref: sensor.reference.to_string(),
            label: sensor.label,
            description: sensor.description,
            pack_digest,
            runtime_version_constraint: constraint(&sensor.program),
            runtime: sensor.program.runtime,
            variant: sensor.program.variant,
            version_policy: sensor.program.version_policy,
            entry_point: sensor.program.entry_point,
            enabled: sensor.enabled,
            ad_hoc,
        }
    }
}

/// What a filter says, as the store takes it: one more than the page has, to see whether there is another.
fn read(filter: &Filter, page: &Wanted) -> Result<(Option<PackRef>, u32), Problem> {
    let pack = filter.pack.as_deref().map(str::parse::<PackRef>).transpose();
    let pack = pack.map_err(|error| Problem::invalid("query/pack", error.to_string()))?;
    Ok((pack, page.limit()?))
}

/// List the actions, by reference
#[utoipa::path(get, path = "/actions", tag = "actions", operation_id = "list_actions", params(Filter, Wanted),
    responses((status = 200, body = Page<ActionSummary>), problem::Every))]
pub(super) async fn actions(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted>,
) -> Result<Json<Page<ActionSummary>>, Problem> {
    let (pack, limit) = read(&filter, &page)?;
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
pub(super) async fn action(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Action>, Problem> {
    let row = find_action(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

async fn find_action(api: &Api, text: &str) -> Result<ActionRow, Problem> {
    let none = || Problem::not_found(format!("there is no action `{text}`"));
    let reference = text.parse::<ActionRef>().map_err(|_| none())?;
    api.worker.store.action(&reference).await?.ok_or_else(none)
}

/// Change an action, until its pack is installed again
#[utoipa::path(patch, path = "/actions/{ref}", tag = "actions", operation_id = "change_action",
    params(("ref" = String, Path, description = "Its reference"),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    request_body = ActionChange,
    responses((status = 200, body = Action, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn change_action(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
    Body(change): Body<ActionChange>,
) -> Result<Tagged<Action>, Problem> {
    let ActionRow { mut action, revision, .. } = find_action(&api, &reference).await?;
    caller.needs_in(Role::Author, action.reference.pack())?;
    if let Some(label) = change.label {
        action.label = label;
    }
    if let Some(text) = change.runtime_version_constraint {
        action.program.constraint =
            if text.is_empty() { None } else { Some(constraint_for(&api, &action, &text).await?) };
    }
    if let Some(enabled) = change.enabled {
        action.enabled = enabled;
    }
    // What is left out stays as it was read just now: nobody else's change is lost.
    let expected = expected(&headers)?.unwrap_or(revision);
    api.worker.store.update_action(&action, Some(expected)).await?;
    api.worker.store.ring(Bell::Queue).await;
    let row = find_action(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// A constraint that the runtime of an action can be asked for.
async fn constraint_for(api: &Api, action: &crate::pack::Action, text: &str) -> Result<Constraint, Problem> {
    const FIELD: &str = "/runtime_version_constraint";
    let constraint = Constraint::parse(text).map_err(|error| Problem::constraint(FIELD, &error))?;
    let runtime = api.worker.runtime(&action.program.runtime, Some(action.reference.pack())).await;
    let runtime = runtime.map_err(AskError::from)?;
    if runtime.plugin.is_none() {
        return Err(AskError::NoVersions { runtime: runtime.runtime.reference }.into());
    }
    constraint.resolve(&runtime.constraint_aliases).map_err(AskError::from)?;
    Ok(constraint)
}

/// List the sensors, by reference
#[utoipa::path(get, path = "/sensors", tag = "sensors", operation_id = "list_sensors", params(Filter, Wanted),
    responses((status = 200, body = Page<Sensor>), problem::Every))]
pub(super) async fn sensors(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted>,
) -> Result<Json<Page<Sensor>>, Problem> {
    let (pack, limit) = read(&filter, &page)?;
    let wanted = ProgramFilter {
        pack: pack.as_ref(),
        enabled: filter.enabled,
        after: page.cursor.as_deref(),
        limit: Some(limit + 1),
    };
    let rows = api.worker.store.sensors_where(&wanted).await?;
    let items = rows.into_iter().map(Sensor::from).collect();
    Ok(Json(Page::new(items, limit, |last: &Sensor| last.r#ref.clone())))
}

/// Show a sensor
#[utoipa::path(get, path = "/sensors/{ref}", tag = "sensors", operation_id = "show_sensor",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Sensor, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn sensor(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Sensor>, Problem> {
    let none = || Problem::not_found(format!("there is no sensor `{reference}`"));
    let known = reference.parse::<SensorRef>().map_err(|_| none())?;
    let row = api.worker.store.sensor(&known).await?.ok_or_else(none)?;
    Ok(Tagged(row.revision, row.into()))
}
