//! A component bound to a runtime: the calls themselves.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::Instrument;
use wasmtime::component::Instance;
use wasmtime::{Store, Trap};
use wasmtime_wasi::I32Exit;

use super::bindings::attune::runtime::types;
use super::bindings::exports::attune::runtime::{detection, environment, verification};
use super::call::{Answer, Call, CallReport, Scope};
use super::component::Plugin;
use super::convert::environment::{Ground, config_to_wit, launch_from_wit, plan_from_wit, plan_request};
use super::convert::{
    Alias, aliases_from_wit, candidates_from_wit, command_to_wit, declared_version_to_wit, failure_from_wit,
    installation_to_wit, verdict_from_wit,
};
use super::engine::DeadlinePassed;
use super::error::{Cause, Function, PluginError, short};
use super::limits::MemoryExceeded;
use super::machine::Machine;
use super::memo::Memo;
use super::program::Executable;
use super::roots::Looks;
use super::{Plugins, call};
use crate::environment::{LaunchCommand, Manifest, Plan};
use crate::installation::{Candidate, Failure, FailureClass, Identity, Installation, Verdict};
use crate::metrics;
use crate::pack::{DeclaredVersion, ExecutionConfig, VerificationCommand};
use crate::reference::{PackRef, RuntimeRef};

/// What `detect` is asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DetectionRequest {
    /// Program names that the YAML declares, most wanted first.
    pub binaries: Vec<String>,
    /// How the YAML has installations verified.
    pub commands: Vec<VerificationCommand>,
    /// The versions that the YAML declares.
    pub versions: Vec<DeclaredVersion>,
    /// The YAML's `plugin.settings`.
    pub settings: Vec<(String, String)>,
}

/// What `verify` is asked.
#[derive(Clone, Debug)]
pub struct VerificationRequest {
    /// As detected.
    pub installation: Installation,
    /// What the file at its path was then; if it has changed since, that is an error.
    pub identity: Identity,
    /// From the YAML that applies to this installation, in order of priority.
    pub commands: Vec<VerificationCommand>,
    /// The YAML's `plugin.settings`.
    pub settings: Vec<(String, String)>,
}

/// What `plan` is asked.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The selected installation.
    pub installation: Installation,
    /// The effective configuration.
    pub config: ExecutionConfig,
    /// The YAML's `plugin.settings`.
    pub settings: Vec<(String, String)>,
    /// Empty if the pack names no dependencies for this runtime.
    pub manifests: Vec<Manifest>,
}

/// What `check` is asked.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// Absolute path of the environment.
    pub environment: PathBuf,
    /// The installation that it was built with.
    pub installation: Installation,
    /// The effective configuration.
    pub config: ExecutionConfig,
    /// The YAML's `plugin.settings`.
    pub settings: Vec<(String, String)>,
    /// Whether programs may be run for it.
    pub thorough: bool,
}

/// What `launch` is asked.
#[derive(Clone, Debug)]
pub struct LaunchRequest {
    /// The selected installation.
    pub installation: Installation,
    /// The effective configuration.
    pub config: ExecutionConfig,
    /// The YAML's `plugin.settings`.
    pub settings: Vec<(String, String)>,
    /// Absolute path, if there is one.
    pub environment: Option<PathBuf>,
    /// Absolute path of the file to start.
    pub entry_point: PathBuf,
    /// Arguments for the entry point.
    pub arguments: Vec<String>,
}

/// Whether an environment can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It can.
    Healthy,
    /// It can't.
    Unhealthy {
        /// Why not.
        reason: Failure,
    },
}

/// A component that serves a runtime within its grants.
#[derive(Clone, Debug)]
pub struct RuntimePlugin {
    plugins: Plugins,
    plugin: Arc<Plugin>,
    scope: Arc<Scope>,
    memo: Arc<Memo>,
    ledger: Option<Ledger>,
}

/// What a component was denied, and for which runtime.
#[derive(Clone, Debug)]
pub struct Denied {
    pub runtime: RuntimeRef,
    pub pack: PackRef,
    pub component: String,
    /// What the host refused, in its own words, and how many times.
    pub what: BTreeMap<String, i64>,
}

/// Who keeps what components were denied. A call has ended when it is kept.
#[derive(Clone)]
pub struct Ledger(pub Arc<dyn Fn(Denied) -> Keeping + Send + Sync>);

