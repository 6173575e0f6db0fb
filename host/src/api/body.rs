//! Bodies of requests, and the states of what answers show.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::problem::Problem;
use crate::store::change::Revision;

/// A body that is a JSON object; what is wrong with it is a [`Problem`].
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(document) = Json::<Value>::from_request(request, state).await?;
        // A list of the values of fields would do as well, by how structures are read.
        if !document.is_object() {
            return Err(Problem::invalid("", "the body is to be a JSON object"));
        }
        Ok(Self(typed(document)?))
    }
}

/// A document as what it is; what is wrong with it is said with the field.
pub(super) fn typed<T: DeserializeOwned>(document: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().iter().filter(|segment| !matches!(segment, Segment::Unknown));
        let pointer = path.map(|segment| format!("/{segment}")).collect::<Vec<_>>().concat();
        Problem::invalid(pointer, error.inner().to_string())
    })
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
