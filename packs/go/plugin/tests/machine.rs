//! The component's logic on this machine, if it has Go.
#![cfg(unix)]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

use attune_plugin::environment::{CheckRequest, LaunchRequest, Manifest, PlanRequest};
use attune_plugin::local::{Local, no_config, set_variables};
use attune_plugin::types::Installation;
use attune_plugin_go::{detection, environment, verification};
use tempfile::TempDir;

fn local() -> Local {
    Local::searching(&[Path::new("/usr/local/go/bin"), Path::new("/usr/local/bin"), Path::new("/usr/bin")])
}

/// A toolchain of this machine; without one the tests do nothing.
fn some_installation() -> Option<Installation> {
    detection::detect(&local()).into_iter().find_map(|found| found.outcome.ok())
}

#[test]
fn a_false_claim_fails() {
    let Some(mut installation) = some_installation() else { return };
    let machine = local();
    let failed =
        |installation: &_| machine.failed_checks(installation, verification::verify).expect("a verdict");
    assert_eq!(failed(&installation), [""; 0]);
    installation.version.semver = "0.9.0".to_owned();
    assert_eq!(failed(&installation), ["version"]);
}

/// What a program prints that is built in an environment of these manifests.
fn output(installation: &Installation, manifests: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().canonicalize().expect("a path");
    let (environment, pack) = (path.join("environment"), path.join("pack"));
    fs::create_dir_all(&pack).expect("a folder");
    for (name, contents) in files.iter().chain(manifests) {
        fs::write(pack.join(name), contents).expect("a file");
    }
    let manifests = manifests
        .iter()
        .map(|(name, contents)| Manifest { name: (*name).to_owned(), contents: contents.as_bytes().into() })
        .collect();
    let machine = local();
    let request =
        PlanRequest { installation: installation.clone(), config: no_config(), manifests, extra: Vec::new() };
    let plan = environment::plan(&request).expect("a plan");
    machine.execute(&plan, &environment, &path.join("downloads"), &installation.path).expect("built");
    // What the local machine writes is not executable.
    let run = environment.join("bin/run");
    fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let environment = environment.to_string_lossy().into_owned();
    let check = CheckRequest {
        environment: environment.clone(),
        installation: installation.clone(),
        config: no_config(),
        thorough: true,
        extra: Vec::new(),
    };
    environment::check(&machine, &check).expect("healthy");
    let launch = LaunchRequest {
        installation: installation.clone(),
        config: no_config(),
        environment: Some(environment),
        entry_point: pack.join("main.go").to_string_lossy().into_owned(),
        arguments: vec!["argument".to_owned()],
        extra: Vec::new(),
    };
    let command = environment::launch(&machine, launch);
    let variables = set_variables(command.variables);
    let output = Command::new(run)
        .args(command.arguments)
        .envs(variables)
        .env("TMPDIR", &path)
        .current_dir(&path)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let there = fs::read_dir(&pack).expect("a folder").count();
    assert_eq!(there, files.len() + request.manifests.len(), "the pack stays as it is");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const MAIN: &str = r#"package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Print(os.Args[1], " ", word)
	os.Exit(7)
}

"#;

#[test]
fn a_file_and_a_module_run() {
    let Some(installation) = some_installation() else { return };
    let one = format!("{MAIN}const word = \"alone\"\n");
    assert_eq!(output(&installation, &[], &[("main.go", &one)]), "argument alone");
    let manifest = "module example.com/m\n\ngo 1.18\n";
    let files = [("main.go", MAIN), ("other.go", "package main\n\nconst word = \"together\"\n")];
    assert_eq!(output(&installation, &[("go.mod", manifest)], &files), "argument together");
}
