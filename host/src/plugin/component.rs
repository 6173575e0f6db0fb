//! A component, compiled and linked, and what it turned out to export.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre};

use super::bindings::exports::attune::runtime::{detection, environment, verification};
use super::breaker::Breaker;
use super::call::Call;
use super::engine::Sandbox;
use super::error::{Cause, Function, PluginError};
use super::limits::Limits;
use super::{ComponentSource, Shared, Wasm, contract};
use crate::pack::Voucher;
use crate::reference::{PackRef, RuntimeRef};

/// Bytes of a page of WebAssembly's memory.
const PAGE: u64 = 64 << 10;

/// A loaded component. It holds no state between calls but what is known of its failures.
pub struct Plugin {
    pack: PackRef,
    name: String,
    sha256: String,
    vouched: Voucher,
    compiled: bool,
    loading: Duration,
    pub(super) linked: InstancePre<Call>,
    detection: Export<detection::GuestIndices>,
    verification: Export<verification::GuestIndices>,
    environment: Export<environment::GuestIndices>,
    /// For those runtimes whose last calls failed.
    breakers: Mutex<HashMap<RuntimeRef, Breaker>>,
}

/// What a component needs to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Required {
    /// Memories.
    pub memories: u32,
    /// Bytes of the largest of them.
    pub memory_bytes: u64,
    /// Tables.
    pub tables: u32,
    /// Elements of the largest of them.
    pub table_elements: u64,
}

impl Required {
    /// None for a component that imports modules, which links with nothing here anyway.
    fn of(component: &Component) -> Option<Self> {
        let required = component.resources_required()?;
        Some(Self {
            memories: required.num_memories,
            memory_bytes: required.max_initial_memory_size.unwrap_or_default().saturating_mul(PAGE),
            tables: required.num_tables,
            table_elements: required.max_initial_table_size.unwrap_or_default(),
        })
    }
}

/// An interface that may be exported.
enum Export<T> {
    Present(T),
    Missing,
    Incompatible { reason: String },
}

impl<T> Export<T> {
    fn find(
        linked: &InstancePre<Call>,
        interface: &str,
        indices: fn(&InstancePre<Call>) -> wasmtime::Result<T>,
    ) -> Self {
        // The version that bindings look for; the engine also accepts a later compatible one.
        let name = format!("attune:runtime/{interface}@0.1.0");
        if linked.component().get_export_index(None, &name).is_none() {
            return Self::Missing;
        }
        match indices(linked) {
            Ok(indices) => Self::Present(indices),
            Err(error) => Self::Incompatible { reason: format!("{error:#}") },
        }
    }

    fn get(&self, interface: &'static str) -> Result<&T, Cause> {
        match self {
            Self::Present(indices) => Ok(indices),
            Self::Missing => Err(Cause::MissingExport { interface }),
            Self::Incompatible { reason } => {
                Err(Cause::IncompatibleExport { interface, reason: reason.clone() })
            }
        }
    }

    fn is_present(&self) -> bool {
        matches!(self, Self::Present(_))
    }
}

impl Plugin {
    /// Blocks: compiling takes up to seconds.
    pub(super) fn load(shared: &Shared, source: &ComponentSource) -> Result<Self, Cause> {
        let sandbox = shared.sandbox()?;
        let started = Instant::now();
        let cached = shared.cache.load(&sandbox.engine, &source.sha256);
        let compiled = cached.is_none();
        let component = match cached {
            Some(component) => component,
            None => compile(shared, sandbox, source)?,
        };
        check_size(&component, &shared.settings.limits)?;
        contract::check(exports_of(&component).iter().chain(&imports_of(&component)))?;
        let linked = sandbox
            .linker
            .instantiate_pre(&component)
            .map_err(|error| incompatible_import(&component, &format!("{error:#}")))?;
        Ok(Self {
            pack: source.pack.clone(),
            name: source.name.clone(),
            sha256: source.sha256.clone(),
            vouched: source.vouched.clone(),
            compiled,
            loading: started.elapsed(),
            detection: Export::find(&linked, "detection", detection::GuestIndices::new),
            verification: Export::find(&linked, "verification", verification::GuestIndices::new),
            environment: Export::find(&linked, "environment", environment::GuestIndices::new),
            linked,
            breakers: Mutex::default(),
        })
    }

    /// The pack that ships it.
    #[must_use]
    pub fn pack(&self) -> &PackRef {
        &self.pack
    }

    /// Its name within the pack.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What said, when it was loaded, that it is the one that is meant.
    #[must_use]
    pub fn vouched(&self) -> &Voucher {
        &self.vouched
    }

    /// Whether it had to be compiled, rather than found compiled.
    #[must_use]
    pub fn was_compiled(&self) -> bool {
        self.compiled
    }

    /// How long that took.
    #[must_use]
    pub fn loading(&self) -> Duration {
        self.loading
    }

    /// What it needs to start, as far as that can be told.
    #[must_use]
    pub fn required(&self) -> Option<Required> {
        Required::of(self.linked.component())
    }

