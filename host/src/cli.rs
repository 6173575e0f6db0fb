//! The command line: what people type, and what they see.
//!
//! Data goes to standard output, talk to standard error. One file per command; each parses its
//! arguments, calls a stage of the pipeline and shows what came out.

mod amount;
mod config;
mod doctor;
mod ending;
mod env;
mod execution;
mod failure;
mod fleet;
mod grant;
mod grants;
mod interruption;
mod key;
mod looking;
mod options;
mod output;
mod pack;
mod plugin;
mod preview;
mod printer;
mod progress;
mod queued;
mod redraw;
mod remedy;
mod remote;
mod resolve;
mod run;
mod runtime;
mod serve;
mod shown;
mod table;
mod talk;
mod token;
mod watch;
mod worker;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

pub use failure::Exit;
use failure::Failed;
use options::{Options, Traces};
use output::Output;

use crate::process::init;
use crate::trace;

/// Runs actions under the language runtime version that each asks for.
#[derive(Debug, Parser)]
#[command(name = "attune", version, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0    it worked; for `run`, the action succeeded
  1    something went wrong
  2    the input is wrong: arguments, settings, parameters, a constraint, a pack
  3    nothing matches: no installation satisfies what was asked
  4    there is nothing by that name
  5    an environment can't be built
  6    not approved: a component asks for more than the operator allowed, or nobody trusted signed a pack
  124  the action ran longer than it may
  130  cancelled
  `run` and `execution watch` end with the exit code of the action if it failed with one; `--json` says which it was";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an action and show its result
    Run(run::Run),
    /// Show which installation a constraint selects, and why
    Resolve(resolve::Resolve),
    /// Install, inspect, check and write packs
    #[command(subcommand)]
    Pack(pack::Pack),
    /// Write, test, inspect and call components
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// See what components ask for, allow it and take that back
    #[command(subcommand)]
    Grant(grant::Grant),
    /// See the runtimes and what is installed of them
    #[command(subcommand)]
    Runtime(runtime::Runtime),
    /// See, repair and remove environments
    #[command(subcommand)]
    Env(env::Env),
    /// See what ran and what it printed
    #[command(subcommand)]
    Execution(execution::Execution),
    /// Run what is queued, until told to stop; see the workers
    Worker(worker::WorkerCommand),
    /// Serve the API over HTTP, until told to stop
    Serve(serve::Serve),
    /// Make, list and revoke tokens for the API
    #[command(subcommand)]
    Token(token::Token),
    /// Log in to a server, and keep the token as a profile
    Login(remote::Login),
    /// Forget the token for a server
    Logout(remote::Logout),
    /// See the servers that you logged in to
    #[command(subcommand)]
    Profile(remote::Profile),
    /// Check this machine: what is found, what is missing, how to mend it
    Doctor(doctor::Doctor),
    /// See the settings
    #[command(subcommand)]
    Config(config::Config),
    /// Make keys to sign packs with
    #[command(subcommand)]
    Key(key::Key),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Threads of a service beside its own, for components.
const SERVICE_THREADS: usize = 2;

