//! What is made and can be changed: where it is, its state as an `ETag`, and the `If-Match` of who changes it.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::PREFIX;
use super::problem::Problem;
use crate::store::change::Revision;

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

/// Something that was made.
#[derive(Debug)]
pub(super) struct Created<T> {
    /// The path of it, below that of the API.
    path: Vec<String>,
    made: T,
}

impl<T> Created<T> {
    pub(super) fn new<const N: usize>(path: [&str; N], made: T) -> Self {
        Self { path: path.map(str::to_owned).into(), made }
    }
}

impl<T: IntoResponse> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let segments = self.path.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, RESERVED)));
        let place = format!("{PREFIX}{}", segments.collect::<String>());
        let mut response = (StatusCode::CREATED, self.made).into_response();
        if let Ok(place) = HeaderValue::from_str(&place) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    }
}

/// What has a meaning of its own in an address: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In which states alone something is to be changed: the `If-Match` of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// In whichever it is.
    Any,
    /// In one of these; tags that are none of Attune's are those of no state.
    In(Vec<Revision>),
}

/// The same where it may be left out.
#[derive(Debug)]
pub(super) struct MayMatch(Option<IfMatch>);

impl IfMatch {
    /// The state in which something is, if that is one of those.
    pub(super) fn of(&self, current: Revision) -> Result<Revision, Problem> {
        match self {
            Self::In(tags) if !tags.contains(&current) => {
                Err(Problem::precondition("it is in another state than `If-Match` says"))
            }
            Self::In(_) | Self::Any => Ok(current),
        }
    }

    fn read(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let tags = text.split(',').map(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"'));
        let tags = tags.collect::<Option<Vec<_>>>()?;
        Some(Self::In(tags.into_iter().filter_map(|tag| tag.parse().ok()).collect()))
    }
}

impl MayMatch {
    /// The state in which alone it is to be changed.
    pub(super) fn of(&self, current: Revision) -> Result<Option<Revision>, Problem> {
        self.0.as_ref().map(|state| state.of(current)).transpose()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MayMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let state = value.to_str().ok().and_then(IfMatch::read);
        let wrong = || {
            Problem::invalid("header/If-Match", "these are no `ETag`s")
                .hint("send the `ETag` as it came, with its quotes; or `*`")
        };
        state.ok_or_else(wrong).map(|state| Self(Some(state)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        MayMatch::from_request_parts(parts, state).await?.0.ok_or_else(Problem::unconditional)
    }
}

/// One parameter, for the document that describes the API.
fn parameter(required: Required, description: &str) -> Vec<Parameter> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r#"^(\*|"[0-9a-f]{32}"(, "[0-9a-f]{32}"){0,7})$"#))
        .examples(BTreeSet::from(["*"]));
    let parameter = Parameter::builder()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(schema));
    vec![parameter.build()]
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        parameter(Required::True, "Only in this state, an `ETag`; `*` for whichever it is in")
    }
}

impl IntoParams for MayMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        parameter(Required::False, "Only in this state, an `ETag`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_a_list_of_tags_will_do() {
        let [one, other] = ["1", "2"].map(|digit| digit.repeat(32));
        let [first, second] = [&one, &other].map(|text| text.parse::<Revision>().expect("a revision"));
        for (text, states) in [
            (format!("\"{one}\""), vec![first]),
            (format!("\"{other}\" , \"{one}\""), vec![second, first]),
            (format!("\"another's\",\"{one}\""), vec![first]),
            ("\"\"".to_owned(), vec![]),
        ] {
            assert_eq!(IfMatch::read(&text), Some(IfMatch::In(states)), "{text}");
        }
        assert_eq!(IfMatch::read(" * "), Some(IfMatch::Any));
        for text in ["", "*, *", &one, "\"", "W/\"1\"", &format!("\"{one}\",")] {
            assert_eq!(IfMatch::read(text), None, "{text}");
        }
        assert!(IfMatch::In(vec![second, first]).of(first).is_ok());
        assert!(IfMatch::In(vec![second]).of(first).is_err());
        assert!(IfMatch::In(vec![]).of(first).is_err());
    }
}
