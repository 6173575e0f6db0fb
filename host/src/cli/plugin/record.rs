//! `attune plugin record`: a scenario from this machine.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::super::failure::{Exit, Failed};
use super::super::output::Output;
use super::super::progress::Progress;
use super::super::resolve::unknown_runtime;
use crate::detection::DetectionError;
use crate::scenario::record::{RecordError, record};
use crate::worker::{Worker, plugin_settings};

/// The arguments.
#[derive(Debug, Args)]
pub(in crate::cli) struct Record {
    /// An installed runtime
    runtime: String,
    /// The file to write; standard output unless given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Record {
    pub(super) async fn execute(&self, worker: &Worker, output: &Output) -> Result<(), Failed> {
        let runtime = worker.runtime(&self.runtime, None).await.map_err(unknown_runtime)?;
        let detection = |error: DetectionError| Failed::new(Exit::Failure, error);
        let plugin = worker.runtime_plugin(&runtime).await.map_err(detection)?;
        let grants = runtime.plugin.as_ref().and_then(|plugin| plugin.approved.clone()).unwrap_or_default();
        let surroundings = plugin_settings(&worker.settings).surroundings;
        let progress = Progress::begin(output);
        progress.say(format!("looking for {} and writing down what is asked", runtime.runtime.label));
        let plugin = plugin.shared_plugin();
        let written = record(&worker.plugins, &plugin, &runtime.runtime, (&grants, &surroundings)).await;
        progress.end();
        let written = written.map_err(|error: RecordError| Failed::new(Exit::Failure, error))?;
        match &self.output {
            None => output.text(&written)?,
            Some(path) => {
                let file = std::fs::File::create_new(path);
                file.and_then(|mut file| file.write_all(written.as_bytes())).map_err(|error| {
                    let is_there = error.kind() == std::io::ErrorKind::AlreadyExists;
                    let context = format!("can't write {}", path.display());
                    let failed = Failed::new(Exit::Failure, anyhow::Error::new(error).context(context));
                    if is_there {
                        failed.hint("what is there is kept: write another file, or remove that one")
                    } else {
                        failed
                    }
                })?;
                output.say(&format!(
                    "wrote {}; it has the paths and the output of programs of this machine: look through it before you share it",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}
