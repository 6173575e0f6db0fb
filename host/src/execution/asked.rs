//! What is asked, checked: the action, its runtime, its parameters and secrets. Nothing is accepted before
//! all of it is right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::Request;
use super::choice;
use crate::pack::Action;
use crate::parameters::{self, AssignmentError, EncodeError, ParametersError};
use crate::reference::{ActionRef, RuntimeRef};
use crate::secret::{Masker, MissingSecrets, Secrets, SecretsFileError};
use crate::store::StoreError;
use crate::store::execution::Attempt;
use crate::store::requirement::NewRequirement;
use crate::store::runtime::RuntimeRow;
use crate::token::Token;
use crate::version::constraint::{Constraint, ConstraintError, UnknownAlias};
use crate::worker::{MissingFiles, RuntimeError, Worker};

/// Parameters as somebody gives them.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Values; a document takes their place, and assignments win over both.
    pub values: Map<String, Json>,
    /// Where a document comes from, and its text: JSON or YAML.
    pub document: Option<(String, String)>,
    /// `name=value`; they win over the document.
    pub assignments: Vec<String>,
}

/// An execution that can be accepted.
#[derive(Debug)]
pub struct Asked {
    pub attempt: Attempt,
    pub action: Action,
    pub pack_digest: String,
    /// Where the pack's files are.
    pub pack_folder: PathBuf,
    pub runtime: RuntimeRow,
    /// The request's, or the action's.
    pub constraint: Option<Constraint>,
    /// Complete: defaults are filled in.
    pub parameters: Map<String, Json>,
    /// Those that the action declares.
    pub secrets: Secrets,
    /// Parameters and secrets as the action reads them.
    pub(super) encoded: Encoded,
    pub masker: Masker,
    /// With which the action may ask the API while it runs, if it is told where that is.
    pub token: Option<Token>,
    /// The request's, the action's, or the settings'.
    pub timeout: Option<Duration>,
    /// For whoever asked.
    pub warnings: Vec<String>,
}

/// A text with secrets in it, which `Debug` keeps to itself.
pub(super) struct Encoded(pub(super) Vec<u8>);

impl std::fmt::Debug for Encoded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Encoded").field(&self.0.len()).finish()
    }
}

