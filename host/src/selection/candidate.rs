//! What selection chooses from, and how people write it on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use crate::installation::{Failure, FailureClass};
use crate::version::{InvalidVersion, Version};

/// An installation as selection sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Exact version and variant.
    pub version: Version,
    /// Canonical absolute path; empty for a candidate that exists only on the command line.
    pub path: PathBuf,
    /// The declared series that covers it, if there is one.
    pub declared: Option<Declared>,
    /// Place of its source in the runtime's order of search; lower is preferred among equal versions.
    pub source_rank: u32,
    /// Why it can't be used, if it can't.
    pub unavailable: Option<Failure>,
}

/// What a runtime declares for a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// As declared: `3.12`.
    pub version: String,
    /// Whether it is what runs when nothing is asked.
    pub is_default: bool,
}

impl Candidate {
    /// Whether the series that covers it is the runtime's default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.declared.as_ref().is_some_and(|declared| declared.is_default)
    }
}

/// Why a text is not a candidate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCandidate {
    /// What is before the `=` is no version.
    #[error("`{text}` does not begin with a version: {source}")]
    Version {
        /// The whole text.
        text: String,
        /// What is wrong with it.
        source: InvalidVersion,
    },
    /// What is after the `=` is not known.
    #[error("`{flag}` in `{text}` is not a flag of candidates")]
    Flag {
        /// The whole text.
        text: String,
        /// What was read.
        flag: String,
    },
    /// Two candidates are the default.
    #[error("`{text}` is a second default, after `{first}`")]
    SecondDefault {
        /// The whole text.
        text: String,
        /// That of the first.
        first: String,
    },
    /// A flag is there twice.
    #[error("`{text}` says `{flag}` twice")]
    Repeated {
        /// The whole text.
        text: String,
        /// What was read.
        flag: String,
    },
}

impl InvalidCandidate {
    /// What would be right.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Version { source, .. } => {
                source.hint.clone().unwrap_or_else(|| "write a version, such as `3.12.1`".to_owned())
            }
            Self::Flag { .. } => {
                "flags are `default` and `unavailable`, joined by commas: `3.12.1=default,unavailable`"
                    .to_owned()
            }
            Self::SecondDefault { .. } => {
                "a runtime has one default at most: take `default` from one of the two".to_owned()
            }
            Self::Repeated { flag, .. } => format!("write `{flag}` once"),
        }
    }
}

/// Reads candidates, of which one may be the default.
pub fn candidates(texts: &[String]) -> Result<Vec<Candidate>, InvalidCandidate> {
    let mut first = None;
    let mut read = |text: &String| {
        let candidate = text.parse::<Candidate>()?;
        match (candidate.is_default(), first.as_ref()) {
            (true, Some(first)) => {
                let (text, first) = (text.clone(), String::clone(first));
                return Err(InvalidCandidate::SecondDefault { text, first });
            }
            (true, None) => first = Some(text.clone()),
            (false, _) => {}
        }
        Ok(candidate)
    };
    texts.iter().map(&mut read).collect()
}

/// Reads `3.12.1`, `3.11.7=default`, `3.14=unavailable` or `3.11.7=default,unavailable`.
impl FromStr for Candidate {
    type Err = InvalidCandidate;

    fn from_str(text: &str) -> Result<Self, InvalidCandidate> {
        let (version, flags) = match text.split_once('=') {
            Some((version, flags)) => (version, Some(flags)),
            None => (text, None),
        };
        let version = Version::lenient(version)
            .map_err(|source| InvalidCandidate::Version { text: text.to_owned(), source })?;
        let mut candidate =
            Self { version, path: PathBuf::new(), declared: None, source_rank: 0, unavailable: None };
        for flag in flags.into_iter().flat_map(|flags| flags.split(',')).map(str::trim) {
            let repeated = match flag {
                "default" => {
                    let version = candidate.version.native.clone();
                    candidate.declared.replace(Declared { version, is_default: true }).is_some()
                }
                "unavailable" => candidate
                    .unavailable
                    .replace(Failure::new(
                        FailureClass::Other("unavailable".to_owned()),
                        "given as unavailable",
                    ))
                    .is_some(),
                other => {
                    return Err(InvalidCandidate::Flag { text: text.to_owned(), flag: other.to_owned() });
                }
            };
            if repeated {
                return Err(InvalidCandidate::Repeated { text: text.to_owned(), flag: flag.to_owned() });
            }
        }
        Ok(candidate)
    }
}
