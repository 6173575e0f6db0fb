//! `attune runtime detect` and `verify`, of a server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::cli::failure::{Exit, Failed};
use crate::cli::output::{Output, Tone};
use crate::cli::progress::Progress;
use crate::cli::runtime::installations as written;
use crate::client::{Client, ClientError};
use crate::installation::{Check, Failure};
use crate::pack::problem::counted;
use crate::printable::{one_line, printable};
use crate::store::installation::{FoundInstallation, InstallationStatus};
use crate::version::Version;

/// What of a runtime is known here.
#[derive(Deserialize)]
struct Known {
    r#ref: String,
    component: Option<String>,
}

/// What was found of a runtime, as `--json` shows it.
#[derive(Serialize)]
struct Looked {
    runtime: String,
    installations: Vec<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// An installation, as the API has it.
#[derive(Deserialize)]
struct Installation {
    worker: String,
    path: PathBuf,
    version: Option<semver::Version>,
    native: Option<String>,
    variant: Option<String>,
    runtime_version: Option<String>,
    source: String,
    status: String,
    failure: Option<Failure>,
    aliases: Vec<PathBuf>,
    checks: Vec<Check>,
    verified_at: DateTime<Utc>,
}

/// Shows what the workers of a server have found of one runtime, or of all; with `anew`, after the machine of the server
/// was looked over again. A runtime for which that fails does not keep the others from it.
pub(super) async fn show(
    client: &Client,
    only: Option<&str>,
    anew: bool,
    output: &Output,
) -> Result<Exit, Failed> {
    let runtimes = match only {
        Some(text) => vec![client.get::<Known>(&["runtimes", text], &[]).await?],
        None => client.all::<Known>(&["runtimes"]).await?,
    };
    if let (Some(_), [Known { r#ref: name, component: None }]) = (only, runtimes.as_slice()) {
        output.say(&format!(
            "nothing is looked for: of `{}`, the entry point is itself the program",
            printable(name)
        ));
    }
    let progress = Progress::begin(output);
    let mut looked = Vec::new();
    for runtime in runtimes.into_iter().filter(|runtime| runtime.component.is_some()) {
        let name = runtime.r#ref;
        let found = if anew {
            progress.say(format!("the server verifies the installations of {name}"));
            verified(client, &name).await
        } else {
            client.all::<Json>(&["runtimes", &name, "installations"]).await
        };
        let error = found.as_ref().err().map(ToString::to_string);
        match found {
            // Of the others nothing would be known either.
            Err(error) if !matches!(error, ClientError::Refused(_)) => {
                progress.end();
                return Err(error.into());
            }
            found => looked.push(Looked { runtime: name, installations: found.unwrap_or_default(), error }),
        }
    }
    progress.end();
    let mut texts = Vec::new();
    for looked in &looked {
        texts.push(text(client, looked, output)?);
    }
    output.data(&looked, || texts.join("\n"))?;
    match looked.iter().filter(|looked| looked.error.is_some()).count() {
        0 => Ok(Exit::Success),
        failed => Err(Failed::message(
            Exit::Failure,
            format!("the installations of {} can't be looked for there", counted(failed, "runtime")),
        )),
    }
}

async fn verified(client: &Client, runtime: &str) -> Result<Vec<Json>, ClientError> {
    #[derive(Deserialize)]
    struct Found {
        items: Vec<Json>,
    }
    Ok(client.work::<Found>(&["runtimes", runtime, "verify"]).await?.items)
}

/// What was found of a runtime, by worker.
fn text(client: &Client, looked: &Looked, output: &Output) -> Result<String, Failed> {
    let mut workers = BTreeMap::<String, Vec<FoundInstallation>>::new();
    for document in &looked.installations {
        let installation = client.read::<Installation>(&plain(document))?;
        workers.entry(installation.worker.clone()).or_default().push(installation.into());
    }
    let heading = format!("{}\n", output.data_tone(Tone::Strong, &printable(&looked.runtime)));
    let found = match &looked.error {
        Some(error) => format!("  {} {}\n", output.data_tone(Tone::Bad, "failed:"), printable(error)),
        None if workers.is_empty() => written(output, &[]),
        None => {
            let found = workers
                .iter()
                .map(|(worker, found)| format!("  on {}\n{}", printable(worker), written(output, found)));
            found.collect::<Vec<_>>().concat()
        }
    };
    Ok(heading + &found)
}

/// The same, of which no text steers a terminal.
fn plain(document: &Json) -> Json {
    match document {
        Json::String(text) => one_line(text).into(),
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

impl From<Installation> for FoundInstallation {
    fn from(installation: Installation) -> Self {
        let Installation { version, native, variant, failure, .. } = installation;
        let failure = || failure.unwrap_or_else(|| Failure::new(String::new().into(), String::new()));
        Self {
            status: match installation.status.as_str() {
                "verified" => InstallationStatus::Verified,
                "failed" => InstallationStatus::Failed { failure: failure() },
                _ => InstallationStatus::Rejected { failure: failure() },
            },
            version: version.map(|semver| Version {
                native: native.unwrap_or_else(|| semver.to_string()),
                semver,
                variant,
            }),
            path: installation.path,
            source: installation.source,
            aliases: installation.aliases,
            attributes: Vec::new(),
            identity: None,
            checks: installation.checks,
            verified_against: None,
            runtime_version: installation.runtime_version,
            verified_at: installation.verified_at,
        }
    }
}
