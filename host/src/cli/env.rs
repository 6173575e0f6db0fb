//! `attune env`: the environments on this machine.

mod repair;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::{Serialize, Serializer};

use super::amount::{size, time};
use super::failure::{Exit, Failed};
use super::options::{DryRun, Options};
use super::output::{Output, Tone};
use super::runtime::open_worker;
use super::table::table;
use crate::environment::build::is_building;
use crate::environment::collect::{self, Entry, Policy};
use crate::environment::key::Key;
use crate::environment::layout::Layout;
use crate::environment::ready::{State, inspect};
use crate::environment::retry::Failing;
use crate::environment::rubbish::remove_rubbish;
use crate::installation::Identity;
use crate::pack::problem::counted;
use crate::printable::printable;
use crate::store::environment::EnvironmentRow;
use crate::worker::Worker;

#[derive(Debug, Subcommand)]
pub(super) enum Env {
    /// List the environments
    List,
    /// Show one environment: what it is for, what built it, what the steps printed, why it could not be built
    Show {
        /// Its path, the beginning of its key, or PACK/RUNTIME
        environment: String,
        /// The version's label, for PACK/RUNTIME
        version: Option<String>,
    },
    /// Remove environments that nothing uses, the least recently used first
    Prune {
        /// Remove as many as it takes to get below this; the setting `environment_quota` unless given
        #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = size)]
        quota: Option<u64>,
        /// Keep what was used within this time; the setting `environment_grace` unless given
        #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
        grace: Option<Duration>,
        /// Remove all that no running execution uses
        #[arg(long, conflicts_with_all = ["quota", "grace"])]
        all: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Check the environments of all actions thoroughly, and build those again that don't work
    Repair {
        #[command(flatten)]
        dry: DryRun,
    },
}

impl Env {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let worker = open_worker(options, output).await?;
        match &self {
            Self::List => list(&worker, output).await?,
            Self::Show { environment, version } => {
                show(&worker, (environment, version.as_deref()), output).await?;
            }
            Self::Prune { quota, grace, all, dry } => {
                let policy = Policy {
                    quota: if *all { 0 } else { quota.unwrap_or(worker.settings.environment_quota) },
                    grace: if *all {
                        Duration::ZERO
                    } else {
                        grace.unwrap_or(worker.settings.environment_grace)
                    },
                };
                prune(&worker, policy, *dry, output).await?;
            }
            Self::Repair { dry } => Box::pin(repair::repair(&worker, *dry, output)).await?,
        }
        worker.close().await;
        Ok(Exit::Success)
    }
}

/// The state of an environment whose interpreter is not there any more.
const GONE: &str = "interpreter_gone";

struct Listed {
    row: EnvironmentRow,
    /// What is on the disk now: `ready`, `missing`, `unfinished`, `interpreter_changed`, [`GONE`]; `building`; or
    /// `failed`.
    state: &'static str,
    bytes: Option<u64>,
}

impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            path: &'a str,
            /// The interpreter that it is built with.
            installation: &'a str,
            key: &'a str,
            state: &'static str,
            pack: &'a str,
            runtime: &'a str,
            runtime_version: &'a str,
            folder: &'a str,
            bytes: Option<u64>,
            error: Option<&'a str>,
            log: Option<&'a str>,
            created_at: DateTime<Utc>,
            last_used_at: DateTime<Utc>,
            /// When building it failed for the last time.
            failed_at: Option<DateTime<Utc>>,
            /// When it is tried again, unless somebody asks for it before.
            again_at: Option<DateTime<Utc>>,
        }
        let row = &self.row;
        let failing = Failing::of(row);
        Shape {
            path: &row.path,
            installation: &row.installation,
            key: &row.key,
            state: self.state,
            pack: &row.pack,
            runtime: &row.runtime,
            runtime_version: &row.runtime_version,
            folder: &row.scope,
            bytes: self.bytes,
            error: row.error.as_deref(),
            log: row.log.as_deref(),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            failed_at: failing.as_ref().map(|failing| failing.failed_at),
            again_at: failing.as_ref().map(|failing| failing.again_at),
        }
        .serialize(serializer)
    }
}

fn layout(worker: &Worker) -> Layout {
    Layout::new(&worker.settings.runtime_envs_dir)
}

fn entries(worker: &Worker) -> Result<Vec<Entry>, Failed> {
    let layout = layout(worker);
    collect::list(&layout).map_err(|error| {
        let context = format!("can't look through `{}`", layout.root().display());
        Failed::new(Exit::Failure, anyhow::Error::new(error).context(context))
    })
}

