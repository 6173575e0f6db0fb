//! The files of installed packs on this machine: where they are, and getting those that another worker installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Worker;
use crate::digest::hexadecimal;
use crate::pack::bundle::BundleError;
use crate::pack::bundles::{Bundles, BundlesError};
use crate::pack::component_name;
use crate::reference::PackRef;
use crate::store::StoreError;

/// Why the files of an installed pack are not on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the files of the pack `{pack}` are not on this machine: {source}")]
pub struct MissingFiles {
    /// The pack.
    pub pack: PackRef,
    #[source]
    pub source: FilesError,
}

/// What went wrong with them.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// They can't be fetched.
    #[error(transparent)]
    Bundles(#[from] Box<BundlesError>),
    /// They can't be written.
    #[error(transparent)]
    Bundle(#[from] Box<BundleError>),
    /// A component can't be written.
    #[error("can't write a component to `{}`: {source}", path.display())]
    Component {
        /// Where.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Worker {
    /// The folder of an installed pack's files, which may have to be fetched first.
    pub(crate) async fn pack_files(&self, pack: &PackRef, digest: &str) -> Result<PathBuf, MissingFiles> {
        let folder = self.pack_folder(pack, digest);
        if !folder.is_dir() {
            self.fetch(pack, digest).await?;
        }
        Ok(folder)
    }

    /// Where the files of an installed pack belong on this machine.
    #[must_use]
    pub fn pack_folder(&self, pack: &PackRef, digest: &str) -> PathBuf {
        self.settings.packs_dir.join(pack.as_str()).join(digest)
    }

    /// Gets the component with a digest, if it is not there and a pack that is installed has it.
    pub(super) async fn component_files(&self, pack: &PackRef, sha256: &str) -> Result<(), MissingFiles> {
        if component_path(&self.settings.components_dir(), sha256).is_file() {
            return Ok(());
        }
        let failed = |error: StoreError| MissingFiles { pack: pack.clone(), source: error.into() };
        let mut outcome = Ok(());
        for (pack, digest) in self.store.packs_with_component(sha256).await.map_err(failed)? {
            outcome = self.fetch(&pack, &digest).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn fetch(&self, pack: &PackRef, digest: &str) -> Result<(), MissingFiles> {
        let fetched = async {
            let bundles = Bundles::open(&self.settings.bundles).map_err(Box::new)?;
            let bundle = bundles.fetch(digest).await.map_err(Box::new)?;
            // Before the pack: whoever sees its folder need not look for its components.
            let components = self.settings.components_dir();
            for (_, entry) in bundle.iter().filter(|(path, _)| component_name(path).is_some()) {
                let sha256 = hexadecimal(&Sha256::digest(&entry.bytes));
                keep_component(&components, &sha256, &entry.bytes)
                    .map_err(|source| FilesError::Component { path: components.clone(), source })?;
            }
            bundle.unpack(&self.pack_folder(pack, digest)).map_err(Box::new)?;
            Ok(())
        };
        fetched.await.map_err(|source| MissingFiles { pack: pack.clone(), source })?;
        tracing::info!(pack.r#ref = %pack, pack.digest = %digest, "fetched a pack");
        Ok(())
    }
}

/// Keeps a component under its digest.
pub(crate) fn keep_component(folder: &Path, sha256: &str, wasm: &[u8]) -> io::Result<()> {
    let path = component_path(folder, sha256);
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let aside = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(aside.path(), wasm)?;
    aside.as_file().sync_all()?;
    aside.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Where a component is kept.
pub(super) fn component_path(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(format!("{sha256}.wasm"))
}
