//! Bodies of requests, and the states of what answers show.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::store::change::Revision;

/// A body of JSON; what is wrong with it is a [`Problem`].
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(value) = Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

/// A body of bytes; what is wrong with it is a [`Problem`].
#[derive(Debug)]
pub(super) struct Bytes(pub(super) axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(axum::body::Bytes::from_request(request, state).await?))
    }
}

/// Something in a state that is told apart from every other by its `ETag`.
#[derive(Debug)]
pub(super) struct Tagged<T>(pub(super) Revision, pub(super) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.0)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// In which state alone something is to be changed: the `If-Match` of the request.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let tag =
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
    // Another state than any that there ever was.
    tag.map(Some).ok_or_else(|| Problem::precondition(format!("`{text}` is the `ETag` of nothing here")))
}
