//! Files below a folder, by paths that somebody else chose.
//!
//! Every path is walked component by component without following a link, so that no sequence of
//! steps, and nothing that a program left in the folder, leads out of it. That is stricter than the
//! kernel's `RESOLVE_BENEATH`, and works on every kernel.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

/// Why a path was refused, or what went wrong there.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error("`{path}` is not a relative path without `..`")]
    NotRelative { path: String },
    /// A link is never followed.
    #[error("`{path}` does not lead through folders alone")]
    NotFolder { path: String },
    #[error("the link `{path}` may not lead to `{target}`")]
    Target { path: String, target: String },
    #[error("`{path}` is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("`{path}`: {source}")]
    Io { path: String, source: std::io::Error },
}

impl PathError {
    pub(super) fn io(path: impl AsRef<Path>, source: impl Into<std::io::Error>) -> Self {
        Self::Io { path: path.as_ref().display().to_string(), source: source.into() }
    }
}

/// The components of a relative path, none of them `..`; empty for the folder itself only.
pub(super) fn components(path: &str) -> Result<Vec<&OsStr>, PathError> {
    let refused = || PathError::NotRelative { path: path.to_owned() };
    if path.contains('\0') {
        return Err(refused());
    }
    Path::new(path)
        .components()
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            Component::CurDir | Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                Err(refused())
            }
        })
        .collect()
}

/// One entry of a folder.
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) kind: FileType,
}

/// A folder beneath which everything stays.
#[derive(Debug)]
pub(super) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// The folder at a path of the host's own.
    pub(super) fn open(path: &Path) -> Result<Self, PathError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let descriptor =
            openat(CWD, path, flags, Mode::empty()).map_err(|errno| PathError::io(path, errno))?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a folder beneath, which exists and is reached without a link.
    pub(super) fn folder(&self, path: &str) -> Result<PathBuf, PathError> {
        let names = components(path)?;
        self.descend(&names, path, false)?;
        Ok(self.path.join(path))
    }

    /// Makes a folder and those above it, as far as they are missing.
    pub(super) fn make_dir(&self, path: &str) -> Result<(), PathError> {
        self.descend(&named(path)?, path, true).map(drop)
    }

    /// Makes a file, in place of a file or link of the same name.
    pub(super) fn write_file(&self, path: &str, contents: &[u8], executable: bool) -> Result<(), PathError> {
        let (parent, name) = self.parent(path)?;
        // Removed, not truncated: it may be a hard link to a file of a cache that others share.
        remove(&parent, name).map_err(|errno| PathError::io(path, errno))?;
        let mode = if executable { 0o755 } else { 0o644 };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = openat(&parent, name, flags, Mode::from_raw_mode(mode))
            .map_err(|errno| PathError::io(path, errno))?;
        File::from(descriptor).write_all(contents).map_err(|source| PathError::io(path, source))
    }

    /// Makes a link with exactly this target, in place of a file or link of the same name. Whether the
    /// target is allowed is for the caller to say.
    pub(super) fn link(&self, path: &str, target: &Path) -> Result<(), PathError> {
        let (parent, name) = self.parent(path)?;
        remove(&parent, name).map_err(|errno| PathError::io(path, errno))?;
        symlinkat(target, &parent, name).map_err(|errno| PathError::io(path, errno))
    }

    /// The contents of a regular file; None if nothing is there.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, PathError> {
        let names = named(path)?;
        let Some((name, above)) = names.split_last() else { return Ok(None) };
        let parent = match self.descend(above, path, false) {
            Ok(parent) => parent,
            Err(PathError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // NONBLOCK: opening a pipe must not wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&parent, *name, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(PathError::io(path, errno)),
        };
        let metadata = file.metadata().map_err(|source| PathError::io(path, source))?;
        if !metadata.is_file() {
            return Err(PathError::io(path, std::io::Error::other("it is not a file")));
        }
        let mut contents = Vec::new();
        file.take(limit + 1).read_to_end(&mut contents).map_err(|source| PathError::io(path, source))?;
        if contents.len() as u64 > limit {
            return Err(PathError::TooLarge { path: path.to_owned(), limit });
        }
        Ok(Some(contents))
    }

    /// What is in a folder beneath, sorted by name.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Entry>, PathError> {
        let folder = self.descend(&components(path)?, path, false)?;
        let failed = |errno: Errno| PathError::io(path, errno);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems don't say.
                FileType::Unknown => {
                    let status = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                    FileType::from_raw_mode(status.st_mode)
                }
                known => known,
            };
            entries.push(Entry { name: name.to_owned(), kind });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// The folder that an entry is to be made in, made itself as far as it is missing.
    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a OsStr), PathError> {
        let names = named(path)?;
        match names.split_last() {
            Some((name, above)) => Ok((self.descend(above, path, true)?, name)),
            None => Err(PathError::NotRelative { path: path.to_owned() }),
        }
    }

    fn descend(&self, names: &[&OsStr], path: &str, create: bool) -> Result<OwnedFd, PathError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let failed = |errno: Errno| match errno {
            Errno::NOTDIR | Errno::LOOP => PathError::NotFolder { path: path.to_owned() },
            errno => PathError::io(path, errno),
        };
        let mut folder = self.descriptor.try_clone().map_err(|source| PathError::io(path, source))?;
        for name in names {
            if create {
                match mkdirat(&folder, *name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
            folder = openat(&folder, *name, flags, Mode::empty()).map_err(failed)?;
        }
        Ok(folder)
    }
}

