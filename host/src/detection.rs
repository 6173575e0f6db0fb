//! Finding the installations of a runtime on this machine, and keeping what was found.
//!
//! A component looks; here is decided when it has to look again. What a detection depended on (the
//! folders it listed, the files it saw, what it was asked) is kept with what it found: while none of it
//! has changed, neither has the answer, and nothing is run or loaded.

use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tracing::Instrument;

use crate::digest;
use crate::installation::{Candidate, FailureClass, Identity, Installation};
use crate::pack::{Distributions, Runtime};
use crate::plugin::{
    DetectionRequest, LOST, Memo, MemoEntry, NOT_STARTED, PluginError, RuntimePlugin, Scanned,
    programs_at_a_time,
};
use crate::store::StoreError;
use crate::store::installation::{FoundInstallation, InstallationStatus, LastDetection, scan_now};
use crate::store::now;
use crate::store::probe::ProbeKey;
use crate::store::runtime::RuntimeRow;
use crate::trace::{self, stage_span};
use crate::verification;
use crate::version::Series;
use crate::worker::{MissingFiles, Worker};

/// How long a failure is believed that may come out differently on another try.
const TRANSIENT_MAX: TimeDelta = TimeDelta::minutes(5);

/// How much to trust what is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Look again if anything that the last look depended on has changed.
    IfChanged,
    /// Look again; programs that are the same as before need not answer again, nor those that hung a short while ago.
    Patiently,
    /// Look again; programs that are the same as before and answered need not answer again.
    Again,
    /// Ask every program again.
    Anew,
}

