//! What `attune doctor` says of a runtime. It knows none by name: what an installation lacks is what its component
//! warned of when it was verified, and when a version ends is in the runtime's YAML.

use chrono::Utc;

use super::{Finding, State};
use crate::cli::remedy;
use crate::cli::runtime::INSTALL_AGAIN;
use crate::detection::{self, DetectionError, Freshness};
use crate::execution::choice::end_of_life;
use crate::installation::{CheckOutcome, FailureClass};
use crate::store::installation::{FoundInstallation, InstallationStatus};
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

/// What there is of a runtime, first of all whether it can be used; then what else is worth knowing.
pub(super) async fn examine(worker: &Worker, runtime: &RuntimeRow) -> Vec<Finding> {
    let detected = match look(worker, runtime).await {
        Ok(installations) => installations,
        Err(finding) => return vec![finding],
    };
    let mut findings = vec![summary(runtime, &detected)];
    findings.extend(ended(runtime, &detected));
    findings.extend(missing(runtime, &detected));
    findings.extend(broken(runtime, &detected));
    findings
}

/// What was found of it; or the one thing to be said about a runtime of which nothing is looked for.
async fn look(worker: &Worker, runtime: &RuntimeRow) -> Result<Vec<FoundInstallation>, Finding> {
    let name = runtime.runtime.reference.to_string();
    if !worker.serves(runtime) {
        return Err(Finding::good(name, "not used: the setting `worker_runtimes` names only others"));
    }
    if runtime.plugin.is_none() {
        return Err(Finding::good(name, "needs nothing: the entry point is the program"));
    }
    let detected = detection::detect(worker, runtime, Freshness::IfChanged).await;
    detected
        .map(|detected| detected.installations)
        .map_err(|error| Finding::new(State::Bad, name, error.to_string(), mend(worker, &error)))
}

/// What to do about a runtime whose installations can't be looked for.
fn mend(worker: &Worker, error: &DetectionError) -> String {
    let closer = "look closer with `attune -vv runtime detect`";
    if let Some(mend) = remedy::of_database(error, &worker.settings.database) {
        return mend;
    }
    match error {
        DetectionError::Plugin(failed) if failed.cause.is_timeout() => {
            format!("{closer}; programs that hang can be given less time: `--set verification_timeout=1s`")
        }
        DetectionError::Files(_) => INSTALL_AGAIN.to_owned(),
        DetectionError::Plugin(_) | DetectionError::NotApproved { .. } | DetectionError::Store(_) => {
            closer.to_owned()
        }
    }
}

fn verified(installations: &[FoundInstallation]) -> impl Iterator<Item = &FoundInstallation> {
    installations.iter().filter(|found| found.status == InstallationStatus::Verified)
}

fn summary(runtime: &RuntimeRow, installations: &[FoundInstallation]) -> Finding {
    let name = runtime.runtime.reference.to_string();
    let working = verified(installations).count();
    let is_failed = |found: &&FoundInstallation| matches!(found.status, InstallationStatus::Failed { .. });
    let failed = installations.iter().filter(is_failed).count();
    let mut versions = verified(installations).filter_map(|found| found.version.clone()).collect::<Vec<_>>();
    versions.sort();
    let versions = versions.iter().rev().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let declared =
        runtime.runtime.versions.iter().map(|version| version.version.as_str()).collect::<Vec<_>>();
    let look = format!("`attune runtime detect {name}` shows each with its checks");
    if working == 0 {
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
        let of_default =
            |found: &FoundInstallation| found.runtime_version.as_ref() == Some(&default.declared.version);
        verified(installations).any(of_default)
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

/// Versions that work and that nobody maintains any more.
fn ended(runtime: &RuntimeRow, installations: &[FoundInstallation]) -> Vec<Finding> {
    let name = runtime.runtime.reference.to_string();
    let today = Utc::now().date_naive();
    let rows = runtime.versions.iter().filter(|row| {
        let is_its =
            |found: &FoundInstallation| found.runtime_version.as_ref() == Some(&row.declared.version);
        verified(installations).any(is_its)
    });
    rows.filter_map(|row| end_of_life(runtime, row, today))
        .map(|seen| {
            let mend = "install a later version, and have actions ask for that";
            Finding::new(State::Warning, name.clone(), seen, mend)
        })
        .collect()
}

/// What installations that work lack, in the words of their component.
fn missing(runtime: &RuntimeRow, installations: &[FoundInstallation]) -> Vec<Finding> {
    let name = runtime.runtime.reference.to_string();
    let mut findings = Vec::new();
    for found in verified(installations) {
        let version = found.version.as_ref().map(ToString::to_string).unwrap_or_default();
        for check in &found.checks {
            let CheckOutcome::Warned { reason } = &check.outcome else { continue };
            findings.push(Finding::new(
                State::Warning,
                name.clone(),
                format!("{version} at {}: {}: {}", found.path.display(), check.name, reason.message),
                format!("once that is mended: attune runtime verify {name}"),
            ));
        }
    }
    findings
}

/// Programs that are called like an interpreter and can't be started, or end without having answered.
fn broken(runtime: &RuntimeRow, installations: &[FoundInstallation]) -> Option<Finding> {
    let name = runtime.runtime.reference.to_string();
    let broken = installations.iter().filter_map(|found| match &found.status {
        InstallationStatus::Rejected { failure } if is_breakage(&failure.class) => {
            Some(format!("{} ({})", found.path.display(), failure.class))
        }
        InstallationStatus::Rejected { .. }
        | InstallationStatus::Failed { .. }
        | InstallationStatus::Verified => None,
    });
    let broken = broken.collect::<Vec<_>>().join(", ");
    (!broken.is_empty()).then(|| {
        Finding::new(
            State::Warning,
            name.clone(),
            format!("found, but broken: {broken}"),
            format!("remove or mend them; `attune runtime detect {name}` says more of each"),
        )
    })
}

/// Whether a program of this class is of no use to anybody, rather than something else than an interpreter.
fn is_breakage(class: &FailureClass) -> bool {
    match class {
        FailureClass::BrokenSymlink
        | FailureClass::SymlinkLoop
        | FailureClass::NotExecutable
        | FailureClass::PermissionDenied
        | FailureClass::ExecFormat
        | FailureClass::BadShebang
        | FailureClass::Timeout
        | FailureClass::KilledBySignal(_)
        | FailureClass::NonzeroExit(_)
        | FailureClass::UnparsableOutput
        | FailureClass::PatternMismatch
        | FailureClass::VersionMismatch => true,
        FailureClass::NotFound
        | FailureClass::IsDirectory
        | FailureClass::ShimUnresolved
        | FailureClass::NotBaseInstallation
        | FailureClass::WrongImplementation
        | FailureClass::VariantMismatch
        | FailureClass::MissingCapability(_)
        | FailureClass::Denied
        | FailureClass::InvalidDeclaration
        | FailureClass::PluginFailed
        | FailureClass::Other(_) => false,
    }
}
