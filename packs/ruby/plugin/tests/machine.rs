//! The component's logic on this machine, if it has Ruby.
#![cfg(unix)]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

use attune_plugin::environment::{CheckRequest, LaunchRequest, Manifest, PlanRequest};
use attune_plugin::local::{Local, no_config, set_variables};
use attune_plugin::types::{FailureClass, Installation};
use attune_plugin_ruby::{detection, environment, verification};
use tempfile::TempDir;

fn local() -> Local {
    Local::searching(&[Path::new("/usr/local/bin"), Path::new("/usr/bin")])
}

/// An interpreter of this machine; without one the tests do nothing.
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

#[test]
fn gems_of_a_bundle() {
    let Some(installation) = some_installation() else { return };
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().canonicalize().expect("a path");
    let gemfile = format!("gem 'said', path: '{}'\n", path.join("said").display());
    fs::create_dir_all(path.join("said/lib")).expect("a folder");
    fs::write(path.join("said/lib/said.rb"), "SAID = 'by a gem'\n").expect("a file");
    let specification = "Gem::Specification.new { |gem| gem.name = 'said'; gem.version = '1.0.0'; gem.summary = 's'; \
                         gem.authors = ['a']; gem.files = ['lib/said.rb'] }\n";
    fs::write(path.join("said/said.gemspec"), specification).expect("a file");
    let script = path.join("a.rb");
    fs::write(&script, "require 'said'; print SAID\n").expect("a file");

    let plan = |installation: &Installation, manifests: Vec<Manifest>| {
        let installation = installation.clone();
        environment::plan(&PlanRequest { installation, config: no_config(), manifests, extra: Vec::new() })
    };
    let manifest = || vec![Manifest { name: "Gemfile".to_owned(), contents: gemfile.as_bytes().into() }];
    assert!(plan(&installation, Vec::new()).expect("a plan").steps.is_empty());
    let mut without = installation.clone();
    without.attributes.retain(|(name, _)| name != "bundler");
    let failure = plan(&without, manifest()).expect_err("no Bundler");
    assert!(matches!(failure.class, FailureClass::MissingCapability(_)), "{failure:?}");
    if installation.attributes.iter().all(|(name, _)| name != "bundler") {
        return;
    }

    let machine = local();
    let built = path.join("environment");
    let whole = plan(&installation, manifest()).expect("a plan");
    machine.execute(&whole, &built, &path.join("downloads"), &installation.path).expect("built");
    let built = built.to_string_lossy().into_owned();
    let check = || {
        environment::check(
            &machine,
            &CheckRequest {
                environment: built.clone(),
                installation: installation.clone(),
                config: no_config(),
                thorough: true,
                extra: Vec::new(),
            },
        )
    };
    check().expect("healthy");
    let command = environment::launch(LaunchRequest {
        installation: installation.clone(),
        config: no_config(),
        environment: Some(built.clone()),
        entry_point: script.to_string_lossy().into_owned(),
        arguments: Vec::new(),
        extra: Vec::new(),
    });
    let variables = set_variables(command.variables);
    let mut ruby = Command::new(&installation.path);
    let output = ruby.args(command.arguments).envs(variables).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "by a gem", "{output:?}");
    fs::remove_file(format!("{built}/project/Gemfile.lock")).expect("removed");
    assert!(check().expect_err("damaged").message.contains("Gemfile.lock"));
}
