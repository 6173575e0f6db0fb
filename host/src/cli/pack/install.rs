//! `attune pack install`: what it would do, and what became of it.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;

use serde::Serialize;

use super::{install_failed, invalid, read_to_check, short, vouch};
use crate::cli::failure::Failed;
use crate::cli::grant::operator;
use crate::cli::grants::asked_text;
use crate::cli::looking::{detect_all, left_out};
use crate::cli::options::DryRun;
use crate::cli::output::{Output, Tone};
use crate::cli::progress::Progress;
use crate::cli::runtime::{installations, no_component_failed, withheld};
use crate::detection::{DetectionError, Freshness};
use crate::pack::Grants;
use crate::pack::install::{self, Approve, Asked, InstallError, Installed, Plan};
use crate::pack::signature::Unverified;
use crate::store::installation::FoundInstallation;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

#[derive(Serialize)]
struct InstalledView<'a> {
    #[serde(rename = "ref")]
    reference: String,
    version: String,
    digest: &'a str,
    /// The name of the trusted key that it is signed with.
    verified_by: Option<&'a str>,
    /// Why nobody who is trusted vouches for it.
    unverified: Option<String>,
    replaced: Option<&'a str>,
    replaced_version: Option<&'a str>,
    /// Versions that its runtimes no longer have.
    removed_versions: &'a [String],
    runtimes: Vec<RuntimeView<'a>>,
    actions: Vec<String>,
    sensors: Vec<String>,
}

#[derive(Serialize)]
struct RuntimeView<'a> {
    runtime: String,
    /// False if this worker leaves it alone.
    used: bool,
    /// What was approved and the settings of this worker withhold.
    withheld: Vec<String>,
    installations: &'a [FoundInstallation],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn install_from(
    worker: &Worker,
    path: &Path,
    (approve, dry): (bool, DryRun),
    output: &Output,
) -> Result<(), Failed> {
    let bundle = read_to_check(path, output)?;
    let source = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let by = operator();
    let verified = vouch::verified(worker, path, &bundle, output)?;
    let origin = (source.as_str(), verified.as_deref().ok());
    let progress = Progress::begin(output);
    progress.say("checking the pack and compiling its components");
    let known = if approve { Approve::All { by: &by } } else { Approve::Known };
    let mut planned = install::plan(worker, &bundle, origin, &known).await;
    progress.end();
    if dry.dry_run {
        let plan = planned.map_err(|error| failed(error, output))?;
        let view = PlanView::new(&plan, &verified);
        output.plan(&view, || plan_text(&plan.asked, &view))?;
        return plan.refusal(worker).await.map_err(|error| failed(error, output));
    }
    if let Ok(plan) = &planned
        && plan.asked.iter().any(|asked| !asked.approved)
        && std::io::stdin().is_terminal()
        && output.watched
        && confirmed(plan.asked.iter().filter(|asked| !asked.approved))?
    {
        planned = install::plan(worker, &bundle, origin, &Approve::All { by: &by }).await;
    }
    let outcome = match planned {
        Ok(plan) => plan.carry_out(worker, &bundle, origin).await,
        Err(error) => Err(error),
    };
    let installed = outcome.map_err(|error| failed(error, output))?;
    let runtimes = look(worker, &installed, output).await?;
    let views = runtimes.iter().map(|(row, detected)| RuntimeView {
        runtime: row.runtime.reference.to_string(),
        used: worker.serves(row),
        withheld: withheld(worker, row),
        installations: detected.as_deref().unwrap_or_default(),
        error: detected.as_ref().err().map(ToString::to_string),
    });
    let replaced = installed.replaced.as_ref();
    let view = InstalledView {
        reference: installed.pack.reference.to_string(),
        version: installed.pack.version.to_string(),
        digest: &installed.pack.digest,
        verified_by: origin.1,
        unverified: verified.as_ref().err().map(ToString::to_string),
        replaced: replaced.map(|replaced| replaced.digest.as_str()),
        replaced_version: replaced.map(|replaced| replaced.version.as_str()),
        removed_versions: replaced.map(|replaced| replaced.versions.as_slice()).unwrap_or_default(),
        runtimes: views.collect(),
        actions: installed.pack.actions.iter().map(|action| action.reference.to_string()).collect(),
        sensors: installed.pack.sensors.iter().map(|sensor| sensor.reference.to_string()).collect(),
    };
    output.data(&view, || installed_text(worker, output, &view))?;
    // It is installed all the same, but who relies on that runtime has to know.
    let hint = format!("`{}` is installed, and what else is in it can be used", view.reference);
    let found = runtimes.into_iter().map(|(row, found)| (row.runtime.reference, found));
    no_component_failed(found).map_err(|failed| failed.hint(hint))
}

