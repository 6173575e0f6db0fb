//! `attune key`: keys to sign packs with.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::output::Output;
use crate::pack::signature::SecretKey;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key to sign packs with, and print its public half
    New {
        /// The file to write the secret half to
        file: PathBuf,
    },
}

impl Key {
    pub(super) fn execute(self, output: &Output) -> Result<Exit, Failed> {
        #[derive(Serialize)]
        struct Made {
            file: PathBuf,
            public: String,
        }
        let Self::New { file } = self;
        let key = SecretKey::create(&file).map_err(|error| {
            let context = format!("can't write the key `{}`", file.display());
            Failed::new(Exit::Input, anyhow::Error::new(error).context(context))
        })?;
        let made = Made { file, public: key.public().to_string() };
        output.data(&made, || made.public.clone())?;
        output.say(&format!(
            "keep `{}` secret; who trusts it writes NAME = \"{}\" into `[trusted_keys]` of the settings",
            made.file.display(),
            made.public
        ));
        Ok(Exit::Success)
    }
}
