//! Packs.

use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::Bytes;
use super::page::{Listed, Page, SortKey, Wanted};
use super::problem::{self, Mistake, Problem};
use super::query::{DryRun, Query};
use super::state::{Created, MayMatch, Tagged};
use crate::pack::Grants;
use crate::pack::bundle::Bundle;
use crate::pack::install::{self, Approve, Asked, InstallError, Plan};
use crate::pack::problem::Problems;
use crate::pack::remove;
use crate::pack::signature::{self, Policy};
use crate::reference::PackRef;
use crate::store::pack::PackRow;
use crate::token::Role;
use crate::worker::Worker;

/// What an archive that was sent is called in errors.
const ARCHIVE: &str = "the archive";

/// The signature of what is sent, as `attune pack sign` writes it.
const SIGNATURE: &str = "attune-signature";

/// A pack that is installed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pack {
    r#ref: String,
    label: String,
    description: Option<String>,
    version: String,
    author: Option<String>,
    tags: Vec<String>,
    /// How many of its queued executions run at a time.
    concurrency: Option<i64>,
    /// What its configuration is, as a JSON Schema.
    config_schema: Option<serde_json::Value>,
    /// SHA-256 of the bundle.
    digest: String,
    /// Where it was installed from.
    source: String,
    installed_at: DateTime<Utc>,
    /// The trusted key that it was signed with.
    verified_by: Option<String>,
    /// Whether its lock names the digests of its components.
    locked: bool,
}

impl Listed for Pack {
    const KEYS: &'static [SortKey<Self>] = &[
        ("ref", |pack| (&pack.r#ref).into()),
        ("label", |pack| (&pack.label).into()),
        ("installed_at", |pack| (&pack.installed_at).into()),
    ];

    fn identity(&self) -> String {
        self.r#ref.clone()
    }
}

impl From<PackRow> for Pack {
    fn from(row: PackRow) -> Self {
        Self {
            r#ref: row.reference.to_string(),
            label: row.label,
            description: row.description,
            version: row.version,
            author: row.author,
            tags: row.tags,
            concurrency: row.concurrency,
            config_schema: row.config_schema,
            digest: row.digest,
            source: row.source,
            installed_at: row.installed_at,
            verified_by: row.verified_by,
            locked: row.locked,
        }
    }
}

/// What is done with an archive.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Options {
    /// Allow what the components ask for.
    #[serde(default)]
    #[param(default = false)]
    approve: bool,
    /// Show what would be done, and do none of it.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
}

/// A pack that was installed, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Installed {
    r#ref: String,
    version: String,
    /// SHA-256 of the bundle.
    digest: String,
    /// The trusted key that it is signed with.
    verified_by: Option<String>,
    /// Why nobody who is trusted vouches for it.
    unverified: Option<String>,
    /// The version that was installed before, if it was another bundle.
    replaced_version: Option<String>,
    runtimes: Vec<String>,
    actions: Vec<String>,
    sensors: Vec<String>,
    /// What it replaces has that it has not.
    gone: Vec<String>,
    asked: Vec<AskedGrants>,
    /// Whether nothing was done.
    dry_run: bool,
}

/// What the component of a runtime asks to be allowed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AskedGrants {
    runtime: String,
    #[schema(value_type = Object)]
    grants: Grants,
    /// What was approved before.
    #[schema(value_type = Option<Object>)]
    before: Option<Grants>,
    approved: bool,
    /// What the settings of the server withhold of it, whoever approves it.
    withheld: Vec<String>,
}

/// Whether an archive is a pack that can be installed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Validity {
    valid: bool,
    r#ref: Option<String>,
    version: Option<String>,
    /// Everything that is wrong, by file and line.
    problems: Vec<Mistake>,
}

impl From<&Asked> for AskedGrants {
    fn from(asked: &Asked) -> Self {
        Self {
            runtime: asked.runtime.to_string(),
            grants: asked.grants.clone(),
            before: asked.before.clone(),
            approved: asked.approved,
            withheld: asked.withheld.clone(),
        }
    }
}

