//! What nobody needs any more.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::database::Engine;
use super::{Durability, Result, Store};

/// How much is removed in one transaction: nobody waits long for its end.
const BATCH: u32 = 500;

/// The same of what others have to be told of.
const FEW: u32 = 50;

/// A worker that is gone is remembered for this long at least: it may be one whose data folder is not used every day.
const GONE_MIN: TimeDelta = TimeDelta::days(7);

impl Store {
    /// Removes executions that ended before a time, with their logs, then what only such executions needed, and workers that
    /// have been gone since. It goes on for as long as there are any, but begins nothing more after `at_most`. How many
    /// executions that were.
    pub async fn forget(&self, before: DateTime<Utc>, at_most: Duration) -> Result<u64> {
        self.forget_by(BATCH, before, at_most).await
    }

    async fn forget_by(&self, batch: u32, before: DateTime<Utc>, at_most: Duration) -> Result<u64> {
        let begun = Instant::now();
        let mut forgotten = 0;
        loop {
            let count = self.forget_executions(before, batch).await?;
            forgotten += count;
            if count < u64::from(batch) {
                break;
            }
            if begun.elapsed() >= at_most {
                return Ok(forgotten);
            }
        }
        let few = batch.min(FEW);
        while self.forget_requirements(few).await? == u64::from(few) && begun.elapsed() < at_most {}
        self.forget_workers(before.min(self.time().await? - GONE_MIN)).await?;
        Ok(forgotten)
    }

