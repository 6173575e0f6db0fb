//! Ending what a killed predecessor left: processes that go on without anybody watching, executions that
//! nobody is going to finish, and what it was building.
//!
//! An execution has a folder for as long as it runs, with a lock that its worker holds and the record of
//! its process. A folder whose lock is free belongs to nobody.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::WorkerError;
use crate::environment::layout::Layout;
use crate::environment::rubbish::remove_rubbish;
use crate::execution::Status;
use crate::execution::run_folder::{HOME, Kind, RECORD_FILE, attempt_of, discard, lock_abandoned};
use crate::metrics;
use crate::process::{self, ProcessRecord, Swept};
use crate::settings::Settings;
use crate::store::execution::Attempt;
use crate::store::{Store, StoreError};

/// For how long the folder of an execution is kept that the database knows nothing of.
const FOREIGN_MAX: Duration = Duration::from_hours(7 * 24);

/// Sweeps the folders of executions whose worker is gone: those of this machine, since only there can it be known.
pub(crate) async fn sweep(settings: &Settings, store: &Store) -> Result<(), WorkerError> {
    let runs = settings.runs_dir();
    let failed = |source| WorkerError::Folder { path: runs.clone(), source };
    let mut swept = false;
    for entry in fs::read_dir(&runs).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        let attempt = folder.file_name().and_then(|name| name.to_str()).and_then(attempt_of);
        let Some((attempt, kind)) = attempt else { continue };
        if kind == Kind::Old {
            drop(fs::remove_dir_all(&folder));
            continue;
        }
        match lock_abandoned(&folder) {
            // The execution may be about to get another.
            Ok(Some(_lock)) if kind == Kind::New => discard(&folder),
            Ok(Some(_lock)) => {
                sweep_one(store, attempt, &folder).await?;
                swept = true;
            }
            // Made a moment ago by somebody who makes it again if need be, or left by somebody who was killed before
            // the lock was made.
            Ok(None) if kind == Kind::New => drop(fs::remove_dir(&folder)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(execution.id = %attempt.id, "can't look after an execution's folder: {error}");
            }
        }
    }
    if swept {
        remove_unfinished(settings).await;
    }
    Ok(())
}

/// Takes an attempt from whoever had it, since he can't end it any more. What became of the execution; none if
/// somebody else was faster.
pub(super) async fn give_up(
    store: &Store,
    attempt: Attempt,
    reason: &str,
) -> Result<Option<Status>, StoreError> {
    let status = store.lose(attempt, reason).await?;
    Ok(given_up(attempt, status, reason))
}

pub(super) fn given_up(attempt: Attempt, status: Option<Status>, reason: &str) -> Option<Status> {
    if let Some(status) = status {
        metrics::lost(status.name());
    }
    let what = match status {
        None => return None,
        Some(Status::Queued) => "put an execution back into the queue",
        Some(Status::Cancelled) => "cancelled an execution",
        Some(_) => "abandoned an execution",
    };
    tracing::warn!(execution.id = %attempt.id, execution.attempt = attempt.number, "{what}: {reason}");
    status
}

/// What cannot be removed now is in nobody's way: only a marker makes an environment one.
async fn remove_unfinished(settings: &Settings) {
    let layout = Layout::new(&settings.runtime_envs_dir);
    let removed = tokio::task::spawn_blocking(move || remove_rubbish(&layout)).await;
    match removed.map_err(io::Error::other).flatten() {
        Ok(removed) => {
            for path in removed {
                tracing::info!(path = %path.display(), "removed what a killed process left");
            }
        }
        Err(error) => tracing::warn!("can't remove what a killed process was building: {error}"),
    }
}

async fn sweep_one(store: &Store, attempt: Attempt, folder: &Path) -> Result<(), WorkerError> {
    let id = attempt.id;
    let record = fs::read(folder.join(RECORD_FILE)).ok();
    let record = record.and_then(|bytes| serde_json::from_slice::<ProcessRecord>(&bytes).ok());
    let swept = match record {
        Some(record) => process::sweep(&record),
        None => sweep_unrecorded(folder),
    };
    let swept = match swept {
        Ok(swept) => swept,
        Err(error) => {
            // The next start tries again.
            tracing::warn!(execution.id = %id, "can't end what a killed worker left running: {error}");
            return Ok(());
        }
    };
    let what = match swept {
        Swept::Killed => "its process was still running and was ended",
        Swept::Gone | Swept::OtherBoot | Swept::Recycled => "its process is gone",
    };
    let reason = format!("the worker that ran it was killed; {what}");
    if give_up(store, attempt, &reason).await?.is_none()
        && store.execution(id).await?.is_none()
        && is_recent(folder)
    {
        // Of another database: whoever uses that one finds out what became of it.
        return Ok(());
    }
    discard(folder);
    Ok(())
}

/// Whether somebody may still ask what became of what ran there.
fn is_recent(folder: &Path) -> bool {
    let age = fs::metadata(folder).and_then(|metadata| metadata.modified()).ok().map(|time| time.elapsed());
    // Of the future, it was before the clock was set back.
    age.is_some_and(|age| age.is_ok_and(|age| age < FOREIGN_MAX))
}

/// A worker that was killed between starting a process and recording it leaves one without a record; its home folder
/// tells it from every other one.
fn sweep_unrecorded(folder: &Path) -> io::Result<Swept> {
    let mut swept = Swept::Gone;
    for record in process::started_with("HOME", &folder.join(HOME))? {
        if process::sweep(&record)? == Swept::Killed {
            swept = Swept::Killed;
        }
    }
    Ok(swept)
}
