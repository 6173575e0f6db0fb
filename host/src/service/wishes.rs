//! What somebody wants of this worker: to take nothing more for a while, or to end.

use std::rc::Rc;

use tokio::time::{MissedTickBehavior, interval};

use super::{Service, answered};
use crate::store::worker::Wanted;

/// Looks with every heartbeat, and whenever somebody may have said so.
pub(super) async fn follow(service: Rc<Service>) {
    let mut beat = interval(service.worker.settings.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = service.wished.notified() => {}
        }
        let asked = service.worker.store.wanted_of_worker(service.worker.id);
        // While the database can't say, it stays as it was.
        let Ok(wanted) = answered(service.answer_limit(), asked).await else { continue };
        let was_cordoned = service.is_cordoned.replace(wanted.is_some());
        match wanted {
            Some(Wanted::Drained) => service.drained.notify_one(),
            Some(Wanted::Cordoned) if !was_cordoned => tracing::info!("cordoned: takes nothing more"),
            None if was_cordoned => service.work.notify_one(),
            Some(Wanted::Cordoned) | None => {}
        }
    }
}
