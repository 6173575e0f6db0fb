//! Which environments there are, and taking away those that nobody needs.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::key::Key;
use super::layout::Layout;
use super::lock::Lock;
use super::ready::{self, Marker};
use super::rubbish::{discard, entries, links};

/// An environment that was built to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub path: PathBuf,
    pub marker: Marker,
    /// The stable paths that lead to it.
    pub links: Vec<PathBuf>,
    /// Bytes on the disk, with staged copies.
    pub size: u64,
    pub last_used: SystemTime,
}

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of all environments together.
    pub quota: u64,
    /// What was used more recently is kept, whatever the quota says.
    pub grace: Duration,
}

/// What became of an environment that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// It is being built or used, or was since it was looked at.
    Kept,
    /// It was not there.
    Gone,
}

/// Every environment that is ready, sorted by key. Reads a whole tree of folders.
pub fn list(layout: &Layout) -> io::Result<Vec<Entry>> {
    let links: Vec<(PathBuf, PathBuf)> =
        links(layout)?.into_iter().filter_map(|link| Some((std::fs::read_link(&link).ok()?, link))).collect();
    let staged = entries(&layout.staged_folder())?;
    let mut found = Vec::new();
    for (name, path) in entries(&layout.built_folder())? {
        let (Ok(key), Some(marker)) = (name.parse::<Key>(), ready::read(&path)) else { continue };
        let Ok(last_used) = ready::last_used(&path) else { continue };
        let copies = staged.iter().filter(|(name, _)| belongs_to(name, &key)).map(|(_, path)| path);
        let mut seen = HashSet::new();
        let size = std::iter::once(&path).chain(copies).map(|path| size(path, &mut seen)).sum();
        let links =
            links.iter().filter(|(to, _)| to.ends_with(&name)).map(|(_, link)| link.clone()).collect();
        found.push(Entry { key, path, marker, links, size, last_used });
    }
    Ok(found)
}

/// Which environments to remove, the least recently used first: as many as it takes to get below the
/// quota, none of those that are in use or were used within the grace period.
#[must_use]
pub fn decide<'a>(
    entries: &'a [Entry],
    in_use: &BTreeSet<Key>,
    policy: Policy,
    now: SystemTime,
) -> Vec<&'a Entry> {
    let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
    let unused_for = |entry: &Entry| now.duration_since(entry.last_used).unwrap_or_default();
    let mut candidates: Vec<&Entry> = entries
        .iter()
        .filter(|entry| !in_use.contains(&entry.key) && unused_for(entry) > policy.grace)
        .collect();
    candidates.sort_by(|one, other| (one.last_used, &one.key).cmp(&(other.last_used, &other.key)));
    candidates.retain(|entry| {
        let is_over = total > policy.quota;
        if is_over {
            total = total.saturating_sub(entry.size);
        }
        is_over
    });
    candidates
}

/// Bytes on the disk of what is at a path.
#[must_use]
pub fn bytes(path: &Path) -> u64 {
    size(path, &mut HashSet::new())
}

/// Removes what [`decide`] decided on; says what is gone.
pub fn prune(layout: &Layout, decided: &[&Entry]) -> io::Result<Vec<Entry>> {
    let mut removed = Vec::new();
    for entry in decided {
        let unused = |path: &Path| {
            let marker = ready::lock_unused(path)?;
            Ok(marker.filter(|_| ready::last_used(path).is_ok_and(|used| used == entry.last_used)))
        };
        if remove_if(layout, &entry.key, unused)? == Removal::Removed {
            removed.push((*entry).clone());
        }
    }
    Ok(removed)
}

/// Removes an environment that was found not to work, so that it is built anew. What has been built in
/// its place since it was looked at stays.
pub fn repair(layout: &Layout, observed: &Marker) -> io::Result<Removal> {
    // Whoever uses it now has something broken: that is no reason to give it to others.
    remove_if(layout, &observed.key, |path| Ok((ready::read(path).as_ref() == Some(observed)).then_some(())))
}

/// Removes an environment if `condition` gives something to hold meanwhile.
fn remove_if<T>(
    layout: &Layout,
    key: &Key,
    condition: impl Fn(&Path) -> io::Result<Option<T>>,
) -> io::Result<Removal> {
    let path = layout.built(key);
    if path.symlink_metadata().is_err() {
        return Ok(Removal::Gone);
    }
    std::fs::create_dir_all(layout.locks_folder())?;
    let Some(lock) = Lock::try_acquire(&layout.lock(key.as_str()))? else { return Ok(Removal::Kept) };
    let Some(_held) = condition(&path)? else { return Ok(Removal::Kept) };
    for (name, path) in entries(&layout.staged_folder())? {
        if belongs_to(&name, key) {
            discard(layout, &path)?;
        }
    }
    discard(layout, &path)?;
    for link in links(layout)? {
        if std::fs::read_link(&link).is_ok_and(|target| target.ends_with(key.as_str())) {
            std::fs::remove_file(&link)?;
        }
    }
    lock.remove()?;
    Ok(Removal::Removed)
}

