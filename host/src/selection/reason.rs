//! What selection says about its choice.

use std::fmt;
use std::path::PathBuf;

use crate::installation::Failure;
use crate::version::Version;

/// Why a candidate was selected or not. [`Reason::name`] is for programs, `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the choice.
    Selected,
    /// It would do, but another one is higher.
    LowerPrecedence {
        /// The one that was selected.
        higher: Version,
    },
    /// It would do, but the same version was found in a source that comes first.
    LaterSource {
        /// The one that was selected.
        chosen: PathBuf,
    },
    /// Nothing was asked, and it is not the default.
    NotDefault {
        /// The default, as declared.
        default: String,
    },
    /// Lower than everything that the constraint covers.
    Below,
    /// Higher than everything that the constraint covers.
    Above,
    /// In a gap of the constraint.
    NotCovered,
    /// The constraint leaves it out by name.
    Excluded,
    /// A prerelease, and the constraint names none of this release.
    PrereleaseNotAsked,
    /// A variant, and none was asked for.
    VariantNotAsked {
        /// Its variant.
        variant: String,
    },
    /// Another variant than was asked for, or none.
    VariantDiffers {
        /// What was asked for.
        wanted: String,
        /// Its variant.
        found: Option<String>,
    },
    /// It would do, if it worked.
    Unavailable {
        /// Why it does not.
        failure: Failure,
    },
}

impl Reason {
    /// The same wherever programs read it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::LowerPrecedence { .. } => "lower_precedence",
            Self::LaterSource { .. } => "later_source",
            Self::NotDefault { .. } => "not_default",
            Self::Below => "below",
            Self::Above => "above",
            Self::NotCovered => "not_covered",
            Self::Excluded => "excluded",
            Self::PrereleaseNotAsked => "prerelease_not_asked",
            Self::VariantNotAsked { .. } => "variant_not_asked",
            Self::VariantDiffers { .. } => "variant_differs",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selected => formatter.write_str("selected"),
            Self::LowerPrecedence { higher } => write!(formatter, "{higher} is higher"),
            Self::LaterSource { chosen } if chosen.as_os_str().is_empty() => {
                formatter.write_str("the same version as the selected one")
            }
            Self::LaterSource { chosen } => {
                write!(formatter, "the same version as {}, which comes first", chosen.display())
            }
            Self::NotDefault { default } => write!(formatter, "not the default, which is {default}"),
            Self::Below => formatter.write_str("below the range"),
            Self::Above => formatter.write_str("above the range"),
            Self::NotCovered => formatter.write_str("not covered by the range"),
            Self::Excluded => formatter.write_str("excluded by the range"),
            Self::PrereleaseNotAsked => formatter.write_str("a prerelease that was not asked for"),
            Self::VariantNotAsked { variant } => {
                write!(formatter, "the variant {variant} was not asked for")
            }
            Self::VariantDiffers { wanted, found: None } => {
                write!(formatter, "not the variant {wanted}")
            }
            Self::VariantDiffers { wanted, found: Some(found) } => {
                write!(formatter, "the variant {found}, not {wanted}")
            }
            Self::Unavailable { failure } => write!(formatter, "{failure}"),
        }
    }
}

/// What should be known about a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Nothing was asked, and it is the best there is.
    Prerelease {
        /// What was chosen.
        version: Version,
    },
    /// Nothing was asked, and the default can't be used.
    DefaultUnavailable {
        /// The default, as declared.
        default: String,
        /// Why it can't be used.
        failure: Failure,
    },
}

impl Warning {
    /// The same wherever programs read it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Prerelease { .. } => "prerelease",
            Self::DefaultUnavailable { .. } => "default_unavailable",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prerelease { version } => {
                write!(formatter, "{version} is a prerelease that was not asked for")
            }
            Self::DefaultUnavailable { default, failure } => {
                write!(formatter, "the default version {default} can't be used: {failure}")
            }
        }
    }
}
