//! The folder that an execution has for as long as it runs: its home, its files, its process's record.
//!
//! One that is left as it was made is kept for the next execution. Making and removing five files and folders costs more
//! than all else that a short action needs of the file system.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::ProcessRecord;
use crate::store::execution::Attempt;

/// Held by the worker that runs the execution.
const LOCK_FILE: &str = "lock";
/// Ends the name of a folder that is being made.
const NEW: &str = "new";
/// Ends the name of a folder that is being removed.
const OLD: &str = "old";
/// Begins the name of a folder that is nobody's, for the next execution.
const SPARE: &str = "spare";
/// How many of those there are at most.
const SPARES_MAX: usize = 16;
/// The home folder of the process.
pub(crate) const HOME: &str = "home";
/// Its folder for what it needs for a moment.
const TEMPORARY: &str = "tmp";
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
    /// lock: an execution from the queue is on record as running before it has a folder. An error says where.
    pub(crate) fn create(runs: &Path, attempt: Attempt) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", runs.display()));
        Self::make(runs, attempt).map_err(named)
    }

    fn make(runs: &Path, attempt: Attempt) -> io::Result<Self> {
        let path = runs.join(format!("{}.{}", attempt.id, attempt.number));
        let aside = aside(&path, NEW);
        let lock = loop {
            let is_spare = take_spare(runs, &aside);
            match locked(&aside) {
                // Somebody who outlived his execution has put something into it.
                Ok(_) if is_spare && !is_clean(&aside)? => discard(&aside),
                // A sweep was faster than the lock, and has removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && runs.is_dir() => {}
                outcome => break outcome?,
            }
        };
        for inner in [HOME, TEMPORARY] {
            match DirBuilder::new().mode(0o700).create(aside.join(inner)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(aside, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Gives back the folder of an execution that is recorded as ended, or not recorded at all: it is removed, unless the
    /// next can use it as it is.
    pub(crate) fn remove(self) {
        match self.keep() {
            Ok(true) => {}
            Ok(false) => discard(&self.path),
            Err(error) => {
                tracing::debug!(path = %self.path.display(), "can't keep an execution's folder: {error}");
                discard(&self.path);
            }
        }
    }

    /// Whether the next execution has it now.
    fn keep(&self) -> io::Result<bool> {
        if !is_clean(&self.path)? {
            return Ok(false);
        }
        match OpenOptions::new().write(true).truncate(true).open(self.path.join(RECORD_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        put_spare(&self.path)
    }

    /// `HOME` of the process.
    pub(crate) fn home(&self) -> PathBuf {
        self.path.join(HOME)
    }

    /// `TMPDIR` of the process.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path.join(TEMPORARY)
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
        // In one go: nobody is killed halfway through it.
        fs::write(self.path.join(RECORD_FILE), serde_json::to_vec(record).map_err(io::Error::other)?)
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
        Ok(()) => Ok(is_at(&lock, folder)?.then_some(lock)),
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

/// Where to look first for a folder that is nobody's is before this place, and for a place for one, at it. Other processes
/// put and take them too, so it is no more than a hint.
static SPARES: AtomicUsize = AtomicUsize::new(0);

fn spare(runs: &Path, place: usize) -> PathBuf {
    runs.join(format!("{SPARE}.{place}"))
}

/// Gives a folder that is nobody's another name, if there is one.
fn take_spare(runs: &Path, name: &Path) -> bool {
    let first = SPARES.load(Ordering::Relaxed);
    let taken =
        (0..first).rev().chain(first..SPARES_MAX).find(|place| fs::rename(spare(runs, *place), name).is_ok());
    SPARES.store(taken.unwrap_or(0), Ordering::Relaxed);
    taken.is_some()
}

/// Makes a folder one that is nobody's, unless there are enough of them.
fn put_spare(folder: &Path) -> io::Result<bool> {
    let runs = folder.parent().unwrap_or(folder);
    let first = SPARES.load(Ordering::Relaxed);
    for place in (first..SPARES_MAX).chain(0..first) {
        match fs::rename(folder, spare(runs, place)) {
            // A folder with something in it is replaced by none.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) => {}
            outcome => {
                SPARES.store(place + 1, Ordering::Relaxed);
                return outcome.map(|()| true);
            }
        }
    }
    Ok(false)
}

/// Whether a folder has in it what it was made with, its process's record, and nothing else.
fn is_clean(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if ![LOCK_FILE, RECORD_FILE, HOME, TEMPORARY].iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    for inner in [HOME, TEMPORARY] {
        let inner = folder.join(inner);
        let is_as_made = fs::symlink_metadata(&inner)
            .is_ok_and(|metadata| metadata.is_dir() && metadata.mode() & 0o7777 == 0o700);
        if !is_as_made || fs::read_dir(&inner)?.next().is_some() {
            return Ok(false);
        }
    }
    Ok(true)
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
    if is_at(&lock, path)? { Ok(lock) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Whether the lock is that of the folder: the folder may have been removed, or given to another execution.
fn is_at(lock: &File, folder: &Path) -> io::Result<bool> {
    let lock = lock.metadata()?;
    match fs::metadata(folder.join(LOCK_FILE)) {
        Ok(found) => Ok((found.dev(), found.ino()) == (lock.dev(), lock.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
    fn one_that_was_left_as_it_was_made_is_used_again() {
        let runs = tempfile::tempdir().expect("a folder");
        let names = || {
            let entries = fs::read_dir(runs.path()).expect("a folder").map(|entry| entry.expect("one"));
            entries.map(|entry| entry.file_name().into_string().expect("text")).collect::<Vec<_>>()
        };
        let create = || {
            let attempt = Attempt { id: ExecutionId::new(), number: 1 };
            RunFolder::create(runs.path(), attempt).expect("made")
        };
        let inode = |folder: &RunFolder| fs::metadata(&folder.path).expect("it is there").ino();
        let record = ProcessRecord { pid: 1, start_time: 2, boot_id: "3".to_owned() };

        let first = create();
        first.record(&record).expect("written");
        let number = inode(&first);
        first.remove();
        assert_eq!(names(), ["spare.0"]);
        let again = create();
        assert_eq!(inode(&again), number);
        assert_eq!(fs::read(again.path.join(RECORD_FILE)).expect("read"), b"", "of no process yet");
        assert!(lock_abandoned(&again.path).expect("looked").is_none(), "it is in use");
        // Who opened the lock a moment before the folder was given back has that of nobody's folder.
        let late = File::open(again.path.join(LOCK_FILE)).expect("opened");
        assert!(is_at(&late, &again.path).expect("looked"));

        // What is not as it was made is removed, whatever it is.
        let breaks: [fn(&RunFolder) -> io::Result<()>; 5] = [
            |folder| fs::write(folder.home().join("left"), ""),
            |folder| fs::create_dir(folder.temporary().join("left")),
            |folder| folder.write_private("secret", b"").map(drop),
            |folder| fs::remove_dir(folder.home()),
            |folder| fs::set_permissions(folder.home(), fs::Permissions::from_mode(0o755)),
        ];
        let path = again.path.clone();
        again.remove();
        late.try_lock().expect("nobody holds it");
        assert!(!is_at(&late, &path).expect("looked"));
        drop(late);
        for spoil in breaks {
            let folder = create();
            spoil(&folder).expect("spoiled");
            folder.remove();
            assert_eq!(names(), Vec::<String>::new());
            create().remove();
            // Also when it is only then that somebody does it.
            let spare =
                RunFolder { path: runs.path().join("spare.0"), _lock: File::open("/").expect("opened") };
            spoil(&spare).expect("spoiled");
            let folder = create();
            assert!(is_clean(&folder.path).expect("looked"));
            folder.remove();
        }

        let many = (0..SPARES_MAX + 3).map(|_| create()).collect::<Vec<_>>();
        many.into_iter().for_each(RunFolder::remove);
        assert_eq!(names().len(), SPARES_MAX);
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
        assert!(!is_at(&late, &path).expect("looked"));
        assert_eq!(fs::read_dir(runs.path()).expect("a folder").count(), 0);
    }
}
