//! Folders that the programs of one call have for their own: their `HOME` and `TMPDIR`.
//!
//! They lie in one folder of this installation's, and each is locked for as long as its call lasts. One whose lock is
//! free was left by somebody who was killed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const PREFIX: &str = "attune-tool-";

/// A folder that is removed with this value.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    _lock: File,
}

impl Home {
    /// A new one in `parent`.
    pub(crate) fn create(parent: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            // A sweep may have taken it for a leftover, in the moment before it was locked.
            if let Some(lock) = lock(folder.path())? {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what killed processes left in `parent`; says what.
pub(crate) fn sweep(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut removed = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_home =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        if !is_home {
            continue;
        }
        let removal = lock(&path).and_then(|lock| match lock {
            Some(_lock) => fs::remove_dir_all(&path).map(|()| true),
            None => Ok(false),
        });
        match removal {
            Ok(true) => removed.push(path),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Such as of what a program made so that nobody may write there: it keeps none of the others.
            Err(error) => tracing::debug!(path = %path.display(), "can't remove it: {error}"),
        }
    }
    Ok(removed)
}

/// The lock of a folder; none if somebody has it, or if the folder is gone.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let absent = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    };
    let lock = match File::open(folder) {
        Ok(lock) => lock,
        Err(error) => return absent(error),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let held = lock.metadata()?;
    match fs::metadata(folder) {
        Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(Some(lock)),
        Ok(_) => Ok(None),
        Err(error) => absent(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_removes_what_nobody_holds() {
        let place = tempfile::tempdir().expect("a folder");
        let parent = place.path().join("tools");
        assert_eq!(sweep(&parent).expect("swept"), Vec::<PathBuf>::new());
        let used = Home::create(&parent).expect("made");
        let Home { folder, _lock: lock } = Home::create(&parent).expect("made");
        let left = folder.keep();
        fs::write(left.join("file"), "").expect("written");
        fs::create_dir(parent.join("other")).expect("made");
        assert_eq!(sweep(&parent).expect("swept"), Vec::<PathBuf>::new(), "both are in use");
        drop(lock);
        assert_eq!(sweep(&parent).expect("swept"), [left]);
        assert!(used.path().is_dir() && parent.join("other").is_dir());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
