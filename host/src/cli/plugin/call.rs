//! `attune plugin call`: one function of a runtime's component, and everything that it did for its answer.

mod shown;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use self::shown::{Told, show};
use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::resolve::unknown_runtime;
use crate::cli::runtime::detection_failed;
use crate::detection::{self, Freshness, covering};
use crate::environment::Manifest;
use crate::execution::choice::version_row;
use crate::installation::{Candidate, Identity, Installation};
use crate::pack::ExecutionConfig;
use crate::plugin::{
    Answer, CheckRequest, Function, LaunchRequest, Memo, PlanRequest, PluginError, RuntimePlugin,
};
use crate::store::now;
use crate::store::runtime::RuntimeRow;
use crate::verification;
use crate::worker::Worker;

#[derive(Debug, Args)]
pub(in crate::cli) struct Call {
    /// A runtime, by reference or alias
    runtime: String,
    /// Ask every program anew, whatever it is known to answer
    #[arg(long, global = true)]
    anew: bool,
    #[command(subcommand)]
    function: Called,
}

#[derive(Debug, Subcommand)]
enum Called {
    /// Look for installations
    Detect,
    /// Say which words stand for constraints
    Aliases,
    /// Prove that an installation works
    Verify {
        /// The installation: a path that `detect` finds
        path: PathBuf,
    },
    /// Say how to make an environment
    Plan {
        /// The installation: a path that `detect` finds
        path: PathBuf,
        /// A file that names dependencies, and what it is called in the pack
        #[arg(long = "manifest", value_name = "NAME=FILE")]
        manifests: Vec<String>,
    },
    /// Say whether an environment can be used
    Check {
        /// The installation that it was built with: a path that `detect` finds
        path: PathBuf,
        /// The environment's folder
        #[arg(long, value_name = "DIR")]
        environment: PathBuf,
        /// Let it run programs for that
        #[arg(long)]
        thorough: bool,
    },
    /// Say how to start a file; nothing is started
    Launch {
        /// The installation: a path that `detect` finds
        path: PathBuf,
        /// The file
        #[arg(long, value_name = "FILE")]
        entry_point: PathBuf,
        /// The environment's folder, if there is one
        #[arg(long, value_name = "DIR")]
        environment: Option<PathBuf>,
        /// What the file is given
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// What is called, and within what it may do.
struct Scene<'a> {
    worker: &'a Worker,
    runtime: RuntimeRow,
    plugin: RuntimePlugin,
}

impl Call {
    pub(super) async fn execute(&self, worker: &Worker, output: &Output) -> Result<(), Failed> {
        let runtime = worker.runtime(&self.runtime, None).await.map_err(unknown_runtime)?;
        if runtime.plugin.is_none() {
            let reference = &runtime.runtime.reference;
            let message = format!("`{reference}` has no component: its entry points start by themselves");
            return Err(Failed::message(Exit::Input, message));
        }
        let plugin = worker.runtime_plugin(&runtime).await.map_err(detection_failed)?;
        let known = if self.anew {
            Vec::new()
        } else {
            worker.store.probes(worker.id, plugin.plugin().sha256()).await?
        };
        let memo = Arc::new(Memo::from_entries(known, now()));
        let scene = Scene { worker, runtime, plugin: plugin.with_memo(memo) };
        let progress = Progress::begin(output);
        progress.say(format!("calling the component of {}", scene.runtime.runtime.reference));
        let called = self.function.call(&scene).await;
        progress.end();
        let (function, answer) = called?;
        show((&scene.runtime.runtime.reference, scene.plugin.plugin()), function, answer, output)
    }
}

/// What was called, and what came of it.
type Outcome = (Function, Result<Answer<Told>, PluginError>);

impl Called {
    async fn call(&self, scene: &Scene<'_>) -> Result<Outcome, Failed> {
        let Scene { runtime, plugin, .. } = scene;
        let settings = runtime.settings().to_vec();
        Ok(match self {
            Self::Detect => {
                let answer = plugin.detect(detection::request(&runtime.runtime)).await;
                (Function::Detect, answer.map(|answer| answer.map(|found| Told::found(&found))))
            }
            Self::Aliases => {
                let answer = plugin.aliases(&runtime.runtime.versions).await;
                (Function::Aliases, answer.map(|answer| answer.map(|aliases| Told::aliases(&aliases))))
            }
            Self::Verify { path } => {
                let (installation, identity) = scene.candidate(path).await?;
                let (_, distributions) = covering(runtime, &installation);
                let request = verification::request(&runtime.runtime, &installation, identity, distributions);
                let answer = plugin.verify(request).await;
                (Function::Verify, answer.map(|answer| answer.map(|verdict| Told::verdict(&verdict))))
            }
            Self::Plan { path, manifests } => {
                let manifests = manifests.iter().map(|text| manifest(text)).collect::<Result<_, _>>()?;
                let (installation, config) = scene.installation(path).await?;
                let answer = plugin.plan(PlanRequest { installation, config, settings, manifests }).await;
                (Function::Plan, answer.map(|answer| answer.map(|plan| Told::plan(&plan))))
            }
            Self::Check { path, environment, thorough } => {
                let (installation, config) = scene.installation(path).await?;
                let (environment, thorough) = (absolute(environment)?, *thorough);
                let request = CheckRequest { environment, installation, config, settings, thorough };
                let answer = plugin.check(request).await;
                (Function::Check, answer.map(|answer| answer.map(|health| Told::health(&health))))
            }
            Self::Launch { path, entry_point, environment, arguments } => {
                let (installation, config) = scene.installation(path).await?;
                let request = LaunchRequest {
                    installation,
                    config,
                    settings,
                    environment: environment.as_deref().map(absolute).transpose()?,
                    entry_point: absolute(entry_point)?,
                    arguments: arguments.clone(),
                };
                let answer = plugin.launch(request).await;
                (Function::Launch, answer.map(|answer| answer.map(|command| Told::command(&command))))
            }
        })
    }
}

impl Scene<'_> {
    /// An installation as the component itself reports it, before anything is verified.
    async fn candidate(&self, path: &Path) -> Result<(Installation, Identity), Failed> {
        let answer = self.plugin.detect(detection::request(&self.runtime.runtime)).await;
        let candidates = answer.map_err(|error| Failed::new(Exit::Failure, error))?.value;
        let mut found = Vec::new();
        for Candidate { path: at, outcome } in candidates {
            match outcome {
                Ok(installation) => found.push(installation),
                Err(failure) if is_at(path, &at, &[]) => return Err(rejected(path, &failure)),
                Err(_) => {}
            }
        }
        let Some(position) = found.iter().position(|it| is_at(path, &it.path, &it.aliases)) else {
            return Err(self.not_found(path, found.iter().map(|it| it.path.as_path())));
        };
        let installation = found.swap_remove(position);
        let identity = Identity::of(&installation.path)?;
        Ok((installation, identity))
    }

