//! From a folder: what the ignore rules leave, never through a link.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};
use rustix::fs::{Mode, OFlags, open, openat};

use super::{Bundle, BundleEntry, BundleError, ENTRY_BYTES_MAX, Unfit};
use crate::printable::one_line;

/// A file with rules like those of git, in any folder of the pack.
const IGNORE_FILE: &str = ".attuneignore";
/// Never part of a pack.
const REPOSITORY: &str = ".git";

/// Which files of a folder belong to the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Those that the author did not ignore.
    Ignored,
    /// All of them: the folder is an unpacked bundle.
    Nothing,
}

impl Bundle {
    /// The files of the folder, without `.git` and what a `.attuneignore` names.
    pub fn from_dir(folder: &Path) -> Result<Self, BundleError> {
        read(folder, Filter::Ignored)
    }
}

pub(super) fn read(folder: &Path, filter: Filter) -> Result<Bundle, BundleError> {
    let root = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| BundleError::Read { path: folder.to_owned(), source: errno.into() })?;
    let mut walk = WalkBuilder::new(folder);
    walk.standard_filters(false).follow_links(false).sort_by_file_path(Path::cmp);
    if filter == Filter::Ignored {
        walk.add_custom_ignore_filename(IGNORE_FILE).filter_entry(|entry| entry.file_name() != REPOSITORY);
    }
    let mut bundle = Bundle::default();
    for entry in walk.build() {
        match entry {
            Ok(entry) => read_entry(&root, folder, &entry, &mut bundle)?,
            Err(error) => wrong_rules(folder, &error, &mut bundle)?,
        }
    }
    Ok(bundle)
}

fn read_entry(
    root: &OwnedFd,
    folder: &Path,
    entry: &DirEntry,
    bundle: &mut Bundle,
) -> Result<(), BundleError> {
    if let Some(error) = entry.error() {
        wrong_rules(folder, error, bundle)?;
    }
    let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
    let Some(kind) = entry.file_type().filter(|_| entry.depth() > 0) else { return Ok(()) };
    let Some(path) = relative.to_str() else {
        let path = one_line(&String::from_utf8_lossy(relative.as_os_str().as_bytes())).into_owned();
        return bundle.note(&path.clone(), BundleError::InvalidPath { path, reason: "it is not UTF-8" });
    };
    let inserted = if kind.is_symlink() {
        Err(BundleError::Link { path: path.to_owned() })
    } else if kind.is_dir() {
        Ok(())
    } else if kind.is_file() {
        open_beneath(root, path)
            .map_err(|source| read_error(entry.path(), path, source))
            .and_then(|file| read_file(file, entry.path(), path))
            .and_then(|entry| bundle.insert(path, entry))
    } else {
        Err(BundleError::Special { path: path.to_owned() })
    };
    inserted.or_else(|error| bundle.note(&one_line(path), error))
}

/// Notes what the walk says of a folder that can't be listed, or of a file of ignore rules.
fn wrong_rules(folder: &Path, error: &ignore::Error, bundle: &mut Bundle) -> Result<(), BundleError> {
    use ignore::Error;
    fn each(error: &Error, at: (&Path, Option<usize>), found: &mut Vec<(PathBuf, Option<usize>, String)>) {
        match error {
            Error::Partial(errors) => errors.iter().for_each(|error| each(error, at, found)),
            Error::WithLineNumber { line, err } => each(err, (at.0, usize::try_from(*line).ok()), found),
            Error::WithPath { path, err } => each(err, (path, at.1), found),
            Error::WithDepth { err, .. } => each(err, at, found),
            other => found.push((at.0.to_owned(), at.1, other.to_string())),
        }
    }
    let mut found = Vec::new();
    each(error, (folder, None), &mut found);
    for (path, line, reason) in found {
        let relative = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let (message, help) = if path.ends_with(IGNORE_FILE) {
            (format!("the ignore rules can't be read: {reason}"), "write rules like those of `.gitignore`")
        } else {
            (format!("it can't be read: {reason}"), "make it readable, or leave it out by `.attuneignore`")
        };
        bundle.note_unfit(Unfit { path: relative, line, message, help })?;
    }
    Ok(())
}

/// Opens a file without following a link at any level: since the walk, one may have been put in the way.
fn open_beneath(root: &OwnedFd, path: &str) -> std::io::Result<File> {
    // Opening a pipe that took the file's place must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut folder = root.try_clone()?;
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    for component in folders.split('/').filter(|component| !component.is_empty()) {
        folder = openat(&folder, component, flags | OFlags::DIRECTORY, Mode::empty())?;
    }
    Ok(openat(&folder, name, flags, Mode::empty())?.into())
}

