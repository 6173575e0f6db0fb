//! `attune runtime`: the runtimes, and what is installed of them on this machine.

mod known;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::looking::{detect_all, left_out, unproved};
use super::options::Options;
use super::output::{Output, Tone};
use super::progress::Progress;
use super::remedy;
use super::resolve::unknown_runtime;
use super::shown::time;
use super::table::table;
use crate::detection::{self, Detected, DetectionError, Freshness};
use crate::grants::Denial;
use crate::installation::{Check, CheckOutcome, FailureClass};
use crate::nearest::did_you_mean;
use crate::pack::problem::counted;
use crate::pack::{Grants, Voucher};
use crate::printable::printable;
use crate::reference::RuntimeRef;
use crate::shape::object;
use crate::store::bell::Bell;
use crate::store::denial::DenialRow;
use crate::store::installation::{FoundInstallation, InstallationStatus};
use crate::store::runtime::RuntimeRow;
use crate::worker::{RuntimeError, Start, Worker, WorkerError};
pub(super) use known::Known;

#[derive(Debug, Subcommand)]
pub(super) enum Runtime {
    /// List the runtimes, and how many installations each has here
    List,
    /// Show a runtime: its versions, what can be asked for, what its component may do
    Show {
        /// A runtime, by reference or alias
        runtime: String,
    },
    /// Show what is installed, looked for again if anything has changed since the last time
    Detect {
        /// Only this runtime, by reference or alias
        runtime: Option<String>,
        /// Look again in any case; programs that have not changed need not answer again
        #[arg(long)]
        again: bool,
    },
    /// Ask every program again and show every check
    Verify {
        /// Only this runtime, by reference or alias
        runtime: Option<String>,
    },
}

/// Opens a worker, with progress, and says why if it can't.
pub(super) async fn open_worker(options: &Options, output: &Output) -> Result<Worker, Failed> {
    let settings = options.settings(output)?;
    let progress = Progress::begin(output);
    let opened = Worker::open(settings, Start::WithPacks, &|notice| progress.say(notice)).await;
    progress.end();
    let worker = opened.map_err(worker_failed)?;
    for name in worker.settings.worker_runtimes.iter().flatten() {
        match worker.runtime(name, None).await {
            Ok(_) | Err(RuntimeError::Ambiguous { .. }) => {}
            Err(RuntimeError::Unknown { nearest, .. }) => {
                let nearest = nearest.as_deref().map(did_you_mean).unwrap_or_default();
                output.warn(&format!(
                    "the setting `worker_runtimes` names `{name}`, which no runtime is called{nearest}"
                ));
            }
            Err(RuntimeError::Store(error)) => return Err(error.into()),
        }
    }
    for pack in worker.settings.ceilings.packs.keys() {
        if worker.store.pack(pack).await?.is_none() {
            output.warn(&format!(
                "`[grants.{pack}]` of the settings narrows nothing: no such pack is installed"
            ));
        }
    }
    Ok(worker)
}

/// Why a worker can't start, as a failed command.
pub(super) fn worker_failed(error: WorkerError) -> Failed {
    match error {
        WorkerError::Folder { .. } | WorkerError::Home { .. } => {
            let hint = remedy::of_folder(&error);
            Failed::new(Exit::Failure, error).hint(hint)
        }
        WorkerError::Embedded { source, .. } => super::pack::install_failed(*source),
        WorkerError::Store(_) | WorkerError::Plugin(_) => Failed::new(Exit::Failure, error),
    }
}

