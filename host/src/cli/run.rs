//! `attune run`: an action, under the version that it asks for.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::amount::limit;
use super::ending::{Ending, RanBy, because_chosen};
use super::failure::{Exit, Failed};
use super::interruption;
use super::options::{DryRun, Options};
use super::output::Output;
use super::preview::preview;
use super::printer::Printer;
use super::progress::Progress;
use super::queued::{self, Place};
use super::remedy;
use super::resolve::{alias_failed, choice_failed, parse, unknown_runtime};
use super::runtime::{INSTALL_AGAIN, detection_failed, open_worker};
use crate::environment::build::BuildError;
use crate::environment::prepare::PrepareError;
use crate::execution::choice::Choice;
use crate::execution::launch::LaunchError;
use crate::execution::{self, AskError, Event, ExecutionError, Given, Outcome, Request, Status};
use crate::installation::FailureClass;
use crate::nearest::nearest_name;
use crate::plugin::{Cause, PluginError};
use crate::printable::printable;
use crate::reference::ActionRef;
use crate::secret::SecretsFileError;
use crate::selection::SelectionView;
use crate::shape::{Problem, object};
use crate::store::{Store, StoreError};
use crate::worker::Worker;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  attune run examples.greet -p name=World
  attune run examples.greet --constraint '>=3.11,<3.13' --dry-run
  echo '{\"name\": \"World\"}' | attune run examples.greet --params -")]
pub(super) struct Run {
    #[command(flatten)]
    pub ask: Ask,
    /// Read the secrets that the action declares from this file
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    #[command(flatten)]
    pub dry: DryRun,
    /// Have a worker run it (`attune worker`), and wait for it
    #[arg(long, conflicts_with = "secrets")]
    queue: bool,
    #[command(flatten)]
    pub place: Place,
}

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Ask {
    /// The action: PACK.NAME
    action: ActionRef,
    /// Set a parameter
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Read parameters from a file of JSON or YAML, `-` for standard input; -p wins over it
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Ask for this instead of what the action asks for
    #[arg(long, short, value_name = "CONSTRAINT")]
    constraint: Option<String>,
    /// End it after this long: seconds, or a number with a unit
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = limit)]
    timeout: Option<Duration>,
}

impl Run {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let request = Request { secrets_file: self.secrets.clone(), ..self.ask.request()? };
        let terms = self.place.terms()?;
        let worker = open_worker(options, output).await?;
        let outcome = if self.queue {
            Box::pin(queued::run(&worker, &request, &terms, self.dry, output)).await
        } else if self.place.is_given() {
            Err(Failed::message(Exit::Input, "only what is queued has a place in the queue: add --queue"))
        } else if self.dry.dry_run {
            Box::pin(preview(&worker, &request, output)).await
        } else {
            run(&worker, &request, output).await
        };
        worker.close().await;
        outcome
    }
}

impl Ask {
    pub(super) fn request(&self) -> Result<Request, Failed> {
        let document = self.params.as_deref().map(read_document).transpose()?;
        Ok(Request {
            action: self.action.clone(),
            parameters: Given { document, assignments: self.parameters.clone(), ..Given::default() },
            constraint: self.constraint.as_deref().map(parse).transpose()?,
            timeout: self.timeout,
            secrets_file: None,
            since: Instant::now(),
        })
    }
}

/// The text of a file, or of standard input for `-`, and what to call it.
fn read_document(path: &Path) -> Result<(String, String), Failed> {
    let name = path.display().to_string();
    let read = if name == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = read.map_err(|error| {
        Failed::new(
            Exit::Input,
            anyhow::Error::new(error).context(format!("can't read the parameters from `{name}`")),
        )
    })?;
    Ok((if name == "-" { "standard input".to_owned() } else { name }, text))
}

