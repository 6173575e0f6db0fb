//! The plugin host: loads components, calls their exports, answers their imports within their grants.
//!
//! A [`Plugins`] holds the engine and what was loaded; [`Plugins::load`] compiles a component, or finds it
//! compiled; [`Plugins::runtime`] binds it to one runtime and its grants; a [`RuntimePlugin`] is called. Every
//! call gets a fresh instance, one deadline and a report. The host's model goes in and comes out: nothing of
//! WebAssembly is seen outside this module. What is done with the answers is not decided here.

mod bindings;
mod breaker;
mod cache;
mod call;
mod child;
mod component;
mod contract;
mod convert;
mod engine;
mod error;
mod files;
mod grant;
mod home;
mod limits;
mod log;
mod machine;
mod memo;
mod output;
mod patterns;
mod program;
mod roots;
mod runtime;
mod test_program;
mod tools;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use call::{Answer, CallReport, How, ToolRun};
pub use child::Ending;
pub(crate) use child::{LOST, NOT_STARTED};
pub use component::{Plugin, Required};
pub use contract::CONTRACT;
pub use convert::Alias;
pub use error::{Cause, Function, Part, PluginError};
pub(crate) use grant::NamePatterns;
pub(crate) use home::sweep as sweep_homes;
pub use limits::Limits;
pub use log::Message;
pub use machine::{ANY, Described, Machine, Recording, Reply, Scripted, Thing};
pub use memo::{Memo, MemoEntry, MemoKey, MemoOutcome};
pub use roots::{Scanned, Surroundings};
pub use runtime::{
    CheckRequest, Denied, DetectionRequest, Health, Keeping, LaunchRequest, Ledger, PlanRequest,
    RuntimePlugin, VerificationRequest,
};
pub use test_program::TestProgram;
pub use tools::programs_at_a_time;

use cache::Cache;
use call::Scope;
use engine::Sandbox;
use grant::Granted;
use patterns::Patterns;

use crate::pack::{Grants, Voucher};
use crate::reference::{PackRef, RuntimeRef};

/// What the plugin host needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// For compiled components; made, private, when it is first needed.
    pub cache_folder: PathBuf,
    /// The key that proves that compiled components are this installation's own; made when it is first needed.
    pub key_file: PathBuf,
    /// Where the programs that components run have folders of their own; made, private, when it is first needed.
    pub homes_folder: PathBuf,
    /// Bounds on each call.
    pub limits: Limits,
    /// What components see, as far as it is granted.
    pub surroundings: Surroundings,
}

/// A component as a pack ships it.
#[derive(Clone, Debug)]
pub struct ComponentSource {
    /// The pack that ships it.
    pub pack: PackRef,
    /// Its name within the pack.
    pub name: String,
    /// SHA-256, in hexadecimal: what it is known by.
    pub sha256: String,
    /// What says that it is the one that is meant.
    pub vouched: Voucher,
    /// Where its bytes are; they are only asked for if it was not compiled before.
    pub wasm: Wasm,
}

/// The bytes of a component.
#[derive(Clone, Debug)]
pub enum Wasm {
    /// At hand.
    Bytes(Arc<[u8]>),
    /// In a file.
    File(PathBuf),
}

/// What a component serves, and what it may do for that.
#[derive(Clone, Debug)]
pub struct RuntimeScope {
    /// The runtime, for messages.
    pub runtime: RuntimeRef,
    /// What the operator approved of what the YAML asks.
    pub grants: Grants,
    /// The regular expressions that the runtime's YAML declares.
    pub patterns: Vec<String>,
}

/// Everything that is needed to load and call components. Making one costs nothing: the engine starts with
/// the first component.
#[derive(Clone)]
pub struct Plugins(Arc<Shared>);

/// A component as a pack ships it: another pack's, though the same byte for byte, is named by that pack.
#[derive(PartialEq, Eq, Hash)]
struct Shipped {
    pack: PackRef,
    name: String,
    sha256: String,
}

