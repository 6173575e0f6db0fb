//! Versions as they are compared, and the constraints that are put on them.

pub mod constraint;

use serde::{Deserialize, Serialize};

/// An exact version: comparable, and as the tool itself writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Complete semantic version; build metadata breaks ties and never matters to matching.
    pub semver: semver::Version,
    /// As the tool reports it.
    pub native: String,
    /// A build that is only chosen when asked for: `freethreaded`.
    pub variant: Option<String>,
}
