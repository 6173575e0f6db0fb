//! `attune worker list`, `show`, `cordon`, `uncordon` and `drain`: the workers that there are, here or on a server.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone};
use super::redraw::{View, Watch, redraw};
use super::runtime::worker_failed;
use super::shown::time;
use super::table::table;
use crate::client::Client;
use crate::printable::printable;
use crate::store::Store;
use crate::store::fleet::{WorkerRow, silence_max};
use crate::store::worker::Wanted;
use crate::worker::open_store;

/// What there is to do with workers.
#[derive(Debug, Subcommand)]
pub(super) enum Fleet {
    /// List the workers: where each is, what it has to do, what is installed there
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a worker
    Show {
        /// What it is called
        name: String,
    },
    /// Have a worker take nothing more, also after it was started again; what it runs goes on
    Cordon {
        /// What it is called
        name: String,
    },
    /// Have a worker take executions again
    Uncordon {
        /// What it is called
        name: String,
    },
    /// Have a worker take nothing more, and end when what it runs has ended
    Drain {
        /// What it is called
        name: String,
    },
}

/// Where workers are looked up.
pub(super) enum Place<'a> {
    Here { store: &'a Store, silence_max: TimeDelta },
    There(&'a Client),
}

/// A worker, as `--json` shows it.
#[derive(Serialize, Deserialize)]
struct Shown {
    name: String,
    host: String,
    /// As it is on record; `silent` if it gave no sign of life of late and nobody has noticed yet.
    status: String,
    /// What somebody wants of it.
    wanted: Option<Wanted>,
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

/// A worker as a server shows it.
#[derive(Deserialize)]
struct Told {
    #[serde(flatten)]
    shown: Shown,
    live: bool,
}

impl Fleet {
    pub(super) async fn execute(&self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let settings = options.settings(output)?;
        let store = open_store(&settings).await.map_err(worker_failed)?;
        let place = Place::Here { store: &store, silence_max: silence_max(settings.lease) };
        let exit = self.execute_at(&place, output).await;
        store.close().await;
        exit
    }

    /// The same, wherever that is.
    pub(super) async fn execute_at(&self, place: &Place<'_>, output: &Output) -> Result<Exit, Failed> {
        match self {
            Self::List { watch: Watch { watch: true } } => {
                return redraw(output, async || Ok(View::passing(text(output, &place.workers().await?))))
                    .await;
            }
            Self::List { .. } => {
                let workers = place.workers().await?;
                output.data(&workers, || text(output, &workers))?;
            }
            Self::Show { name } => {
                let worker = place.worker(name).await?;
                output.data(&worker, || worker.text(output))?;
            }
            Self::Cordon { name } => place.want(name, Some(Wanted::Cordoned), output).await?,
            Self::Uncordon { name } => place.want(name, None, output).await?,
            Self::Drain { name } => place.want(name, Some(Wanted::Drained), output).await?,
        }
        Ok(Exit::Success)
    }
}

impl Place<'_> {
    async fn workers(&self) -> Result<Vec<Shown>, Failed> {
        Ok(match self {
            Self::Here { store, silence_max } => {
                store.workers(*silence_max).await?.into_iter().map(Shown::from).collect()
            }
            Self::There(client) => {
                client.all::<Told>(&["workers"]).await?.into_iter().map(Shown::from).collect()
            }
        })
    }

    async fn worker(&self, name: &str) -> Result<Shown, Failed> {
        let workers = self.workers().await?;
        let names = workers.iter().map(|worker| printable(&worker.name).into_owned()).collect::<Vec<_>>();
        workers.into_iter().find(|worker| worker.name == name).ok_or_else(|| {
            let failed = Failed::message(Exit::NotFound, format!("there is no worker `{}`", printable(name)));
            match names.as_slice() {
                [] => failed.hint("there are no workers: `attune worker` starts one"),
                names => failed.hint(format!("there are: {}", names.join(", "))),
            }
        })
    }

    /// Says what is wanted of a worker, and shows what comes of that.
    async fn want(&self, name: &str, wanted: Option<Wanted>, output: &Output) -> Result<(), Failed> {
        self.worker(name).await?;
        let worker = match self {
            Self::Here { store, .. } => {
                store.want_of_worker(name, wanted).await?;
                self.worker(name).await?
            }
            Self::There(client) => {
                let verb = match wanted {
                    Some(Wanted::Cordoned) => "cordon",
                    Some(Wanted::Drained) => "drain",
                    None => "uncordon",
                };
                client.ask::<Told>(Method::POST, &["workers", name, verb]).await?.into()
            }
        };
        output.data(&worker, || worker.outcome(wanted))?;
        Ok(())
    }
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
    let tone = match (worker.status.as_str(), worker.wanted) {
        ("active", None) => Tone::Good,
        ("active", Some(_)) => Tone::Warning,
        ("lost" | "silent", _) => Tone::Bad,
        _ => Tone::Dim,
    };
    let installed = worker
        .installed
        .iter()
        .map(|installed| format!("{} {}", installed.runtime, installed.versions.join(", ")));
    [
        printable(&worker.name).into_owned(),
        printable(&worker.host).into_owned(),
        output.data_tone(tone, &printable(&worker.state())),
        format!("{} of {}", worker.running, worker.slots),
        printable(&worker.version).into_owned(),
        time(worker.heartbeat_at),
        printable(&installed.collect::<Vec<_>>().join("; ")).into_owned(),
    ]
}

impl Shown {
    /// Its status, with what somebody wants that it has not come to yet.
    fn state(&self) -> String {
        match self.wanted {
            Some(Wanted::Cordoned) => format!("{}, cordoned", self.status),
            Some(Wanted::Drained) if self.status == "active" => format!("{}, to be drained", self.status),
            Some(Wanted::Drained) | None => self.status.clone(),
        }
    }

    fn text(&self, output: &Output) -> String {
        let mut text = String::new();
        let [name, host, status, running, version, seen, _] = row(output, self);
        let lines = [("worker", name), ("host", host), ("status", status), ("running", running)];
        for (key, value) in lines.into_iter().chain([("version", version), ("last seen", seen)]) {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{key:<14}{value}");
        }
        let mut key = "installed";
        for Installed { runtime, versions } in &self.installed {
            let _ = writeln!(text, "{key:<14}{} {}", printable(runtime), printable(&versions.join(", ")));
            key = "";
        }
        text
    }

    /// What comes of what is wanted.
    fn outcome(&self, wanted: Option<Wanted>) -> String {
        let name = printable(&self.name);
        let is_there = matches!(self.status.as_str(), "active" | "draining");
        let running = match self.running {
            0 => "it runs nothing".to_owned(),
            1 => "the execution that it runs goes on".to_owned(),
            running => format!("the {running} executions that it runs go on"),
        };
        match wanted {
            Some(Wanted::Cordoned) if is_there => format!("{name} takes nothing more; {running}"),
            Some(Wanted::Cordoned) => format!("{name} takes nothing when it is started again"),
            Some(Wanted::Drained) if is_there => {
                format!("{name} takes nothing more, and ends when it runs nothing; {running}")
            }
            Some(Wanted::Drained) => format!("{name} is not there: it has nothing to end"),
            None if is_there => format!("{name} takes executions again"),
            None => format!("{name} takes executions when it is started again"),
        }
    }
}

impl From<Told> for Shown {
    fn from(Told { shown, live }: Told) -> Self {
        let is_to_be_there = matches!(shown.status.as_str(), "active" | "draining");
        if live || !is_to_be_there { shown } else { Self { status: "silent".to_owned(), ..shown } }
    }
}

impl From<WorkerRow> for Shown {
    fn from(row: WorkerRow) -> Self {
        Self {
            status: if row.is_silent() { "silent".to_owned() } else { row.status },
            name: row.name,
            host: row.host,
            wanted: row.wanted,
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
