//! What is installed of runtimes, and which of it a constraint selects.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::Body;
use super::page::{Key, Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::query::Query;
use super::runtimes::find;
use super::state::Tagged;
use super::versions::{self, Version};
use crate::detection::{self, Freshness};
use crate::execution::AskError;
use crate::execution::choice::{Asked, ChoiceError, choose};
use crate::installation::Check;
use crate::reference::ActionRef;
use crate::selection::{CandidateView, SelectedView, SelectionView};
use crate::store::bell::Bell;
use crate::store::installation::FoundInstallation;
use crate::store::runtime::RuntimeRow;
use crate::token::Role;
use crate::version::constraint::Constraint;
use crate::worker::RuntimeError;

/// Which installations are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this worker.
    worker: Option<String>,
}

/// Something that a worker found when it looked for a runtime's installations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Installation {
    worker: String,
    path: String,
    /// Semantic version; none where it could not be told.
    version: Option<String>,
    /// As it says itself.
    native: Option<String>,
    /// Build variant.
    variant: Option<String>,
    /// The declared version that covers it.
    runtime_version: Option<String>,
    /// Where it comes from.
    source: String,
    /// `verified`, `failed` or `rejected`.
    status: &'static str,
    /// Why it can't be used.
    failure: Option<Failure>,
    /// Other paths that lead to it.
    aliases: Vec<String>,
    /// What was checked, and what came of it.
    #[schema(value_type = Vec<Object>)]
    checks: Vec<Check>,
    verified_at: DateTime<Utc>,
}

/// Why something could not be used.
#[derive(Debug, Serialize, ToSchema)]
struct Failure {
    /// `missing_capability(ssl)`, for instance.
    class: String,
    message: String,
}

impl Listed for Installation {
    const KEYS: &'static [SortKey<Self>] = &[
        ("worker", |installation| (&installation.worker).into()),
        ("path", |installation| (&installation.path).into()),
        ("version", |installation| {
            installation.version.as_ref().and_then(|text| text.parse().ok()).map_or(Key::None, Key::Version)
        }),
        ("verified_at", |installation| (&installation.verified_at).into()),
    ];

    fn identity(&self) -> String {
        format!("{}\n{}", self.worker, self.path)
    }
}

impl Installation {
    fn new(worker: String, found: FoundInstallation) -> Self {
        let failure = found.status.failure();
        Self {
            worker,
            path: found.path.display().to_string(),
            failure: failure.map(|failure| Failure {
                class: failure.class.to_string(),
                message: failure.message.clone(),
            }),
            status: found.status.name(),
            native: found.version.as_ref().map(|version| version.native.clone()),
            variant: found.version.as_ref().and_then(|version| version.variant.clone()),
            version: found.version.map(|version| version.semver.to_string()),
            runtime_version: found.runtime_version,
            aliases: found.aliases.iter().map(|alias| alias.display().to_string()).collect(),
            checks: found.checks,
            source: found.source,
            verified_at: found.verified_at,
        }
    }
}

/// List what workers found of a runtime
#[utoipa::path(get, path = "/runtimes/{ref}/installations", tag = "runtimes", operation_id = "list_installations",
    params(("ref" = String, Path, description = "The runtime's reference"), Filter, Wanted<Installation>),
    responses((status = 200, body = Page<Installation>), problem::Every, problem::NotFound))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
    Query(filter): Query<Filter>,
    Query(page): Query<Wanted<Installation>>,
) -> Result<Json<Page<Installation>>, Problem> {
    let cut = page.read()?;
    let runtime = find(&api, &reference).await?;
    let found = api.worker.store.installations_everywhere(runtime.id).await?.into_iter();
    let wanted = found.filter(|(worker, _)| filter.worker.as_ref().is_none_or(|wanted| wanted == worker));
    Ok(Json(cut.page_of(wanted.map(|(worker, found)| Installation::new(worker, found)).collect())))
}

