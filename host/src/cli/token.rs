//! `attune token`: who may use the API.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::amount::time as amount;
use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::Output;
use super::runtime::worker_failed;
use super::shown::time;
use super::table::table;
use crate::printable::printable;
use crate::reference::PackRef;
use crate::store::change::ChangeError;
use crate::store::token::{NewToken, TokenRow};
use crate::token::{Role, Token as Secret, TokenName};
use crate::worker;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token, and print it: it is shown this once
    Create {
        /// What it is called
        name: TokenName,
        /// What may be done with it: each role may do what those before it may
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
        /// Only what is of this pack may be seen and changed with it
        #[arg(long, value_name = "PACK")]
        pack: Option<PackRef>,
        /// It is good for this long; until it is revoked unless given
        #[arg(long, value_name = "TIME", value_parser = amount)]
        expires: Option<Duration>,
    },
    /// List the tokens
    List,
    /// Revoke a token: from now on nobody gets in with it
    Revoke {
        /// What it is called
        name: String,
    },
}

/// A token, as `--json` shows it.
#[derive(Serialize, Deserialize)]
pub(super) struct Shown {
    name: String,
    role: Role,
    pack: Option<PackRef>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    /// What is sent, when it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<TokenRow> for Shown {
    fn from(row: TokenRow) -> Self {
        Self {
            name: row.name,
            role: row.role,
            pack: row.pack,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            token: None,
        }
    }
}

impl Token {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let settings = options.settings(output)?;
        let store = worker::open_store(&settings).await.map_err(worker_failed)?;
        match self {
            Self::Create { name, role, pack, expires } => {
                let secret = Secret::random().map_err(|error| {
                    Failed::new(Exit::Failure, anyhow::Error::new(error).context("can't make a token"))
                })?;
                let expires_at = expires
                    .and_then(|expires| TimeDelta::from_std(expires).ok())
                    .map(|expires| Utc::now() + expires);
                let new = NewToken { name: name.as_str(), role, pack: pack.as_ref(), expires_at };
                let row = store.create_token(&secret, &new).await.map_err(not_created)?;
                let made = Shown { token: Some(secret.reveal().to_owned()), ..row.into() };
                print_created(&made, output)?;
            }
            Self::List => {
                let tokens = store.tokens().await?.into_iter().map(Shown::from).collect::<Vec<_>>();
                print_list(&tokens, output)?;
            }
            Self::Revoke { name } => {
                let Some(row) = store.revoke_token(&name).await? else {
                    return Err(Failed::message(Exit::NotFound, format!("there is no token `{name}`"))
                        .hint("`attune token list` shows what there is"));
                };
                print_revoked(&row.into(), output)?;
            }
        }
        store.close().await;
        Ok(Exit::Success)
    }
}

/// Why there is no new token.
fn not_created(error: ChangeError) -> Failed {
    let is_taken = matches!(error, ChangeError::Duplicate { .. });
    let failed = Failed::from(error);
    if !is_taken {
        return failed;
    }
    failed.hint("take another name: one that was revoked stays taken, so that it is clear whose the audit is")
}

/// Shows a token that was just made.
pub(super) fn print_created(made: &Shown, output: &Output) -> std::io::Result<()> {
    output.data(made, || made.token.clone().unwrap_or_default())?;
    output.say("keep it: it is not shown again");
    Ok(())
}

pub(super) fn print_revoked(revoked: &Shown, output: &Output) -> std::io::Result<()> {
    output.data(revoked, || format!("revoked {}", printable(&revoked.name)))
}

pub(super) fn print_list(tokens: &[Shown], output: &Output) -> std::io::Result<()> {
    output.data(&tokens, || list(tokens))
}

fn list(tokens: &[Shown]) -> String {
    table(
        ["TOKEN", "ROLE", "PACK", "CREATED (UTC)", "LAST USED", "GOOD UNTIL"],
        tokens.iter().map(|row| {
            let absent = || "-".to_owned();
            let until = match (row.revoked_at, row.expires_at) {
                (Some(_), _) => "revoked".to_owned(),
                (None, Some(at)) if at <= Utc::now() => format!("expired {}", time(at)),
                (None, Some(at)) => time(at),
                (None, None) => absent(),
            };
            [
                printable(&row.name).into_owned(),
                row.role.to_string(),
                row.pack.as_ref().map_or_else(absent, ToString::to_string),
                time(row.created_at),
                row.last_used_at.map_or_else(absent, time),
                until,
            ]
        }),
    )
}
