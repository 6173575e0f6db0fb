//! `attune token`, of a server.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::Serialize;

use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::cli::token::{self, Shown, Token};
use crate::client::Client;
use crate::reference::PackRef;
use crate::token::Role;

#[derive(Serialize)]
struct New<'a> {
    name: &'a str,
    role: Role,
    pack: Option<&'a PackRef>,
    expires_at: Option<DateTime<Utc>>,
}

pub(super) async fn execute(client: &Client, command: Token, output: &Output) -> Result<Exit, Failed> {
    match command {
        Token::Create { name, role, pack, expires } => {
            let expires = expires.and_then(|expires| TimeDelta::from_std(expires).ok());
            let expires_at = expires.map(|expires| Utc::now() + expires);
            let new = New { name: name.as_str(), role, pack: pack.as_ref(), expires_at };
            let made = client.post::<Shown>(&["tokens"], &new).await?;
            token::print_created(&made, output)?;
        }
        Token::List => {
            let tokens = client.all::<Shown>(&["tokens"]).await?;
            token::print_list(&tokens, output)?;
        }
        Token::Revoke { name } => {
            let revoked = client.ask::<Shown>(Method::DELETE, &["tokens", &name]).await?;
            token::print_revoked(&revoked, output)?;
        }
    }
    Ok(Exit::Success)
}
