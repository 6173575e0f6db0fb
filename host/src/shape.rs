//! What `--json` shows of the model, where that is not the model itself. Names are a promise to programs:
//! pairs become objects, durations numbers of seconds, and what is only kept for comparing is left out.

pub(crate) mod answer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::environment::{Plan, PlannedProgram, Step, StepAction};
use crate::installation::{Check, Failure};
use crate::store::installation::FoundInstallation;

/// Pairs as an object, in their order.
pub(crate) fn object<K: Serialize, V: Serialize, S: Serializer>(
    pairs: &[(K, V)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// What went wrong: a class for programs and a sentence for people.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Problem<'a> {
    pub class: &'a str,
    pub message: &'a str,
}

impl Serialize for FoundInstallation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            path: &'a Path,
            version: Option<String>,
            native: Option<&'a str>,
            variant: Option<&'a str>,
            /// None where nothing but a guess led to it.
            source: Option<&'a str>,
            aliases: &'a [PathBuf],
            #[serde(serialize_with = "object")]
            attributes: &'a [(String, String)],
            status: &'static str,
            failure: Option<&'a Failure>,
            checks: &'a [Check],
            runtime_version: Option<&'a str>,
            verified_at: DateTime<Utc>,
        }
        let version = self.version.as_ref();
        Shape {
            path: &self.path,
            version: version.map(|version| version.semver.to_string()),
            native: version.map(|version| version.native.as_str()),
            variant: version.and_then(|version| version.variant.as_deref()),
            source: Some(self.source.as_str()).filter(|source| !source.is_empty()),
            aliases: &self.aliases,
            attributes: &self.attributes,
            status: self.status.name(),
            failure: self.status.failure(),
            checks: &self.checks,
            runtime_version: self.runtime_version.as_deref(),
            verified_at: self.verified_at,
        }
        .serialize(serializer)
    }
}

/// What is going to be built.
#[derive(Debug, Serialize)]
pub(crate) struct PlanShape<'a> {
    steps: Vec<StepShape<'a>>,
    /// Links that are laid beside the pack's files, if actions have to start from a copy of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Pairs<'a>>,
    #[serde(serialize_with = "object")]
    inputs: &'a [(String, String)],
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Pairs<'a>(#[serde(serialize_with = "object")] &'a [(String, String)]);

#[derive(Debug, Serialize)]
struct StepShape<'a> {
    title: &'a str,
    #[serde(flatten)]
    action: ActionShape<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "do")]
enum ActionShape<'a> {
    MakeDir {
        path: &'a str,
    },
    WriteFile {
        path: &'a str,
        contents: String,
        executable: bool,
    },
    Link {
        path: &'a str,
        target: &'a str,
    },
    Run {
        program: String,
        arguments: &'a [String],
        #[serde(serialize_with = "object")]
        variables: &'a [(String, String)],
        folder: &'a str,
        network: bool,
        /// Seconds.
        timeout: Option<f64>,
    },
    Verify {
        path: &'a str,
    },
}

impl<'a> From<&'a Plan> for PlanShape<'a> {
    fn from(plan: &'a Plan) -> Self {
        Self {
            steps: plan.steps.iter().map(StepShape::from).collect(),
            links: plan.stage.as_ref().map(|stage| Pairs(&stage.links)),
            inputs: &plan.inputs,
        }
    }
}

impl<'a> From<&'a Step> for StepShape<'a> {
    fn from(step: &'a Step) -> Self {
        let action = match &step.action {
            StepAction::MakeDir { path } => ActionShape::MakeDir { path },
            StepAction::WriteFile { path, contents, executable } => ActionShape::WriteFile {
                path,
                contents: String::from_utf8_lossy(contents).into_owned(),
                executable: *executable,
            },
            StepAction::Link { path, target } => ActionShape::Link { path, target },
            StepAction::Run(run) => ActionShape::Run {
                program: program(&run.program),
                arguments: &run.arguments,
                variables: &run.variables,
                folder: &run.folder,
                network: run.network,
                timeout: run.timeout.as_ref().map(Duration::as_secs_f64),
            },
            StepAction::Verify { path } => ActionShape::Verify { path },
        };
        Self { title: &step.title, action }
    }
}

/// With the placeholders that arguments have too.
pub(crate) fn program(program: &PlannedProgram) -> String {
    match program {
        PlannedProgram::Installation => "${installation}".to_owned(),
        PlannedProgram::Environment(path) => format!("${{environment}}/{path}"),
        PlannedProgram::Tool(path) => path.display().to_string(),
    }
}
