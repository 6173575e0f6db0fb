//! Finding out what this machine can run, and building what that needs before somebody waits for it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use serde_json::Value as Json;
use tokio::time::{MissedTickBehavior, interval};

use super::Service;
use crate::detection::{self, Detected, Freshness};
use crate::environment::prepare::{self, Need};
use crate::execution::choice::{self, Asked, choose, judge};
use crate::pack::VersionPolicy;
use crate::selection::{Selection, SelectionView};
use crate::store::StoreError;
use crate::store::requirement::RequirementRow;
use crate::store::runtime::RuntimeRow;
use crate::version::constraint::Constraint;
use crate::worker::Worker;

/// A requirement, why it is not satisfied if it isn't, and what was judged.
type Judgement = (i64, Option<String>, Option<Json>);

/// Looks at once, and again from time to time, since interpreters come and go; and as soon as a pack has changed.
pub(super) async fn prepare(service: Rc<Service>) {
    let settings = &service.worker.settings;
    let mut look = interval(settings.poll_interval);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut packs = None;
    let mut looked_at = None::<Instant>;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = service.packs.notified() => {}
        }
        let installed = match service.worker.store.pack_sources().await {
            Ok(installed) => Some(installed),
            Err(error) => {
                tracing::debug!("can't see which packs are installed: {error}");
                continue;
            }
        };
        let is_due = looked_at.is_none_or(|time| time.elapsed() >= settings.recheck_interval);
        if !is_due && installed == packs {
            continue;
        }
        if let Some(installed) = &installed {
            fetch_all(&service.worker, installed).await;
        }
        (packs, looked_at) = (installed, Some(Instant::now()));
        if let Err(error) = judge_all(&service).await {
            tracing::warn!("can't find out what this worker can run: {error}");
        }
        if let Err(error) = Box::pin(build_all(&service.worker)).await {
            tracing::warn!("can't prepare environments: {error}");
        }
    }
}

/// Gets the files of packs that were installed elsewhere. Those that can't be had now are tried again when somebody
/// needs them.
async fn fetch_all(worker: &Worker, installed: &BTreeMap<String, (String, String)>) {
    for (pack, (digest, _)) in installed {
        let Ok(pack) = pack.parse() else { continue };
        if let Err(error) = worker.pack_files(&pack, digest).await {
            tracing::warn!(pack.r#ref = %pack, "{error}");
        }
    }
}

/// Judges again what every execution needs that was ever asked for, one runtime after another; what is satisfied can
/// be claimed while the next is still looked for.
async fn judge_all(service: &Service) -> Result<(), StoreError> {
    let worker = &service.worker;
    // Those that nothing asks for yet are looked for too, so that the first to ask need not wait.
    for runtime in worker.store.runtimes().await? {
        if let Err(error) = detection::detect(worker, &runtime, Freshness::IfChanged).await {
            tracing::warn!(runtime.r#ref = %runtime.runtime.reference, "can't look for installations: {error}");
        }
    }
    judge_requirements(worker, &worker.store.requirements(worker.id, true).await?).await?;
    service.work.notify_one();
    Ok(())
}

/// Judges what nobody asked for before. Whether there was anything.
pub(super) async fn judge_new(service: &Service) -> bool {
    let worker = &service.worker;
    let judged = async {
        let new = worker.store.requirements(worker.id, false).await?;
        judge_requirements(worker, &new).await?;
        Ok::<_, StoreError>(!new.is_empty())
    };
    judged.await.unwrap_or_else(|error| {
        tracing::warn!("can't find out what waits in the queue: {error}");
        false
    })
}

async fn judge_requirements(worker: &Worker, requirements: &[RequirementRow]) -> Result<(), StoreError> {
    let mut by_runtime = BTreeMap::<String, Vec<&RequirementRow>>::new();
    for requirement in requirements {
        by_runtime.entry(requirement.runtime.to_string()).or_default().push(requirement);
    }
    for (name, requirements) in by_runtime {
        let runtime = worker.store.runtime(&requirements[0].runtime).await?;
        let state = state(worker, runtime.as_ref(), &name).await;
        let judged =
            requirements.iter().map(|requirement| judgement(requirement, &state)).collect::<Vec<_>>();
        worker.store.keep_judgements(worker.id, &judged).await?;
    }
    Ok(())
}

/// What a worker has of a runtime.
enum State<'a> {
    /// It needs nothing that could be missing.
    Direct,
    Installed(&'a RuntimeRow, Detected),
    /// Why none of it can be used.
    Unusable(String),
}

async fn state<'a>(worker: &Worker, runtime: Option<&'a RuntimeRow>, name: &str) -> State<'a> {
    let Some(runtime) = runtime else { return State::Unusable(format!("there is no runtime `{name}`")) };
    if !worker.serves(runtime) {
        return State::Unusable(format!("`worker_runtimes` does not name `{name}`"));
    }
    if runtime.plugin.is_none() {
        return State::Direct;
    }
    match detection::detect(worker, runtime, Freshness::IfChanged).await {
        Ok(detected) => State::Installed(runtime, detected),
        Err(error) => State::Unusable(error.to_string()),
    }
}

