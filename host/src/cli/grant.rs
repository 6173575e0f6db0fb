//! `attune grant`: what components ask for, and whether they may; here or on a server.

use clap::Subcommand;
use serde_json::json;

use super::failure::{Exit, Failed};
use super::grants::{asked_text, items, without};
use super::options::Options;
use super::output::{Output, Tone};
use super::resolve::unknown_runtime;
use super::runtime::{denial_text, open_worker};
use super::shown::time;
use super::table::table;
use crate::client::Client;
use crate::grants::GrantsOf;
use crate::pack::install::Asked;
use crate::pack::problem::counted;
use crate::printable::printable;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

#[derive(Debug, Subcommand)]
pub(super) enum Grant {
    /// List the runtimes whose components ask for something, and who allowed it
    List,
    /// Show what the component of a runtime asks for, may do and was denied
    Show {
        /// A runtime, by reference or alias
        runtime: String,
    },
    /// Allow what the component of a runtime asks for
    Approve {
        /// A runtime, by reference or alias
        runtime: String,
    },
    /// Allow the component of a runtime nothing any more: nothing is run with that runtime then
    Revoke {
        /// A runtime, by reference or alias
        runtime: String,
    },
}

/// Where runtimes are looked up.
enum Place<'a> {
    Here(&'a Worker),
    There(&'a Client),
}

impl Grant {
    pub(super) async fn execute(&self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let worker = open_worker(options, output).await?;
        let exit = self.execute_at(&Place::Here(&worker), output).await;
        worker.close().await;
        exit
    }

    /// The same, on a server.
    pub(super) async fn execute_there(&self, client: &Client, output: &Output) -> Result<Exit, Failed> {
        self.execute_at(&Place::There(client), output).await
    }

    async fn execute_at(&self, place: &Place<'_>, output: &Output) -> Result<Exit, Failed> {
        match self {
            Self::List => {
                let all = place.all().await?;
                output.data(&all, || list_text(&all, output))?;
            }
            Self::Show { runtime } => {
                let grants = place.of(runtime).await?;
                output.data(&grants, || text(&grants))?;
            }
            Self::Approve { runtime } => {
                let grants = place.set(runtime, true).await?;
                output.data(&grants, || text(&grants))?;
            }
            Self::Revoke { runtime } => {
                let grants = place.set(runtime, false).await?;
                output.data(&grants, || {
                    let name = &grants.runtime;
                    format!("{name} may do nothing any more, and nothing is run with it: attune grant approve {name}")
                })?;
            }
        }
        Ok(Exit::Success)
    }
}

impl Place<'_> {
    async fn all(&self) -> Result<Vec<GrantsOf>, Failed> {
        Ok(match self {
            Self::Here(worker) => GrantsOf::all(worker).await?,
            Self::There(client) => client.all(&["grants"]).await?,
        })
    }

    async fn of(&self, runtime: &str) -> Result<GrantsOf, Failed> {
        match self {
            Self::Here(worker) => {
                let row = worker.runtime(runtime, None).await.map_err(unknown_runtime)?;
                of_row(worker, &row).await
            }
            Self::There(client) => Ok(client.get(&["runtimes", runtime, "grants"], &[]).await?),
        }
    }

    async fn set(&self, runtime: &str, approved: bool) -> Result<GrantsOf, Failed> {
        match self {
            Self::Here(worker) => {
                let row = worker.runtime(runtime, None).await.map_err(unknown_runtime)?;
                of_row(worker, &row).await?;
                let by = operator();
                worker.store.set_consent(row.id, approved.then_some(by.as_str())).await?;
                let row = worker.runtime(runtime, None).await.map_err(unknown_runtime)?;
                of_row(worker, &row).await
            }
            Self::There(client) => {
                let consent = json!({ "approved": approved });
                Ok(client.put(&["runtimes", runtime, "grants"], &consent).await?)
            }
        }
    }
}

/// Whoever gives commands here, as it is kept who allowed something.
pub(super) fn operator() -> String {
    std::env::var("USER").unwrap_or_else(|_| "the operator".to_owned())
}

async fn of_row(worker: &Worker, row: &RuntimeRow) -> Result<GrantsOf, Failed> {
    let grants = GrantsOf::runtime(worker, row).await?;
    grants.ok_or_else(|| {
        let name = &row.runtime.reference;
        Failed::message(Exit::NotFound, format!("`{name}` needs no component, so there is nothing to allow"))
    })
}

fn list_text(all: &[GrantsOf], output: &Output) -> String {
    table(
        ["RUNTIME", "COMPONENT", "ASKS FOR", "ALLOWED", "DENIED"],
        all.iter().map(|grants| {
            let allowed = match (&grants.approved_by, grants.approved_at) {
                (Some(by), Some(at)) => format!("by {}, {}", printable(by), time(at)),
                _ => output.data_tone(Tone::Warning, "no"),
            };
            let denied = grants.denials.iter().map(|denial| denial.count).sum::<i64>();
            [
                grants.runtime.to_string(),
                printable(&grants.component).into_owned(),
                counted(items(&grants.asked).len(), "thing"),
                allowed,
                if denied == 0 {
                    String::new()
                } else {
                    counted(usize::try_from(denied).unwrap_or_default(), "time")
                },
            ]
        }),
    )
}

fn text(grants: &GrantsOf) -> String {
    let more = grants.approved.as_ref().map(|approved| without(&items(&grants.asked), &items(approved)));
    let is_allowed = more.is_some_and(|more| more.is_empty());
    let asked = Asked {
        runtime: grants.runtime.clone(),
        grants: grants.asked.clone(),
        // What is allowed as a whole is shown as a whole.
        before: grants.approved.clone().filter(|_| !is_allowed),
        approved: is_allowed,
        withheld: grants.withheld.clone(),
    };
    let allowed = match (&grants.approved_by, grants.approved_at) {
        (Some(by), Some(at)) if is_allowed => format!("allowed by {}, {}\n", printable(by), time(at)),
        _ => format!("not allowed: attune grant approve {}\n", grants.runtime),
    };
    let denials = grants.denials.iter().map(|denial| format!("denied {}\n", denial_text(denial)));
    [asked_text(&asked), allowed].into_iter().chain(denials).collect()
}
