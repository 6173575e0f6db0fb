//! Bodies of requests.

use axum::Json;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::problem::Problem;

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
