//! Finding out what this machine can run, and building what that needs before somebody waits for it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Service;
use super::outage::Outage;
use crate::detection::{self, Detected, Freshness};
use crate::environment::prepare::{self, Need, PrepareError};
use crate::environment::retry::Retry;
use crate::execution::choice::{self, Asked, Choice, choose};
use crate::pack::VersionPolicy;
use crate::reference::RuntimeRef;
use crate::selection::{Selection, SelectionView};
use crate::store::StoreError;
use crate::store::action::ActionRow;
use crate::store::requirement::{RequirementRow, Verdict};
use crate::store::runtime::RuntimeRow;
use crate::version::constraint::Constraint;
use crate::worker::Worker;

/// How many runtimes are looked for at a time, and how many environments are built.
const AT_ONCE: usize = 4;

/// Looks at once, and again from time to time, since interpreters come and go; and as soon as somebody says that something
/// has changed.
pub(super) async fn prepare(service: Rc<Service>) {
    let settings = &service.worker.settings;
    let mut look = interval(settings.poll_interval);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut packs = None;
    let mut looked_at = None::<Instant>;
    let mut is_asked = false;
    // Beside the rest: a build that hangs keeps nothing from being judged.
    let mut building = JoinSet::new();
    let mut is_to_build = false;
    loop {
        if is_to_build && building.is_empty() {
            is_to_build = false;
            building.spawn_local(build(Arc::clone(&service.worker)));
        }
        tokio::select! {
            _ = look.tick() => {}
            () = service.runnable.notified() => is_asked = true,
            Some(_) = building.join_next() => continue,
        }
        let installed = match service.worker.store.pack_sources().await {
            Ok(installed) => Some(installed),
            Err(error) => {
                tracing::debug!("can't see which packs are installed: {error}");
                continue;
            }
        };
        let is_due = looked_at.is_none_or(|time| time.elapsed() >= settings.recheck_interval);
        if !is_asked && !is_due && installed == packs {
            continue;
        }
        if let Some(installed) = &installed {
            fetch_all(&service.worker, installed).await;
        }
        (packs, looked_at) = (installed, Some(Instant::now()));
        let judged = judge_all(&service).await;
        if let Err(error) = &judged {
            tracing::warn!("can't find out what this worker can run: {error}");
        }
        is_asked = judged.is_err();
        is_to_build = true;
    }
}