/// A runtime, and what is installed of it or why that is not known: nothing if this worker leaves it alone.
type Found = (RuntimeRow, Result<Vec<FoundInstallation>, DetectionError>);

/// Looks for what is installed of the pack's runtimes; a failure belongs to its runtime alone.
async fn look(worker: &Worker, installed: &Installed, output: &Output) -> Result<Vec<Found>, Failed> {
    let mut rows = Vec::new();
    for runtime in &installed.pack.runtimes {
        let row = worker.store.runtime(&runtime.reference).await?;
        rows.extend(row.filter(|row| row.plugin.is_some()));
    }
    let wanted = rows.iter().map(|row| (row, Freshness::IfChanged)).collect::<Vec<_>>();
    let progress = Progress::begin(output);
    let detected = detect_all(worker, &wanted, &progress).await;
    progress.end();
    let detected = detected.into_iter().map(|detected| detected.map(|detected| detected.installations));
    Ok(rows.into_iter().zip(detected).collect())
}

/// That a pack is installed now, and which version it replaced.
pub(in crate::cli) fn installed_line(
    reference: &str,
    version: &str,
    digest: &str,
    replaced_version: Option<&str>,
) -> String {
    let digest = short(digest);
    match replaced_version {
        Some(before) => format!("replaced {reference} {before} by {version} ({digest})\n"),
        None => format!("installed {reference} {version} ({digest})\n"),
    }
}

fn installed_text(worker: &Worker, output: &Output, view: &InstalledView<'_>) -> String {
    let InstalledView { reference, version, .. } = view;
    let mut text = installed_line(reference, version, view.digest, view.replaced_version);
    text += &vouched(view.verified_by, view.unverified.as_deref());
    if !view.removed_versions.is_empty() {
        // Writing to a string can't fail.
        let _ = writeln!(text, "no longer there: {}", view.removed_versions.join(", "));
    }
    for runtime in &view.runtimes {
        let body = match &runtime.error {
            Some(error) => format!("  {} {error}\n", output.data_tone(Tone::Bad, "failed:")),
            None if runtime.used => installations(output, runtime.installations),
            None => format!("  {}\n", left_out(worker)),
        };
        // Writing to a string can't fail.
        let _ = write!(text, "\n{}\n{body}", output.data_tone(Tone::Strong, &runtime.runtime));
        for withheld in &runtime.withheld {
            let _ = writeln!(text, "  may not {withheld} (`[grants]` of the settings)");
        }
    }
    for (name, items) in [("actions", &view.actions), ("sensors", &view.sensors)] {
        if !items.is_empty() {
            let _ = writeln!(text, "\n{name}: {}", items.join(", "));
        }
    }
    text
}

