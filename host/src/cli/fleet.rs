//! `attune worker list`: the workers that there are.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone, table};
use super::runtime::worker_failed;
use super::shown::time;
use crate::printable::printable;
use crate::store::fleet::{WorkerRow, silence_max};
use crate::worker::open_store;

/// A worker, as `--json` shows it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    host: &'a str,
    /// As it is on record; `silent` if it gave no sign of life of late and nobody has noticed yet.
    status: &'a str,
    slots: i64,
    running: i64,
    version: &'a str,
    heartbeat_at: DateTime<Utc>,
    installed: Vec<Installed<'a>>,
}

#[derive(Serialize)]
struct Installed<'a> {
    runtime: String,
    versions: &'a [String],
}

pub(super) async fn list(options: &Options, output: &Output) -> Result<Exit, Failed> {
    let settings = options.settings(output)?;
    let store = open_store(&settings).await.map_err(worker_failed)?;
    let workers = store.workers(silence_max(settings.lease)).await?;
    store.close().await;
    let shown = workers.iter().map(Shown::from).collect::<Vec<_>>();
    output.data(&shown, || {
        if shown.is_empty() {
            return "there are no workers: `attune worker` starts one".to_owned();
        }
        table(
            ["WORKER", "HOST", "STATUS", "RUNNING", "VERSION", "LAST SEEN (UTC)", "INSTALLED"],
            shown.iter().map(|worker| row(output, worker)),
        )
    })?;
    Ok(Exit::Success)
}

fn row(output: &Output, worker: &Shown<'_>) -> [String; 7] {
    let tone = match worker.status {
        "active" => Tone::Good,
        "lost" | "silent" => Tone::Bad,
        _ => Tone::Dim,
    };
    let installed = worker
        .installed
        .iter()
        .map(|installed| format!("{} {}", installed.runtime, installed.versions.join(", ")));
    [
        printable(worker.name).into_owned(),
        printable(worker.host).into_owned(),
        output.data_tone(tone, worker.status),
        format!("{} of {}", worker.running, worker.slots),
        worker.version.to_owned(),
        time(worker.heartbeat_at),
        printable(&installed.collect::<Vec<_>>().join("; ")).into_owned(),
    ]
}

impl<'a> From<&'a WorkerRow> for Shown<'a> {
    fn from(row: &'a WorkerRow) -> Self {
        Self {
            name: &row.name,
            host: &row.host,
            status: if row.is_silent() { "silent" } else { &row.status },
            slots: row.slots,
            running: row.running,
            version: &row.version,
            heartbeat_at: row.heartbeat_at,
            installed: row
                .installed
                .iter()
                .map(|(runtime, versions)| Installed { runtime: runtime.to_string(), versions })
                .collect(),
        }
    }
}
