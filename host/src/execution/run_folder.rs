//! The folder that an execution has for as long as it runs: its home, its files, its process's record.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::process::ProcessRecord;
use crate::store::execution::Attempt;

/// Held by the worker that runs the execution.
const LOCK_FILE: &str = "lock";
/// Ends the name of a folder that is being made.
const NEW: &str = "new";
/// Ends the name of a folder that is being removed.
const OLD: &str = "old";
/// The home folder of the process.
pub(crate) const HOME: &str = "home";
/// The record of the process.
pub(crate) const RECORD_FILE: &str = "process.json";

/// An execution's folder. Dropping it leaves it, unlocked: the next start sweeps it, and the execution
/// that was not brought to its end.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes the folder. It is made aside and locked there, so that no sweep ever finds it under its name without its
    /// lock: an execution from the queue is on record as running before it has a folder.
    pub(crate) fn create(runs: &Path, attempt: Attempt) -> io::Result<Self> {
        let path = runs.join(format!("{}.{}", attempt.id, attempt.number));
        let aside = aside(&path, NEW);
        let lock = loop {
            match locked(&aside) {
                // A sweep was faster than the lock, and has removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && runs.is_dir() => {}
                outcome => break outcome?,
            }
        };
        for inner in [HOME, "tmp"] {
            DirBuilder::new().mode(0o700).create(aside.join(inner))?;
        }
        fs::rename(aside, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Removes the folder of an execution that is recorded as ended, or not recorded at all.
    pub(crate) fn remove(self) {
        discard(&self.path);
    }

    /// `HOME` of the process.
    pub(crate) fn home(&self) -> PathBuf {
        self.path.join(HOME)
    }

    /// `TMPDIR` of the process.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Writes a file that only its owner may read, and nobody change.
    pub(crate) fn write_private(&self, name: &str, contents: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o400).open(&path)?;
        file.write_all(contents)?;
        Ok(path)
    }

    /// Records the process, for a sweep after this worker's death. A killed worker leaves what it wrote;
    /// a power cut needs no record, since it ended the process as well.
    pub(crate) fn record(&self, record: &ProcessRecord) -> io::Result<()> {
        let text = serde_json::to_vec(record).map_err(io::Error::other)?;
        let aside = self.path.join("process.json.new");
        fs::write(&aside, text)?;
        fs::rename(aside, self.path.join(RECORD_FILE))
    }
}

/// What a folder among those of executions is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Being made: nothing was started in it.
    New,
    /// An execution's that runs, or was running when its worker was killed.
    Whole,
    /// Being removed: nobody uses it.
    Old,
}

/// The attempt that a folder of this name is for, and what it is.
pub(crate) fn attempt_of(name: &str) -> Option<(Attempt, Kind)> {
    let mut parts = name.split('.');
    let (id, number) = (parts.next()?, parts.next()?);
    let kind = match parts.next_back() {
        None => Kind::Whole,
        Some(NEW) => Kind::New,
        Some(OLD) => Kind::Old,
        Some(_) => return None,
    };
    Some((Attempt { id: id.parse().ok()?, number: number.parse().ok()? }, kind))
}

/// Takes the lock of a folder whose worker is gone; none if it is not, or if there is no lock any more.
pub(crate) fn lock_abandoned(folder: &Path) -> io::Result<Option<File>> {
    let lock = match OpenOptions::new().write(true).open(folder.join(LOCK_FILE)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => Ok(is_linked(&lock)?.then_some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes a folder. It loses its name first: one that has lost only its lock would look like one that is being made.
pub(crate) fn discard(folder: &Path) {
    let old = aside(folder, OLD);
    // A sweep may be faster with the rest.
    if let Err(error) = fs::rename(folder, &old).and_then(|()| fs::remove_dir_all(&old))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %folder.display(), "can't remove an execution's folder: {error}");
    }
}

/// The name that a folder has while it is made or removed.
fn aside(folder: &Path, kind: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    PathBuf::from(name)
}

/// Makes the folder and locks it.
fn locked(path: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let lock =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path.join(LOCK_FILE))?;
    lock.lock()?;
    // Whoever held the lock a moment ago may have removed the file that is locked now.
    if is_linked(&lock)? { Ok(lock) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Whether the file still has a name.
fn is_linked(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::ExecutionId;

    #[test]
    fn is_recognised_whatever_it_was_killed_in() {
        let runs = tempfile::tempdir().expect("a folder");
        let attempt = Attempt { id: ExecutionId::new(), number: 3 };
        let kind = || {
            let names =
                fs::read_dir(runs.path()).expect("a folder").map(|entry| entry.expect("one").file_name());
            names.map(|name| attempt_of(&name.to_string_lossy())).collect::<Vec<_>>()
        };
        let folder = RunFolder::create(runs.path(), attempt).expect("made");
        let path = folder.path.clone();
        assert_eq!(kind(), [Some((attempt, Kind::Whole))]);
        assert!(lock_abandoned(&path).expect("looked").is_none(), "it is in use");
        drop(folder);
        assert!(lock_abandoned(&path).expect("looked").is_some());

        let new = aside(&path, NEW);
        fs::rename(&path, &new).expect("renamed");
        assert_eq!(kind(), [Some((attempt, Kind::New))]);
        fs::rename(&new, aside(&new, OLD)).expect("renamed");
        assert_eq!(kind(), [Some((attempt, Kind::Old))]);
        for name in ["", "x.1", "0.1", &format!("{}", attempt.id), &format!("{}.1.x", attempt.id)] {
            assert_eq!(attempt_of(name), None, "{name}");
        }
    }

    #[test]
    fn who_looks_while_one_is_removed_takes_no_other() {
        let runs = tempfile::tempdir().expect("a folder");
        let attempt = Attempt { id: ExecutionId::new(), number: 1 };
        drop(RunFolder::create(runs.path(), attempt).expect("made"));
        let path = runs.path().join(format!("{}.1", attempt.id));
        let first = lock_abandoned(&path).expect("looked").expect("it is free");
        // It had opened the lock before the folder was removed.
        let late = File::open(path.join(LOCK_FILE)).expect("opened");
        discard(&path);
        drop(first);
        late.try_lock().expect("nobody holds it");
        assert!(!is_linked(&late).expect("looked"));
        assert_eq!(fs::read_dir(runs.path()).expect("a folder").count(), 0);
    }
}