/// Something that is being kept.
pub type Keeping = Pin<Box<dyn Future<Output = ()> + Send>>;

impl std::fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// What is to be done with an instance, and with the store that it lives in.
type Work<'a, T> = Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 'a>>;

/// The component exports something of the right name and another type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ExportMismatch(String);

fn mismatch(error: &wasmtime::Error) -> wasmtime::Error {
    ExportMismatch(format!("{error:#}")).into()
}

impl RuntimePlugin {
    pub(super) fn new(plugins: Plugins, plugin: Arc<Plugin>, scope: Scope) -> Self {
        Self { plugins, plugin, scope: Arc::new(scope), memo: Arc::default(), ledger: None }
    }

    /// The same, with somebody who keeps what it is denied.
    #[must_use]
    pub fn with_ledger(self, ledger: Ledger) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// The same, answering from what programs are known to have answered.
    #[must_use]
    pub fn with_memo(self, memo: Arc<Memo>) -> Self {
        Self { memo, ..self }
    }

    /// The component.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The component, to be bound again.
    #[must_use]
    pub fn shared_plugin(&self) -> Arc<Plugin> {
        Arc::clone(&self.plugin)
    }

    /// Everything on this machine that looks like an installation.
    pub async fn detect(&self, request: DetectionRequest) -> Result<Answer<Vec<Candidate>>, PluginError> {
        let request = detection::Request {
            binaries: request.binaries,
            commands: request.commands.iter().map(command_to_wit).collect(),
            versions: request.versions.iter().map(declared_version_to_wit).collect(),
            variables: self.visible_variables(),
            settings: request.settings,
            extra: Vec::new(),
        };
        let function = Function::Detect;
        let indices = self.indices(function, Plugin::detection)?;
        let answer = self
            .call(function, None, move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, &instance).map_err(|error| mismatch(&error))?;
                    guest.call_detect(store, &request).await
                })
            })
            .await?;
        self.read(function, answer, |value, _| candidates_from_wit(accepted(value)?))
    }

    /// Every alias that can be asked for, given the declared versions.
    pub async fn aliases(&self, versions: &[DeclaredVersion]) -> Result<Answer<Vec<Alias>>, PluginError> {
        let versions: Vec<_> = versions.iter().map(declared_version_to_wit).collect();
        let function = Function::Aliases;
        let indices = self.indices(function, Plugin::detection)?;
        let answer = self
            .call(function, None, move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, &instance).map_err(|error| mismatch(&error))?;
                    guest.call_aliases(store, &versions).await
                })
            })
            .await?;
        self.read(function, answer, |value, _| aliases_from_wit(value))
    }

    /// Whether an installation is what it claims and works.
    pub async fn verify(&self, request: VerificationRequest) -> Result<Answer<Verdict>, PluginError> {
        let function = Function::Verify;
        let indices = self.indices(function, Plugin::verification)?;
        let found = program_of(&self.scope.surroundings.machine, &request)
            .map_err(|failure| self.plugin.error(function, Cause::Installation { failure }))?;
        let request = verification::Request {
            installation: installation_to_wit(&request.installation),
            commands: request.commands.iter().map(command_to_wit).collect(),
            settings: request.settings,
            extra: Vec::new(),
        };
        let answer = self
            .call(function, None, move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, &instance).map_err(|error| mismatch(&error))?;
                    let (program, looks) = *found;
                    let call = store.data_mut();
                    call.looks.extend(looks);
                    let program = call.table.push(program)?;
                    let lent = wasmtime::component::Resource::new_borrow(program.rep());
                    guest.call_verify(store, &request, lent).await
                })
            })
            .await?;
        self.read(function, answer, |value, _| verdict_from_wit(accepted(value)?))
    }

    /// What to do to make an environment.
    pub async fn plan(&self, request: PlanRequest) -> Result<Answer<Plan>, PluginError> {
        let function = Function::Plan;
        let indices = self.indices(function, Plugin::environment)?;
        let config = config_to_wit(&request.config, &request.settings);
        let asked = plan_request(&request.installation, config, &request.manifests);
        let answer = self
            .call(function, None, move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, &instance).map_err(|error| mismatch(&error))?;
                    guest.call_plan(store, &asked).await
                })
            })
            .await?;
        self.read(function, answer, |value, tools| {
            plan_from_wit(accepted(value)?, Ground { tools, installation: &request.installation })
        })
    }

    /// Whether an environment can be used.
    pub async fn check(&self, request: CheckRequest) -> Result<Answer<Health>, PluginError> {
        let function = Function::Check;
        let indices = self.indices(function, Plugin::environment)?;
        let asked = environment::CheckRequest {
            environment: request.environment.to_string_lossy().into_owned(),
            installation: installation_to_wit(&request.installation),
            config: config_to_wit(&request.config, &request.settings),
            thorough: request.thorough,
            extra: Vec::new(),
        };
        let answer = self
            .call(function, Some(request.environment), move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, &instance).map_err(|error| mismatch(&error))?;
                    guest.call_check(store, &asked).await
                })
            })
            .await?;
        Ok(answer.map(|value| match value {
            Ok(()) => Health::Healthy,
            Err(failure) => Health::Unhealthy { reason: failure_from_wit(failure) },
        }))
    }

    /// How to start something.
    pub async fn launch(&self, request: LaunchRequest) -> Result<Answer<LaunchCommand>, PluginError> {
        let function = Function::Launch;
        let indices = self.indices(function, Plugin::environment)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let asked = environment::LaunchRequest {
            installation: installation_to_wit(&request.installation),
            config: config_to_wit(&request.config, &request.settings),
            environment: request.environment.as_deref().map(text),
            entry_point: text(&request.entry_point),
            arguments: request.arguments,
            extra: Vec::new(),
        };
        let answer = self
            .call(function, request.environment, move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, &instance).map_err(|error| mismatch(&error))?;
                    guest.call_launch(store, &asked).await
                })
            })
            .await?;
        self.read(function, answer, |value, tools| {
            launch_from_wit(accepted(value)?, Ground { tools, installation: &request.installation })
        })
    }

    fn visible_variables(&self) -> Vec<(String, String)> {
        let variables = &self.scope.surroundings.variables;
        let visible = variables.iter().filter(|(name, _)| self.scope.granted.allows_variable(name));
        visible.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn indices<T: Clone>(
        &self,
        function: Function,
        indices: fn(&Plugin) -> Result<&T, Cause>,
    ) -> Result<T, PluginError> {
        indices(&self.plugin).cloned().map_err(|cause| self.plugin.error(function, cause))
    }

    /// Turns what a component answered into the host's model.
    fn read<T, U>(
        &self,
        function: Function,
        answer: Answer<T>,
        convert: impl FnOnce(T, &BTreeMap<PathBuf, Identity>) -> Result<U, Cause>,
    ) -> Result<Answer<U>, PluginError> {
        let Answer { value, tools, scanned, report } = answer;
        let value = match convert(value, &tools) {
            Ok(value) => value,
            Err(cause) => return Err(self.plugin.error(function, cause).after(report)),
        };
        Ok(Answer { value, tools, scanned, report })
    }

    /// One call: a fresh instance, one deadline over everything, a span and a report.
    async fn call<T: Send>(
        &self,
        function: Function,
        environment: Option<PathBuf>,
        work: impl for<'a> FnOnce(&'a mut Store<Call>, Instance) -> Work<'a, T> + Send,
    ) -> Result<Answer<T>, PluginError> {
        let failed = |cause| self.plugin.error(function, cause);
        self.plugin.admit(&self.scope.runtime).map_err(failed)?;
        let limit = self.scope.limits.deadline_of(function);
        let sandbox = self.plugins.sandbox().map_err(failed)?;
        let _slot = sandbox.slot().await;
        let call = Call::new(Arc::clone(&self.scope), Arc::clone(&self.memo), environment, limit);
        let deadline = Instant::now() + limit;
        let (mut store, ticking) = sandbox
            .store(call, deadline)
            .map_err(|error| failed(Cause::Engine { reason: error.to_string() }))?;
        let span = tracing::debug_span!(
            "plugin",
            plugin.pack = %self.scope.pack,
            plugin.component = self.scope.component,
            plugin.digest = short(&self.scope.digest),
            plugin.function = %function,
            runtime.ref = %self.scope.runtime,
        );
        let began = Instant::now();
        let outcome = {
            let store = &mut store;
            let running = async {
                let instance = self.plugin.linked.instantiate_async(&mut *store).await?;
                work(store, instance).await
            };
            // Boxed: whatever awaits a call would otherwise be as large as the call.
            tokio::time::timeout_at(deadline.into(), Box::pin(running)).instrument(span.clone()).await
        };
        drop(ticking);
        let report = store.data_mut().report(function);
        self.keep_denials(&report).instrument(span.clone()).await;
        let _entered = span.enter();
        let outcome = outcome
            .unwrap_or_else(|_| Err(DeadlinePassed.into()))
            .map_err(|error| cause_of(&error, &store, function, limit));
        metrics::plugin_call(
            (self.scope.pack.as_str(), &self.scope.component),
            function.name(),
            (began.elapsed(), report.memory_peak),
            outcome.is_ok(),
        );
        self.record(&report, outcome.as_ref().err());
        let call = store.into_data();
        match outcome {
            Ok(value) => Ok(Answer { value, tools: call.tools, scanned: call.looks.into_scanned(), report }),
            Err(cause) => Err(failed(cause).after(report)),
        }
    }

    async fn keep_denials(&self, report: &CallReport) {
        if report.denials.is_empty() {
            return;
        }
        let Scope { runtime, pack, component, .. } = &*self.scope;
        let mut what = BTreeMap::new();
        for denial in &report.denials {
            *what.entry(denial.clone()).or_default() += 1;
        }
        metrics::denials(&runtime.to_string(), pack.as_str(), component, report.denials.len());
        if let Some(Ledger(keep)) = &self.ledger {
            let (runtime, pack, component) = (runtime.clone(), pack.clone(), component.clone());
            keep(Denied { runtime, pack, component, what }).await;
        }
    }

    fn record(&self, report: &CallReport, cause: Option<&Cause>) {
        let Scope { runtime, limits, .. } = &*self.scope;
        match cause {
            Some(cause) if cause.is_crash() => self.plugin.failed(runtime, cause, limits),
            Some(_) => {}
            None => self.plugin.succeeded(runtime),
        }
        tracing::debug!(
            guest_ms = report.guest.as_millis(),
            host_ms = report.host.as_millis(),
            child_ms = report.child.as_millis(),
            memory_peak = report.memory_peak,
            tools_run = report.tools_run,
            tools_remembered = report.tools_remembered,
            denials = report.denials.len(),
            failed = cause.is_some(),
            "called a component"
        );
    }
}