fn read_file(file: File, absolute: &Path, path: &str) -> Result<BundleEntry, BundleError> {
    let failed = |source| BundleError::Read { path: absolute.to_owned(), source };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(BundleError::Special { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(ENTRY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(BundleEntry { bytes: bytes.into(), executable })
}

fn read_error(absolute: &Path, path: &str, source: std::io::Error) -> BundleError {
    if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        BundleError::Link { path: path.to_owned() }
    } else {
        BundleError::Read { path: absolute.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn paths(bundle: &Bundle) -> Vec<&str> {
        bundle.iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn ignored_files_are_left_out() {
        let folder = folder(&[
            ("pack.yaml", "x"),
            (".hidden", "x"),
            (".gitignore", "kept.txt"),
            ("kept.txt", "x"),
            (".git/config", "x"),
            ("actions/.git/config", "x"),
            (".attuneignore", "*.log\n/build/\n"),
            ("a.log", "x"),
            ("build/x", "x"),
            ("actions/build/x", "x"),
        ]);
        let bundle = Bundle::from_dir(folder.path()).expect("a bundle");
        let expected = [".attuneignore", ".gitignore", ".hidden", "actions/build/x", "kept.txt", "pack.yaml"];
        assert_eq!(paths(&bundle), expected);
        assert!(bundle.has_folder("actions/build") && !bundle.has_folder("pack.yaml"));
        assert!(!bundle.has_folder("Actions"));
    }

    #[test]
    fn rules_of_the_folders_around_do_not_count() {
        let folder = folder(&[(".attuneignore", "*"), ("pack/pack.yaml", "x")]);
        let bundle = Bundle::from_dir(&folder.path().join("pack")).expect("a bundle");
        assert_eq!(paths(&bundle), ["pack.yaml"]);
    }

    #[test]
    fn modes() {
        let folder = folder(&[("a.sh", "x"), ("b.sh", "x")]);
        let script = folder.path().join("a.sh");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
        let bundle = Bundle::from_dir(folder.path()).expect("a bundle");
        assert!(bundle.get("a.sh").expect("a file").executable);
        assert!(!bundle.get("b.sh").expect("a file").executable);
    }

    #[test]
    fn links_and_special_files() {
        type Make = fn(&Path);
        let cases: [(&str, Make, &str); 5] = [
            (
                "a link",
                |path| symlink("/etc/passwd", path).expect("a link"),
                "`x` is a link; packs hold files only",
            ),
            (
                "a broken link",
                |path| symlink("nowhere", path).expect("a link"),
                "`x` is a link; packs hold files only",
            ),
            (
                "a link to a folder",
                |path| symlink("/etc", path).expect("a link"),
                "`x` is a link; packs hold files only",
            ),
            (
                "a pipe",
                |path| rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR).expect("a pipe"),
                "`x` is neither a file nor a folder",
            ),
            (
                "a socket",
                |path| drop(std::os::unix::net::UnixListener::bind(path).expect("a socket")),
                "`x` is neither a file nor a folder",
            ),
        ];
        for (name, make, expected) in cases {
            let folder = folder(&[("pack.yaml", "x")]);
            make(&folder.path().join("x"));
            let bundle = Bundle::from_dir(folder.path()).expect("a bundle");
            assert_eq!(paths(&bundle), ["pack.yaml"], "{name}");
            let [Unfit { path, message, .. }] = bundle.unfit() else { panic!("{name}: {bundle:?}") };
            assert_eq!((path.as_str(), message.as_str()), ("x", expected), "{name}");
            assert!(bundle.is_unfit("x") && bundle.is_unfit("x/y") && !bundle.is_unfit("xy"), "{name}");
        }
    }

    #[test]
    fn what_is_unfit_is_found_by_its_path_whatever_that_holds() {
        let folder = folder(&[("pack.yaml", "x")]);
        for name in ["it's \"so\"", "é\u{301}"] {
            symlink("/etc", folder.path().join(name)).expect("a link");
            let bundle = Bundle::from_dir(folder.path()).expect("a bundle");
            assert!(bundle.is_unfit(name), "{:?}", bundle.unfit());
        }
        symlink("/etc", folder.path().join("\u{1b}[2J\n")).expect("a link");
        let bundle = Bundle::from_dir(folder.path()).expect("a bundle");
        let shown = bundle.unfit().iter().map(|unfit| unfit.path.as_str()).collect::<Vec<_>>();
        assert!(shown.contains(&"\\x1b[2J\\n"), "{shown:?}");
    }

    #[test]
    fn links_put_in_the_way_after_the_walk() {
        let folder = folder(&[("real/file", "x")]);
        symlink("real", folder.path().join("linked")).expect("a link");
        symlink("real/file", folder.path().join("file")).expect("a link");
        let root = open(folder.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("a folder");
        assert!(open_beneath(&root, "real/file").is_ok());
        assert!(open_beneath(&root, "linked/file").is_err());
        let error = open_beneath(&root, "file").expect_err("a link");
        assert!(matches!(read_error(Path::new("file"), "file", error), BundleError::Link { .. }));
    }

    #[test]
    fn other_errors() {
        let missing = Path::new("/nonexistent/pack");
        assert!(matches!(Bundle::from_dir(missing), Err(BundleError::Read { path, .. }) if path == missing));

        let folder = folder(&[("a", "x")]);
        let file = folder.path().join("a");
        assert!(matches!(Bundle::from_dir(&file), Err(BundleError::Read { path, .. }) if path == file));

        fs::write(folder.path().join(OsStr::from_bytes(b"\xff")), "x").expect("a file");
        let bundle = Bundle::from_dir(folder.path()).expect("a bundle");
        let messages: Vec<_> = bundle.unfit().iter().map(|unfit| unfit.message.as_str()).collect();
        assert_eq!(messages, ["`\u{fffd}` can't be the path of a file in a pack: it is not UTF-8"]);
    }

    #[test]
    fn ignore_rules_that_are_wrong() {
        let folder = folder(&[("a", "x"), (".attuneignore", "*.log\n[z-a]\n"), ("a.log", "x")]);
        let bundle = Bundle::from_dir(folder.path()).expect("a bundle");
        assert_eq!(paths(&bundle), [".attuneignore", "a"]);
        let [Unfit { path, line, message, .. }] = bundle.unfit() else { panic!("{bundle:?}") };
        assert_eq!((path.as_str(), *line), (".attuneignore", Some(2)));
        assert!(
            message.starts_with("the ignore rules can't be read: error parsing glob '[z-a]'"),
            "{message}"
        );
    }
}