/// Asks whoever is at the terminal to allow something.
pub(in crate::cli) fn confirmed<'a>(asked: impl Iterator<Item = &'a Asked>) -> Result<bool, Failed> {
    let mut stderr = std::io::stderr();
    for asked in asked {
        write!(stderr, "{}", asked_text(asked))?;
    }
    write!(stderr, "allow this? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn failed(error: InstallError, output: &Output) -> Failed {
    match error {
        InstallError::Problems(problems) => invalid(&problems, output).unwrap_or_else(std::convert::identity),
        error => install_failed(error),
    }
}

/// What would be done, as `--json` shows it.
#[derive(Serialize)]
pub(in crate::cli) struct PlanView<'a> {
    #[serde(rename = "ref")]
    pub reference: String,
    pub version: String,
    pub digest: &'a str,
    /// The name of the trusted key that it is signed with.
    pub verified_by: Option<&'a str>,
    /// Why nobody who is trusted vouches for it.
    pub unverified: Option<String>,
    pub replaces: Option<&'a str>,
    pub replaces_version: Option<&'a str>,
    pub runtimes: Vec<String>,
    pub actions: Vec<String>,
    pub sensors: Vec<String>,
    /// What it replaces has that it has not.
    pub gone: &'a [String],
    pub grants: Vec<AskedView<'a>>,
}

#[derive(Serialize)]
pub(in crate::cli) struct AskedView<'a> {
    runtime: String,
    asked: &'a Grants,
    /// What was approved before.
    before: Option<&'a Grants>,
    approved: bool,
    withheld: &'a [String],
}

impl<'a> PlanView<'a> {
    fn new(plan: &'a Plan, verified: &'a Result<String, Unverified>) -> Self {
        let pack = &plan.pack;
        let replaces = plan.replaces.as_ref();
        Self {
            reference: pack.reference.to_string(),
            version: pack.version.to_string(),
            digest: &pack.digest,
            verified_by: verified.as_deref().ok(),
            unverified: verified.as_ref().err().map(ToString::to_string),
            replaces: replaces.map(|row| row.digest.as_str()),
            replaces_version: replaces.map(|row| row.version.as_str()),
            runtimes: pack.runtimes.iter().map(|runtime| runtime.reference.to_string()).collect(),
            actions: pack.actions.iter().map(|action| action.reference.to_string()).collect(),
            sensors: pack.sensors.iter().map(|sensor| sensor.reference.to_string()).collect(),
            gone: &plan.gone,
            grants: plan.asked.iter().map(AskedView::new).collect(),
        }
    }
}

impl<'a> AskedView<'a> {
    pub(in crate::cli) fn new(asked: &'a Asked) -> Self {
        Self {
            runtime: asked.runtime.to_string(),
            asked: &asked.grants,
            before: asked.before.as_ref(),
            approved: asked.approved,
            withheld: &asked.withheld,
        }
    }
}

/// What would be done, for people, and what its components ask for.
pub(in crate::cli) fn plan_text(asked: &[Asked], view: &PlanView<'_>) -> String {
    let (PlanView { reference, version, .. }, digest) = (view, short(view.digest));
    let mut text = match view.replaces_version {
        Some(before) => format!("would replace {reference} {before} by {version} ({digest})\n"),
        None => format!("would install {reference} {version} ({digest})\n"),
    };
    text += &vouched(view.verified_by, view.unverified.as_deref());
    let gone = view.gone.to_vec();
    for (name, items) in [
        ("runtimes", &view.runtimes),
        ("actions", &view.actions),
        ("sensors", &view.sensors),
        ("no longer there", &gone),
    ] {
        if !items.is_empty() {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name}: {}", items.join(", "));
        }
    }
    for asked in asked {
        let approved = if asked.approved { "approved" } else { "not approved yet: --approve allows it" };
        // Writing to a string can't fail.
        let _ = write!(text, "\n{}{approved}\n", asked_text(asked));
    }
    text
}

/// Who vouches for it.
pub(in crate::cli) fn vouched(verified_by: Option<&str>, unverified: Option<&str>) -> String {
    match (verified_by, unverified) {
        (Some(name), _) => format!("verified: signed by `{name}`\n"),
        (None, Some(why)) => format!("not verified: {why}\n"),
        (None, None) => String::new(),
    }
}
