//! Options that every command takes.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::output::Output;
use super::talk::Talk;
use crate::environment::prepare::TOLD;
use crate::settings::{ConfigFile, LogFormat, Settings, SettingsError, Sources, assignment, config_files};
use crate::trace::{self, Endpoint};

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Options {
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Log more: `-v` for what is done, `-vv` for details
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour: unless told, on a terminal if `NO_COLOR` is not set
    #[arg(long, global = true, value_enum, default_value_t, hide_default_value = true)]
    pub color: When,
    /// Read settings from this file
    #[arg(long, global = true, value_name = "FILE", env = "ATTUNE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Keep the database and everything else in this folder
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep the data in this database: `sqlite://PATH` or `postgres://user@host/database`
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// Do it on this server, where `attune serve` runs [env: ATTUNE_SERVER]
    #[arg(long, global = true, value_name = "URL", conflicts_with = "profile")]
    pub server: Option<String>,
    /// Do it on the server of this name, as `attune login` has kept it [env: ATTUNE_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Set any setting; `attune config show` lists them
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// What they come to, once somebody has asked.
    #[arg(skip)]
    settled: OnceCell<Settings>,
}

/// Asks for the plan alone.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct DryRun {
    /// Show what would be done, and do none of it
    #[arg(long)]
    pub dry_run: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

impl Options {
    /// The settings that file, variables and flags come to, with a warning for what was probably meant to be
    /// one.
    pub(super) fn settings(&self, output: &Output) -> Result<Settings, SettingsError> {
        if let Some(settings) = self.settled.get() {
            return Ok(settings.clone());
        }
        let variables = std::env::vars_os().collect::<BTreeMap<OsString, OsString>>();
        let file = match &self.config {
            Some(path) => Some(ConfigFile::read(path)?),
            None => config_files(&variables)
                .iter()
                .find(|path| path.exists())
                .map(|path| ConfigFile::read(path))
                .transpose()?,
        };
        let mut flags = self.set.iter().map(|text| assignment(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(folder) = &self.data_dir {
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
            flags.push(("data_dir".to_owned(), folder.to_string_lossy().into_owned()));
        }
        if let Some(database) = &self.database {
            flags.push(("database".to_owned(), database.clone()));
        }
        let settings = Settings::resolve(&Sources { file, variables, flags })?;
        for warning in &settings.warnings {
            output.warn(warning);
        }
        Ok(self.settled.get_or_init(|| settings).clone())
    }
}

/// Sends log messages to standard error, as `ATTUNE_LOG` says or as loud as `-v` asks for. With neither,
/// what is left are warnings, and they look like those of the commands. Spans go to `traces`, if there is such a place.
/// A service tells what a command says in its own words.
pub(super) fn start_log(
    options: &Options,
    output: &Output,
    format: LogFormat,
    (is_service, traces): (bool, Option<Traces<'_>>),
) {
    let default = match (options.quiet, options.verbose) {
        (true, _) => "error",
        (false, 0) if is_service => "attune=warn",
        (false, 0) => &format!("attune=warn,{TOLD}=off"),
        (false, 1) => "attune=info",
        (false, 2) => "attune=debug",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("ATTUNE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let is_plain = options.verbose == 0 && std::env::var_os("ATTUNE_LOG").is_none();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = if format == LogFormat::Json {
        log.json().boxed()
    } else if is_plain {
        log.event_format(Talk::new(output)).boxed()
    } else {
        log.with_ansi(false).with_target(false).compact().boxed()
    };
    let registry = tracing_subscriber::registry();
    // A second subscriber in one process can only come from a test; the first one goes on.
    let started = match traces {
        Some(Traces { endpoint, is_service }) => {
            registry.with(log.with_filter(filter)).with(trace::begin(endpoint, is_service)).try_init()
        }
        None => registry.with(log).with(filter).try_init(),
    };
    drop(started);
}

/// Where spans go, and whether a service sends them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traces<'a> {
    pub endpoint: &'a Endpoint,
    pub is_service: bool,
}
