//! What programs answered to probes: as long as a program file is the same, so is the answer.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::row::{json, to_json};
use super::worker::WorkerId;
use super::{Durability, Result, Store, now};

/// What a remembered probe is filed under.
#[derive(Clone, Copy, Debug)]
pub struct ProbeKey<'a> {
    pub plugin: &'a str,
    pub path: &'a str,
    pub invocation: &'a str,
    pub identity: &'a str,
}

impl Store {
    /// Everything that a worker's programs answered to a component.
    pub async fn probes<T: DeserializeOwned>(&self, worker: WorkerId, plugin: &str) -> Result<Vec<T>> {
        let rows = self
            .database
            .query("select entry from tool_probe where worker = $1 and plugin = $2")
            .bind(worker.0)
            .bind(plugin)
            .fetch_all()
            .await?;
        // An entry that an older Attune wrote in another form is as good as none.
        Ok(rows.iter().filter_map(|row| json(row, "entry").ok()).collect())
    }

    /// Remembers answers; a program's newer answer to the same invocation replaces the older.
    pub async fn remember_probes<'a, T>(
        &self,
        worker: WorkerId,
        probes: impl IntoIterator<Item = (ProbeKey<'a>, &'a T)>,
    ) -> Result<()>
    where
        T: Serialize + 'a,
    {
        let mut transaction = self.begin(Durability::Process).await?;
        for (key, entry) in probes {
            transaction
                .query(
                    "insert into tool_probe (worker, plugin, path, invocation, identity, entry, probed_at)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (worker, plugin, path, invocation) do update set
                     identity = excluded.identity, entry = excluded.entry, probed_at = excluded.probed_at",
                )
                .bind(worker.0)
                .bind(key.plugin)
                .bind(key.path)
                .bind(key.invocation)
                .bind(key.identity)
                .bind(to_json(entry))
                .bind(now())
                .execute()
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