/// [`components`] of something other than the folder itself.
fn named(path: &str) -> Result<Vec<&OsStr>, PathError> {
    let names = components(path)?;
    if names.is_empty() { Err(PathError::NotRelative { path: path.to_owned() }) } else { Ok(names) }
}

fn remove(folder: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn fixture() -> (tempfile::TempDir, Folder) {
        let outside = tempfile::tempdir().expect("a folder");
        fs::create_dir(outside.path().join("inside")).expect("made");
        fs::write(outside.path().join("secret"), "secret").expect("written");
        let folder = Folder::open(&outside.path().join("inside")).expect("opened");
        (outside, folder)
    }

    #[test]
    fn accepts_relative_paths_alone() {
        for good in ["a", "a/b", "a//b", "a/./b", "a/", "...", "a/..b"] {
            assert!(components(good).is_ok(), "{good}");
        }
        for bad in ["/a", "..", "a/..", "../a", "a/../b", "./a", ".", "a\0b"] {
            let error = components(bad).expect_err(bad);
            assert!(matches!(error, PathError::NotRelative { .. }), "{bad}: {error}");
        }
        let (_outside, folder) = fixture();
        for bad in ["", "/etc/passwd", "../secret"] {
            assert!(matches!(folder.make_dir(bad), Err(PathError::NotRelative { .. })), "{bad}");
            assert!(
                matches!(folder.write_file(bad, b"", false), Err(PathError::NotRelative { .. })),
                "{bad}"
            );
            assert!(matches!(folder.link(bad, "x".as_ref()), Err(PathError::NotRelative { .. })), "{bad}");
            assert!(matches!(folder.read(bad, 9), Err(PathError::NotRelative { .. })), "{bad}");
        }
    }

    #[test]
    fn makes_and_reads_what_it_should() {
        let (_outside, folder) = fixture();
        folder.make_dir("a/b").expect("made");
        folder.make_dir("a/b").expect("it may exist");
        folder.write_file("c/d/tool", b"#!/bin/sh\n", true).expect("written");
        folder.write_file("c/plain", b"one", false).expect("written");
        folder.write_file("c/plain", b"two", false).expect("and again");
        folder.link("c/link", "d/tool".as_ref()).expect("linked");
        folder.link("c/link", "plain".as_ref()).expect("and again");
        let mode = |name: &str| fs::metadata(folder.path().join(name)).expect("there").permissions().mode();
        assert_eq!(mode("c/d/tool") & 0o111, 0o111);
        assert_eq!(mode("c/plain") & 0o111, 0);
        assert_eq!(folder.read("c/plain", 3).expect("read").as_deref(), Some(&b"two"[..]));
        assert_eq!(folder.read("c/absent", 3).expect("read"), None);
        assert_eq!(folder.read("x/absent", 3).expect("read"), None);
        assert_eq!(fs::read_link(folder.path().join("c/link")).expect("a link"), Path::new("plain"));
        let names: Vec<_> = folder.list("c").expect("listed").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["d", "link", "plain"]);
    }

    #[test]
    fn follows_no_link() {
        let (outside, folder) = fixture();
        symlink(outside.path(), folder.path().join("out")).expect("linked");
        symlink("../secret", folder.path().join("file")).expect("linked");
        for path in ["out/x", "out/inside/x", "file/x"] {
            let refused = |result: Result<(), PathError>| matches!(result, Err(PathError::NotFolder { .. }));
            assert!(refused(folder.make_dir(path)), "{path}");
            assert!(refused(folder.write_file(path, b"x", false)), "{path}");
            assert!(refused(folder.link(path, "x".as_ref())), "{path}");
            assert!(refused(folder.read(path, 9).map(drop)), "{path}");
            assert!(refused(folder.folder(path).map(drop)), "{path}");
        }
        assert!(folder.read("file", 9).is_err(), "nor one at the end");
        folder.write_file("file", b"mine", false).expect("a link is replaced");
        assert_eq!(fs::read(outside.path().join("secret")).expect("still there"), b"secret");
        assert!(!outside.path().join("x").exists());
    }

    #[test]
    fn leaves_hard_links_alone() {
        let (outside, folder) = fixture();
        fs::hard_link(outside.path().join("secret"), folder.path().join("shared")).expect("linked");
        folder.write_file("shared", b"mine", false).expect("written");
        assert_eq!(fs::read(outside.path().join("secret")).expect("still there"), b"secret");
        assert_eq!(fs::metadata(outside.path().join("secret")).expect("there").nlink(), 1);
    }

    #[test]
    fn reads_no_more_than_the_limit_and_files_only() {
        let (_outside, folder) = fixture();
        folder.write_file("four", b"1234", false).expect("written");
        folder.make_dir("folder").expect("made");
        assert!(matches!(folder.read("four", 3), Err(PathError::TooLarge { limit: 3, .. })));
        assert!(matches!(folder.read("folder", 3), Err(PathError::Io { .. })));
    }
}
