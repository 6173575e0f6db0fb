//! `attune config`: the settings.

use clap::Subcommand;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::Output;
use super::table::table;
use crate::printable::printable;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Show every setting, its value and where that came from
    Show,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: String,
    origin: String,
    /// None for what only the file can set.
    variable: Option<&'static str>,
    help: &'static str,
}

impl Config {
    #[expect(clippy::unused_self, reason = "there is only one thing to do yet")]
    pub(super) fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let settings = options.settings(output)?;
        let shown = settings
            .shown
            .iter()
            .map(|shown| Setting {
                name: shown.key.name.to_owned(),
                value: shown.value.clone(),
                origin: shown.origin.to_string(),
                variable: Some(shown.key.variable),
                help: shown.key.help,
            })
            .chain(settings.shown_variables.iter().map(|(name, value, origin)| Setting {
                name: format!("variables.{name}"),
                value: value.clone(),
                origin: origin.to_string(),
                variable: None,
                help: "variable for steps that build environments; credentials are not shown",
            }))
            .chain(settings.shown_keys.iter().map(|(name, value, origin)| Setting {
                name: format!("trusted_keys.{name}"),
                value: value.clone(),
                origin: origin.to_string(),
                variable: None,
                help: "key whose signatures vouch for packs",
            }))
            .chain(settings.shown_grants.iter().map(|(name, value, origin)| Setting {
                name: name.clone(),
                value: value.clone(),
                origin: origin.to_string(),
                variable: None,
                help: "the most that runtimes get of what packs ask for",
            }))
            .collect::<Vec<_>>();
        output.data(&shown, || {
            table(
                ["SETTING", "VALUE", "FROM", "VARIABLE"],
                shown.iter().map(|setting| {
                    [
                        setting.name.clone(),
                        printable(&setting.value).into_owned(),
                        setting.origin.clone(),
                        setting.variable.unwrap_or("-").to_owned(),
                    ]
                }),
            )
        })?;
        Ok(Exit::Success)
    }
}
