//! What a request says in its address: no more than its operation takes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use utoipa::IntoParams;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use super::problem::Problem;
use crate::nearest::nearest_name;

/// Whether anything is to be done at all.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DryRun {
    /// Show what would be done, and do none of it.
    #[serde(default)]
    #[param(default = false)]
    pub(super) dry_run: bool,
}

/// Some of what a request says in its query; what is wrong with it is a [`Problem`].
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = || form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let read = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs()));
        read.map(Self).map_err(|error| {
            let Some(Segment::Map { key: name }) = error.path().iter().next() else {
                return Problem::invalid("query", error.inner().to_string());
            };
            let given = pairs().filter(|(known, _)| known == name).map(|(_, value)| format!("`{value}`"));
            let given = given.collect::<Vec<_>>().join(", ");
            let detail = if given.is_empty() {
                error.inner().to_string()
            } else {
                format!("it can't be {given}: {}", error.inner())
            };
            Problem::invalid(format!("query/{name}"), detail)
        })
    }
}

/// Names of the parameters that each operation takes in its query.
#[derive(Debug)]
pub(super) struct Known(HashMap<(Method, String), Vec<String>>);

impl Known {
    /// As the document says.
    pub(super) fn new(description: &OpenApi) -> Self {
        let names = |operation: &Operation| {
            let of_query = |parameter: &RefOr<Parameter>| match parameter {
                RefOr::T(Parameter { name, parameter_in: ParameterIn::Query, .. }) => Some(name.clone()),
                _ => None,
            };
            operation.parameters.iter().flatten().filter_map(of_query).collect()
        };
        let operations = description.paths.paths.iter().flat_map(|(path, item)| {
            let operations = [
                (Method::GET, &item.get),
                (Method::HEAD, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ];
            let there =
                operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)));
            there.map(move |(method, operation)| ((method, path.clone()), names(operation)))
        });
        Self(operations.collect())
    }

    /// Refuses what the operation does not take: what is misspelt would not count.
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let uri = request.uri();
        let unreadable = |text: &str| {
            percent_decode_str(text).decode_utf8().map_or(true, |decoded| decoded.contains('\0'))
        };
        if unreadable(uri.path()) || uri.query().is_some_and(unreadable) {
            return Err(Problem::unreadable("the address is no text of UTF-8, or has the character U+0000"));
        }
        let path = request.extensions().get::<MatchedPath>();
        let names = path.and_then(|path| self.0.get(&(request.method().clone(), path.as_str().to_owned())));
        let Some(names) = names else { return Ok(()) };
        let mut given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let Some((unknown, _)) = given.find(|(name, _)| !names.iter().any(|known| known == name)) else {
            return Ok(());
        };
        let problem = Problem::invalid(format!("query/{unknown}"), "there is no such parameter here");
        let problem = match &names[..] {
            [] => problem.hint("nothing is asked for in the query here"),
            names => problem.hint(format!("there are {}", names.join(", "))),
        };
        Err(problem.hinted(nearest_name(names.iter().cloned(), &unknown)))
    }
}

/// Lets pass what can be read, and of which everything counts.
pub(super) async fn check(State(known): State<Arc<Known>>, request: Request, next: Next) -> Response {
    match known.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
