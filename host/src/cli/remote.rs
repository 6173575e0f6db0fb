//! Commands for a server: `--server`, `--profile`. The same commands, looked up and shown in the same way.

mod execution;
mod installations;
mod installed;
mod login;
mod pack;
mod resolve;
mod token;
mod watch;

use std::path::Path;

pub(super) use login::{Login, Logout, Profile};

use super::Command;
use super::env::Env;
use super::failure::{Exit, Failed};
use super::fleet::Place;
use super::options::Options;
use super::output::Output;
use super::pack::Pack;
use super::plugin::{self, Plugin};
use super::worker::WorkerCommand;
use crate::api::ADMIN_TOKEN_FILE;
use crate::client::profiles::{self, Profiles, ProfilesError};
use crate::client::{Client, ClientError, Connection, InvalidServer, ServerUrl};
use crate::settings::user_folder;
use crate::token::Token;

const SERVER: &str = "ATTUNE_SERVER";
const PROFILE: &str = "ATTUNE_PROFILE";
const TOKEN: &str = "ATTUNE_TOKEN";

/// The server that a command is for; none if it is for this machine.
pub(super) fn client(options: &Options, output: &Output) -> Result<Option<Client>, Failed> {
    let (server, profile) = match (&options.server, &options.profile) {
        (None, None) => (variable(SERVER), variable(PROFILE)),
        (server, profile) => (server.clone(), profile.clone()),
    };
    let profiles = match Profiles::read(user_folder(&std::env::vars_os().collect()).as_deref()) {
        Err(ProfilesError::NoFolder) if profile.is_none() => None,
        profiles => Some(profiles?),
    };
    let (server, profile) = match (server, profile) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let text = format!("`{SERVER}` and `{PROFILE}` both say which server is meant");
            return Err(Failed::message(Exit::Input, text).hint("unset one of them"));
        }
        (Some(text), None) => {
            let server = text.parse::<ServerUrl>()?;
            let profile = profiles.as_ref().and_then(|profiles| profiles.of(&server));
            (server, profile)
        }
        (None, Some(name)) => {
            let profile = profiles.as_ref().and_then(|profiles| profiles.named.get(&name));
            let profile = profile.ok_or_else(|| no_profile(&name))?;
            (profile.server.clone(), Some(profile))
        }
    };
    let token = match (variable(TOKEN), profile) {
        (Some(text), _) => text.parse::<Token>().map_err(|error| {
            Failed::new(Exit::Input, anyhow::Error::new(error).context(format!("`{TOKEN}` is no token")))
        })?,
        (None, Some(profile)) => profile.token.clone(),
        (None, None) => admin_token(&server, options, output)?,
    };
    let connection = Connection {
        server: &server,
        token,
        ca: profile.and_then(|profile| profile.ca.as_deref()),
        plain_http: profile.is_some_and(|profile| profile.plain_http),
    };
    Ok(Some(Client::new(connection)?))
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The token that a server on this machine made for whoever started it.
fn admin_token(server: &ServerUrl, options: &Options, output: &Output) -> Result<Token, Failed> {
    if server.is_loopback() {
        let path = options.settings(output)?.data_dir.join(ADMIN_TOKEN_FILE);
        if let Ok(text) = std::fs::read_to_string(path)
            && let Ok(token) = text.trim_end().parse()
        {
            return Ok(token);
        }
    }
    let failed = Failed::message(Exit::Input, format!("there is no token for `{server}`"));
    Err(failed.hint(format!("attune login {server}, or set `{TOKEN}`")))
}

fn no_profile(name: &str) -> Failed {
    let failed = Failed::message(Exit::NotFound, format!("there is no profile `{name}`"));
    let named = if name == profiles::DEFAULT { String::new() } else { format!(" --profile {name}") };
    failed.hint(format!(
        "`attune profile list` shows those that there are; `attune login URL{named}` makes this one"
    ))
}

/// Whether a command has to do with neither packs nor executions, but with files of whoever gives it.
pub(super) fn is_about_files(command: &Command) -> bool {
    match command {
        Command::Login(_)
        | Command::Logout(_)
        | Command::Profile(_)
        | Command::Config(_)
        | Command::Key(_)
        | Command::Pack(Pack::New { .. } | Pack::Lock { .. } | Pack::Sign { .. })
        | Command::Completions { .. } => true,
        Command::Run(_)
        | Command::Resolve(_)
        | Command::Pack(_)
        | Command::Plugin(_)
        | Command::Grant(_)
        | Command::Runtime(_)
        | Command::Env(_)
        | Command::Execution(_)
        | Command::Worker(_)
        | Command::Serve(_)
        | Command::Token(_)
        | Command::Doctor(_) => false,
    }
}