/// Look for the installations of a runtime on the machine of the server, and verify each anew
#[utoipa::path(post, path = "/runtimes/{ref}/verify", tag = "runtimes", operation_id = "verify_runtime",
    params(("ref" = String, Path, description = "The runtime's reference")),
    responses((status = 200, body = Page<Installation>), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn verify(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(reference): Path<String>,
) -> Result<Json<Page<Installation>>, Problem> {
    let runtime = find(&api, &reference).await?;
    let found = look(&api, &caller, &runtime).await?;
    let name = &api.worker.settings.worker_name;
    Ok(Json(Page::whole(found.into_iter().map(|found| Installation::new(name.clone(), found)).collect())))
}

/// The same, to see whether a version is available
#[utoipa::path(post, path = "/runtimes/{ref}/versions/{version}/verify", tag = "runtimes", operation_id = "verify_version",
    params(("ref" = String, Path, description = "The runtime's reference"), ("version" = String, Path)),
    responses((status = 200, body = Version, headers(("ETag" = String))), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn verify_version(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((reference, version)): Path<(String, String)>,
) -> Result<Tagged<Version>, Problem> {
    let runtime = find(&api, &reference).await?;
    let reference = runtime.runtime.reference.clone();
    versions::tagged(&api, &reference, &version).await?;
    look(&api, &caller, &runtime).await?;
    versions::tagged(&api, &reference, &version).await
}

async fn look(api: &Api, caller: &Caller, runtime: &RuntimeRow) -> Result<Vec<FoundInstallation>, Problem> {
    caller.needs_in(Role::Operator, runtime.runtime.reference.pack())?;
    let detected = detection::detect(&api.worker, runtime, Freshness::Anew).await?;
    api.worker.store.ring(Bell::Runnable).await;
    Ok(detected.installations)
}

/// What is asked of a runtime: by an action, or as it is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResolveRequest {
    /// What this action asks for.
    #[schema(example = "examples.greet")]
    action: Option<String>,
    /// Without an action: a runtime, by reference or alias.
    runtime: Option<String>,
    /// Instead of the action's own.
    #[schema(example = ">=3.12")]
    runtime_version_constraint: Option<String>,
    /// A build variant, instead of the action's own.
    runtime_variant: Option<String>,
}

/// The installation of the server's machine that is selected, and the reason for each.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Resolution {
    runtime: String,
    /// What the constraint stands for, if it is an alias.
    stands_for: Option<String>,
    /// Whether nothing satisfies what was asked for, and this is the base runtime, which the action allows then.
    fallback: bool,
    /// None if nothing matches.
    selected: Option<Selected>,
    /// Best first.
    candidates: Vec<Candidate>,
    /// Sentences.
    warnings: Vec<String>,
    /// Why nothing matches.
    message: Option<String>,
}

/// What was selected.
#[derive(Debug, Serialize, ToSchema)]
struct Selected {
    /// Semantic version.
    version: String,
    /// As it says itself.
    native: String,
    /// Build variant.
    variant: Option<String>,
    path: Option<String>,
    /// The declared version that covers it.
    declared: Option<Declared>,
}

/// A version that is declared.
#[derive(Debug, Serialize, ToSchema)]
struct Declared {
    #[schema(example = "3.12")]
    version: String,
    /// Whether it is what runs when nothing is asked for.
    is_default: bool,
}

/// A candidate and what became of it.
#[derive(Debug, Serialize, ToSchema)]
struct Candidate {
    #[serde(flatten)]
    what: Selected,
    chosen: bool,
    /// The name of the reason.
    reason: &'static str,
    /// The reason as a sentence.
    message: String,
    /// Why it is unavailable, whatever the reason was.
    failure: Option<Failure>,
}

impl From<SelectedView<'_>> for Selected {
    fn from(view: SelectedView<'_>) -> Self {
        Self {
            version: view.version,
            native: view.native.to_owned(),
            variant: view.variant.map(str::to_owned),
            path: view.path.map(|path| path.display().to_string()),
            declared: view.declared.map(|declared| Declared {
                version: declared.version.clone(),
                is_default: declared.is_default,
            }),
        }
    }
}

