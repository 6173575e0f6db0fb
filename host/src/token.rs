//! What callers of the API prove with who they are.
//!
//! A token is shown once, when it is made; only its SHA-256 is kept. It has so many random bits that nothing slower is needed
//! to keep it from being guessed.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use crate::digest;
use crate::printable::one_line;
use crate::store::execution::Attempt;

/// What every token begins with, so that scanners for secrets that got out know one.
pub const PREFIX: &str = "attune_";

/// Random bytes of a token.
const BYTES: usize = 32;

/// What a caller may do: each may do what those before it may.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything but tokens and the audit.
    Viewer,
    /// Run actions, cancel and retry executions.
    Operator,
    /// Change packs, runtimes, versions, actions and sensors.
    Author,
    /// Everything.
    Admin,
}

impl Role {
    /// As it is written everywhere.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// That a text is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is `viewer`, `operator`, `author` or `admin`")]
pub struct InvalidRole;

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        [Self::Viewer, Self::Operator, Self::Author, Self::Admin]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or(InvalidRole)
    }
}

/// What a token is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName(String);

impl TokenName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// More characters than this has no name of a token.
const NAME_MAX: usize = 100;

/// That a text is no name of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a token has 1 to {NAME_MAX} characters, none of which steer a terminal, and no spaces around it"
)]
pub struct InvalidTokenName;

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, InvalidTokenName> {
        let is_plain = text == text.trim() && text == one_line(text);
        if is_plain && (1..=NAME_MAX).contains(&text.chars().count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTokenName)
        }
    }
}

/// A token in the clear. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one, which nobody can guess.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", digest::hexadecimal(&bytes))))
    }

    /// A new one for an attempt of an execution, which it names.
    pub fn of_attempt(Attempt { id, number }: Attempt) -> io::Result<Self> {
        let Self(random) = Self::random()?;
        let digits = random.trim_start_matches(PREFIX);
        Ok(Self(format!("{PREFIX}{}_{number}_{digits}", id.0.simple())))
    }

    /// Which attempt it is for, if it is for one.
    #[must_use]
    pub fn attempt(&self) -> Option<Attempt> {
        let mut parts = self.0.strip_prefix(PREFIX)?.splitn(3, '_');
        let (id, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Attempt { id, number })
    }

    /// The text that whoever has it sends.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> String {
        digest::of_bytes(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// That a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is `{PREFIX}` and 64 hexadecimal digits")]
pub struct InvalidToken;

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let rest = text.strip_prefix(PREFIX).ok_or(InvalidToken)?;
        let (attempt, digits) = rest.rsplit_once('_').unwrap_or(("", rest));
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let token = Self(text.to_owned());
        if digits.len() == 2 * BYTES
            && digits.bytes().all(is_digit)
            && (attempt.is_empty() && rest == digits || token.attempt().is_some())
        {
            Ok(token)
        } else {
            Err(InvalidToken)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::ExecutionId;

    #[test]
    fn each_is_another_and_reads_back() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, other);
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.reveal().parse::<Token>(), Ok(one.clone()));
        assert!(!format!("{one:?}").contains(&one.reveal()[PREFIX.len()..]));
        assert_eq!(one.hash().len(), 64);
        assert_eq!(one.attempt(), None);
        let attempt = Attempt { id: ExecutionId::new(), number: 3 };
        let own = Token::of_attempt(attempt).unwrap();
        assert_eq!((own.reveal().parse::<Token>(), own.attempt()), (Ok(own.clone()), Some(attempt)));
    }

    #[test]
    fn what_is_no_token_is_not_looked_up() {
        let digits = "0".repeat(64);
        for text in [
            "",
            "attune_",
            &digits,
            &format!("attune_{}", &digits[1..]),
            &format!("attune_{}G", &digits[1..]),
            &format!("attune__{digits}"),
            &format!("attune_1_{digits}"),
            &format!("attune_x_1_{digits}"),
        ] {
            assert_eq!(text.parse::<Token>(), Err(InvalidToken), "{text}");
        }
    }

    #[test]
    fn roles_are_in_order_and_read_back() {
        let roles = [Role::Viewer, Role::Operator, Role::Author, Role::Admin];
        assert!(roles.is_sorted());
        for role in roles {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(InvalidRole));
    }
}
