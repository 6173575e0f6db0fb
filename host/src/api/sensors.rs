//! Sensors.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

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
use crate::pack::{self, VersionPolicy};
use crate::reference::SensorRef;
use crate::store::sensor::SensorRow;
use crate::store::{self, Store};

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
    #[serde(default)]
    #[schema(inline)]
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

type SensorChange = Change<NewSensor>;

impl Changeable for NewSensor {}

/// Something that watches for events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sensor {
    #[serde(flatten)]
    declared: NewSensor,
    pack_digest: String,
    /// Made by somebody, not by the pack.
    ad_hoc: bool,
}

impl From<pack::Sensor> for ProgramSummary {
    fn from(sensor: pack::Sensor) -> Self {
        Self::new(sensor.reference.to_string(), sensor.label, sensor.enabled, sensor.program)
    }
}

impl From<pack::Sensor> for NewSensor {
    fn from(sensor: pack::Sensor) -> Self {
        let program = sensor.program;
        Self {
            r#ref: sensor.reference.to_string(),
            label: Some(sensor.label),
            description: sensor.description,
            runtime_version_constraint: declaration::constraint(&program),
            env_vars: declaration::variables(&program.env_vars),
            secrets: declaration::secrets(&program),
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
    fn from(SensorRow { declared, pack_digest, ad_hoc, .. }: SensorRow) -> Self {
        Self { declared: declared.into(), pack_digest, ad_hoc }
    }
}

impl Served for pack::Sensor {
    type Document = NewSensor;

    fn read(surroundings: &Surroundings, document: &Value) -> Result<Self, Vec<Fault>> {
        surroundings.sensor(document)
    }

    async fn find(store: &Store, reference: &SensorRef) -> store::Result<Option<SensorRow>> {
        store.sensor(reference).await
    }
}

/// List the sensors
#[utoipa::path(get, path = "/sensors", tag = "sensors", operation_id = "list_sensors", 
    params(Filter, Wanted<ProgramSummary>),
    responses((status = 200, body = Page<ProgramSummary>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted<ProgramSummary>>,
) -> Result<Json<Page<ProgramSummary>>, Problem> {
    programs::list::<pack::Sensor>(&api, &caller, &filter, page).await
}

/// Show a sensor
#[utoipa::path(get, path = "/sensors/{ref}", tag = "sensors", operation_id = "show_sensor",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Sensor, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Sensor>, Problem> {
    let row = programs::show::<pack::Sensor>(&api, &caller, &reference).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Add a sensor to a pack that is installed
///
/// It stays when the pack is installed again, unless that has one of its name.
#[utoipa::path(post, path = "/sensors", tag = "sensors", operation_id = "create_sensor", request_body = NewSensor,
    responses((status = 201, body = Sensor, headers(("ETag" = String), ("Location" = String))), problem::Every, problem::Changes))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(document): Body<Map<String, Value>>,
) -> Result<Created<Tagged<Sensor>>, Problem> {
    let row = programs::create::<pack::Sensor>(&api, &caller, document).await?;
    let reference = row.declared.reference.to_string();
    Ok(Created::new(["sensors", &reference], Tagged(row.revision, row.into())))
}

/// Change a sensor
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(patch, path = "/sensors/{ref}", tag = "sensors", operation_id = "change_sensor",
    params(("ref" = String, Path, description = "Its reference"), IfMatch),
    request_body = SensorChange,
    responses((status = 200, body = Sensor, headers(("ETag" = String))), problem::Every, problem::Changes, problem::Updates, problem::NotFound))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    state: IfMatch,
    Body(change): Body<Map<String, Value>>,
) -> Result<Tagged<Sensor>, Problem> {
    let row = programs::change::<pack::Sensor>(&api, &caller, (&reference, &state), change).await?;
    Ok(Tagged(row.revision, row.into()))
}

/// Delete a sensor
///
/// What the pack ships comes back when that is installed again.
#[utoipa::path(delete, path = "/sensors/{ref}", tag = "sensors", operation_id = "delete_sensor",
    params(("ref" = String, Path, description = "Its reference"), MayMatch),
    responses((status = 204), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    state: MayMatch,
) -> Result<StatusCode, Problem> {
    programs::delete::<pack::Sensor>(&api, &caller, (&reference, &state)).await
}
