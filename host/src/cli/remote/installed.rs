//! What is installed on a server: `attune pack`, `attune runtime`, `attune worker list`.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::not_there;
use crate::cli::failure::{Exit, Failed};
use crate::cli::fleet;
use crate::cli::output::{Output, table};
use crate::cli::pack::show::{given, head, programs};
use crate::cli::pack::{self, Pack};
use crate::cli::runtime::{Known, Runtime};
use crate::client::{Client, Page};
use crate::printable::printable;
use crate::reference::PackRef;
use crate::shape::object;
use crate::store::pack::PackRow;

/// As many actions of a pack as are shown.
const PROGRAMS_MAX: usize = 10_000;

pub(super) async fn workers(client: &Client, output: &Output) -> Result<Exit, Failed> {
    #[derive(Deserialize)]
    struct Worker {
        #[serde(flatten)]
        shown: fleet::Shown,
        live: bool,
    }
    let workers = client.get::<Page<Worker>>(&["workers"], &[]).await?.items.into_iter();
    let workers = workers.map(|Worker { shown, live }| shown.heard_of(live)).collect::<Vec<_>>();
    fleet::print(&workers, output)?;
    Ok(Exit::Success)
}

pub(super) async fn runtime(client: &Client, command: Runtime, output: &Output) -> Result<Exit, Failed> {
    match command {
        Runtime::List => {
            let runtimes = client.get::<Page<Known>>(&["runtimes"], &[]).await?.items;
            output.data(&runtimes, || {
                table(
                    ["RUNTIME", "LABEL", "ALIASES", "VERSIONS"],
                    runtimes.iter().map(|known| known.row(output)),
                )
            })?;
        }
        Runtime::Show { runtime } => {
            #[derive(Serialize, Deserialize)]
            struct Shown {
                #[serde(flatten)]
                known: Known,
                description: Option<String>,
                #[serde(serialize_with = "object")]
                constraint_aliases: Vec<(String, String)>,
                #[serde(rename(serialize = "plugin"))]
                component: Option<String>,
            }
            let shown = client.get::<Shown>(&["runtimes", &runtime], &[]).await?;
            output.data(&shown, || {
                let mut text = shown.known.text(shown.description.as_deref(), &shown.constraint_aliases);
                if let Some(component) = &shown.component {
                    // Writing to a string can't fail.
                    let _ = writeln!(text, "{:<14}{}", "component", printable(component));
                }
                text
            })?;
        }
        Runtime::Detect { .. } | Runtime::Verify { .. } => {
            return Err(not_there(
                "what is installed is looked for on this machine, and can't be on that of a server",
            ));
        }
    }
    Ok(Exit::Success)
}

/// An action or a sensor in a list.
#[derive(Serialize, Deserialize)]
struct Program {
    r#ref: String,
    label: String,
    runtime: String,
    runtime_version_constraint: Option<String>,
}

impl Program {
    fn row(&self) -> [String; 4] {
        let plain = |text: &str| printable(text).into_owned();
        let constraint = given(self.runtime_version_constraint.as_deref().map(plain));
        [plain(&self.r#ref), plain(&self.runtime), constraint, plain(&self.label)]
    }
}

/// What a pack ships, as `--json` shows it.
#[derive(Serialize)]
struct Shipped {
    #[serde(flatten)]
    pack: PackRow,
    runtimes: Vec<String>,
    actions: Vec<Program>,
    sensors: Vec<Program>,
}

pub(super) async fn pack(client: &Client, command: Pack, output: &Output) -> Result<Exit, Failed> {
    match command {
        Pack::List => {
            let packs = client.get::<Page<PackRow>>(&["packs"], &[]).await?.items;
            pack::print_list(&packs, output)?;
        }
        Pack::Show { pack } => {
            let shipped = shipped(client, &pack).await?;
            output.data(&shipped, || describe(&shipped))?;
        }
        Pack::Install { .. }
        | Pack::Validate { .. }
        | Pack::Remove { .. }
        | Pack::Lock { .. }
        | Pack::Sign { .. }
        | Pack::New { .. } => return Err(not_there("this can't be asked of a server")),
    }
    Ok(Exit::Success)
}

async fn shipped(client: &Client, pack: &PackRef) -> Result<Shipped, Failed> {
    let row = client.get::<PackRow>(&["packs", pack.as_str()], &[]).await?;
    let of_pack = [("pack", pack.to_string())];
    let actions = client.list(&["actions"], &of_pack, (None, PROGRAMS_MAX)).await?;
    let sensors = client.list(&["sensors"], &of_pack, (None, PROGRAMS_MAX)).await?;
    let runtimes = client.get::<Page<Known>>(&["runtimes"], &[]).await?.items.into_iter();
    let is_own = |name: &String| name.split_once('.').is_some_and(|(of, _)| of == pack.as_str());
    let runtimes = runtimes.map(|known| known.reference).filter(is_own).collect();
    Ok(Shipped { pack: row, runtimes, actions, sensors })
}

fn describe(shipped: &Shipped) -> String {
    let mut text = head(&shipped.pack);
    for runtime in &shipped.runtimes {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:<14}{}", "runtime", printable(runtime));
    }
    for (heading, items) in [("ACTION", &shipped.actions), ("SENSOR", &shipped.sensors)] {
        if !items.is_empty() {
            text.push('\n');
            text += &programs(heading, items.iter().map(Program::row));
        }
    }
    text
}
