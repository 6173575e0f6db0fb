//! Packs: what a folder or archive of YAML, scripts and components declares.
//!
//! Here is the checked model. `pack::load` reads it from a [`bundle::Bundle`] and reports every mistake at
//! once; nothing in here touches the store.

pub mod bundle;
pub mod bundles;
pub mod ceiling;
pub mod components;
pub mod embedded;
pub mod install;
pub mod lock;
pub mod part;
pub mod pattern;
pub mod problem;
pub mod remove;
pub mod scaffold;
pub mod signature;

mod action;
mod alias;
mod decode;
mod grants;
mod load;
mod manifest;
mod names;
mod place;
mod program;
mod runtime;
pub mod scenario;
mod schema;
mod sensor;
mod variable;
mod voucher;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use grants::component_name;
pub use load::{Loaded, load, unfit};
pub use names::{Known, KnownRuntime, Lookup, find_runtime};
pub use voucher::Voucher;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::reference::{ActionRef, Name, PackRef, RuntimeRef, SensorRef};
use crate::version::Series;
use crate::version::constraint::Constraint;

/// What a pack says about itself; without it, files are no pack.
pub(crate) const MANIFEST: &str = "pack.yaml";
/// Where components are.
pub(crate) const COMPONENTS: &str = "components/";

/// A pack, checked.
#[derive(Clone, Debug)]
pub struct Pack {
    pub reference: PackRef,
    pub label: String,
    pub description: Option<String>,
    pub version: semver::Version,
    pub author: Option<String>,
    /// JSON Schema of the pack's configuration.
    pub config_schema: Option<Json>,
    pub tags: Vec<String>,
    /// How many of its queued executions run at a time, on all workers; none for no limit.
    pub concurrency: Option<u32>,
    pub runtimes: Vec<Runtime>,
    pub actions: Vec<Action>,
    pub sensors: Vec<Sensor>,
    /// By the name that runtimes use: that of the file below `components`, without `.wasm`.
    pub components: BTreeMap<String, Component>,
    /// Whether its lock names their digests.
    pub locked: bool,
    /// SHA-256 of the bundle, in hexadecimal.
    pub digest: String,
}

/// A WebAssembly component that a pack ships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    pub name: String,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    pub wasm: Vec<u8>,
}

/// A language or tool family.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Runtime {
    pub reference: RuntimeRef,
    pub label: String,
    pub description: Option<String>,
    pub aliases: Vec<String>,
    pub distributions: Distributions,
    pub execution_config: ExecutionConfig,
    /// In the order of the file.
    pub versions: Vec<DeclaredVersion>,
    /// None if the entry point is itself the program, and there is nothing to detect or to choose.
    pub plugin: Option<PluginDeclaration>,
}

impl Runtime {
    /// The regular expressions that it declares, those of its versions too.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        let versions = self.versions.iter().map(|version| &version.distributions);
        [&self.distributions]
            .into_iter()
            .chain(versions)
            .flat_map(|distributions| &distributions.verification)
            .filter_map(|command| command.pattern.clone())
            .collect()
    }

    /// `plugin.settings`.
    #[must_use]
    pub fn settings(&self) -> &[(String, String)] {
        self.plugin.as_ref().map(|plugin| plugin.settings.as_slice()).unwrap_or_default()
    }

    /// The declared version that applies to an installation: the most specific series that covers it.
    #[must_use]
    pub fn version_covering(&self, version: &semver::Version) -> Option<&DeclaredVersion> {
        let declared = self.versions.iter();
        let declared: Vec<_> =
            declared.filter_map(|version| Some((version.version.parse::<Series>().ok()?, version))).collect();
        let position = Series::covering(declared.iter().map(|(series, _)| series), version)?;
        declared.get(position).map(|(_, version)| *version)
    }

    /// How installations of a version are verified: as it says itself, or else as the runtime does.
    #[must_use]
    pub fn distributions_of<'a>(&'a self, version: Option<&'a DeclaredVersion>) -> &'a Distributions {
        let own = version.map(|version| &version.distributions);
        own.filter(|own| !own.verification.is_empty()).unwrap_or(&self.distributions)
    }

    /// How something is started under a version.
    #[must_use]
    pub fn config_of<'a>(&'a self, version: Option<&'a DeclaredVersion>) -> &'a ExecutionConfig {
        version.map_or(&self.execution_config, |version| &version.execution_config)
    }
}

/// A declared series of a runtime.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeclaredVersion {
    /// As written: `3.12`.
    pub version: String,
    pub is_default: bool,
    pub execution_config: ExecutionConfig,
    pub distributions: Distributions,
    /// `eol`, `lts`, …
    pub meta: BTreeMap<String, String>,
}

/// How installations are recognised and verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distributions {
    pub verification: Vec<VerificationCommand>,
}

/// A command whose output proves something about an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationCommand {
    pub binary: String,
    pub args: Vec<String>,
    pub exit_code: i32,
    /// Regular expression over standard output followed by standard error.
    pub pattern: Option<String>,
    /// Lower comes first.
    pub priority: i32,
    pub optional: bool,
}