async fn listed(worker: &Worker) -> Result<Vec<Listed>, Failed> {
    let entries = entries(worker)?;
    let layout = layout(worker);
    let rows = worker.store.environments(worker.id).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let entry = entries.iter().find(|entry| entry.key.as_str() == row.key);
            let state = match (row.status.as_str(), entry) {
                (_, None) if is_building(&layout, &row.key) => "building",
                ("ready" | "building", Some(entry)) => state(&layout, entry),
                ("ready", None) => "missing",
                ("building", None) => "unfinished",
                _ => "failed",
            };
            let used = entry.map(|entry| DateTime::from(entry.last_used));
            let row = EnvironmentRow { last_used_at: used.unwrap_or(row.last_used_at), ..row };
            Listed { state, bytes: entry.map(|entry| entry.size), row }
        })
        .collect())
}

fn state(layout: &Layout, entry: &Entry) -> &'static str {
    let Ok(identity) = Identity::of(&entry.marker.installation) else { return GONE };
    match inspect(layout, &entry.key, &identity) {
        State::Ready(_) => "ready",
        State::Missing => "missing",
        State::Unfinished => "unfinished",
        State::InterpreterChanged { .. } => "interpreter_changed",
    }
}

/// What there is to say where there are none.
pub(super) const NONE: &str = "no environments yet: the first run of an action builds what it needs";

/// A state in the colour that it deserves.
pub(super) fn state_text(output: &Output, state: &str) -> String {
    let tone = match state {
        "ready" => Tone::Good,
        "building" => Tone::Strong,
        _ => Tone::Bad,
    };
    output.data_tone(tone, state)
}

async fn list(worker: &Worker, output: &Output) -> Result<(), Failed> {
    let listed = listed(worker).await?;
    output.data(&listed, || {
        if listed.is_empty() {
            return NONE.to_owned();
        }
        table(
            ["ENVIRONMENT", "STATE", "SIZE", "KEY", "LAST USED"],
            listed.iter().map(|environment| {
                [
                    environment.row.path.clone(),
                    state_text(output, environment.state),
                    environment.bytes.map(size_text).unwrap_or_default(),
                    environment.row.key.get(..12).unwrap_or_default().to_owned(),
                    environment.row.last_used_at.format("%Y-%m-%d %H:%M").to_string(),
                ]
            }),
        )
    })?;
    Ok(())
}

/// The paths of the environments whose interpreter is gone.
pub(super) async fn orphaned(worker: &Worker) -> Result<Vec<String>, Failed> {
    let listed = listed(worker).await?.into_iter();
    Ok(listed.filter(|listed| listed.state == GONE).map(|listed| listed.row.path).collect())
}

/// A number of bytes as people read it.
pub(super) fn size_text(bytes: u64) -> String {
    const STEP: u64 = 1024;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes;
    let mut unit = 0;
    while amount >= 10 * STEP && unit + 1 < units.len() {
        amount /= STEP;
        unit += 1;
    }
    format!("{amount} {}", units[unit])
}

/// Whether an environment is the one that is asked for: by its path, with or without the folder of environments, by the
/// beginning of its key, or by its pack and runtime and perhaps its version.
fn is_meant(row: &EnvironmentRow, root: &Path, wanted: &str, version: Option<&str>) -> bool {
    if wanted.len() >= 4 && version.is_none() && row.key.starts_with(wanted) {
        return true;
    }
    let path = Path::new(&row.path);
    if version.is_none() && (path == Path::new(wanted) || path.strip_prefix(root) == Ok(Path::new(wanted))) {
        return true;
    }
    let Some((pack, runtime)) = wanted.split_once('/') else { return false };
    let name = row.runtime.rsplit('.').next();
    row.pack == pack
        && (row.runtime == runtime || name == Some(runtime))
        && version.is_none_or(|version| row.runtime_version == version)
}

