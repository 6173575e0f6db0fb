//! `attune pack remove`: what would go, and its going.

use std::path::PathBuf;

use serde::Serialize;

use super::no_pack;
use crate::cli::env::size_text;
use crate::cli::failure::{Exit, Failed};
use crate::cli::options::DryRun;
use crate::cli::output::Output;
use crate::environment::collect;
use crate::pack::embedded;
use crate::reference::{PackRef, RuntimeRef};
use crate::store::change::{ChangeError, Kind};
use crate::worker::Worker;

/// What removing a pack takes away.
#[derive(Serialize)]
struct Plan {
    pack: PackRef,
    version: String,
    runtimes: Vec<RuntimeRef>,
    actions: Vec<String>,
    sensors: Vec<String>,
    components: Vec<String>,
    /// Where its files are on this machine.
    folder: PathBuf,
    bytes: u64,
    /// What of other packs needs it, so that it is not removed.
    needed_by: Vec<String>,
}

impl Plan {
    async fn new(worker: &Worker, pack: &PackRef) -> Result<Self, Failed> {
        let store = &worker.store;
        let installed = store.pack(pack).await?.ok_or_else(|| no_pack(pack))?;
        if embedded::is_embedded(&installed.source) {
            let message = format!("`{pack}` comes with Attune and would be installed again");
            return Err(Failed::message(Exit::Input, message)
                .hint("install a pack of that name in its place, if it is to be another"));
        }
        let (actions, sensors) = (store.actions(Some(pack)).await?, store.sensors(Some(pack)).await?);
        let folder = worker.settings.packs_dir.join(pack.as_str());
        Ok(Self {
            pack: pack.clone(),
            version: installed.version,
            runtimes: store.runtimes_of(pack).await?,
            actions: actions.into_iter().map(|row| row.action.reference.to_string()).collect(),
            sensors: sensors.into_iter().map(|row| row.sensor.reference.to_string()).collect(),
            components: store.plugins_of(pack).await?.into_iter().map(|row| row.name).collect(),
            bytes: collect::bytes(&folder),
            folder,
            needed_by: store.users_of_pack(pack).await.map_err(|error| failed(pack, error))?,
        })
    }

    fn text(&self) -> String {
        let runtimes = self.runtimes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lists = [
            ("runtimes", &runtimes),
            ("actions", &self.actions),
            ("sensors", &self.sensors),
            ("components", &self.components),
        ];
        let lists = lists.into_iter().filter(|(_, items)| !items.is_empty());
        let lists =
            lists.map(|(name, items)| format!("{name}: {}\n", items.join(", "))).collect::<Vec<_>>().concat();
        let (pack, version, folder) = (&self.pack, &self.version, self.folder.display());
        format!("would remove {pack} {version}\n{lists}files: {folder} ({})\n", size_text(self.bytes))
    }
}

pub(super) async fn remove(
    worker: &Worker,
    pack: &PackRef,
    dry: DryRun,
    output: &Output,
) -> Result<(), Failed> {
    let plan = Plan::new(worker, pack).await?;
    if dry.dry_run {
        output.plan(&plan, || plan.text())?;
        if plan.needed_by.is_empty() {
            return Ok(());
        }
        let error = ChangeError::InUse { kind: Kind::Pack, name: pack.to_string(), users: plan.needed_by };
        return Err(failed(pack, error));
    }
    worker.store.remove_pack(pack, None).await.map_err(|error| failed(pack, error))?;
    if plan.folder.exists() {
        std::fs::remove_dir_all(&plan.folder).map_err(|error| {
            let context = format!("can't remove `{}`", plan.folder.display());
            Failed::new(Exit::Failure, anyhow::Error::new(error).context(context))
        })?;
    }
    output.say(&format!("removed {pack}; its environments go when `attune env prune` needs their room"));
    Ok(())
}

fn failed(pack: &PackRef, error: ChangeError) -> Failed {
    match error {
        ChangeError::NotFound { .. } => no_pack(pack),
        ChangeError::InUse { .. } => {
            Failed::new(Exit::Input, error).hint("remove the packs that need it first")
        }
        error => Failed::new(Exit::Failure, error),
    }
}