async fn run(worker: &Worker, request: &Request, output: &Output) -> Result<Exit, Failed> {
    let progress = Mutex::new(Some(Progress::begin(output)));
    let say = |text: String| {
        if let Ok(progress) = progress.lock()
            && let Some(progress) = progress.as_ref()
        {
            progress.say(text);
        }
    };
    let end_progress = || {
        if let Ok(mut progress) = progress.lock()
            && let Some(progress) = progress.take()
        {
            progress.end();
        }
    };
    let printer = Printer::new(output);
    let observe = |event: Event<'_>| match event {
        Event::Accepted(_) => {}
        Event::Doing(what) => say(what.to_owned()),
        Event::Building(progress) => say(progress.to_string()),
        Event::Output(stream, bytes) => {
            end_progress();
            printer.push(stream, bytes);
        }
    };
    let (interruptions, cancel) = interruption::listen(output);
    let outcome = execution::run(worker, request, &observe, cancel).await;
    interruptions.abort();
    end_progress();
    let passed_on = printer.finish();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return Err(execution_failed(worker, error).await),
    };
    if output.json {
        output.data(&Shown::new(request, &outcome), String::new)?;
    } else {
        if passed_on.open_line {
            output.say("");
        }
        ending(request, &outcome).say(output);
    }
    match (outcome.status, outcome.cause) {
        (_, Some(cause)) if !output.json => Err(execution_failed(worker, cause).await),
        (_, Some(cause)) => Ok(execution_failed(worker, cause).await.exit),
        (Status::Succeeded, None) => passed_on.exit(Exit::Success, outcome.id),
        (Status::TimedOut, None) => passed_on.exit(Exit::TimedOut, outcome.id),
        (Status::Cancelled, None) => passed_on.exit(Exit::Cancelled, outcome.id),
        (_, None) => passed_on.exit(Exit::of_action(outcome.exit_code.map(i64::from)), outcome.id),
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    action: String,
    status: Status,
    result: Option<&'a serde_json::Value>,
    exit_code: Option<i32>,
    error: Option<Problem<'a>>,
    /// Exact version of the installation.
    selected_version: Option<String>,
    /// Label of the version of the runtime that covers it.
    runtime_version: Option<&'a str>,
    installation: Option<&'a crate::store::installation::FoundInstallation>,
    /// The entry point, if it is itself the program.
    program: Option<&'a Path>,
    selection: Option<SelectionView<'a>>,
    environment_built: bool,
    output_incomplete: bool,
    warnings: &'a [String],
    /// Milliseconds by stage.
    #[serde(serialize_with = "object")]
    timings: &'a [(String, f64)],
}

impl<'a> Shown<'a> {
    fn new(request: &Request, outcome: &'a Outcome) -> Self {
        let choice = outcome.choice.as_ref();
        Self {
            id: outcome.id.to_string(),
            action: request.action.to_string(),
            status: outcome.status,
            result: outcome.result.as_ref(),
            exit_code: outcome.exit_code,
            error: outcome.error.as_ref().map(|(class, message)| Problem { class, message }),
            selected_version: choice.map(|choice| choice.version.to_string()),
            runtime_version: choice.and_then(|choice| choice.label.as_deref()),
            installation: choice.map(|choice| &choice.installation),
            program: outcome.program.as_deref(),
            selection: choice
                .map(Choice::view)
                .or_else(|| outcome.cause.as_ref().and_then(ExecutionError::selection)),
            environment_built: outcome.built,
            output_incomplete: outcome.output_incomplete,
            warnings: &outcome.warnings,
            timings: &outcome.timings,
        }
    }
}

/// How it ended; what kept it from being started is said as an error of the command.
fn ending<'a>(request: &'a Request, outcome: &'a Outcome) -> Ending<'a> {
    let choice = outcome.choice.as_ref();
    let because = choice.and_then(|choice| because_chosen(request.constraint.as_ref(), choice));
    let itself = outcome.program.as_ref().map(|program| RanBy::itself(&outcome.runtime, program));
    let error = outcome.error.as_ref().filter(|_| outcome.cause.is_none());
    Ending {
        id: outcome.id,
        action: &request.action,
        status: outcome.status,
        error: error.map(|(class, message)| (class.as_str(), message.as_str())),
        ran_by: choice.map(|choice| RanBy::chosen(&outcome.runtime, choice)).or(itself),
        because,
        worker: None,
        timings: &outcome.timings,
        output_incomplete: outcome.output_incomplete,
        warnings: &outcome.warnings,
        considered: None,
    }
}

/// Why there is no such action, with the one that was probably meant.
pub(super) async fn unknown_action(worker: &Worker, action: &ActionRef) -> Failed {
    ask_failed(worker, AskError::NoAction { action: action.clone() }).await
}

/// The action that is probably meant by the name of one that is not there.
pub(super) async fn nearest_action(store: &Store, action: &ActionRef) -> Result<Option<String>, StoreError> {
    let actions = store.actions(None).await?;
    let names = actions.into_iter().map(|row| row.declared.reference.to_string());
    Ok(nearest_name(names, &action.to_string()))
}

