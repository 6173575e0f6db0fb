//! What is installed on a server: `attune runtime`, `attune env`, `attune worker list`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::installations;
use crate::cli::env::{NONE, size_text, state_text};
use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::cli::runtime::{Known, Runtime};
use crate::cli::table::table;
use crate::client::Client;
use crate::printable::printable;

pub(super) async fn runtime(client: &Client, command: Runtime, output: &Output) -> Result<Exit, Failed> {
    match command {
        Runtime::List => {
            let runtimes = client.all::<Known>(&["runtimes"]).await?;
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
                constraint_aliases: BTreeMap<String, String>,
                #[serde(rename(serialize = "plugin"))]
                component: Option<String>,
            }
            let shown = client.get::<Shown>(&["runtimes", &runtime], &[]).await?;
            output.data(&shown, || {
                let aliases = shown.constraint_aliases.clone().into_iter().collect::<Vec<_>>();
                let mut text = shown.known.text(shown.description.as_deref(), &aliases);
                if let Some(component) = &shown.component {
                    // Writing to a string can't fail.
                    let _ = writeln!(text, "{:<14}{}", "component", printable(component));
                }
                text
            })?;
        }
        Runtime::Detect { runtime, again } => {
            return installations::show(client, runtime.as_deref(), again, output).await;
        }
        Runtime::Verify { runtime } => {
            return installations::show(client, runtime.as_deref(), true, output).await;
        }
    }
    Ok(Exit::Success)
}

/// An environment of a worker.
#[derive(Serialize, Deserialize)]
struct Environment {
    worker: String,
    pack: String,
    runtime: String,
    runtime_version: String,
    path: String,
    #[serde(rename(serialize = "state"))]
    status: String,
    #[serde(rename(serialize = "bytes"))]
    size: Option<u64>,
    error: Option<String>,
    last_used_at: DateTime<Utc>,
}

pub(super) async fn environments(client: &Client, output: &Output) -> Result<Exit, Failed> {
    let environments = client.all::<Environment>(&["environments"]).await?;
    output.data(&environments, || {
        if environments.is_empty() {
            return NONE.to_owned();
        }
        table(
            ["WORKER", "ENVIRONMENT", "STATE", "SIZE", "LAST USED"],
            environments.iter().map(|environment| {
                let plain = |text: &str| printable(text).into_owned();
                [
                    plain(&environment.worker),
                    plain(&environment.path),
                    state_text(output, &plain(&environment.status)),
                    environment.size.map(size_text).unwrap_or_default(),
                    environment.last_used_at.format("%Y-%m-%d %H:%M").to_string(),
                ]
            }),
        )
    })?;
    Ok(Exit::Success)
}
