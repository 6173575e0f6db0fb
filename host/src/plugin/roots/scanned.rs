//! What an answer depends on: everything on disk that was looked at for it, the links on the way included.
//!
//! Whoever shows a component something looks at it here *first*, so that a change in between leaves the old
//! identity with the new answer, and the answer is asked for again. The other way round, the old answer
//! would be kept for the new state.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::super::machine::{Kind, Machine};
use crate::installation::Identity;

/// Two changes within one tick of the kernel's clock leave the same times. A tick lasts 10 ms at most.
const TICKS: Duration = Duration::from_millis(20);

/// Links that are followed on one path, as the kernel has it.
const LINKS_MAX: usize = 40;

/// Things that are kept of one call, and bytes of a path; an answer with more is not trusted later.
const LOOKS_MAX: usize = 50_000;
const PATH_MAX: usize = 4096;

/// Something on disk that an answer depends on: a folder that was listed, a file or a link that was
/// looked at, a place where nothing was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    /// As it was reached, links unresolved.
    pub path: PathBuf,
    /// Its identity then; none if there was nothing.
    pub identity: Option<Identity>,
    /// Whether the identity is that of a link itself, and not of what it leads to.
    #[serde(default)]
    pub link: bool,
    /// Whether it had been left alone for a while when it was looked at. If not, it may have been changed
    /// right after without a trace in its identity, so it counts as changed. Records without this do too.
    #[serde(default)]
    pub settled: bool,
}

impl Scanned {
    fn now(machine: &Machine, path: &Path, link: bool) -> Self {
        // The time before the look: whatever changes the thing later changes it after this.
        let now = SystemTime::now();
        let status = if link { machine.link_status(path) } else { machine.status(path) };
        Self::seen(path, link, status.ok().map(|status| status.identity), now)
    }

    fn seen(path: &Path, link: bool, identity: Option<Identity>, now: SystemTime) -> Self {
        // That something appears where nothing was is always seen.
        let settled = identity.as_ref().is_none_or(|identity| is_settled(identity, now));
        Self { path: path.to_owned(), identity, link, settled }
    }

    /// Whether it still is as it was, for certain.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.settled && Self::now(&Machine::This, &self.path, self.link).identity == self.identity
    }
}

/// Whether the last change was long enough before `now` for the next one to have another time. The time of
/// the inode alone says so: unlike that of the contents, nobody can set it.
fn is_settled(identity: &Identity, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i128::from(identity.ctime) + i128::try_from(TICKS.as_nanos()).unwrap_or(i128::MAX)
        < i128::try_from(now.as_nanos()).unwrap_or_default()
}

/// What was looked at, each thing as it was the first time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looks {
    machine: Machine,
    seen: BTreeMap<(PathBuf, bool), Scanned>,
    /// Whether there was more than is kept.
    is_cut: bool,
}

impl Looks {
    /// Nothing yet, on this machine.
    pub(crate) fn on(machine: &Machine) -> Self {
        Self { machine: machine.clone(), ..Self::default() }
    }

    /// Where it is looked.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Notes what is at `path` and every link on the way; whether something is there. To be done before
    /// anything is answered about it. Relative paths are noted nowhere: nothing is shown at them. Blocks.
    pub(crate) fn look(&mut self, path: &Path) -> bool {
        if !path.is_absolute() {
            return false;
        }
        self.follow(path);
        self.note(Scanned::now(&self.machine, path, false))
    }

    /// Notes every link on the way to the end of `path`, or where the way ends. Blocks.
    pub(crate) fn follow(&mut self, path: &Path) {
        let mut reached = PathBuf::from("/");
        let mut left = parts(path);
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                reached.pop();
                continue;
            }
            reached.push(part);
            let now = SystemTime::now();
            let status = match self.machine.link_status(&reached) {
                Ok(status) => status,
                Err(error) => return self.note_end(&reached, &error),
            };
            if status.kind != Kind::Link {
                continue;
            }
            self.note(Scanned::seen(&reached, true, Some(status.identity), now));
            links += 1;
            let Ok(target) = self.machine.read_link(&reached) else { return };
            if links == LINKS_MAX {
                return;
            }
            reached = if target.is_absolute() { "/".into() } else { above(&reached) };
            left.extend(parts(&target));
        }
    }

    /// The first part of a path that is not there. If something else than its absence keeps it from being
    /// seen, that is up to the folder.
    fn note_end(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.note(Scanned::now(&self.machine, &above(path), true));
        }
        self.note(Scanned::now(&self.machine, path, true));
    }

    /// Keeps the first look at everything; whether something was there now.
    fn note(&mut self, scanned: Scanned) -> bool {
        let exists = scanned.identity.is_some();
        // A component must not fill the host's memory by asking.
        if self.seen.len() >= LOOKS_MAX || scanned.path.as_os_str().len() > PATH_MAX {
            self.is_cut = true;
        } else {
            self.seen.entry((scanned.path.clone(), scanned.link)).or_insert(scanned);
        }
        exists
    }

    /// Adds later looks.
    pub(crate) fn extend(&mut self, later: Self) {
        self.is_cut |= later.is_cut;
        for scanned in later.seen.into_values() {
            self.note(scanned);
        }
    }

    pub(crate) fn into_scanned(self) -> Vec<Scanned> {
        // One that never counts as unchanged stands for all that was not kept.
        let rest = Scanned { path: "/".into(), identity: None, link: false, settled: false };
        self.seen.into_values().chain(self.is_cut.then_some(rest)).collect()
    }
}

