//! Sensors.

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
use crate::pack::{self, VersionPolicy};
use crate::reference::SensorRef;
use crate::store::program::ProgramFilter;
use crate::store::sensor::SensorRow;
use crate::token::Role;

/// A sensor in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SensorSummary {
    r#ref: String,
    label: String,
    runtime: String,
    runtime_version_constraint: Option<String>,
    enabled: bool,
}

/// Something that watches for events, as a file of a pack declares it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct NewSensor {
    /// Pack and name.
    #[schema(example = "tools.watch")]
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
    /// JSON Schema of the events that it emits.
    #[schema(value_type = Option<Object>)]
    event_schema: Option<Value>,
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

/// What of a sensor is to be another: what is null is taken out, what is left out stays.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes a document that is merged as it is")]
pub(super) struct SensorChange {
    label: Option<String>,
    description: Option<String>,
    runtime: Option<String>,
    #[schema(example = ">=3.12")]
    runtime_version_constraint: Option<String>,
    runtime_variant: Option<String>,
    version_policy: Option<String>,
    entry_point: Option<String>,
    #[schema(value_type = Option<Object>)]
    event_schema: Option<Value>,
    enabled: Option<bool>,
    #[schema(value_type = Option<Object>)]
    env_vars: Option<Value>,
    secrets: Option<Vec<Value>>,
}

/// Something that watches for events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sensor {
    #[serde(flatten)]
    declared: NewSensor,
    pack_digest: String,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
}

impl From<SensorRow> for SensorSummary {
    fn from(SensorRow { sensor, .. }: SensorRow) -> Self {
        Self {
            r#ref: sensor.reference.to_string(),
            runtime_version_constraint: programs::constraint(&sensor.program),
            label: sensor.label,
            runtime: sensor.program.runtime,
            enabled: sensor.enabled,
        }
    }
}

impl From<pack::Sensor> for NewSensor {
    fn from(sensor: pack::Sensor) -> Self {
        let program = sensor.program;
        Self {
            r#ref: sensor.reference.to_string(),
            label: Some(sensor.label),
            description: sensor.description,
            runtime_version_constraint: programs::constraint(&program),
            env_vars: programs::variables(&program),
            secrets: programs::secrets(&program),
            runtime: program.runtime,
            runtime_variant: program.variant,
            version_policy: program.version_policy,
            entry_point: program.entry_point,
            event_schema: sensor.event_schema,
            enabled: sensor.enabled,
        }
    }
}

impl From<SensorRow> for Sensor {
    fn from(SensorRow { sensor, pack_digest, ad_hoc, .. }: SensorRow) -> Self {
        Self { declared: sensor.into(), pack_digest, ad_hoc }
    }
}

/// List the sensors, by reference
#[utoipa::path(get, path = "/sensors", tag = "sensors", operation_id = "list_sensors", params(Filter, Wanted),
    responses((status = 200, body = Page<SensorSummary>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted>,
) -> Result<Json<Page<SensorSummary>>, Problem> {
    let (pack, limit) = filter.read(&page)?;
    let wanted = ProgramFilter {
        pack: pack.as_ref(),
        enabled: filter.enabled,
        after: page.cursor.as_deref(),
        limit: Some(limit + 1),
    };
    let rows = api.worker.store.sensors_where(&wanted).await?;
    let items = rows.into_iter().map(SensorSummary::from).collect();
    Ok(Json(Page::new(items, limit, |last: &SensorSummary| last.r#ref.clone())))
}

/// Show a sensor
#[utoipa::path(get, path = "/sensors/{ref}", tag = "sensors", operation_id = "show_sensor",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Sensor, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Sensor>, Problem> {
    let row = find(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

async fn find(api: &Api, text: &str) -> Result<SensorRow, Problem> {
    let none = || Problem::not_found(format!("there is no sensor `{text}`"));
    let reference = text.parse::<SensorRef>().map_err(|_| none())?;
    api.worker.store.sensor(&reference).await?.ok_or_else(none)
}

/// What is declared, read as a file of the pack would be.
async fn read(
    api: &Api,
    reference: &SensorRef,
    document: Map<String, Value>,
) -> Result<pack::Sensor, Problem> {
    // Of the types that the description says; what is in there besides is found by what reads it.
    let declared = typed::<NewSensor>(Value::Object(document.clone()))?;
    programs::check_constraint(declared.runtime_version_constraint.as_deref())?;
    let surroundings = surroundings(api, reference.pack()).await?;
    surroundings.sensor(&written(document)).map_err(Problem::declaration)
}

/// Add a sensor to a pack that is installed
///
/// It stays when the pack is installed again, unless that has one of its name.
#[utoipa::path(post, path = "/sensors", tag = "sensors", operation_id = "create_sensor", request_body = NewSensor,
    responses((status = 201, body = Sensor, headers(("ETag" = String))), problem::Every, problem::Changes))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(document): Body<Map<String, Value>>,
) -> Result<(StatusCode, Tagged<Sensor>), Problem> {
    let reference = programs::reference::<SensorRef>(&document)?;
    caller.needs_in(Role::Author, reference.pack())?;
    let sensor = read(&api, &reference, document).await?;
    api.worker.store.create_sensor(&sensor).await?;
    let row = find(&api, &reference.to_string()).await?;
    Ok((StatusCode::CREATED, Tagged(row.revision, row.into())))
}

/// Change a sensor
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(patch, path = "/sensors/{ref}", tag = "sensors", operation_id = "change_sensor",
    params(("ref" = String, Path, description = "Its reference"),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    request_body = SensorChange,
    responses((status = 200, body = Sensor, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
    Body(change): Body<Map<String, Value>>,
) -> Result<Tagged<Sensor>, Problem> {
    let SensorRow { sensor, revision, .. } = find(&api, &reference).await?;
    let known = sensor.reference.clone();
    caller.needs_in(Role::Author, known.pack())?;
    let sensor = read(&api, &known, merged(&NewSensor::from(sensor), change)?).await?;
    // What is left out stays as it was read just now: nobody else's change is lost.
    let expected = expected(&headers)?.unwrap_or(revision);
    api.worker.store.update_sensor(&sensor, Some(expected)).await?;
    let row = find(&api, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Delete a sensor
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(delete, path = "/sensors/{ref}", tag = "sensors", operation_id = "delete_sensor",
    params(("ref" = String, Path, description = "Its reference"),
        ("If-Match" = Option<String>, Header, description = "Only in this state")),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let known = find(&api, &reference).await?.sensor.reference;
    caller.needs_in(Role::Author, known.pack())?;
    api.worker.store.delete_sensor(&known, expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
