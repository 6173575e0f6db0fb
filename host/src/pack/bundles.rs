//! Where the bundles of installed packs are kept for every worker: by digest, in a folder or a bucket.
//!
//! What is fetched counts only if it has the digest that was asked for, so nobody has to trust the place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::task::spawn_blocking;

use super::bundle::{ARCHIVE_BYTES_MAX, Bundle, BundleError};

/// A folder or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundlesLocation {
    /// One that all workers see, if there are several.
    Folder(PathBuf),
    /// `s3://bucket/path`. Credentials, region and endpoint are in variables: `AWS_ACCESS_KEY_ID`, …
    Bucket(String),
}

impl FromStr for BundlesLocation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(bucket) = text.strip_prefix("s3://") {
            let name = bucket.split('/').next().unwrap_or_default();
            return if name.is_empty() { Err(()) } else { Ok(Self::Bucket(text.to_owned())) };
        }
        let path = Path::new(text.strip_prefix("file://").unwrap_or(text));
        if path.is_absolute() { Ok(Self::Folder(path.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for BundlesLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(formatter),
            Self::Bucket(url) => formatter.write_str(url),
        }
    }
}

/// Why a bundle can't be kept or fetched.
#[derive(Debug, thiserror::Error)]
pub enum BundlesError {
    /// The place can't be used, or not now.
    #[error("can't use `{location}` for bundles: {}", brief(source))]
    Unusable {
        /// The folder or bucket.
        location: BundlesLocation,
        #[source]
        source: object_store::Error,
    },
    /// The folder can't be made.
    #[error("can't make the folder `{location}` for bundles: {source}")]
    Folder {
        /// The folder.
        location: BundlesLocation,
        #[source]
        source: std::io::Error,
    },
    /// Nobody has put it there.
    #[error(
        "there is no bundle {} in `{location}`: let `bundles` be a place that all workers share, and install the pack \
         again",
        &digest[..12.min(digest.len())]
    )]
    Missing {
        /// Of the bundle.
        digest: String,
        /// The folder or bucket.
        location: BundlesLocation,
    },
    /// What is there under this digest has another one.
    #[error("the bundle {} in `{location}` is not what it was: install the pack again", &digest[..12.min(digest.len())])]
    Changed {
        /// That it should have.
        digest: String,
        /// The folder or bucket.
        location: BundlesLocation,
    },
    /// It can't be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It can't be written.
    #[error("can't make an archive: {0}")]
    Archive(#[source] std::io::Error),
}

