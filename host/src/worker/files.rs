//! The files of installed packs on this machine: where they are, getting those that another worker installed, and
//! mending those that are damaged or gone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::Worker;
use crate::digest::hexadecimal;
use crate::environment::layout::Layout;
use crate::environment::stage::stages;
use crate::pack::bundle::{Bundle, BundleError};
use crate::pack::bundles::{Bundles, BundlesError};
use crate::pack::component_name;
use crate::pack::embedded::embedded;
use crate::plugin::ComponentSource;
use crate::reference::PackRef;
use crate::store::StoreError;

/// How long a pack whose files were looked through is believed to be whole, whatever fails.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Why what an installed pack ships is not on this machine.
#[derive(Debug, thiserror::Error)]
#[error("{} of the pack `{pack}` {}: {source}", lost.subject(), lost.predicate())]
pub struct MissingFiles {
    /// The pack.
    pub pack: PackRef,
    /// What is missed.
    pub lost: Box<Lost>,
    #[source]
    pub source: FilesError,
}

/// What of a pack is missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// All of it, or nobody knows what.
    Files,
    /// This file.
    File(String),
    /// The component of this name.
    Component(String),
}

impl Lost {
    fn subject(&self) -> String {
        match self {
            Self::Files => "the files".to_owned(),
            Self::File(path) => format!("the file `{path}`"),
            Self::Component(name) => format!("the component `{name}`"),
        }
    }