    /// The interfaces that it imports, in alphabetical order.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        imports_of(self.linked.component())
    }

    /// The interfaces and functions that it exports, in alphabetical order.
    #[must_use]
    pub fn exported(&self) -> Vec<String> {
        exports_of(self.linked.component())
    }

    /// The version of the contract that it was built for, as the names of its interfaces say.
    #[must_use]
    pub fn contract_version(&self) -> Option<String> {
        let version =
            self.exported().iter().chain(&self.imports()).find_map(|name| contract::version_of(name));
        version.map(|version| version.to_string())
    }

    /// Whether it exports the interface that the function belongs to, in a form that can be called.
    #[must_use]
    pub fn exports(&self, function: Function) -> bool {
        match function {
            Function::Load => true,
            Function::Detect | Function::Aliases => self.detection.is_present(),
            Function::Verify => self.verification.is_present(),
            Function::Plan | Function::Check | Function::Launch => self.environment.is_present(),
        }
    }

    pub(super) fn detection(&self) -> Result<&detection::GuestIndices, Cause> {
        self.detection.get("detection")
    }

    pub(super) fn verification(&self) -> Result<&verification::GuestIndices, Cause> {
        self.verification.get("verification")
    }

    pub(super) fn environment(&self) -> Result<&environment::GuestIndices, Cause> {
        self.environment.get("environment")
    }

    /// Whether it may be called for a runtime now.
    pub(super) fn admit(&self, runtime: &RuntimeRef) -> Result<(), Cause> {
        self.breakers().get(runtime).map_or(Ok(()), |breaker| breaker.admit(Instant::now()))
    }

    /// A call for a runtime came back, whatever it answered.
    pub(super) fn succeeded(&self, runtime: &RuntimeRef) {
        self.breakers().remove(runtime);
    }

    /// A call for a runtime failed by the component's own fault.
    pub(super) fn failed(&self, runtime: &RuntimeRef, cause: &Cause, limits: &Limits) {
        let mut breakers = self.breakers();
        let breaker = breakers.entry(runtime.clone()).or_default();
        breaker.failed(Instant::now(), cause, limits.failures, limits.cool_down);
    }

    fn breakers(&self) -> MutexGuard<'_, HashMap<RuntimeRef, Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn error(&self, function: Function, cause: Cause) -> PluginError {
        PluginError {
            pack: self.pack.clone(),
            component: self.name.clone(),
            digest: self.sha256.clone(),
            function,
            cause: Box::new(cause),
            report: None,
        }
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("pack", &self.pack)
            .field("name", &self.name)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

fn imports_of(component: &Component) -> Vec<String> {
    let kind = component.component_type();
    let mut names = kind.imports(component.engine()).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    names.sort();
    names
}

fn exports_of(component: &Component) -> Vec<String> {
    let kind = component.component_type();
    let mut names = kind.exports(component.engine()).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    names.sort();
    names
}

fn compile(shared: &Shared, sandbox: &Sandbox, source: &ComponentSource) -> Result<Component, Cause> {
    let wasm = match &source.wasm {
        Wasm::Bytes(bytes) => Cow::Borrowed(&bytes[..]),
        Wasm::File(path) => Cow::Owned(
            std::fs::read(path)
                .map_err(|error| Cause::Unreadable { reason: format!("{}: {error}", path.display()) })?,
        ),
    };
    // What is cached under a digest is that digest's.
    let actual = crate::digest::hexadecimal(&Sha256::digest(&wasm));
    if actual != source.sha256 {
        return Err(Cause::DigestMismatch { actual });
    }
    let component = Component::from_binary(&sandbox.engine, &wasm)
        .map_err(|error| Cause::Compile { reason: format!("{error:#}") })?;
    shared.cache.store(&sandbox.engine, &source.sha256, &component);
    Ok(component)
}

/// Refuses at once what every call would refuse.
fn check_size(component: &Component, limits: &Limits) -> Result<(), Cause> {
    let Some(required) = Required::of(component) else { return Ok(()) };
    let instances = limits.instances as u64;
    let checks = [
        ("memories", u64::from(required.memories), instances),
        ("tables", u64::from(required.tables), instances),
        ("bytes of memory", required.memory_bytes, limits.memory as u64),
        ("elements of a table", required.table_elements, limits.table_elements as u64),
    ];
    checks.into_iter().try_for_each(|(what, needed, allowed)| {
        if needed > allowed { Err(Cause::TooLarge { what, needed, allowed }) } else { Ok(()) }
    })
}

/// The engine reports the first import that does not fit, by name within a text.
fn incompatible_import(component: &Component, reason: &str) -> Cause {
    let import = imports_of(component).into_iter().find(|name| reason.contains(&format!("`{name}`")));
    let import = import.unwrap_or_else(|| "unknown".to_owned());
    if let Err(later) = contract::check_later(&import) {
        return later;
    }
    Cause::IncompatibleImport { import, reason: reason.to_owned() }
}
