//! Looking for what is installed of several runtimes.

use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;

use super::progress::Progress;
use crate::detection::{self, Detected, DetectionError, Freshness};
use crate::installation::FailureClass;
use crate::store::installation::FoundInstallation;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

/// What is installed of each runtime, in their order. They are looked for side by side, and one whose component fails
/// or hangs keeps no other from being found.
pub(super) async fn detect_all(
    worker: &Worker,
    runtimes: &[(&RuntimeRow, Freshness)],
    progress: &Progress,
) -> Vec<Result<Detected, DetectionError>> {
    let waiting = runtimes.iter().filter(|(runtime, _)| worker.serves(runtime));
    let waiting = waiting.map(|(runtime, _)| runtime.runtime.label.as_str()).collect::<Vec<_>>();
    say(progress, &waiting);
    let waiting = Mutex::new(waiting);
    let looking = runtimes.iter().map(|(runtime, freshness)| {
        let waiting = &waiting;
        async move {
            let detected = detection::detect(worker, runtime, *freshness).await;
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let label = &runtime.runtime.label;
            if let Some(position) = waiting.iter().position(|waiting| waiting == label) {
                waiting.remove(position);
            }
            say(progress, &waiting);
            detected
        }
    });
    join_all(looking).await
}

fn say(progress: &Progress, waiting: &[&str]) {
    if !waiting.is_empty() {
        progress.say(format!("looking for {}", waiting.join(", ")));
    }
}

/// How many installations a component failed to verify: that is a fault of its own, and says nothing of them.
pub(super) fn unproved(found: &[FoundInstallation]) -> usize {
    let classes = found.iter().filter_map(|found| found.status.failure());
    classes.filter(|failure| failure.class == FailureClass::PluginFailed).count()
}

/// What there is to say of a runtime that this worker leaves alone: which setting says so, and where that was set.
pub(super) fn left_out(worker: &Worker) -> String {
    let setting = worker.settings.shown.iter().find(|shown| shown.key.name == "worker_runtimes");
    let set = setting.map(|shown| format!(" ({}: `{}`)", shown.origin, shown.value)).unwrap_or_default();
    format!("left out: the setting `worker_runtimes`{set} names only others")
}