/// What is wrong with what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such action.
    #[error("there is no action `{action}`")]
    NoAction {
        /// What was asked for.
        action: ActionRef,
    },
    /// The action may not run.
    #[error("the action `{action}` is disabled: its YAML says `enabled: false`")]
    Disabled {
        /// What was asked for.
        action: ActionRef,
    },
    /// Its runtime isn't there.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The constraint is a word that the runtime does not know.
    #[error(transparent)]
    Alias(#[from] UnknownAlias),
    /// A version is asked of something that has none.
    #[error("`{runtime}` has no versions to choose from: the entry point is itself the program")]
    NoVersions {
        /// The runtime.
        runtime: RuntimeRef,
    },
    /// The document of parameters can't be read.
    #[error("the parameters from {origin} are neither JSON nor YAML: {message}")]
    Document {
        /// Where it comes from.
        origin: String,
        /// What is wrong, and where.
        message: String,
    },
    /// Assignments can't be read.
    #[error("{}", .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Assignments {
        /// All of them.
        mistakes: Vec<AssignmentError>,
    },
    /// The parameters are not what the action takes.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// The parameters have no text in the action's format.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The constraint that was given can't be read.
    #[error("the constraint can't be read: {0}")]
    Constraint(#[source] ConstraintError),
    /// The file of secrets can't be used.
    #[error(transparent)]
    SecretsFile(#[from] SecretsFileError),
    /// Secrets are missing.
    #[error(transparent)]
    MissingSecrets(#[from] MissingSecrets),
    /// Secrets are too large to be masked, so nothing may run that knows them.
    #[error("the secrets are too large to be masked in what is kept: {message}")]
    Unmaskable {
        /// What the search says.
        message: String,
    },
    /// There is nothing random to make a token of.
    #[error("can't make a token for the API: {0}")]
    Token(#[source] std::io::Error),
    /// The action is not on this machine.
    #[error(transparent)]
    Files(#[from] MissingFiles),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Asked {
    /// Whether the entry point is itself the program.
    pub(super) fn is_direct(&self) -> bool {
        self.runtime.plugin.is_none()
    }

    /// What it needs to be started.
    pub(super) fn requirement<'a>(&'a self, constraint: &'a str) -> NewRequirement<'a> {
        NewRequirement::of(&self.action, &self.runtime.runtime.reference, constraint)
    }

    /// What is wanted of the runtime.
    pub(super) fn wanted(&self) -> choice::Asked<'_> {
        choice::Asked {
            constraint: self.constraint.as_ref(),
            variant: self.action.program.variant.as_deref(),
            policy: self.action.program.version_policy,
        }
    }
}

/// What is asked, as far as it is the same wherever it is run.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) action: Action,
    pub(crate) pack_digest: String,
    pub(crate) runtime: RuntimeRow,
    pub(crate) constraint: Option<Constraint>,
    /// Complete: defaults are filled in.
    pub(crate) parameters: Map<String, Json>,
}

/// Checks what is asked, secrets apart.
pub(crate) async fn check(worker: &Worker, request: &Request) -> Result<Checked, AskError> {
    let row = worker.store.action(&request.action).await?;
    let Some(row) = row else { return Err(AskError::NoAction { action: request.action.clone() }) };
    let action = row.declared;
    if !action.enabled {
        return Err(AskError::Disabled { action: action.reference });
    }
    let runtime = worker.runtime(&action.program.runtime, Some(action.reference.pack())).await?;
    let constraint = request.constraint.clone().or_else(|| action.program.constraint.clone());
    if let Some(constraint) = &constraint {
        if runtime.plugin.is_none() {
            return Err(AskError::NoVersions { runtime: runtime.runtime.reference });
        }
        constraint.resolve(&runtime.constraint_aliases)?;
    }
    let schema = action.parameters.schema.as_ref();
    let parameters = parameters::complete(schema, given(schema, &request.parameters)?)?;
    Ok(Checked { action, pack_digest: row.pack_digest, runtime, constraint, parameters })
}

/// Checks what is asked, and gets ready what it is run with.
pub(super) async fn ask(worker: &Worker, request: &Request, attempt: Attempt) -> Result<Asked, AskError> {
    let checked = check(worker, request).await?;
    let secrets = secrets(worker, request, &checked.action)?;
    let token = worker.settings.api.url.as_ref().map(|_| Token::of_attempt(attempt));
    let token = token.transpose().map_err(AskError::Token)?;
    with_secrets(worker, request, attempt, (checked, secrets, token)).await
}

/// The same without its secrets, which are not so much as read: for whoever only wants to know what would be done.
pub(super) async fn ask_without_secrets(
    worker: &Worker,
    request: &Request,
    attempt: Attempt,
) -> Result<Asked, AskError> {
    let checked = check(worker, request).await?;
    with_secrets(worker, request, attempt, (checked, Secrets::default(), None)).await
}

async fn with_secrets(
    worker: &Worker,
    request: &Request,
    attempt: Attempt,
    (checked, secrets, token): (Checked, Secrets, Option<Token>),
) -> Result<Asked, AskError> {
    let Checked { action, pack_digest, runtime, constraint, parameters } = checked;
    let masker = Masker::new(&secrets, token.as_ref().map(Token::reveal))
        .map_err(|error| AskError::Unmaskable { message: error.to_string() })?;
    let unmasked =
        masker.unmasked().iter().map(|name| format!("the secret `{name}` is too short to be masked"));
    let warnings = unmasked.collect();
    let encoded = Encoded(parameters::encode(action.parameters.format, &parameters, &secrets)?);
    let (pack, entry_point) = (action.reference.pack(), &action.program.entry_point);
    Ok(Asked {
        attempt,
        pack_folder: worker.pack_files_with(pack, &pack_digest, entry_point).await?,
        pack_digest,
        constraint,
        timeout: request.timeout.or(action.timeout).or(worker.settings.action_timeout),
        action,
        runtime,
        parameters,
        secrets,
        encoded,
        masker,
        token,
        warnings,
    })
}

/// Where secrets are read from.
pub(super) fn secrets_file<'a>(worker: &'a Worker, request: &'a Request) -> Option<&'a Path> {
    request.secrets_file.as_deref().or(worker.settings.secrets_file.as_deref())
}

/// The document with the assignments on top.
pub(crate) fn given(schema: Option<&Json>, given: &Given) -> Result<Json, AskError> {
    let mut document = match &given.document {
        None => Json::Object(given.values.clone()),
        Some((origin, text)) if text.trim().is_empty() => {
            tracing::debug!("the parameters from {origin} are empty");
            Json::Object(given.values.clone())
        }
        Some((origin, text)) => serde_saphyr::from_str(text).map_err(|error| {
            let message = error.to_string().trim_start_matches("error: ").to_owned();
            AskError::Document { origin: origin.clone(), message }
        })?,
    };
    let assigned = parameters::parse(schema, &given.assignments)
        .map_err(|mistakes| AskError::Assignments { mistakes })?;
    if let Json::Object(document) = &mut document {
        document.extend(assigned);
    }
    Ok(document)
}

fn secrets(worker: &Worker, request: &Request, action: &Action) -> Result<Secrets, AskError> {
    let declared = &action.program.secrets;
    if declared.is_empty() {
        return Ok(Secrets::default());
    }
    let all = secrets_file(worker, request).map(Secrets::from_file).transpose()?.unwrap_or_default();
    Ok(all.declared(declared)?)
}