impl Installed {
    fn new(plan: &Plan, verified: &Result<String, String>, dry_run: bool) -> Self {
        let pack = &plan.pack;
        Self {
            r#ref: pack.reference.to_string(),
            version: pack.version.to_string(),
            digest: pack.digest.clone(),
            verified_by: verified.as_ref().ok().cloned(),
            unverified: verified.as_ref().err().cloned(),
            replaced_version: plan.replaces.as_ref().map(|row| row.version.clone()),
            runtimes: pack.runtimes.iter().map(|runtime| runtime.reference.to_string()).collect(),
            actions: pack.actions.iter().map(|action| action.reference.to_string()).collect(),
            sensors: pack.sensors.iter().map(|sensor| sensor.reference.to_string()).collect(),
            gone: plan.gone.clone(),
            asked: plan.asked.iter().map(AskedGrants::from).collect(),
            dry_run,
        }
    }
}

/// List the installed packs
#[utoipa::path(get, path = "/packs", tag = "packs", operation_id = "list_packs", params(Wanted<Pack>),
    responses((status = 200, body = Page<Pack>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(page): Query<Wanted<Pack>>,
) -> Result<Json<Page<Pack>>, Problem> {
    let cut = page.read()?;
    let packs = api.worker.store.packs().await?.into_iter();
    let seen = packs.filter(|row| caller.sees(&row.reference).is_ok());
    Ok(Json(cut.page_of(seen.map(Pack::from).collect())))
}

/// Show a pack
#[utoipa::path(get, path = "/packs/{ref}", tag = "packs", operation_id = "show_pack",
    params(("ref" = String, Path, description = "Its reference")),
    responses((status = 200, body = Pack, headers(("ETag" = String))), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
) -> Result<Tagged<Pack>, Problem> {
    let none = || Problem::not_found(format!("there is no pack `{reference}`"));
    let known = reference.parse::<PackRef>().map_err(|_| none())?;
    caller.sees(&known)?;
    let row = api.worker.store.pack(&known).await?.ok_or_else(none)?;
    Ok(Tagged(row.revision, row.into()))
}

/// Install a pack, from an archive of its folder
///
/// What is in the archive is checked as a whole: nothing is installed of one that has mistakes.
#[utoipa::path(post, path = "/packs", tag = "packs", operation_id = "install_pack",
    params(Options, ("Attune-Signature" = Option<String>, Header, description = "Of the bundle, as `attune pack sign` writes it")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "A `.tar` or `.tar.gz`"),
    responses((status = 201, body = Installed, headers(("Location" = String))), (status = 200, body = Installed, description = "It would be installed"),
        problem::Every, problem::Changes))]
pub(super) async fn install(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(options): Query<Options>,
    headers: HeaderMap,
    Bytes(body): Bytes,
) -> Result<Response, Problem> {
    // Which pack it is, the archive says.
    caller.has(if options.approve { Role::Admin } else { Role::Author })?;
    let signature =
        headers.get(SIGNATURE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let worker = api.worker.clone();
    let installed =
        apart(async move { install_bytes(&worker, &caller, &options, signature.as_deref(), &body).await });
    let installed = installed.await?;
    if installed.dry_run {
        return Ok(Json(installed).into_response());
    }
    let reference = installed.r#ref.clone();
    Ok(Created::new(["packs", &reference], Json(installed)).into_response())
}

/// Away from what answers others: reading an archive and compiling components takes long. It goes on when nobody waits for it
/// any more.
async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let handle = Handle::current();
    spawn_blocking(move || handle.block_on(work)).await.unwrap_or_else(|error| {
        tracing::error!("a pack was not installed: {error}");
        Err(Problem::internal())
    })
}

