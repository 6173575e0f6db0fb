//! `attune worker`: a process that takes executions from the queue and runs them, until it is told to stop.
//!
//! Three things go on side by side, and none waits for another: claiming and running ([`serve`]), keeping the leases
//! (`lease`), and finding out what this machine can run and building what that needs (`preparation`). All of that is on
//! one thread: what a service does is waiting, and what computes for long has threads of its own or gives way. Executions
//! are on the others.

mod lease;
mod monitor;
mod outage;
mod preparation;
mod running;
mod wishes;

use std::cell::Cell;
use std::convert::Infallible;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use opentelemetry::KeyValue;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{Instrument, Span};

use crate::environment::build::Progress;
use crate::execution::{self, ExecutionError, Ran, Status};
use crate::metrics;
use crate::printable::with_causes;
use crate::process::Cancel;
use crate::settings::Settings;
use crate::store::bell::Bell;
use crate::store::claim::Claimed;
use crate::store::execution::Attempt;
use crate::store::lease::Lessee;
use crate::store::worker::WorkerStatus;
use crate::store::{StoreError, now};
use crate::trace;
use crate::worker::Worker;

use monitor::Vitals;
use outage::Outage;
use running::Running;

/// How long it may take to put on record that executions have ended whose processes are gone, and after that, that the
/// service has.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What happens in a service, for whoever shows it.
#[derive(Clone, Debug)]
pub enum Event {
    /// It takes executions; what they need may still be prepared.
    Ready {
        /// How many it runs at a time.
        slots: usize,
        /// Where its health and figures can be asked for.
        monitor: Option<SocketAddr>,
    },
    /// It is alive: it looked at the queue, as it does every `poll_interval`, or waits for what runs.
    Looked {
        /// How many run.
        running: usize,
    },
    /// An execution begins.
    Began {
        /// Which.
        claimed: Box<Claimed>,
    },
    /// An attempt has ended here, as what it is on record.
    Ended {
        /// Which.
        attempt: Attempt,
        /// None if it was not this service's any more.
        ran: Option<Ran>,
    },
    /// It takes nothing more, and waits for what runs.
    Draining {
        /// How many run.
        running: usize,
    },
}

/// Who is told what happens.
pub type Observer = Rc<dyn Fn(Event)>;

/// Why a service can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Another one runs for the same worker.
    #[error("another worker service uses the data folder: it holds `{}`", path.display())]
    Taken {
        /// The lock.
        path: PathBuf,
    },
    /// Another one has its name: this one was out of reach for so long that it was given up.
    #[error("another worker is called `{name}` by now, since this one was out of reach for too long")]
    Superseded {
        /// The name of both.
        name: String,
    },
    /// The lock can't be taken.
    #[error("can't lock `{}`: {source}", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Nobody can ask for its health and figures.
    #[error("can't listen on `{address}`, which is what `monitor_address` says: {source}")]
    Monitor {
        /// What is set.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database, or the way to it, is silent.
    #[error("the database did not answer in {limit:?}")]
    Silent {
        /// For how long it was waited for.
        limit: Duration,
    },
}

/// What the parts of a service share.
#[derive(Debug)]
struct Service {
    worker: Arc<Worker>,
    /// The same, to claim and run executions with: what they have in common is read once.
    runner: Arc<Worker>,
    lessee: Lessee,
    running: Running,
    vitals: Arc<Vitals>,
    /// There may be something to claim.
    work: Notify,
    /// Somebody may have asked for the end of something.
    asked: Notify,
    /// What can be run here may have changed.
    runnable: Notify,
    /// Something may wait whose need nobody has judged yet.
    unjudged: Notify,
    /// Another data folder has the name of this worker.
    superseded: Notify,
    /// Somebody may have said what he wants of this worker.
    wished: Notify,
    /// Whether it is to take nothing more for now.
    is_cordoned: Cell<bool>,
    /// It is to end.
    drained: Notify,
    /// Whether executions can be claimed.
    claims: Outage,
}

impl Service {
    /// How long the database may take for what a lease depends on.
    fn answer_limit(&self) -> Duration {
        self.worker.settings.lease / 3
    }

    /// Says that it is alive.
    fn lives(&self, observe: &Observer) {
        self.vitals.has_looked();
        observe(Event::Looked { running: self.running.len() });
    }
}

/// What the database was asked for, given up if there is no answer in time: a connection may die and nobody be told.
async fn answered<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, ServiceError> {
    match timeout(limit, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ServiceError::Silent { limit }),
    }
}

