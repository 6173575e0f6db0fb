//! Whether an environment is there: one small file and two questions to the file system, since every
//! execution asks.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::layout::Layout;
use crate::installation::Identity;
use crate::version::Version;

/// The file whose presence says that an environment was built to its end.
pub(super) const MARKER: &str = ".attune-environment.json";

/// What is known about an environment that was built to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub key: Key,
    /// SHA-256 of the plan.
    pub plan: String,
    /// The interpreter that it was built with.
    pub installation: PathBuf,
    pub identity: Identity,
    pub version: Version,
    pub steps: Vec<StepTiming>,
    pub created_at: DateTime<Utc>,
}

/// How long a step of a build took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTiming {
    pub title: String,
    pub milliseconds: u64,
}

/// What is at an environment's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was built to its end, with the interpreter that is there now. Whether it works is for its
    /// component to check.
    Ready(Marker),
    /// Nothing.
    Missing,
    /// Something that is being built, or that never will be.
    Unfinished,
    /// It was built with what was then at the interpreter's path.
    InterpreterChanged { recorded: Identity },
}

/// Looks at the environment of `key`, to be used with the interpreter that has this `identity` now.
#[must_use]
pub fn inspect(layout: &Layout, key: &Key, identity: &Identity) -> State {
    let folder = layout.built(key);
    match read(&folder) {
        Some(marker) if marker.key != *key => State::Unfinished,
        Some(marker) if marker.identity != *identity => {
            State::InterpreterChanged { recorded: marker.identity }
        }
        Some(marker) => State::Ready(marker),
        None if folder.symlink_metadata().is_ok() => State::Unfinished,
        None => State::Missing,
    }
}

/// The use of an environment: while it lasts, no collection takes the environment away. The kernel ends it
/// with the process, however that ends.
#[derive(Clone, Debug)]
pub struct Lease {
    _marker: Arc<File>,
}

/// Takes an environment into use, and notes when, which puts off its collection; None if it is gone, or
/// about to be.
pub fn lease(layout: &Layout, key: &Key) -> io::Result<Option<Lease>> {
    let Some(marker) = lock(&layout.built(key), File::try_lock_shared)? else { return Ok(None) };
    // Only a collection reads the time; that it can't be written is no reason not to run.
    if let Err(error) = marker.set_modified(SystemTime::now()) {
        tracing::debug!("can't note the use of an environment: {error}");
    }
    Ok(Some(Lease { _marker: Arc::new(marker) }))
}

/// The marker in a folder, locked so that nobody can take the environment into use while it lasts; None
/// if somebody has.
pub(super) fn lock_unused(folder: &Path) -> io::Result<Option<File>> {
    lock(folder, File::try_lock)
}

fn lock(folder: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<File>> {
    let path = folder.join(MARKER);
    let absent = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    };
    let marker = match File::open(&path) {
        Ok(marker) => marker,
        Err(error) => return absent(error),
    };
    match lock(&marker) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // It may have been taken away between opening and locking it.
    let held = marker.metadata()?;
    match std::fs::metadata(&path) {
        Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(Some(marker)),
        Ok(_) => Ok(None),
        Err(error) => absent(error),
    }
}

/// The marker in a folder; None if there is none that can be read.
pub(super) fn read(folder: &Path) -> Option<Marker> {
    serde_json::from_slice(&std::fs::read(folder.join(MARKER)).ok()?).ok()
}

/// When an environment was last used.
pub(super) fn last_used(folder: &Path) -> io::Result<SystemTime> {
    std::fs::metadata(folder.join(MARKER))?.modified()
}
