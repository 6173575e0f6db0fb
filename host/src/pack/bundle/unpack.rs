//! Into a folder that nobody changes any more, and that is either complete or not there.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::folder::{self, Filter};
use super::{Bundle, BundleError};

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
            let mode = if entry.executable { 0o555 } else { 0o444 };
            write_file(&path, &entry.bytes, mode).map_err(|source| write_error(&path, source))?;
        }
        for folder in folders.iter().rev() {
            fs::set_permissions(folder, Permissions::from_mode(0o755))
                .map_err(|source| write_error(folder, source))?;
            sync(folder)?;
        }
        Ok(())
    }
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
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
