//! Removing a pack: what would go, and its going.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::embedded;
use crate::environment::collect;
use crate::reference::{PackRef, RuntimeRef};
use crate::store::StoreError;
use crate::store::change::{ChangeError, Kind, Revision};
use crate::worker::Worker;

/// What removing a pack takes away. Nothing was done yet.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    #[schema(value_type = String)]
    pub pack: PackRef,
    pub version: String,
    #[schema(value_type = Vec<String>)]
    pub runtimes: Vec<RuntimeRef>,
    pub actions: Vec<String>,
    pub sensors: Vec<String>,
    pub components: Vec<String>,
    /// Where its files are on this machine.
    #[schema(value_type = String)]
    pub folder: PathBuf,
    pub bytes: u64,
    /// What of other packs needs it, so that it is not removed.
    pub needed_by: Vec<String>,
}

/// Why a pack can't be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none, or others need it.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The binary carries it.
    #[error("`{pack}` comes with Attune and would be installed again")]
    Embedded { pack: PackRef },
    /// It is removed, and its files are still on this machine.
    #[error("can't remove `{}`: {source}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl From<StoreError> for RemoveError {
    fn from(error: StoreError) -> Self {
        Self::Change(error.into())
    }
}

/// Finds out what removing a pack would take away.
pub async fn plan(worker: &Worker, pack: &PackRef) -> Result<Plan, RemoveError> {
    let store = &worker.store;
    let none = || ChangeError::NotFound { kind: Kind::Pack, name: pack.to_string() };
    let installed = store.pack(pack).await?.ok_or_else(none)?;
    if embedded::is_embedded(&installed.source) {
        return Err(RemoveError::Embedded { pack: pack.clone() });
    }
    let (actions, sensors) = (store.actions(Some(pack)).await?, store.sensors(Some(pack)).await?);
    let folder = worker.settings.packs_dir.join(pack.as_str());
    Ok(Plan {
        pack: pack.clone(),
        version: installed.version,
        runtimes: store.runtimes_of(pack).await?,
        actions: actions.into_iter().map(|row| row.declared.reference.to_string()).collect(),
        sensors: sensors.into_iter().map(|row| row.declared.reference.to_string()).collect(),
        components: store.plugins_of(pack).await?.into_iter().map(|row| row.name).collect(),
        bytes: collect::bytes(&folder),
        folder,
        needed_by: store.users_of_pack(pack).await?,
    })
}

impl Plan {
    /// That others need it, if they do.
    pub fn refusal(&self) -> Result<(), RemoveError> {
        if self.needed_by.is_empty() {
            return Ok(());
        }
        let (name, users) = (self.pack.to_string(), self.needed_by.clone());
        Err(ChangeError::InUse { kind: Kind::Pack, name, users }.into())
    }

    /// Does it; with `expected`, only in that state.
    pub async fn carry_out(self, worker: &Worker, expected: Option<Revision>) -> Result<(), RemoveError> {
        worker.store.remove_pack(&self.pack, expected).await?;
        match std::fs::remove_dir_all(&self.folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RemoveError::Folder { path: self.folder, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