/// Runs executions until `stop` is asked for and what runs then has ended. The worker is closed by whoever opened it. What has not ended in `drain_timeout` is
/// asked to, as it is if `stop` is asked for once more, and goes back into the queue if that does no harm.
pub async fn serve(worker: Worker, stop: Cancel, observe: Observer) -> Result<(), ServiceError> {
    LocalSet::new().run_until(Box::pin(serve_here(worker, stop, observe))).await
}

async fn serve_here(mut worker: Worker, mut stop: Cancel, observe: Observer) -> Result<(), ServiceError> {
    let _lock = lock(&worker)?;
    let vitals = Arc::new(Vitals::new(lease::sure(worker.settings.lease)));
    // What can't be listened on is said before the others hear of this one.
    let monitor = watch_over(&worker, &vitals).await?;
    let Settings { worker_slots: slots, poll_interval: poll, .. } = worker.settings;
    // First listen, then look: what is rung in between is heard.
    let mut listener = worker.store.listen().await;
    // From now on nobody is given its name; whoever was given it since it was registered has it.
    while !worker.store.worker_status(worker.identity(), WorkerStatus::Active, slots).await? {
        worker.register_again().await?;
    }
    // Whoever starts it again does not want it to have ended.
    worker.store.forget_drain(worker.id).await?;
    let is_cordoned = worker.store.wanted_of_worker(worker.id).await?.is_some();
    let lessee = Lessee::new(worker.id);
    let service = Rc::new(Service {
        lessee,
        running: Running::default(),
        vitals,
        work: Notify::new(),
        asked: Notify::new(),
        runnable: Notify::new(),
        unjudged: Notify::new(),
        superseded: Notify::new(),
        wished: Notify::new(),
        is_cordoned: Cell::new(is_cordoned),
        drained: Notify::new(),
        claims: Outage::new("claim executions"),
        runner: Arc::new(Worker { store: worker.store.caching(), ..worker.clone() }),
        worker: Arc::new(worker),
    });
    lease::succeed(&service).await?;
    let mut background = JoinSet::new();
    background.spawn_local(lease::keep(Rc::clone(&service)));
    background.spawn_local(lease::watch(Rc::clone(&service)));
    background.spawn_local(wishes::follow(Rc::clone(&service)));
    let judging = [
        background.spawn_local(preparation::judge_new(Rc::clone(&service))),
        background.spawn_local(preparation::prepare(Rc::clone(&service))),
    ];
    let monitor = monitor.map(|(bound, answering)| {
        background.spawn_local(answering);
        bound
    });
    observe(Event::Ready { slots, monitor });

    let mut runs = JoinSet::new();
    let mut look = interval(poll);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_superseded = loop {
        let is_look = tokio::select! {
            () = stop.asked() => break false,
            () = service.superseded.notified() => break true,
            () = service.drained.notified() => break false,
            heard = listener.heard() => {
                if heard.queue {
                    service.asked.notify_one();
                }
                if heard.runnable {
                    service.runnable.notify_one();
                    service.wished.notify_one();
                }
                false
            }
            () = service.work.notified() => false,
            _ = look.tick() => true,
            Some(ended) = runs.join_next() => {
                report(ended, &observe);
                false
            }
        };
        fill(&service, slots, &mut runs, &observe).await;
        metrics::load(service.running.len(), slots);
        if is_look {
            // Where every slot is taken, no claim comes back empty and says so.
            service.unjudged.notify_one();
            service.lives(&observe);
        }
    };
    service.vitals.is_draining.store(true, Ordering::Relaxed);
    observe(Event::Draining { running: service.running.len() });
    if is_superseded {
        // What this machine has is not what the other one has.
        judging.iter().for_each(AbortHandle::abort);
    }
    let identity = service.worker.identity();
    let store = &service.worker.store;
    // What runs has to end also while the database is out of reach.
    tokio::join!(say_draining(&service, slots), drain(&service, &mut stop, &mut runs, &observe));
    background.shutdown().await;
    // It is a connection of its own.
    drop(listener);
    let stopped = answered(LAST_WAIT, async {
        // What was given back can be had.
        store.ring(Bell::Queue).await;
        store.worker_status(identity, WorkerStatus::Stopped, slots).await
    });
    let stopped = stopped.await;
    if is_superseded {
        let name = service.worker.settings.worker_name.clone();
        return Err(ServiceError::Superseded { name });
    }
    stopped?;
    Ok(())
}

