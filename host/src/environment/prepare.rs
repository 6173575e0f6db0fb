//! The environment that an execution needs: found ready, or planned, built and recorded.
//!
//! What was asked for the last time is kept with the environment. While the same is asked and the
//! environment still works, nothing is planned: a tool that appeared since would make another plan, and
//! that is no reason to build again.

mod error;
mod log;

pub use error::PrepareError;
pub(crate) use log::{PLAIN, TOLD};

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::build::{self, BuildError, Built, Progress, Tool, build, published};
use super::key::{Ingredients, Key, UnhashablePlan, plan_digest};
use super::layout::Layout;
use super::ready::{Lease, State, inspect, lease};
use super::retry::{Failing, Retry, again_at};
use super::scope::{self, Dependencies, Scope};
use super::stage::{self, StageError, stage};
use super::{Manifest, Plan, Stage, collect, contents};
use crate::digest;
use crate::execution::choice::Choice;
use crate::installation::{Failure, FailureClass, Identity, Installation};
use crate::metrics;
use crate::plugin::{Cause, CheckRequest, Function, Health, PlanRequest, PluginError, RuntimePlugin};
use crate::reference::PackRef;
use crate::store::StoreError;
use crate::store::environment::EnvironmentRow;
use crate::store::now;
use crate::store::runtime::RuntimeRow;
use crate::trace::{self, stage_span};
use crate::worker::{Kept, Worker};

/// What an environment is for.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    pub pack: &'a PackRef,
    pub pack_digest: &'a str,
    /// Where the pack's files are.
    pub pack_folder: &'a Path,
    /// Relative to the pack.
    pub entry_point: &'a str,
    pub runtime: &'a RuntimeRow,
    pub choice: &'a Choice,
}

/// An environment that can be used, or the lack of need for one.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub environment: Option<Ready>,
    /// Where the entry point is to be started from: the pack, or a stage of it.
    pub root: PathBuf,
    /// Whether anything had to be built.
    pub fresh: bool,
}

/// An environment that is ready.
#[derive(Clone, Debug)]
pub struct Ready {
    pub key: Key,
    /// The immutable folder.
    pub folder: PathBuf,
    /// The stable path.
    pub link: PathBuf,
    /// Keeps it from being collected; none for one that is only looked at.
    pub lease: Option<Lease>,
}

/// What would be built, for a dry run.
#[derive(Clone, Debug)]
pub struct Planned {
    pub plan: Plan,
    /// None if the plan is empty.
    pub key: Option<Key>,
    pub link: PathBuf,
    /// Whether it is there already.
    pub ready: bool,
    /// Where the entry point would be started from.
    pub root: PathBuf,
}

/// Everything about a need that is worked out before anything is planned.
struct Question<'a> {
    worker: &'a Worker,
    need: Need<'a>,
    /// SHA-256 of the component that plans.
    component: String,
    layout: Layout,
    scope: Scope,
    manifests: Vec<Manifest>,
    installation: Installation,
    identity: Identity,
    variables: Vec<(String, String)>,
    link: PathBuf,
    /// Digest of everything that the component is asked when it plans.
    asked: String,
}

