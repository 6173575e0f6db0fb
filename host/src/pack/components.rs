//! Components of installed packs, as the API and the command line show them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::reference::PackRef;
use crate::store::Result;
use crate::store::pack::PluginRow;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

/// A component of an installed pack.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Plugin)]
pub struct InstalledComponent {
    /// Pack and name.
    pub r#ref: String,
    pub sha256: String,
    /// Bytes.
    pub size: i64,
    /// The contract's version that it is built for, if it can be told.
    pub contract_version: Option<String>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// What says that it is the one that is meant.
    pub vouched: String,
    /// The runtimes that it serves.
    pub runtimes: Vec<String>,
}

impl InstalledComponent {
    /// Those of all packs, by reference.
    pub async fn all(worker: &Worker) -> Result<Vec<Self>> {
        let runtimes = worker.store.runtimes().await?;
        let mut components = Vec::new();
        for pack in worker.store.packs().await? {
            components.extend(of_pack(worker, &pack.reference, &runtimes).await?);
        }
        Ok(components)
    }

    /// The one that is called so, if there is one.
    pub async fn find(worker: &Worker, reference: &str) -> Result<Option<Self>> {
        let pack = reference.split_once('.').and_then(|(pack, _)| pack.parse::<PackRef>().ok());
        let Some(pack) = pack else { return Ok(None) };
        let runtimes = worker.store.runtimes().await?;
        let components = of_pack(worker, &pack, &runtimes).await?;
        Ok(components.into_iter().find(|component| component.r#ref == reference))
    }
}

async fn of_pack(
    worker: &Worker,
    pack: &PackRef,
    runtimes: &[RuntimeRow],
) -> Result<Vec<InstalledComponent>> {
    let mut components = Vec::new();
    for PluginRow { sha256, name, size, contract_version, imports, exports } in
        worker.store.plugins_of(pack).await?
    {
        let serves = |row: &&RuntimeRow| row.plugin.as_ref().is_some_and(|plugin| plugin.sha256 == sha256);
        components.push(InstalledComponent {
            r#ref: format!("{pack}.{name}"),
            runtimes: runtimes.iter().filter(serves).map(|row| row.runtime.reference.to_string()).collect(),
            vouched: worker.store.voucher(pack, &name, &sha256).await?.to_string(),
            sha256,
            size,
            contract_version,
            imports,
            exports,
        });
    }
    Ok(components)
}
