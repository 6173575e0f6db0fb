//! Keeping what was claimed, and taking back what others can't keep.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::outage::Outage;
use super::{Service, answered};
use crate::metrics;
use crate::store::StoreError;
use crate::store::bell::Bell;
use crate::store::execution::Attempt;
use crate::store::worker::{Standing, WorkerStatus};

/// Somebody who asks for the end of something waits no longer than this, however many do.
const ASKED_TOGETHER: Duration = Duration::from_millis(50);

/// What part of a lease may pass without being renewed before what runs under it is ended: somebody else may have it
/// soon.
const SURE: f64 = 2.0 / 3.0;

/// When leases that could not be renewed are tried again, unless the next heartbeat is earlier.
const AGAIN: Duration = Duration::from_secs(1);

/// For how long what ended long ago is removed at once: the next leases are renewed after it.
const FORGETTING_MAX: Duration = Duration::from_secs(1);

/// For how long a lease that is not renewed can be relied on.
pub(super) fn sure(lease: Duration) -> Duration {
    lease.mul_f64(SURE)
}

/// Renews the leases of this service, ends what it has lost or somebody wants to end, and takes back what other
/// services can't keep.
pub(super) async fn keep(service: Rc<Service>) {
    let settings = &service.worker.settings;
    let mut beat = interval(settings.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Since when the database could be reached whenever it was asked.
    let mut reached_since = None;
    let (renewals, looks) = (Outage::new("renew the leases"), Outage::new("look after the queue"));
    loop {
        let is_beat = tokio::select! {
            _ = beat.tick() => true,
            () = service.asked.notified() => {
                sleep(ASKED_TOGETHER).await;
                false
            }
        };
        if !is_beat && service.running.len() == 0 {
            continue;
        }
        let renewed = answered(service.answer_limit(), renew(&service)).await;
        metrics::renewal(renewed.is_ok());
        renewals.tell(&renewed);
        if renewed.is_err() {
            reached_since = None;
            beat.reset_after(settings.heartbeat.min(AGAIN));
            continue;
        }
        // Where the database was out of reach for everybody, it is the first one to be back that sees nobody else.
        let can_judge = reached_since.get_or_insert_with(Instant::now).elapsed() >= settings.lease;
        if is_beat {
            let looked = answered(service.answer_limit(), look_after_others(&service, can_judge)).await;
            looks.tell(&looked);
        }
    }
}

async fn renew(service: &Service) -> Result<(), StoreError> {
    let (store, settings) = (&service.worker.store, &service.worker.settings);
    let asked_at = Instant::now();
    let held = store.renew(service.lessee, settings.lease).await?;
    service.vitals.has_renewed(asked_at);
    for stray in service.running.compare(&held, asked_at) {
        if service.running.has_failed(stray) {
            service.worker.give_up(stray, "its end could not be recorded").await?;
        } else {
            service.worker.give_up(stray, "the answer to its claim was lost").await?;
            service.work.notify_one();
        }
    }
    Ok(())
}

/// With `can_judge`, also gives up those who gave no sign of life for too long.
async fn look_after_others(service: &Service, can_judge: bool) -> Result<(), StoreError> {
    let (store, settings) = (&service.worker.store, &service.worker.settings);
    match store.heartbeat(service.worker.id, service.worker.home).await? {
        Standing::There => {}
        // It was out of reach for a while, and is back.
        Standing::Lost => {
            let status = if service.vitals.is_draining.load(Ordering::Relaxed) {
                WorkerStatus::Draining
            } else {
                WorkerStatus::Active
            };
            store.worker_status(service.worker.identity(), status, settings.worker_slots).await?;
        }
        Standing::Superseded => service.superseded.notify_one(),
    }
    let time = store.time().await?;
    if can_judge {
        for name in store.lose_workers(time - settings.lease).await? {
            tracing::warn!(worker.name = name, "lost a worker: it gave no sign of life");
        }
        let lost = store.leases_run_out().await?;
        take_back(service, lost, "the worker that ran it was lost: its lease was not renewed").await?;
    }
    // A process that was about to be started when its worker was killed holds its folder until it is.
    if let Err(error) = service.worker.sweep().await {
        tracing::warn!("can't look for what a killed worker left: {error}");
    }
    let expired = store.expire().await?;
    if expired > 0 {
        tracing::info!(executions = expired, "ended what was not started before its deadline");
    }
    if let Ok(retention) = chrono::TimeDelta::from_std(settings.execution_retention) {
        let forgotten = store.forget(time - retention, FORGETTING_MAX.min(settings.heartbeat / 2)).await?;
        if forgotten > 0 {
            tracing::debug!(executions = forgotten, "removed what ended long ago");
        }
    }
    Ok(())
}

/// Takes back what earlier services of this worker had.
pub(super) async fn succeed(service: &Service) -> Result<(), StoreError> {
    let left = service.worker.store.left_to(service.lessee).await?;
    take_back(service, left, "the worker that ran it was started anew before it had ended").await
}

/// Takes executions back whose worker can't keep them.
async fn take_back(service: &Service, lost: Vec<Attempt>, reason: &str) -> Result<(), StoreError> {
    for attempt in &lost {
        service.worker.give_up(*attempt, reason).await?;
    }
    if !lost.is_empty() {
        service.work.notify_one();
        service.worker.store.ring(Bell::Queue).await;
    }
    Ok(())
}

/// Ends what runs before somebody else may run it, if the leases can't be renewed: the database may be out of reach,
/// or this process was stopped for a while.
pub(super) async fn watch(service: Rc<Service>) {
    let lease = service.worker.settings.lease;
    let sure = sure(lease);
    let mut look = interval((lease / 30).max(Duration::from_millis(10)));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if service.vitals.is_unsure() {
            // What was claimed since has a lease that is younger.
            let ended = service.running.end_older(sure);
            if ended > 0 {
                tracing::error!(
                    executions = ended,
                    "the leases could not be renewed for {sure:?}: ending what runs"
                );
            }
        }
    }
}
