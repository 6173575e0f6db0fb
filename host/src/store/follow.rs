//! Following executions: where many of them stand, and what became of all of them since.
//!
//! What becomes of executions is kept only while somebody follows all of them (`change_follower` in the migrations). A change
//! gets its number when it is seen, not when it is made: on a server, what began earlier may be committed later, and
//! whoever goes by an order of beginning would pass over it. Those who give numbers do so one after the other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::database::{Engine, Row};
use super::execution::{Attempt, ExecutionsFilter, LogChunk, LogStream};
use super::log::log_row;
use super::row::{parsed, to_json};
use super::slice::{Slice, sliced};
use super::{Durability, Result, Store};
use crate::execution::{ExecutionId, Status};
use crate::reference::ActionRef;

/// For how long what becomes of executions is kept, and is kept on after the last who followed it.
pub(crate) const KEPT: Duration = Duration::from_mins(10);

/// So many changes are numbered, read or removed at a time.
pub(crate) const CHANGES_MAX: u32 = 1000;

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub id: ExecutionId,
    pub action: ActionRef,
    pub status: Status,
    pub reason: Option<String>,
    pub attempt: i64,
    pub runtime: Option<String>,
    pub selected_version: Option<String>,
    pub worker: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The number of the last piece of the attempt's log.
    pub printed: Option<i64>,
}

/// Something that became of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Grows; not every number is given.
    pub number: i64,
    pub id: ExecutionId,
    pub action: ActionRef,
    pub status: Status,
    pub attempt: i64,
    pub reason: Option<String>,
    pub at: DateTime<Utc>,
}

/// Which changes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whoever has seen all up to this one can be told of all since.
    pub from: i64,
    /// The last.
    pub last: i64,
}

/// A piece of a log, and which one it is.
#[derive(Clone, Debug)]
pub struct LogPiece {
    pub attempt: i64,
    pub sequence: i64,
    pub chunk: LogChunk,
}

/// A place between two pieces of an execution's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LogPlace {
    pub attempt: i64,
    /// Of the next piece.
    pub sequence: i64,
}

/// The statement for where executions stand, with the number of the last piece of the log; what follows says which.
macro_rules! select_standing {
    ($printed:literal, $which:literal) => {
        concat!(
            "select execution.id, action, execution.status, reason, attempt, runtime, selected_version,
                 worker.name as worker_name, created_at, execution.started_at as started_at, finished_at, ",
            $printed,
            " as printed from execution left join worker on worker.id = execution.worker where ",
            $which
        )
    };
}

impl Store {
    /// Where executions stand, for a list of them: whatever each printed is left out.
    pub async fn executions_listed(
        &self,
        filter: &ExecutionsFilter<'_>,
        slice: &Slice<ExecutionId>,
    ) -> Result<Vec<Standing>> {
        let statement = self.database.query(slice.way(sliced!(
            select_standing!(
                "cast(null as bigint)",
                "($1 is null or execution.action = $1) and ($2 is null or execution.status = $2)
                     and ($3 is null or execution.pack = $3)
                     and ($4 is null or execution.id between $4 and $5)"
            ),
            "execution.id" after "$6", limit "$7"
        )));
        let rows = filter.bind(statement, slice).fetch_all().await?;
        rows.iter().map(standing_row).collect()
    }