/// Why installations of a runtime can't be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DetectionError {
    /// The component failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The operator has not approved what the component asks for.
    #[error("what the component of `{runtime}` asks for has not been approved")]
    NotApproved {
        /// The runtime.
        runtime: String,
    },
    /// The component is not on this machine.
    #[error(transparent)]
    Files(#[from] MissingFiles),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is installed of a runtime, and whether it had to be looked for.
#[derive(Debug)]
pub struct Detected {
    /// In order of path.
    pub installations: Vec<FoundInstallation>,
    /// Whether the component looked; otherwise nothing had changed.
    pub looked: bool,
}

/// What is installed of `runtime` on this worker, each installation verified.
pub async fn detect(
    worker: &Worker,
    runtime: &RuntimeRow,
    freshness: Freshness,
) -> Result<Detected, DetectionError> {
    if runtime.plugin.is_none() || !worker.serves(runtime) {
        return Ok(Detected { installations: Vec::new(), looked: false });
    }
    let against = detected_against(worker, runtime);
    let known = worker.store.last_detection(worker.id, runtime.id).await?;
    let is_current = is_current(&known, &against);
    if freshness == Freshness::IfChanged && is_current {
        return Ok(Detected { installations: known.found.clone(), looked: false });
    }
    let hung = scan_now(hung_against(&against), Vec::<Scanned>::new());
    let known = if freshness == Freshness::Anew { &[][..] } else { &known.found };
    let looking = look(worker, runtime, against, known, freshness);
    let span = stage_span!("detection", runtime.r#ref = %runtime.runtime.reference);
    let found = trace::stage(span, looking).await;
    if let Err(DetectionError::Plugin(error)) = &found
        && error.cause.is_timeout()
        && !is_current
    {
        worker.store.record_scan(worker.id, runtime, &hung).await?;
    }
    Ok(Detected { installations: found?, looked: true })
}

/// Whether the component took too long a short while ago, when it was asked the same.
pub async fn has_hung_lately(worker: &Worker, runtime: &RuntimeRow) -> Result<bool, StoreError> {
    let known = worker.store.last_detection::<Vec<Scanned>>(worker.id, runtime.id).await?;
    let hung = hung_against(&detected_against(worker, runtime));
    let is_recent = |at| (TimeDelta::zero()..TRANSIENT_MAX).contains(&(now() - at));
    Ok(known.scan.as_ref().is_some_and(|scan| scan.detected_against == hung && is_recent(scan.scanned_at)))
}

/// Whether looking again would find the same.
fn is_current(known: &LastDetection<Vec<Scanned>>, against: &str) -> bool {
    let Some(scan) = &known.scan else {
        return false;
    };
    let is_stale = now() - scan.scanned_at > TRANSIENT_MAX;
    scan.detected_against == against
        && !(is_stale && known.found.iter().any(is_transient))
        && scan.folders.iter().all(Scanned::is_unchanged)
        && known
            .found
            .iter()
            .all(|found| found.identity.is_none() || found.identity == Identity::of(&found.path).ok())
}

/// Whether trying again may come out differently, though nothing has changed that can be seen.
fn is_transient(found: &FoundInstallation) -> bool {
    found.status.failure().is_some_and(|failure| match failure.class {
        FailureClass::Timeout | FailureClass::KilledBySignal(_) | FailureClass::PluginFailed => true,
        FailureClass::Other(ref name) => [NOT_STARTED, LOST].contains(&name.as_str()),
        FailureClass::NotFound
        | FailureClass::BrokenSymlink
        | FailureClass::SymlinkLoop
        | FailureClass::IsDirectory
        | FailureClass::NotExecutable
        | FailureClass::PermissionDenied
        | FailureClass::ExecFormat
        | FailureClass::BadShebang
        | FailureClass::ShimUnresolved
        | FailureClass::NotBaseInstallation
        | FailureClass::NonzeroExit(_)
        | FailureClass::UnparsableOutput
        | FailureClass::PatternMismatch
        | FailureClass::VersionMismatch
        | FailureClass::WrongImplementation
        | FailureClass::VariantMismatch
        | FailureClass::MissingCapability(_)
        | FailureClass::Denied
        | FailureClass::InvalidDeclaration => false,
    })
}

async fn look(
    worker: &Worker,
    runtime: &RuntimeRow,
    against: String,
    before: &[FoundInstallation],
    freshness: Freshness,
) -> Result<Vec<FoundInstallation>, DetectionError> {
    let plugin = worker.runtime_plugin(runtime).await?;
    let mut entries: Vec<MemoEntry> = match freshness {
        Freshness::Anew => Vec::new(),
        Freshness::Again | Freshness::Patiently | Freshness::IfChanged => {
            worker.store.probes(worker.id, plugin.plugin().sha256()).await?
        }
    };
    match freshness {
        Freshness::Again => entries.retain(|entry| !entry.is_failure()),
        Freshness::Patiently => entries.retain(|entry| !entry.is_failure() || entry.is_hang()),
        Freshness::IfChanged | Freshness::Anew => {}
    }
    let memo = Arc::new(Memo::from_entries(entries, now()));
    let plugin = plugin.with_memo(Arc::clone(&memo));
    let answer = plugin.detect(request(&runtime.runtime)).await?;
    tracing::info!(
        runtime.r#ref = %runtime.runtime.reference,
        candidates = answer.value.len(),
        tools_run = answer.report.tools_run,
        "looked for installations"
    );
    // Who asks for it explicitly waits for what hung a moment ago.
    let hung_holds = matches!(freshness, Freshness::IfChanged | Freshness::Patiently);
    let known = |found: &FoundInstallation| {
        // In the future, it was before the clock was set back.
        let age = now() - found.verified_at;
        let hung_lately = found.has_hung() && (TimeDelta::zero()..TRANSIENT_MAX).contains(&age);
        found.status == InstallationStatus::Verified || (hung_lately && hung_holds)
    };
    let known = before.iter().filter(|found| known(found)).cloned().collect::<Vec<_>>();
    // Boxed: otherwise the compiler can't tell that what awaits this may move between threads.
    let settled =
        answer.value.into_iter().map(|candidate| settle(worker, runtime, candidate, &known, &plugin).boxed());
    let mut found: Vec<_> =
        stream::iter(settled).buffer_unordered(programs_at_a_time()).try_collect().await?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    remember(worker, &memo).await?;
    let scan = scan_now(against, answer.scanned);
    worker.store.record_detection(worker.id, runtime, &scan, &found).await?;
    Ok(found)
}

/// A candidate as it is kept: verified, unless what is `known` of it, and worth believing, still holds.
async fn settle(
    worker: &Worker,
    runtime: &RuntimeRow,
    candidate: Candidate,
    known: &[FoundInstallation],
    plugin: &RuntimePlugin,
) -> Result<FoundInstallation, DetectionError> {
    let installation = match candidate.outcome {
        Ok(installation) => installation,
        Err(failure) => {
            return Ok(FoundInstallation {
                path: candidate.path,
                version: None,
                source: String::new(),
                aliases: Vec::new(),
                attributes: Vec::new(),
                identity: None,
                status: InstallationStatus::Rejected { failure },
                checks: Vec::new(),
                verified_against: None,
                runtime_version: None,
                verified_at: now(),
            });
        }
    };
    let identity = Identity::of(&installation.path).ok();
    let (runtime_version, distributions) = covering(runtime, &installation);
    let against = verified_against(worker, runtime, distributions);
    let still_holds = |found: &&FoundInstallation| {
        found.path == installation.path
            && found.identity == identity
            && found.verified_against.as_ref() == Some(&against)
    };
    if let Some(found) = known.iter().find(still_holds) {
        return Ok(FoundInstallation {
            aliases: installation.aliases,
            source: installation.source,
            runtime_version: Some(runtime_version),
            ..found.clone()
        });
    }
    let span = stage_span!(
        "verification",
        runtime.r#ref = %runtime.runtime.reference,
        runtime.version = %installation.version,
    );
    let verified = verification::verify(plugin, runtime, &installation, distributions).instrument(span).await;
    Ok(FoundInstallation {
        path: installation.path,
        version: Some(verified.version),
        source: installation.source,
        aliases: installation.aliases,
        attributes: verified.attributes,
        identity,
        status: verified.status,
        checks: verified.checks,
        verified_against: Some(against),
        runtime_version: Some(runtime_version),
        verified_at: now(),
    })
}

/// The label of the version of the runtime that an installation belongs to, and how it is to be verified.
pub(crate) fn covering<'a>(
    runtime: &'a RuntimeRow,
    installation: &Installation,
) -> (String, &'a Distributions) {
    let declared = runtime
        .versions
        .iter()
        .filter(|version| version.is_declared)
        .filter_map(|version| Some((version.declared.version.parse::<Series>().ok()?, version)))
        .collect::<Vec<_>>();
    let series = declared.iter().map(|(series, _)| series);
    match Series::covering(series, &installation.version.semver) {
        Some(position) => {
            let version = &declared[position].1.declared;
            (version.version.clone(), runtime.runtime.distributions_of(Some(version)))
        }
        None => (installation.version.to_string(), &runtime.runtime.distributions),
    }
}

/// What the component of a runtime is asked.
pub(crate) fn request(runtime: &Runtime) -> DetectionRequest {
    let mut binaries = Vec::new();
    let all = runtime.versions.iter().map(|version| &version.distributions);
    for distributions in [&runtime.distributions].into_iter().chain(all) {
        for command in &distributions.verification {
            if !binaries.contains(&command.binary) {
                binaries.push(command.binary.clone());
            }
        }
    }
    if let Some(binary) = &runtime.execution_config.interpreter.binary
        && !binaries.contains(binary)
    {
        binaries.push(binary.clone());
    }
    DetectionRequest {
        binaries,
        commands: runtime.distributions.verification.clone(),
        versions: runtime.versions.clone(),
        settings: runtime.settings().to_vec(),
    }
}

async fn remember(worker: &Worker, memo: &Memo) -> Result<(), DetectionError> {
    let new = memo.take_new();
    if new.is_empty() {
        return Ok(());
    }
    let keys = new
        .iter()
        .map(|entry| (entry.key.path.to_string_lossy().into_owned(), entry.key.identity.to_string()))
        .collect::<Vec<_>>();
    let probes = new.iter().zip(&keys).map(|(entry, (path, identity))| {
        let key =
            ProbeKey { plugin: &entry.key.component, path, invocation: &entry.key.invocation, identity };
        (key, entry)
    });
    let probes = probes.collect::<Vec<_>>();
    worker.store.remember_probes(worker.id, probes).await?;
    Ok(())
}

/// Digest of everything but the disk that a detection depends on.
fn detected_against(worker: &Worker, runtime: &RuntimeRow) -> String {
    let limits = (worker.settings.detection_timeout, worker.settings.verification_timeout);
    digest::of_json(&(worker.surroundings(runtime), request(&runtime.runtime), limits))
}

/// What stands in its place if the component took too long: nobody takes that for a detection.
fn hung_against(against: &str) -> String {
    format!("hung: {against}")
}

/// Digest of everything but the file that a verdict depends on.
fn verified_against(worker: &Worker, runtime: &RuntimeRow, distributions: &Distributions) -> String {
    let plugin = runtime.plugin.as_ref();
    digest::of_json(&(
        plugin.map(|plugin| &plugin.sha256),
        worker.grants(runtime),
        runtime.runtime.plugin.as_ref().map(|declaration| &declaration.settings),
        distributions,
        worker.settings.verification_timeout,
    ))
}