impl Runtime {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let worker = open_worker(options, output).await?;
        match self {
            Self::List => list(&worker, output).await?,
            Self::Show { runtime } => {
                let runtime = worker.runtime(&runtime, None).await.map_err(unknown_runtime)?;
                show(&worker, runtime, output).await?;
            }
            Self::Detect { runtime, again } => {
                let freshness = if again { Freshness::Again } else { Freshness::IfChanged };
                look(&worker, runtime.as_deref(), freshness, output).await?;
            }
            Self::Verify { runtime } => look(&worker, runtime.as_deref(), Freshness::Anew, output).await?,
        }
        worker.close().await;
        Ok(Exit::Success)
    }
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    known: Known,
    /// How many installations on this machine work.
    verified: usize,
    /// Whether there is anything to be installed; otherwise entry points are themselves the programs.
    is_detected: bool,
    /// Whether the setting `worker_runtimes` has this worker use it.
    #[serde(rename = "used")]
    is_used: bool,
}

impl Listed {
    fn new(worker: &Worker, runtime: &RuntimeRow, installations: &[FoundInstallation]) -> Self {
        Self {
            known: Known::from(runtime),
            verified: installations
                .iter()
                .filter(|found| found.status == InstallationStatus::Verified)
                .count(),
            is_detected: runtime.plugin.is_some(),
            is_used: worker.serves(runtime),
        }
    }
}

/// A runtime and what was found of it when it was looked for. If that failed, what is known from before.
async fn current(
    worker: &Worker,
    runtime: RuntimeRow,
    detected: Result<Detected, DetectionError>,
    output: &Output,
) -> Result<(RuntimeRow, Vec<FoundInstallation>), Failed> {
    let found = match detected {
        Ok(detected) => {
            if detected.looked {
                worker.store.ring(Bell::Runnable).await;
            }
            detected.installations
        }
        Err(error) => {
            output.warn(&format!("can't look for {}: {error}", runtime.runtime.reference));
            worker.store.installations(worker.id, runtime.id).await?
        }
    };
    // A detection changes which versions are available.
    let runtime = worker.store.runtime(&runtime.runtime.reference).await?.unwrap_or(runtime);
    Ok((runtime, found))
}

async fn list(worker: &Worker, output: &Output) -> Result<(), Failed> {
    let mut listed = Vec::new();
    let progress = Progress::begin(output);
    let runtimes = worker.store.runtimes().await?;
    let mut hung = Vec::new();
    for runtime in &runtimes {
        hung.push(detection::has_hung_lately(worker, runtime).await?);
    }
    let wanted = runtimes.iter().zip(&hung).filter(|(_, hung)| !**hung);
    let wanted = wanted.map(|(runtime, _)| (runtime, Freshness::IfChanged)).collect::<Vec<_>>();
    let mut detected = detect_all(worker, &wanted, &progress).await.into_iter().peekable();
    progress.end();
    for (runtime, hung) in runtimes.into_iter().zip(hung) {
        let (runtime, installations) = if let Some(detected) = detected.next_if(|_| !hung) {
            current(worker, runtime, detected, output).await?
        } else {
            let name = &runtime.runtime.reference;
            output.warn(&format!(
                "not looked for {name}: its component took too long a short while ago; \
                 `attune runtime detect {name}` looks again"
            ));
            let installations = worker.store.installations(worker.id, runtime.id).await?;
            (runtime, installations)
        };
        listed.push(Listed::new(worker, &runtime, &installations));
    }
    output.data(&listed, || {
        table(
            ["RUNTIME", "LABEL", "ALIASES", "VERSIONS", "INSTALLED"],
            listed.iter().map(|runtime| {
                let [reference, label, aliases, versions] = runtime.known.row(output);
                let installed = match (runtime.is_used, runtime.is_detected) {
                    (false, _) => "left out".to_owned(),
                    (true, true) => runtime.verified.to_string(),
                    (true, false) => "not needed".to_owned(),
                };
                [reference, label, aliases, versions, installed]
            }),
        )
    })?;
    if listed.iter().any(|runtime| !runtime.is_used) {
        output.say(&left_out(worker));
    }
    Ok(())
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    listed: Listed,
    description: Option<&'a str>,
    #[serde(serialize_with = "object")]
    constraint_aliases: &'a [(String, String)],
    /// What it may do here.
    grants: Option<Grants>,
    /// What was approved and the settings of this worker withhold.
    withheld: Vec<String>,
    /// What its component asked for and was denied.
    denials: Vec<DenialRow>,
    plugin: Option<&'a str>,
    /// What says that its component is the one that is meant.
    vouched: Option<Voucher>,
    #[serde(rename = "installations")]
    found: &'a [FoundInstallation],
}