/// Does what a command says, on a server.
pub(super) async fn execute(command: Command, client: &Client, output: &Output) -> Result<Exit, Failed> {
    match command {
        Command::Run(command) => Box::pin(watch::run(client, command, output)).await,
        Command::Execution(command) => Box::pin(execution::execute(client, command, output)).await,
        Command::Worker(WorkerCommand { fleet: Some(fleet), .. }) => {
            fleet.execute_at(&Place::There(client), output).await
        }
        Command::Plugin(Plugin::List) => plugin::list::list_there(client, output).await,
        Command::Plugin(Plugin::Inspect { component }) => {
            plugin::list::inspect_there(client, &component, output).await
        }
        Command::Grant(command) => command.execute_there(client, output).await,
        Command::Runtime(command) => installed::runtime(client, command, output).await,
        Command::Pack(command) => Box::pin(pack::execute(client, command, output)).await,
        Command::Resolve(command) => resolve::execute(client, &command, output).await,
        Command::Env(Env::List) => installed::environments(client, output).await,
        Command::Token(command) => token::execute(client, command, output).await,
        other => Err(only_here(&other)),
    }
}

/// That a command can't be given to a server.
fn only_here(command: &Command) -> Failed {
    let what = match command {
        Command::Worker(_) => "attune worker",
        Command::Serve(_) => "attune serve",
        Command::Doctor(_) => "attune doctor",
        Command::Plugin(_) => "attune plugin",
        Command::Env(_) => "attune env",
        _ => "this",
    };
    not_there(&format!("`{what}` is for this machine, and can't be asked of a server"))
}

/// That something can't be asked of a server.
fn not_there(text: &str) -> Failed {
    Failed::message(Exit::Input, text).hint(format!(
        "where it is to be done here, leave out `--server` and `--profile`, and unset `{SERVER}` and `{PROFILE}`"
    ))
}

impl From<InvalidServer> for Failed {
    fn from(error: InvalidServer) -> Self {
        Self::new(Exit::Input, error)
    }
}

impl From<ProfilesError> for Failed {
    fn from(error: ProfilesError) -> Self {
        Self::new(Exit::Input, error)
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Exposed { .. } | ClientError::Certificates { .. } => Exit::Input,
            ClientError::Refused(refusal) => match (refusal.status, refusal.kind()) {
                (_, "not-approved") => Exit::NotApproved,
                (_, "no-match") => Exit::NoMatch,
                (_, "environment-failed") => Exit::Environment,
                (404, _) => Exit::NotFound,
                (401 | 403 | 429 | 500.., _) => Exit::Failure,
                (_, _) => Exit::Input,
            },
            ClientError::Unreachable { .. }
            | ClientError::Untrusted { .. }
            | ClientError::Elsewhere { .. }
            | ClientError::Unreadable { .. } => Exit::Failure,
        };
        let hint = remedy(&error);
        let failed = Self::new(exit, error);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

/// What to do about a server that did not do what it was asked.
fn remedy(error: &ClientError) -> Option<String> {
    Some(match error {
        ClientError::Exposed { server } => format!(
            "use `https://`; or, on a network that you trust, allow it: attune login {server} --plain-http"
        ),
        ClientError::Unreachable { unasked: true, .. } => {
            "is `attune serve` running there, and is it the right address?".to_owned()
        }
        ClientError::Unreachable { .. } | ClientError::Certificates { .. } => return None,
        ClientError::Untrusted { server, .. } => format!(
            "if its certificate is from an authority of your own, trust that one: attune login {server} --ca FILE"
        ),
        ClientError::Elsewhere { .. } => "if that is the one that is meant, give its address".to_owned(),
        ClientError::Unreadable { server, .. } if !server.is_encrypted() => {
            "is it the address of an `attune serve`? One with a certificate has one with `https://`"
                .to_owned()
        }
        ClientError::Unreadable { .. } => "is it the address of an `attune serve`?".to_owned(),
        ClientError::Refused(refusal) => match refusal.status {
            401 => "`attune token create` makes a token there, and `attune login` keeps it here".to_owned(),
            _ => return refusal.hint.clone(),
        },
    })
}

/// A path as it is kept: wherever the command is given the next time.
fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
