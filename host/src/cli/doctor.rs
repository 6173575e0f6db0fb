//! `attune doctor`: what is found on this machine, what is missing, and how to mend it.

use std::fs;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone};
use super::progress::Progress;
use super::runtime::open_worker;
use crate::detection::{self, Freshness};
use crate::store::installation::InstallationStatus;
use crate::store::pack::PackRow;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

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
        let worker = match open_worker(options, output).await {
            Ok(worker) => worker,
            Err(failed) => {
                let mut seen = failed.error.to_string();
                let cause = failed.error.root_cause().to_string();
                if !seen.contains(&cause) {
                    seen = format!("{seen}: {cause}");
                }
                let mend = "move the file away if it is damaged, or use another folder: --data-dir DIR";
                let findings = [Finding::new(State::Bad, "data folder and database", seen, mend)];
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
            findings.extend(pack_files(&worker, &pack));
        }
        for runtime in worker.store.runtimes().await? {
            progress.say(format!("looking for {}", runtime.runtime.label));
            findings.push(examine(&worker, &runtime).await);
        }
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

/// A pack whose files are gone can't run anything.
fn pack_files(worker: &Worker, pack: &PackRow) -> Option<Finding> {
    let folder = worker.pack_folder(&pack.reference, &pack.digest);
    (!folder.is_dir()).then(|| {
        Finding::new(
            State::Bad,
            format!("pack {}", pack.reference),
            format!("its files are gone from {}", folder.display()),
            format!("attune pack install {}", pack.source),
        )
    })
}

async fn examine(worker: &Worker, runtime: &RuntimeRow) -> Finding {
    let name = runtime.runtime.reference.to_string();
    if runtime.plugin.is_none() {
        return Finding::good(name, "needs nothing: the entry point is the program");
    }
    if !worker.serves(runtime) {
        return Finding::good(name, "not used: the setting `worker_runtimes` names only others");
    }
    if let Some(used) = &runtime.plugin
        && !worker.settings.components_dir().join(format!("{}.wasm", used.sha256)).is_file()
    {
        return Finding::new(
            State::Bad,
            name,
            "its component is gone from the data folder",
            "install the pack that ships it again, or start with an empty data folder",
        );
    }
    let detected = match detection::detect(worker, runtime, Freshness::IfChanged).await {
        Ok(detected) => detected,
        Err(error) => {
            return Finding::new(
                State::Bad,
                name,
                error.to_string(),
                "look closer with `attune -vv runtime detect`; programs that hang can be given less time: `--set verification_timeout=1s`",
            );
        }
    };
    let count = |status: fn(&InstallationStatus) -> bool| {
        detected.installations.iter().filter(|found| status(&found.status)).count()
    };
    let verified = count(|status| matches!(status, InstallationStatus::Verified));
    let failed = count(|status| matches!(status, InstallationStatus::Failed { .. }));
    let mut versions = detected
        .installations
        .iter()
        .filter(|found| found.status == InstallationStatus::Verified)
        .filter_map(|found| found.version.clone())
        .collect::<Vec<_>>();
    versions.sort();
    let versions = versions.iter().rev().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let declared =
        runtime.runtime.versions.iter().map(|version| version.version.as_str()).collect::<Vec<_>>();
    let look = format!("`attune runtime detect {name}` shows each with its checks");
    if verified == 0 {
        let wanted = if declared.is_empty() {
            String::new()
        } else {
            format!(" (known versions: {})", declared.join(", "))
        };
        return Finding::new(
            State::Warning,
            name,
            format!(
                "no working installation{}",
                if failed > 0 { format!(", {}", not_working(failed)) } else { String::new() }
            ),
            format!("install {}{wanted}; {look}", runtime.runtime.label),
        );
    }
    let default = runtime.versions.iter().find(|version| version.declared.is_default);
    let has_default = default.is_none_or(|default| {
        detected.installations.iter().any(|found| {
            found.runtime_version.as_ref() == Some(&default.declared.version)
                && found.status == InstallationStatus::Verified
        })
    });
    match default {
        Some(default) if !has_default => Finding::new(
            State::Warning,
            name,
            format!("{versions}; not the default, {}", default.declared.version),
            format!(
                "install {} {}, or ask for a version in each action",
                runtime.runtime.label, default.declared.version
            ),
        ),
        _ if failed > 0 => {
            Finding::new(State::Warning, name, format!("{versions}; {}", not_working(failed)), look)
        }
        _ => Finding::good(name, versions),
    }
}

fn not_working(count: usize) -> String {
    if count == 1 { "1 that does not work".to_owned() } else { format!("{count} that don't work") }
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