async fn show(worker: &Worker, runtime: RuntimeRow, output: &Output) -> Result<(), Failed> {
    let detected = detection::detect(worker, &runtime, Freshness::IfChanged).await;
    let (runtime, found) = current(worker, runtime, detected, output).await?;
    let used = runtime.runtime.plugin.as_ref().zip(runtime.plugin.as_ref());
    let vouched = match used {
        Some((declared, used)) => {
            let pack = runtime.runtime.reference.pack();
            Some(worker.installed_component(pack, &declared.component, &used.sha256).await?.vouched)
        }
        None => None,
    };
    let shown = Shown {
        listed: Listed::new(worker, &runtime, &found),
        description: runtime.runtime.description.as_deref(),
        constraint_aliases: &runtime.constraint_aliases,
        grants: worker.grants(&runtime),
        withheld: withheld(worker, &runtime),
        denials: worker.store.denials(runtime.id).await?,
        plugin: runtime.plugin.as_ref().map(|plugin| plugin.sha256.as_str()),
        vouched,
        found: &found,
    };
    output.data(&shown, || describe(output, &shown))?;
    if !shown.listed.is_used {
        output.say(&left_out(worker));
    }
    Ok(())
}

/// What was approved for a runtime and the settings withhold.
pub(super) fn withheld(worker: &Worker, runtime: &RuntimeRow) -> Vec<String> {
    let approved = runtime.plugin.as_ref().and_then(|plugin| plugin.approved.as_ref());
    approved.zip(worker.grants(runtime)).map(|(approved, left)| approved.withheld(&left)).unwrap_or_default()
}

/// What was denied, how often, and when for the last time.
pub(super) fn denial_text(Denial { what, count, last_at, .. }: &Denial) -> String {
    let times = counted(usize::try_from(*count).unwrap_or(usize::MAX), "time");
    format!("{}: {times}, last at {}", printable(what), time(*last_at))
}

fn describe(output: &Output, shown: &Shown<'_>) -> String {
    let mut text = shown.listed.known.text(shown.description, shown.constraint_aliases);
    // Writing to a string can't fail.
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<14}{value}");
        }
    };
    line("component", shown.plugin.unwrap_or_default());
    line("vouched for", &shown.vouched.as_ref().map(ToString::to_string).unwrap_or_default());
    if let Some(grants) = &shown.grants {
        line("may run", &grants.tools.join(", "));
        for root in &grants.search {
            line("may look in", &format!("{:<12}{}", root.source, root.folders.join(", ")));
        }
        line("may read", &grants.read.join(", "));
        line("may see", &grants.variables.join(", "));
        line("network", if grants.network { "when it builds environments" } else { "no" });
    }
    for withheld in &shown.withheld {
        line("may not", &format!("{withheld} (`[grants]` of the settings)"));
    }
    for denial in &shown.denials {
        line("was denied", &denial_text(&denial.clone().into()));
    }
    text.push('\n');
    text.push_str(&installations(output, shown.found));
    text
}

#[derive(Serialize)]
struct Looked<'a> {
    runtime: String,
    installations: &'a [FoundInstallation],
    /// What worked the last time and is not there any more.
    gone: &'a [Gone],
    /// Whether the setting `worker_runtimes` has this worker use it.
    #[serde(rename = "used")]
    is_used: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// An installation that was there.
#[derive(Clone, Debug, Serialize)]
struct Gone {
    path: PathBuf,
    version: Option<String>,
    /// When it was last seen to work.
    verified_at: DateTime<Utc>,
    /// What is at its path now.
    reason: FailureClass,
}

