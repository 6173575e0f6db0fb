//! Into a folder that nobody changes any more, and that is either complete or not there.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::folder::{self, Filter};
use super::{Bundle, BundleEntry, BundleError};

/// Folders in the making start with this; one that is left after a crash is rubbish.
const UNFINISHED_PREFIX: &str = ".unpacking-";

impl Bundle {
    /// Writes the files to `destination`, read-only. Whoever looks sees all of them or none: they are
    /// written aside and moved. An unpacked bundle with the same contents that is there already is fine.
    pub fn unpack(&self, destination: &Path) -> Result<(), BundleError> {
        if fs::symlink_metadata(destination).is_ok() {
            return self.compare(destination);
        }
        let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|source| write_error(parent, source))?;
        let aside = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempdir_in(parent)
            .map_err(|source| write_error(parent, source))?;
        self.write_into(aside.path())?;
        match fs::rename(aside.path(), destination) {
            Ok(()) => drop(aside.keep()),
            // Somebody else was faster; a folder that is not empty is never replaced.
            Err(_) if fs::symlink_metadata(destination).is_ok() => return self.compare(destination),
            Err(source) => return Err(write_error(destination, source)),
        }
        sync(parent)
    }

    /// An unpacked bundle, with whatever has come into its folder since.
    pub fn unpacked(folder: &Path) -> Result<Self, BundleError> {
        folder::read(folder, Filter::Nothing)
    }

    /// Writes anew the files below `destination` that are gone or not as they were unpacked, and says which; all of
    /// them, and none is named, if it is not there. What is there besides stays, and what is behind a link.
    pub fn restore(&self, destination: &Path) -> Result<Vec<String>, BundleError> {
        if fs::symlink_metadata(destination).is_err() {
            self.unpack(destination)?;
            return Ok(Vec::new());
        }
        if fs::symlink_metadata(destination).is_ok_and(|metadata| metadata.is_symlink()) {
            return Ok(Vec::new());
        }
        let differs = |(path, entry): &(&str, &BundleEntry)| {
            !is_behind_a_link(destination, path) && !is_as_unpacked(&destination.join(path), entry)
        };
        let damaged = self.iter().filter(differs).collect::<Vec<_>>();
        if damaged.is_empty() {
            return Ok(Vec::new());
        }
        let parent = destination.parent().unwrap_or(Path::new("."));
        let aside = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempdir_in(parent)
            .map_err(|source| write_error(parent, source))?;
        for (path, entry) in &damaged {
            let (new, path) = (aside.path().join("file"), destination.join(path));
            let folder = path.parent().unwrap_or(destination);
            let written = fs::create_dir_all(folder)
                .and_then(|()| write_file(&new, entry))
                .and_then(|()| fs::rename(&new, &path));
            written.map_err(|source| write_error(&path, source))?;
            sync(folder)?;
        }
        Ok(damaged.into_iter().map(|(path, _)| path.to_owned()).collect())
    }

    fn compare(&self, destination: &Path) -> Result<(), BundleError> {
        let differs = || BundleError::DestinationDiffers { destination: destination.to_owned() };
        match folder::read(destination, Filter::Nothing) {
            Ok(found) if found.unfit().is_empty() && found.digest() == self.digest() => Ok(()),
            Err(error @ BundleError::Read { .. }) if destination.is_dir() => Err(error),
            Ok(_) | Err(_) => Err(differs()),
        }
    }

    fn write_into(&self, root: &Path) -> Result<(), BundleError> {
        let mut folders = vec![root.to_owned()];
        for place in self.folded.values().filter(|place| place.folder) {
            folders.push(root.join(&place.path));
        }
        // Parents sort before what is in them.
        folders.sort_unstable();
        for folder in folders.iter().skip(1) {
            fs::create_dir(folder).map_err(|source| write_error(folder, source))?;
        }
        for (path, entry) in self.iter() {
            let path = root.join(path);
            write_file(&path, entry).map_err(|source| write_error(&path, source))?;
        }
        for folder in folders.iter().rev() {
            fs::set_permissions(folder, Permissions::from_mode(0o755))
                .map_err(|source| write_error(folder, source))?;
            sync(folder)?;
        }
        Ok(())
    }
}

fn is_behind_a_link(destination: &Path, path: &str) -> bool {
    path.match_indices('/').any(|(slash, _)| {
        let folder = destination.join(path.get(..slash).unwrap_or_default());
        fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink())
    })
}

