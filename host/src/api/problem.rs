//! Errors as documents: RFC 9457, `application/problem+json`. The only place that knows which error is which status.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::packs::{AskedGrants, mistakes};
use super::{ARCHIVE_MAX, BODY_MAX};
use crate::detection::DetectionError;
use crate::execution::AskError;
use crate::pack;
use crate::pack::bundle::BundleError;
use crate::pack::install::InstallError;
use crate::pack::part::Fault;
use crate::pack::remove::RemoveError;
use crate::parameters::{ParametersError, Violation};
use crate::printable::with_causes;
use crate::queue::QueueError;
use crate::store::StoreError;
use crate::store::change::ChangeError;
use crate::version::constraint::ConstraintError;
use crate::worker::RuntimeError;

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem it is: stays the same whatever the words are.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "urn:attune:problem:not-found")]
    kind: Box<str>,
    /// The status, in words.
    title: &'static str,
    /// Of the answer.
    status: u16,
    /// What is wrong, in a sentence.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// What of the request is wrong, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<Box<str>>,
    /// Where in the text of that field, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    position: Option<NonZeroU32>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    hint: Option<Box<str>>,
    /// Everything that is wrong with what was sent.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<Mistake>)]
    problems: Box<[Mistake]>,
    /// What components ask for and nobody approved.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<AskedGrants>)]
    asked: Box<[AskedGrants]>,
}

/// Something that is wrong with a file of a pack, or with a field of a declaration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Mistake {
    /// The file, relative to the pack; or the field, as a JSON pointer.
    path: String,
    /// From 1; none if it is the whole file that is wrong.
    line: Option<usize>,
    /// In characters, from 1.
    column: Option<usize>,
    message: String,
    /// What would be right.
    hint: String,
}

impl From<Fault> for Mistake {
    fn from(fault: Fault) -> Self {
        let Fault { pointer: path, position: column, message, help: hint } = fault;
        Self { path, line: None, column, message, hint }
    }
}

impl From<&pack::problem::Problem> for Mistake {
    fn from(problem: &pack::problem::Problem) -> Self {
        Self {
            path: problem.path.clone(),
            line: problem.position.map(|position| position.line),
            column: problem.position.map(|position| position.column),
            message: problem.message.clone(),
            hint: problem.help.clone(),
        }
    }
}

