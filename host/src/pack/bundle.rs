//! The files of a pack, in memory: from a folder, an archive or the binary itself; into an immutable folder.
//!
//! Whatever is in a [`Bundle`] has a harmless path and fits the limits, wherever it came from. What was found
//! and can't be in one is left out and noted, so that it can be said along with all else that is wrong. What
//! the files mean is up to [`load`](super::load()).

mod archive;
mod folder;
mod path;
mod unfit;
mod unpack;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

pub(super) use archive::ARCHIVE_BYTES_MAX;
pub use unfit::Unfit;

use crate::digest::hexadecimal;

/// A large pack has hundreds of files; with its dependencies checked in by mistake it has 100,000.
pub const ENTRIES_MAX: usize = 10_000;
/// Components made from interpreters reach 20 MB.
pub const ENTRY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A bundle is held in memory, and there may be a few at a time.
pub const BUNDLE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Text compresses to a tenth, source with much repetition to a fiftieth, a bomb to a thousandth.
pub const RATIO_MAX: u64 = 200;

/// Why files are no bundle, or a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The operating system refused to read.
    #[error("can't read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system refused to write.
    #[error("can't write {}", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither a tar archive nor a compressed one.
    #[error("{} is neither a .tar nor a .tar.gz archive", path.display())]
    NotAnArchive {
        /// The file.
        path: PathBuf,
    },
    /// An archive that ends too early or contradicts itself.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A path that leads, or could lead, out of the pack.
    #[error("`{path}` can't be the path of a file in a pack: {reason}")]
    InvalidPath {
        /// As read, made printable.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A symbolic or hard link.
    #[error("`{path}` is a link; packs hold files only")]
    Link {
        /// Relative to the pack.
        path: String,
    },
    /// A device, a pipe, a socket or a sparse file.
    #[error("`{path}` is neither a file nor a folder")]
    Special {
        /// Relative to the pack.
        path: String,
    },
    /// The same path twice.
    #[error("`{path}` is there twice")]
    Duplicate {
        /// Relative to the pack.
        path: String,
    },
    /// Two paths that are one on some file systems.
    #[error("`{path}` and `{other}` differ only in case")]
    CaseCollision {
        /// Relative to the pack.
        path: String,
        /// What was there first.
        other: String,
    },
    /// A path that is both a file and a folder.
    #[error("`{path}` is both a file and a folder")]
    FileAndFolder {
        /// Relative to the pack.
        path: String,
    },
    /// More than [`ENTRIES_MAX`] files.
    #[error("there are more than {ENTRIES_MAX} files")]
    TooManyEntries,
    /// A file of more than [`ENTRY_BYTES_MAX`].
    #[error("`{path}` has more than {} MiB", ENTRY_BYTES_MAX >> 20)]
    EntryTooLarge {
        /// Relative to the pack.
        path: String,
    },
    /// More than [`BUNDLE_BYTES_MAX`] in total.
    #[error("the files have more than {} MiB in total", BUNDLE_BYTES_MAX >> 20)]
    TooLarge,
    /// An archive that grows more than [`RATIO_MAX`] times when it is unpacked.
    #[error("{} grows more than {RATIO_MAX} times when it is unpacked", path.display())]
    Bomb {
        /// The archive.
        path: PathBuf,
    },
    /// Something else is where the bundle is to be unpacked.
    #[error("{} exists already, with other contents", destination.display())]
    DestinationDiffers {
        /// Where the bundle was to be unpacked.
        destination: PathBuf,
    },
}

/// A file of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleEntry {
    /// The contents.
    pub bytes: Cow<'static, [u8]>,
    /// Whether it may be executed.
    pub executable: bool,
}

/// The files of a pack, by relative path with `/` between names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    entries: BTreeMap<String, BundleEntry>,
    /// Files and folders by their lower-case paths, to find those that collide.
    folded: BTreeMap<String, Place>,
    bytes: u64,
    unfit: Vec<Unfit>,
}

/// What a path is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    path: String,
    folder: bool,
}

impl Bundle {
    /// Files that are in memory already: path, contents, whether it may be executed.
    pub fn from_files<P, B>(files: impl IntoIterator<Item = (P, B, bool)>) -> Result<Self, BundleError>
    where
        P: AsRef<str>,
        B: Into<Cow<'static, [u8]>>,
    {
        let mut bundle = Self::default();
        for (path, bytes, executable) in files {
            bundle.insert(path.as_ref(), BundleEntry { bytes: bytes.into(), executable })?;
        }
        Ok(bundle)
    }

