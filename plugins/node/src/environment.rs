//! Environments: packages that npm installs, in a folder that actions are linked to.
//!
//! Node.js finds packages by where a source file lies. A variable could name further folders, but ES modules
//! do not heed it, so the pack's files are staged beside a link to the packages.

use attune_plugin::Machine;
use attune_plugin::environment::{
    BuildPlan, CheckRequest, Command, LaunchRequest, PlanRequest, Program, Stage,
};
use attune_plugin::failure::{failure, invalid_declaration};
use attune_plugin::plan::{command, link, make_dir, run, verify, write_files};
use attune_plugin::types::{Failure, FailureClass};
use serde_json::{Map, Value};

use crate::npm;

/// The manifest that makes a folder one with dependencies.
const MANIFEST: &str = "package.json";
/// Manifests that say which versions exactly, the stronger first.
const LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
/// Where manifests are laid and packages installed, relative to the environment. Not its root: scripts
/// of packages look for programs in the `node_modules/.bin` of every folder above.
const PROJECT: &str = "project";
/// What scripts of packages find as `node`: the selected installation, not one on `PATH`.
const NODE: &str = "node_modules/.bin/node";
/// Milliseconds that an installation may take.
const TIMEOUT: u32 = 15 * 60 * 1000;
/// The most of a manifest that is read.
const MANIFEST_MAX: u32 = 1024 * 1024;

/// How to install the packages that the manifests name; no step if they name none.
pub fn plan(machine: &impl Machine, request: &PlanRequest) -> Result<BuildPlan, Failure> {
    let mut plan = BuildPlan { steps: Vec::new(), stage: None, inputs: Vec::new(), extra: Vec::new() };
    let contents = |name: &str| {
        let manifest = request.manifests.iter().find(|manifest| manifest.name == name);
        manifest.map(|manifest| manifest.contents.as_slice())
    };
    let Some(manifest) = contents(MANIFEST) else { return Ok(plan) };
    let manifest = parse(manifest)?;
    let count = ["dependencies", "optionalDependencies"]
        .into_iter()
        .map(|kind| dependencies(&manifest, kind).map(|all| all.map_or(0, Map::len)))
        .sum::<Result<usize, Failure>>()?;
    if count == 0 {
        return Ok(plan);
    }

    let installation = &request.installation;
    let npm = npm::choose(machine, &installation.path, &installation.version.semver)?;
    let locked = LOCKS.into_iter().any(|lock| contents(lock).is_some());
    let verb = if locked { "ci" } else { "install" };
    let files = request.manifests.iter();
    plan.steps =
        write_files(PROJECT, files.map(|manifest| (manifest.name.as_str(), manifest.contents.as_slice())))?;
    plan.steps.push(make_dir("node_modules/.bin"));
    plan.steps.push(link(NODE, &installation.path));

    // Scripts of packages run: addons are compiled or fetched by them. Whoever does not want that says
    // `ignore-scripts=true` in the pack's `.npmrc`.
    let mut install = command(
        Program::Installation,
        &[
            &npm.path,
            verb,
            "--omit=dev",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--cache=${cache}/npm",
            "--userconfig=${environment}/user.npmrc",
        ],
    );
    PROJECT.clone_into(&mut install.folder);
    install.network = true;
    install.timeout = Some(TIMEOUT);
    let packages = if count == 1 { "package" } else { "packages" };
    plan.steps.push(run(format!("install {count} {packages} with npm {} {verb}", npm.version), install));
    plan.steps.push(verify(&format!("{PROJECT}/node_modules")));
    plan.stage = Some(Stage { links: vec![("node_modules".to_owned(), format!("{PROJECT}/node_modules"))] });
    plan.inputs = vec![("npm".to_owned(), npm.version)];
    let attribute = |name: &str| installation.attributes.iter().find(|(key, _)| key == name).cloned();
    plan.inputs.extend(["abi", "arch", "platform"].into_iter().filter_map(attribute));
    Ok(plan)
}

fn parse(manifest: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(manifest)
        .map_err(|error| invalid_declaration(format!("{MANIFEST}:{}: {error}", error.line())))
}

/// The dependencies of one kind; one that names a path is an error, since only the manifests reach
/// the environment.
fn dependencies<'a>(manifest: &'a Value, kind: &str) -> Result<Option<&'a Map<String, Value>>, Failure> {
    let Some(all) = manifest.get(kind) else { return Ok(None) };
    let Some(all) = all.as_object() else {
        return Err(invalid_declaration(format!("{MANIFEST}: `{kind}` is no object")));
    };
    for (name, wanted) in all {
        let wanted = wanted.as_str().unwrap_or_default();
        if ["file:", "link:", "workspace:", ".", "/", "~/"].iter().any(|start| wanted.starts_with(start)) {
            return Err(invalid_declaration(format!(
                "{MANIFEST}: `{name}` is wanted from the path `{wanted}`: packages come from a registry or by a URL"
            )));
        }
    }
    Ok(Some(all))
}

/// An error says why the environment can't be used.
pub fn check(machine: &impl Machine, request: &CheckRequest) -> Result<(), Failure> {
    let environment = &request.environment;
    let damaged = |message: String| failure(FailureClass::Other("damaged-environment".to_owned()), message);
    let node = machine
        .read_link(&format!("{environment}/{NODE}"))
        .map_err(|reason| damaged(format!("`{NODE}` is no link: {}", reason.message)))?;
    if node != request.installation.path {
        return Err(damaged(format!("was made for `{node}`, not for `{}`", request.installation.path)));
    }
    let manifest = machine
        .read(&format!("{environment}/{PROJECT}/{MANIFEST}"), MANIFEST_MAX)
        .map_err(|reason| damaged(format!("`{MANIFEST}` can't be read: {}", reason.message)))?;
    let manifest = parse(&manifest)?;
    for name in dependencies(&manifest, "dependencies")?.into_iter().flat_map(Map::keys) {
        // npm leaves out what is optional as well and does not run here.
        if manifest.pointer("/optionalDependencies").is_some_and(|optional| optional.get(name).is_some()) {
            continue;
        }
        let path = format!("{environment}/{PROJECT}/node_modules/{name}/{MANIFEST}");
        machine
            .stat(&path)
            .map_err(|reason| damaged(format!("the package `{name}` is gone: {}", reason.message)))?;
    }
    Ok(())
}

/// How an entry point is started.
#[must_use]
pub fn launch(request: LaunchRequest) -> Command {
    let mut arguments = request.config.interpreter_arguments;
    arguments.push(request.entry_point);
    arguments.extend(request.arguments);
    Command { program: Program::Installation, arguments, variables: Vec::new(), extra: Vec::new() }
}
