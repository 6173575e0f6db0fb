//! `attune login`, `attune logout`, `attune profile`: servers, and what proves to them who asks.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{absolute, no_profile};
use crate::cli::failure::{Exit, Failed};
use crate::cli::interruption;
use crate::cli::options::Options;
use crate::cli::output::Output;
use crate::cli::table::table;
use crate::client::executions::Wanted;
use crate::client::profiles::{self, Profiles};
use crate::client::{Client, Connection, ServerUrl};
use crate::printable::printable;
use crate::settings::user_folder;
use crate::token::Token;

#[derive(Debug, Args)]
#[command(after_help = "\
The token is asked for, tried, and kept with the address as a profile, in `profiles.toml` beside the settings, which only you
may read. Give a command to that server by --profile NAME, by --server URL, or by the variables ATTUNE_PROFILE or
ATTUNE_SERVER; ATTUNE_TOKEN wins over the token of a profile.

Examples:
  attune login https://attune.example.org
  attune login https://attune.example.org --profile work --token-stdin <token.txt
  attune run examples.greet --profile work")]
pub(in crate::cli) struct Login {
    /// The server: `https://HOST`, or what `attune serve` says
    #[arg(value_name = "URL")]
    address: String,
    /// Read the token from standard input
    #[arg(long)]
    token_stdin: bool,
    /// Trust the certificates in this file as well, as PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Allow an address of `http://` elsewhere: whoever is on the way can read the token
    #[arg(long)]
    plain_http: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The profile is `default`, or what --profile says. The token itself stays good until it is revoked."
)]
pub(in crate::cli) struct Logout {}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Profile {
    /// List the servers that you logged in to
    List,
}

/// A profile, as `--json` shows it: without the token.
#[derive(Serialize)]
struct Shown<'a> {
    profile: &'a str,
    server: &'a ServerUrl,
    ca: Option<&'a PathBuf>,
    plain_http: bool,
}

impl<'a> Shown<'a> {
    fn new(name: &'a str, profile: &'a profiles::Profile) -> Self {
        let profiles::Profile { server, ca, plain_http, .. } = profile;
        Self { profile: name, server, ca: ca.as_ref(), plain_http: *plain_http }
    }
}

fn read() -> Result<Profiles, Failed> {
    Ok(Profiles::read(user_folder(&std::env::vars_os().collect()).as_deref())?)
}

/// The profile that is meant.
fn name(options: &Options) -> Result<&str, Failed> {
    if options.server.is_some() {
        return Err(Failed::message(Exit::Input, "`--server` says nothing to this command"));
    }
    Ok(options.profile.as_deref().unwrap_or(profiles::DEFAULT))
}

impl Login {
    pub(in crate::cli) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let name = name(options)?;
        let mut profiles = read()?;
        let server = self.address.parse::<ServerUrl>()?;
        let ca = self.ca.as_deref().map(absolute);
        let plain_http = self.plain_http && !server.is_private();
        let connection = |token: Token| Connection { server: &server, token, ca: ca.as_deref(), plain_http };
        // Before the token is asked for: what is wrong with the rest is known.
        Client::new(connection(Token::random()?))?;
        let token = if self.token_stdin { read_token()? } else { ask_for_token(&server).await? };
        let client = Client::new(connection(token.clone()))?;
        client.executions(Wanted { limit: 1, ..Wanted::default() }).await?;
        let profile = profiles::Profile { server: server.clone(), token, ca, plain_http };
        profiles.named.insert(name.to_owned(), profile.clone());
        profiles.write()?;
        output.data(&Shown::new(name, &profile), || {
            format!("logged in to {server}: profile {}", printable(name))
        })?;
        output.say(&format!("now: attune --profile {} execution list", printable(name)));
        Ok(Exit::Success)
    }
}

fn parse(text: &str) -> Result<Token, Failed> {
    text.trim().parse().map_err(|error| Failed::new(Exit::Input, anyhow::Error::new(error)))
}

fn read_token() -> Result<Token, Failed> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    parse(&line)
}

/// Reads a token from the terminal, which does not show it.
async fn ask_for_token(server: &ServerUrl) -> Result<Token, Failed> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failed::message(Exit::Input, "there is no terminal to ask for the token")
            .hint("give it on standard input: --token-stdin"));
    }
    let before = tcgetattr(&stdin).map_err(io::Error::from)?;
    let mut silent = before.clone();
    silent.local_modes -= LocalModes::ECHO;
    silent.local_modes |= LocalModes::ECHONL;
    // Whoever interrupts it wants to see what he types again.
    let (interruptions, mut cancel) = interruption::listen_quietly();
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(io::Error::from)?;
    let mut stderr = io::stderr();
    let asked = write!(stderr, "token for {server} (it is not shown): ").and_then(|()| stderr.flush());
    let read = spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = tokio::select! {
        line = read => Some(line),
        () = cancel.asked() => None,
    };
    tcsetattr(&stdin, OptionalActions::Now, &before).map_err(io::Error::from)?;
    interruptions.abort();
    asked?;
    let Some(line) = line else {
        writeln!(stderr)?;
        return Err(Failed::message(Exit::Cancelled, "no token was given"));
    };
    parse(&line.map_err(io::Error::other)??)
}

impl Logout {
    #[expect(clippy::unused_self, reason = "commands are executed like this")]
    pub(in crate::cli) fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let name = name(options)?;
        let mut profiles = read()?;
        let profile = profiles.named.remove(name).ok_or_else(|| no_profile(name))?;
        profiles.write()?;
        output.data(&Shown::new(name, &profile), || {
            format!("logged out of {}: there is no profile {} any more", profile.server, printable(name))
        })?;
        output.say("the token stays good: `attune token revoke` ends that");
        Ok(Exit::Success)
    }
}

impl Profile {
    #[expect(clippy::unused_self, reason = "there is only one thing to do yet")]
    pub(in crate::cli) fn execute(self, output: &Output) -> Result<Exit, Failed> {
        let profiles = read()?;
        let shown =
            profiles.named.iter().map(|(name, profile)| Shown::new(name, profile)).collect::<Vec<_>>();
        output.data(&shown, || {
            if shown.is_empty() {
                return "there are no profiles: `attune login URL` makes one".to_owned();
            }
            table(
                ["PROFILE", "SERVER", "TRUSTS"],
                shown.iter().map(|profile| {
                    let ca = profile.ca.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
                    [profile.profile.to_owned(), profile.server.to_string(), ca]
                        .map(|cell| printable(&cell).into_owned())
                }),
            )
        })?;
        Ok(Exit::Success)
    }
}