fn is_as_unpacked(path: &Path, entry: &BundleEntry) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| {
        let is_executable = metadata.permissions().mode() & 0o111 != 0;
        metadata.is_file() && is_executable == entry.executable && metadata.len() == entry.bytes.len() as u64
    }) && fs::read(path).is_ok_and(|bytes| bytes == *entry.bytes)
}

fn write_file(path: &Path, entry: &BundleEntry) -> std::io::Result<()> {
    let mode = if entry.executable { 0o555 } else { 0o444 };
    let mut file = File::create_new(path)?;
    file.write_all(&entry.bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn sync(folder: &Path) -> Result<(), BundleError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| write_error(folder, source))
}

fn write_error(path: &Path, source: std::io::Error) -> BundleError {
    BundleError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(text: &'static str) -> Bundle {
        Bundle::from_files([
            ("pack.yaml", text.as_bytes(), false),
            ("actions/deep/run.sh", b"#!/bin/sh\n", true),
            (".attuneignore", b"pack.yaml\n", false),
        ])
        .expect("a bundle")
    }

    #[test]
    fn written_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let destination = folder.path().join("packs/x");
        let bundle = bundle("x");
        bundle.unpack(&destination).expect("unpacked");
        let mode =
            |path: &str| fs::metadata(destination.join(path)).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode("pack.yaml"), 0o444);
        assert_eq!(mode("actions/deep/run.sh"), 0o555);
        assert_eq!((mode(""), mode("actions/deep")), (0o755, 0o755));
        assert_eq!(folder::read(&destination, Filter::Nothing).expect("a bundle"), bundle);
        // A second time changes nothing, and nothing is left beside it.
        bundle.unpack(&destination).expect("there already");
        let beside: Vec<_> = fs::read_dir(folder.path().join("packs")).expect("a folder").collect();
        assert_eq!(beside.len(), 1);
    }

    #[test]
    fn other_contents_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let destination = folder.path().join("x");
        bundle("x").unpack(&destination).expect("unpacked");
        let error = bundle("y").unpack(&destination).expect_err("an error");
        assert!(matches!(error, BundleError::DestinationDiffers { .. }), "{error}");
        assert_eq!(fs::read(destination.join("pack.yaml")).expect("a file"), b"x");

        let file = folder.path().join("file");
        fs::write(&file, "x").expect("a file");
        let error = bundle("x").unpack(&file).expect_err("an error");
        assert!(matches!(error, BundleError::DestinationDiffers { .. }), "{error}");
    }

    #[test]
    fn what_is_damaged_is_written_anew_and_all_else_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let destination = folder.path().join("x");
        let bundle = bundle("x");
        let restored = || bundle.restore(&destination).expect("restored");
        assert_eq!(restored(), [""; 0], "all of it is new");
        assert_eq!(restored(), [""; 0], "it is whole");
        let script = destination.join("actions/deep/run.sh");
        let set = |mode| fs::set_permissions(&script, Permissions::from_mode(mode)).expect("a mode");
        let deep = "actions/deep/run.sh";
        set(0o755);
        fs::write(&script, "#!/bin/xx\n").expect("written");
        assert_eq!(restored(), [deep], "of the same length");
        set(0o444);
        assert_eq!(restored(), [deep], "its mode");
        fs::remove_dir_all(destination.join("actions")).expect("removed");
        fs::write(destination.join("more"), "more").expect("written");
        assert_eq!(restored(), [deep], "its folder");
        assert_eq!(fs::read(&script).expect("a file"), b"#!/bin/sh\n");
        assert_eq!(fs::read(destination.join("more")).expect("it stays"), b"more");

        // Somebody else's files.
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("a folder");
        fs::remove_dir_all(destination.join("actions")).expect("removed");
        std::os::unix::fs::symlink(&elsewhere, destination.join("actions")).expect("a link");
        assert_eq!(restored(), [""; 0]);
        assert_eq!(fs::read_dir(&elsewhere).expect("listed").count(), 0);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 2, "nothing is left aside");
    }

    #[test]
    fn a_parent_that_is_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("file"), "x").expect("a file");
        let error = bundle("x").unpack(&folder.path().join("file/x")).expect_err("an error");
        assert!(matches!(error, BundleError::Write { .. }), "{error}");
    }

    #[test]
    fn many_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let destination = folder.path().join("x");
        let bundle = bundle("x");
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| bundle.unpack(&destination))).collect();
            for thread in threads {
                thread.join().expect("no panic").expect("unpacked");
            }
        });
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