impl Problem {
    fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:attune:problem:{kind}").into(),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.into().into(),
            field: None,
            position: None,
            hint: None,
            problems: Box::default(),
            asked: Box::default(),
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// What the request says can't be.
    pub(super) fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: Some(field.into().into()),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
        }
    }

    pub(super) fn constraint(field: &str, error: &ConstraintError) -> Self {
        Self {
            field: Some(field.into()),
            position: position(error.column()),
            hint: error.hint.as_deref().map(Box::from),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-constraint", error.message.clone())
        }
    }

    /// What was sent is no request.
    pub(super) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", detail)
    }

    pub(super) fn conflict(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(super) fn too_often(token: &str) -> Self {
        let detail = format!("the token `{token}` is used more often than `api_rate_limit` allows");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail).hint("ask again in a second")
    }

    pub(super) fn not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "not-allowed",
            "that can't be done with what is under this path",
        )
    }

    /// Something that is nobody's fault who asks; the log says what.
    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong here; the log of the server says what",
        )
    }

    pub(super) fn late(limit: Duration) -> Self {
        let detail = format!("there was no answer in {} s", limit.as_secs());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-late", detail)
    }

    /// What is wrong with the declaration of an action, a sensor or a runtime.
    pub(super) fn declaration(faults: Vec<Fault>) -> Self {
        let first = faults.first();
        let detail = first.map(|fault| fault.message.clone()).unwrap_or_default();
        let position = first.and_then(|fault| fault.position).and_then(position);
        let field = first.map(|fault| fault.pointer.clone()).unwrap_or_default();
        let hint = first.map(|fault| fault.help.as_str().into());
        Self {
            position,
            hint,
            problems: faults.into_iter().map(Mistake::from).collect(),
            ..Self::invalid(field, detail)
        }
    }

    /// What is wrong with the parameters of an execution.
    fn parameters(detail: String, violations: Vec<Violation>) -> Self {
        let pointer = |violation: &Violation| format!("/parameters{}", violation.path);
        let field = match &violations[..] {
            [only] => pointer(only),
            _ => "/parameters".to_owned(),
        };
        let mistake = |violation: Violation| Mistake {
            path: pointer(&violation),
            line: None,
            column: None,
            message: violation.message,
            hint: String::new(),
        };
        Self { problems: violations.into_iter().map(mistake).collect(), ..Self::invalid(field, detail) }
    }

    /// What was sent is more than is read.
    fn large() -> Self {
        let detail = "the body is larger than what is read";
        let hint =
            format!("{} MiB is the most, and {} MiB for an archive", BODY_MAX >> 20, ARCHIVE_MAX >> 20);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).hint(hint)
    }

    /// What was sent is no archive of a pack.
    pub(super) fn archive(error: &BundleError) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-archive", with_causes(error))
    }

    /// Something is in another state than whoever changes it knows.
    pub(super) fn precondition(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "changed-since", detail)
            .hint("read it again, and send its `ETag` as `If-Match`")
    }

    /// Whoever changes something does not say what he knows of it.
    pub(super) fn unconditional() -> Self {
        let detail = "a change says which state it is of, so that nobody else's is lost";
        Self::new(StatusCode::PRECONDITION_REQUIRED, "unconditional", detail)
            .field("header/If-Match")
            .hint("read it, and send its `ETag` as `If-Match`; or `If-Match: *`, whatever state it is in")
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into().into()), ..self }
    }

    /// With what is probably meant.
    pub(super) fn hinted(self, nearest: Option<String>) -> Self {
        match nearest {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    pub(super) fn field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into().into()), ..self }
    }
}

fn position(column: usize) -> Option<NonZeroU32> {
    u32::try_from(column).ok().and_then(NonZeroU32::new)
}

/// What may come of every request.
pub(super) enum Every {}

/// What may come of a request besides, if it is for one thing.
pub(super) enum NotFound {}

/// What may come of a request besides, if it changes something.
pub(super) enum Changes {}

/// What may come of a request besides, if it changes what others may have changed.
pub(super) enum Updates {}

impl IntoResponses for Every {
    fn responses() -> Described {
        described([
            (400, "The request can't be read"),
            (401, "Nobody knows who asks"),
            (403, "Whoever asks may not"),
            (422, "Something of the request is wrong"),
            (429, "Whoever asks does so too often: `Retry-After` says when to ask again"),
            (500, "Something went wrong here"),
            (503, "The database is out of reach, or there was no answer in time"),
        ])
    }
}

impl IntoResponses for NotFound {
    fn responses() -> Described {
        described([(404, "There is no such thing")])
    }
}

impl IntoResponses for Changes {
    fn responses() -> Described {
        described([
            (409, "It can't be, in the state in which it is"),
            (412, "It was changed since"),
            (413, "The body is too large"),
            (415, "The body is no JSON"),
        ])
    }
}

impl IntoResponses for Updates {
    fn responses() -> Described {
        described([(428, "It does not say which state it is of")])
    }
}

type Described = BTreeMap<String, RefOr<utoipa::openapi::Response>>;