async fn show(
    worker: &Worker,
    (wanted, version): (&str, Option<&str>),
    output: &Output,
) -> Result<(), Failed> {
    let mut found = listed(worker).await?;
    let layout = layout(worker);
    found.retain(|listed| is_meant(&listed.row, layout.root(), wanted, version));
    let wanted = [Some(wanted), version].into_iter().flatten().collect::<Vec<_>>().join(" ");
    // Several may share what was built: they have one key, and differ in their paths.
    if found.len() > 1 {
        let mut paths = String::new();
        for listed in &found {
            // Writing to a string can't fail.
            let key = listed.row.key.get(..12).unwrap_or_default();
            let _ = writeln!(paths, "  {key}  {}  {}", listed.row.path, listed.row.installation);
        }
        return Err(Failed::message(
            Exit::Input,
            format!("`{wanted}` means more than one: name its path or key"),
        )
        .report(paths));
    }
    let environment = found.pop().ok_or_else(|| {
        Failed::message(Exit::NotFound, format!("there is no environment `{wanted}`"))
            .hint("`attune env list` shows their paths and keys; PACK/RUNTIME VERSION will do as well")
    })?;
    output.data(&environment, || {
        let row = &environment.row;
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                // Writing to a string can't fail.
                let _ = writeln!(text, "{name:<14}{}", printable(value));
            }
        };
        line("environment", &row.path);
        line("state", environment.state);
        line("pack", &row.pack);
        line("runtime", &format!("{} {}", row.runtime, row.runtime_version));
        line("interpreter", &row.installation);
        line("folder", &row.scope);
        line("key", &row.key);
        line("built in", &layout.root().join(".built").join(&row.key).display().to_string());
        line("size", &environment.bytes.map(size_text).unwrap_or_default());
        match Failing::of(row) {
            None if environment.state == "building" || environment.state == "unfinished" => {
                line("begun", &row.created_at.to_rfc3339());
            }
            None => {
                line("built", &row.created_at.to_rfc3339());
                line("last used", &row.last_used_at.to_rfc3339());
            }
            Some(failing) => {
                line("failed", &failing.failed_at.to_rfc3339());
                if failing.since < failing.failed_at {
                    line("failing since", &failing.since.to_rfc3339());
                }
                line("tried again", &format!("{} at the earliest", failing.again_at.to_rfc3339()));
                line("error", &failing.error);
            }
        }
        if let Some(log) = &row.log {
            let _ = write!(text, "\n{}", printable(log));
        }
        text
    })?;
    Ok(())
}

/// An environment that goes or is gone.
#[derive(Serialize)]
struct Removed {
    key: String,
    path: PathBuf,
    links: Vec<PathBuf>,
    bytes: u64,
}

impl From<&Entry> for Removed {
    fn from(entry: &Entry) -> Self {
        let Entry { key, path, links, size, .. } = entry.clone();
        Self { key: key.as_str().to_owned(), path, links, bytes: size }
    }
}

/// A line for each, and what that frees.
fn removed_text((removed_is, freed_is): (&str, &str), removed: &[Removed]) -> String {
    let freed = removed.iter().map(|removed| removed.bytes).sum();
    let paths = removed.iter().flat_map(|removed| removed.links.iter().chain([&removed.path]));
    let mut text =
        paths.map(|path| format!("{removed_is} {}\n", path.display())).collect::<Vec<_>>().concat();
    // Writing to a string can't fail.
    let count = counted(removed.len(), "environment");
    let _ = writeln!(text, "{count} {removed_is}, {} {freed_is}", size_text(freed));
    text
}

async fn prune(worker: &Worker, policy: Policy, dry: DryRun, output: &Output) -> Result<(), Failed> {
    #[derive(Serialize)]
    struct Plan {
        removed: Vec<Removed>,
        /// Builds that failed or were left, which are forgotten.
        forgotten: Vec<String>,
    }
    let failed = |error: std::io::Error| {
        Failed::new(Exit::Failure, anyhow::Error::new(error).context("can't remove environments"))
    };
    let layout = layout(worker);
    let in_use = worker.store.environment_keys_in_use(worker.id).await?;
    let in_use = in_use.iter().filter_map(|key| key.parse::<Key>().ok()).collect::<BTreeSet<_>>();
    let entries = entries(worker)?;
    let decided = collect::decide(&entries, &in_use, policy, SystemTime::now());
    let rows = worker.store.environments(worker.id).await?;
    let (left, others) = rows.into_iter().partition::<Vec<_>, _>(|row| {
        row.status == "failed" || row.status == "building" && !is_building(&layout, &row.key)
    });
    if dry.dry_run {
        let plan = Plan {
            removed: decided.iter().map(|entry| Removed::from(*entry)).collect(),
            forgotten: left.into_iter().map(|row| row.path).collect(),
        };
        output.plan(&plan, || {
            let forgotten =
                plan.forgotten.iter().map(|path| format!("forgotten: the failed build of {path}\n"));
            format!(
                "{}{}",
                removed_text(("to be removed", "to be freed"), &plan.removed),
                forgotten.collect::<String>()
            )
        })?;
        return Ok(());
    }
    remove_rubbish(&layout).map_err(failed)?;
    let removed = collect::prune(&layout, &decided).map_err(failed)?;
    let is_removed = |row: &EnvironmentRow| removed.iter().any(|entry: &Entry| entry.key.as_str() == row.key);
    for row in left.iter().chain(others.iter().filter(|row| is_removed(row))) {
        worker.store.forget_environment(worker.id, &row.path, &row.installation).await?;
    }
    let removed = removed.iter().map(Removed::from).collect::<Vec<_>>();
    output.data(&removed, || removed_text(("removed", "freed"), &removed))?;
    Ok(())
}