    fn predicate(&self) -> &'static str {
        match self {
            Self::Files => "are not on this machine as they were installed",
            Self::File(_) | Self::Component(_) => "is not on this machine as it was installed",
        }
    }
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
            self.fetch(pack, digest, Lost::Files).await?;
        }
        Ok(folder)
    }

    /// The same, for whoever needs this `file` of them.
    pub(crate) async fn pack_files_with(
        &self,
        pack: &PackRef,
        digest: &str,
        file: &str,
    ) -> Result<PathBuf, MissingFiles> {
        let folder = self.pack_folder(pack, digest);
        if !folder.join(file).is_file() {
            let lost = if folder.is_dir() { Lost::File(file.to_owned()) } else { Lost::Files };
            self.fetch(pack, digest, lost).await?;
        }
        Ok(folder)
    }

    /// Where the files of an installed pack belong on this machine.
    #[must_use]
    pub fn pack_folder(&self, pack: &PackRef, digest: &str) -> PathBuf {
        self.settings.packs_dir.join(pack.as_str()).join(digest)
    }

    /// Gets a component, if it is not there and a pack that is installed has it.
    pub(crate) async fn component_files(&self, component: &ComponentSource) -> Result<(), MissingFiles> {
        if component_path(&self.settings.components_dir(), &component.sha256).is_file() {
            return Ok(());
        }
        self.fetch_component(component).await
    }

    /// Gets a component anew, if a pack that is installed has it.
    pub(super) async fn fetch_component(&self, component: &ComponentSource) -> Result<(), MissingFiles> {
        let lost = Lost::Component(component.name.clone());
        let packs = self.store.packs_with_component(&component.sha256).await.map_err(|error| {
            MissingFiles { pack: component.pack.clone(), lost: Box::new(lost.clone()), source: error.into() }
        })?;
        let mut outcome = Ok(());
        for (pack, digest) in packs {
            outcome = self.fetch(&pack, &digest, lost.clone()).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Looks at every file of an installed pack, components too, and writes anew those that are not as they were
    /// installed. Their paths in the pack; none if the pack was not on this machine at all.
    pub async fn mend(&self, pack: &PackRef, digest: &str, lost: Lost) -> Result<Vec<String>, MissingFiles> {
        let folder = self.pack_folder(pack, digest);
        let mended = async {
            let bundle = self.bundle(&folder, digest).await?;
            let components = self.settings.components_dir();
            let (layout, digest) = (Layout::new(&self.settings.runtime_envs_dir), digest.to_owned());
            let mended =
                spawn_blocking(move || restore(&bundle, &folder, &components, &stages(&layout, &digest)));
            let mended = mended.await;
            mended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        };
        let mended = mended.await.map_err(|source| MissingFiles {
            pack: pack.clone(),
            lost: Box::new(lost),
            source,
        })?;
        if !mended.is_empty() {
            tracing::warn!("mended what was damaged or gone of the pack `{pack}`: {}", mended.join(", "));
        }
        Ok(mended)
    }

    /// What was damaged or gone of a pack whose action has failed, for whoever looks for the reason; it is mended now.
    /// What fails again and again makes nobody read all files again and again.
    pub(crate) async fn mend_after_failure(&self, pack: &PackRef, digest: &str) -> Option<String> {
        {
            let mut looked = self.looked_through.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.get(digest).is_some_and(|time| time.elapsed() < LOOK_AGAIN) {
                return None;
            }
            looked.insert(digest.to_owned(), Instant::now());
        }
        match self.mend(pack, digest, Lost::Files).await {
            Ok(mended) if mended.is_empty() => None,
            Ok(mended) => Some(format!(
                "files of the pack were damaged or gone while it ran, and are mended now: {}",
                mended.join(", ")
            )),
            Err(error) => Some(error.to_string()),
        }
    }

    async fn fetch(&self, pack: &PackRef, digest: &str, lost: Lost) -> Result<(), MissingFiles> {
        if self.mend(pack, digest, lost).await?.is_empty() {
            tracing::info!(pack.r#ref = %pack, pack.digest = %digest, "fetched a pack");
        }
        Ok(())
    }

    /// A bundle by its digest: the unpacked one if it is whole, or the one that is kept for all workers, or the one
    /// that the binary carries.
    async fn bundle(&self, folder: &Path, digest: &str) -> Result<Bundle, FilesError> {
        let (unpacked, wanted) = (folder.to_owned(), digest.to_owned());
        let whole =
            spawn_blocking(move || Bundle::unpacked(&unpacked).ok().filter(|it| it.digest() == wanted));
        if let Ok(Some(bundle)) = whole.await {
            return Ok(bundle);
        }
        let fetched = match Bundles::open(&self.settings.bundles) {
            Ok(bundles) => bundles.fetch(digest).await,
            Err(error) => Err(error),
        };
        fetched.or_else(|error| {
            let mut carried = embedded().iter().filter_map(|pack| pack.bundle().ok());
            carried.find(|bundle| bundle.digest() == digest).ok_or_else(|| Box::new(error).into())
        })
    }
}

/// Writes anew what is not as it is in the bundle. The components come first: whoever sees the pack's folder need not
/// look for them.
fn restore(
    bundle: &Bundle,
    folder: &Path,
    components: &Path,
    stages: &[PathBuf],
) -> Result<Vec<String>, FilesError> {
    let is_new = !folder.is_dir();
    let mut mended = Vec::new();
    for (path, entry) in bundle.iter().filter(|(path, _)| component_name(path).is_some()) {
        let sha256 = hexadecimal(&Sha256::digest(&entry.bytes));
        let written = keep_component(components, &sha256, &entry.bytes)
            .map_err(|source| FilesError::Component { path: components.to_owned(), source })?;
        if written {
            mended.push(path.to_owned());
        }
    }
    mended.extend(bundle.restore(folder).map_err(Box::new)?);
    // They may share what was damaged.
    for stage in stages.iter().filter(|stage| stage.is_dir()) {
        mended.extend(bundle.restore(stage).map_err(Box::new)?);
    }
    mended.sort();
    mended.dedup();
    Ok(if is_new { Vec::new() } else { mended })
}

/// Keeps a component under its digest. Whether it had to be written.
pub(crate) fn keep_component(folder: &Path, sha256: &str, wasm: &[u8]) -> io::Result<bool> {
    let path = component_path(folder, sha256);
    if fs::read(&path).is_ok_and(|kept| kept == wasm) {
        return Ok(false);
    }
    fs::create_dir_all(folder)?;
    let aside = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(aside.path(), wasm)?;
    aside.as_file().sync_all()?;
    aside.persist(&path).map_err(|error| error.error)?;
    Ok(true)
}

/// Where a component is kept.
pub(super) fn component_path(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(format!("{sha256}.wasm"))
}
