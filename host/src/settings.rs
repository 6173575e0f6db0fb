//! Settings: defaults, file, variables, flags; and where each value came from.
//!
//! A later source is stronger: what the file says wins over the default, a variable over the file, a
//! flag over all. [`KEYS`] is the list of what can be set; there is no other.

mod api;
mod file;
mod grants;
mod keys;
mod telemetry;
mod unknown;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pack::bundles::BundlesLocation;
use crate::pack::ceiling::Ceilings;
use crate::pack::signature::{Policy, PublicKey};
use crate::store::Location;
use crate::trace::Endpoint;

pub use api::ApiSettings;
pub use file::ConfigFile;
pub use keys::{KEYS, Key};
pub use value::{InvalidValue, LogFormat, bytes, duration};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing set it.
    Default,
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// A variable.
    Variable {
        /// Its name.
        name: &'static str,
    },
    /// `--set` or a flag of its own.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line, .. } => write!(formatter, "{}:{line}", path.display()),
            Self::Variable { name } => write!(formatter, "${name}"),
            Self::Flag => formatter.write_str("flag"),
        }
    }
}

impl Origin {
    /// Where a mistake in the setting `name` is.
    fn place(&self, name: &str) -> String {
        match self {
            Self::File { column, .. } => format!("{self}:{column}"),
            Self::Flag if name == "database" => format!("`--{name}`"),
            Self::Flag => format!("`--set {name}`"),
            Self::Default | Self::Variable { .. } => self.to_string(),
        }
    }
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the configuration file `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Something is set that does not exist.
    #[error("{}: there is no setting `{name}`{}", origin.place(name), nearest(name))]
    UnknownKey {
        /// What was read.
        name: String,
        /// Where.
        origin: Origin,
    },
    /// A value can't be what it is set to.
    #[error("{}: `{name}` can't be {problem}", origin.place(name))]
    Value {
        /// The setting.
        name: &'static str,
        /// Where it was set.
        origin: Origin,
        #[source]
        problem: InvalidValue,
    },
    /// A lease would run out before it is renewed.
    #[error(
        "`heartbeat` is {} and `lease` is {}: a lease has to last for three heartbeats at least",
        value::show_duration(*heartbeat),
        value::show_duration(*lease)
    )]
    ShortLease {
        /// The setting.
        heartbeat: Duration,
        /// The setting.
        lease: Duration,
    },
    /// The text after `--set` has no `=`.
    #[error("`--set {text}`: write `--set NAME=VALUE`")]
    Assignment {
        /// What was read.
        text: String,
    },
    /// More than one of these.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<SettingsError>),
    /// Nothing says where the data is to be kept.
    #[error("there is no home folder to keep data in: set ATTUNE_DATA_DIR or use --data-dir")]
    NoHome,
}

/// A hint at the setting that was probably meant.
fn nearest(name: &str) -> String {
    let mut having = KEYS.iter().map(|key| key.name).filter(|key| key.split('_').any(|part| part == name));
    let only = having.next().filter(|_| having.next().is_none());
    only.or_else(|| crate::nearest::nearest(KEYS.iter().map(|key| (key.name, key.name)), name))
        .map_or_else(|| "; `attune config show` lists them all".to_owned(), crate::nearest::did_you_mean)
}

/// What sets something, strongest last.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<ConfigFile>,
    /// The process's variables.
    pub variables: BTreeMap<OsString, OsString>,
    /// Name and value of each flag.
    pub flags: Vec<(String, String)>,
}

/// A value as text, and where it came from: for `attune config show`.
#[derive(Clone, Debug)]
pub struct Shown {
    pub key: Key,
    pub value: String,
    pub origin: Origin,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub database: Location,
    pub packs_dir: PathBuf,
    pub bundles: BundlesLocation,
    pub runtime_envs_dir: PathBuf,
    pub cache_dir: PathBuf,
    pub worker_name: String,
    /// None: all.
    pub worker_runtimes: Option<Vec<String>>,
    pub verification_timeout: Duration,
    pub detection_timeout: Duration,
    pub step_timeout: Duration,
    pub action_timeout: Option<Duration>,
    pub kill_grace: Duration,
    /// Bytes.
    pub output_limit: usize,
    /// Bytes.
    pub plugin_memory: usize,
    /// Bytes.
    pub environment_quota: u64,
    pub environment_grace: Duration,
    /// At least 1.
    pub worker_slots: usize,
    pub lease: Duration,
    pub heartbeat: Duration,
    pub poll_interval: Duration,
    pub recheck_interval: Duration,
    pub drain_timeout: Duration,
    pub execution_retention: Duration,
    /// None: nobody is answered.
    pub monitor_address: Option<SocketAddr>,
    pub api: ApiSettings,
    pub log_format: LogFormat,
    /// None: traces are not exported.
    pub otlp_endpoint: Option<Endpoint>,
    pub secrets_file: Option<PathBuf>,
    /// What is done with packs that nobody who is trusted vouches for.
    pub signatures: Policy,
    /// The file's `[trusted_keys]`, by name.
    pub trusted_keys: BTreeMap<String, PublicKey>,
    /// The file's `[variables]`: given to steps that build environments, such as a proxy or an index.
    pub variables: BTreeMap<String, String>,
    /// The file's `[grants]`: the most that runtimes get of what packs ask for.
    pub ceilings: Ceilings,
    /// Variables of this process, for grants to expose.
    pub process_variables: BTreeMap<String, String>,
    /// Every key with its value as text and its origin, in the order of [`KEYS`].
    pub shown: Vec<Shown>,
    /// The file's `[variables]` with their values, credentials masked, and where each is set.
    pub shown_variables: Vec<(String, String, Origin)>,
    /// The file's `[trusted_keys]` as text, and where each is set.
    pub shown_keys: Vec<(String, String, Origin)>,
    /// The file's `[grants]` as text, and where each is set.
    pub shown_grants: Vec<(String, String, Origin)>,
    /// What was probably meant to set something, and sets nothing.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Settles every setting.
    pub fn resolve(sources: &Sources) -> Result<Self, SettingsError> {
        let mut resolver = Resolver { sources, shown: Vec::new(), mistakes: Vec::new() };
        resolver.check_names();
        let data_dir = match resolver.find("data_dir") {
            Some((text, origin)) => resolver.keep("data_dir", origin, &text, value::path).unwrap_or_default(),
            None => resolver.default("data_dir", default_data_dir(&sources.variables)?, |path| {
                path.display().to_string()
            }),
        };
        let default = Location::File(data_dir.join("attune.db"));
        let database = match resolver.find("database") {
            Some((text, origin)) => match resolver.read("database", &origin, value::database(&text)) {
                Some(database) => {
                    // As it is shown, there is no password in it.
                    resolver.show("database", database.to_string(), origin);
                    database
                }
                None => default,
            },
            None => resolver.default("database", default, Location::to_string),
        };
        let packs_dir = resolver.path("packs_dir", data_dir.join("packs"));
        let bundles = BundlesLocation::Folder(data_dir.join("bundles"));
        let bundles = resolver.settle("bundles", bundles, value::bundles, BundlesLocation::to_string);
        let runtime_envs_dir = resolver.path("runtime_envs_dir", data_dir.join("envs"));
        let cache_dir = resolver.path("cache_dir", data_dir.join("cache"));
        let worker_name = resolver.text("worker_name", host_name());
        let worker_runtimes = resolver.optional("worker_runtimes", "all", |text| Ok(value::list(text)));
        let seconds = Duration::from_secs;
        let verification_timeout = resolver.positive("verification_timeout", seconds(10));
        let detection_timeout = resolver.positive("detection_timeout", seconds(60));
        let step_timeout = resolver.positive("step_timeout", seconds(600));
        let action_timeout = resolver.optional("action_timeout", "none", value::duration);
        let kill_grace = resolver.duration("kill_grace", seconds(10));
        let mebibytes = |count: u64| count << 20;
        let output_limit = resolver.bytes("output_limit", mebibytes(10));
        let plugin_memory =
            resolver.settle("plugin_memory", mebibytes(64), value::memory, |bytes| value::show_bytes(*bytes));
        let environment_quota = resolver.bytes("environment_quota", mebibytes(10 << 10));
        let environment_grace = resolver.duration("environment_grace", seconds(24 * 3600));
        let worker_slots = resolver.count("worker_slots", slots());
        let before = resolver.mistakes.len();
        let lease = resolver.positive("lease", seconds(30));
        let heartbeat = resolver.positive("heartbeat", seconds(5));
        if heartbeat.saturating_mul(3) > lease && resolver.mistakes.len() == before {
            resolver.mistakes.push(SettingsError::ShortLease { heartbeat, lease });
        }
        let poll_interval = resolver.positive("poll_interval", seconds(1));
        let recheck_interval = resolver.positive("recheck_interval", seconds(300));
        let drain_timeout = resolver.duration("drain_timeout", seconds(60));
        let execution_retention = resolver.positive("execution_retention", seconds(30 * 24 * 3600));
        let monitor_address = resolver.optional("monitor_address", "none", value::address);
        let api = resolver.api();
        let log_format = resolver.settle("log_format", LogFormat::Text, value::log_format, |_| "text".into());
        let (otlp_endpoint, warning) = resolver.otlp_endpoint();
        let secrets_file = resolver.optional("secrets_file", "none", value::path);
        let signatures =
            resolver.settle("signatures", Policy::default(), value::signatures, |_| "off".to_owned());
        resolver.check_mistakes()?;
        let file = sources.file.clone().unwrap_or_default();
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self {
            data_dir,
            database,
            packs_dir,
            bundles,
            runtime_envs_dir,
            cache_dir,
            worker_name,
            worker_runtimes: worker_runtimes.filter(|list| !list.is_empty()),
            verification_timeout,
            detection_timeout,
            step_timeout,
            action_timeout: action_timeout.filter(|timeout| !timeout.is_zero()),
            kill_grace,
            output_limit: size(output_limit),
            plugin_memory: size(plugin_memory),
            environment_quota,
            environment_grace,
            worker_slots,
            lease,
            heartbeat,
            poll_interval,
            recheck_interval,
            drain_timeout,
            execution_retention,
            monitor_address,
            api,
            log_format,
            otlp_endpoint,
            secrets_file,
            signatures,
            shown_variables: file.shown_variables(),
            shown_keys: file.shown_keys(),
            shown_grants: file.shown_grants(),
            trusted_keys: file.trusted_keys,
            variables: file.variables.into_iter().map(|(name, entry)| (name, entry.text)).collect(),
            ceilings: file.ceilings,
            process_variables: text_variables(&sources.variables),
            shown: resolver.shown,
            warnings: unknown::warnings(&sources.variables).into_iter().chain(warning).collect(),
        })
    }

    /// Where executions have their own folders while they run.
    #[must_use]
    pub fn runs_dir(&self) -> PathBuf {
        self.data_dir.join("runs")
    }

    /// Where the programs that components run have their own folders.
    #[must_use]
    pub fn tools_dir(&self) -> PathBuf {
        self.data_dir.join("tools")
    }

    /// Where components are kept, by digest.
    #[must_use]
    pub fn components_dir(&self) -> PathBuf {
        self.data_dir.join("components")
    }
}

struct Resolver<'a> {
    sources: &'a Sources,
    shown: Vec<Shown>,
    /// All of them are told; until then, a default is in the place of what can't be read.
    mistakes: Vec<SettingsError>,
}

impl Resolver<'_> {
    /// Nothing may be set that does not exist: a misspelt setting would otherwise do nothing, silently.
    fn check_names(&mut self) {
        let known = |name: &str| KEYS.iter().any(|key| key.name == name);
        let flags = self.sources.flags.iter().map(|(name, _)| (name, Origin::Flag));
        let files = self.sources.file.iter().flat_map(|file| {
            let origin = |entry: &file::Entry| Origin::File {
                path: file.path.clone(),
                line: entry.line,
                column: entry.column,
            };
            file.entries.iter().map(move |(name, entry)| (name, origin(entry)))
        });
        let unknown = flags.chain(files).filter(|(name, _)| !known(name));
        self.mistakes
            .extend(unknown.map(|(name, origin)| SettingsError::UnknownKey { name: name.clone(), origin }));
    }

    /// The only mistake, or all of them.
    fn check_mistakes(&mut self) -> Result<(), SettingsError> {
        let mut mistakes = std::mem::take(&mut self.mistakes);
        match (mistakes.pop(), mistakes.is_empty()) {
            (None, _) => Ok(()),
            (Some(only), true) => Err(only),
            (Some(last), false) => {
                mistakes.push(last);
                Err(SettingsError::Several(mistakes))
            }
        }
    }

    /// What the strongest source says.
    fn find(&self, name: &'static str) -> Option<(String, Origin)> {
        if let Some((_, value)) = self.sources.flags.iter().rev().find(|(flag, _)| flag == name) {
            return Some((value.clone(), Origin::Flag));
        }
        let key = KEYS.iter().find(|key| key.name == name)?;
        if let Some(value) =
            self.sources.variables.get(std::ffi::OsStr::new(key.variable)).filter(|value| !value.is_empty())
        {
            return Some((value.to_string_lossy().into_owned(), Origin::Variable { name: key.variable }));
        }
        let file = self.sources.file.as_ref()?;
        let entry = file.entries.get(name)?;
        Some((entry.text.clone(), file.origin(entry)))
    }

    fn show(&mut self, name: &'static str, value: String, origin: Origin) {
        if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            self.shown.push(Shown { key: *key, value, origin });
        }
    }

    fn keep<T>(
        &mut self,
        name: &'static str,
        origin: Origin,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let value = self.read(name, &origin, parse(text))?;
        self.show(name, text.to_owned(), origin);
        Some(value)
    }

    /// None if it is a mistake.
    fn read<T>(&mut self, name: &'static str, origin: &Origin, value: Result<T, InvalidValue>) -> Option<T> {
        let mistake = |problem| SettingsError::Value { name, origin: origin.clone(), problem };
        value.map_err(|problem| self.mistakes.push(mistake(problem))).ok()
    }

    fn default<T>(&mut self, name: &'static str, value: T, text: impl FnOnce(&T) -> String) -> T {
        let shown = text(&value);
        self.show(name, shown, Origin::Default);
        value
    }

    fn settle<T>(
        &mut self,
        name: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
        text: impl FnOnce(&T) -> String,
    ) -> T {
        match self.find(name) {
            Some((found, origin)) => self.keep(name, origin, &found, parse).unwrap_or(default),
            None => self.default(name, default, text),
        }
    }

    fn path(&mut self, name: &'static str, default: PathBuf) -> PathBuf {
        self.settle(name, default, value::path, |path| path.display().to_string())
    }

    fn text(&mut self, name: &'static str, default: String) -> String {
        self.settle(name, default, |text| Ok(text.to_owned()), Clone::clone)
    }

    fn duration(&mut self, name: &'static str, default: Duration) -> Duration {
        self.settle(name, default, value::duration, |duration| value::show_duration(*duration))
    }

    /// What need not be set; `unset` says what that means.
    fn optional<T>(
        &mut self,
        name: &'static str,
        unset: &str,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        match self.find(name) {
            Some((text, origin)) => self.keep(name, origin, &text, parse),
            None => self.default(name, None, |_| unset.to_owned()),
        }
    }

    /// A duration that is no time at all makes no sense.
    fn positive(&mut self, name: &'static str, default: Duration) -> Duration {
        self.settle(name, default, value::positive, |duration| value::show_duration(*duration))
    }

    fn count(&mut self, name: &'static str, default: usize) -> usize {
        self.settle(name, default, value::count, ToString::to_string)
    }

    fn bytes(&mut self, name: &'static str, default: u64) -> u64 {
        self.settle(name, default, value::bytes, |bytes| value::show_bytes(*bytes))
    }
}

/// Two for each processor: actions wait more than they compute.
fn slots() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).saturating_mul(2)
}

/// `$XDG_DATA_HOME/attune`, or `~/.local/share/attune`.
fn default_data_dir(variables: &BTreeMap<OsString, OsString>) -> Result<PathBuf, SettingsError> {
    let folder = |name: &str| {
        variables.get(std::ffi::OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("attune"))
        .ok_or(SettingsError::NoHome)
}

/// The configuration files that are looked for, first found first.
#[must_use]
pub fn config_files(variables: &BTreeMap<OsString, OsString>) -> Vec<PathBuf> {
    let folders = user_folder(variables).into_iter().chain([Path::new("/etc/attune").to_owned()]);
    folders.map(|folder| folder.join("attune.toml")).collect()
}

/// Where the user keeps his own: `$XDG_CONFIG_HOME/attune`, or `~/.config/attune`.
#[must_use]
pub fn user_folder(variables: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let folder = |name: &str| {
        variables.get(std::ffi::OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let user = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    user.map(|config| config.join("attune"))
}

fn text_variables(variables: &BTreeMap<OsString, OsString>) -> BTreeMap<String, String> {
    variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .collect()
}

/// The machine's name, as the kernel has it.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Splits `NAME=VALUE`.
pub fn assignment(text: &str) -> Result<(String, String), SettingsError> {
    text.split_once('=')
        .map(|(name, value)| (name.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| SettingsError::Assignment { text: text.to_owned() })
}

#[cfg(test)]
mod tests;