    /// An installation as it is known once it was verified, and how it is used.
    async fn installation(&self, path: &Path) -> Result<(Installation, ExecutionConfig), Failed> {
        let detected = detection::detect(self.worker, &self.runtime, Freshness::IfChanged).await;
        let installations = detected.map_err(detection_failed)?.installations;
        let at = |found: &&_| {
            let found: &crate::store::installation::FoundInstallation = found;
            is_at(path, &found.path, &found.aliases)
        };
        let Some(found) = installations.iter().find(at) else {
            let known = installations.iter().filter(|found| found.version.is_some());
            return Err(self.not_found(path, known.map(|found| found.path.as_path())));
        };
        let Some(version) = found.version.clone() else {
            let failure = found.status.failure().cloned();
            return Err(failure.map_or_else(|| self.not_found(path, []), |failure| rejected(path, &failure)));
        };
        // A detection may have made the version that covers it.
        let reference = &self.runtime.runtime.reference;
        let runtime = self.worker.store.runtime(reference).await?.unwrap_or_else(|| self.runtime.clone());
        let row = version_row(&runtime, found);
        let config = row.map_or(&runtime.runtime.execution_config, |row| &row.declared.execution_config);
        let installation = Installation {
            path: found.path.clone(),
            version,
            source: found.source.clone(),
            aliases: found.aliases.clone(),
            attributes: found.attributes.clone(),
        };
        Ok((installation, config.clone()))
    }

    fn not_found<'p>(&self, path: &Path, found: impl IntoIterator<Item = &'p Path>) -> Failed {
        let reference = &self.runtime.runtime.reference;
        let message = format!("`{}` is no installation that `{reference}` finds", path.display());
        let paths = found.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let failed = Failed::message(Exit::NotFound, message);
        if paths.is_empty() {
            failed.hint(format!("it finds none; `attune plugin call {reference} detect` shows how it looks"))
        } else {
            failed.hint(format!("it finds {}", paths.join(", ")))
        }
    }
}

/// Whether a path means what is at `at`, or leads there.
fn is_at(path: &Path, at: &Path, aliases: &[PathBuf]) -> bool {
    path == at
        || aliases.iter().any(|alias| alias == path)
        || path.canonicalize().is_ok_and(|canonical| canonical == at)
}

fn rejected(path: &Path, failure: &crate::installation::Failure) -> Failed {
    Failed::message(Exit::Input, format!("`{}` is no installation: {failure}", path.display()))
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    Ok(std::path::absolute(path)?)
}

fn manifest(text: &str) -> Result<Manifest, Failed> {
    let Some((name, file)) = text.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty())
    else {
        return Err(Failed::message(Exit::Input, format!("`{text}` names no file: write NAME=FILE")));
    };
    let contents = std::fs::read(file)
        .map_err(|error| Failed::message(Exit::Input, format!("can't read `{file}`: {error}")))?;
    Ok(Manifest { name: name.to_owned(), contents })
}
