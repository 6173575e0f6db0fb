//! Ending what a killed predecessor left: processes that go on without anybody watching, executions that
//! nobody is going to finish, and what it was building.
//!
//! An execution has a folder for as long as it runs, with a lock that its worker holds and the record of
//! its process. A folder whose lock is free belongs to nobody.

use std::fs;
use std::io;
use std::path::Path;

use super::{Worker, WorkerError};
use crate::environment::layout::Layout;
use crate::environment::rubbish::remove_rubbish;
use crate::execution::run_folder::{HOME, Kind, RECORD_FILE, attempt_of, discard, lock_abandoned};
use crate::process::{self, ProcessRecord, Swept};
use crate::store::execution::Attempt;

/// Sweeps the folders of executions whose worker is gone.
pub(super) async fn sweep(worker: &Worker) -> Result<(), WorkerError> {
    let runs = worker.settings.runs_dir();
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
                sweep_one(worker, attempt, &folder).await?;
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
        remove_unfinished(worker).await;
    }
    Ok(())
}

/// What cannot be removed now is in nobody's way: only a marker makes an environment one.
async fn remove_unfinished(worker: &Worker) {
    let layout = Layout::new(&worker.settings.runtime_envs_dir);
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

async fn sweep_one(worker: &Worker, attempt: Attempt, folder: &Path) -> Result<(), WorkerError> {
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
    worker.give_up(attempt, &reason).await?;
    discard(folder);
    Ok(())
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
