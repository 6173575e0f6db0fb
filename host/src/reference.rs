//! Names of packs and of what they ship, checked once, when they are made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// Why a text is not a name or a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// Not `^[a-z][a-z0-9_-]{0,63}$`.
    #[error(
        "`{text}` is not a name: use a lower-case letter, then up to 63 lower-case letters, digits, `_` or `-`"
    )]
    Name {
        /// What was read.
        text: String,
    },
    /// Not two names with a dot between them.
    #[error("`{text}` is not a reference: write the pack, a dot and the name, such as `examples.greet`")]
    Reference {
        /// What was read.
        text: String,
    },
}

/// A checked name: `^[a-z][a-z0-9_-]{0,63}$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|first| first.is_ascii_lowercase());
        let goes_on_well = bytes
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'));
        if starts_well && goes_on_well && text.len() <= NAME_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidReference::Name { text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A pack's reference is its name.
pub type PackRef = Name;

/// Declares a reference of the form `pack.name`.
macro_rules! reference {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type {
            pack: PackRef,
            name: Name,
        }

        impl $type {
            /// The thing called `name` of `pack`.
            #[must_use]
            pub fn new(pack: PackRef, name: Name) -> Self {
                Self { pack, name }
            }

            /// The pack that ships it.
            #[must_use]
            pub fn pack(&self) -> &PackRef {
                &self.pack
            }

            /// Its name within the pack.
            #[must_use]
            pub fn name(&self) -> &Name {
                &self.name
            }
        }

        impl FromStr for $type {
            type Err = InvalidReference;

            fn from_str(text: &str) -> Result<Self, InvalidReference> {
                let (pack, name) = text
                    .split_once('.')
                    .ok_or_else(|| InvalidReference::Reference { text: text.to_owned() })?;
                Ok(Self { pack: pack.parse()?, name: name.parse()? })
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidReference;

            fn try_from(text: String) -> Result<Self, InvalidReference> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(reference: $type) -> Self {
                reference.to_string()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}.{}", self.pack, self.name)
            }
        }
    };
}

reference! {
    /// `core.python`
    RuntimeRef
}
reference! {
    /// `examples.greet`
    ActionRef
}
reference! {
    /// `examples.clock`
    SensorRef
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "tool", "my-pack_2", &"a".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "-a", "a.b", "a b", "é", "a/..", &"a".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn references() {
        let action: ActionRef = "examples.greet".parse().expect("a reference");
        assert_eq!(action.pack().as_str(), "examples");
        assert_eq!(action.name().as_str(), "greet");
        assert_eq!(action.to_string(), "examples.greet");
        for bad in ["examples", "examples.", ".greet", "a.b.c", "A.b"] {
            assert!(bad.parse::<ActionRef>().is_err(), "{bad}");
        }
    }
}
