//! What components asked for and were denied.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Durability, Result, Store, now};
use crate::plugin::Denied;

/// Of each runtime, so many different denials are kept: those that came last.
const KEPT_MAX: i64 = 100;

/// Characters that are kept of what was denied: paths of a component's may be as long as it likes.
const LENGTH_MAX: usize = 300;

/// Something that a component was denied.
#[derive(Clone, Debug, Serialize)]
pub struct DenialRow {
    /// `pack.component`.
    pub component: String,
    /// What the host said.
    pub what: String,
    /// How many times.
    pub count: i64,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

impl Store {
    /// Counts what a component was denied; nothing if the runtime is not installed.
    pub async fn keep_denials(&self, denied: &Denied) -> Result<()> {
        let mut transaction = self.begin(Durability::Process).await?;
        let runtime = denied.runtime.to_string();
        let component = format!("{}.{}", denied.pack, denied.component);
        for (what, count) in &denied.what {
            transaction
                .query(
                    "insert into denial (runtime, component, what, count, first_at, last_at)
                 select id, $2, $3, $4, $5, $5 from runtime where ref = $1
                 on conflict (runtime, component, what) do update set
                     count = denial.count + excluded.count, last_at = excluded.last_at",
                )
                .bind(&runtime)
                .bind(&component)
                .bind(what.chars().take(LENGTH_MAX).collect::<String>())
                .bind(*count)
                .bind(now())
                .execute()
                .await?;
        }
        transaction
            .query(
                "delete from denial where runtime = (select id from runtime where ref = $1)
                 and (component, what) not in (
                     select component, what from denial where runtime = (select id from runtime where ref = $1)
                     order by last_at desc, component, what limit $2)",
            )
            .bind(&runtime)
            .bind(KEPT_MAX)
            .execute()
            .await?;
        transaction.commit().await
    }

    /// What was denied for a runtime, the last first.
    pub async fn denials(&self, runtime: i64) -> Result<Vec<DenialRow>> {
        let rows = self
            .database
            .query("select * from denial where runtime = $1 order by last_at desc, component, what")
            .bind(runtime)
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(DenialRow {
                    component: row.try_get("component")?,
                    what: row.try_get("what")?,
                    count: row.try_get("count")?,
                    first_at: row.try_get("first_at")?,
                    last_at: row.try_get("last_at")?,
                })
            })
            .collect()
    }
}