fn described<const N: usize>(statuses: [(u16, &str); N]) -> Described {
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = |text: &str| {
        ResponseBuilder::new().description(text).content("application/problem+json", content()).build()
    };
    statuses.map(|(status, text)| (status.to_string(), RefOr::T(response(text)))).into()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            // At one a second, the slowest that can be set, there is one more after that.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_outage() {
            tracing::warn!("the API can't reach the database: {error}");
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "database-unreachable", error.to_string())
                .hint("ask again in a moment");
        }
        if error.is_text() {
            return Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "the character U+0000 can't be kept",
            );
        }
        // What it says may show how the data is kept: that is for the log.
        tracing::error!("the API can't use the database: {}", with_causes(&error));
        Self::internal()
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeError::Duplicate { .. } => Self::conflict("duplicate", detail),
            ChangeError::NotFound { .. } => Self::not_found(detail),
            ChangeError::Unknown { .. } | ChangeError::Ambiguous { .. } => Self::invalid("", detail),
            ChangeError::Changed { .. } => Self::precondition(detail),
            ChangeError::InUse { .. } => Self::conflict("in-use", detail),
            ChangeError::InvalidVersion { .. } => Self::invalid("/version", detail),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<InstallError> for Problem {
    fn from(error: InstallError) -> Self {
        let detail = error.to_string();
        match error {
            InstallError::Problems(problems) => Self {
                problems: mistakes(&problems).into(),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-pack", detail)
            },
            InstallError::NotApproved { asked, .. } => Self {
                asked: asked.iter().map(AskedGrants::from).collect(),
                ..Self::new(StatusCode::FORBIDDEN, "not-approved", detail)
                    .hint("an administrator allows it by sending it with `approve=true`")
            },
            InstallError::NoComponent { .. } => Self::invalid("", detail),
            InstallError::Store(error) => error.into(),
            InstallError::Bundle(_)
            | InstallError::Plugin(_)
            | InstallError::Bundles(_)
            | InstallError::Write { .. } => {
                tracing::error!("a pack can't be installed: {}", with_causes(&error));
                Self::internal()
            }
        }
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Change(error) => error.into(),
            RemoveError::Embedded { .. } => Self::conflict("comes-with-attune", error.to_string())
                .hint("install a pack of that name in its place, if it is to be another"),
            RemoveError::Folder { .. } => {
                tracing::error!("{}", with_causes(&error));
                Self::internal()
            }
        }
    }
}

impl From<DetectionError> for Problem {
    fn from(error: DetectionError) -> Self {
        match error {
            DetectionError::Store(error) => error.into(),
            DetectionError::NotApproved { .. } => Self::conflict("not-approved", error.to_string())
                .hint("an administrator allows it: PUT /runtimes/{ref}/grants"),
            DetectionError::Plugin(_) | DetectionError::Files(_) => {
                Self::conflict("component-failed", with_causes(&error))
            }
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        let detail = error.to_string();
        match error {
            QueueError::Ask(error) => error.into(),
            QueueError::TooLarge { .. } => Self::invalid("/parameters", detail),
            // Whose that is may not be for whoever asks to know.
            QueueError::Conflict { key, .. } => {
                let detail = format!("the key `{key}` was used for something else");
                Self::conflict("idempotency-key-used", detail).field("header/Idempotency-Key")
            }
            QueueError::TooFar => Self::invalid("", detail),
            QueueError::Store(error) => error.into(),
        }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let detail = error.to_string();
        match error {
            AskError::Store(error) | AskError::Runtime(RuntimeError::Store(error)) => error.into(),
            AskError::NoAction { .. } | AskError::Disabled { .. } => Self::invalid("/action", detail),
            AskError::Constraint(error) => Self::constraint("/runtime_version_constraint", &error),
            AskError::Alias(_) | AskError::NoVersions { .. } => {
                Self::invalid("/runtime_version_constraint", detail)
            }
            AskError::Parameters(ParametersError::Invalid { violations }) => {
                Self::parameters(detail, violations)
            }
            AskError::Parameters(_)
            | AskError::Encode(_)
            | AskError::Document { .. }
            | AskError::Assignments { .. } => Self::invalid("/parameters", detail),
            _ => Self::conflict("not-runnable", detail),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let kind = match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "not-json",
            StatusCode::PAYLOAD_TOO_LARGE => return Self::large(),
            StatusCode::UNPROCESSABLE_ENTITY => "invalid",
            _ => "unreadable",
        };
        Self::new(rejection.status(), kind, rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::large(),
            status => Self::new(status, "unreadable", rejection.body_text()),
        }
    }
}
