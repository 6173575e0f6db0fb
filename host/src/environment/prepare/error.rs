//! Why there is no environment.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::detection::DetectionError;
use crate::environment::build::BuildError;
use crate::environment::key::{InvalidKey, UnhashablePlan};
use crate::environment::retry::Failing;
use crate::environment::scope::ScopeError;
use crate::environment::stage::StageError;
use crate::plugin::PluginError;
use crate::store::StoreError;

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The pack's manifests can't be read.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The component failed, or says that it can't be done.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The component may not be used.
    #[error(transparent)]
    Detection(#[from] DetectionError),
    /// Building failed.
    #[error("{source}")]
    Build {
        #[source]
        source: Box<BuildError>,
        /// When it is tried again, unless somebody asks for it before.
        again_at: DateTime<Utc>,
    },
    /// Building failed a short while ago.
    #[error(transparent)]
    Failing(Box<Failing>),
    /// The pack's files can't be laid beside the environment.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The plan can't be hashed.
    #[error(transparent)]
    Plan(#[from] UnhashablePlan),
    /// What the database says is no key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// What is there can't be put aside.
    #[error("can't put the environment `{}` aside: {source}", path.display())]
    Repair {
        /// The environment.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// What is there can't be looked at.
    #[error("can't look through the environment `{}`: {source}", path.display())]
    Look {
        /// The environment.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// What is there can't be taken into use.
    #[error("can't take the environment `{}` into use: {source}", path.display())]
    Lease {
        /// The environment.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PrepareError {
    /// When the environment may be built, if not at once.
    #[must_use]
    pub fn again_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Build { again_at, .. } => Some(*again_at),
            Self::Failing(failing) => Some(failing.again_at),
            _ => None,
        }
    }

    /// What the steps of the build that failed printed.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        match self {
            Self::Build { source, .. } => match &**source {
                BuildError::Step { output, .. } => Some(output),
                _ => None,
            },
            Self::Failing(failing) => Some(&failing.output),
            _ => None,
        }
    }
}
