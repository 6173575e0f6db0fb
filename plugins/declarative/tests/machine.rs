//! The component's logic on this machine: a shell, as the core pack declares it, and made-up tools.
#![cfg(unix)]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use attune_plugin::detection::{Command, Request};
use attune_plugin::environment::{
    Action, CheckRequest, Config, DeclaredCommand, LaunchRequest, Manifest, PlanRequest, Program,
};
use attune_plugin::local::Local;
use attune_plugin::machine::Machine;
use attune_plugin::tools::{Completion, ExitStatus, Invocation};
use attune_plugin::types::{Failure, FailureClass, Installation};
use attune_plugin::verification::{self, Outcome};
use attune_plugin_declarative::{detection, environment, verification::verify};
use tempfile::TempDir;

fn command(arguments: &[&str], pattern: Option<&str>, exit_code: i32) -> Command {
    Command {
        binary: "tool".to_owned(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        exit_code,
        pattern: pattern.map(str::to_owned),
        priority: 0,
        optional: false,
        extra: Vec::new(),
    }
}

fn request(binaries: &[&str], commands: Vec<Command>) -> Request {
    Request {
        binaries: binaries.iter().map(|&binary| binary.to_owned()).collect(),
        commands,
        versions: Vec::new(),
        variables: Vec::new(),
        settings: Vec::new(),
        extra: Vec::new(),
    }
}

/// A folder with a program `tool` that says what `text` has it say.
fn folder_with_tool(text: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("tool");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    folder
}

fn detect(folder: &TempDir, request: Request) -> Result<Installation, Failure> {
    let mut found = detection::detect(&Local::searching(&[folder.path()]), request)?;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).outcome
}

