//! Files below the granted folders, read only. Every path is followed to its end before it is compared
//! with the grants, and what is then opened is that end.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::bindings::attune::runtime::files as wit;
use super::bindings::attune::runtime::files::{Entry, Host, Status};
use super::bindings::attune::runtime::types;
use super::call::Call;
use super::convert::failure_to_wit;
use super::machine::{Kind, Machine};
use super::program::unresolved;
use super::roots::{Looks, Roots};
use crate::installation::{Failure, FailureClass};

/// Bytes of a file that can be read at a time.
const READ_MAX: u32 = 1 << 20;

/// Entries of a folder.
const ENTRIES_MAX: usize = 10_000;

/// What a call may read.
#[derive(Clone, Debug)]
pub(crate) struct Readable {
    pub(crate) machine: Machine,
    pub(crate) roots: Arc<Roots>,
    /// The environment of the call, without links.
    pub(crate) environment: Option<PathBuf>,
}

impl Readable {
    fn allows(&self, canonical: &Path) -> bool {
        self.roots.allows_reading(canonical)
            || self.environment.as_deref().is_some_and(|environment| canonical.starts_with(environment))
    }

    /// Follows a path to its end, if that is below a granted folder. Whether something exists elsewhere
    /// is not said.
    fn locate(&self, path: &str) -> Result<PathBuf, Failure> {
        let path = absolute(path)?;
        match self.machine.canonicalize(path) {
            Ok(canonical) if self.allows(&canonical) => Ok(canonical),
            Ok(_) => Err(denied(path)),
            Err(error) => {
                let known =
                    path.ancestors().skip(1).find_map(|ancestor| self.machine.canonicalize(ancestor).ok());
                let climbs = path.components().any(|part| part == Component::ParentDir);
                match known {
                    Some(known) if !climbs && self.allows(&known) => Err(self.unresolved(path, &error)),
                    Some(_) | None => Err(denied(path)),
                }
            }
        }
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, Failure> {
        let folder = self.locate(path)?;
        let found = self
            .machine
            .entries(&folder, ENTRIES_MAX, |_| true)
            .map_err(|error| self.unresolved(&folder, &error))?;
        if found.len() > ENTRIES_MAX {
            return Err(Failure::new(
                FailureClass::Other("too-many-entries".to_owned()),
                format!("{path} has more than {ENTRIES_MAX} entries"),
            ));
        }
        // Paths that are not UTF-8 are left out of every answer.
        let named = found.into_iter().filter_map(|(name, kind)| Some((name.into_string().ok()?, kind)));
        let mut entries: Vec<_> = named.map(|(name, kind)| Entry { name, kind: kind_to_wit(kind) }).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn stat(&self, path: &str) -> Result<Status, Failure> {
        let path = self.locate(path)?;
        let status = self.machine.status(&path).map_err(|error| self.unresolved(&path, &error))?;
        Ok(Status {
            kind: kind_to_wit(status.kind),
            size: status.identity.size,
            executable: status.kind == Kind::File && status.executable,
            extra: Vec::new(),
        })
    }

    fn read(&self, path: &str, limit: u32) -> Result<Vec<u8>, Failure> {
        let path = self.locate(path)?;
        let place = path.display();
        self.machine.read(&path, limit.min(READ_MAX).into()).map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => {
                Failure::new(FailureClass::IsDirectory, format!("{place} is a folder"))
            }
            io::ErrorKind::InvalidInput => Failure::new(
                FailureClass::Other("not-a-file".to_owned()),
                format!("{place} is not a regular file"),
            ),
            _ => self.unresolved(&path, &error),
        })
    }

    /// The link itself is not followed, so it is its folder that has to be granted.
    fn read_link(&self, path: &str) -> Result<String, Failure> {
        let link = absolute(path)?;
        let (Some(folder), Some(name)) = (link.parent().and_then(Path::to_str), link.file_name()) else {
            return Err(denied(link));
        };
        let link = self.locate(folder)?.join(name);
        let target = self.machine.read_link(&link).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => {
                Failure::new(FailureClass::Other("not-a-link".to_owned()), format!("{path} is not a link"))
            }
            _ => self.unresolved(&link, &error),
        })?;
        text(target)
    }

    fn canonicalize(&self, path: &str) -> Result<String, Failure> {
        text(self.locate(path)?)
    }

    fn unresolved(&self, path: &Path, error: &io::Error) -> Failure {
        unresolved(&self.machine, path, error)
    }
}