/// What was verified before and was not found now. What is found and does not work any more is among what was found.
fn gone(before: &[FoundInstallation], found: &[FoundInstallation]) -> Vec<Gone> {
    let is_found = |path: &Path| {
        found.iter().any(|found| found.path == path || found.aliases.iter().any(|alias| alias == path))
    };
    before
        .iter()
        .filter(|before| before.status == InstallationStatus::Verified && !is_found(&before.path))
        .map(|before| Gone {
            path: before.path.clone(),
            version: before.version.as_ref().map(ToString::to_string),
            verified_at: before.verified_at,
            reason: match before.path.metadata() {
                Err(_) => FailureClass::NotFound,
                // Not looked for any more, or not by this name.
                Ok(_) => FailureClass::Other("not-searched".to_owned()),
            },
        })
        .collect()
}

/// Looks for installations of one runtime, or of all; one that fails does not keep the others from it.
async fn look(
    worker: &Worker,
    only: Option<&str>,
    freshness: Freshness,
    output: &Output,
) -> Result<(), Failed> {
    let runtimes = match only {
        Some(text) => vec![worker.runtime(text, None).await.map_err(unknown_runtime)?],
        None => worker.store.runtimes().await?,
    };
    let progress = Progress::begin(output);
    let mut wanted = Vec::new();
    let mut known = Vec::new();
    for runtime in runtimes.iter().filter(|runtime| runtime.plugin.is_some()) {
        let before = worker.store.installations(worker.id, runtime.id).await?;
        // Whoever asks wants to know whether they still hang.
        let freshness = match freshness {
            Freshness::IfChanged if before.iter().any(FoundInstallation::has_hung) => Freshness::Again,
            freshness => freshness,
        };
        wanted.push((runtime, freshness));
        known.push(before);
    }
    let detected = detect_all(worker, &wanted, &progress).await;
    progress.end();
    if let (Some(_), [runtime]) = (only, runtimes.as_slice())
        && runtime.plugin.is_none()
    {
        let name = &runtime.runtime.reference;
        output.say(&format!("nothing is looked for: of `{name}`, the entry point is itself the program"));
    }
    let found = wanted.into_iter().zip(known).zip(detected).map(|(((runtime, _), before), detected)| {
        let detected = detected.map(|detected| detected.installations);
        let gone = detected.as_ref().map_or_else(|_| Vec::new(), |detected| gone(&before, detected));
        (runtime, gone, detected)
    });
    let found = found.collect::<Vec<_>>();
    // Also if nothing was new here: it may be to a worker that has looked before.
    worker.store.ring(Bell::Runnable).await;
    let looked = found
        .iter()
        .map(|(runtime, gone, found)| Looked {
            runtime: runtime.runtime.reference.to_string(),
            gone,
            installations: found.as_deref().unwrap_or_default(),
            is_used: worker.serves(runtime),
            error: found.as_ref().err().map(ToString::to_string),
        })
        .collect::<Vec<_>>();
    output.data(&looked, || {
        looked
            .iter()
            .map(|looked| {
                let heading = output.data_tone(Tone::Strong, &looked.runtime);
                let body = match &looked.error {
                    Some(error) => format!("  {} {error}\n", output.data_tone(Tone::Bad, "failed:")),
                    None if !looked.is_used => format!("  {}\n", left_out(worker)),
                    None => installations(output, looked.installations) + &gone_text(output, looked.gone),
                };
                format!("{heading}\n{body}")
            })
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    let found = found.into_iter().map(|(runtime, _, found)| (runtime.runtime.reference.clone(), found));
    no_component_failed(found)
}

/// An error if a component failed: that nothing is found, or does not work, is none.
pub(super) fn no_component_failed(
    found: impl IntoIterator<Item = (RuntimeRef, Result<Vec<FoundInstallation>, DetectionError>)>,
) -> Result<(), Failed> {
    for (runtime, found) in found {
        let unproved = unproved(&found.map_err(detection_failed)?);
        if unproved > 0 {
            let message = format!(
                "the component of `{runtime}` failed to verify {}",
                counted(unproved, "installation")
            );
            return Err(Failed::message(Exit::Failure, message));
        }
    }
    Ok(())
}

/// What to do if files of a pack are damaged or gone and can't be had again.
pub(super) const INSTALL_AGAIN: &str =
    "install the pack again: `attune pack install PATH`; `attune pack list` says where it came from";

/// Why installations can't be looked for, as a failed command.
pub(super) fn detection_failed(error: DetectionError) -> Failed {
    match error {
        DetectionError::NotApproved { .. } => Failed::new(Exit::NotApproved, error)
            .hint("install the pack again and approve: attune pack install PACK --approve"),
        DetectionError::Files(_) => Failed::new(Exit::Failure, error).hint(INSTALL_AGAIN),
        DetectionError::Plugin(_) | DetectionError::Store(_) => Failed::new(Exit::Failure, error),
    }
}

/// Every installation with its checks, then what only looked like one.
pub(super) fn installations(output: &Output, found: &[FoundInstallation]) -> String {
    if found.is_empty() {
        return "  nothing found\n".to_owned();
    }
    let mut text = String::new();
    let rank = |found: &FoundInstallation| match found.status {
        InstallationStatus::Verified => 0,
        InstallationStatus::Failed { .. } => 1,
        InstallationStatus::Rejected { .. } => 2,
    };
    let mut ordered = found.iter().collect::<Vec<_>>();
    ordered.sort_by(|a, b| {
        rank(a).cmp(&rank(b)).then_with(|| b.version.cmp(&a.version)).then_with(|| a.path.cmp(&b.path))
    });
    for found in ordered {
        let (mark, tone) = match found.status {
            InstallationStatus::Verified => ("ok", Tone::Good),
            InstallationStatus::Failed { .. } => ("failed", Tone::Bad),
            InstallationStatus::Rejected { .. } => ("no", Tone::Dim),
        };
        let version = found.version.as_ref().map(ToString::to_string).unwrap_or_default();
        let mark = output.data_tone(tone, &format!("{mark:<6}"));
        let source = match found.source.as_str() {
            "" => String::new(),
            source => format!("  {}", output.data_tone(Tone::Dim, source)),
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {mark}  {version:<12} {}{source}", found.path.display());
        if let Some(failure) = found.status.failure() {
            let _ = writeln!(text, "          {failure}");
        }
        let aliases = found
            .aliases
            .iter()
            .filter(|alias| **alias != found.path)
            .map(|alias| alias.display().to_string());
        let aliases = aliases.collect::<Vec<_>>();
        if !aliases.is_empty() {
            let _ = writeln!(text, "          also {}", aliases.join(", "));
        }
        if !found.checks.is_empty() {
            let checks = found.checks.iter().map(|check| check_text(output, check)).collect::<Vec<_>>();
            let _ = writeln!(text, "          checks: {}", checks.join(", "));
        }
    }
    text
}

fn gone_text(output: &Output, gone: &[Gone]) -> String {
    let mut text = String::new();
    for gone in gone {
        let version = gone.version.as_deref().unwrap_or_default();
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "  {}  {version:<12} {}\n          {}: it worked when it was last verified, at {}",
            output.data_tone(Tone::Bad, "gone  "),
            gone.path.display(),
            gone.reason,
            gone.verified_at.format("%Y-%m-%d %H:%M UTC"),
        );
    }
    text
}

fn check_text(output: &Output, check: &Check) -> String {
    match &check.outcome {
        CheckOutcome::Passed => check.name.clone(),
        CheckOutcome::Warned { reason } => {
            format!("{} ({})", output.data_tone(Tone::Warning, &check.name), reason.message)
        }
        CheckOutcome::Failed { reason } => format!("{} ({reason})", output.data_tone(Tone::Bad, &check.name)),
        CheckOutcome::Skipped { reason } => format!("{} skipped ({reason})", check.name),
    }
}
