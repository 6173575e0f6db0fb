//! A version of which the last parts may be left open: `3.12` stands for every 3.12.x.

use std::fmt;
use std::str::FromStr;

use semver::Prerelease;

use super::InvalidVersion;
use super::fault::Fault;
use super::written::Written;

/// A series, as packs declare them and constraints name them; all three parts given, it is one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    pub(super) major: u64,
    pub(super) minor: Option<u64>,
    /// Only with `minor`.
    pub(super) patch: Option<u64>,
    /// Only with `patch`.
    pub(super) pre: Prerelease,
}

impl Series {
    /// Whether `version` belongs to it. Prereleases belong to the series of their release; build
    /// metadata does not matter.
    #[must_use]
    pub fn covers(&self, version: &semver::Version) -> bool {
        self.major == version.major
            && self.minor.is_none_or(|minor| minor == version.minor)
            && self.patch.is_none_or(|patch| patch == version.patch && self.pre == version.pre)
    }

    /// How many parts are given, from 1 to 3: of the declared series that cover a version, the one with
    /// the most applies.
    #[must_use]
    pub fn specificity(&self) -> u8 {
        1 + u8::from(self.minor.is_some()) + u8::from(self.patch.is_some())
    }

    /// The position in `declared` of the most specific series that covers `version`.
    #[must_use]
    pub fn covering<'s>(
        declared: impl IntoIterator<Item = &'s Series>,
        version: &semver::Version,
    ) -> Option<usize> {
        declared
            .into_iter()
            .enumerate()
            .filter(|(_, series)| series.covers(version))
            .reduce(|best, other| if other.1.specificity() > best.1.specificity() { other } else { best })
            .map(|(position, _)| position)
    }

    /// The lowest release that belongs to it: `3.12` is padded to 3.12.0.
    #[must_use]
    pub fn floor(&self) -> semver::Version {
        semver::Version {
            pre: self.pre.clone(),
            ..semver::Version::new(self.major, self.minor.unwrap_or(0), self.patch.unwrap_or(0))
        }
    }

    /// The first release after it: 3.13.0 for `3.12`.
    pub(super) fn ceiling(&self) -> semver::Version {
        match (self.minor, self.patch) {
            (None, _) => semver::Version::new(self.major + 1, 0, 0),
            (Some(minor), None) => semver::Version::new(self.major, minor + 1, 0),
            (Some(minor), Some(patch)) => semver::Version::new(self.major, minor, patch + 1),
        }
    }

    /// Whether it is one version, not several.
    pub(super) fn is_complete(&self) -> bool {
        self.patch.is_some()
    }
}

/// Reads a declared version: trimmed, without `v`.
impl FromStr for Series {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let trimmed = text.trim();
        Written::read(trimmed, 0)
            .and_then(|written| match &written.suffix {
                Some(suffix) => Err(Fault::new(
                    suffix.span.clone(),
                    format!("`+{}` does not belong to a declared version", suffix.text),
                )
                .hint("declare the version without it; it covers every build and variant")),
                None => written.into_series(trimmed),
            })
            .map_err(|fault| InvalidVersion::new(text, fault))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.major)?;
        if let Some(minor) = self.minor {
            write!(formatter, ".{minor}")?;
        }
        if let Some(patch) = self.patch {
            write!(formatter, ".{patch}")?;
        }
        if !self.pre.is_empty() {
            write!(formatter, "-{}", self.pre)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Series {
        text.parse().unwrap_or_else(|invalid| panic!("{text}: {invalid}"))
    }

    fn version(text: &str) -> semver::Version {
        semver::Version::parse(text).expect("a version")
    }

    #[test]
    fn covers() {
        for (declared, covered, not_covered) in [
            (
                "3.12",
                &["3.12.0", "3.12.9", "3.12.0-rc.1", "3.12.9+1"][..],
                &["3.11.9", "3.13.0", "4.12.0"][..],
            ),
            ("20", &["20.0.0", "20.11.1"], &["18.20.0", "21.0.0"]),
            ("v3.12.1", &["3.12.1", "3.12.1+7"], &["3.12.0", "3.12.2", "3.12.1-rc.1"]),
            ("3.14.0-rc.1", &["3.14.0-rc.1"], &["3.14.0", "3.14.0-rc.2"]),
        ] {
            for text in covered {
                assert!(series(declared).covers(&version(text)), "{declared} covers {text}");
            }
            for text in not_covered {
                assert!(!series(declared).covers(&version(text)), "{declared} does not cover {text}");
            }
        }
    }

    #[test]
    fn the_most_specific_covers() {
        let declared = ["3", "3.12", "3.12.1", "20"].map(series);
        for (text, position) in [
            ("3.12.1", Some(2)),
            ("3.12.2", Some(1)),
            ("3.9.0", Some(0)),
            ("20.1.0", Some(3)),
            ("18.0.0", None),
        ] {
            assert_eq!(Series::covering(&declared, &version(text)), position, "{text}");
            let reversed = Series::covering(declared.iter().rev(), &version(text));
            assert_eq!(reversed, position.map(|position| 3 - position), "{text}");
        }
    }

    #[test]
    fn display_and_floor() {
        for (text, shown, floor) in [
            (" v3.12 ", "3.12", "3.12.0"),
            ("20", "20", "20.0.0"),
            ("3.14.0-rc.1", "3.14.0-rc.1", "3.14.0-rc.1"),
        ] {
            assert_eq!(series(text).to_string(), shown);
            assert_eq!(series(text).floor(), version(floor));
        }
    }

    #[test]
    fn not_declarable() {
        for (text, message) in [
            ("3.x", "`3.x` has a wildcard where one exact version is expected"),
            ("3.13+freethreaded", "`+freethreaded` does not belong to a declared version"),
            ("3.1.4.1", "`3.1.4.1` has 4 parts, a version has at most three"),
            ("stable", "`stable` is not a version"),
        ] {
            assert_eq!(text.parse::<Series>().expect_err(text).to_string(), message, "{text}");
        }
    }
}
