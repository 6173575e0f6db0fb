//! A process that runs executions on one machine: its settings, its database, its components.
//!
//! Every command that does more than look at the database opens one. Opening it installs the packs that
//! the binary carries, if they are not installed yet, and sweeps what a killed predecessor left.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use uuid::Uuid;

use crate::detection::DetectionError;
use crate::environment::layout::Layout;
use crate::environment::rubbish::remove_rubbish;
use crate::execution::Status;
use crate::metrics;
use crate::nearest::{did_you_mean, nearest_name};
use crate::pack::embedded;
use crate::pack::install::{self, Approve, InstallError};
use crate::pack::{Grants, Runtime, Voucher};
use crate::plugin::{
    ComponentSource, Denied, Ledger, Limits, Machine, PluginError, PluginSettings, Plugins, RuntimePlugin,
    RuntimeScope, Surroundings, Wasm, sweep_homes,
};
use crate::process;
use crate::reference::PackRef;
use crate::settings::{self, Settings};
use crate::store::execution::Attempt;
use crate::store::runtime::RuntimeRow;
use crate::store::worker::{Identity, WorkerId};
use crate::store::{Store, StoreError};

mod answers;
mod files;
mod home;
mod sweep;

pub use answers::Kept;
pub(crate) use files::keep_component;
pub use files::{FilesError, Lost, MissingFiles};
pub(crate) use sweep::sweep;

/// A process that runs executions.
#[derive(Clone, Debug)]
pub struct Worker {
    pub id: WorkerId,
    /// What tells its data folder from every other one.
    pub home: Uuid,
    /// Its `worker_name` is the name that it has.
    pub settings: Settings,
    pub store: Store,
    pub plugins: Plugins,
    /// When the files of packs were last looked through, by digest.
    pub(crate) looked_through: Arc<Mutex<BTreeMap<String, Instant>>>,
}

/// Why a worker can't start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A folder of its own can't be made.
    #[error("can't make the folder `{}`: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What tells its data folder from others can't be read or written.
    #[error("can't read or write `{}`: {source}", path.display())]
    Home {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Components can't be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A pack that the binary carries can't be installed.
    #[error("can't install the pack `{pack}` that comes with Attune")]
    Embedded {
        /// The pack.
        pack: String,
        #[source]
        source: Box<InstallError>,
    },
}

/// Why a text means no runtime, or no single one.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nothing is called that.
    #[error("there is no runtime called `{text}`{}", .nearest.as_deref().map(did_you_mean).unwrap_or_default())]
    Unknown {
        /// What was asked for.
        text: String,
        /// What is called nearly that.
        nearest: Option<String>,
    },
    /// More than one is.
    #[error("`{text}` may mean {}: write which", .meant.join(" or "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The references of those that it may mean.
        meant: Vec<String>,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a command needs of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Also the packs that the binary carries.
    WithPacks,
    /// Nothing is installed: for commands that say how things are.
    AsItIs,
}