/// A refusal is the component's answer, not ours.
fn accepted<T>(answer: Result<T, types::Failure>) -> Result<T, Cause> {
    answer.map_err(|failure| Cause::Refused { failure: failure_from_wit(failure) })
}

/// The installation's program, if it still is the one that was detected, and what that depends on. Boxed,
/// since it is held while the component is called.
fn program_of(machine: &Machine, request: &VerificationRequest) -> Result<Box<(Executable, Looks)>, Failure> {
    let mut looks = Looks::on(machine);
    let program = Executable::at(&request.installation.path, &mut looks)?;
    if program.identity != request.identity {
        let place = program.path.display();
        return Err(Failure::new(
            FailureClass::NotFound,
            format!("{place} has been replaced since it was detected"),
        ));
    }
    let source = request.installation.source.clone();
    Ok(Box::new((Executable { source, ..program }, looks)))
}

/// Why a call ended without an answer.
fn cause_of(error: &wasmtime::Error, store: &Store<Call>, function: Function, limit: Duration) -> Cause {
    let call: &call::Call = store.data();
    if error.is::<DeadlinePassed>() {
        let spent = call.meter.spent();
        return Cause::DeadlineExceeded {
            limit,
            part: spent.most(),
            guest: spent.guest,
            host: spent.host,
            child: spent.child,
        };
    }
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        return Cause::OutOfMemory { wanted: exceeded.wanted, limit: exceeded.limit };
    }
    if let Some(ExportMismatch(reason)) = error.downcast_ref() {
        let interface = function.interface().unwrap_or_default();
        return Cause::IncompatibleExport { interface, reason: reason.clone() };
    }
    let reason = match (error.downcast_ref::<Trap>(), error.downcast_ref::<I32Exit>()) {
        (Some(trap), _) => trap.to_string(),
        (None, Some(exit)) => format!("it exited with code {}", exit.0),
        (None, None) => error.root_cause().to_string(),
    };
    Cause::Trap { reason, message: call.stderr.message() }
}
