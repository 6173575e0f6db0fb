//! Tokens, and what was done with them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::Body;
use super::page::{Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::query::Query;
use crate::reference::PackRef;
use crate::store::now;
use crate::store::token::{AuditRow, NewToken as New, TokenRow};
use crate::token::{Role, Token as Secret, TokenName};

/// A token, without what is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    name: String,
    role: Role,
    /// Only what is of this pack may be seen and changed with it.
    pack: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    role: Role,
    /// Only what is of this pack may be seen and changed with it.
    pack: Option<String>,
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<String>,
}

/// A token that was made. It is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreatedToken {
    /// What is sent as `Authorization: Bearer …`.
    token: String,
    #[serde(flatten)]
    kept: Token,
}

/// Something that was changed by the API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    id: i64,
    at: DateTime<Utc>,
    /// The name of the token.
    token: String,
    role: Role,
    method: String,
    path: String,
    /// Of the answer.
    status: i64,
    /// The `X-Request-Id` of the answer.
    request_id: String,
}

impl Listed for Token {
    const KEYS: &'static [SortKey<Self>] = &[
        ("name", |token| (&token.name).into()),
        ("created_at", |token| (&token.created_at).into()),
        ("expires_at", |token| token.expires_at.as_ref().into()),
        ("last_used_at", |token| token.last_used_at.as_ref().into()),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }
}

impl Listed for AuditEntry {
    const KEYS: &'static [SortKey<Self>] = &[("at", |done| (&done.at).into())];
    const DEFAULT: &'static str = "-at";

    fn identity(&self) -> String {
        self.id.to_string()
    }
}

impl From<TokenRow> for Token {
    fn from(row: TokenRow) -> Self {
        Self {
            name: row.name,
            role: row.role,
            pack: row.pack.map(|pack| pack.to_string()),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, token, role, method, path, status, request_id } = row;
        Self { id, at, token, role, method, path, status, request_id }
    }
}

/// List the tokens
#[utoipa::path(get, path = "/tokens", tag = "access", operation_id = "list_tokens", params(Wanted<Token>),
    responses((status = 200, body = Page<Token>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(page): Query<Wanted<Token>>,
) -> Result<Json<Page<Token>>, Problem> {
    caller.needs(Role::Admin)?;
    let cut = page.read()?;
    let tokens = api.worker.store.tokens().await?;
    Ok(Json(cut.page_of(tokens.into_iter().map(Token::from).collect())))
}

/// Make a token
#[utoipa::path(post, path = "/tokens", tag = "access", operation_id = "create_token", request_body = NewToken,
    responses((status = 201, body = CreatedToken), problem::Every, problem::Changes))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    caller.needs(Role::Admin)?;
    let name = new.name.parse::<TokenName>();
    let name = name.map_err(|error| Problem::invalid("/name", error.to_string()))?;
    let expires_at = new.expires_at.as_deref().map(DateTime::parse_from_rfc3339).transpose();
    let expires_at = expires_at.map_err(|_| {
        Problem::invalid("/expires_at", "this is no time")
            .hint("write it as RFC 3339 does, with its zone: `2030-01-31T12:00:00Z`")
    })?;
    let expires_at = expires_at.map(|time| time.to_utc());
    if expires_at.is_some_and(|expires_at| expires_at <= now()) {
        return Err(Problem::invalid("/expires_at", "that has passed: nobody would get in with it"));
    }
    let pack = new.pack.as_deref().map(str::parse::<PackRef>).transpose();
    let pack = pack.map_err(|error| Problem::invalid("/pack", error.to_string()))?;
    let secret = Secret::random().map_err(|error| {
        tracing::error!("can't make a token: {error}");
        Problem::internal()
    })?;
    let new = New { name: name.as_str(), role: new.role, pack: pack.as_ref(), expires_at };
    let kept = api.worker.store.create_token(&secret, &new).await?;
    Ok((StatusCode::CREATED, Json(CreatedToken { token: secret.reveal().to_owned(), kept: kept.into() })))
}

/// Revoke a token: from now on nobody gets in with it
#[utoipa::path(delete, path = "/tokens/{name}", tag = "access", operation_id = "revoke_token",
    params(("name" = String, Path)),
    responses((status = 200, body = Token), problem::Every, problem::Changes, problem::NotFound))]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Token>, Problem> {
    caller.needs(Role::Admin)?;
    let none = || Problem::not_found(format!("there is no token `{name}`"));
    Ok(Json(api.worker.store.revoke_token(&name).await?.ok_or_else(none)?.into()))
}

/// Which of it is listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditFilter {
    /// Only what was done with the token of this name.
    token: Option<String>,
}

/// List what was changed by the API
#[utoipa::path(get, path = "/audit", tag = "access", operation_id = "list_audit", params(AuditFilter, Wanted<AuditEntry>),
    responses((status = 200, body = Page<AuditEntry>), problem::Every))]
pub(super) async fn audit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(filter): Query<AuditFilter>,
    Query(page): Query<Wanted<AuditEntry>>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    caller.needs(Role::Admin)?;
    let cut = page.read()?;
    let slice = cut.slice()?;
    let rows = api.worker.store.audit(filter.token.as_deref(), &slice).await?;
    Ok(Json(cut.page(rows.into_iter().map(AuditEntry::from).collect())))
}