/// The environment that `need` asks for, ready to be used.
pub async fn prepare(
    worker: &Worker,
    need: Need<'_>,
    retry: Retry,
    progress: impl Fn(Progress<'_>) + Send + Sync,
) -> Result<Prepared, PrepareError> {
    let pack_folder = need.pack_folder.to_owned();
    let question = Question::new(worker, need)?;
    let row = question.row().await?;
    if let Some((ready, stage)) = question.known(row.as_ref()).await? {
        let root = question.stage(&ready.key, stage.as_ref()).await?;
        return Ok(Prepared { environment: Some(ready), root, fresh: false });
    }
    if retry == Retry::WhenDue
        && let Some(failing) = row.as_ref().and_then(|row| question.failing(row))
    {
        return Err(PrepareError::Failing(Box::new(failing)));
    }
    let answer = trace::stage(stage_span!("plan"), question.plan()).await?;
    if answer.value.steps.is_empty() {
        return Ok(Prepared { environment: None, root: pack_folder, fresh: false });
    }
    let (ready, built) = question.build(&answer, retry, progress).await?;
    let root = question.stage(&ready.key, answer.value.stage.as_ref()).await?;
    Ok(Prepared { environment: Some(ready), root, fresh: built.fresh })
}

/// What would be built for `need`, without building it.
pub async fn plan(worker: &Worker, need: Need<'_>) -> Result<Planned, PrepareError> {
    let question = Question::new(worker, need)?;
    let plan = question.plan().await?.value;
    if plan.steps.is_empty() {
        let root = need.pack_folder.to_owned();
        return Ok(Planned { plan, key: None, link: question.link, ready: false, root });
    }
    let key = question.key(&plan)?;
    let root = match plan.stage {
        Some(_) => question.layout.staged(&key, need.pack_digest, &question.scope),
        None => need.pack_folder.to_owned(),
    };
    let ready = matches!(inspect(&question.layout, &key, &question.identity), State::Ready(_));
    Ok(Planned { plan, key: Some(key), link: question.link, ready, root })
}

/// What became of an environment that was looked at to be repaired.
#[derive(Clone, Debug)]
pub enum Repaired {
    /// It works.
    Healthy,
    /// It did not, and was built again.
    Rebuilt {
        /// Why it did not work.
        reason: Failure,
    },
    /// It does not, and would be built again.
    ToBeBuilt {
        /// Why it does not work.
        reason: Failure,
        /// How.
        plan: Plan,
    },
    /// There is none yet: the first use builds it.
    NotBuilt,
}

/// The stable path of the environment for `need`, if it needs one.
pub fn place(worker: &Worker, need: Need<'_>) -> Result<PathBuf, PrepareError> {
    Ok(Question::new(worker, need)?.link)
}

/// Looks thoroughly at the environment for `need`, at its stable path, and builds it again if it does
/// not work, unless that is only to be planned. None if no environment is needed.
pub async fn repair(
    worker: &Worker,
    need: Need<'_>,
    only_plan: bool,
    progress: impl Fn(Progress<'_>) + Send + Sync,
) -> Result<Option<Repaired>, PrepareError> {
    let question = Question::new(worker, need)?;
    let Some(row) = question.row().await? else { return Ok(Some(Repaired::NotBuilt)) };
    let key: Key = row.key.parse()?;
    let broken = |message: &str| Failure::new(FailureClass::Other("broken-environment".to_owned()), message);
    let reason = match inspect(&question.layout, &key, &question.identity) {
        _ if row.status == "failed" => broken("its last build failed"),
        _ if row.prepared_for != question.asked => {
            broken("it was built for something else than is asked now")
        }
        State::Ready(marker) => {
            let folder = question.layout.built(&key);
            let Some(reason) = question.damage(&folder).await? else { return Ok(Some(Repaired::Healthy)) };
            if !only_plan {
                collect::repair(&question.layout, &marker)
                    .map_err(|source| PrepareError::Repair { path: folder, source })?;
            }
            reason
        }
        State::Missing => broken("its folder is gone"),
        State::Unfinished => broken("it was not built to its end"),
        State::InterpreterChanged { .. } => broken("the interpreter that it was built with was replaced"),
    };
    let answer = question.plan().await?;
    if answer.value.steps.is_empty() {
        return Ok(None);
    }
    if only_plan {
        return Ok(Some(Repaired::ToBeBuilt { reason, plan: answer.value }));
    }
    question.build(&answer, Retry::AtOnce, progress).await?;
    Ok(Some(Repaired::Rebuilt { reason }))
}

impl Planned {
    /// The environment, if it is there.
    #[must_use]
    pub fn ready_environment(&self, worker: &Worker) -> Option<Ready> {
        let key = self.key.clone().filter(|_| self.ready)?;
        let folder = Layout::new(&worker.settings.runtime_envs_dir).built(&key);
        Some(Ready { key, folder, link: self.link.clone(), lease: None })
    }
}

impl<'a> Question<'a> {
    fn new(worker: &'a Worker, need: Need<'a>) -> Result<Self, PrepareError> {
        let component = need.runtime.plugin.as_ref().map(|used| used.sha256.clone()).unwrap_or_default();
        let found =
            scope::find(need.pack_folder, need.entry_point, &need.choice.config.dependencies.manifests)?;
        let Dependencies { scope, manifests } =
            found.unwrap_or_else(|| Dependencies { scope: Scope::root(), manifests: Vec::new() });
        let (installation, identity) = need.choice.installed();
        let variables = worker
            .settings
            .variables
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Vec<_>>();
        let layout = Layout::new(&worker.settings.runtime_envs_dir);
        let runtime = &need.runtime.runtime;
        let link = layout.link(need.pack, runtime.reference.name(), need.choice.label.as_deref(), &scope);
        let contents =
            manifests.iter().map(|manifest| (&manifest.name, &manifest.contents)).collect::<Vec<_>>();
        let asked = digest::of_json(&(
            &component,
            worker.grants(need.runtime),
            need.runtime.settings(),
            &installation,
            &identity,
            &need.choice.config,
            contents,
            &variables,
        ));
        Ok(Self {
            worker,
            need,
            component,
            layout,
            scope,
            manifests,
            installation,
            identity,
            variables,
            link,
            asked,
        })
    }

    /// What is on record of the environment.
    async fn row(&self) -> Result<Option<EnvironmentRow>, StoreError> {
        let installation = self.installation.path.to_string_lossy();
        self.worker.store.environment(self.worker.id, &self.link.to_string_lossy(), &installation).await
    }

    /// The same, whoever has changed it since this execution was claimed.
    async fn row_by_now(&self) -> Result<Option<EnvironmentRow>, StoreError> {
        self.worker.store.has_changed();
        self.row().await
    }

    /// The failure of the same build, if it was a short while ago and nobody has built it since for another pack.
    fn failing(&self, row: &EnvironmentRow) -> Option<Failing> {
        let failing = Failing::of(row).filter(|_| row.prepared_for == self.asked)?;
        let is_ready = |key: Key| matches!(inspect(&self.layout, &key, &self.identity), State::Ready(_));
        let is_built = row.key.parse().is_ok_and(is_ready);
        (failing.holds(now()) && !is_built).then_some(failing)
    }

    /// The environment that was built for the same question before, if it still works. One that does
    /// not is put aside.
    async fn known(
        &self,
        row: Option<&EnvironmentRow>,
    ) -> Result<Option<(Ready, Option<Stage>)>, PrepareError> {
        let Some(row) = row.filter(|row| row.status == "ready" && row.prepared_for == self.asked) else {
            return Ok(None);
        };
        let key: Key = row.key.parse()?;
        let folder = self.layout.built(&key);
        // First of all, so that what is found now is still there when it is used.
        let Some(lease) = self.lease(&key)? else { return Ok(None) };
        let State::Ready(marker) = inspect(&self.layout, &key, &self.identity) else { return Ok(None) };
        if let Health::Unhealthy { reason } = self.check(&folder, false).await? {
            self.log_broken(&key, &reason);
            collect::repair(&self.layout, &marker)
                .map_err(|source| PrepareError::Repair { path: folder.clone(), source })?;
            return Ok(None);
        }
        Ok(Some((Ready { key, folder, link: self.link.clone(), lease: Some(lease) }, row.stage.clone())))
    }

    /// A component that knows nothing of environments plans none.
    async fn plan(&self) -> Result<Kept<Plan>, PrepareError> {
        let request = PlanRequest {
            installation: self.installation.clone(),
            config: self.need.choice.config.clone(),
            settings: self.need.runtime.settings().to_vec(),
            manifests: self.manifests.clone(),
        };
        // A plan with steps is asked for once, and its outcome is kept as an environment.
        let is_empty = |plan: &Plan| plan.steps.is_empty();
        let ask = |plugin: RuntimePlugin| async move {
            if !plugin.plugin().exports(Function::Plan) {
                return Ok(Kept::of(Plan::default()));
            }
            let planned = plugin.plan(request).await.map_err(|error| self.with_folder(error))?;
            Ok::<_, PrepareError>(planned.into())
        };
        self.worker.answer(self.need.runtime, (Function::Plan, &self.asked), is_empty, ask).await
    }

    /// A refusal that begins with the name of a manifest, which is all that the component knows of where it is.
    fn with_folder(&self, mut error: PluginError) -> PluginError {
        if let Cause::Refused { failure } = &mut *error.cause
            && self.manifests.iter().any(|manifest| failure.message.starts_with(&manifest.name))
        {
            failure.message = self.scope.join(&failure.message);
        }
        error
    }

    /// The component's word on whether the environment in `folder` works. That it can't be asked says
    /// nothing about the environment, and is an error.
    async fn check(&self, folder: &Path, thorough: bool) -> Result<Health, PrepareError> {
        let request = CheckRequest {
            environment: folder.to_owned(),
            installation: self.installation.clone(),
            config: self.need.choice.config.clone(),
            settings: self.need.runtime.settings().to_vec(),
            thorough,
        };
        let ask = |plugin: RuntimePlugin| async move {
            if !plugin.plugin().exports(Function::Check) {
                return Ok(Kept::of(Health::Healthy));
            }
            Ok::<_, PrepareError>(plugin.check(request).await?.into())
        };
        // A thorough check is there to find what a kept answer would miss.
        let worth_keeping = |health: &Health| !thorough && *health == Health::Healthy;
        let asked = (Function::Check, &(&self.asked, folder, thorough));
        Ok(self.worker.answer(self.need.runtime, asked, worth_keeping, ask).await?.value)
    }

    /// Why an environment does not work, or what of it is not as it was built.
    async fn damage(&self, folder: &Path) -> Result<Option<Failure>, PrepareError> {
        if let Health::Unhealthy { reason } = self.check(folder, true).await? {
            return Ok(Some(reason));
        }
        let looked = folder.to_owned();
        let damage = tokio::task::spawn_blocking(move || contents::damage(&looked)).await;
        let damage = damage.map_err(std::io::Error::other).flatten();
        let damage = damage.map_err(|source| PrepareError::Look { path: folder.to_owned(), source })?;
        Ok(damage.map(|text| Failure::new(FailureClass::Other("broken-environment".to_owned()), text)))
    }

    /// The same, for one that was just built and that nobody uses yet.
    async fn check_built(&self, folder: PathBuf) -> Result<(), Failure> {
        match self.check(&folder, false).await {
            Ok(Health::Healthy) => Ok(()),
            Ok(Health::Unhealthy { reason }) => Err(reason),
            Err(error) => Err(Failure::new(FailureClass::PluginFailed, error.to_string())),
        }
    }

    fn key(&self, plan: &Plan) -> Result<Key, UnhashablePlan> {
        Key::of(&Ingredients {
            plan,
            plugin: &self.component,
            installation: &self.installation,
            identity: &self.identity,
            manifests: &self.manifests,
            variables: &self.variables,
        })
    }

    async fn build(
        &self,
        answer: &Kept<Plan>,
        retry: Retry,
        progress: impl Fn(Progress<'_>) + Send + Sync,
    ) -> Result<(Ready, Built), PrepareError> {
        let plan = &answer.value;
        let key = self.key(plan)?;
        let tools = answer
            .tools
            .iter()
            .map(|(path, identity)| Tool { path: path.clone(), identity: identity.clone() })
            .collect::<Vec<_>>();
        let reference = &self.need.runtime.runtime.reference;
        let cache = self.layout.cache(reference);
        let grants = self.worker.grants(self.need.runtime);
        let request = build::Request {
            layout: &self.layout,
            key: &key,
            link: &self.link,
            plan,
            installation: &self.installation,
            identity: &self.identity,
            tools: &tools,
            link_roots: &link_roots(&self.installation),
            cache: &cache,
            network: grants.is_some_and(|grants| grants.network),
            variables: &self.variables,
            step_timeout: self.worker.settings.step_timeout,
            grace: self.worker.settings.kill_grace,
        };
        self.set_aside_broken(&key).await?;
        let building = EnvironmentRow { status: "building".to_owned(), ..self.record_of(plan, &key)? };
        self.worker.store.begin_environment(self.worker.id, &building).await?;
        loop {
            let began = Instant::now();
            // Not released before what became of it is on record.
            let (lock, outcome) = match build::lock(&request, &progress).await {
                Ok(Some(lock)) => {
                    // Whoever had it before may have failed.
                    if retry == Retry::WhenDue
                        && let Some(failing) = self.row_by_now().await?.and_then(|row| self.failing(&row))
                    {
                        return Err(PrepareError::Failing(Box::new(failing)));
                    }
                    let check = |folder: PathBuf| self.check_built(folder);
                    let building = build(&request, &lock, check, &progress);
                    let outcome = trace::stage(stage_span!("build"), building).await;
                    (Some(lock), outcome)
                }
                Ok(None) => (None, published(&request)),
                Err(error) => (None, Err(error)),
            };
            if outcome.as_ref().map_or(true, |built| built.fresh) {
                metrics::environment_build(&reference.to_string(), began.elapsed(), outcome.is_ok());
            }
            if let Err(BuildError::Step { title, source, .. }) = &outcome
                && source.is_denial()
            {
                self.worker.note_denial(self.need.runtime, format!("{title}: {source}")).await;
            }
            let again_at = self.record(plan, &key, outcome.as_ref()).await?;
            drop(lock);
            self.log(&key, began.elapsed(), outcome.as_ref());
            let built =
                outcome.map_err(|source| PrepareError::Build { source: Box::new(source), again_at })?;
            // A collection may have been quicker.
            if let Some(lease) = self.lease(&key)? {
                let (folder, link) = (built.path.clone(), self.link.clone());
                return Ok((Ready { key, folder, link, lease: Some(lease) }, built));
            }
        }
    }

    fn lease(&self, key: &Key) -> Result<Option<Lease>, PrepareError> {
        lease(&self.layout, key)
            .map_err(|source| PrepareError::Lease { path: self.layout.built(key), source })
    }

    /// A shared build that another pack made may have broken since.
    async fn set_aside_broken(&self, key: &Key) -> Result<(), PrepareError> {
        if let State::Ready(marker) = inspect(&self.layout, key, &self.identity)
            && let Health::Unhealthy { reason } = self.check(&self.layout.built(key), false).await?
        {
            self.log_broken(key, &reason);
            collect::repair(&self.layout, &marker)
                .map_err(|source| PrepareError::Repair { path: self.layout.built(key), source })?;
        }
        Ok(())
    }

    async fn record(
        &self,
        plan: &Plan,
        key: &Key,
        outcome: Result<&Built, &BuildError>,
    ) -> Result<DateTime<Utc>, PrepareError> {
        let now = now();
        // Of a failure that is not the first of its kind, it stays on record when that was.
        let failing = match outcome {
            Ok(_) => None,
            Err(_) => self.row_by_now().await?.filter(|row| row.prepared_for == self.asked),
        };
        let since = failing.as_ref().and_then(Failing::of).map_or(now, |failing| failing.since.min(now));
        // A disk that is full is no fault of what was asked: whoever comes next tries it at once.
        let is_full = outcome.is_err() && lacks_room(self.layout.root());
        let log = match outcome {
            Ok(built) => Some(built.log.clone()),
            Err(BuildError::Step { output, .. }) => Some(output.clone()),
            Err(BuildError::Unhealthy { log, .. }) => Some(log.clone()),
            Err(_) => None,
        };
        let row = EnvironmentRow {
            status: if outcome.is_ok() { "ready" } else { "failed" }.to_owned(),
            prepared_for: if is_full { String::new() } else { self.asked.clone() },
            log: log.filter(|log| !log.is_empty()),
            error: outcome.err().map(ToString::to_string),
            created_at: since,
            last_used_at: now,
            ..self.record_of(plan, key)?
        };
        self.worker.store.record_environment(self.worker.id, &row).await?;
        Ok(if is_full { now } else { again_at(since, now) })
    }

    /// What is known of the environment before it is built.
    fn record_of(&self, plan: &Plan, key: &Key) -> Result<EnvironmentRow, UnhashablePlan> {
        let now = now();
        Ok(EnvironmentRow {
            pack: self.need.pack.to_string(),
            runtime: self.need.runtime.runtime.reference.to_string(),
            runtime_version: self.need.choice.label.clone().unwrap_or_default(),
            scope: self.scope.as_str().to_owned(),
            key: key.as_str().to_owned(),
            path: self.link.to_string_lossy().into_owned(),
            installation: self.installation.path.to_string_lossy().into_owned(),
            status: String::new(),
            plan_digest: plan_digest(plan)?,
            prepared_for: self.asked.clone(),
            stage: plan.stage.clone(),
            size: None,
            log: None,
            error: None,
            created_at: now,
            last_used_at: now,
        })
    }

    /// The folder that actions start from.
    async fn stage(&self, key: &Key, wanted: Option<&Stage>) -> Result<PathBuf, PrepareError> {
        let Some(wanted) = wanted else { return Ok(self.need.pack_folder.to_owned()) };
        let (layout, key, wanted, scope) =
            (self.layout.clone(), key.clone(), wanted.clone(), self.scope.clone());
        let (pack, pack_digest) = (self.need.pack_folder.to_owned(), self.need.pack_digest.to_owned());
        let staged = tokio::task::spawn_blocking(move || {
            stage(&stage::Request {
                layout: &layout,
                key: &key,
                pack: &pack,
                pack_digest: &pack_digest,
                scope: &scope,
                stage: &wanted,
            })
        });
        let failed = |error| StageError::Io {
            path: self.layout.root().to_owned(),
            source: std::io::Error::other(error),
        };
        Ok(staged.await.map_err(failed)??)
    }
}

/// Whether there is next to no room left where environments are.
fn lacks_room(root: &Path) -> bool {
    const LITTLE: u64 = 64 << 20;
    rustix::fs::statvfs(root).is_ok_and(|status| status.f_bavail.saturating_mul(status.f_frsize) < LITTLE)
}

/// Folders of the installation that an environment may link into: the one above its `bin`.
fn link_roots(installation: &Installation) -> Vec<PathBuf> {
    let folder = installation.path.parent();
    folder
        .and_then(Path::parent)
        .filter(|prefix| prefix.parent().is_some())
        .map(Path::to_owned)
        .into_iter()
        .collect()
}
