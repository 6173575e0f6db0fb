//! The component's logic on this machine: real interpreters, real scripts, real npm.
#![cfg(unix)]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use attune_plugin::detection::Candidate;
use attune_plugin::environment::{
    Action, BuildPlan, CheckRequest, Config, LaunchRequest, Manifest, PlanRequest, Program,
};
use attune_plugin::local::Local;
use attune_plugin::machine::Machine;
use attune_plugin::types::{Failure, Installation};
use attune_plugin::verification::{Outcome, Request, Verdict};
use attune_plugin_node::{detection, environment, npm, verification};
use tempfile::TempDir;

fn machine(folders: &[&Path]) -> Local {
    Local::searching(folders)
}

/// An interpreter of this machine.
fn some_installation() -> Installation {
    static FIRST: LazyLock<Installation> = LazyLock::new(|| {
        let path = std::env::var_os("PATH").expect("a search path");
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let machine = machine(&folders.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        let all = detection::detect(&machine, Vec::new());
        all.into_iter().find_map(|found| found.outcome.ok()).expect("a Node.js on this machine")
    });
    FIRST.clone()
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

fn is(failure: &Failure, class: &str) -> bool {
    format!("{:?}", failure.class).contains(class)
}

#[track_caller]
fn fails(candidates: &[Candidate], path: &Path, class: &str, words: &str) {
    let path = path.to_string_lossy();
    let found = candidates.iter().find(|candidate| candidate.path == path).expect("a candidate");
    let failure = found.outcome.as_ref().expect_err("a failure");
    assert!(is(failure, class) && failure.message.contains(words), "{failure:?}");
}

#[test]
fn what_only_looks_like_an_interpreter() {
    let folder = TempDir::new().expect("a folder");
    let bin = folder.path();
    let base = some_installation();
    symlink("/bin/sh", bin.join("node")).expect("a link");
    let lie = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo v99.0.1; exit; fi\n";
    script(&bin.join("node18"), &format!("{lie}exec {} \"$@\"\n", base.path));
    script(&bin.join("node20"), "#!/bin/sh\necho v20.1.0\n");
    script(&bin.join("nodejs"), &format!("#!/bin/sh\nexec {} \"$@\"\n", base.path));

    let candidates = detection::detect(&machine(&[bin]), Vec::new());
    fails(&candidates, &bin.join("node"), "ShimUnresolved", "launcher");
    fails(&candidates, &bin.join("node18"), "VersionMismatch", "v99.0.1");
    fails(&candidates, &bin.join("node20"), "ShimUnresolved", "no interpreter");
    fails(&candidates, &bin.join("nodejs"), "ShimUnresolved", &base.path);

    let own = Path::new(&base.path).parent().expect("a folder");
    let candidates = detection::detect(&machine(&[bin, own]), Vec::new());
    let found: Vec<Installation> = candidates.into_iter().filter_map(|found| found.outcome.ok()).collect();
    let known = found.iter().find(|found| found.path == base.path).expect("the installation");
    assert!(known.aliases.contains(&bin.join("nodejs").to_string_lossy().into_owned()), "{known:?}");
}

fn verify(installation: Installation) -> Verdict {
    let machine = machine(&[Path::new("/usr/bin"), Path::new("/usr/local/bin")]);
    let program = machine.open(&installation.path).expect("a program");
    let request = Request { installation, commands: Vec::new(), settings: Vec::new(), extra: Vec::new() };
    let run = |invocation: &_| machine.run_all(&[&program], invocation).remove(0);
    verification::verify(&machine, request, &run).expect("a verdict")
}

fn failed(verdict: &Verdict) -> Vec<&str> {
    let is_failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    verdict.checks.iter().filter(|check| is_failed(&check.outcome)).map(|check| check.name.as_str()).collect()
}

#[test]
fn a_false_claim_fails_by_name() {
    let base = some_installation();
    assert_eq!(failed(&verify(base.clone())), [""; 0]);
    let mut other = base;
    "99.0.0".clone_into(&mut other.version.semver);
    assert_eq!(failed(&verify(other)), ["version"]);
}

/// A folder that an npm of this version and range of Node.js lies in.
fn npm_package(folder: &Path, version: &str, engines: &str) {
    fs::create_dir_all(folder.join("bin")).expect("a folder");
    script(&folder.join("bin/npm-cli.js"), "#!/usr/bin/env node\n");
    let manifest = format!(r#"{{"version": "{version}", "engines": {{"node": "{engines}"}}}}"#);
    fs::write(folder.join("package.json"), manifest).expect("a file");
}

#[test]
fn an_npm_that_this_version_can_run() {
    let folder = TempDir::new().expect("a folder");
    let (prefix, other) = (folder.path().join("prefix"), folder.path().join("other"));
    fs::create_dir_all(&other).expect("a folder");
    let node = prefix.join("bin/node").to_string_lossy().into_owned();
    let machine = machine(&[&other]);

    let reason = npm::choose(&machine, &node, "18.0.0").expect_err("none");
    assert!(is(&reason, "MissingCapability") && reason.message.contains("no npm was found"), "{reason:?}");

    npm_package(&other.join("lib/node_modules/npm"), "11.0.0", "^20.17.0 || >=22.9.0");
    symlink("lib/node_modules/npm/bin/npm-cli.js", other.join("npm")).expect("a link");
    let reason = npm::choose(&machine, &node, "18.0.0").expect_err("too new");
    assert!(reason.message.contains("npm 11.0.0") && reason.message.contains("^20.17.0"), "{reason:?}");
    assert_eq!(npm::choose(&machine, &node, "24.0.0").expect("an npm").version, "11.0.0");

    npm_package(&prefix.join("lib/node_modules/npm"), "10.0.0", ">=18");
    assert_eq!(npm::choose(&machine, &node, "24.0.0").expect("an npm").version, "10.0.0", "its own first");
}

fn config() -> Config {
    Config {
        interpreter_arguments: vec!["--no-warnings".to_owned()],
        environment_interpreter: None,
        create: Vec::new(),
        install: Vec::new(),
        settings: Vec::new(),
        extra: Vec::new(),
    }
}

fn plan(manifests: &[(&str, &str)]) -> Result<BuildPlan, Failure> {
    let manifests = manifests
        .iter()
        .map(|(name, text)| Manifest { name: (*name).to_owned(), contents: text.as_bytes().to_vec() })
        .collect();
    let installation = some_installation();
    let request = PlanRequest { installation, config: config(), manifests, extra: Vec::new() };
    environment::plan(&machine(&[Path::new("/usr/bin"), Path::new("/usr/local/bin")]), &request)
}

#[test]
fn what_needs_an_environment() {
    for manifests in [
        &[][..],
        &[("package.json", "{}")],
        &[("package.json", r#"{"dependencies": {}, "devDependencies": {"a": "1"}}"#)],
        &[("package-lock.json", "{}")],
    ] {
        let plan = plan(manifests).expect("a plan");
        assert!(plan.steps.is_empty() && plan.stage.is_none(), "{plan:?}");
    }
    let manifest = ("package.json", r#"{"dependencies": {"a": "1", "b": "2"}}"#);
    let verb = |manifests: &[(&str, &str)]| {
        let plan = plan(manifests).expect("a plan");
        let stage = plan.stage.expect("a stage");
        assert_eq!(stage.links, [("node_modules".to_owned(), "project/node_modules".to_owned())]);
        let run = plan.steps.into_iter().find_map(|step| match step.action {
            Action::Run(run) => Some(run),
            _ => None,
        });
        run.expect("a run step").arguments.remove(1)
    };
    assert_eq!(verb(&[manifest]), "install");
    assert_eq!(verb(&[manifest, ("package-lock.json", "{}")]), "ci");
}

#[test]
fn manifests_that_cannot_be_carried_out() {
    for (text, words) in [
        ("{\n,", "package.json:2: "),
        (r#"{"dependencies": []}"#, "no object"),
        (r#"{"dependencies": {"a": "file:../a"}}"#, "`a` is wanted from the path"),
        (r#"{"optionalDependencies": {"a": "./a"}}"#, "`a` is wanted from the path"),
    ] {
        let failure = plan(&[("package.json", text)]).expect_err("a failure");
        assert!(is(&failure, "InvalidDeclaration") && failure.message.contains(words), "{failure:?}");
    }
}

fn check(folder: &Path) -> Result<(), Failure> {
    let request = CheckRequest {
        environment: folder.to_string_lossy().into_owned(),
        installation: some_installation(),
        config: config(),
        thorough: false,
        extra: Vec::new(),
    };
    environment::check(&machine(&[]), &request)
}

#[test]
fn damage_is_noticed() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    let words = |expected: &str| {
        let failure = check(path).expect_err("damaged");
        assert!(is(&failure, "damaged") && failure.message.contains(expected), "{failure:?}");
    };
    words("node_modules/.bin/node");
    fs::create_dir_all(path.join("node_modules/.bin")).expect("a folder");
    symlink("/bin/sh", path.join("node_modules/.bin/node")).expect("a link");
    words("was made for `/bin/sh`");
    fs::remove_file(path.join("node_modules/.bin/node")).expect("removed");
    symlink(some_installation().path, path.join("node_modules/.bin/node")).expect("a link");
    words("package.json");
    fs::create_dir_all(path.join("project/node_modules/@a/b")).expect("a folder");
    let manifest = r#"{"dependencies": {"@a/b": "1", "c": "1"}, "optionalDependencies": {"c": "1"}}"#;
    fs::write(path.join("project/package.json"), manifest).expect("written");
    words("the package `@a/b` is gone");
    fs::write(path.join("project/node_modules/@a/b/package.json"), "{}").expect("written");
    check(path).expect("healthy");
}

#[test]
fn entry_points_are_started_by_the_installation() {
    let command = environment::launch(LaunchRequest {
        installation: some_installation(),
        config: config(),
        environment: Some("/e".to_owned()),
        entry_point: "/p/index.mjs".to_owned(),
        arguments: vec!["a".to_owned()],
        extra: Vec::new(),
    });
    assert!(matches!(command.program, Program::Installation));
    assert_eq!(command.arguments, ["--no-warnings", "/p/index.mjs", "a"]);
}

/// Both kinds of modules find packages through the link that the host makes in the pack's folder.
#[test]
fn packages_are_found_by_both_kinds_of_modules() {
    let folder = TempDir::new().expect("a folder");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packs/examples/actions");
    for (name, entry, answer) in [
        ("duration", "index.js", r#"{"milliseconds":9000000}"#),
        ("bytes", "index.mjs", r#"{"text":"1.34 kB"}"#),
    ] {
        let pack = examples.join(name);
        let files: Vec<(String, String)> = ["package.json", "package-lock.json"]
            .iter()
            .filter_map(|file| Some(((*file).to_owned(), fs::read_to_string(pack.join(file)).ok()?)))
            .collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let plan = plan(&files).expect("a plan");
        let path = folder.path().join(name);
        let mut local = machine(&[]);
        let certificates = std::env::var("NODE_EXTRA_CA_CERTS").ok();
        local.variables.extend(certificates.map(|path| ("NODE_EXTRA_CA_CERTS".to_owned(), path)));
        let node = some_installation().path;
        local.execute(&plan, &path, &folder.path().join("cache"), &node).expect("an environment");
        check(&path).expect("healthy");

        let staged = folder.path().join(format!("{name}-staged"));
        fs::create_dir(&staged).expect("a folder");
        fs::copy(pack.join(entry), staged.join(entry)).expect("a copy");
        for (link, target) in plan.stage.expect("a stage").links {
            symlink(path.join(target), staged.join(link)).expect("a link");
        }
        let parameters = folder.path().join("parameters.json");
        fs::write(&parameters, r#"{"text": "2.5 hours", "bytes": 1337}"#).expect("written");
        let output = std::process::Command::new(&node)
            .arg(staged.join(entry))
            .stdin(fs::File::open(&parameters).expect("a file"))
            .output()
            .expect("ran");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), answer, "{output:?}");
    }
}
