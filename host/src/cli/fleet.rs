//! `attune worker list`: the workers that there are.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone, table};
use super::redraw::{View, Watch, redraw};
use super::runtime::worker_failed;
use super::shown::time;
use crate::printable::printable;
use crate::store::fleet::{WorkerRow, silence_max};
use crate::worker::open_store;

/// A worker, as `--json` shows it.
#[derive(Serialize, Deserialize)]
pub(super) struct Shown {
    name: String,
    host: String,
    /// As it is on record; `silent` if it gave no sign of life of late and nobody has noticed yet.
    status: String,
    slots: i64,
    running: i64,
    version: String,
    heartbeat_at: DateTime<Utc>,
    installed: Vec<Installed>,
}

#[derive(Serialize, Deserialize)]
struct Installed {
    runtime: String,
    versions: Vec<String>,
}

pub(super) async fn list(watch: Watch, options: &Options, output: &Output) -> Result<Exit, Failed> {
    let settings = options.settings(output)?;
    let store = open_store(&settings).await.map_err(worker_failed)?;
    let look = async || {
        let workers = store.workers(silence_max(settings.lease)).await?;
        Ok(workers.into_iter().map(Shown::from).collect::<Vec<_>>())
    };
    let exit = print(watch, output, look).await;
    store.close().await;
    exit
}

/// Shows the workers that `look` finds, wherever it looks.
pub(super) async fn print(
    watch: Watch,
    output: &Output,
    mut look: impl AsyncFnMut() -> Result<Vec<Shown>, Failed>,
) -> Result<Exit, Failed> {
    if watch.watch {
        return redraw(output, async || Ok(View::passing(text(output, &look().await?)))).await;
    }
    let workers = look().await?;
    output.data(&workers, || text(output, &workers))?;
    Ok(Exit::Success)
}

fn text(output: &Output, workers: &[Shown]) -> String {
    if workers.is_empty() {
        return "there are no workers: `attune worker` starts one".to_owned();
    }
    table(
        ["WORKER", "HOST", "STATUS", "RUNNING", "VERSION", "LAST SEEN (UTC)", "INSTALLED"],
        workers.iter().map(|worker| row(output, worker)),
    )
}

fn row(output: &Output, worker: &Shown) -> [String; 7] {
    let tone = match worker.status.as_str() {
        "active" => Tone::Good,
        "lost" | "silent" => Tone::Bad,
        _ => Tone::Dim,
    };
    let installed = worker
        .installed
        .iter()
        .map(|installed| format!("{} {}", installed.runtime, installed.versions.join(", ")));
    [
        printable(&worker.name).into_owned(),
        printable(&worker.host).into_owned(),
        output.data_tone(tone, &printable(&worker.status)),
        format!("{} of {}", worker.running, worker.slots),
        printable(&worker.version).into_owned(),
        time(worker.heartbeat_at),
        printable(&installed.collect::<Vec<_>>().join("; ")).into_owned(),
    ]
}

impl Shown {
    /// The same, if it was heard of late or was not.
    pub(super) fn heard_of(self, is_live: bool) -> Self {
        let is_to_be_there = matches!(self.status.as_str(), "active" | "draining");
        if is_live || !is_to_be_there { self } else { Self { status: "silent".to_owned(), ..self } }
    }
}

impl From<WorkerRow> for Shown {
    fn from(row: WorkerRow) -> Self {
        Self {
            status: if row.is_silent() { "silent".to_owned() } else { row.status },
            name: row.name,
            host: row.host,
            slots: row.slots,
            running: row.running,
            version: row.version,
            heartbeat_at: row.heartbeat_at,
            installed: row
                .installed
                .into_iter()
                .map(|(runtime, versions)| Installed { runtime: runtime.to_string(), versions })
                .collect(),
        }
    }
}