impl Worker {
    /// Opens the database and gets ready; `notice` is told of what takes long.
    pub async fn open(
        settings: Settings,
        start: Start,
        notice: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, WorkerError> {
        // Actions run as the same user: they must not read this process's memory or variables.
        if let Err(error) = process::harden() {
            tracing::warn!("actions may be able to look into this process: {error}");
        }
        for folder in [&settings.cache_dir, &settings.runs_dir()] {
            make_private(folder)?;
        }
        let store = open_store(&settings).await?;
        let home = home::identify(&settings.data_dir)?;
        let (id, name) = register(&store, &settings.worker_name, home).await?;
        let settings = Settings { worker_name: name, ..settings };
        let plugins = Plugins::new(plugin_settings(&settings));
        let worker = Self { id, home, settings, store, plugins, looked_through: Arc::default() };
        worker.sweep().await?;
        if let Err(error) = remove_rubbish(&Layout::new(&worker.settings.runtime_envs_dir)) {
            tracing::warn!("can't remove what builders of environments left: {error}");
        }
        match sweep_homes(&worker.settings.tools_dir()) {
            Ok(removed) => {
                for path in removed {
                    tracing::debug!(path = %path.display(), "removed what a killed process left");
                }
            }
            Err(error) => tracing::warn!("can't remove what killed programs of components left: {error}"),
        }
        if start == Start::WithPacks {
            worker.install_embedded(notice).await?;
        }
        Ok(worker)
    }

    /// What its service is told from those of other data folders by.
    pub(crate) fn identity(&self) -> (WorkerId, Uuid) {
        (self.id, self.home)
    }

    /// Registers it anew, since another data folder has its name by now.
    pub(crate) async fn register_again(&mut self) -> Result<(), StoreError> {
        (self.id, self.settings.worker_name) =
            register(&self.store, &self.settings.worker_name, self.home).await?;
        Ok(())
    }

    /// Ends: what is left in the database's journal is written into its file.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// The runtime that a reference, a name or an alias means; among several, the one of `pack`.
    pub async fn runtime(&self, text: &str, pack: Option<&PackRef>) -> Result<RuntimeRow, RuntimeError> {
        if let Ok(reference) = text.parse()
            && let Some(runtime) = self.store.runtime(&reference).await?
        {
            return Ok(runtime);
        }
        let mut meant = self.store.runtimes_called(text).await?;
        if meant.len() > 1
            && let Some(own) = pack.and_then(|pack| meant.iter().position(|runtime| runtime.pack() == pack))
        {
            meant = vec![meant.swap_remove(own)];
        }
        match meant.as_slice() {
            [one] => match self.store.runtime(one).await? {
                Some(runtime) => Ok(runtime),
                None => Err(RuntimeError::Unknown { text: text.to_owned(), nearest: None }),
            },
            [] => {
                let names = self.store.runtime_names().await?;
                let names = names
                    .into_iter()
                    .flat_map(|(reference, aliases)| aliases.into_iter().chain([reference.to_string()]));
                Err(RuntimeError::Unknown { text: text.to_owned(), nearest: nearest_name(names, text) })
            }
            several => Err(RuntimeError::Ambiguous {
                text: text.to_owned(),
                meant: several.iter().map(|reference| format!("`{reference}`")).collect(),
            }),
        }
    }

    /// The component that serves a runtime, within what the operator approved.
    pub async fn runtime_plugin(&self, runtime: &RuntimeRow) -> Result<RuntimePlugin, DetectionError> {
        let reference = &runtime.runtime.reference;
        let not_approved = || DetectionError::NotApproved { runtime: reference.to_string() };
        let (Some(declaration), Some(used)) = (&runtime.runtime.plugin, &runtime.plugin) else {
            return Err(not_approved());
        };
        let grants = self.grants(runtime).ok_or_else(not_approved)?;
        let source = self.installed_component(reference.pack(), &declaration.component, &used.sha256).await?;
        self.component_files(&source).await?;
        let bound = match self.bind(&source, &runtime.runtime, grants.clone()).await {
            Err(error) if error.cause.is_damage() => {
                self.fetch_component(&source).await?;
                self.bind(&source, &runtime.runtime, grants).await?
            }
            bound => bound?,
        };
        Ok(bound.with_ledger(self.ledger()))
    }

    /// Keeps what the component of a runtime is denied in its calls.
    fn ledger(&self) -> Ledger {
        let store = self.store.clone();
        Ledger(Arc::new(move |denied| {
            let store = store.clone();
            Box::pin(async move { keep_denials(&store, &denied).await })
        }))
    }

    /// Keeps what was denied to a plan of the component of a runtime.
    pub(crate) async fn note_denial(&self, runtime: &RuntimeRow, what: String) {
        let Some(declaration) = &runtime.runtime.plugin else { return };
        let reference = &runtime.runtime.reference;
        let ComponentSource { pack, name, .. } = self.component(reference.pack(), &declaration.component, "");
        metrics::denials(&reference.to_string(), pack.as_str(), &name, 1);
        let what = [(what, 1)].into();
        keep_denials(&self.store, &Denied { runtime: reference.clone(), pack, component: name, what }).await;
    }

    /// What the component of a runtime may do: what was approved, as far as the operator's settings let it. None before it is
    /// approved.
    #[must_use]
    pub fn grants(&self, runtime: &RuntimeRow) -> Option<Grants> {
        let approved = runtime.plugin.as_ref()?.approved.as_ref()?;
        Some(self.settings.ceilings.narrow(runtime.runtime.reference.pack(), approved))
    }

    /// A component, loaded and bound to a runtime and what it may do for it.
    pub async fn bind(
        &self,
        source: &ComponentSource,
        runtime: &Runtime,
        grants: Grants,
    ) -> Result<RuntimePlugin, PluginError> {
        let plugin = self.plugins.load(source).await?;
        let scope = RuntimeScope { runtime: runtime.reference.clone(), grants, patterns: runtime.patterns() };
        self.plugins.runtime(&plugin, scope)
    }

    /// A component of an installed pack, with what vouches for it.
    pub async fn installed_component(
        &self,
        pack: &PackRef,
        name: &str,
        sha256: &str,
    ) -> Result<ComponentSource, StoreError> {
        let source = self.component(pack, name, sha256);
        let vouched = self.store.voucher(&source.pack, &source.name, sha256).await?;
        Ok(ComponentSource { vouched, ..source })
    }

    /// Where to find a component: one of `pack`, or `pack.component` of another. Nothing vouches for it yet.
    #[must_use]
    pub fn component(&self, pack: &PackRef, name: &str, sha256: &str) -> ComponentSource {
        let (pack, name) = match name.split_once('.') {
            Some((other, name)) => (other.parse().unwrap_or_else(|_| pack.clone()), name),
            None => (pack.clone(), name),
        };
        ComponentSource {
            pack,
            name: name.to_owned(),
            sha256: sha256.to_owned(),
            vouched: Voucher::Nothing,
            wasm: Wasm::File(files::component_path(&self.settings.components_dir(), sha256)),
        }
    }

    /// Ends what killed processes of this machine left, and gives up what they ran.
    pub(crate) async fn sweep(&self) -> Result<(), WorkerError> {
        sweep::sweep(&self.settings, &self.store).await
    }

    /// Takes an attempt from whoever had it, since he can't end it any more. What became of the execution; none if
    /// somebody else was faster.
    pub(crate) async fn give_up(&self, attempt: Attempt, reason: &str) -> Result<Option<Status>, StoreError> {
        sweep::give_up(&self.store, attempt, reason).await
    }

    /// Whether this worker uses a runtime, as `worker_runtimes` says.
    #[must_use]
    pub fn serves(&self, runtime: &RuntimeRow) -> bool {
        let Some(only) = &self.settings.worker_runtimes else { return true };
        let reference = &runtime.runtime.reference;
        only.iter().any(|name| {
            *name == reference.to_string()
                || name == reference.name().as_str()
                || runtime.runtime.aliases.contains(name)
        })
    }

    /// Installs the packs that the binary carries, unless they are installed already as they are.
    async fn install_embedded(&self, notice: &(dyn Fn(&str) + Send + Sync)) -> Result<(), WorkerError> {
        let installed = self.store.pack_sources().await?;
        for pack in embedded::embedded() {
            // One that the operator installed in its place stays.
            let has_files = |digest: &str| self.settings.packs_dir.join(pack.name).join(digest).is_dir();
            let stays = |(digest, source): &(String, String)| {
                !embedded::is_embedded(source) || (*source == pack.source() && has_files(digest))
            };
            if installed.get(pack.name).is_some_and(stays) {
                continue;
            }
            notice(&format!("installing the pack `{}` that comes with Attune", pack.name));
            let failed =
                |source| WorkerError::Embedded { pack: pack.name.to_owned(), source: Box::new(source) };
            let bundle = pack.bundle().map_err(|error| failed(error.into()))?;
            install::install(self, &bundle, (&pack.source(), None), &Approve::All { by: "attune" })
                .await
                .map_err(failed)?;
        }
        Ok(())
    }
}

/// That it can't be kept fails nothing.
async fn keep_denials(store: &Store, denied: &Denied) {
    if let Err(error) = store.keep_denials(denied).await {
        tracing::warn!(runtime.r#ref = %denied.runtime, "can't keep what a component was denied: {error}");
    }
}

/// The database, in the data folder if nothing else is said: what is in that is nobody else's business, whichever command is
/// the first to need it.
pub(crate) async fn open_store(settings: &Settings) -> Result<Store, WorkerError> {
    make_private(&settings.data_dir)?;
    Ok(Store::open(&settings.database).await?)
}

async fn register(store: &Store, name: &str, home: Uuid) -> Result<(WorkerId, String), StoreError> {
    let host = settings::host_name();
    store.register_worker(&Identity { name, host: &host, home }).await
}

/// A folder that only its owner may look into.
fn make_private(path: &Path) -> Result<(), WorkerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| WorkerError::Folder { path: path.to_owned(), source })
}

pub(crate) fn plugin_settings(settings: &Settings) -> PluginSettings {
    let variables = settings.process_variables.clone();
    PluginSettings {
        cache_folder: settings.cache_dir.join("components"),
        key_file: settings.data_dir.join("component-cache.key"),
        homes_folder: settings.tools_dir(),
        limits: Limits {
            memory: settings.plugin_memory,
            command_timeout: settings.verification_timeout,
            detection_deadline: settings.detection_timeout,
            ..Limits::default()
        },
        surroundings: Surroundings {
            machine: Machine::This,
            home: variables.get("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from),
            path: variables.get("PATH").cloned().unwrap_or_default().into(),
            variables,
        },
    }
}