/// What is wrong, without the body of a server's answer.
fn brief(error: &object_store::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// An open folder or bucket.
#[derive(Debug)]
pub struct Bundles {
    location: BundlesLocation,
    objects: Arc<dyn ObjectStore>,
    /// Before every key.
    prefix: Key,
}

impl Bundles {
    /// Opens the place; a folder is made if it isn't there.
    pub fn open(location: &BundlesLocation) -> Result<Self, BundlesError> {
        let unusable = |source| BundlesError::Unusable { location: location.clone(), source };
        let (objects, prefix): (Arc<dyn ObjectStore>, Key) = match location {
            BundlesLocation::Folder(path) => {
                std::fs::create_dir_all(path)
                    .map_err(|source| BundlesError::Folder { location: location.clone(), source })?;
                let folder = LocalFileSystem::new_with_prefix(path).map_err(unusable)?;
                (Arc::new(folder.with_fsync(true)), Key::default())
            }
            BundlesLocation::Bucket(url) => {
                // Whoever uses this library first says whose cryptography it uses.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let path = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
                let prefix = Key::from(path.map_or("", |(_, path)| path));
                let bucket = AmazonS3Builder::from_env().with_url(url).build().map_err(unusable)?;
                (Arc::new(bucket), prefix)
            }
        };
        Ok(Self { location: location.clone(), objects, prefix })
    }

    /// Keeps a bundle under its digest. One that is there already is replaced: it may be damaged.
    pub async fn keep(&self, digest: &str, bundle: &Bundle) -> Result<(), BundlesError> {
        let bundle = bundle.clone();
        let archive = blocking(move || bundle.to_archive()).await.map_err(BundlesError::Archive)?;
        self.objects.put(&self.key(digest), archive.into()).await.map_err(|source| self.unusable(source))?;
        Ok(())
    }

    /// The bundle with a digest.
    pub async fn fetch(&self, digest: &str) -> Result<Bundle, BundlesError> {
        let key = self.key(digest);
        let found = match self.objects.get(&key).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(BundlesError::Missing {
                    digest: digest.to_owned(),
                    location: self.location.clone(),
                });
            }
            Err(source) => return Err(self.unusable(source)),
        };
        if found.meta.size > ARCHIVE_BYTES_MAX {
            return Err(BundleError::TooLarge.into());
        }
        let archive = found.bytes().await.map_err(|source| self.unusable(source))?;
        let name = PathBuf::from(format!("{}/{key}", self.location));
        let read = blocking(move || {
            let bundle = Bundle::from_archive_bytes(&archive, &name)?;
            let digest = bundle.digest();
            Ok::<_, BundleError>((bundle, digest))
        });
        let (bundle, actual) = read.await?;
        if actual == digest {
            return Ok(bundle);
        }
        Err(BundlesError::Changed { digest: digest.to_owned(), location: self.location.clone() })
    }

    fn key(&self, digest: &str) -> Key {
        self.prefix.clone().join("packs").join(digest)
    }

    fn unusable(&self, source: object_store::Error) -> BundlesError {
        BundlesError::Unusable { location: self.location.clone(), source }
    }
}

/// Away from the thread that keeps leases.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(text: &'static str) -> Bundle {
        Bundle::from_files([("pack.yaml", text.as_bytes(), false)]).expect("a bundle")
    }

    #[test]
    fn locations() {
        let folder = |path: &str| Ok(BundlesLocation::Folder(path.into()));
        let bucket = |url: &str| Ok(BundlesLocation::Bucket(url.to_owned()));
        for (text, expected) in [
            ("/srv/bundles", folder("/srv/bundles")),
            ("file:///srv/bundles", folder("/srv/bundles")),
            ("s3://packs", bucket("s3://packs")),
            ("s3://packs/of/us", bucket("s3://packs/of/us")),
            ("s3://", Err(())),
            ("s3:///x", Err(())),
            ("bundles", Err(())),
            ("https://x", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn only_what_has_its_digest_is_given_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let bundles = Bundles::open(&BundlesLocation::Folder(folder.path().join("new"))).expect("opened");
        let (one, other) = (bundle("one"), bundle("other"));
        bundles.keep(&one.digest(), &one).await.expect("kept");
        assert_eq!(bundles.fetch(&one.digest()).await.expect("fetched"), one);
        let missing = bundles.fetch(&other.digest()).await.expect_err("nobody has put it there");
        assert!(matches!(missing, BundlesError::Missing { .. }), "{missing}");

        // Somebody writes into the folder.
        bundles.keep(&one.digest(), &other).await.expect("kept");
        let changed = bundles.fetch(&one.digest()).await.expect_err("it is another");
        assert!(matches!(changed, BundlesError::Changed { .. }), "{changed}");
        let path = folder.path().join("new/packs").join(one.digest());
        for rubbish in [&b"rubbish"[..], &[0x1f, 0x8b, 8, 0]] {
            std::fs::write(&path, rubbish).expect("written");
            let error = bundles.fetch(&one.digest()).await.expect_err("rubbish");
            assert!(matches!(error, BundlesError::Bundle(_)), "{error}");
        }
        bundles.keep(&one.digest(), &one).await.expect("mended");
        assert_eq!(bundles.fetch(&one.digest()).await.expect("fetched"), one);
    }
}
