//! `attune pack`: installing, inspecting, checking and writing packs.

pub(super) mod install;
pub(super) mod remove;
pub(super) mod show;
mod vouch;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::grants::asked_text;
use super::options::{DryRun, Options};
use super::output::Output;
use super::remedy;
use super::runtime::{open_worker, withheld};
use super::table::table;
use crate::pack::bundle::{Bundle, BundleError};
use crate::pack::install::{self as installing, InstallError};
use crate::pack::problem::{Problems, counted};
use crate::pack::{embedded, scaffold};
use crate::printable::printable;
use crate::reference::PackRef;
use crate::store::pack::PackRow;
use crate::worker::Worker;
use vouch::Written;
pub(super) use vouch::signer;

#[derive(Debug, Subcommand)]
pub(super) enum Pack {
    /// Install a pack, or replace it, and say what its runtimes find on this machine
    Install {
        /// A pack's folder, or a .tar or .tar.gz of one
        path: PathBuf,
        /// Allow what its components ask for without asking back
        #[arg(long)]
        approve: bool,
        #[command(flatten)]
        dry: DryRun,
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
        #[command(flatten)]
        dry: DryRun,
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
            Self::Install { path, approve, dry } => {
                install::install_from(&worker, path, (*approve, *dry), output).await?;
            }
            Self::List => list(&worker, output).await?,
            Self::Show { pack } => show::show(&worker, pack, output).await?,
            Self::Validate { path } => validate(&worker, path, output).await?,
            Self::Remove { pack, dry } => remove::remove(&worker, pack, *dry, output).await?,
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
            let report = asked.iter().map(asked_text).collect::<String>();
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

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

async fn list(worker: &Worker, output: &Output) -> Result<(), Failed> {
    Ok(print_list(&worker.store.packs().await?, output)?)
}

/// Shows packs, wherever they are installed.
pub(super) fn print_list(packs: &[PackRow], output: &Output) -> std::io::Result<()> {
    output.data(&packs, || {
        table(
            ["PACK", "VERSION", "LABEL", "DIGEST", "FROM"],
            packs.iter().map(|pack| {
                [
                    pack.reference.to_string(),
                    printable(&pack.version).into_owned(),
                    printable(&pack.label).into_owned(),
                    printable(short(&pack.digest)).into_owned(),
                    printable(&pack.source).into_owned(),
                ]
            }),
        )
    })
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
pub(super) fn invalid(problems: &Problems, output: &Output) -> Result<Failed, Failed> {
    if output.json {
        output.data(&Validity { valid: false, reference: None, digest: None, problems }, String::new)?;
        return Ok(Failed::message(Exit::Input, "the pack has mistakes"));
    }
    Ok(problems_failed(problems, output.talk_colour))
}

/// Reads a pack that somebody asked to check or install.
pub(super) fn read_to_check(path: &Path, output: &Output) -> Result<Bundle, Failed> {
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
    let signer = signer(worker, path, &bundle).ok();
    match installing::check(worker, &bundle, (&path.to_string_lossy(), signer.as_deref())).await {
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
