//! What vouches for a component.

use std::fmt;

use serde::Serialize;

use super::embedded;

/// What vouches for a component: of what does, the strongest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Voucher {
    /// The pack came with the program.
    Program,
    /// A trusted key had signed the pack when it was installed.
    Signature {
        /// Its name in the settings of then.
        key: String,
    },
    /// The pack's `attune.lock` names its digest.
    Lock,
    /// It is what was installed; whether that was what its author meant is not known.
    Digest,
    Nothing,
}

impl Voucher {
    /// What vouches for the components of a pack from `source`, apart from what is known of their digests.
    #[must_use]
    pub fn of(source: &str, verified_by: Option<&str>, locked: bool) -> Option<Self> {
        match verified_by {
            _ if embedded::is_embedded(source) => Some(Self::Program),
            Some(key) => Some(Self::Signature { key: key.to_owned() }),
            None => locked.then_some(Self::Lock),
        }
    }
}

impl fmt::Display for Voucher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => formatter.write_str("it comes with Attune"),
            Self::Signature { key } => write!(formatter, "signed by `{key}`"),
            Self::Lock => formatter.write_str("pinned by attune.lock"),
            Self::Digest => formatter.write_str("only the digest that was installed"),
            Self::Nothing => formatter.write_str("nothing"),
        }
    }
}