    /// The file at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&BundleEntry> {
        self.entries.get(path)
    }

    /// Whether files are below the path.
    #[must_use]
    pub fn has_folder(&self, path: &str) -> bool {
        self.folded.get(&path.to_lowercase()).is_some_and(|place| place.folder && place.path == path)
    }

    /// All files, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BundleEntry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// What was found and can't be in a pack: a bundle that has any is no pack.
    #[must_use]
    pub fn unfit(&self) -> &[Unfit] {
        &self.unfit
    }

    /// Whether the path was found, and can't be in a pack.
    #[must_use]
    pub fn is_unfit(&self, path: &str) -> bool {
        self.unfit.iter().filter(|unfit| unfit.line.is_none()).any(|unfit| {
            path.strip_prefix(unfit.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// SHA-256 over paths, modes and contents, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(b"attune pack 1\n");
        for (path, BundleEntry { bytes, executable }) in &self.entries {
            // Lengths go first, so that no two lists of files give the same bytes.
            hasher.update((path.len() as u64).to_le_bytes());
            hasher.update(path.as_bytes());
            hasher.update([u8::from(*executable)]);
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        hexadecimal(&hasher.finalize())
    }

    fn insert(&mut self, path: &str, entry: BundleEntry) -> Result<(), BundleError> {
        path::check(path)?;
        let size = entry.bytes.len() as u64;
        if size > ENTRY_BYTES_MAX {
            return Err(BundleError::EntryTooLarge { path: path.to_owned() });
        }
        if self.entries.len() + self.unfit.len() >= ENTRIES_MAX {
            return Err(BundleError::TooManyEntries);
        }
        self.bytes += size;
        if self.bytes > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge);
        }
        for (slash, _) in path.match_indices('/') {
            let folder = path.get(..slash).unwrap_or_default();
            self.claim(Place { path: folder.to_owned(), folder: true })?;
        }
        self.claim(Place { path: path.to_owned(), folder: false })?;
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    /// Notes what is wrong with the file at `path`, and goes on; not with what is wrong with all of them.
    fn note(&mut self, path: &str, error: BundleError) -> Result<(), BundleError> {
        let Some(help) = unfit::help(&error) else { return Err(error) };
        let message = match &error {
            BundleError::Read { source, .. } => format!("the file can't be read: {source}"),
            other => other.to_string(),
        };
        self.note_unfit(Unfit { path: path.to_owned(), line: None, message, help })
    }

    fn note_unfit(&mut self, unfit: Unfit) -> Result<(), BundleError> {
        if self.entries.len() + self.unfit.len() >= ENTRIES_MAX {
            return Err(BundleError::TooManyEntries);
        }
        self.unfit.push(unfit);
        Ok(())
    }

    fn claim(&mut self, place: Place) -> Result<(), BundleError> {
        let folded = place.path.to_lowercase();
        match self.folded.get(&folded) {
            None => {
                self.folded.insert(folded, place);
                Ok(())
            }
            Some(first) if first.path != place.path => {
                Err(BundleError::CaseCollision { path: place.path, other: first.path.clone() })
            }
            Some(first) if first.folder != place.folder => {
                Err(BundleError::FileAndFolder { path: place.path })
            }
            Some(Place { folder: true, .. }) => Ok(()),
            Some(Place { folder: false, .. }) => Err(BundleError::Duplicate { path: place.path }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(files: &[(&str, &str, bool)]) -> Result<Bundle, BundleError> {
        Bundle::from_files(
            files.iter().map(|(path, text, executable)| (*path, text.as_bytes().to_vec(), *executable)),
        )
    }

    #[test]
    fn paths_that_collide() {
        for (paths, expected) in [
            (["a/b", "a/b"], "`a/b` is there twice"),
            (["README", "readme"], "`readme` and `README` differ only in case"),
            (["A/x", "a/y"], "`a` and `A` differ only in case"),
            (["ä", "Ä"], "`Ä` and `ä` differ only in case"),
            (["a", "a/b"], "`a` is both a file and a folder"),
            (["a/b", "a"], "`a` is both a file and a folder"),
        ] {
            let error = bundle(&paths.map(|path| (path, "", false))).expect_err("a collision");
            assert_eq!(error.to_string(), expected, "{paths:?}");
        }
    }

    #[test]
    fn limits() {
        let many = (0..=ENTRIES_MAX).map(|number| (format!("{number}"), Vec::new(), false));
        assert!(matches!(Bundle::from_files(many), Err(BundleError::TooManyEntries)));

        let too_large = vec![0; usize::try_from(ENTRY_BYTES_MAX).expect("a size") + 1];
        let large: &'static [u8] = Vec::leak(too_large);
        let result = Bundle::from_files([("a", large, false)]);
        assert!(matches!(result, Err(BundleError::EntryTooLarge { path }) if path == "a"));

        let allowed = &large[1..];
        let result = Bundle::from_files((0..5).map(|number| (number.to_string(), allowed, false)));
        assert!(matches!(result, Err(BundleError::TooLarge)));
    }

    #[test]
    fn digest_depends_on_everything() {
        let digests: Vec<_> = [
            bundle(&[]),
            bundle(&[("a", "", false)]),
            bundle(&[("a", "", true)]),
            bundle(&[("a", "b", false)]),
            bundle(&[("ab", "", false)]),
            bundle(&[("a", "", false), ("b", "", false)]),
        ]
        .into_iter()
        .map(|bundle| bundle.expect("a bundle").digest())
        .collect();
        for (index, digest) in digests.iter().enumerate() {
            assert_eq!(digest.len(), 64);
            assert!(!digests[..index].contains(digest), "{index}");
        }
    }

    proptest! {
        #[test]
        fn order_does_not_matter(names in proptest::collection::btree_set("[a-z]{1,8}(/[0-9]{1,8})?", 0..20)) {
            let files: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str(), false)).collect();
            let reversed: Vec<_> = files.iter().rev().copied().collect();
            match (bundle(&files), bundle(&reversed)) {
                (Ok(one), Ok(other)) => prop_assert_eq!(one.digest(), other.digest()),
                (Err(_), Err(_)) => {}
                (one, other) => prop_assert!(false, "{:?} and {:?}", one.is_ok(), other.is_ok()),
            }
        }
    }
}
