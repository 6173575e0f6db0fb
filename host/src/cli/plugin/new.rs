//! `attune plugin new`: a pack with the source of a component, to start from.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::pack::embedded::is_embedded;
use crate::pack::scaffold::{languages, scaffold_component};
use crate::reference::PackRef;
use crate::worker::Worker;

#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The pack's name, its runtime's, and that of the program to look for
    name: PackRef,
    /// What to write the component in
    #[arg(long, default_value = "rust", value_parser = PossibleValuesParser::new(languages()))]
    lang: String,
    /// The folder to make it in; this one unless given
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written<'a> {
    path: &'a Path,
}

impl New {
    pub(super) async fn execute(&self, worker: &Worker, output: &Output) -> Result<(), Failed> {
        let Self { name, lang, path } = self;
        if let Some(pack) = worker.store.pack(name).await? {
            let message =
                format!("there is a pack `{name}` already, and installing the new one would replace it");
            let hint = if is_embedded(&pack.source) {
                "use another name: that one comes with Attune".to_owned()
            } else {
                format!("use another name, or remove that one first: attune pack remove {name}")
            };
            return Err(Failed::message(Exit::Input, message).hint(hint));
        }
        for other in worker.store.runtimes_called(name.as_str()).await? {
            output.warn(&format!(
                "`{other}` is called `{name}` too: actions will have to name `{name}.{name}` or `{other}`"
            ));
        }
        let parent = path.as_deref().unwrap_or(Path::new("."));
        let folder =
            scaffold_component(parent, name, lang).map_err(|error| Failed::new(Exit::Input, error))?;
        output.data(&Written { path: &folder }, || folder.display().to_string())?;
        output.say(&format!(
            "now: cd {} && sh plugin/build.sh && attune plugin test . && attune pack install .",
            folder.display()
        ));
        Ok(())
    }
}
