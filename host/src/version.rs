//! Versions as they are compared, the series that packs declare, and the constraints that actions put on them.
//!
//! Everything here is text in, data out. Turning what a tool prints into a semantic version is the
//! business of the runtime's component.

pub mod constraint;
mod fault;
mod series;
mod written;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use series::Series;

use fault::Fault;
use written::Written;

/// An exact version: comparable, and as the tool itself writes it.
///
/// Ordered by semantic precedence, then by build metadata (17.0.9+11 is above 17.0.9+9), then by variant and
/// native text so that the order is total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Complete semantic version; build metadata breaks ties and never matters to matching.
    pub semver: semver::Version,
    /// As the tool reports it.
    pub native: String,
    /// A build that is only chosen when asked for: `freethreaded`.
    pub variant: Option<String>,
}

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidVersion {
    /// The whole text.
    pub text: String,
    /// What was read, and why it is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl InvalidVersion {
    fn new(text: &str, fault: Fault) -> Self {
        Self { text: text.to_owned(), message: fault.message, hint: fault.hint }
    }
}

impl Version {
    /// Reads a version that a person wrote: trimmed, without `v`, missing parts filled with zeros.
    ///
    /// What follows a `+` is a variant if it begins with a letter, as in constraints, else build metadata.
    pub fn lenient(text: &str) -> Result<Self, InvalidVersion> {
        Self::read(text.trim()).map_err(|fault| InvalidVersion::new(text, fault))
    }

    fn read(text: &str) -> Result<Self, Fault> {
        let written = Written::read(text, 0)?;
        let suffix = written.suffix.clone();
        let mut semver = written.into_series(text)?.floor();
        let mut variant = None;
        if let Some(suffix) = suffix {
            if suffix.text.starts_with(|first: char| first.is_ascii_digit()) {
                semver.build = semver::BuildMetadata::new(suffix.text).map_err(|_| {
                    Fault::new(suffix.span.clone(), format!("`{}` is not build metadata", suffix.text))
                        .hint("letters, digits and `-`, in parts joined by dots")
                })?;
            } else {
                variant = Some(suffix.variant()?.to_owned());
            }
        }
        Ok(Self { semver, native: text.to_owned(), variant })
    }

    /// Whether it is a prerelease.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.semver.pre.is_empty()
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.semver
            .cmp(&other.semver)
            .then_with(|| self.variant.cmp(&other.variant))
            .then_with(|| self.native.cmp(&other.native))
    }
}

/// The semantic version, and `+variant` if it is one, as a constraint would ask for it.
impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variant {
            Some(variant) => write!(formatter, "{}+{variant}", self.semver),
            None => write!(formatter, "{}", self.semver),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::lenient(text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"))
    }

    #[test]
    fn lenient() {
        for (text, shown, variant) in [
            ("3.12", "3.12.0", None),
            (" v20.11 ", "20.11.0", None),
            ("V3", "3.0.0", None),
            ("3.14.0-rc.10", "3.14.0-rc.10", None),
            ("17.0.9+11", "17.0.9+11", None),
            ("3.13.1+freethreaded", "3.13.1+freethreaded", Some("freethreaded")),
        ] {
            let read = version(text);
            assert_eq!(read.to_string(), shown, "{text}");
            assert_eq!(read.variant.as_deref(), variant, "{text}");
            assert_eq!(read.native, text.trim(), "{text}");
        }
    }

    #[test]
    fn not_versions() {
        for (text, message) in [
            ("", "there is no version"),
            ("3.\u{1b}", "`\\u{1b}` does not belong to a version"),
            ("3.12 1", "` ` does not belong to a version"),
            ("3.*", "`3.*` has a wildcard where one exact version is expected"),
            ("*", "`*` has a wildcard where one exact version is expected"),
            ("03.1", "`03` begins with a zero"),
            ("1.2.3+", "nothing follows the `+`"),
            ("1.2.3+1_2", "`1_2` is not build metadata"),
            ("1.2.3+a+b", "`a+b` is not the name of a variant"),
        ] {
            assert_eq!(Version::lenient(text).expect_err(text).to_string(), message, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,20}|[-0-9.x*+va/]{0,12}") {
            let version = Version::lenient(&text);
            let series = text.parse::<Series>();
            if let (Ok(version), Ok(series)) = (version, series) {
                proptest::prop_assert!(series.covers(&version.semver));
                proptest::prop_assert_eq!(series.floor(), version.semver);
            }
        }
    }

    #[test]
    fn order() {
        let ascending = [
            "3.13.0-alpha.1",
            "3.13.0-rc.2",
            "3.13.0-rc.10",
            "3.13.0",
            "3.13.0+freethreaded",
            "3.13.1",
            "17.0.9+9",
            "17.0.9+11",
        ];
        for (position, lower) in ascending.iter().enumerate() {
            for higher in &ascending[position + 1..] {
                assert!(version(lower) < version(higher), "{lower} < {higher}");
                assert!(version(higher) > version(lower), "{higher} > {lower}");
            }
        }
    }
}
