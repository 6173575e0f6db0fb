//! `attune plugin test-runner`: what cargo starts instead of a test program that is compiled to WebAssembly.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::super::failure::{Exit, Failed};
use super::super::options::Options;
use super::super::output::Output;
use super::super::pack::{problems_failed, read};
use super::library::{Library, runtime_of};
use crate::pack::bundle::Bundle;
use crate::pack::problem::Problems;
use crate::pack::scenario::{Ground, read_machine};
use crate::pack::{self, Grants, Runtime};
use crate::plugin::{Described, Machine, Plugins, RuntimeScope, TestProgram};
use crate::reference::RuntimeRef;
use crate::worker::plugin_settings;

/// The machine that tests run on unless another is named, in the folder of their crate: there cargo starts them.
const MACHINE: &str = "machine.yaml";

/// Variables that a test program sees: those of its harness.
const SEEN: &str = "RUST_";
/// A test that panics ends the program, since WebAssembly does not unwind: what it has said must not be lost in a buffer.
const NO_CAPTURE: (&str, &str) = ("RUST_TEST_NOCAPTURE", "1");

/// The arguments; each but the last has a variable, since cargo gives no more than a program and its arguments.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestRunner {
    /// The pack whose runtime YAML says what is granted; the next folder above with a `pack.yaml` unless given
    #[arg(long, value_name = "DIR", env = "ATTUNE_TEST_PACK")]
    pack: Option<PathBuf>,
    /// The runtime whose grants and patterns count, if the pack has several
    #[arg(long, value_name = "NAME", env = "ATTUNE_TEST_RUNTIME")]
    runtime: Option<String>,
    /// What the machine has: what a scenario has below `machine`; `machine.yaml` in this folder unless given
    #[arg(long, value_name = "FILE", env = "ATTUNE_TEST_MACHINE")]
    machine: Option<PathBuf>,
    /// The test program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

impl TestRunner {
    pub(super) async fn execute(&self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let Some(file) = self.program.first().map(PathBuf::from) else { return Ok(Exit::Input) };
        let wasm = fs::read(&file).map_err(|error| unreadable(&file, error))?;
        let folder = self.pack.clone().or_else(|| {
            let here = std::env::current_dir().ok()?;
            here.ancestors().find(|folder| folder.join("pack.yaml").is_file()).map(Path::to_owned)
        });
        let scope = match &folder {
            Some(folder) => self.scope(folder, &wasm, output)?,
            None => nothing_granted()?,
        };
        let ground = self.ground(output)?;
        let things = ground.things.iter().map(|(path, thing)| (path.clone(), thing.clone()));
        let machine = Machine::Described(Arc::new(Described::new(things)));
        let mut variables: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with(SEEN)).collect();
        if variables.iter().all(|(name, _)| name != NO_CAPTURE.0) {
            variables.push((NO_CAPTURE.0.to_owned(), NO_CAPTURE.1.to_owned()));
        }
        let program = TestProgram {
            wasm: &wasm,
            pack: scope.runtime.pack().clone(),
            scope,
            surroundings: ground.surroundings(machine),
            arguments: &self.program,
            variables: &variables,
        };
        let plugins = Plugins::new(plugin_settings(&options.settings(output)?));
        let code = plugins.run_tests(program).await.map_err(|cause| {
            let context = format!("can't run the tests in {}", file.display());
            Failed::new(Exit::Failure, anyhow::Error::new(cause).context(context))
        })?;
        // The harness has said what failed.
        std::process::exit(code)
    }

    /// The runtime and what its YAML asks to be granted. The component need not be built yet.
    fn scope(&self, folder: &Path, wasm: &[u8], output: &Output) -> Result<RuntimeScope, Failed> {
        let bundle = with_components(&read(folder)?, wasm)?;
        let library =
            Library::embedded().map_err(|problems| problems_failed(&problems, output.talk_colour))?;
        let pack = pack::load(&bundle, &library.known()).into_pack();
        let pack = pack.map_err(|problems| problems_failed(&problems, output.talk_colour))?;
        let runtime = runtime_of(&pack, self.runtime.as_deref()).map_err(|reason| {
            Failed::message(Exit::Input, format!("{}: {reason}", folder.display()))
                .hint("name one by the variable ATTUNE_TEST_RUNTIME")
        })?;
        let grants = runtime.plugin.as_ref().map(|plugin| plugin.grants.clone()).unwrap_or_default();
        Ok(RuntimeScope { runtime: runtime.reference.clone(), grants, patterns: Runtime::patterns(runtime) })
    }

    fn ground(&self, output: &Output) -> Result<Ground, Failed> {
        let usual = Some(PathBuf::from(MACHINE)).filter(|file| file.is_file());
        let Some(file) = self.machine.clone().or(usual) else { return Ok(Ground::default()) };
        let bytes = fs::read(&file).map_err(|error| unreadable(&file, error))?;
        let mut problems = Problems::default();
        let machine = read_machine(&file.to_string_lossy(), &bytes, &mut problems);
        machine.filter(|_| problems.is_empty()).ok_or_else(|| {
            Failed::message(Exit::Input, format!("the machine has {problems}"))
                .report(problems.render(output.talk_colour))
        })
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> Failed {
    Failed::new(Exit::Failure, anyhow::Error::new(error).context(format!("can't read {}", path.display())))
}

/// Tests of a crate that belongs to no pack: it may do nothing.
fn nothing_granted() -> Result<RuntimeScope, Failed> {
    let runtime = "tests.none".parse::<RuntimeRef>().map_err(|error| Failed::new(Exit::Input, error))?;
    Ok(RuntimeScope { runtime, grants: Grants::default(), patterns: Vec::new() })
}

/// The pack as if its components were there: what is tested is built before the component is.
fn with_components(bundle: &Bundle, wasm: &[u8]) -> Result<Bundle, Failed> {
    let mut files: Vec<_> =
        bundle.iter().map(|(path, entry)| (path.to_owned(), entry.bytes.clone(), entry.executable)).collect();
    for (path, entry) in bundle.iter().filter(|(path, _)| path.starts_with("runtimes/")) {
        let declared: Option<serde_json::Value> =
            std::str::from_utf8(&entry.bytes).ok().and_then(|text| serde_saphyr::from_str(text).ok());
        let component = declared.as_ref().and_then(|yaml| yaml.pointer("/plugin/component")?.as_str());
        let Some(name) = component.filter(|name| !name.contains('.')) else { continue };
        let file = format!("components/{name}.wasm");
        tracing::debug!("{path} is served by the component that is tested");
        if bundle.get(&file).is_none() && !files.iter().any(|(path, ..)| *path == file) {
            files.push((file, wasm.to_vec().into(), false));
        }
    }
    Bundle::from_files(files).map_err(|error| Failed::new(Exit::Input, error))
}
