//! The folder that an execution has for as long as it runs: its home, its files, its process's record.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::process::ProcessRecord;
use crate::store::execution::Attempt;

/// Held by the worker that runs the execution.
pub(crate) const LOCK_FILE: &str = "lock";
/// Ends the name of a folder that is being made.
const ASIDE: &str = ".new";
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
        let aside = path.with_extension(format!("{}{ASIDE}", attempt.number));
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
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), "can't remove an execution's folder: {error}");
        }
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

/// The attempt that a folder of this name is for, and whether it was still being made.
pub(crate) fn attempt_of(name: &str) -> Option<(Attempt, bool)> {
    let (id, number) = name.split_once('.')?;
    let (number, is_aside) = number.strip_suffix(ASIDE).map_or((number, false), |number| (number, true));
    Some((Attempt { id: id.parse().ok()?, number: number.parse().ok()? }, is_aside))
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
    if lock.metadata()?.nlink() == 0 { Err(io::ErrorKind::NotFound.into()) } else { Ok(lock) }
}
