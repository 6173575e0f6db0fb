//! The component's logic on this machine, if it has Java, and on made-up installations.
#![cfg(unix)]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use attune_plugin::environment::LaunchRequest;
use attune_plugin::local::{Local, no_config, set_variables};
use attune_plugin::types::{FailureClass, Installation};
use attune_plugin_java::{detection, environment, verification};
use tempfile::TempDir;

fn local() -> Local {
    Local::searching(&[Path::new("/usr/local/bin"), Path::new("/usr/bin")])
}

/// An installation of this machine; without one the tests do nothing.
fn some_installation() -> Option<Installation> {
    detection::detect(&local()).into_iter().find_map(|found| found.outcome.ok())
}

/// A folder of an installation that has this file, and a program that can't be started.
fn home(folder: &TempDir, name: &str, release: &str) -> PathBuf {
    let home = folder.path().canonicalize().expect("a path").join(name);
    fs::create_dir_all(home.join("bin")).expect("a folder");
    fs::write(home.join("bin/java"), b"\x7fELF").expect("a file");
    fs::set_permissions(home.join("bin/java"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(home.join("release"), release).expect("a file");
    home
}

#[test]
fn a_file_tells_without_a_start() {
    let folder = TempDir::new().expect("a folder");
    let release = "IMPLEMENTOR=\"Azul Systems, Inc.\"\nJAVA_VERSION=\"21.0.2\"\nJAVA_RUNTIME_VERSION=\"21.0.2+13-LTS\"\n";
    let (good, silent) = (home(&folder, "a", release), home(&folder, "b", "# nothing\n"));
    let bin = folder.path().join("c");
    fs::create_dir_all(&bin).expect("a folder");
    symlink("../a/bin/java", bin.join("java")).expect("a link");
    let machine = Local::searching(&[&good.join("bin"), &silent.join("bin"), &bin]);
    let found = detection::detect(&machine);
    assert_eq!(*machine.started.borrow(), 1, "the one that has no file is asked");
    let [first, second] = &found[..] else { panic!("{found:?}") };
    let known = first.outcome.as_ref().expect("an installation");
    assert_eq!(known.version.semver, "21.0.2+13");
    let attribute =
        |name: &str| known.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((attribute("vendor"), attribute("compiler")), (Some("Azul Systems, Inc."), Some("no")));
    assert_eq!(known.aliases, [bin.join("java").to_string_lossy()]);
    assert!(second.outcome.is_err(), "{second:?}");
}

#[test]
fn a_false_claim_fails() {
    let Some(mut installation) = some_installation() else { return };
    let machine = local();
    let failed =
        |installation: &_| machine.failed_checks(installation, verification::verify).expect("a verdict");
    assert_eq!(failed(&installation), [""; 0]);
    installation.version.semver = "7.0.0".to_owned();
    assert_eq!(failed(&installation), ["version"]);
}

fn launch(installation: &Installation, entry_point: &str) -> LaunchRequest {
    LaunchRequest {
        installation: installation.clone(),
        config: no_config(),
        environment: None,
        entry_point: entry_point.to_owned(),
        arguments: Vec::new(),
        extra: Vec::new(),
    }
}

#[test]
fn what_starts_an_entry_point() {
    let folder = TempDir::new().expect("a folder");
    let old = home(&folder, "old", "JAVA_VERSION=\"1.8.0_392\"\n");
    let new = home(&folder, "new", "JAVA_VERSION=\"17.0.9\"\n");
    let found = detection::detect(&Local::searching(&[&old.join("bin"), &new.join("bin")]));
    let found: Vec<Installation> = found.into_iter().filter_map(|found| found.outcome.ok()).collect();
    for installation in &found {
        let command = environment::launch(launch(installation, "/p/a.jar")).expect("a command");
        assert_eq!(command.arguments, ["-jar", "/p/a.jar"]);
        let failure = environment::launch(launch(installation, "/p/A.java")).expect_err("no compiler");
        assert!(matches!(failure.class, FailureClass::MissingCapability(_)), "{failure:?}");
    }
    assert_eq!(found.len(), 2);

    let Some(installation) = some_installation() else { return };
    let source = folder.path().join("A.java");
    fs::write(&source, "class A { public static void main(String[] a) { System.out.print(6 * 7); } }\n")
        .expect("a file");
    let Ok(command) = environment::launch(launch(&installation, &source.to_string_lossy())) else { return };
    let variables = set_variables(command.variables);
    let mut java = Command::new(&installation.path);
    let output = java.args(command.arguments).envs(variables).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42", "{output:?}");
}
