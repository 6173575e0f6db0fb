//! What sensors saw.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::row::json;
use super::slice::{Slice, sliced};
use super::{Result, Store};
use crate::reference::{PackRef, SensorRef};

/// Something that a sensor saw.
#[derive(Clone, Debug)]
pub struct EventRow {
    pub id: Uuid,
    pub sensor: String,
    pub payload: serde_json::Value,
    /// When it happened, as the sensor says.
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
}

impl Store {
    /// Events, or those of one sensor, the last first; before the one with this identifier, so many at most.
    pub async fn events(
        &self,
        (pack, sensor): (Option<&PackRef>, Option<&SensorRef>),
        slice: &Slice<Uuid>,
    ) -> Result<Vec<EventRow>> {
        let rows = self
            .database
            .query(slice.way(sliced!(
                "select id, sensor, payload, occurred_at, received_at from event
             where ($1 is null or sensor = $1) and ($2 is null or substr(sensor, 1, length($2)) = $2)",
                "id" after "$3", limit "$4"
            )))
            .bind(sensor.map(ToString::to_string))
            .bind(pack.map(|pack| format!("{pack}.")))
            .bind(slice.after)
            .bind(slice.limit())
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(EventRow {
                    id: row.try_get("id")?,
                    sensor: row.try_get("sensor")?,
                    payload: json(row, "payload")?,
                    occurred_at: row.try_get("occurred_at")?,
                    received_at: row.try_get("received_at")?,
                })
            })
            .collect()
    }
}
