//! What executions print.

use super::database::Row;
use super::execution::{Attempt, LogChunk, LogStream};
use super::slice::{Slice, sliced};
use super::{Durability, Result, Store};

/// So many pieces of a log are written in one transaction.
const LOG_BATCH: usize = 32;

impl Store {
    /// Appends to the log of an attempt, numbered from `sequence` on; nothing if that does not run any more. A piece that
    /// is there already stays as it is.
    pub async fn append_log(&self, attempt: Attempt, sequence: i64, chunks: &[LogChunk]) -> Result<()> {
        let mut numbered = (sequence..).zip(chunks).peekable();
        // Others may want to write something in between.
        while numbered.peek().is_some() {
            let mut transaction = self.begin(Durability::Process).await?;
            for (sequence, chunk) in numbered.by_ref().take(LOG_BATCH) {
                transaction
                    .query(
                        // Written again if nobody could tell whether it was.
                        "insert into execution_log (execution, attempt, sequence, stream, bytes)
                     select id, attempt, $3, $4, $5 from execution
                     where id = $1 and attempt = $2 and status = 'running'
                     on conflict (execution, attempt, sequence) do nothing",
                    )
                    .bind(attempt.id.0)
                    .bind(attempt.number)
                    .bind(sequence)
                    .bind(chunk.stream.name())
                    .bind(&chunk.bytes)
                    .execute()
                    .await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// What an attempt printed, in order, from a sequence number on.
    pub async fn execution_log(
        &self,
        Attempt { id, number }: Attempt,
        slice: &Slice<i64>,
    ) -> Result<Vec<(i64, LogChunk)>> {
        let rows = self
            .database
            .query(slice.way(sliced!(
                "select sequence, stream, bytes from execution_log where execution = $1 and attempt = $2",
                "sequence" after "$3", limit "$4"
            )))
            .bind(id.0)
            .bind(number)
            .bind(slice.after)
            .bind(slice.limit())
            .fetch_all()
            .await?;
        rows.iter().map(log_row).collect()
    }
}

pub(super) fn log_row(row: &Row) -> Result<(i64, LogChunk)> {
    let stream: String = row.try_get("stream")?;
    let stream = if stream == "stderr" { LogStream::Stderr } else { LogStream::Stdout };
    Ok((row.try_get("sequence")?, LogChunk { stream, bytes: row.try_get("bytes")? }))
}