async fn build(worker: Arc<Worker>) {
    if let Err(error) = Box::pin(build_all(&worker)).await {
        tracing::warn!("can't prepare environments: {error}");
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

/// Judges again what every execution needs that was ever asked for, several runtimes at a time; what is satisfied can be
/// claimed while the others are still looked for.
async fn judge_all(service: &Service) -> Result<(), StoreError> {
    let worker = &service.worker;
    let mut needs = by_runtime(worker.store.requirements(worker.id, true).await?);
    // Those that nothing asks for yet are looked for too, so that the first to ask need not wait.
    for runtime in worker.store.runtimes().await? {
        needs.entry(runtime.runtime.reference).or_default();
    }
    let judging = needs.into_iter().map(|(runtime, requirements)| {
        let worker = Arc::clone(worker);
        async move {
            judge(&worker, &runtime, &requirements).await;
        }
    });
    some_at_once(judging, || service.work.notify_one()).await;
    Ok(())
}

/// Judges what nobody asked for before, whenever somebody misses it: each runtime by itself, so that one whose
/// component hangs holds up no other.
pub(super) async fn judge_new(service: Rc<Service>) {
    let looks = Outage::new("find out what waits in the queue");
    let mut judging = JoinSet::new();
    let mut busy = BTreeMap::new();
    loop {
        tokio::select! {
            Some(judged) = judging.join_next_with_id() => {
                let (task, is_known) = judged.unwrap_or_else(|error| {
                    tracing::error!("can't find out what a runtime satisfies: {error}");
                    (error.id(), false)
                });
                busy.remove(&task);
                if is_known {
                    service.work.notify_one();
                }
                continue;
            }
            () = service.unjudged.notified() => {}
        }
        let new = service.worker.store.requirements(service.worker.id, false).await;
        looks.tell(&new);
        let Ok(new) = new else { continue };
        for (runtime, requirements) in by_runtime(new) {
            if busy.values().any(|other| *other == runtime) {
                continue;
            }
            let (worker, judged) = (Arc::clone(&service.worker), runtime.clone());
            let task = judging.spawn(async move { judge(&worker, &judged, &requirements).await });
            busy.insert(task.id(), runtime);
        }
    }
}

fn by_runtime(requirements: Vec<RequirementRow>) -> BTreeMap<RuntimeRef, Vec<RequirementRow>> {
    let mut by_runtime = BTreeMap::<_, Vec<_>>::new();
    for requirement in requirements {
        by_runtime.entry(requirement.runtime.clone()).or_default().push(requirement);
    }
    by_runtime
}

/// Finds out what there is of a runtime, and which requirements that satisfies. Whether that is known now; if not, it
/// is asked again with the next look.
async fn judge(worker: &Worker, reference: &RuntimeRef, requirements: &[RequirementRow]) -> bool {
    let judged = Box::pin(try_judge(worker, reference, requirements)).await;
    if let Err(error) = &judged {
        tracing::warn!(runtime.r#ref = %reference, "can't find out what this worker can run: {error}");
    }
    judged.is_ok()
}

async fn try_judge(
    worker: &Worker,
    reference: &RuntimeRef,
    requirements: &[RequirementRow],
) -> Result<(), StoreError> {
    let runtime = worker.store.runtime(reference).await?;
    let state = state(worker, runtime.as_ref(), reference).await;
    let judged = requirements
        .iter()
        .map(|requirement| (requirement.id, verdict(requirement, &state)))
        .collect::<Vec<_>>();
    worker.store.keep_judgements(worker.id, &judged).await
}

/// What a worker has of a runtime.
enum State<'a> {
    /// It needs nothing that could be missing.
    Direct,
    Installed(&'a RuntimeRow, Detected),
    /// Why none of it can be used.
    Unusable(String),
}

async fn state<'a>(worker: &Worker, runtime: Option<&'a RuntimeRow>, name: &RuntimeRef) -> State<'a> {
    let Some(runtime) = runtime else { return State::Unusable(format!("there is no runtime `{name}`")) };
    if !worker.serves(runtime) {
        return State::Unusable(format!("`worker_runtimes` does not name `{name}`"));
    }
    if runtime.plugin.is_none() {
        return State::Direct;
    }
    match detection::detect(worker, runtime, Freshness::IfChanged).await {
        Ok(detected) => State::Installed(runtime, detected),
        Err(error) => {
            tracing::warn!(runtime.r#ref = %name, "can't look for installations: {error}");
            State::Unusable(error.to_string())
        }
    }
}

fn verdict(requirement: &RequirementRow, state: &State<'_>) -> Verdict {
    let (runtime, detected) = match state {
        State::Direct => return Verdict::Satisfied,
        State::Unusable(reason) => {
            return Verdict::Unsatisfied { reason: reason.clone(), selection: None };
        }
        State::Installed(runtime, detected) => (runtime, detected),
    };
    match wanted(requirement, runtime, detected) {
        Ok(choice) if choice.is_fallback => Verdict::Fallback,
        Ok(_) => Verdict::Satisfied,
        Err((reason, selection)) => {
            let selection =
                selection.and_then(|selection| serde_json::to_value(SelectionView::from(&selection)).ok());
            Verdict::Unsatisfied { reason, selection }
        }
    }
}

fn wanted(
    requirement: &RequirementRow,
    runtime: &RuntimeRow,
    detected: &Detected,
) -> Result<Choice, (String, Option<Selection>)> {
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
    choice::judge(runtime, &detected.installations, range.as_ref(), asked).map_err(|selection| {
        let reason = format!(
            "no installation of `{}` {}{}",
            runtime.runtime.reference,
            choice::asked_text(runtime, asked),
            choice::hung_text(&detected.installations)
        );
        (reason, Some(selection))
    })
}

/// Builds the environments that enabled actions need and that are not there yet, several at a time.
async fn build_all(worker: &Arc<Worker>) -> Result<(), StoreError> {
    let actions = worker.store.actions(None).await?;
    let building = actions.into_iter().filter(|row| row.declared.enabled).map(|row| {
        let worker = Arc::clone(worker);
        async move { build_for(&worker, &row).await }
    });
    some_at_once(building, || {}).await;
    Ok(())
}

/// Runs tasks, a few at a time and away from the thread of the service, which must not wait for a component; `each`
/// follows the end of each.
async fn some_at_once(
    tasks: impl IntoIterator<Item = impl Future<Output = ()> + Send + 'static>,
    each: impl Fn(),
) {
    let mut running = JoinSet::new();
    for task in tasks {
        while running.len() >= AT_ONCE && running.join_next().await.is_some() {
            each();
        }
        running.spawn(task);
    }
    while running.join_next().await.is_some() {
        each();
    }
}

async fn build_for(worker: &Worker, ActionRow { declared: action, pack_digest, .. }: &ActionRow) {
    let pack = action.reference.pack();
    let folder = worker.pack_folder(pack, pack_digest);
    if !folder.is_dir() {
        // That they can't be had was said when they were to be fetched.
        return;
    }
    let Ok(runtime) = worker.runtime(&action.program.runtime, Some(pack)).await else { return };
    let asked = Asked {
        constraint: action.program.constraint.as_ref(),
        variant: action.program.variant.as_deref(),
        policy: action.program.version_policy,
    };
    let Ok(choice) = Box::pin(choose(worker, &runtime, asked)).await else { return };
    let need = Need {
        pack,
        pack_digest,
        pack_folder: &folder,
        entry_point: &action.program.entry_point,
        runtime: &runtime,
        choice: &choice,
    };
    match Box::pin(prepare::prepare(worker, need, Retry::WhenDue, |_| {})).await {
        // The build itself has said so.
        Ok(_) | Err(PrepareError::Build { .. }) => {}
        Err(error) => {
            tracing::warn!(
                action.r#ref = %action.reference,
                runtime.r#ref = %runtime.runtime.reference,
                runtime.version = %choice.version,
                "can't prepare an environment: {error}"
            );
        }
    }
}