fn absolute(path: &str) -> Result<&Path, Failure> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Failure::new(FailureClass::Denied, format!("`{}` is not an absolute path", path.display())))
}

fn denied(path: &Path) -> Failure {
    Failure::new(FailureClass::Denied, format!("{} is not below a granted folder", path.display()))
}

fn text(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string()
        .into_string()
        .map_err(|_| Failure::new(FailureClass::Other("not-utf-8".to_owned()), "the path is not UTF-8"))
}

fn kind_to_wit(kind: Kind) -> wit::Kind {
    match kind {
        Kind::Folder => wit::Kind::Directory,
        Kind::File => wit::Kind::File,
        Kind::Link => wit::Kind::Symlink,
        Kind::Special => wit::Kind::Other("special".to_owned()),
    }
}

/// An answer and what it depends on. What is denied depends on the disk too: links decide where a path leads.
fn looked<T>(
    readable: &Readable,
    path: &str,
    answer: impl FnOnce(&Readable, &str) -> Result<T, Failure>,
) -> (Result<T, Failure>, Looks) {
    let mut looks = Looks::on(&readable.machine);
    looks.look(Path::new(path));
    (answer(readable, path), looks)
}

impl Call {
    /// Answers on a thread on which waiting for a slow disk holds up nobody else.
    async fn with_files<T: Send + 'static>(
        &mut self,
        path: String,
        answer: impl FnOnce(&Readable, &str) -> Result<T, Failure> + Send + 'static,
    ) -> wasmtime::Result<Result<T, types::Failure>> {
        let _entered = self.meter.enter(super::error::Part::Host);
        let readable = self.readable().await?;
        let (outcome, looks) = tokio::task::spawn_blocking(move || looked(&readable, &path, answer)).await?;
        self.looks.extend(looks);
        Ok(outcome.map_err(|failure| failure_to_wit(&self.noting(failure))))
    }
}

impl Host for Call {
    async fn list(&mut self, path: String) -> wasmtime::Result<Result<Vec<Entry>, types::Failure>> {
        self.with_files(path, Readable::list).await
    }

    async fn stat(&mut self, path: String) -> wasmtime::Result<Result<Status, types::Failure>> {
        self.with_files(path, Readable::stat).await
    }

    async fn read(&mut self, path: String, limit: u32) -> wasmtime::Result<Result<Vec<u8>, types::Failure>> {
        self.with_files(path, move |readable, path| readable.read(path, limit)).await
    }

    async fn read_link(&mut self, path: String) -> wasmtime::Result<Result<String, types::Failure>> {
        self.with_files(path, Readable::read_link).await
    }

    async fn canonicalize(&mut self, path: String) -> wasmtime::Result<Result<String, types::Failure>> {
        self.with_files(path, Readable::canonicalize).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::roots::{Scanned, settle};
    use super::*;

    /// `inside/` is granted, `outside/` is not.
    fn scene() -> (tempfile::TempDir, PathBuf, Readable) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        fs::create_dir_all(path.join("inside/sub")).expect("a folder");
        fs::create_dir(path.join("outside")).expect("a folder");
        fs::write(path.join("inside/file"), "contents").expect("a file");
        fs::write(path.join("outside/secret"), "secret").expect("a file");
        symlink("../outside/secret", path.join("inside/escape")).expect("a link");
        symlink("../outside", path.join("inside/folder-escape")).expect("a link");
        symlink("nowhere", path.join("inside/broken")).expect("a link");
        symlink("loop", path.join("inside/loop")).expect("a link");
        symlink("inside", path.join("alias")).expect("a link");
        let roots = Roots { read: vec![path.join("inside")], ..Roots::default() };
        let readable = Readable { machine: Machine::This, roots: Arc::new(roots), environment: None };
        (folder, path, readable)
    }

    #[test]
    fn only_what_is_really_below_a_granted_folder() {
        let (_folder, path, readable) = scene();
        for (name, class) in [
            ("inside", None),
            ("inside/file", None),
            ("inside/sub/../file", None),
            ("alias/file", None),
            ("inside/missing", Some(FailureClass::NotFound)),
            ("inside/file/below", Some(FailureClass::NotFound)),
            ("inside/broken", Some(FailureClass::BrokenSymlink)),
            ("inside/loop", Some(FailureClass::SymlinkLoop)),
            ("inside/escape", Some(FailureClass::Denied)),
            ("inside/folder-escape/secret", Some(FailureClass::Denied)),
            ("inside/folder-escape/missing", Some(FailureClass::Denied)),
            ("inside/../outside/secret", Some(FailureClass::Denied)),
            ("inside/missing/../../outside/secret", Some(FailureClass::Denied)),
            ("outside/secret", Some(FailureClass::Denied)),
            ("outside/missing", Some(FailureClass::Denied)),
            ("inside-out", Some(FailureClass::Denied)),
            ("", Some(FailureClass::Denied)),
        ] {
            let whole = path.join(name).to_string_lossy().into_owned();
            let found = readable.stat(&whole).map(|_| ()).map_err(|failure| failure.class);
            assert_eq!(found.err(), class, "{name}");
        }
        assert_eq!(
            readable.stat("inside/file").map(|_| ()).expect_err("relative").class,
            FailureClass::Denied
        );
    }

