//! Signals that ask this process to end, passed on to what it runs.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::output::Output;
use crate::process::Cancel;

/// What has not ended after this long may not end soon.
const PATIENCE: Duration = Duration::from_millis(500);

/// Listens until it is aborted. The first INT, TERM or HUP asks for an end, another INT or TERM for an end
/// at once. Another HUP does not: a terminal that closes may send two.
pub(super) fn listen(output: &Output) -> (JoinHandle<()>, Cancel) {
    start(Some(output.clone()))
}

/// The same, for what may take long to end without being looked at.
pub(super) fn listen_quietly() -> (JoinHandle<()>, Cancel) {
    start(None)
}

fn start(output: Option<Output>) -> (JoinHandle<()>, Cancel) {
    let (canceller, cancel) = Cancel::new();
    // Before anything is spawned, so that no signal comes too early.
    let [mut interrupted, mut terminated, mut hung_up] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| signal(kind).ok());
    let listener = tokio::spawn(async move {
        let mut told = false;
        let mut asked = false;
        loop {
            tokio::select! {
                () = next(&mut interrupted) => canceller.urge(),
                () = next(&mut terminated) => canceller.urge(),
                () = next(&mut hung_up) => canceller.ask(),
                () = sleep(PATIENCE), if asked && !told => {
                    if let Some(output) = &output {
                        output.say("asked to end, the action is still running: press Ctrl-C again to kill it");
                    }
                    told = true;
                }
            }
            asked = true;
        }
    });
    (listener, cancel)
}

async fn next(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}
