//! What an action asks for: the grammar of constraints, and whether a version satisfies one.

use std::fmt;
use std::ops::Range as Span;

use serde::{Deserialize, Serialize};

/// What an action asks for, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Constraint {
    text: String,
}

/// Why a text is not a constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConstraintError {
    /// The whole text.
    pub text: String,
    /// The bytes that are wrong.
    pub span: Span<usize>,
    /// What was read, and why it is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Constraint {
    /// Reads a constraint.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        Ok(Self { text: text.to_owned() })
    }
}

impl TryFrom<String> for Constraint {
    type Error = ConstraintError;

    fn try_from(text: String) -> Result<Self, ConstraintError> {
        Self::parse(&text)
    }
}

impl From<Constraint> for String {
    fn from(constraint: Constraint) -> Self {
        constraint.text
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