/// Lets others ask how the service is, if that is wanted: where, and what answers them.
async fn watch_over(
    worker: &Worker,
    vitals: &Arc<Vitals>,
) -> Result<Option<(SocketAddr, impl Future<Output = ()> + 'static)>, ServiceError> {
    let Some(address) = worker.settings.monitor_address else { return Ok(None) };
    let figures = metrics::recorder()
        .map_err(|error| ServiceError::Monitor { address, source: io::Error::other(error) })?;
    let answer = monitor::answer(address, Arc::clone(vitals), worker.store.clone(), figures).await;
    answer.map(Some).map_err(|source| ServiceError::Monitor { address, source })
}

/// Claims until all slots are taken or nothing waits that this worker can run.
async fn fill(
    service: &Rc<Service>,
    slots: usize,
    runs: &mut JoinSet<(Attempt, Result<Ran, ExecutionError>)>,
    observe: &Observer,
) {
    loop {
        let free = slots.saturating_sub(service.running.len());
        // What nobody keeps the lease of would be taken away and run again.
        if free == 0 || service.is_cordoned.get() || service.vitals.is_unsure() {
            return;
        }
        let lease = service.worker.settings.lease;
        let (asked_at, asked_at_time) = (Instant::now(), now());
        // What is claimed later than that could not be kept.
        let limit = lease::sure(lease);
        let claim = Box::pin(service.runner.store.claim(service.lessee, free, lease));
        let claimed = answered(limit, claim).await;
        service.claims.tell(&claimed);
        // The next look tries again.
        let Ok(claimed) = claimed else { return };
        metrics::claim(asked_at.elapsed());
        if claimed.is_empty() {
            // Something may wait whose need nobody has judged yet.
            service.unjudged.notify_one();
            return;
        }
        for claimed in claimed {
            metrics::claimed((claimed.started_at - claimed.run_at).to_std().unwrap_or_default());
            let span = execution::span(claimed.attempt, &claimed.action);
            trace_claim(&span, &claimed, asked_at_time);
            let cancel = service.running.insert(claimed.attempt, span.clone());
            observe(Event::Began { claimed: Box::new(claimed.clone()) });
            runs.spawn_local(run(Rc::clone(service), claimed, cancel).instrument(span));
        }
    }
}

/// Goes on with the trace of an execution: how long it waited, and how long the claim took.
fn trace_claim(span: &Span, claimed: &Claimed, asked_at: DateTime<Utc>) {
    trace::adopt(span, claimed.trace.as_ref());
    // Where nobody began a trace, this attempt does.
    let begun = trace::below(span);
    let parent = claimed.trace.as_ref().or(begun.as_ref());
    let attributes = || {
        vec![
            KeyValue::new("execution.id", claimed.attempt.id.to_string()),
            KeyValue::new("execution.attempt", claimed.attempt.number),
            KeyValue::new("action.ref", claimed.action.to_string()),
        ]
    };
    if begun.is_some() {
        trace::past("queue", parent, (claimed.run_at.into(), asked_at.into()), attributes());
        trace::past("claim", parent, (asked_at.into(), now().into()), attributes());
    }
}

async fn run(
    service: Rc<Service>,
    claimed: Claimed,
    cancel: Cancel,
) -> (Attempt, Result<Ran, ExecutionError>) {
    let entry = service.running.enter(claimed.attempt);
    if claimed.trace.is_none()
        && let Some(begun) = trace::below(&Span::current())
        && let Err(error) = service.worker.store.keep_trace(claimed.attempt, &begun).await
    {
        tracing::debug!("can't keep the trace: {error}");
    }
    let (doing, told) = watch::channel(String::new());
    let outcome = tokio::select! {
        outcome = carry_out(&service.runner, &claimed, doing, cancel) => outcome,
        never = note_progress(&service, claimed.attempt, told) => match never {},
    };
    if let Err(ExecutionError::NotBegun { source }) = &outcome {
        trace::ended(&Span::current(), Status::Queued.name(), Some(source.class()));
        let why = with_causes(source);
        tracing::warn!("gives an execution back: {why}");
        let (store, poll) = (&service.worker.store, service.worker.settings.poll_interval);
        while let Err(error) = store.give_back(claimed.attempt, claimed.started_at, poll, &why).await {
            tracing::debug!("can't give an execution back: {error}");
            sleep(poll).await;
        }
    }
    if let Err(error) = &outcome
        && !matches!(error, ExecutionError::NotBegun { .. } | ExecutionError::NotRunning { .. })
    {
        service.running.fail(claimed.attempt);
        trace::ended(&Span::current(), Status::Failed.name(), Some(error.class()));
        tracing::warn!("what became of an execution is not on record: {error}");
    }
    drop(entry);
    (claimed.attempt, outcome)
}

