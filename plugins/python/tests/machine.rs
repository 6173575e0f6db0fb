//! The component's logic on this machine: real interpreters, real scripts, real environments.
#![cfg(unix)]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use attune_plugin::detection::{Candidate, Command};
use attune_plugin::environment::{Action, BuildPlan, CheckRequest, Manifest, PlanRequest, Program};
use attune_plugin::local::{Local, no_config};
use attune_plugin::machine::Machine;
use attune_plugin::types::{Failure, FailureClass, Installation};
use attune_plugin::verification::{Outcome, Request, Verdict};
use attune_plugin::version;
use attune_plugin_python::{detection, environment, verification};
use tempfile::TempDir;

/// Where this machine may have interpreters.
fn roots() -> Vec<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").expect("a home folder"));
    let mut roots: Vec<PathBuf> = fs::read_dir(home.join(".pyenv/versions"))
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    roots.sort();
    roots.extend(["/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin"].map(PathBuf::from));
    roots
}

fn machine(folders: &[PathBuf]) -> Local {
    Local::searching(&folders.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

fn installations(machine: &Local) -> Vec<Installation> {
    detection::detect(machine, Vec::new()).into_iter().filter_map(|found| found.outcome.ok()).collect()
}

/// The newest interpreter of this machine.
fn some_installation() -> Installation {
    static NEWEST: LazyLock<Installation> = LazyLock::new(|| {
        let all = installations(&machine(&roots()));
        let newest = all.into_iter().max_by_key(|found| version::parts(&found.version.semver));
        newest.filter(|found| found.version.semver.starts_with("3.")).expect("a Python 3 on this machine")
    });
    NEWEST.clone()
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

#[track_caller]
fn outcome<'a>(candidates: &'a [Candidate], path: &Path) -> &'a Result<Installation, Failure> {
    let path = path.to_string_lossy();
    let found = candidates.iter().find(|candidate| candidate.path == path);
    &found.unwrap_or_else(|| panic!("{path} is not among {candidates:?}")).outcome
}

#[track_caller]
fn fails(candidates: &[Candidate], path: &Path, class: &str, words: &str) {
    let failure = outcome(candidates, path).as_ref().expect_err("a failure");
    assert!(format!("{:?}", failure.class).contains(class), "{failure:?}");
    assert!(failure.message.contains(words), "{failure:?}");
}

#[test]
fn what_only_looks_like_an_interpreter() {
    let folder = TempDir::new().expect("a folder");
    let base = some_installation();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    symlink("nowhere", bin.join("python3.1")).expect("a link");
    fs::create_dir(bin.join("python3.2")).expect("a folder");
    fs::write(bin.join("python3.3"), "#!/bin/sh\n").expect("a file");
    symlink("/bin/sh", bin.join("python3.4")).expect("a link");
    script(&bin.join("python3.5"), "#!/bin/sh\necho \"$@\"\n");
    script(&bin.join("python3.6"), "#!/bin/sh\necho 'no such version' >&2\nexit 127\n");
    let lie = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo Python 3.99.9; exit; fi\n";
    script(&bin.join("python3.99"), &format!("{lie}exec {} \"$@\"\n", base.path));
    script(&bin.join("python3.8"), &format!("#!/bin/sh\nexec {} \"$@\"\n", base.path));

    let candidates = detection::detect(&machine(std::slice::from_ref(&bin)), Vec::new());
    fails(&candidates, &bin.join("python3.1"), "BrokenSymlink", "");
    fails(&candidates, &bin.join("python3.2"), "IsDirectory", "");
    fails(&candidates, &bin.join("python3.3"), "NotExecutable", "");
    fails(&candidates, &bin.join("python3.4"), "ShimUnresolved", "launcher");
    fails(&candidates, &bin.join("python3.5"), "ShimUnresolved", "no interpreter");
    fails(&candidates, &bin.join("python3.6"), "ShimUnresolved", "no such version");
    fails(&candidates, &bin.join("python3.99"), "VersionMismatch", "3.99.9");
    fails(&candidates, &bin.join("python3.8"), "ShimUnresolved", &base.path);
}

#[test]
fn what_starts_an_installation_is_its_alias() {
    let folder = TempDir::new().expect("a folder");
    let base = some_installation();
    let root = folder.path().join("manager");
    for sub in ["shims", "versions/3.0.0/bin", "libexec"] {
        fs::create_dir_all(root.join(sub)).expect("a folder");
    }
    let shims = root.join("shims");
    symlink(&base.path, root.join("versions/3.0.0/bin/python3")).expect("a link");
    let text = format!(
        "#!/usr/bin/env bash\nprogram=\"${{0##*/}}\"\nexec \"{}/libexec/manager\" exec \"$program\" \"$@\"\n",
        root.display()
    );
    script(&shims.join("python3"), &text);
    script(&shims.join("python3.7"), &text);
    script(&shims.join("python"), &format!("#!/bin/sh\nexec {} \"$@\"\n", base.path));
    let own = PathBuf::from(&base.path).parent().expect("a folder").to_path_buf();
    let machine = machine(&[shims.clone(), own]);

    fs::write(root.join("version"), "2.0.0\n3.0.0\n").expect("a file");
    let candidates = detection::detect(&machine, Vec::new());
    let found: Vec<&Installation> = candidates
        .iter()
        .filter_map(|found| found.outcome.as_ref().ok())
        .filter(|found| found.path == base.path)
        .collect();
    let [found] = found.as_slice() else { panic!("{found:?} is not one installation") };
    for name in ["python", "python3"] {
        assert!(found.aliases.contains(&shims.join(name).to_string_lossy().into_owned()), "{found:?}");
    }
    fails(&candidates, &shims.join("python3.7"), "ShimUnresolved", "a shim of manager");
}

#[test]
fn an_environment_is_no_installation() {
    let folder = TempDir::new().expect("a folder");
    let base = some_installation();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    fs::copy(&base.path, bin.join("python")).expect("a copy");
    let home = Path::new(&base.path).parent().expect("a folder").display().to_string();
    fs::write(folder.path().join("pyvenv.cfg"), format!("home = {home}\n")).expect("a file");
    let candidates = detection::detect(&machine(std::slice::from_ref(&bin)), Vec::new());
    fails(&candidates, &bin.join("python"), "NotBaseInstallation", &home);
}

fn verify(machine: &Local, installation: Installation, commands: Vec<Command>) -> Verdict {
    let program = machine.open(&installation.path).expect("a program");
    let request = Request { installation, commands, settings: Vec::new(), extra: Vec::new() };
    let run = |invocation: &_| machine.run_all(&[&program], invocation).remove(0);
    verification::verify(machine, request, &run).expect("a verdict")
}

fn failed(verdict: &Verdict) -> Vec<&str> {
    let is_failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    verdict.checks.iter().filter(|check| is_failed(&check.outcome)).map(|check| check.name.as_str()).collect()
}

#[test]
fn a_false_claim_fails_by_name() {
    #[track_caller]
    fn check(claim: Installation, expected: &[&str]) {
        assert_eq!(failed(&verify(&machine(&[]), claim, Vec::new())), expected);
    }
    let base = some_installation();
    check(base.clone(), &[]);
    let mut other = base.clone();
    other.version.semver = "3.99.0".to_owned();
    other.version.variant = Some("freethreaded".to_owned());
    check(other, &["version", "variant"]);
    let mut other = base;
    for (name, value) in &mut other.attributes {
        if ["implementation", "arch", "bits"].contains(&name.as_str()) {
            "other".clone_into(value);
        }
    }
    check(other, &["implementation", "arch", "bits"]);
}

#[test]
fn declared_commands_are_checks() {
    let command = |arguments: &[&str], pattern: Option<&str>, exit_code: i32, optional: bool| Command {
        binary: "python3".to_owned(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        exit_code,
        pattern: pattern.map(str::to_owned),
        priority: 0,
        optional,
        extra: Vec::new(),
    };
    let commands = vec![
        command(&["--version"], Some(r"^Python (?P<version>\d\S+)"), 0, false),
        command(&["--version"], Some("^Perl"), 0, false),
        command(&["--version"], Some("^Perl"), 0, true),
        command(&["-c", "raise SystemExit(3)"], None, 3, false),
        command(&["-c", "raise SystemExit(3)"], None, 0, false),
    ];
    let verdict = verify(&machine(&[]), some_installation(), commands);
    assert_eq!(failed(&verdict), ["command-2", "command-5"]);
    let third = verdict.checks.iter().find(|check| check.name == "command-3").expect("the third");
    assert!(matches!(&third.outcome, Outcome::Warned(reason) if reason.class_is("PatternMismatch")));
}

/// Compares classes by their names: the generated types have no equality.
trait ClassIs {
    fn class_is(&self, name: &str) -> bool;
}

impl ClassIs for Failure {
    fn class_is(&self, name: &str) -> bool {
        format!("{:?}", self.class).contains(name)
    }
}

fn plan(installation: &Installation, manifests: &[(&str, &str)]) -> Result<BuildPlan, Failure> {
    let manifests = manifests
        .iter()
        .map(|(name, text)| Manifest { name: (*name).to_owned(), contents: text.as_bytes().to_vec() })
        .collect();
    let request =
        PlanRequest { installation: installation.clone(), config: no_config(), manifests, extra: Vec::new() };
    environment::plan(&machine(&[]), &request)
}

fn check(folder: &Path, installation: &Installation, thorough: bool) -> Result<(), Failure> {
    let request = CheckRequest {
        environment: folder.to_string_lossy().into_owned(),
        installation: installation.clone(),
        config: no_config(),
        thorough,
        extra: Vec::new(),
    };
    environment::health::check(&machine(&[]), &request)
}

/// Every interpreter of this machine passes its checks and can have an environment, or says why not.
#[test]
fn every_installation_of_this_machine() {
    let all = installations(&machine(&roots()));
    assert!(!all.is_empty());
    for found in all {
        let local = machine(&[]);
        let verdict = verify(&local, found.clone(), Vec::new());
        if found.version.semver.starts_with("2.") {
            assert_eq!(failed(&verdict), ["venv"], "{found:?}");
            let failure = plan(&found, &[]).expect_err("no environments");
            assert!(failure.class_is("MissingCapability"), "{failure:?}");
            continue;
        }
        assert_eq!(failed(&verdict), [""; 0], "{verdict:?}");
        let folder = TempDir::new().expect("a folder");
        let plan = plan(&found, &[]).expect("a plan");
        local.execute(&plan, folder.path(), folder.path(), &found.path).expect("an environment");
        check(folder.path(), &found, true).unwrap_or_else(|reason| panic!("{found:?}: {reason:?}"));
    }
}

/// What is done to an environment.
type Damage = fn(&Path);

/// What lies in the folder of packages of an environment.
fn site_packages(environment: &Path) -> PathBuf {
    let lib =
        fs::read_dir(environment.join("lib")).expect("a folder").next().expect("one").expect("an entry");
    lib.path().join("site-packages")
}

/// Packages tell nothing of themselves once all of them is gone. They are made by a step in place of that which
/// would fetch them.
fn installed_packages_are_missed(base: &Installation, path: &Path) {
    let mut with_pip = base.clone();
    with_pip.attributes.push(("pip".to_owned(), "24.0".to_owned()));
    let mut plan = plan(&with_pip, &[("requirements.txt", "whole")]).expect("a plan");
    let position = plan.steps.len() - 2;
    let script = "import os, sys; os.chdir(sys.argv[1]); os.mkdir('whole'); os.mkdir('whole-1.0.dist-info'); \
                  open('whole/__init__.py', 'w'); open('single.py', 'w'); os.mkdir('__pycache__')";
    let folder = plan.steps.iter().find_map(|step| match &step.action {
        Action::MakeDir(path) if path.ends_with("site-packages") => Some(format!("${{environment}}/{path}")),
        _ => None,
    });
    let folder = folder.expect("a folder of packages");
    let Action::Run(install) = &mut plan.steps[position].action else { panic!("no program runs") };
    install.program = Program::Environment("bin/python".to_owned());
    install.arguments = ["-c", script, &folder].map(str::to_owned).to_vec();
    let damages: [(Damage, &str); 4] = [
        (|path| fs::remove_file(path.join("single.py")).expect("removed"), "`single.py` was installed"),
        (
            |path| fs::remove_file(path.join("whole/__init__.py")).expect("removed"),
            "`whole/__init__.py` was installed",
        ),
        (
            |path| fs::remove_dir_all(path.join("whole-1.0.dist-info")).expect("removed"),
            "`whole-1.0.dist-info`",
        ),
        (
            |path| {
                fs::remove_dir_all(path).expect("removed");
                fs::create_dir(path).expect("a folder");
            },
            "`single.py` and 3 more were installed and are gone",
        ),
    ];
    for (damage, words) in damages {
        machine(&[]).execute(&plan, path, path, &base.path).expect("an environment");
        check(path, base, false).expect("healthy");
        fs::remove_dir(site_packages(path).join("__pycache__")).expect("removed");
        check(path, base, false).expect("what Python makes again by itself is no part of it");
        damage(&site_packages(path));
        let failure = check(path, base, false).expect_err(words);
        assert!(failure.message.contains(words), "{failure:?}");
        fs::remove_dir_all(path).expect("removed");
    }
}

#[test]
fn damage_is_noticed() {
    let base = some_installation();
    let folder = TempDir::new().expect("a folder");
    let skeleton = plan(&base, &[]).expect("a plan");
    let rebuild = |name: &str| {
        let path = folder.path().join(name);
        machine(&[]).execute(&skeleton, &path, &path, &base.path).expect("an environment");
        path
    };
    let damages: [(&str, Damage, &str); 6] = [
        ("configuration", |path| fs::remove_file(path.join("pyvenv.cfg")).expect("removed"), "pyvenv.cfg"),
        (
            "home",
            |path| fs::write(path.join("pyvenv.cfg"), "home = /elsewhere\n").expect("written"),
            "/elsewhere",
        ),
        ("interpreter", |path| fs::remove_file(path.join("bin/python")).expect("removed"), "bin/python"),
        (
            "other",
            |path| {
                fs::remove_file(path.join("bin/python")).expect("removed");
                symlink("/bin/sh", path.join("bin/python")).expect("a link");
            },
            "/bin/sh",
        ),
        ("packages", |path| fs::remove_dir_all(path.join("lib")).expect("removed"), "site-packages"),
        ("list", |path| fs::remove_file(path.join("installed.txt")).expect("removed"), "installed.txt"),
    ];
    for (name, damage, words) in damages {
        let path = rebuild(name);
        check(&path, &base, false).expect("healthy");
        damage(&path);
        let failure = check(&path, &base, false).expect_err(name);
        assert!(failure.message.contains(words), "{failure:?}");
    }

    installed_packages_are_missed(&base, &folder.path().join("emptied"));

    // An upgrade in place: the same path, another version of the same series.
    let path = rebuild("upgraded");
    let mut upgraded = base.clone();
    let (series, _) = base.version.semver.rsplit_once('.').expect("three numbers");
    let newer = format!("{series}.99");
    newer.clone_into(&mut upgraded.version.native);
    assert!(check(&path, &upgraded, false).expect_err("upgraded").class_is("VersionMismatch"));
    newer.clone_into(&mut upgraded.version.semver);
    let configuration = fs::read_to_string(path.join("pyvenv.cfg")).expect("text");
    let claims = |line: &str| match line.split_once(" = ") {
        Some(("version", _)) => format!("version = {newer}\n"),
        _ => format!("{line}\n"),
    };
    fs::write(path.join("pyvenv.cfg"), configuration.lines().map(claims).collect::<String>())
        .expect("written");
    let failure = check(&path, &upgraded, true).expect_err("runs another");
    assert!(failure.class_is("VersionMismatch") && failure.message.starts_with("runs "), "{failure:?}");
}

/// The title of the step that installs packages: before the one that notes what that came to.
fn install_step(plan: &BuildPlan) -> &str {
    let [.., install, note] = plan.steps.as_slice() else { panic!("no steps: {plan:?}") };
    assert_eq!(note.title, "note what was installed");
    &install.title
}

#[test]
fn installers() {
    #[track_caller]
    fn titles(installation: &Installation, expected: Result<&str, &str>) {
        let manifests = [("requirements.txt", "six\n-c constraints.txt"), ("constraints.txt", "six<2")];
        match (plan(installation, &manifests), expected) {
            (Ok(plan), Ok(title)) => {
                assert_eq!(install_step(&plan), title);
                assert!(plan.inputs.iter().any(|(name, _)| name == "installer"));
            }
            (Err(failure), Err(class)) => assert!(failure.class_is(class), "{failure:?}"),
            (plan, expected) => panic!("{plan:?} instead of {expected:?}"),
        }
    }
    let with = |pip: &[(&str, &str)]| {
        let mut installation = some_installation();
        installation.attributes.retain(|(name, _)| !name.starts_with("pip"));
        let pip = pip.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        installation.attributes.extend(pip);
        installation
    };
    titles(&with(&[("pip", "22.3"), ("pip-wheel", "/pip.whl")]), Ok("install 1 package with pip"));
    titles(&with(&[("pip", "22.2.9"), ("pip-wheel", "/pip.whl")]), Ok("install 1 package with bundled pip"));
    titles(&with(&[("pip-wheel", "/pip.whl")]), Ok("install 1 package with bundled pip"));
    titles(&with(&[("pip", "18.1")]), Err("MissingCapability(\"pip\")"));

    let same = |text: &str| format!("{:?}", plan(&with(&[("pip", "24.0")]), &[("requirements.txt", text)]));
    assert_eq!(same("six"), same("six"), "the same request gives the same plan");
    let empty = plan(&with(&[]), &[("requirements.txt", "# nothing\n")]).expect("a plan");
    assert!(!empty.steps.iter().any(|step| step.title.starts_with("install")));
    assert!(matches!(
        plan(&with(&[]), &[("requirements.txt", "-r gone.txt")]).expect_err("gone").class,
        FailureClass::InvalidDeclaration
    ));
}

/// Each way of installing packages, where it exists: `UV` may name a folder with `uv` in it.
#[test]
fn packages_are_installed() {
    let cache = TempDir::new().expect("a folder");
    let uv: Vec<PathBuf> = std::env::var_os("UV").map(PathBuf::from).into_iter().collect();
    for found in installations(&machine(&roots())) {
        if found.version.semver.starts_with("2.") {
            continue;
        }
        let installation =
            Installation { attributes: verify(&machine(&[]), found.clone(), Vec::new()).attributes, ..found };
        for mut local in [machine(&[]), machine(&uv)] {
            let certificates = ["PIP_CERT", "SSL_CERT_FILE"].map(|name| (name, std::env::var(name)));
            let set =
                certificates.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.ok()?)));
            local.variables.extend(set);
            let folder = TempDir::new().expect("a folder");
            let manifest =
                Manifest { name: "requirements.txt".to_owned(), contents: b"six==1.16.0".to_vec() };
            let request = PlanRequest {
                installation: installation.clone(),
                config: no_config(),
                manifests: vec![manifest],
                extra: Vec::new(),
            };
            let plan = environment::plan(&local, &request).expect("a plan");
            let title = install_step(&plan);
            let start = std::time::Instant::now();
            local
                .execute(&plan, folder.path(), cache.path(), &installation.path)
                .unwrap_or_else(|reason| panic!("{} {title}: {reason:?}", installation.path));
            println!("{} {title}: {:?}", installation.path, start.elapsed());
            check(folder.path(), &installation, true).expect("healthy");
            let import = std::process::Command::new(folder.path().join("bin/python"))
                .args(["-I", "-c", "import six; print(six.__file__)"])
                .output()
                .expect("ran");
            let file = String::from_utf8_lossy(&import.stdout).into_owned();
            assert!(file.starts_with(&*folder.path().to_string_lossy()), "{file} {import:?}");
        }
    }
}