/// The parts of a path, last first.
pub(crate) fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

fn above(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Waits until what was just made counts as settled.
    pub(crate) fn settle() {
        std::thread::sleep(TICKS * 2);
    }

    fn scene() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        (folder, path)
    }

    fn looked(path: &Path) -> Vec<Scanned> {
        let mut looks = Looks::default();
        looks.look(path);
        looks.into_scanned()
    }

    fn is_unchanged(scanned: &[Scanned]) -> bool {
        scanned.iter().all(Scanned::is_unchanged)
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_seen() {
        type Make = fn(&Path) -> io::Result<()>;
        let scenes: [(&str, Make, &str, &str); 4] = [
            ("both lead nowhere", |_| Ok(()), "link", "gone-2"),
            (
                "both are one file",
                |path| {
                    fs::write(path.join("gone-1"), "")?;
                    fs::hard_link(path.join("gone-1"), path.join("gone-2"))
                },
                "link",
                "gone-2",
            ),
            (
                "a folder on the way",
                |path| {
                    fs::create_dir(path.join("gone-1"))?;
                    fs::create_dir(path.join("gone-2"))
                },
                "link/missing",
                "gone-2",
            ),
            ("another link on the way", |path| symlink("gone-3", path.join("gone-1")), "link", "gone-3"),
        ];
        for (what, make, looked_at, other) in scenes {
            let (_folder, path) = scene();
            make(&path).expect("the scene");
            symlink("gone-1", path.join("link")).expect("a link");
            settle();
            let scanned = looked(&path.join(looked_at));
            assert!(is_unchanged(&scanned), "{what}");
            fs::remove_file(path.join("link")).expect("removed");
            symlink(other, path.join("link")).expect("another link");
            assert!(!is_unchanged(&scanned), "{what}");
        }
    }

    #[test]
    fn what_appears_on_the_way_is_seen() {
        let (_folder, path) = scene();
        let looked_at = path.join("a/b/c");
        let scanned = looked(&looked_at);
        assert!(is_unchanged(&scanned), "nothing to settle");
        // Still nothing at the end, but now it ends elsewhere.
        symlink("elsewhere", path.join("a")).expect("a link");
        assert!(!is_unchanged(&scanned));
    }

    #[test]
    fn every_link_is_noted_and_circles_end() {
        let (_folder, path) = scene();
        fs::create_dir(path.join("real")).expect("a folder");
        fs::write(path.join("real/file"), "").expect("a file");
        symlink("real/../real", path.join("one")).expect("a link");
        symlink(path.join("one"), path.join("two")).expect("a link");
        let links = |scanned: Vec<Scanned>| {
            let links = scanned.into_iter().filter(|scanned| scanned.link && scanned.path.starts_with(&path));
            links.map(|scanned| scanned.path).collect::<Vec<_>>()
        };
        assert_eq!(links(looked(&path.join("two/file"))), [path.join("one"), path.join("two")]);
        symlink("circle", path.join("circle")).expect("a link");
        assert_eq!(links(looked(&path.join("circle/x"))), [path.join("circle")]);
        assert_eq!(looked(Path::new("relative")), []);
    }

    #[test]
    fn what_was_changed_a_moment_ago_is_not_trusted() {
        let (_folder, path) = scene();
        let file = path.join("file");
        fs::write(&file, "a").expect("a file");
        let fresh = Scanned::now(&Machine::This, &file, false);
        assert!(!fresh.settled && !fresh.is_unchanged());
        settle();
        let scanned = Scanned::now(&Machine::This, &file, false);
        assert!(scanned.is_unchanged());
        let identity = scanned.identity.expect("there");
        let at = |nanoseconds: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds.try_into().expect("later than 1970"))
        };
        assert!(!is_settled(&identity, at(identity.ctime - 1)), "from the future");
        assert!(!is_settled(&identity, at(identity.ctime + 19_000_000)));
        assert!(is_settled(&identity, at(identity.ctime + 21_000_000)));
    }

    #[test]
    fn records_without_the_newer_fields_count_as_changed() {
        let (_folder, path) = scene();
        settle();
        let mut json = serde_json::to_value(Scanned::now(&Machine::This, &path, false)).expect("JSON");
        let read = |json: &serde_json::Value| serde_json::from_value::<Scanned>(json.clone()).expect("read");
        assert!(read(&json).is_unchanged());
        let fields = json.as_object_mut().expect("an object");
        fields.remove("link");
        fields.remove("settled");
        assert!(!read(&json).is_unchanged());
    }

    #[test]
    fn the_first_look_counts() {
        let (_folder, path) = scene();
        let file = path.join("file");
        let mut looks = Looks::default();
        looks.look(&file);
        fs::write(&file, "").expect("a file");
        let mut later = Looks::default();
        later.look(&file);
        looks.extend(later);
        assert!(!is_unchanged(&looks.into_scanned()));
    }

    #[test]
    fn too_many_looks_are_cut_and_not_trusted() {
        let mut looks = Looks::default();
        assert!(!looks.look(&Path::new("/").join("x".repeat(PATH_MAX))));
        assert!(!is_unchanged(&looks.into_scanned()));
    }
}
