//! `attune doctor`: what is found on this machine, what is missing, and how to mend it.

use std::fs;
use std::path::Path;

use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;

use super::env::orphaned;
use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone};
use super::progress::Progress;
use super::remedy;
use super::runtime::open_worker;
use crate::pack::embedded::is_embedded;
use crate::pack::problem::counted;
use crate::store::StoreError;
use crate::store::pack::PackRow;
use crate::worker::{Lost, Worker, WorkerError};

mod actions;
mod runtime;

use actions::stranded;
use runtime::examine;

#[derive(Debug, Args)]
pub(super) struct Doctor {}

/// How one examination came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    Warning,
    Bad,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: State,
    seen: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Good, seen: seen.into(), mend: None }
    }

    fn new(state: State, what: impl Into<String>, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), state, seen: seen.into(), mend: Some(mend.into()) }
    }
}

impl Doctor {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let settings = options.settings(output)?;
        let worker = match open_worker(options, output).await {
            Ok(worker) => worker,
            Err(failed) => {
                let is_newer =
                    matches!(failed.error.downcast_ref(), Some(WorkerError::Store(StoreError::Newer { .. })));
                let mend = if is_newer {
                    "run the newer Attune that has used it, or keep this one apart: --data-dir DIR".to_owned()
                } else {
                    let of_database = remedy::of_database(failed.error.as_ref(), &settings.database);
                    let first = failed.hints.first().cloned().or(of_database);
                    first.unwrap_or_else(|| remedy::OTHER_FOLDER.to_owned())
                };
                let findings = [Finding::new(State::Bad, "data folder and database", failed.text(), mend)];
                output.data(&findings, || text(output, &findings))?;
                return Ok(failed.exit);
            }
        };
        let progress = Progress::begin(output);
        let mut findings =
            vec![data_folder(&worker), Finding::good("database", worker.settings.database.to_string())];
        findings.push(private(&worker.settings.data_dir));
        findings.extend(disk(&worker));
        findings.push(Finding::good("sandbox", "T0: clean environment, own process group, bounded output"));
        for pack in worker.store.packs().await? {
            findings.extend(pack_files(&worker, &pack).await);
        }
        progress.say("looking for what is installed of each runtime");
        let runtimes = worker.store.runtimes().await?;
        // Side by side: a component that hangs holds up no other.
        let examined = join_all(runtimes.iter().map(|runtime| examine(&worker, runtime))).await;
        findings.extend(examined.into_iter().flatten());
        findings.extend(stranded(&worker).await?);
        findings.extend(environments(&worker).await?);
        progress.end();
        output.data(&findings, || text(output, &findings))?;
        worker.close().await;
        let bad = findings.iter().any(|finding| finding.state == State::Bad);
        Ok(if bad { Exit::Failure } else { Exit::Success })
    }
}

fn data_folder(worker: &Worker) -> Finding {
    let folder = &worker.settings.data_dir;
    let seen = folder.display().to_string();
    match tempfile::tempfile_in(folder) {
        Ok(_) => Finding::good("data folder", seen),
        Err(error) => Finding::new(
            State::Bad,
            "data folder",
            format!("{seen}: {error}"),
            "give this user the folder, or use another one: --data-dir DIR",
        ),
    }
}

fn private(folder: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder).map(|metadata| metadata.permissions().mode() & 0o777).unwrap_or_default();
    if mode.trailing_zeros() >= 6 {
        Finding::good("privacy", "only this user can look into the data folder")
    } else {
        Finding::new(
            State::Warning,
            "privacy",
            format!("the data folder has mode {mode:03o}: others can look into it"),
            format!("chmod 700 {}", folder.display()),
        )
    }
}

fn disk(worker: &Worker) -> Option<Finding> {
    const LOW: u64 = 1 << 30;
    let status = rustix::fs::statvfs(&worker.settings.data_dir).ok()?;
    let free = status.f_bavail.saturating_mul(status.f_frsize);
    let seen = format!("{} MiB free", free >> 20);
    Some(if free < LOW {
        Finding::new(
            State::Warning,
            "disk",
            seen,
            "free some space: `attune env prune --all` removes environments",
        )
    } else {
        Finding::good("disk", seen)
    })
}

/// Environments that nothing can use any more.
async fn environments(worker: &Worker) -> Result<Option<Finding>, Failed> {
    let orphaned = orphaned(worker).await?;
    Ok((!orphaned.is_empty()).then(|| {
        let count = counted(orphaned.len(), "environment");
        Finding::new(
            State::Warning,
            "environments",
            format!("{count} of interpreters that are gone: {}", orphaned.join(", ")),
            "`attune env prune --all` removes them, with all that nothing uses; others are built when they are needed",
        )
    }))
}

/// A pack whose files are not as they were installed; what of them can be had again is written anew.
async fn pack_files(worker: &Worker, pack: &PackRow) -> Option<Finding> {
    let what = format!("pack {}", pack.reference);
    match worker.mend(&pack.reference, &pack.digest, Lost::Files).await {
        Ok(mended) if mended.is_empty() => None,
        Ok(mended) => {
            let seen = format!("damaged or gone: {}", mended.join(", "));
            Some(Finding::new(
                State::Warning,
                what,
                seen,
                "nothing to do: they were written anew from its bundle",
            ))
        }
        Err(error) => {
            let place = if is_embedded(&pack.source) { "PATH" } else { &pack.source };
            Some(Finding::new(State::Bad, what, error.to_string(), format!("attune pack install {place}")))
        }
    }
}

fn text(output: &Output, findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or_default();
    findings
        .iter()
        .map(|finding| {
            let (mark, tone) = match finding.state {
                State::Good => ("ok  ", Tone::Good),
                State::Warning => ("note", Tone::Warning),
                State::Bad => ("bad ", Tone::Bad),
            };
            let mend = finding
                .mend
                .as_ref()
                .map(|mend| format!("      {:width$}  {mend}\n", ""))
                .unwrap_or_default();
            format!("{}  {:width$}  {}\n{mend}", output.data_tone(tone, mark), finding.what, finding.seen)
        })
        .collect::<Vec<_>>()
        .concat()
}
