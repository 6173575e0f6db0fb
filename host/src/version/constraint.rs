//! What an action asks for: the grammar of constraints, and whether a version satisfies one.
//!
//! ```text
//! constraint  = "" | alternative { "||" alternative } | alias
//! alternative = term { [ "," ] term }
//! term        = [ operator ] version | version " - " version
//! operator    = "=" | "==" | "!=" | ">" | ">=" | "<" | "<=" | "~" | "^"
//! version     = [ "v" ] number [ "." number [ "." number [ "-" prerelease ] ] ] [ "+" variant ]
//!             | [ "v" ] number [ "." number ] "." wildcard [ "+" variant ] | "*" [ "+" variant ]
//! wildcard    = "*" | "x" | "X"
//! alias       = name { "/" name }
//! ```
//!
//! Without an operator a version means `~`; wildcards go without operator, or with `=`, `==` and `!=`. What
//! an alias means is for the runtime's component to say; nothing here asks it.

mod alias;
mod comparator;
mod error;
mod lexer;
mod parser;
mod range;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use alias::UnknownAlias;
pub use error::ConstraintError;
pub use range::{Judgement, Range};

use parser::Meaning;

/// What an action asks for, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Constraint {
    text: String,
    meaning: Meaning,
}

impl Constraint {
    /// Reads a constraint.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        match parser::parse(text) {
            Ok(meaning) => Ok(Self { text: text.to_owned(), meaning }),
            Err(fault) => Err(ConstraintError::new(text, fault)),
        }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The alias, if it is one.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        match &self.meaning {
            Meaning::Alias(name) => Some(name),
            Meaning::Range(_) => None,
        }
    }

    /// What the alias stands for among `aliases`, if it is one that they know.
    #[must_use]
    pub fn stands_for<'a>(&self, aliases: &'a [(String, String)]) -> Option<&'a str> {
        let alias = self.alias()?;
        aliases.iter().find(|(known, _)| known == alias).map(|(_, text)| text.as_str())
    }

    /// The build variant that it asks for, `freethreaded` in `3.13+freethreaded`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        match &self.meaning {
            Meaning::Alias(_) => None,
            Meaning::Range(range) => range.variant(),
        }
    }

    /// The versions that it covers. `aliases` are names and constraints, as the runtime's component tells them.
    pub fn resolve(&self, aliases: &[(String, String)]) -> Result<Range, UnknownAlias> {
        match &self.meaning {
            Meaning::Range(range) => Ok(range.clone()),
            Meaning::Alias(name) => alias::resolve(name, aliases),
        }
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