pub(super) async fn ask_failed(worker: &Worker, error: AskError) -> Failed {
    match error {
        AskError::NoAction { ref action } => {
            let nearest = nearest_action(&worker.store, action).await.ok().flatten();
            let failed = Failed::new(Exit::NotFound, error);
            match nearest {
                Some(name) => failed.hint(format!("did you mean `{name}`?")),
                None => failed.hint("`attune pack show PACK` lists the actions of a pack"),
            }
        }
        AskError::Runtime(error) => unknown_runtime(error),
        AskError::Files(_) => Failed::new(Exit::Failure, error).hint(INSTALL_AGAIN),
        AskError::Store(_) | AskError::Token(_) => Failed::new(Exit::Failure, error),
        AskError::MissingSecrets(_) => Failed::new(Exit::Input, error)
            .hint("give them in a file: --secrets FILE, or the setting `secrets_file`"),
        AskError::SecretsFile(SecretsFileError::Io { .. }) => Failed::new(Exit::Input, error)
            .hint("the file is what --secrets FILE names, or else the setting `secrets_file`"),
        AskError::SecretsFile(SecretsFileError::Malformed { .. }) => Failed::new(Exit::Input, error)
            .hint("write each secret as its name and a text: `api_token: \"…\"` in YAML"),
        AskError::Alias(unknown) => alias_failed(unknown),
        // What would be right is part of the message.
        AskError::SecretsFile(
            SecretsFileError::Readable { .. }
            | SecretsFileError::TooLarge { .. }
            | SecretsFileError::UnknownFormat { .. },
        )
        | AskError::Disabled { .. }
        | AskError::NoVersions { .. }
        | AskError::Parameters(_)
        | AskError::Encode(_)
        | AskError::Assignments { .. }
        | AskError::Document { .. }
        | AskError::Constraint(_)
        | AskError::Unmaskable { .. } => Failed::new(Exit::Input, error),
    }
}

pub(super) async fn execution_failed(worker: &Worker, error: ExecutionError) -> Failed {
    match error {
        ExecutionError::Ask(error) => ask_failed(worker, error).await,
        ExecutionError::Choice(error) => choice_failed(error),
        ExecutionError::Environment(PrepareError::Detection(error))
        | ExecutionError::Launch(LaunchError::Detection(error)) => detection_failed(error),
        ExecutionError::Environment(error) => environment_failed(worker, error),
        ExecutionError::RunFolder(_) => {
            let hint = remedy::of_folder(&error);
            Failed::new(Exit::Failure, error).hint(hint)
        }
        error @ (ExecutionError::Launch(_)
        | ExecutionError::Delivery(_)
        | ExecutionError::Spawn(_)
        | ExecutionError::Wait(_)
        | ExecutionError::NotRunning { .. }
        | ExecutionError::NotBegun { .. }
        | ExecutionError::Store(_)) => Failed::new(Exit::Failure, error),
    }
}

/// Why there is no environment, as a failed command, with what the failing step printed.
pub(super) fn environment_failed(worker: &Worker, error: PrepareError) -> Failed {
    let output = error.output().map(str::to_owned);
    let hint = match &error {
        PrepareError::Build { source, .. } => match **source {
            BuildError::Step { network: true, .. } if !has_proxy(worker) => Some(
                "if something could not be reached: steps see none of your variables; a proxy, certificates or a \
                 package index for them can be set under [variables] in attune.toml",
            ),
            _ => None,
        },
        PrepareError::Plugin(PluginError { cause, .. }) => match &**cause {
            Cause::Refused { failure } if matches!(failure.class, FailureClass::MissingCapability(_)) => {
                Some(
                    "`attune runtime detect` shows what each installation lacks; another version may have it: \
                 --constraint",
                )
            }
            _ => None,
        },
        _ => None,
    };
    let mut failed =
        Failed::new(Exit::Environment, anyhow::Error::new(error).context("can't build the environment"));
    failed.hints.extend(hint.map(str::to_owned));
    match output.filter(|output| !output.trim().is_empty()) {
        Some(output) => failed.report(printable(&output)),
        None => failed,
    }
}

/// Whether steps that build environments are told of a proxy.
fn has_proxy(worker: &Worker) -> bool {
    let is_proxy = |name: &String| name.to_ascii_lowercase().ends_with("_proxy");
    worker.settings.variables.keys().any(is_proxy)
}