fn judgement(requirement: &RequirementRow, state: &State<'_>) -> Judgement {
    let (runtime, detected) = match state {
        State::Direct => return (requirement.id, None, None),
        State::Unusable(reason) => return (requirement.id, Some(reason.clone()), None),
        State::Installed(runtime, detected) => (runtime, detected),
    };
    match wanted(requirement, runtime, detected) {
        Ok(()) => (requirement.id, None, None),
        Err((reason, selection)) => {
            let selection =
                selection.and_then(|selection| serde_json::to_value(SelectionView::from(&selection)).ok());
            (requirement.id, Some(reason), selection)
        }
    }
}

fn wanted(
    requirement: &RequirementRow,
    runtime: &RuntimeRow,
    detected: &Detected,
) -> Result<(), (String, Option<Selection>)> {
    let constraint = match requirement.constraint.as_str() {
        "" => None,
        text => Some(Constraint::parse(text).map_err(|error| (error.to_string(), None))?),
    };
    let range = constraint.as_ref().map(|constraint| constraint.resolve(&runtime.constraint_aliases));
    let range = range.transpose().map_err(|error| (error.to_string(), None))?;
    let asked = Asked {
        constraint: constraint.as_ref(),
        variant: Some(requirement.variant.as_str()).filter(|variant| !variant.is_empty()),
        policy: if requirement.fallback { VersionPolicy::Fallback } else { VersionPolicy::default() },
    };
    match judge(runtime, &detected.installations, range.as_ref(), asked) {
        Ok(_) => Ok(()),
        Err(selection) => {
            let reason = format!(
                "no installation of `{}` satisfies {}",
                runtime.runtime.reference,
                choice::asked_text(asked)
            );
            Err((reason, Some(selection)))
        }
    }
}

/// Builds the environments that enabled actions need and that are not there yet.
async fn build_all(worker: &Worker) -> Result<(), StoreError> {
    for row in worker.store.actions(None).await? {
        let action = row.action;
        if !action.enabled {
            continue;
        }
        let pack = action.reference.pack();
        let Ok(runtime) = worker.runtime(&action.program.runtime, Some(pack)).await else { continue };
        let asked = Asked {
            constraint: action.program.constraint.as_ref(),
            variant: action.program.variant.as_deref(),
            policy: action.program.version_policy,
        };
        let Ok(choice) = choose(worker, &runtime, asked).await else { continue };
        let folder = worker.pack_folder(pack, &row.pack_digest);
        let need = Need {
            pack,
            pack_digest: &row.pack_digest,
            pack_folder: &folder,
            entry_point: &action.program.entry_point,
            runtime: &runtime,
            choice: &choice,
        };
        match prepare::prepare(worker, need, |_| {}).await {
            Ok(prepared) if prepared.fresh => {
                tracing::info!(action.r#ref = %action.reference, "built an environment");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(action.r#ref = %action.reference, "can't build an environment: {error}");
            }
        }
    }
    Ok(())
}
