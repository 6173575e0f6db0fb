//! Keeping what was claimed, and taking back what others can't keep.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Service;
use crate::metrics;
use crate::store::StoreError;
use crate::store::bell::Bell;
use crate::store::lease::Lessee;
use crate::store::worker::WorkerStatus;

/// Somebody who asks for the end of something waits no longer than this, however many do.
const ASKED_TOGETHER: Duration = Duration::from_millis(50);

/// What part of a lease may pass without being renewed before what runs under it is ended: somebody else may have it
/// soon.
const SURE: f64 = 2.0 / 3.0;

/// How many ended executions are removed at once.
const FORGOTTEN_AT_ONCE: u32 = 500;

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
        let renewed = renew(&service).await;
        metrics::renewal(renewed.is_ok());
        if let Err(error) = renewed {
            tracing::warn!("can't renew the leases: {error}");
            continue;
        }
        if is_beat && let Err(error) = look_after_others(&service).await {
            tracing::warn!("can't look after the queue: {error}");
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
            service.worker.take_back(stray, "the answer to its claim was lost").await?;
            service.work.notify_one();
        }
    }
    Ok(())
}

async fn look_after_others(service: &Service) -> Result<(), StoreError> {
    let (store, settings) = (&service.worker.store, &service.worker.settings);
    let id = service.worker.id;
    if store.is_lost(id).await? {
        // It was out of reach for a while, and is back.
        store.worker_status(id, WorkerStatus::Active, settings.worker_slots).await?;
    } else {
        store.heartbeat(id).await?;
    }
    let time = store.time().await?;
    for name in store.lose_workers(time - settings.lease).await? {
        tracing::warn!(worker.name = name, "lost a worker: it gave no sign of life");
    }
    take_back(service, None).await?;
    // A process that was about to be started when its worker was killed holds its folder until it is.
    if let Err(error) = service.worker.sweep().await {
        tracing::warn!("can't look for what a killed worker left: {error}");
    }
    let expired = store.expire().await?;
    if expired > 0 {
        tracing::info!(executions = expired, "ended what was not started before its deadline");
    }
    if let Ok(retention) = chrono::TimeDelta::from_std(settings.execution_retention) {
        let forgotten = store.forget_executions(time - retention, FORGOTTEN_AT_ONCE).await?;
        if forgotten > 0 {
            tracing::debug!(executions = forgotten, "removed what ended long ago");
        }
    }
    Ok(())
}

/// Takes executions back whose lease has run out; with `successor`, also those of its predecessors.
pub(super) async fn take_back(service: &Service, successor: Option<Lessee>) -> Result<(), StoreError> {
    let store = &service.worker.store;
    let lost = store.leaderless(successor).await?;
    for attempt in &lost {
        service
            .worker
            .give_up(*attempt, "the worker that ran it was lost: its lease was not renewed")
            .await?;
    }
    if !lost.is_empty() {
        service.work.notify_one();
        store.ring(Bell::Queue).await;
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
