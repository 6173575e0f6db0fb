//! Whose clock counts: the database's, so that workers whose clocks differ agree on what is due and whose lease has run out.
//!
//! A server has a clock of its own; a file has that of its machine. Where a statement needs the time, it says
//! `coalesce($1, current_timestamp)` with [`Store::clock`] for `$1`.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::database::Engine;
use super::{Result, Store, now};

impl Store {
    /// The time to bind where a statement needs it; none on a server, which knows better.
    pub(super) fn clock(&self) -> Option<DateTime<Utc>> {
        match self.engine() {
            Engine::Sqlite => Some(now()),
            Engine::Postgres => None,
        }
    }

    /// The time by the database's clock.
    pub async fn time(&self) -> Result<DateTime<Utc>> {
        match self.clock() {
            Some(time) => Ok(time),
            None => self.database.query("select current_timestamp as now").fetch_one().await?.try_get("now"),
        }
    }
}

/// A time span for `cast($1 as interval)`, to be added to a server's time.
pub(super) fn interval(span: Duration) -> String {
    format!("{} milliseconds", span.as_millis())
}