#[test]
fn versions_by_command() {
    #[track_caller]
    fn check(text: &str, commands: Vec<Command>, expected: Result<&str, &str>) {
        match (detect(&folder_with_tool(text), request(&["tool"], commands)), expected) {
            (Ok(found), Ok(semver)) => assert_eq!(found.version.semver, semver),
            (Err(failure), Err(class)) => {
                assert!(format!("{:?}", failure.class).contains(class), "{failure:?}");
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }
    let version = || command(&["--version"], Some("tool (?P<version>[0-9.]+)"), 0);
    check("echo tool 1.2", vec![version()], Ok("1.2.0"));
    check("echo tool 1.2.3 >&2", Vec::new(), Ok("1.2.3"));
    check("echo other 1.2", vec![version()], Err("PatternMismatch"));
    check("echo tool 1.2; exit 4", vec![version()], Err("NonzeroExit(4)"));
    check("echo tool 1..2", vec![version()], Err("UnparsableOutput"));
    check("echo nothing", Vec::new(), Err("UnparsableOutput"));
    check("kill -9 $$", Vec::new(), Err("KilledBySignal(9)"));
    check(
        "[ $1 = --version ] && echo tool 1.2; exit 0",
        vec![version(), command(&["x"], None, 3)],
        Err("zero-exit"),
    );
    let optional = Command { optional: true, priority: -1, ..command(&["x"], Some("never"), 0) };
    check("echo tool 1.2", vec![version(), optional], Ok("1.2.0"));
    // What it says it is, and what it runs.
    let runs = || Command { priority: 1, ..command(&["x"], Some("runs (?P<version>[0-9.]+)"), 0) };
    check("echo tool 1.2.3p4; echo runs 1.2.3", vec![version(), runs()], Ok("1.2.3"));
    check("echo tool 1.2.4; echo runs 1.2.3", vec![version(), runs()], Err("VersionMismatch"));
}

/// A folder of a manager of versions, with a shim of `tool` and with what it starts.
fn manager(selected: &str) -> TempDir {
    let root = folder_with_tool("echo a shim was started; exit 1");
    let path = root.path().canonicalize().expect("a path");
    fs::create_dir_all(path.join("versions/1.2/bin")).expect("a folder");
    let tool = path.join("versions/1.2/bin/tool");
    fs::write(&tool, "#!/bin/sh\necho tool 1.2\n").expect("a script");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("executable");
    let shim = format!("#!/bin/sh\nexec \"{}/libexec/mgr\" exec \"$program\" \"$@\"\n", path.display());
    fs::write(path.join("tool"), shim).expect("a script");
    fs::write(path.join("version"), selected).expect("a file");
    root
}

#[test]
fn a_shim_is_another_name_of_what_it_starts() {
    let root = manager("1.2\n");
    let installed = root.path().join("versions/1.2/bin");
    let request = || request(&["tool"], vec![command(&["--version"], Some("^tool (\\S+)"), 0)]);
    let found = detection::detect(&Local::searching(&[root.path(), &installed]), request()).expect("found");
    let [found] = &found[..] else { panic!("{found:?}") };
    let found = found.outcome.as_ref().expect("an installation");
    let shim = root.path().join("tool").to_string_lossy().into_owned();
    assert!(found.path.ends_with("versions/1.2/bin/tool") && found.aliases.contains(&shim), "{found:?}");

    let unresolved = detect(&root, request()).expect_err("nothing that it starts is an installation");
    assert!(unresolved.message.contains("which is no installation"), "{unresolved:?}");
    let unresolved = detect(&manager("1.3\n"), request()).expect_err("it starts nothing");
    assert!(unresolved.message.contains("no version that"), "{unresolved:?}");
}

#[test]
fn candidates_come_in_the_order_in_which_they_were_found() {
    let (good, bad) = (folder_with_tool("echo tool 1.2"), TempDir::new().expect("a folder"));
    std::os::unix::fs::symlink("nowhere", bad.path().join("tool")).expect("a link");
    for folders in [[good.path(), bad.path()], [bad.path(), good.path()]] {
        let found = detection::detect(&Local::searching(&folders), request(&["tool"], Vec::new()));
        let found = found.expect("found").into_iter().map(|candidate| candidate.path).collect::<Vec<_>>();
        assert_eq!(found, folders.map(|folder| folder.join("tool").to_string_lossy().into_owned()));
    }
}

#[test]
fn scripts_are_refused_where_that_is_asked_for() {
    let folder = folder_with_tool("echo tool 1.2");
    let with = |value: &str| Request {
        settings: vec![("scripts".to_owned(), value.to_owned())],
        ..request(&["tool"], Vec::new())
    };
    assert!(detect(&folder, with("run")).is_ok());
    let refused = detect(&folder, with("refuse")).expect_err("refused");
    assert!(matches!(refused.class, FailureClass::ShimUnresolved), "{refused:?}");
    let mistake = detection::detect(&Local::default(), with("follow")).expect_err("a mistake");
    assert!(mistake.message.contains("write `run` or `refuse`"), "{mistake:?}");
}

#[test]
fn nothing_to_look_for_is_a_mistake_of_the_pack() {
    let failure = detection::detect(&Local::default(), request(&[], Vec::new())).expect_err("a failure");
    assert!(format!("{:?}", failure.class).contains("InvalidDeclaration"), "{failure:?}");
}

#[test]
fn a_false_claim_fails() {
    let folder = folder_with_tool("echo tool 1.2.3");
    let commands = vec![command(&["--version"], Some("tool (\\S+)"), 0)];
    let mut installation = detect(&folder, request(&["tool"], commands.clone())).expect("found");
    let local = Local::searching(&[folder.path()]);
    let program = local.open(&installation.path).expect("a program");
    let verify = |installation: Installation, commands: Vec<Command>| {
        let request =
            verification::Request { installation, commands, settings: Vec::new(), extra: Vec::new() };
        let run = |invocation: &_| local.run_all(&[&program], invocation).remove(0);
        let verdict = verify(&local, request, &run).expect("a verdict");
        let outcomes = verdict.checks.into_iter().map(|check| match check.outcome {
            Outcome::Failed(_) => (check.name, false),
            _ => (check.name, true),
        });
        outcomes.collect::<Vec<_>>()
    };
    let named = |version, first| vec![("version".to_owned(), version), ("command-1".to_owned(), first)];
    assert_eq!(verify(installation.clone(), commands.clone()), named(true, true));
    "1.2.4".clone_into(&mut installation.version.semver);
    assert_eq!(verify(installation.clone(), commands), named(false, true));
    assert_eq!(verify(installation, Vec::new()), [("version".to_owned(), true)]);
}

/// Verifies with commands of which those hang that are called so; what was said of each, and which were started.
#[track_caller]
fn verifies(
    installation: &Installation,
    commands: Vec<Command>,
    expected: &[(&str, &str)],
    started: &[&str],
) {
    let runs = RefCell::new(Vec::new());
    let run = |invocation: &Invocation| {
        runs.borrow_mut().push(invocation.arguments[0].clone());
        if invocation.arguments[0].starts_with("hang") {
            return Err(Failure { class: FailureClass::Timeout, message: "did not finish".to_owned() });
        }
        let stdout = b"tool 1.2.3".to_vec();
        let status = ExitStatus::Exited(0);
        Ok(Completion { status, stdout, stderr: Vec::new(), truncated: false, extra: Vec::new() })
    };
    let installation = installation.clone();
    let request = verification::Request { installation, commands, settings: Vec::new(), extra: Vec::new() };
    let verdict = verify(&Local::default(), request, &run).expect("a verdict");
    let outcomes: Vec<(String, String)> = verdict
        .checks
        .into_iter()
        .filter(|check| check.name != "version")
        .map(|check| match check.outcome {
            Outcome::Passed => (check.detail, "passed".to_owned()),
            Outcome::Warned(failure) => (check.detail, format!("warned: {}", failure.message)),
            Outcome::Failed(failure) => (check.detail, format!("failed: {}", failure.message)),
            Outcome::Skipped(reason) => (check.detail, reason),
            Outcome::Other(other) => (check.detail, other),
        })
        .collect();
    let outcomes: Vec<(&str, &str)> = outcomes
        .iter()
        .map(|(detail, said)| (detail.split(" ran").next().unwrap_or(detail), said.as_str()))
        .collect();
    assert_eq!(outcomes, expected);
    assert_eq!(*runs.borrow(), started, "each is run once");
}

#[test]
fn commands_that_hang_do_not_add_up() {
    let optional = |name: &str| Command { optional: true, ..command(&[name], None, 0) };
    let required = |name: &str| command(&[name], None, 0);
    let installation = detect(&folder_with_tool("echo tool 1.2.3"), request(&["tool"], Vec::new()));
    let installation = installation.expect("found");
    verifies(
        &installation,
        vec![
            required("a"),
            optional("hang1"),
            optional("b"),
            required("c"),
            required("hang2"),
            required("d"),
        ],
        &[
            ("`tool a`", "passed"),
            ("`tool hang1`", "warned: did not finish"),
            ("`tool b`", "not run, since `tool hang1` hung"),
            ("`tool c`", "passed"),
            ("`tool hang2`", "failed: did not finish"),
            ("`tool d`", "not run, since `tool hang2` hung"),
        ],
        &["a", "hang1", "c", "hang2"],
    );
    verifies(
        &installation,
        vec![optional("hang1"), optional("b")],
        &[
            ("`tool hang1`", "warned: did not finish"),
            ("`tool b`", "not run, since `tool hang1` hung"),
            ("every command is optional, and none succeeded", "failed: did not finish"),
        ],
        &["hang1"],
    );
}

fn declared(arguments: &[&str]) -> DeclaredCommand {
    DeclaredCommand {
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        network: false,
        timeout: None,
        extra: Vec::new(),
    }
}

fn config(create: Vec<DeclaredCommand>, install: Vec<DeclaredCommand>) -> Config {
    Config {
        interpreter_arguments: vec!["-e".to_owned()],
        environment_interpreter: Some("bin/tool".to_owned()),
        create,
        install,
        settings: Vec::new(),
        extra: Vec::new(),
    }
}

#[test]
fn environments_by_command() {
    let folder = folder_with_tool("echo tool 1.2.3");
    let installation = detect(&folder, request(&["tool"], Vec::new())).expect("found");
    let local = Local::searching(&[folder.path(), Path::new("/bin"), Path::new("/usr/bin")]);
    let plan = |config: Config, manifests: &[&str]| {
        let manifests = manifests
            .iter()
            .map(|name| Manifest { name: (*name).to_owned(), contents: b"content".to_vec() })
            .collect();
        let installation = installation.clone();
        environment::plan(&local, &PlanRequest { installation, config, manifests, extra: Vec::new() })
    };
    assert!(plan(config(Vec::new(), Vec::new()), &["m"]).expect("a plan").steps.is_empty());
    assert!(plan(config(Vec::new(), vec![declared(&["cp"])]), &[]).expect("a plan").steps.is_empty());

    let whole = config(
        vec![declared(&["mkdir", "${environment}/bin"]), declared(&["cp", "${interpreter}", "bin/tool"])],
        vec![declared(&["cp", "${manifests}/m", "${environment}/installed"])],
    );
    let built = TempDir::new().expect("a folder");
    let check = |path: &Path| {
        environment::check(
            &local,
            &CheckRequest {
                environment: path.to_string_lossy().into_owned(),
                installation: installation.clone(),
                config: config(Vec::new(), Vec::new()),
                thorough: true,
                extra: Vec::new(),
            },
        )
    };
    assert!(check(built.path()).expect_err("empty").message.contains("`tool` is gone"));
    let whole = plan(whole, &["m"]).expect("a plan");
    local.execute(&whole, built.path(), built.path(), &installation.path).expect("an environment");
    assert_eq!(fs::read_to_string(built.path().join("installed")).expect("installed"), "content");
    check(built.path()).expect("healthy");
    fs::set_permissions(built.path().join("bin/tool"), fs::Permissions::from_mode(0o644)).expect("changed");
    assert!(check(built.path()).expect_err("no program").message.contains("may not be executed"));

    let arguments = ["cp", "${tool:tool}", "${environment}/copy"];
    let copies = plan(config(vec![declared(&arguments)], Vec::new()), &[]).expect("a plan");
    assert!(copies.steps.iter().any(|step| matches!(
        &step.action,
        Action::Run(run) if run.arguments[0] == installation.path
    )));
    let failure = plan(config(vec![declared(&["cp", "${tool:absent}"])], Vec::new()), &[]);
    assert!(failure.expect_err("a failure").message.contains("the tool `absent` was not found"));

    for (word, class) in
        [("no-such-tool", "NotFound"), ("/bin/sh", "InvalidDeclaration"), ("${x}", "InvalidDeclaration")]
    {
        let failure = plan(config(vec![declared(&[word])], Vec::new()), &[]).expect_err("a failure");
        assert!(format!("{:?}", failure.class).contains(class), "{failure:?}");
    }
    let failure = plan(config(vec![declared(&[])], Vec::new()), &[]).expect_err("a failure");
    assert!(failure.message.contains("names no program"), "{failure:?}");
    let own = plan(config(vec![declared(&["${environment}/bin/x"])], Vec::new()), &[]).expect("a plan");
    assert!(own.steps.iter().any(|step| matches!(
        &step.action,
        Action::Run(run) if matches!(&run.program, Program::Environment(path) if path == "bin/x")
    )));
}

#[test]
fn what_starts_an_entry_point() {
    let folder = folder_with_tool("echo tool 1.2.3");
    let installation = detect(&folder, request(&["tool"], Vec::new())).expect("found");
    let launch = |environment: Option<&str>| {
        environment::launch(LaunchRequest {
            installation: installation.clone(),
            config: config(Vec::new(), Vec::new()),
            environment: environment.map(str::to_owned),
            entry_point: "/p/a".to_owned(),
            arguments: Vec::new(),
            extra: Vec::new(),
        })
    };
    assert!(matches!(launch(None).program, Program::Installation));
    assert!(matches!(launch(Some("/e")).program, Program::Environment(path) if path == "bin/tool"));
    assert_eq!(launch(None).arguments, ["-e", "/p/a"]);
}