impl From<CandidateView<'_>> for Candidate {
    fn from(view: CandidateView<'_>) -> Self {
        Self {
            what: view.candidate.into(),
            chosen: view.chosen,
            reason: view.reason,
            message: view.message,
            failure: view
                .failure
                .map(|failure| Failure { class: failure.class, message: failure.message.to_owned() }),
        }
    }
}

impl Resolution {
    fn new(runtime: &RuntimeRow, asked: Asked<'_>, view: SelectionView<'_>, message: Option<String>) -> Self {
        let stands_for =
            asked.constraint.and_then(|constraint| constraint.stands_for(&runtime.constraint_aliases));
        Self {
            runtime: runtime.runtime.reference.to_string(),
            stands_for: stands_for.map(str::to_owned),
            fallback: view.fallback,
            selected: view.selected.map(Selected::from),
            candidates: view.candidates.into_iter().map(Candidate::from).collect(),
            warnings: view.warnings,
            message,
        }
    }
}

/// Explain which installation is selected
#[utoipa::path(post, path = "/resolve", tag = "runtimes", operation_id = "resolve", request_body = ResolveRequest,
    responses((status = 200, body = Resolution), problem::Every, problem::Changes))]
pub(super) async fn resolve(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(question): Body<ResolveRequest>,
) -> Result<Json<Resolution>, Problem> {
    const CONSTRAINT: &str = "/runtime_version_constraint";
    let worker = &api.worker;
    let constraint = question.runtime_version_constraint.as_deref().map(Constraint::parse).transpose();
    let constraint = constraint.map_err(|error| Problem::constraint(CONSTRAINT, &error))?;
    let program = match &question.action {
        Some(text) => {
            let reference = text.parse::<ActionRef>();
            let reference = reference.map_err(|error| Problem::invalid("/action", error.to_string()))?;
            caller.sees(reference.pack())?;
            let none = || Problem::invalid("/action", format!("there is no action `{reference}`"));
            let row = worker.store.action(&reference).await?.ok_or_else(none)?;
            Some((reference, row.declared.program))
        }
        None => None,
    };
    let (name, pack) = match (&program, &question.runtime) {
        (Some((reference, program)), None) => (program.runtime.as_str(), Some(reference.pack())),
        (None, Some(runtime)) => (runtime.as_str(), None),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::invalid("/action", "name an action or a runtime, and one of them"));
        }
    };
    let runtime = worker.runtime(name, pack).await.map_err(|error| match error {
        RuntimeError::Unknown { .. } | RuntimeError::Ambiguous { .. } if program.is_none() => {
            Problem::invalid("/runtime", error.to_string())
        }
        error => AskError::from(error).into(),
    })?;
    let program = program.map(|(_, program)| program);
    let declared = program.as_ref();
    let asked = Asked {
        constraint: constraint.as_ref().or(declared.and_then(|program| program.constraint.as_ref())),
        variant: question
            .runtime_variant
            .as_deref()
            .or(declared.and_then(|program| program.variant.as_deref())),
        policy: declared.map(|program| program.version_policy).unwrap_or_default(),
    };
    let resolution = match choose(worker, &runtime, asked).await {
        Ok(choice) => Resolution::new(&runtime, asked, choice.view(), None),
        Err(error @ ChoiceError::NoMatch { .. }) => {
            let view = error.selection().ok_or_else(Problem::internal)?;
            Resolution::new(&runtime, asked, view, Some(error.to_string()))
        }
        Err(ChoiceError::Alias(error)) => return Err(Problem::invalid(CONSTRAINT, error.to_string())),
        Err(ChoiceError::Detection(error)) => return Err(error.into()),
        Err(error @ (ChoiceError::NotServed { .. } | ChoiceError::Direct { .. })) => {
            return Err(Problem::conflict("no-versions", error.to_string()));
        }
    };
    Ok(Json(resolution))
}
