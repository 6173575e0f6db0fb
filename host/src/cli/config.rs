//! `attune config`: the settings.

use clap::Subcommand;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, table};

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Show every setting, its value and where that came from
    Show,
}

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    origin: String,
    variable: &'static str,
    help: &'static str,
}

impl Config {
    #[expect(clippy::unused_self, reason = "there is only one thing to do yet")]
    pub(super) fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let settings = options.settings()?;
        let shown = settings
            .shown
            .iter()
            .map(|shown| Setting {
                name: shown.key.name,
                value: shown.value.clone(),
                origin: shown.origin.to_string(),
                variable: shown.key.variable,
                help: shown.key.help,
            })
            .collect::<Vec<_>>();
        output.data(&shown, || {
            table(
                ["SETTING", "VALUE", "FROM", "VARIABLE"],
                shown.iter().map(|setting| {
                    [
                        setting.name.to_owned(),
                        setting.value.clone(),
                        setting.origin.clone(),
                        setting.variable.to_owned(),
                    ]
                }),
            )
        })?;
        Ok(Exit::Success)
    }
}
