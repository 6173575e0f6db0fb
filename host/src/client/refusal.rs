//! What a server says when it says no: RFC 9457.

use std::fmt;

use serde::Deserialize;

use super::packs::{AskedGrants, Mistake};

/// What the `type` of every problem begins with.
const KIND: &str = "urn:attune:problem:";

/// A problem, as a server describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    #[serde(rename = "type")]
    kind: String,
    pub(crate) status: u16,
    detail: String,
    /// What of the request is wrong, as a JSON pointer.
    field: Option<String>,
    /// Where in the text of that field, in characters from 1.
    position: Option<u32>,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// Everything that is wrong with a pack that was sent.
    #[serde(default)]
    pub(crate) problems: Vec<Mistake>,
    /// What components ask for and nobody approved.
    #[serde(default)]
    pub(crate) asked: Vec<AskedGrants>,
}

impl Refusal {
    /// Reads the answer that has a status; none if it says nothing of a problem.
    pub(super) fn read(status: u16, body: &[u8]) -> Option<Self> {
        let refusal = serde_json::from_slice::<Self>(body).ok()?;
        Some(Self { status, ..refusal })
    }

    /// Which kind of problem it is, `not-found` for instance.
    pub(crate) fn kind(&self) -> &str {
        self.kind.strip_prefix(KIND).unwrap_or(&self.kind)
    }

    /// Whether the same may succeed in a moment.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self.status, 429 | 502..=504)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.detail)?;
        match (&self.field, self.position) {
            (Some(field), Some(position)) => write!(formatter, " (`{field}`, character {position})"),
            (..) => Ok(()),
        }
    }
}
