//! `attune pack remove`: what would go, and its going.

use super::no_pack;
use crate::cli::env::size_text;
use crate::cli::failure::{Exit, Failed};
use crate::cli::options::DryRun;
use crate::cli::output::Output;
use crate::pack::remove::{Plan, RemoveError, plan};
use crate::reference::PackRef;
use crate::store::change::ChangeError;
use crate::worker::Worker;

pub(super) async fn remove(
    worker: &Worker,
    pack: &PackRef,
    dry: DryRun,
    output: &Output,
) -> Result<(), Failed> {
    let plan = plan(worker, pack).await.map_err(|error| failed(pack, error))?;
    if dry.dry_run {
        print_plan(&plan, output)?;
        return plan.refusal().map_err(|error| failed(pack, error));
    }
    plan.carry_out(worker, None).await.map_err(|error| failed(pack, error))?;
    output.say(&format!("removed {pack}; its environments go when `attune env prune` needs their room"));
    Ok(())
}

/// Shows what would go, here or on a server.
pub(in crate::cli) fn print_plan(plan: &Plan, output: &Output) -> std::io::Result<()> {
    output.plan(plan, || text(plan))
}

fn text(plan: &Plan) -> String {
    let runtimes = plan.runtimes.iter().map(ToString::to_string).collect::<Vec<_>>();
    let lists = [
        ("runtimes", &runtimes),
        ("actions", &plan.actions),
        ("sensors", &plan.sensors),
        ("components", &plan.components),
    ];
    let lists = lists.into_iter().filter(|(_, items)| !items.is_empty());
    let lists =
        lists.map(|(name, items)| format!("{name}: {}\n", items.join(", "))).collect::<Vec<_>>().concat();
    let (pack, version, folder) = (&plan.pack, &plan.version, plan.folder.display());
    format!("would remove {pack} {version}\n{lists}files: {folder} ({})\n", size_text(plan.bytes))
}

fn failed(pack: &PackRef, error: RemoveError) -> Failed {
    match error {
        RemoveError::Change(ChangeError::NotFound { .. }) => no_pack(pack),
        RemoveError::Change(ChangeError::InUse { .. }) => {
            Failed::new(Exit::Input, error).hint("remove the packs that need it first")
        }
        RemoveError::Embedded { .. } => Failed::new(Exit::Input, error)
            .hint("install a pack of that name in its place, if it is to be another"),
        RemoveError::Change(_) | RemoveError::Folder { .. } => Failed::new(Exit::Failure, error),
    }
}