    #[test]
    fn answers() {
        let (_folder, path, readable) = scene();
        let at = |name: &str| path.join(name).to_string_lossy().into_owned();
        let names: Vec<_> =
            readable.list(&at("inside")).expect("entries").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["broken", "escape", "file", "folder-escape", "loop", "sub"]);
        assert_eq!(readable.read(&at("inside/file"), 4).expect("bytes"), b"cont");
        assert_eq!(readable.read_link(&at("inside/escape")).expect("a target"), "../outside/secret");
        assert_eq!(readable.canonicalize(&at("alias/file")).expect("a path"), at("inside/file"));
        for (failure, class) in [
            (readable.read(&at("inside/sub"), 1).map(|_| ()), FailureClass::IsDirectory),
            (readable.list(&at("inside/file")).map(|_| ()), FailureClass::NotFound),
            (
                readable.read_link(&at("inside/file")).map(|_| ()),
                FailureClass::Other("not-a-link".to_owned()),
            ),
            (readable.read_link(&at("outside/secret")).map(|_| ()), FailureClass::Denied),
            (readable.read_link("/").map(|_| ()), FailureClass::Denied),
        ] {
            assert_eq!(failure.expect_err("a failure").class, class);
        }
    }

    #[test]
    fn whatever_would_change_an_answer_changes_what_was_looked_at() {
        type Change = fn(&Path) -> std::io::Result<()>;
        let changes: [(&str, Change); 5] = [
            ("inside/missing", |path| fs::write(path.join("inside/missing"), "")),
            ("outside/missing", |path| fs::write(path.join("outside/missing"), "")),
            ("inside/escape", |path| {
                fs::remove_file(path.join("inside/escape"))?;
                symlink("file", path.join("inside/escape"))
            }),
            ("inside/broken", |path| {
                fs::remove_file(path.join("inside/broken"))?;
                symlink("elsewhere", path.join("inside/broken"))
            }),
            ("alias/missing", |path| {
                fs::remove_file(path.join("alias"))?;
                symlink("outside", path.join("alias"))
            }),
        ];
        for (name, change) in changes {
            let (_folder, path, readable) = scene();
            settle();
            let asked = path.join(name).to_string_lossy().into_owned();
            let answer = |readable: &Readable, asked: &str| {
                Ok((readable.stat(asked).map(|status| status.size), readable.read_link(asked)))
            };
            let (before, looks) = looked(&readable, &asked, answer);
            let scanned = looks.into_scanned();
            assert!(scanned.iter().all(Scanned::is_unchanged), "before {name}");
            change(&path).expect("a change");
            assert!(!scanned.iter().all(Scanned::is_unchanged), "after {name}");
            let (after, _) = looked(&readable, &asked, answer);
            assert!(name == "outside/missing" || before != after, "{name}: {before:?}");
        }
    }

    #[test]
    fn a_change_while_answering_is_seen() {
        let (_folder, path, readable) = scene();
        settle();
        let asked = path.join("inside/file").to_string_lossy().into_owned();
        let (read, looks) = looked(&readable, &asked, |readable, asked| {
            let read = readable.read(asked, 100);
            fs::write(asked, "changed").expect("a change");
            // The change would be told apart later by its time alone.
            settle();
            read
        });
        assert_eq!(read.expect("bytes"), b"contents");
        assert!(!looks.into_scanned().iter().all(Scanned::is_unchanged));
    }

    #[test]
    fn a_pipe_does_not_hold_up_reading() {
        let (_folder, path, readable) = scene();
        let pipe = path.join("inside/pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a pipe");
        let failure = readable.read(&pipe.to_string_lossy(), 1).expect_err("not a file");
        assert_eq!(failure.class, FailureClass::Other("not-a-file".to_owned()));
    }
}
