//! Environments: the gems that a `Gemfile` names, installed by the selected interpreter's own Bundler.

use attune_plugin::Machine;
use attune_plugin::environment::{
    BuildPlan, Change, CheckRequest, Command, LaunchRequest, PlanRequest, Program,
};
use attune_plugin::failure::{failure, missing_capability};
use attune_plugin::plan::{command, run, verify, write_files};
use attune_plugin::types::{Failure, FailureClass};

/// The manifest that makes a folder one with dependencies.
const MANIFEST: &str = "Gemfile";
/// What says which versions exactly.
const LOCK: &str = "Gemfile.lock";
/// Where manifests are laid, relative to the environment.
const PROJECT: &str = "project";
/// Where gems are, relative to the environment.
const GEMS: &str = "gems";
/// Starts Bundler, wherever it is, with the interpreter that runs this.
const BUNDLE: &str = "load Gem.bin_path('bundler', 'bundle')";
/// Has every program find the gems of the bundle, and no others.
const SETUP: &str = "-rbundler/setup";
/// Milliseconds that an installation may take: some gems are compiled.
const TIMEOUT: u32 = 30 * 60 * 1000;

/// How to install the gems that the manifests name; no step if there are none.
pub fn plan(request: &PlanRequest) -> Result<BuildPlan, Failure> {
    let mut plan = BuildPlan { steps: Vec::new(), stage: None, inputs: Vec::new(), extra: Vec::new() };
    let has = |name: &str| request.manifests.iter().any(|manifest| manifest.name == name);
    if !has(MANIFEST) {
        return Ok(plan);
    }
    let attribute =
        |wanted: &str| request.installation.attributes.iter().find(|(name, _)| name == wanted).cloned();
    let Some(bundler) = attribute("bundler") else {
        let message = format!(
            "`{}` has no Bundler to install gems with: `gem install bundler`",
            request.installation.path
        );
        return Err(missing_capability("bundler", message));
    };
    let files = request.manifests.iter();
    plan.steps =
        write_files(PROJECT, files.map(|manifest| (manifest.name.as_str(), manifest.contents.as_slice())))?;
    let mut install = command(Program::Installation, &["-e", BUNDLE, "install", "--quiet"]);
    PROJECT.clone_into(&mut install.folder);
    install.network = true;
    install.timeout = Some(TIMEOUT);
    install.variables = settings("${environment}");
    install.variables.push(("BUNDLE_USER_CACHE".to_owned(), "${cache}/bundler".to_owned()));
    // With a lockfile, exactly what it says.
    if has(LOCK) {
        install.variables.push(("BUNDLE_FROZEN".to_owned(), "true".to_owned()));
    }
    plan.steps.push(run("install the gems", install));
    plan.steps.push(verify(&format!("{PROJECT}/{LOCK}")));
    plan.inputs.push(bundler);
    plan.inputs.extend(["implementation", "platform", "abi"].into_iter().filter_map(attribute));
    Ok(plan)
}

/// Variables of every command of Bundler's. What the operator or a project set up elsewhere plays no part.
fn settings(environment: &str) -> Vec<(String, String)> {
    [
        ("BUNDLE_APP_CONFIG", format!("{environment}/bundler")),
        ("BUNDLE_DISABLE_VERSION_CHECK", "true".to_owned()),
        ("BUNDLE_GEMFILE", format!("{environment}/{PROJECT}/{MANIFEST}")),
        ("BUNDLE_PATH", format!("{environment}/{GEMS}")),
        ("BUNDLE_SILENCE_ROOT_WARNING", "true".to_owned()),
        ("BUNDLE_WITHOUT", "development:test".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// An error says why the environment can't be used.
pub fn check(machine: &impl Machine, request: &CheckRequest) -> Result<(), Failure> {
    for file in [MANIFEST, LOCK] {
        machine.stat(&format!("{}/{PROJECT}/{file}", request.environment)).map_err(|reason| {
            let message = format!("`{PROJECT}/{file}` is gone: {}", reason.message);
            failure(FailureClass::Other("damaged-environment".to_owned()), message)
        })?;
    }
    Ok(())
}

/// How an entry point is started.
#[must_use]
pub fn launch(request: LaunchRequest) -> Command {
    let mut arguments = Vec::new();
    let mut variables = Vec::new();
    if let Some(environment) = &request.environment {
        arguments.push(SETUP.to_owned());
        variables = settings(environment);
        variables.push(("BUNDLE_FROZEN".to_owned(), "true".to_owned()));
    }
    arguments.extend(request.config.interpreter_arguments);
    arguments.push(request.entry_point);
    arguments.extend(request.arguments);
    Command {
        program: Program::Installation,
        arguments,
        variables: variables.into_iter().map(|(name, value)| (name, Change::Set(value))).collect(),
        extra: Vec::new(),
    }
}
