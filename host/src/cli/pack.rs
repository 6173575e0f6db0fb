//! `attune pack`: installing, inspecting, checking and writing packs.

mod show;
mod vouch;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::looking::{detect_all, left_out};
use super::options::Options;
use super::output::{Output, Tone, table};
use super::progress::Progress;
use super::remedy;
use super::runtime::{installations, no_component_failed, open_worker, withheld};
use crate::detection::{DetectionError, Freshness};
use crate::pack::bundle::{Bundle, BundleError};
use crate::pack::install::{self, Approve, Asked, InstallError, Installed};
use crate::pack::problem::{Problems, counted};
use crate::pack::{embedded, scaffold};
use crate::reference::PackRef;
use crate::store::change::ChangeError;
use crate::store::installation::FoundInstallation;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;
use vouch::Written;

#[derive(Debug, Subcommand)]
pub(super) enum Pack {
    /// Install a pack, or replace it, and say what its runtimes find on this machine
    Install {
        /// A pack's folder, or a .tar or .tar.gz of one
        path: PathBuf,
        /// Allow what its components ask for without asking back
        #[arg(long)]
        approve: bool,
    },
    /// List the installed packs
    List,
    /// Show what a pack ships
    Show {
        /// The pack
        pack: PackRef,
    },
    /// Check a pack and show every mistake in it
    Validate {
        /// A pack's folder, or a .tar or .tar.gz of one
        path: PathBuf,
    },
    /// Pin the components of a pack by their digests, in its `attune.lock`
    ///
    /// A pack whose components are not those that its lock names is refused.
    Lock {
        /// A pack's folder
        folder: PathBuf,
    },
    /// Sign a pack, into the file `PACK.sig` beside it
    Sign {
        /// A pack's folder, or a .tar or .tar.gz of one
        path: PathBuf,
        /// The secret key, as `attune key new` made it
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Remove a pack; what it ran stays on record
    Remove {
        /// The pack
        pack: PackRef,
    },
    /// Write a new pack to start from
    New {
        /// Its name
        name: PackRef,
        /// The folder to make it in; this one unless given
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
}

impl Pack {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        if let Self::New { name, path } = &self {
            return new(name, path.as_deref(), output);
        }
        match &self {
            Self::Lock { folder } => return vouch::lock(folder, output),
            Self::Sign { path, key } => return vouch::sign(path, key, output),
            _ => {}
        }
        let worker = open_worker(options, output).await?;
        match &self {
            Self::Install { path, approve } => install_from(&worker, path, *approve, output).await?,
            Self::List => list(&worker, output).await?,
            Self::Show { pack } => show::show(&worker, pack, output).await?,
            Self::Validate { path } => validate(&worker, path, output).await?,
            Self::Remove { pack } => remove(&worker, pack, output).await?,
            Self::New { .. } | Self::Lock { .. } | Self::Sign { .. } => {}
        }
        worker.close().await;
        Ok(Exit::Success)
    }
}

fn new(name: &PackRef, parent: Option<&Path>, output: &Output) -> Result<Exit, Failed> {
    if embedded::embedded().iter().any(|pack| pack.name == name.as_str()) {
        output.warn(&format!("a pack `{name}` comes with Attune; installing this one replaces it"));
    }
    let parent = parent.unwrap_or(Path::new("."));
    let folder = scaffold::scaffold(parent, name).map_err(|error| Failed::new(Exit::Input, error))?;
    output.data(&Written { path: &folder }, || folder.display().to_string())?;
    output.say(&format!("now: attune pack install {}", folder.display()));
    Ok(Exit::Success)
}

/// Reads a folder or an archive.
pub(super) fn read(path: &Path) -> Result<Bundle, Failed> {
    let bundle = if path.is_dir() { Bundle::from_dir(path) } else { Bundle::from_archive(path) };
    bundle.map_err(|error| bundle_failed(path, error))
}

fn bundle_failed(path: &Path, error: BundleError) -> Failed {
    let shown = path.display();
    if !path.exists() {
        return Failed::message(Exit::NotFound, format!("there is no folder or archive `{shown}`"))
            .hint("name the folder of a pack, or an archive of one");
    }
    let hint = match &error {
        BundleError::TooManyEntries | BundleError::TooLarge => {
            "leave out what does not belong by `.attuneignore`"
        }
        BundleError::Damaged { .. } | BundleError::Bomb { .. } => "make or fetch the archive again",
        _ if is_definition(path) => "name the folder of the pack, not a file of it",
        _ => "name the folder of a pack, or an archive made by `tar -czf`",
    };
    let context = format!("can't read the pack `{shown}`");
    Failed::new(Exit::Input, anyhow::Error::new(error).context(context)).hint(hint)
}

fn is_definition(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Why a pack can't be installed, as a failed command.
pub(super) fn install_failed(error: InstallError) -> Failed {
    match error {
        InstallError::Problems(problems) => problems_failed(&problems, false),
        InstallError::NotApproved { ref asked, is_update } => {
            let report = asked.iter().map(grants_text).collect::<String>();
            let hint = "run it again with --approve to allow this";
            let stays = if is_update { "; until then, the version that is installed stays" } else { "" };
            Failed::new(Exit::NotApproved, error).report(report).hint(format!("{hint}{stays}"))
        }
        InstallError::NoComponent { .. } => Failed::new(Exit::Input, error),
        // The pack was read before: it can't be written.
        InstallError::Bundle(_) | InstallError::Write { .. } => {
            let hint = remedy::of_folder(&error);
            Failed::new(Exit::Failure, error).hint(hint)
        }
        InstallError::Plugin(_) | InstallError::Bundles(_) | InstallError::Store(_) => {
            Failed::new(Exit::Failure, error)
        }
    }
}

pub(super) fn problems_failed(problems: &Problems, colour: bool) -> Failed {
    Failed::message(Exit::Input, format!("the pack has {problems}")).report(problems.render(colour))
}

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

async fn install_from(worker: &Worker, path: &Path, approve: bool, output: &Output) -> Result<(), Failed> {
    let bundle = read_to_check(path, output)?;
    let source = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let by = std::env::var("USER").unwrap_or_else(|_| "the operator".to_owned());
    let verified = vouch::verified(worker, path, &bundle, output)?;
    let origin = (source.as_str(), verified.as_deref().ok());
    let progress = Progress::begin(output);
    progress.say("checking the pack and compiling its components");
    let known = if approve { Approve::All { by: &by } } else { Approve::Known };
    let mut outcome = install::install(worker, &bundle, origin, &known).await;
    progress.end();
    if let Err(InstallError::NotApproved { asked, .. }) = &outcome
        && std::io::stdin().is_terminal()
        && output.watched
        && confirmed(asked)?
    {
        outcome = install::install(worker, &bundle, origin, &Approve::All { by: &by }).await;
    }
    let installed = match outcome {
        Ok(installed) => installed,
        Err(InstallError::Problems(problems)) => return Err(invalid(&problems, output)?),
        Err(error) => return Err(install_failed(error)),
    };
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

fn installed_text(worker: &Worker, output: &Output, view: &InstalledView<'_>) -> String {
    let (InstalledView { reference, version, .. }, digest) = (view, short(view.digest));
    let mut text = match view.replaced_version {
        Some(before) => format!("replaced {reference} {before} by {version} ({digest})\n"),
        None => format!("installed {reference} {version} ({digest})\n"),
    };
    let vouched = match (view.verified_by, &view.unverified) {
        (Some(name), _) => format!("verified: signed by `{name}`\n"),
        (None, Some(why)) => format!("not verified: {why}\n"),
        (None, None) => String::new(),
    };
    text += &vouched;
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

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// What a runtime's component asks for, for people.
fn grants_text(asked: &Asked) -> String {
    let Asked { runtime, grants, withheld } = asked;
    let mut text = format!("{runtime} asks to\n");
    let mut line = |what: &str, items: &[String]| {
        if !items.is_empty() {
            // Writing to a string can't fail.
            let _ = writeln!(text, "  {what:<14}{}", items.join(", "));
        }
    };
    line("run", &grants.tools);
    let folders = grants.search.iter().flat_map(|root| root.folders.iter().cloned()).collect::<Vec<_>>();
    line("look in", &folders);
    line("read", &grants.read);
    line("see variables", &grants.variables);
    if grants.network {
        line("use", &["the network when it builds environments".to_owned()]);
    }
    for withheld in withheld {
        line("but not", &[format!("{withheld} (`[grants]` of the settings)")]);
    }
    text
}

fn confirmed(asked: &[Asked]) -> Result<bool, Failed> {
    let mut stderr = std::io::stderr();
    for asked in asked {
        write!(stderr, "{}", grants_text(asked))?;
    }
    write!(stderr, "allow this? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn list(worker: &Worker, output: &Output) -> Result<(), Failed> {
    let packs = worker.store.packs().await?;
    output.data(&packs, || {
        table(
            ["PACK", "VERSION", "LABEL", "DIGEST", "FROM"],
            packs.iter().map(|pack| {
                [
                    pack.reference.to_string(),
                    pack.version.clone(),
                    pack.label.clone(),
                    short(&pack.digest).to_owned(),
                    pack.source.clone(),
                ]
            }),
        )
    })?;
    Ok(())
}

fn no_pack(pack: &PackRef) -> Failed {
    Failed::message(Exit::NotFound, format!("there is no pack `{pack}`"))
        .hint("`attune pack list` shows what is installed")
}

/// What is known of a pack that was read: whether it can be installed, and every mistake.
#[derive(Serialize)]
struct Validity<'a> {
    valid: bool,
    #[serde(rename = "ref")]
    reference: Option<String>,
    digest: Option<String>,
    problems: &'a Problems,
}

/// The failed command for a pack with mistakes, and with `--json` the document that lists them.
fn invalid(problems: &Problems, output: &Output) -> Result<Failed, Failed> {
    if output.json {
        output.data(&Validity { valid: false, reference: None, digest: None, problems }, String::new)?;
        return Ok(Failed::message(Exit::Input, "the pack has mistakes"));
    }
    Ok(problems_failed(problems, output.talk_colour))
}

/// Reads a pack that somebody asked to check or install.
fn read_to_check(path: &Path, output: &Output) -> Result<Bundle, Failed> {
    match read(path) {
        Err(failed) if output.json => {
            let mut problems = Problems::default();
            let help = failed.hints.first().map(String::as_str).unwrap_or_default();
            problems.add_file(&path.to_string_lossy(), failed.text(), help);
            invalid(&problems, output)?;
            Err(failed)
        }
        read => read,
    }
}

async fn validate(worker: &Worker, path: &Path, output: &Output) -> Result<(), Failed> {
    let bundle = read_to_check(path, output)?;
    match install::check(worker, &bundle).await {
        Ok(pack) => {
            let validity = Validity {
                valid: true,
                reference: Some(pack.reference.to_string()),
                digest: Some(pack.digest.clone()),
                problems: &Problems::default(),
            };
            output.data(&validity, || {
                format!(
                    "{} {} is a valid pack: {}, {}, {}",
                    pack.reference,
                    pack.version,
                    counted(pack.runtimes.len(), "runtime"),
                    counted(pack.actions.len(), "action"),
                    counted(pack.sensors.len(), "sensor")
                )
            })?;
            Ok(())
        }
        Err(InstallError::Problems(problems)) => Err(invalid(&problems, output)?),
        Err(error) => Err(install_failed(error)),
    }
}

async fn remove(worker: &Worker, pack: &PackRef, output: &Output) -> Result<(), Failed> {
    let installed = worker.store.pack(pack).await?.ok_or_else(|| no_pack(pack))?;
    if embedded::is_embedded(&installed.source) {
        let message = format!("`{pack}` comes with Attune and would be installed again");
        return Err(Failed::message(Exit::Input, message)
            .hint("install a pack of that name in its place, if it is to be another"));
    }
    worker.store.remove_pack(pack, None).await.map_err(|error| match error {
        ChangeError::NotFound { .. } => no_pack(pack),
        ChangeError::InUse { .. } => {
            Failed::new(Exit::Input, error).hint("remove the packs that need it first")
        }
        error => Failed::new(Exit::Failure, error),
    })?;
    let folder = worker.settings.packs_dir.join(pack.as_str());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| {
            Failed::new(
                Exit::Failure,
                anyhow::Error::new(error).context(format!("can't remove `{}`", folder.display())),
            )
        })?;
    }
    output.say(&format!("removed {pack}; its environments go when `attune env prune` needs their room"));
    Ok(())
}
