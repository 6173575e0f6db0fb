//! Whether an environment is there: one small file and two questions to the file system, since every
//! execution asks.

use std::path::{Path, PathBuf};
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

/// Notes that an environment is used now, which puts off its collection.
pub fn touch(layout: &Layout, key: &Key) -> std::io::Result<()> {
    let marker = std::fs::File::options().append(true).open(layout.built(key).join(MARKER))?;
    marker.set_modified(SystemTime::now())
}

/// The marker in a folder; None if there is none that can be read.
pub(super) fn read(folder: &Path) -> Option<Marker> {
    serde_json::from_slice(&std::fs::read(folder.join(MARKER)).ok()?).ok()
}

/// When an environment was last used.
pub(super) fn last_used(folder: &Path) -> std::io::Result<SystemTime> {
    std::fs::metadata(folder.join(MARKER))?.modified()
}