impl From<&ComponentSource> for Shipped {
    fn from(source: &ComponentSource) -> Self {
        let ComponentSource { pack, name, sha256, .. } = source.clone();
        Self { pack, name, sha256 }
    }
}

struct Shared {
    settings: PluginSettings,
    cache: Cache,
    sandbox: OnceLock<Result<Sandbox, String>>,
    /// One cell per component, so that it is compiled once however many ask for it.
    loaded: Mutex<HashMap<Shipped, Arc<tokio::sync::OnceCell<Arc<Plugin>>>>>,
}

impl Plugins {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(settings: PluginSettings) -> Self {
        let cache = Cache::new(settings.cache_folder.clone(), settings.key_file.clone());
        Self(Arc::new(Shared { settings, cache, sandbox: OnceLock::new(), loaded: Mutex::default() }))
    }

    /// The component, compiled and linked: from memory, from the cache on disk, or from its bytes.
    pub async fn load(&self, source: &ComponentSource) -> Result<Arc<Plugin>, PluginError> {
        let cell = {
            let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(loaded.entry(source.into()).or_default())
        };
        let failed = |cause| PluginError {
            pack: source.pack.clone(),
            component: source.name.clone(),
            digest: source.sha256.clone(),
            function: Function::Load,
            cause: Box::new(cause),
            report: None,
        };
        let load = async || {
            let (shared, wanted) = (Arc::clone(&self.0), source.clone());
            let plugin = tokio::task::spawn_blocking(move || Plugin::load(&shared, &wanted))
                .await
                .unwrap_or_else(|error| Err(Cause::Engine { reason: error.to_string() }))?;
            tracing::info!(
                plugin.pack = %source.pack,
                plugin.component = source.name,
                plugin.digest = source.sha256,
                plugin.vouched = %source.vouched,
                plugin.compiled = plugin.was_compiled(),
                duration_ms = plugin.loading().as_millis(),
                "loaded a component"
            );
            Ok(Arc::new(plugin))
        };
        cell.get_or_try_init(load).await.map(Arc::clone).map_err(failed)
    }

    /// Drops a component from memory, once nothing uses it: its pack was removed or replaced.
    pub fn forget(&self, sha256: &str) {
        self.0
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|shipped, _| shipped.sha256 != sha256);
    }

    /// Binds a component to a runtime and to what it may do for it.
    pub fn runtime(&self, plugin: &Arc<Plugin>, scope: RuntimeScope) -> Result<RuntimePlugin, PluginError> {
        self.runtime_in(plugin, scope, self.0.settings.surroundings.clone())
    }

    /// The same in other surroundings.
    pub fn runtime_in(
        &self,
        plugin: &Arc<Plugin>,
        scope: RuntimeScope,
        surroundings: Surroundings,
    ) -> Result<RuntimePlugin, PluginError> {
        let scope = self
            .scope((plugin.pack(), plugin.name(), plugin.sha256()), scope, surroundings)
            .map_err(|cause| plugin.error(Function::Load, cause))?;
        Ok(RuntimePlugin::new(self.clone(), Arc::clone(plugin), scope))
    }

    fn scope(
        &self,
        (pack, component, digest): (&PackRef, &str, &str),
        scope: RuntimeScope,
        surroundings: Surroundings,
    ) -> Result<Scope, Cause> {
        let settings = &self.0.settings;
        Ok(Scope {
            pack: pack.clone(),
            component: component.to_owned(),
            digest: digest.to_owned(),
            runtime: scope.runtime,
            granted: Granted::compile(&scope.grants)?,
            patterns: Patterns::compile(&scope.patterns)?,
            surroundings,
            limits: settings.limits.clone(),
            homes: settings.homes_folder.clone(),
        })
    }

    fn sandbox(&self) -> Result<&Sandbox, Cause> {
        self.0.sandbox()
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Plugins").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Shared {
    fn sandbox(&self) -> Result<&Sandbox, Cause> {
        let sandbox = self.sandbox.get_or_init(|| Sandbox::start().map_err(|error| format!("{error:#}")));
        sandbox.as_ref().map_err(|reason| Cause::Engine { reason: reason.clone() })
    }
}
