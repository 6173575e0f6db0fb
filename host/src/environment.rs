//! Isolated environments: what a component plans, the host builds, publishes, checks and collects.
//!
//! Here is a plan as data. [`scope`] says for which folder of a pack it is, [`key`] names its outcome,
//! [`layout`] where that lies, [`build`] makes it, [`prepare`] does what of that an execution needs, [`ready`] tells cheaply whether it is there,
//! [`retry`] when a build that failed is tried again, [`stage`]
//! lays a pack's files beside it, [`collect`] takes it away again, and [`rubbish`] what a killed process left.
//!
//! Whether an environment that is there still works is the component's to say.

pub mod build;
pub mod collect;
pub mod key;
pub mod layout;
pub mod prepare;
pub mod ready;
pub mod retry;
pub mod rubbish;
pub mod scope;
pub mod stage;

mod beneath;
mod contents;
mod lock;
mod publish;
mod step;

pub use beneath::PathError;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pack::VariableChange;

/// What to do to make an environment, as data: it can be shown, hashed and executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In order; none: no environment is needed.
    pub steps: Vec<Step>,
    /// A copy of the pack's files with links into the environment, where actions have to start from.
    pub stage: Option<Stage>,
    /// What else must be the same for two environments to be the same.
    pub inputs: Vec<(String, String)>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does, for people.
    pub title: String,
    #[serde(flatten)]
    pub action: StepAction,
}

/// Paths are relative to the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum StepAction {
    MakeDir {
        path: String,
    },
    WriteFile {
        path: String,
        contents: Vec<u8>,
        executable: bool,
    },
    Link {
        path: String,
        target: String,
    },
    Run(RunStep),
    /// A file that must exist now.
    Verify {
        path: String,
    },
}

/// A program that a plan runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    pub program: PlannedProgram,
    /// With `${environment}`, `${cache}` and `${installation}` still in them.
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// Relative to the environment; the environment itself if empty.
    pub folder: String,
    pub network: bool,
    pub timeout: Option<Duration>,
}

/// Which program a step or a launch runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedProgram {
    /// The selected installation.
    Installation,
    /// A file of the environment, relative to it.
    Environment(String),
    /// A granted tool, by the canonical path that the component was told in the same call.
    Tool(PathBuf),
}

/// Links to make in the folder that the dependencies are for: name, target in the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    pub links: Vec<(String, String)>,
}

/// A file that names dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Relative to the folder that the dependencies are for.
    pub name: String,
    pub contents: Vec<u8>,
}

/// How a component wants something started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchCommand {
    pub program: PlannedProgram,
    pub arguments: Vec<String>,
    /// Applied before the YAML's `env_vars`.
    pub variables: Vec<(String, VariableChange)>,
}
