//! Who may ask for what.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::sleep;
use uuid::Uuid;

use super::problem::Problem;
use super::{Api, ApiError};
use crate::reference::PackRef;
use crate::store::execution::Attempt;
use crate::store::token::{NewAudit, NewToken, TokenRow};
use crate::store::{StoreError, now};
use crate::token::{Role, Token};
use crate::worker::Worker;

/// The token of whoever starts the API, in the data folder, for its owner alone.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";

/// What that token is called.
const ADMIN: &str = "admin";

/// Who was let in once may go on for this long before his token is looked at again.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// What every answer is known by, and what is on record of the request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) token: Arc<TokenRow>,
    /// What he proved it with.
    proof: Token,
}

impl Caller {
    /// Refuses who may less than `role`, or may it for one pack alone: for what is of no pack.
    pub(super) fn needs(&self, role: Role) -> Result<(), Problem> {
        self.has(role)?;
        match &self.token.pack {
            Some(own) => Err(Problem::forbidden(format!(
                "the token `{}` is for the pack `{own}`, and this is of no pack",
                self.token.name
            ))),
            None => Ok(()),
        }
    }

    /// Refuses who may less than `role`, wherever that is.
    pub(super) fn has(&self, role: Role) -> Result<(), Problem> {
        if self.token.role >= role {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "this needs the role `{role}`; the token `{}` has `{}`",
            self.token.name, self.token.role
        )))
    }

    /// Refuses who may less than `role` for what is of a pack.
    pub(super) fn needs_in(&self, role: Role, pack: &PackRef) -> Result<(), Problem> {
        self.has(role)?;
        self.sees(pack)
    }

    /// Refuses whose token is for another pack.
    pub(super) fn sees(&self, pack: &PackRef) -> Result<(), Problem> {
        match &self.token.pack {
            Some(own) if own != pack => Err(Problem::forbidden(format!(
                "the token `{}` is for the pack `{own}`, and this is of `{pack}`",
                self.token.name
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The pack of which alone something is listed: the one that is asked for, or that the token is for.
    pub(super) fn pack(&self, asked: Option<&str>) -> Result<Option<PackRef>, Problem> {
        let asked = asked.map(str::parse::<PackRef>).transpose();
        match asked.map_err(|error| Problem::invalid("query/pack", error.to_string()))? {
            Some(pack) => {
                self.sees(&pack)?;
                Ok(Some(pack))
            }
            None => Ok(self.token.pack.clone()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::unauthorized("nobody knows who asks"))
    }
}

/// Lets in who may, and keeps what was changed on record.
pub(super) async fn admit(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().simple().to_string();
    let mut response = match recognise(&api, request.headers()).await {
        Err(problem) => problem.into_response(),
        Ok(caller) => {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let token = Arc::clone(&caller.token);
            request.extensions_mut().insert(caller);
            let response = next.run(request).await;
            if method != Method::GET && method != Method::HEAD {
                let done = NewAudit {
                    token: &token.name,
                    role: token.role,
                    method: method.as_str(),
                    path: &path,
                    status: response.status().as_u16(),
                    request_id: &id,
                };
                if let Err(error) = api.worker.store.keep_audit(&done).await {
                    tracing::error!("{method} {path} by {} is not on record: {error}", token.name);
                }
            }
            response
        }
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn recognise(api: &Api, headers: &HeaderMap) -> Result<Caller, Problem> {
    let host = text(headers, header::HOST).unwrap_or_default();
    // A page of somebody else's, whose name leads here, would send that name.
    if api.bound.ip().is_loopback() && !is_loopback_host(host) {
        return Err(Problem::forbidden(format!("`{host}` is no name of this machine for itself"))
            .hint("call it `localhost` or `127.0.0.1`"));
    }
    if let Some(origin) = text(headers, header::ORIGIN)
        && origin.split_once("://").is_none_or(|(_, from)| from != host)
        && !api.worker.settings.api.origins.iter().any(|allowed| allowed == origin)
    {
        return Err(Problem::forbidden(format!("pages of `{origin}` may not ask here"))
            .hint("the setting `api_origins` of the server says whose may"));
    }
    let authorization = text(headers, header::AUTHORIZATION).and_then(|text| text.split_once(' '));
    let Some((_, bearer)) = authorization.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return Err(Problem::unauthorized("there is no token: send `Authorization: Bearer attune_…`")
            .hint("`attune token create` makes one"));
    };
    let unknown = || Problem::unauthorized("the token is not known, has expired or was revoked");
    let token = bearer.trim().parse::<Token>().map_err(|_| unknown())?;
    let row = holder(api, &token).await?.ok_or_else(unknown)?;
    // Whoever may read the data folder can keep it busy anyhow.
    if let Some(rate) = &api.rate
        && row.name != admin_name(&api.worker)
        && !rate.allows(row.id, Instant::now())
    {
        return Err(Problem::too_often(&row.name));
    }
    Ok(Caller { token: Arc::new(row), proof: token })
}

/// Whose token it is, if it is good now.
async fn holder(api: &Api, token: &Token) -> Result<Option<TokenRow>, StoreError> {
    let Some(attempt) = token.attempt() else { return api.asker.store.token_used(token).await };
    let pack = api.worker.store.attempt_asks(attempt, token).await?;
    // What has changed since somebody asked by another token is not known.
    api.asker.store.has_changed();
    Ok(pack.map(|pack| of_attempt(attempt, pack)))
}

/// Waits until somebody who was let in would not be any more.
pub(super) async fn shut_out(api: Arc<Api>, caller: Caller) {
    loop {
        sleep(GOOD_FOR).await;
        match holder(&api, &caller.proof).await {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => tracing::debug!("whether {} may go on is not known: {error}", caller.token.name),
        }
    }
}

/// What an action may do while it runs: run what is of its own pack.
fn of_attempt(Attempt { id, .. }: Attempt, pack: PackRef) -> TokenRow {
    TokenRow {
        id: id.0,
        name: format!("execution {id}"),
        role: Role::Operator,
        pack: Some(pack),
        created_at: now(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a name with or without a port is one of this machine for itself.
fn is_loopback_host(host: &str) -> bool {
    let is_loopback = |name: &str| {
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        || is_loopback(host)
        || host.rsplit_once(':').is_some_and(|(name, port)| port.parse::<u16>().is_ok() && is_loopback(name))
}

/// Makes a token for whoever starts the API on this machine, if there is none.
pub(super) async fn ensure_admin(worker: &Worker) -> Result<(), ApiError> {
    let path = worker.settings.data_dir.join(ADMIN_TOKEN_FILE);
    let failed = |source| ApiError::Token { path: path.clone(), source };
    let store = &worker.store;
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(token) = text.trim_end().parse::<Token>()
        && store.token_used(&token).await.map_err(crate::store::change::ChangeError::from)?.is_some()
    {
        return Ok(());
    }
    let token = Token::random().map_err(failed)?;
    let name = admin_name(worker);
    store.forget_token(&name).await.map_err(crate::store::change::ChangeError::from)?;
    store
        .create_token(&token, &NewToken { name: &name, role: Role::Admin, pack: None, expires_at: None })
        .await?;
    write_secret(&path, token.reveal()).map_err(failed)
}

/// A name of its own for each data folder: many may share a database.
fn admin_name(worker: &Worker) -> String {
    format!("{ADMIN}-{}", worker.home.simple())
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(folder)?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_for_itself_are_loopback() {
        for host in
            ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "[::1]", "[::1]:8080"]
        {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "example.org:80",
            "localhost.example.org",
            "10.0.0.1:80",
            "localhost:x",
            "[::2]:80",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