    async fn forget_executions(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        self.database
            .query(match self.engine() {
                Engine::Sqlite => {
                    "delete from execution where id in
                     (select id from execution where finished_at < $1 order by finished_at limit $2)"
                }
                // Others remove others meanwhile. As an array, so that they are looked up by their identifiers, and not looked
                // for among all that there are.
                Engine::Postgres => {
                    "delete from execution where id = any(array(
                     select id from execution where finished_at < $1 order by finished_at limit $2
                     for update skip locked))"
                }
            })
            .bind(before)
            .bind(i64::from(limit))
            .execute()
            .await
    }

    /// Removes workers that were stopped or lost before a time, with all that they had found. One that comes back is a new one.
    async fn forget_workers(&self, before: DateTime<Utc>) -> Result<u64> {
        self.database
            .query(
                "delete from worker where status in ('stopped', 'lost') and heartbeat_at < $1 and not exists (
                     select 1 from execution where execution.worker = worker.id and execution.status = 'running')",
            )
            .bind(before)
            .execute()
            .await
    }

    /// Removes requirements that no execution has, nor any action of the pack. Whoever asks for the same again makes it again.
    async fn forget_requirements(&self, limit: u32) -> Result<u64> {
        macro_rules! unused {
            ($which:literal, $lock:literal) => {
                concat!(
                    "select id from requirement
                     where not exists (select 1 from execution where execution.requirement = requirement.id)
                         and not exists (
                             select 1 from action join pack on pack.id = action.pack
                             where pack.ref = requirement.pack
                                 and coalesce(action.runtime_version_constraint, '') = requirement.constraint_text) ",
                    $which,
                    " order by id limit $1",
                    $lock
                )
            };
        }
        let mut transaction = self.begin(Durability::Process).await?;
        let unused = transaction.query(match self.engine() {
            // The number of the last would be given to the next, and what was judged of the one taken for the other.
            Engine::Sqlite => unused!("and id < (select max(id) from requirement)", ""),
            Engine::Postgres => unused!("", " for update skip locked"),
        });
        let mut forgotten = 0;
        for row in unused.bind(i64::from(limit)).fetch_all().await? {
            // Somebody may have used it before it was locked.
            forgotten += transaction
                .query(
                    "delete from requirement where id = $1
                     and not exists (select 1 from execution where execution.requirement = requirement.id)",
                )
                .bind(row.try_get::<i64>("id")?)
                .execute()
                .await?;
        }
        transaction.commit().await?;
        Ok(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::queue::NewQueued;
    use super::super::requirement::NewRequirement;
    use super::super::{Location, now};
    use super::*;
    use crate::execution::ExecutionId;
    use crate::reference::{ActionRef, RuntimeRef};

    /// A store with executions that have ended, each of which needed something else, and one that waits.
    async fn ended(folder: &tempfile::TempDir, count: usize) -> Store {
        let store = Store::open(&Location::File(folder.path().join("attune.db"))).await.unwrap();
        for number in 0..=count {
            let id = enqueue(&store, number).await;
            if number < count {
                store.cancel_execution(id).await.unwrap();
            }
        }
        store
    }

    async fn enqueue(store: &Store, number: usize) -> ExecutionId {
        let action: ActionRef = "tests.act".parse().unwrap();
        let runtime: RuntimeRef = "tests.lang".parse().unwrap();
        let constraint = format!(">={number}");
        let id = ExecutionId::new();
        let requirement = NewRequirement {
            runtime: &runtime,
            constraint: &constraint,
            variant: "",
            fallback: false,
            action: &action,
            limit: None,
        };
        let new = NewQueued {
            id,
            action: &action,
            pack_digest: "",
            requirement,
            parameters: &json!({}),
            constraint: None,
            timeout: None,
            priority: 0,
            created_at: now(),
            run_at: now(),
            deadline: None,
            retries: 0,
            idempotent: false,
            idempotency_key: None,
            request_digest: "",
            trace: None,
        };
        store.enqueue(&new).await.unwrap();
        id
    }

    async fn left(store: &Store, table: &'static str) -> i64 {
        store.database.query(table).fetch_one().await.unwrap().try_get("left_over").unwrap()
    }

    const EXECUTIONS: &str = "select count(*) as left_over from execution";
    const REQUIREMENTS: &str = "select count(*) as left_over from requirement";

    #[tokio::test]
    async fn all_that_ended_long_ago_is_forgotten_however_much_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = ended(&folder, 7).await;
        let hour = chrono::TimeDelta::hours(1);
        assert_eq!(store.forget_by(2, now() - hour, Duration::MAX).await.unwrap(), 0);
        assert_eq!((left(&store, EXECUTIONS).await, left(&store, REQUIREMENTS).await), (8, 8));
        assert_eq!(store.forget_by(2, now() + hour, Duration::MAX).await.unwrap(), 7);
        assert_eq!((left(&store, EXECUTIONS).await, left(&store, REQUIREMENTS).await), (1, 1));
        // It is made again.
        enqueue(&store, 0).await;
        assert_eq!((left(&store, EXECUTIONS).await, left(&store, REQUIREMENTS).await), (2, 2));
    }

    #[tokio::test]
    async fn workers_that_are_gone_are_forgotten_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let store = ended(&folder, 0).await;
        for (name, status, days) in [
            ("lost", "lost", 8),
            ("stopped", "stopped", 8),
            ("silent", "active", 8),
            ("of late", "stopped", 6),
        ] {
            store
                .database
                .query(
                    "insert into worker (id, name, host, home, labels, status, capacity, version, started_at, heartbeat_at)
                 values ($1, $2, '', '', '{}', $3, 1, '', $4, $4)",
                )
                .bind(uuid::Uuid::now_v7())
                .bind(name)
                .bind(status)
                .bind(now() - TimeDelta::days(days))
                .execute()
                .await
                .unwrap();
        }
        store.forget(now(), Duration::MAX).await.unwrap();
        let left = store.workers(TimeDelta::hours(1)).await.unwrap();
        assert_eq!(left.iter().map(|worker| worker.name.as_str()).collect::<Vec<_>>(), ["of late", "silent"]);
    }

    #[tokio::test]
    async fn forgetting_gives_way_when_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = ended(&folder, 7).await;
        assert_eq!(store.forget_by(2, now() + chrono::TimeDelta::hours(1), Duration::ZERO).await.unwrap(), 2);
        assert_eq!((left(&store, EXECUTIONS).await, left(&store, REQUIREMENTS).await), (6, 8));
    }
}
