//! What components answered before.

use chrono::TimeDelta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cache::Key;
use super::row::{json, to_json};
use super::worker::WorkerId;
use super::{Durability, Result, Store, now};

/// An answer that nobody has asked for again for so long is not kept.
const AGE_MAX: TimeDelta = TimeDelta::days(30);

/// What an answer is filed under.
#[derive(Clone, Copy, Debug)]
pub struct AnswerKey<'a> {
    pub plugin: &'a str,
    pub function: &'a str,
    /// Digest of what was asked.
    pub asked: &'a str,
}

impl Store {
    /// What a component answered to the same question before.
    pub async fn answer<T: DeserializeOwned + Clone + Send + Sync + 'static>(
        &self,
        worker: WorkerId,
        key: AnswerKey<'_>,
    ) -> Result<Option<T>> {
        let read = async {
            let row = self
                .database
                .query(
                    "select answer from plugin_answer
             where worker = $1 and plugin = $2 and function = $3 and asked = $4",
                )
                .bind(worker.0)
                .bind(key.plugin)
                .bind(key.function)
                .bind(key.asked)
                .fetch_optional()
                .await?;
            // One that an older Attune wrote in another form is as good as none.
            Ok(row.and_then(|row| json(&row, "answer").ok()))
        };
        let parts = || [key.plugin, key.function, key.asked].map(str::to_owned);
        self.cached(|| Key::Answer(worker, parts()), read).await
    }

    /// Keeps an answer, and lets go of old ones. Losing it in a power cut does no harm.
    pub async fn keep_answer<T: Serialize>(
        &self,
        worker: WorkerId,
        key: AnswerKey<'_>,
        answer: &T,
    ) -> Result<()> {
        let mut transaction = self.begin(Durability::Process).await?;
        transaction
            .query(
                "insert into plugin_answer (worker, plugin, function, asked, answer, answered_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (worker, plugin, function, asked) do update set
                 answer = excluded.answer, answered_at = excluded.answered_at",
            )
            .bind(worker.0)
            .bind(key.plugin)
            .bind(key.function)
            .bind(key.asked)
            .bind(to_json(answer))
            .bind(now())
            .execute()
            .await?;
        transaction
            .query("delete from plugin_answer where worker = $1 and answered_at < $2")
            .bind(worker.0)
            .bind(now() - AGE_MAX)
            .execute()
            .await?;
        transaction.commit().await?;
        self.has_changed();
        Ok(())
    }
}
