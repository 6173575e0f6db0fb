//! The API, asked: what the commands do with `--server`.
//!
//! Knows addresses, tokens, documents and how to come back to a stream that broke off. What is said to people, and with which
//! exit code a command ends, is up to the command line.

pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod packs;
pub(crate) mod profiles;
pub(crate) mod refusal;
pub(crate) mod server;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use refusal::Refusal;
pub(crate) use server::{InvalidServer, ServerUrl};

use crate::token::Token;

/// A server that does not even take the connection in this time is not there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A server cuts its own answers off before this.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// The same, where a pack is sent or installations are verified.
const WORK_MAX: Duration = Duration::from_mins(10);

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The token could be read on the way.
    #[error("what is sent to `{server}` can be read on the way, and so can the token")]
    Exposed { server: ServerUrl },
    /// The certificates that are to be trusted can't be read.
    #[error("can't read certificates from `{}`: {problem}", path.display())]
    Certificates { path: PathBuf, problem: String },
    /// Nobody answers there.
    #[error("can't reach `{server}`: {problem}")]
    Unreachable {
        server: ServerUrl,
        problem: String,
        /// Whether it can't even have been asked.
        unasked: bool,
    },
    /// Somebody answers whom nobody vouches for.
    #[error("`{server}` can't prove that it is the one that is meant: {problem}")]
    Untrusted { server: ServerUrl, problem: String },
    /// It names another place, which is not given the token.
    #[error("`{server}` sends whoever asks to `{to}`")]
    Elsewhere { server: ServerUrl, to: String },
    /// What answers there is something else.
    #[error("`{server}` does not answer as an Attune does: {problem}")]
    Unreadable { server: ServerUrl, problem: String },
    /// It says no.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

impl ClientError {
    /// Whether the same may succeed in a moment.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.is_outage(),
            Self::Exposed { .. }
            | Self::Certificates { .. }
            | Self::Untrusted { .. }
            | Self::Elsewhere { .. }
            | Self::Unreadable { .. } => false,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, ClientError>;

/// How a server is to be reached.
#[derive(Clone, Debug)]
pub(crate) struct Connection<'a> {
    pub(crate) server: &'a ServerUrl,
    pub(crate) token: Token,
    /// Certificates that are trusted besides those of this machine.
    pub(crate) ca: Option<&'a Path>,
    /// Whether the token may go over the network in the clear.
    pub(crate) plain_http: bool,
}

/// A server, and what proves to it who asks.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: ServerUrl,
    bearer: HeaderValue,
}

/// A part of a list.
#[derive(Debug, serde::Deserialize)]
struct Page<T> {
    items: Vec<T>,
    /// The cursor of the next page.
    next: Option<String>,
}

impl Client {
    /// Gets ready to ask.
    pub(crate) fn new(connection: Connection<'_>) -> Result<Self> {
        let Connection { server, token, ca, plain_http } = connection;
        if !server.is_private() && !plain_http {
            return Err(ClientError::Exposed { server: server.clone() });
        }
        // An error would mean that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("attune/", env!("CARGO_PKG_VERSION")))
            // The token is for this server alone.
            .redirect(Policy::none())
            .connect_timeout(CONNECT_MAX);
        if server.is_loopback() {
            // A proxy elsewhere would take it to itself.
            http = http.no_proxy();
        }
        if server.is_encrypted() {
            http = http.tls_certs_merge(ca.map(certificates).transpose()?.unwrap_or_default());
        } else {
            // Reading those of this machine takes longer than asking.
            http = http.tls_certs_only([]);
        }
        let unusable =
            |problem: String| ClientError::Unreachable { server: server.clone(), problem, unasked: true };
        let http = http.build().map_err(|error| unusable(root_cause(&error)))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
            .map_err(|error| unusable(error.to_string()))?;
        bearer.set_sensitive(true);
        Ok(Self { http, server: server.clone(), bearer })
    }