/// Away from the service's own thread, so that executions don't wait for each other where they compute or start a process.
/// Dropping it ends it.
async fn carry_out(
    runner: &Arc<Worker>,
    claimed: &Claimed,
    doing: watch::Sender<String>,
    cancel: Cancel,
) -> Result<Ran, ExecutionError> {
    let (runner, claimed) = (Arc::clone(runner), claimed.clone());
    let running = async move {
        let observe = |event: execution::Event<'_>| {
            if let execution::Event::Building(progress @ (Progress::Waiting { .. } | Progress::Step { .. })) =
                event
            {
                doing.send_replace(progress.to_string());
            }
        };
        execution::run_claimed(&runner, &claimed, &observe, cancel).await
    };
    let mut task = JoinSet::new();
    task.spawn(running.in_current_span());
    match task.join_next().await {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Some(Err(_)) | None => unreachable!("nobody else can end it"),
    }
}

/// Says in the record what is built for an execution, for whoever watches it. It is no failure if that can't be said.
async fn note_progress(
    service: &Service,
    attempt: Attempt,
    mut doing: watch::Receiver<String>,
) -> Infallible {
    while doing.changed().await.is_ok() {
        let text = doing.borrow_and_update().clone();
        if let Err(error) = service.worker.store.note_progress(attempt, &text).await {
            tracing::debug!("can't say what is built: {error}");
        }
    }
    std::future::pending().await
}

fn report(ended: Result<(Attempt, Result<Ran, ExecutionError>), tokio::task::JoinError>, observe: &Observer) {
    match ended {
        Ok((attempt, Err(ExecutionError::NotBegun { .. }))) => {
            // It is going to be tried again.
            let ran = Ran { status: Status::Queued, runtime: None, version: None, error: None };
            observe(Event::Ended { attempt, ran: Some(ran) });
        }
        Ok((attempt, Ok(ran))) => observe(Event::Ended { attempt, ran: Some(ran) }),
        Ok((attempt, Err(_))) => observe(Event::Ended { attempt, ran: None }),
        Err(error) => tracing::error!("an execution was lost: {error}"),
    }
}

async fn say_draining(service: &Service, slots: usize) {
    let (store, identity) = (&service.worker.store, service.worker.identity());
    let said = answered(LAST_WAIT, store.worker_status(identity, WorkerStatus::Draining, slots)).await;
    if let Err(error) = said {
        tracing::warn!("can't say that this worker takes nothing more: {error}");
    }
}

/// Waits for what runs; then asks it to end, and ends it. Each gives itself back when its process is gone, and its lease
/// is renewed until then.
async fn drain(
    service: &Service,
    stop: &mut Cancel,
    runs: &mut JoinSet<(Attempt, Result<Ran, ExecutionError>)>,
    observe: &Observer,
) {
    let Settings { drain_timeout, kill_grace, poll_interval, .. } = service.worker.settings;
    let mut look = interval(poll_interval);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wait_for_all = async |limit: Duration, stop: &mut Cancel| {
        let mut over = pin!(sleep(limit));
        loop {
            tokio::select! {
                ended = runs.join_next() => match ended {
                    Some(ended) => report(ended, observe),
                    None => break true,
                },
                _ = look.tick() => service.lives(observe),
                () = &mut over => break false,
                () = stop.forced() => break false,
            }
        }
    };
    if wait_for_all(drain_timeout, stop).await {
        return;
    }
    service.running.end_all();
    if wait_for_all(kill_grace, stop).await {
        return;
    }
    service.running.end_all_at_once();
    wait_for_all(LAST_WAIT, &mut Cancel::never()).await;
}

/// Keeps a second service from using the folders of this one; the lock ends with the file handle.
fn lock(worker: &Worker) -> Result<File, ServiceError> {
    let path = worker.settings.data_dir.join("worker.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| ServiceError::Lock { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServiceError::Taken { path }),
        Err(TryLockError::Error(source)) => Err(ServiceError::Lock { path, source }),
    }
}