fn belongs_to(staged: &str, key: &Key) -> bool {
    staged.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('-'))
}

/// What removing it would free, as far as that can be said: a file with several names counts once. What
/// can't be looked at counts nothing.
fn size(path: &Path, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    if !seen.insert((metadata.dev(), metadata.ino())) {
        return 0;
    }
    // The unit of `blocks` is 512 bytes on every file system.
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let below = entries(path).unwrap_or_default();
    own + below.iter().map(|(_, path)| size(path, seen)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::installation::Identity;
    use crate::version::Version;

    const DAY: Duration = Duration::from_hours(24);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 1000
    }

    /// An environment by its number, of so many bytes, used so many days ago.
    fn entry(number: u32, size: u64, days: u32) -> Entry {
        let key: Key = format!("{number:064x}").parse().expect("a key");
        let semver = semver::Version::new(1, 0, 0);
        let marker = Marker {
            key: key.clone(),
            plan: String::new(),
            installation: PathBuf::new(),
            identity: Identity { dev: 0, inode: 0, size: 0, mtime: 0, ctime: 0 },
            version: Version { semver, native: String::new(), variant: None },
            steps: Vec::new(),
            created_at: chrono::DateTime::UNIX_EPOCH,
        };
        let last_used = now() - DAY * days;
        Entry { key, path: PathBuf::new(), marker, links: Vec::new(), size, last_used }
    }

    fn check(entries: &[Entry], in_use: &[u32], quota: u64, expected: &[u32]) {
        let key = |number: &u32| format!("{number:064x}").parse::<Key>().expect("a key");
        let in_use = in_use.iter().map(key).collect();
        let policy = Policy { quota, grace: DAY };
        let decided: Vec<Key> =
            decide(entries, &in_use, policy, now()).iter().map(|entry| entry.key.clone()).collect();
        assert_eq!(decided, expected.iter().map(key).collect::<Vec<_>>(), "{in_use:?} {quota}");
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let entries = [entry(1, 10, 5), entry(2, 10, 9), entry(3, 10, 0), entry(4, 10, 5)];
        check(&entries, &[], 40, &[]);
        check(&entries, &[], 39, &[2]);
        check(&entries, &[], 30, &[2]);
        check(&entries, &[], 29, &[2, 1]);
        check(&entries, &[], 0, &[2, 1, 4]);
        check(&entries, &[2, 4], 0, &[1]);
        check(&entries, &[2], 35, &[1]);
        check(&[entry(1, 10, 1)], &[], 0, &[]);
        check(&[], &[], 0, &[]);
        // Used in the future: a clock was set back.
        let future = Entry { last_used: now() + DAY * 9, ..entry(1, 10, 0) };
        check(&[future], &[], 0, &[]);
    }

    proptest! {
        #[test]
        fn never_what_is_in_use_or_recent_and_never_more_than_needed(
            sizes in prop::collection::vec((1_u64..100, 0_u32..5, any::<bool>()), 0..20),
            quota in 0_u64..1000,
        ) {
            let entries: Vec<Entry> =
                (0..).zip(&sizes).map(|(number, (size, days, _))| entry(number, *size, *days)).collect();
            let in_use: BTreeSet<Key> = entries
                .iter()
                .zip(&sizes)
                .filter(|(_, (_, _, used))| *used)
                .map(|(entry, _)| entry.key.clone())
                .collect();
            let policy = Policy { quota, grace: DAY };
            let decided = decide(&entries, &in_use, policy, now());
            let total: u64 = entries.iter().map(|entry| entry.size).sum();
            let freed: u64 = decided.iter().map(|entry| entry.size).sum();
            prop_assert!(decided.iter().all(|entry| !in_use.contains(&entry.key)));
            prop_assert!(decided.iter().all(|entry| entry.last_used < now() - DAY));
            if let Some(last) = decided.last() {
                prop_assert!(total - freed + last.size > quota);
            }
            let removable = entries.iter().filter(|entry| !in_use.contains(&entry.key) && entry.last_used < now() - DAY);
            if total - freed > quota {
                prop_assert_eq!(decided.len(), removable.count());
            }
        }
    }
}
