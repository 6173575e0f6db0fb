//! Environments: the modules that `go.mod` names, and a cache of what was compiled, without which every run would
//! compile the standard library.

use attune_plugin::Machine;
use attune_plugin::environment::{
    Action, BuildPlan, Change, CheckRequest, Command, FileStep, LaunchRequest, PlanRequest, Program, Step,
};
use attune_plugin::failure::{failure, invalid_declaration};
use attune_plugin::machine::{file_name, folder};
use attune_plugin::plan::{command, make_dir, run, verify, write_files};
use attune_plugin::types::{Failure, FailureClass};

/// The manifest that makes a folder one with dependencies.
const MANIFEST: &str = "go.mod";
/// Where manifests are laid, relative to the environment.
const MANIFESTS: &str = "manifests";
/// Where modules are, relative to the environment.
const MODULES: &str = "modules";
/// What was compiled, relative to the environment. It is empty when the environment is built, and grows.
const CACHE: &str = "cache";
/// What builds and starts a program, relative to the environment.
const RUN: &str = "bin/run";
/// Milliseconds that a download may take.
const TIMEOUT: u32 = 15 * 60 * 1000;

/// How to make the environment, and to download the modules that the manifests name.
pub fn plan(request: &PlanRequest) -> Result<BuildPlan, Failure> {
    let script =
        FileStep { path: RUN.to_owned(), contents: include_bytes!("run.sh").to_vec(), executable: true };
    let mut steps = vec![
        make_dir("bin"),
        make_dir(CACHE),
        Step { title: format!("write {RUN}"), action: Action::WriteFile(script) },
    ];
    if let Some(manifest) = request.manifests.iter().find(|manifest| manifest.name == MANIFEST) {
        refuse_paths(&String::from_utf8_lossy(&manifest.contents))?;
        let files = request.manifests.iter();
        steps.extend(write_files(
            MANIFESTS,
            files.map(|manifest| (manifest.name.as_str(), manifest.contents.as_slice())),
        )?);
        let mut download = command(Program::Installation, &["mod", "download", "all"]);
        MANIFESTS.clone_into(&mut download.folder);
        download.network = true;
        download.timeout = Some(TIMEOUT);
        download.variables = settings("${environment}", "-mod=mod -modcacherw");
        steps.push(run("download the modules", download));
        steps.push(verify(&format!("{MANIFESTS}/{MANIFEST}")));
    }
    let attributes = request.installation.attributes.iter();
    let inputs = attributes.filter(|(name, _)| name == "os" || name == "arch").cloned().collect();
    Ok(BuildPlan { steps, stage: None, inputs, extra: Vec::new() })
}

/// Only the manifests reach the environment: a module that is taken from a folder is not there.
fn refuse_paths(manifest: &str) -> Result<(), Failure> {
    for (index, line) in manifest.lines().enumerate() {
        let target = line.split("//").next().and_then(|line| line.split_once("=>"));
        if let Some((_, target)) = target
            && target.trim_start().starts_with(['.', '/'])
        {
            return Err(invalid_declaration(format!(
                "{MANIFEST}:{}: a module is taken from the path `{}`: modules come from a proxy or a repository",
                index + 1,
                target.trim()
            )));
        }
    }
    Ok(())
}

/// Variables of every command of Go's. The selected version is what runs, whatever a manifest asks for.
fn settings(environment: &str, flags: &str) -> Vec<(String, String)> {
    [
        ("GOCACHE", format!("{environment}/{CACHE}")),
        ("GOENV", "off".to_owned()),
        ("GOFLAGS", flags.to_owned()),
        ("GOMODCACHE", format!("{environment}/{MODULES}")),
        ("GOPATH", format!("{environment}/path")),
        ("GOTOOLCHAIN", "local".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// An error says why the environment can't be used.
pub fn check(machine: &impl Machine, request: &CheckRequest) -> Result<(), Failure> {
    let damaged = |message: String| failure(FailureClass::Other("damaged-environment".to_owned()), message);
    match machine.stat(&format!("{}/{RUN}", request.environment)) {
        Ok(status) if status.executable => Ok(()),
        Ok(_) => Err(damaged(format!("`{RUN}` may not be executed"))),
        Err(reason) => Err(damaged(format!("`{RUN}` is gone: {}", reason.message))),
    }
}

/// How an entry point is started. In a module, it stands for the package that it belongs to.
#[must_use]
pub fn launch(machine: &impl Machine, request: LaunchRequest) -> Command {
    let Some(environment) = request.environment else {
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(request.config.interpreter_arguments);
        arguments.push(request.entry_point);
        arguments.extend(request.arguments);
        return Command {
            program: Program::Installation,
            arguments,
            variables: Vec::new(),
            extra: Vec::new(),
        };
    };
    let manifest = format!("{environment}/{MANIFESTS}/{MANIFEST}");
    let in_module = machine.stat(&manifest).is_ok();
    // The pack's own manifest is neither read nor written.
    let what = if in_module { "." } else { file_name(&request.entry_point) };
    let mut flags = vec!["-mod=mod".to_owned()];
    flags.extend(in_module.then(|| format!("-modfile={manifest}")));
    flags.extend(request.config.interpreter_arguments);
    let mut variables = settings(&environment, &flags.join(" "));
    // Modules come from the environment, never from the network while an action runs.
    variables.push(("GOPROXY".to_owned(), "off".to_owned()));
    let mut arguments =
        vec![request.installation.path, folder(&request.entry_point).to_owned(), what.to_owned()];
    arguments.extend(request.arguments);
    Command {
        program: Program::Environment(RUN.to_owned()),
        arguments,
        variables: variables.into_iter().map(|(name, value)| (name, Change::Set(value))).collect(),
        extra: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_are_taken_from_paths() {
        for (manifest, refused) in [
            ("module m\n\nrequire example.com/a v1.0.0\n", false),
            ("replace example.com/a => example.com/b v1.0.0\n", false),
            ("replace example.com/a => ../a\n", true),
            ("replace (\n\texample.com/a v1.0.0 => ./a // local\n)\n", true),
            ("replace example.com/a => /srv/a\n", true),
            ("// replace example.com/a => ./a\n", false),
        ] {
            assert_eq!(refuse_paths(manifest).is_err(), refused, "{manifest}");
        }
    }
}