/// How long a command waits at its end for the collector of traces, at most.
const FLUSH: Duration = Duration::from_secs(1);
/// The same for a service, which has more to tell.
const SERVICE_FLUSH: Duration = Duration::from_secs(5);
/// How long a service may take to end what still runs on its other threads.
const SERVICE_END: Duration = Duration::from_secs(2);

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = arguments.into_iter().collect::<Vec<_>>();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure; clap knows which is which.
            let exit = if error.use_stderr() { Exit::Input } else { Exit::Success };
            return if error.print().is_ok() { exit.into() } else { Exit::Failure.into() };
        }
    };
    let output = Output::new(&cli.options);
    let is_service = cli.command.is_service();
    if is_service && init::is_first() {
        match init::run(arguments.get(1..).unwrap_or_default()) {
            Ok(code) => return code.into(),
            Err(error) => output.warn(&format!(
                "nobody asks how the processes ended that actions leave behind, so they pile up: {error}"
            )),
        }
    }
    // Settings that are wrong are an error of the command's, in its turn.
    let settings = cli.options.settings(&output).ok();
    let endpoint = settings.as_ref().and_then(|settings| settings.otlp_endpoint.as_ref());
    let traces = endpoint.filter(|_| cli.command.is_traced());
    let traces = traces.map(|endpoint| Traces { endpoint, is_service });
    let format = settings.as_ref().map(|settings| settings.log_format).unwrap_or_default();
    options::start_log(&cli.options, &output, format, (is_service, traces));
    // A command waits most of its time. With one thread for that, nothing has to be handed from core to core:
    // what computes for long goes to threads of its own.
    let runtime = if is_service {
        // A service must not wait for a component that computes for long.
        tokio::runtime::Builder::new_multi_thread().worker_threads(SERVICE_THREADS).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(cli.command.execute(&cli.options, &output));
            // What still runs ends its processes. A thread that is stuck in a system call must not keep the command from
            // ending.
            runtime.shutdown_timeout(if is_service { SERVICE_END } else { Duration::ZERO });
            outcome
        }
        Err(error) => Err(Failed::from(anyhow::Error::new(error).context("can't start"))),
    };
    let exit = match outcome {
        Ok(exit) => exit,
        Err(mut failed) => {
            let database = settings.as_ref().map(|settings| &settings.database);
            failed.hints.extend(database.and_then(|it| remedy::of_database(failed.error.as_ref(), it)));
            output.failure(&failed);
            failed.exit
        }
    };
    trace::end(if is_service { SERVICE_FLUSH } else { FLUSH });
    exit.into()
}

impl Command {
    /// Whether it runs until it is told to stop.
    fn is_service(&self) -> bool {
        match self {
            Self::Worker(command) => command.is_service(),
            Self::Serve(_) => true,
            _ => false,
        }
    }

    /// Whether it has a part in executions.
    fn is_traced(&self) -> bool {
        match self {
            Self::Run(_) | Self::Serve(_) | Self::Execution(execution::Execution::Enqueue { .. }) => true,
            Self::Worker(command) => command.is_service(),
            Self::Token(_)
            | Self::Resolve(_)
            | Self::Pack(_)
            | Self::Plugin(_)
            | Self::Grant(_)
            | Self::Runtime(_)
            | Self::Env(_)
            | Self::Execution(_)
            | Self::Doctor(_)
            | Self::Config(_)
            | Self::Key(_)
            | Self::Login(_)
            | Self::Logout(_)
            | Self::Profile(_)
            | Self::Completions { .. } => false,
        }
    }

    async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        if !remote::is_about_files(&self)
            && let Some(client) = remote::client(options, output)?
        {
            return Box::pin(remote::execute(self, &client, output)).await;
        }
        match self {
            // The larger ones are boxed: the others need not carry their size.
            Self::Run(command) => Box::pin(command.execute(options, output)).await,
            Self::Resolve(command) => command.execute(options, output).await,
            Self::Pack(command) => command.execute(options, output).await,
            Self::Plugin(command) => Box::pin(command.execute(options, output)).await,
            Self::Grant(command) => command.execute(options, output).await,
            Self::Runtime(command) => command.execute(options, output).await,
            Self::Env(command) => Box::pin(command.execute(options, output)).await,
            Self::Execution(command) => Box::pin(command.execute(options, output)).await,
            Self::Worker(command) => Box::pin(command.execute(options, output)).await,
            Self::Serve(command) => Box::pin(command.execute(options, output)).await,
            Self::Token(command) => command.execute(options, output).await,
            Self::Login(command) => command.execute(options, output).await,
            Self::Logout(command) => command.execute(options, output),
            Self::Profile(command) => command.execute(output),
            Self::Doctor(command) => command.execute(options, output).await,
            Self::Config(command) => command.execute(options, output),
            Self::Key(command) => command.execute(output),
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "attune", &mut script);
                output.bytes(&script)?;
                Ok(Exit::Success)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
