//! Who is at work on what: a lock beside each folder, with a note of how far its holder has come.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::process::{ProcessRecord, Swept, sweep};

/// What the holder of a lock is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) step: usize,
    pub(super) steps: usize,
    pub(super) title: String,
    /// The step's process, which outlives a builder that is killed.
    pub(super) process: Option<ProcessRecord>,
}

impl Note {
    /// What the holder of the lock at `path` noted last; None if that is nothing, or being written.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

/// A lock that is held. The kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// The lock at `path`; None if somebody else holds it.
    pub(super) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        Self::obtain(path, |file| match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// Whether somebody holds the lock at `path`. One that is not there is not made.
    pub(super) fn is_held(path: &Path) -> bool {
        OpenOptions::new()
            .read(true)
            .open(path)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The lock at `path`, as soon as it is free. Blocks.
    pub(super) fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            if let Some(lock) = Self::obtain(path, |file| file.lock().map(|()| true))? {
                return Ok(lock);
            }
        }
    }

    fn obtain(path: &Path, lock: impl Fn(&File) -> io::Result<bool>) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            if !lock(&file)? {
                return Ok(None);
            }
            // The previous holder may have removed the file between opening and locking it. A lock on a
            // file that has no name any more excludes nobody.
            let held = file.metadata()?;
            match std::fs::metadata(path) {
                Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => {
                    return Ok(Some(Self { file, path: path.to_owned() }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells those who wait what is being done, and a successor what to end.
    pub(super) fn note(&self, note: &Note) -> io::Result<()> {
        let text = serde_json::to_vec(note)?;
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }

    /// Ends what a predecessor that was killed left running, so that it does not write where work begins
    /// anew.
    pub(super) fn end_predecessor(&self) -> io::Result<()> {
        if let Some(Note { process: Some(process), .. }) = Note::read(&self.path)
            && sweep(&process)? == Swept::Killed
        {
            tracing::warn!(process.pid = process.pid, "killed what an earlier build had left running");
        }
        self.file.set_len(0)
    }

    /// Releases the lock, and removes its file.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_and_is_released() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = Lock::try_acquire(&path).expect("tried").expect("free");
        assert!(Lock::try_acquire(&path).expect("tried").is_none());
        drop(first);
        let second = Lock::try_acquire(&path).expect("tried").expect("free again");
        second.remove().expect("removed");
        assert!(!path.exists());
        assert!(Lock::try_acquire(&path).expect("tried").is_some());
    }

    #[test]
    fn a_removed_lock_excludes_nobody_so_it_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = Lock::try_acquire(&path).expect("tried").expect("free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::acquire(&path).expect("acquired"));
            first.remove().expect("removed");
            let second = waiting.join().expect("joined");
            assert!(Lock::try_acquire(&path).expect("tried").is_none(), "it is the file that has the name");
            drop(second);
        });
    }

    #[test]
    fn notes_are_read_while_the_lock_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let lock = Lock::try_acquire(&path).expect("tried").expect("free");
        assert_eq!(Note::read(&path), None);
        for title in ["a long title to begin with", "short"] {
            let note = Note { step: 1, steps: 2, title: title.to_owned(), process: None };
            lock.note(&note).expect("noted");
            assert_eq!(Note::read(&path), Some(note));
        }
        lock.end_predecessor().expect("there is none");
        assert_eq!(Note::read(&path), None);
    }
}
