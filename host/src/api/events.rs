//! What sensors saw.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::page::{Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::query::Query;
use crate::reference::SensorRef;
use crate::store::event::EventRow;

/// Which events are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this pack's sensors.
    pack: Option<String>,
    /// Only those of this sensor.
    sensor: Option<String>,
}

/// Something that a sensor saw.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Event {
    #[schema(value_type = String, format = Uuid)]
    id: String,
    sensor: String,
    payload: Value,
    /// When it happened, as the sensor says.
    occurred_at: DateTime<Utc>,
    received_at: DateTime<Utc>,
}

impl Listed for Event {
    const KEYS: &'static [SortKey<Self>] = &[("received_at", |event| (&event.received_at).into())];
    const DEFAULT: &'static str = "-received_at";

    fn identity(&self) -> String {
        self.id.clone()
    }
}

impl From<EventRow> for Event {
    fn from(EventRow { id, sensor, payload, occurred_at, received_at }: EventRow) -> Self {
        Self { id: id.to_string(), sensor, payload, occurred_at, received_at }
    }
}

/// List what sensors saw
#[utoipa::path(get, path = "/events", tag = "sensors", operation_id = "list_events", params(Filter, Wanted<Event>),
    responses((status = 200, body = Page<Event>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted<Event>>,
) -> Result<Json<Page<Event>>, Problem> {
    let sensor = filter.sensor.as_deref().map(str::parse::<SensorRef>).transpose();
    let sensor = sensor.map_err(|error| Problem::invalid("query/sensor", error.to_string()))?;
    let pack = caller.pack(filter.pack.as_deref())?;
    let cut = page.read()?;
    let rows = api.worker.store.events((pack.as_ref(), sensor.as_ref()), &cut.slice()?).await?;
    Ok(Json(cut.page(rows.into_iter().map(Event::from).collect())))
}
