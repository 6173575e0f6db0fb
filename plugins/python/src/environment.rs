//! Virtual environments: written as data, without the module `venv`, whose time goes into installing pip.

pub mod health;
mod installed;
pub(crate) mod installer;
mod requirements;

use attune_plugin::Machine;
use attune_plugin::environment::{BuildPlan, Command, LaunchRequest, PlanRequest, Program, Step};
use attune_plugin::failure::{failure, missing_capability};
use attune_plugin::machine::folder;
use attune_plugin::plan::{link, make_dir, run, verify, write_file, write_files};
use attune_plugin::types::{Failure, FailureClass, Installation};
use attune_plugin::version;

use crate::verification::attribute;

/// Where the manifests are laid, relative to the environment.
const MANIFESTS: &str = "manifests";
/// The manifest that makes a folder one with dependencies.
const REQUIREMENTS: &str = "requirements.txt";
/// The environment's interpreter, relative to it.
const INTERPRETER: &str = "bin/python";

/// How to make the environment of an installation, and of the packages that the manifests name.
pub fn plan(machine: &impl Machine, request: &PlanRequest) -> Result<BuildPlan, Failure> {
    let installation = &request.installation;
    let mut steps = skeleton(installation)?;
    let mut inputs: Vec<(String, String)> = ["implementation", "extension-suffix", "arch", "libc"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), attribute(installation, name)?.to_owned())))
        .collect();

    if request.manifests.iter().any(|manifest| manifest.name == REQUIREMENTS) {
        let files: Vec<(&str, &[u8])> = request
            .manifests
            .iter()
            .map(|manifest| (manifest.name.as_str(), manifest.contents.as_slice()))
            .collect();
        let count = requirements::count(&files, REQUIREMENTS)?;
        if count > 0 {
            steps.extend(write_files(MANIFESTS, files)?);
            let installer = installer::choose(machine, installation)?;
            inputs.push(("installer".to_owned(), installer.name().to_owned()));
            let packages = if count == 1 { "package" } else { "packages" };
            let title = format!("install {count} {packages} with {}", installer.name());
            let manifest = format!("${{environment}}/{MANIFESTS}/{REQUIREMENTS}");
            steps.push(run(title, installer.install(&manifest)));
            steps.push(installed::note(&site_packages(installation)?));
        }
    }
    Ok(BuildPlan { steps, stage: None, inputs, extra: Vec::new() })
}

/// Folders, links and `pyvenv.cfg`: all that makes an interpreter look for packages in here.
fn skeleton(installation: &Installation) -> Result<Vec<Step>, Failure> {
    let site_packages = site_packages(installation)?;
    let native = &installation.version.native;
    let home = folder(&installation.path);
    let path = &installation.path;
    let configuration = format!(
        "home = {home}\ninclude-system-site-packages = false\nversion = {native}\nexecutable = {path}\n"
    );
    let [major, minor, _] = numbers(installation)?;
    let mut steps = vec![
        make_dir("bin"),
        make_dir("include"),
        make_dir(&site_packages),
        write_file(installed::LIST, b""),
        write_file("pyvenv.cfg", configuration.as_bytes()),
        link(INTERPRETER, path),
        link(&format!("bin/python{major}"), "python"),
        link(&format!("bin/python{major}.{minor}"), "python"),
    ];
    // Distributions that keep 64-bit libraries in `lib64` have their installers look for it.
    if attribute(installation, "bits") == Some("64") {
        steps.push(link("lib64", "lib"));
    }
    steps.push(verify(INTERPRETER));
    Ok(steps)
}

/// Where packages are installed, relative to the environment.
fn site_packages(installation: &Installation) -> Result<String, Failure> {
    let [major, minor, _] = numbers(installation)?;
    if (major, minor) < (3, 3) {
        return Err(missing_capability(
            "venv",
            format!("Python {} has no isolated environments", installation.version.native),
        ));
    }
    let implementation = match attribute(installation, "implementation") {
        Some("pypy") => "pypy",
        Some("graalpy") => "graalpy",
        Some(_) | None => "python",
    };
    let variant = installation.version.variant.as_deref().unwrap_or_default();
    let threads = if variant.contains("freethreaded") { "t" } else { "" };
    Ok(format!("lib/{implementation}{major}.{minor}{threads}/site-packages"))
}

fn numbers(installation: &Installation) -> Result<[u64; 3], Failure> {
    let semver = &installation.version.semver;
    version::parts(semver)
        .ok_or_else(|| failure(FailureClass::UnparsableOutput, format!("`{semver}` is no semantic version")))
}

/// How an entry point is started.
#[must_use]
pub fn launch(request: LaunchRequest) -> Command {
    let mut arguments = request.config.interpreter_arguments;
    arguments.push(request.entry_point);
    arguments.extend(request.arguments);
    let program = match request.environment {
        Some(_) => Program::Environment(INTERPRETER.to_owned()),
        None => Program::Installation,
    };
    Command { program, arguments, variables: Vec::new(), extra: Vec::new() }
}