    /// A request for what is at a path of the API.
    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        self.stream(method, path, query).timeout(ANSWER_MAX)
    }

    /// The same, whose answer has no end that can be told.
    fn stream(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.server.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).header(AUTHORIZATION, self.bearer.clone())
    }

    /// Reads a document.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T> {
        self.document(self.request(Method::GET, path, query)).await
    }

    /// Reads as much of a list as there is, up to a limit.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        limit: usize,
    ) -> Result<Vec<T>> {
        /// As many as a page has at most.
        const PAGE_MAX: usize = 500;
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = query.to_vec();
            query.push(("limit", (limit - items.len()).min(PAGE_MAX).to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page = self.get::<Page<T>>(path, &query).await?;
            items.extend(page.items);
            cursor = page.next.filter(|_| items.len() < limit);
            if cursor.is_none() {
                items.truncate(limit);
                return Ok(items);
            }
        }
    }

    /// Reads all of a list.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>> {
        self.list(path, &[], usize::MAX).await
    }

    /// Asks for a change, and reads what came of it.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T> {
        self.document(self.with_json(self.request(Method::POST, path, &[]), body)?).await
    }

    /// Asks for what takes its time.
    pub(crate) async fn work<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        self.document(self.stream(Method::POST, path, &[]).timeout(WORK_MAX)).await
    }

    /// The same, with another method.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T> {
        self.document(self.with_json(self.request(Method::PUT, path, &[]), body)?).await
    }

    /// The same, without anything to say.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: Method, path: &[&str]) -> Result<T> {
        self.document(self.request(method, path, &[])).await
    }

    fn with_json(&self, request: RequestBuilder, body: &impl Serialize) -> Result<RequestBuilder> {
        let body = serde_json::to_vec(body).map_err(|error| self.unreadable(error.to_string()))?;
        Ok(request.header(CONTENT_TYPE, "application/json").body(body))
    }

    /// Reads a document that was read as it is.
    pub(crate) fn read<T: DeserializeOwned>(&self, document: &serde_json::Value) -> Result<T> {
        T::deserialize(document).map_err(|error| self.unreadable(error.to_string()))
    }

    async fn document<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let response = self.answer(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.unreadable(error.to_string()))
    }

    /// Sends a request; whatever is no answer to it is an error.
    async fn answer(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).map(HeaderValue::to_str);
            let to = to.and_then(std::result::Result::ok).unwrap_or_default().to_owned();
            return Err(ClientError::Elsewhere { server: self.server.clone(), to });
        }
        Err(self.refused(status, &response.bytes().await.unwrap_or_default()))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match Refusal::read(status.as_u16(), body) {
            Some(refusal) => ClientError::Refused(Box::new(refusal)),
            // What stands before a server that is away answers for itself.
            None if matches!(status.as_u16(), 502..=504) => ClientError::Unreachable {
                server: self.server.clone(),
                problem: format!("what is before it says {status}"),
                unasked: false,
            },
            None => self.unreadable(format!("it says {status}, and not why")),
        }
    }

    fn unreadable(&self, problem: String) -> ClientError {
        ClientError::Unreadable { server: self.server.clone(), problem }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let server = self.server.clone();
        if let Some(problem) = distrust(error) {
            return ClientError::Untrusted { server, problem };
        }
        // To whoever expects a handshake, a request is rubbish; what he says to that is rubbish here.
        let is_handshake = |cause: &(dyn Error + 'static)| {
            cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
        };
        if causes(error).any(is_handshake) {
            return self.unreadable("what comes from there is no HTTP".to_owned());
        }
        let problem =
            if error.is_timeout() { "there was no answer in time".to_owned() } else { root_cause(error) };
        ClientError::Unreachable { server, problem, unasked: error.is_connect() }
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let failed = |problem: String| ClientError::Certificates { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&bytes).map_err(|error| failed(root_cause(&error)))?;
    if found.is_empty() { Err(failed("there is none in it, as PEM".to_owned())) } else { Ok(found) }
}

/// An error and its causes; what an error of input and output is made of says more than what that has for a cause.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

/// What an error comes down to: those around it repeat the address, or say no more than that it failed.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

/// What is wrong with a server's certificate, if that is what is wrong.
fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<rustls::Error>())
        .find(|error| matches!(error, rustls::Error::InvalidCertificate(_)))
        .map(|error| match error.to_string() {
            // What checks certificates has no name of its own for it that can be told from here.
            text if text.contains("CaUsedAsEndEntity") => {
                "its certificate is that of an authority (`CA:TRUE`), which a server can't have".to_owned()
            }
            text => text,
        })
}