/// How something is started under a runtime, complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionConfig {
    pub interpreter: Interpreter,
    pub environment: EnvironmentConfig,
    pub dependencies: DependenciesConfig,
    /// In the order of the file.
    pub env_vars: Vec<(String, VariableChange)>,
}

/// The program that reads the entry point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// What it is called, if not as the verification commands say.
    pub binary: Option<String>,
    /// Arguments before the entry point.
    pub args: Vec<String>,
}

/// Commands that make an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentConfig {
    pub create: Vec<DeclaredCommand>,
    /// The environment's own interpreter, relative to it.
    pub interpreter: Option<String>,
}

/// Which files name dependencies, and commands that install them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependenciesConfig {
    /// Names or globs, relative to the folder that the dependencies are for. The first is what makes a
    /// folder one that has dependencies; the others are read beside it.
    pub manifests: Vec<String>,
    pub install: Vec<DeclaredCommand>,
}

/// A command of a runtime's YAML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredCommand {
    pub run: Vec<String>,
    pub network: bool,
    pub timeout: Option<Duration>,
}

/// What happens to a variable of a child's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableChange {
    Set(String),
    /// Before what is there, joined by `:`.
    Prepend(String),
    /// After what is there, joined by `:`.
    Append(String),
    Unset,
}

/// Which component serves a runtime, and what it asks to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginDeclaration {
    /// A component of the same pack, or `pack.component` of another installed one.
    pub component: String,
    pub grants: Grants,
    pub settings: Vec<(String, String)>,
}

/// What a component may ask the host for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Names of programs, with `*`, `?` and `[a-z]`.
    pub tools: Vec<String>,
    /// Where programs are looked for; the order is the order of preference among equals.
    pub search: Vec<SearchRoot>,
    /// Folders whose contents may be read, with `~`, `${VARIABLE:-default}` and globs.
    pub read: Vec<String>,
    /// Variables of the operator's that the component may see, and set for the programs it runs.
    pub variables: Vec<String>,
    /// Whether steps of environment plans may ask for the network. Those that don't ask are not hindered from using it.
    pub network: bool,
    /// Tools have to match one of each of these as well: no pack asks for that, the operator's settings narrow it so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_tools: Vec<Vec<String>>,
    /// Tools that the operator's settings deny.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny_tools: Vec<String>,
}

/// Folders that one kind of installation lives in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchRoot {
    /// `path`, `debian`, …: shown to people as where an installation comes from.
    pub source: String,
    /// `$PATH`, or folders with `~`, `${VARIABLE:-default}` and globs.
    pub folders: Vec<String>,
}

/// An action, checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    pub reference: ActionRef,
    pub label: String,
    pub description: Option<String>,
    pub program: Program,
    pub parameters: Parameters,
    pub output: Output,
    /// None: no limit but the operator's.
    pub timeout: Option<Duration>,
    pub retries: u32,
    /// How many executions may run at a time; None: no limit.
    pub concurrency: Option<u32>,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    pub enabled: bool,
}

/// What actions and sensors have in common: something to start, under a version of a runtime.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// As written: a reference or an alias. Resolved when it is used, since the runtime may come from
    /// another pack.
    pub runtime: String,
    pub constraint: Option<Constraint>,
    /// A build variant that is wanted.
    pub variant: Option<String>,
    pub version_policy: VersionPolicy,
    /// Relative to the pack.
    pub entry_point: String,
    pub env_vars: Vec<(String, VariableChange)>,
    pub secrets: Vec<SecretDeclaration>,
}

/// What happens when no installation satisfies the constraint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VersionPolicy {
    /// It is an error.
    #[default]
    Strict,
    /// The runtime's default runs it, with a warning.
    Fallback,
}

/// A secret that a program may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDeclaration {
    pub name: Name,
    pub description: Option<String>,
    pub required: bool,
    /// A variable to put it in as well, where a program can't take it any other way.
    pub env: Option<String>,
}

/// What an action takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Parameters {
    /// JSON Schema of an object.
    pub schema: Option<Json>,
    pub delivery: ParameterDelivery,
    pub format: ParameterFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterDelivery {
    #[default]
    Stdin,
    /// A file of the run folder, named by `ATTUNE_PARAMETERS_FILE`.
    File,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterFormat {
    #[default]
    Json,
    Dotenv,
    Yaml,
}

/// What an action returns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Output {
    pub format: OutputFormat,
    pub schema: Option<Json>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputFormat {
    #[default]
    Text,
    Json,
    Jsonl,
    Yaml,
}

/// A sensor, checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sensor {
    pub reference: SensorRef,
    pub label: String,
    pub description: Option<String>,
    pub program: Program,
    /// JSON Schema of the events that it emits.
    pub event_schema: Option<Json>,
    pub enabled: bool,
}