    /// Where executions stand; those that are gone are left out.
    pub async fn standings(&self, ids: &[ExecutionId]) -> Result<Vec<Standing>> {
        macro_rules! standing {
            ($ids:literal) => {
                select_standing!(
                    "(select max(sequence) from execution_log
                      where execution = execution.id and attempt = execution.attempt)",
                    $ids
                )
            };
        }
        let ids = ids.iter().map(|id| id.0.simple().to_string()).collect::<Vec<_>>();
        let rows = self
            .database
            .query(match self.engine() {
                Engine::Sqlite => standing!("execution.id in (select unhex(value) from json_each($1))"),
                Engine::Postgres => {
                    standing!(
                        "execution.id = any(array(select cast(value as uuid) from json_array_elements_text(cast($1 as json))))"
                    )
                }
            })
            .bind(to_json(&ids))
            .fetch_all()
            .await?;
        rows.iter().map(standing_row).collect()
    }

    /// What an execution printed from a place on, up to the end of an attempt, so many pieces at most.
    pub async fn log_between(
        &self,
        id: ExecutionId,
        from: LogPlace,
        last_attempt: i64,
        limit: u32,
    ) -> Result<Vec<LogPiece>> {
        let rows = self
            .database
            .query(
                "select attempt, sequence, stream, bytes from execution_log
             where execution = $1 and (attempt, sequence) >= ($2, $3) and attempt <= $4
             order by attempt, sequence limit $5",
            )
            .bind(id.0)
            .bind(from.attempt)
            .bind(from.sequence)
            .bind(last_attempt)
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                let (sequence, chunk) = log_row(row)?;
                Ok(LogPiece { attempt: row.try_get("attempt")?, sequence, chunk })
            })
            .collect()
    }

    /// The last bytes that an attempt printed to a stream before a piece of its log: at least three, if there were so many.
    pub async fn log_before(
        &self,
        Attempt { id, number }: Attempt,
        sequence: i64,
        stream: LogStream,
    ) -> Result<Vec<u8>> {
        let rows = self
            .database
            .query(
                "select sequence, stream, bytes from execution_log
             where execution = $1 and attempt = $2 and sequence < $3 and stream = $4 order by sequence desc limit 3",
            )
            .bind(id.0)
            .bind(number)
            .bind(sequence)
            .bind(stream.name())
            .fetch_all()
            .await?;
        let mut bytes = Vec::new();
        for row in rows.iter().rev() {
            bytes.extend(log_row(row)?.1.bytes);
        }
        Ok(bytes)
    }

    /// Has what becomes of executions kept from now on, or for longer.
    pub async fn follow_changes(&self) -> Result<()> {
        let (now, until) = (self.time().await?.timestamp(), KEPT.as_secs().cast_signed());
        let longer = "update change_follower set until = $1 where until > $2";
        if self.database.query(longer).bind(now + until).bind(now).execute().await? > 0 {
            return Ok(());
        }
        // Of an earlier time, since which not all was kept.
        while self.remove_changes(i64::MAX, Some(now)).await? > 0 {}
        let mut transaction = self.begin(Durability::Disk).await?;
        if self.engine() == Engine::Postgres {
            // Waits for those who change executions and could not know yet that this is to be kept.
            transaction.query("lock table execution in share row exclusive mode").execute().await?;
        }
        transaction
            // What nobody has is a number in between, so that whoever saw the last can be told that he missed some.
            .query("update change_follower set until = $1, number = number + 1 where until <= $2")
            .bind(now + until)
            .bind(now)
            .execute()
            .await?;
        transaction.commit().await
    }

    /// Gives numbers to the changes that have none, and says which are kept.
    pub async fn number_changes(&self) -> Result<Kept> {
        let unnumbered = "select 1 as one from execution_change where number is null limit 1";
        while self.database.query(unnumbered).fetch_optional().await?.is_some() {
            let mut transaction = self.begin(Durability::Process).await?;
            let last: i64 = transaction
                .query(match self.engine() {
                    Engine::Sqlite => "select number from change_follower",
                    Engine::Postgres => "select number from change_follower for update",
                })
                .fetch_one()
                .await?
                .try_get("number")?;
            let count = transaction
                .query(
                    "update execution_change set number = $1 + seen.place
                 from (select id, row_number() over (order by id) as place from (
                     select id from execution_change where number is null order by id limit $2) as unnumbered) as seen
                 where execution_change.id = seen.id",
                )
                .bind(last)
                .bind(i64::from(CHANGES_MAX))
                .execute()
                .await?;
            transaction
                .query("update change_follower set number = number + $1")
                .bind(count.cast_signed())
                .execute()
                .await?;
            transaction.commit().await?;
        }
        let row = self
            .database
            .query(
                "select number, (select min(number) from execution_change where number is not null) as first
             from change_follower",
            )
            .fetch_one()
            .await?;
        let last = row.try_get("number")?;
        let first: Option<i64> = row.try_get("first")?;
        Ok(Kept { from: first.map_or(last, |first| first - 1), last })
    }

    /// The changes after one, in their order, so many at most as are read at a time.
    pub async fn changes_after(&self, number: i64) -> Result<Vec<Change>> {
        let rows = self
            .database
            .query("select * from execution_change where number > $1 order by number limit $2")
            .bind(number)
            .bind(i64::from(CHANGES_MAX))
            .fetch_all()
            .await?;
        rows.iter().map(change_row).collect()
    }

    /// Removes changes that are not kept any longer, of the oldest so many at most as are removed at a time. How many it
    /// removed.
    pub async fn forget_changes(&self) -> Result<u64> {
        let before = self.time().await? - KEPT;
        self.remove_changes(before.timestamp_millis(), None).await
    }

    /// Removes the oldest of the changes before a time; unless none, only while what becomes of executions is not kept.
    async fn remove_changes(&self, before: i64, unless_kept: Option<i64>) -> Result<u64> {
        self.database
            .query(
                "delete from execution_change where at < $1 and id in (
                 select id from execution_change order by id limit $2)
             and ($3 is null or (select until from change_follower) <= $3)",
            )
            .bind(before)
            .bind(i64::from(CHANGES_MAX))
            .bind(unless_kept)
            .execute()
            .await
    }
}

fn standing_row(row: &Row) -> Result<Standing> {
    Ok(Standing {
        id: ExecutionId(row.try_get("id")?),
        action: parsed(row, "action")?,
        status: parsed(row, "status")?,
        reason: row.try_get("reason")?,
        attempt: row.try_get("attempt")?,
        runtime: row.try_get("runtime")?,
        selected_version: row.try_get("selected_version")?,
        worker: row.try_get("worker_name")?,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        printed: row.try_get("printed")?,
    })
}

fn change_row(row: &Row) -> Result<Change> {
    Ok(Change {
        number: row.try_get("number")?,
        id: ExecutionId(row.try_get("execution")?),
        action: parsed(row, "action")?,
        status: parsed(row, "status")?,
        attempt: row.try_get("attempt")?,
        reason: row.try_get("reason")?,
        at: DateTime::from_timestamp_millis(row.try_get("at")?).unwrap_or_default(),
    })
}