async fn install_bytes(
    worker: &Worker,
    caller: &Caller,
    options: &Options,
    signature: Option<&str>,
    body: &[u8],
) -> Result<Installed, Problem> {
    let bundle = read(body)?;
    let verified = verified(worker, &bundle, signature)?;
    let by = caller.token.name.as_str();
    let source = format!("uploaded by {by}");
    let origin = (source.as_str(), verified.as_deref().ok());
    let approve = if options.approve { Approve::All { by } } else { Approve::Known };
    let plan = install::plan(worker, &bundle, origin, &approve).await?;
    caller.needs_in(Role::Author, &plan.pack.reference)?;
    let installed = Installed::new(&plan, &verified, options.dry_run);
    if options.dry_run {
        plan.refusal(worker).await?;
    } else {
        plan.carry_out(worker, &bundle, origin).await?;
    }
    Ok(installed)
}

/// Who of those that are trusted vouches for a bundle, or why nobody does; refused if the settings say that somebody has to.
fn verified(
    worker: &Worker,
    bundle: &Bundle,
    signature: Option<&str>,
) -> Result<Result<String, String>, Problem> {
    let header = FilePath::new("Attune-Signature");
    let trusted = &worker.settings.trusted_keys;
    let verified = match signature {
        Some(text) => {
            signature::verify_text(text, header, &bundle.digest(), trusted).map_err(|error| error.to_string())
        }
        None => Err("it was sent without a signature".to_owned()),
    };
    match (&verified, worker.settings.signatures) {
        (Err(error), Policy::Require) => Err(Problem::forbidden(format!(
            "the pack is not verified, which the setting `signatures` requires: {error}"
        ))
        .hint("send the signature that `attune pack sign` writes as `Attune-Signature`")),
        _ => Ok(verified),
    }
}

fn read(body: &[u8]) -> Result<Bundle, Problem> {
    Bundle::from_archive_bytes(body, FilePath::new(ARCHIVE)).map_err(|error| Problem::archive(&error))
}

/// Check an archive of a pack, and install nothing
#[utoipa::path(post, path = "/packs/validate", tag = "packs", operation_id = "validate_pack",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "A `.tar` or `.tar.gz`"),
    responses((status = 200, body = Validity), problem::Every, problem::Changes))]
pub(super) async fn validate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Bytes(body): Bytes,
) -> Result<Json<Validity>, Problem> {
    caller.has(Role::Author)?;
    let worker = api.worker.clone();
    let checked = apart(async move {
        let bundle = read(&body)?;
        match install::check(&worker, &bundle, (ARCHIVE, None)).await {
            Ok(pack) => Ok(Validity {
                valid: true,
                r#ref: Some(pack.reference.to_string()),
                version: Some(pack.version.to_string()),
                problems: Vec::new(),
            }),
            Err(InstallError::Problems(problems)) => {
                Ok(Validity { valid: false, r#ref: None, version: None, problems: mistakes(&problems) })
            }
            Err(error) => Err(error.into()),
        }
    });
    Ok(Json(checked.await?))
}

pub(super) fn mistakes(problems: &Problems) -> Vec<Mistake> {
    problems.iter().map(Mistake::from).collect()
}

/// Remove a pack, and what is in it; its executions stay
#[utoipa::path(delete, path = "/packs/{ref}", tag = "packs", operation_id = "remove_pack",
    params(("ref" = String, Path, description = "Its reference"), DryRun, MayMatch),
    responses((status = 204), (status = 200, body = remove::Plan, description = "It would be removed"), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
    state: MayMatch,
) -> Result<Response, Problem> {
    let none = || Problem::not_found(format!("there is no pack `{reference}`"));
    let pack = reference.parse::<PackRef>().map_err(|_| none())?;
    caller.needs_in(Role::Author, &pack)?;
    let expected = state.of(api.worker.store.pack(&pack).await?.ok_or_else(none)?.revision)?;
    let plan = remove::plan(&api.worker, &pack).await?;
    if dry_run {
        plan.refusal()?;
        return Ok(Json(plan).into_response());
    }
    plan.carry_out(&api.worker, expected).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
