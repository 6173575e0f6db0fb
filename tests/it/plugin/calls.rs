//! The obliging guest: everything that the contract offers, once there and back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use attune::environment::{Manifest, PlannedProgram, StepAction};
use attune::installation::{CheckOutcome, FailureClass, Identity};
use attune::pack::{DeclaredVersion, Distributions, ExecutionConfig, Interpreter, VariableChange};
use attune::plugin::{
    Alias, Cause, CheckRequest, Health, LaunchRequest, Memo, MemoEntry, PlanRequest, Scanned,
    VerificationRequest,
};

use super::{Scene, command, detection_request, installation, runtime};

/// Prints its version, and leaves a mark that it ran.
fn versioned(scene: &Scene, version: &str) -> String {
    format!("#!/bin/sh\necho ran >> {}\necho tool {version} for $TOOL_HOME, $(cat)\n", scene.at("marks"))
}

/// What was changed a moment ago is never taken for unchanged.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(40));
}

fn runs(scene: &Scene) -> usize {
    fs::read_to_string(scene.at("marks")).map_or(0, |marks| marks.lines().count())
}

#[tokio::test]
async fn detection_finds_runs_and_reads() {
    let scene = Scene::new();
    let tool = scene.tool("tool-1", &versioned(&scene, "1.2.3"));
    scene.tool("tool-crash", "#!/bin/sh\nkill -SEGV $$\n");
    scene.tool("tool-fails", "#!/bin/sh\nexit 4\n");
    scene.tool("tool-odd", "#!/bin/sh\necho something else\n");
    scene.tool("tool-text", "not a program\n");
    scene.tool("unrelated", &versioned(&scene, "9.9.9"));
    symlink("tool-1", scene.at("bin/tool-alias")).expect("a link");
    symlink("nowhere", scene.at("bin/tool-broken")).expect("a link");
    fs::create_dir(scene.at("bin/tool-folder")).expect("a folder");

    let plugin = runtime(&scene.plugins(), "obliging").await;
    settle();
    let answer = plugin.detect(detection_request()).await.expect("it detects");
    let outcome = |name: &str| {
        let path = scene.path.join("bin").join(name);
        let candidate = answer.value.iter().find(|candidate| candidate.path == path);
        candidate.unwrap_or_else(|| panic!("{name} is missing")).outcome.clone()
    };
    for (name, class) in [
        ("tool-crash", FailureClass::KilledBySignal(11)),
        ("tool-fails", FailureClass::NonzeroExit(4)),
        ("tool-odd", FailureClass::PatternMismatch),
        ("tool-text", FailureClass::ExecFormat),
        ("tool-broken", FailureClass::BrokenSymlink),
        ("tool-folder", FailureClass::IsDirectory),
    ] {
        assert_eq!(outcome(name).map_err(|failure| failure.class), Err(class), "{name}");
    }
    let found = outcome("tool-1").expect("an installation");
    assert_eq!((&found.path, found.version.semver.to_string().as_str()), (&tool, "1.2.3"));
    assert_eq!(found.source, "here");
    assert_eq!(found.aliases, [tool.clone(), scene.path.join("bin/tool-alias")]);
    assert_eq!(found.attributes, [("format".to_owned(), "script /bin/sh".to_owned())]);
    assert_eq!(answer.value.len(), 7);
    assert_eq!(answer.tools.get(&tool), Some(&Identity::of(&tool).expect("there")));
    assert_eq!((answer.report.tools_run, answer.report.messages), (4, 2));
    assert!(answer.report.memory_peak > 0);
    assert!(answer.scanned.iter().all(Scanned::is_unchanged));
}

#[tokio::test]
async fn whatever_would_change_the_answer_is_scanned() {
    let scene = Scene::new();
    let tool = scene.tool("tool-1", &versioned(&scene, "1.2.3"));
    let elsewhere = scene.path.join("elsewhere");
    fs::write(&elsewhere, "#!/bin/sh\n").expect("a script");
    symlink(&elsewhere, scene.at("bin/tool-link")).expect("a link");
    let plugin = runtime(&scene.plugins(), "obliging").await;
    scene.tool("tool-3", &format!("#!{}\n", scene.at("interpreter")));
    let changes: [&dyn Fn(); 4] = [
        &|| drop(scene.tool("tool-2", "#!/bin/sh\n")),
        &|| fs::write(&tool, versioned(&scene, "1.2.4")).expect("upgraded in place"),
        &|| fs::write(&elsewhere, "#!/bin/sh\nexit 1\n").expect("what a link leads to"),
        &|| {
            fs::copy("/bin/sh", scene.at("interpreter")).expect("what a script asks for");
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        settle();
        let answer = plugin.detect(detection_request()).await.expect("it detects");
        assert!(answer.scanned.iter().all(Scanned::is_unchanged), "before change {number}");
        change();
        assert!(!answer.scanned.iter().all(Scanned::is_unchanged), "after change {number}");
    }
}

#[tokio::test]
async fn what_is_remembered_is_not_run_again() {
    let scene = Scene::new();
    let tool = scene.tool("tool-1", &versioned(&scene, "1.2.3"));
    let memo = Arc::new(Memo::default());
    let plugin = runtime(&scene.plugins(), "obliging").await.with_memo(Arc::clone(&memo));
    let first = plugin.detect(detection_request()).await.expect("it detects");
    assert_eq!((first.report.tools_run, runs(&scene)), (1, 1));

    let stored = serde_json::to_string(&memo.take_new()).expect("JSON");
    let entries: Vec<MemoEntry> = serde_json::from_str(&stored).expect("entries");
    assert_eq!(entries.len(), 1);
    let restarted = plugin.with_memo(Arc::new(Memo::from_entries(entries, chrono::Utc::now())));
    let second = restarted.detect(detection_request()).await.expect("it detects");
    assert_eq!((second.report.tools_run, second.report.tools_remembered, runs(&scene)), (0, 1, 1));
    assert_eq!(second.value, first.value);

    // An upgrade in place that keeps size and time of change still has another inode time.
    fs::write(&tool, versioned(&scene, "1.2.4")).expect("upgraded");
    let third = restarted.detect(detection_request()).await.expect("it detects");
    assert_eq!((third.report.tools_run, runs(&scene)), (1, 2));
    assert_ne!(third.value, first.value);
}

fn verification(scene: &Scene) -> VerificationRequest {
    let path = scene.path.join("bin/tool-1");
    VerificationRequest {
        identity: Identity::of(&path).expect("there"),
        installation: installation(&path),
        commands: vec![command()],
        settings: Vec::new(),
    }
}

#[tokio::test]
async fn verification_proves_what_is_there() {
    let scene = Scene::new();
    scene.tool("tool-1", &versioned(&scene, "1.2.3"));
    let plugin = runtime(&scene.plugins(), "obliging").await;
    let verdict = plugin.verify(verification(&scene)).await.expect("it verifies").value;
    assert_eq!(verdict.failure(), None);
    assert_eq!(verdict.checks[0].outcome, CheckOutcome::Passed);
    assert_eq!(verdict.checks[1].outcome, CheckOutcome::Skipped { reason: "there are none".to_owned() });
    assert_eq!(verdict.attributes, [("proved".to_owned(), "yes".to_owned())]);

    scene.tool("tool-1", &versioned(&scene, "3.2.1"));
    let verdict = plugin.verify(verification(&scene)).await.expect("it verifies").value;
    assert_eq!(verdict.failure().map(|failure| failure.class.clone()), Some(FailureClass::VersionMismatch));
    assert_eq!(verdict.version.semver.to_string(), "3.2.1");

    let mut optional = verification(&scene);
    scene.tool("tool-1", "#!/bin/sh\nexit 1\n");
    let error = plugin.verify(optional.clone()).await.expect_err("replaced since");
    assert!(matches!(*error.cause, Cause::Installation { .. }), "{error}");
    optional.identity = Identity::of(&optional.installation.path).expect("there");
    optional.commands[0].optional = true;
    let verdict = plugin.verify(optional).await.expect("it verifies").value;
    assert!(matches!(verdict.checks[0].outcome, CheckOutcome::Warned { .. }));
}

fn config() -> ExecutionConfig {
    ExecutionConfig {
        interpreter: Interpreter { binary: None, args: vec!["-u".to_owned()] },
        ..ExecutionConfig::default()
    }
}

#[tokio::test]
async fn plans_are_data_about_known_tools() {
    let scene = Scene::new();
    let tool = scene.tool("tool-1", &versioned(&scene, "1.2.3"));
    let plugin = runtime(&scene.plugins(), "obliging").await;
    let request = PlanRequest {
        installation: installation("/opt/lang/bin/lang".as_ref()),
        config: config(),
        settings: Vec::new(),
        manifests: vec![Manifest { name: "needs.txt".to_owned(), contents: b"x".to_vec() }],
    };
    let answer = plugin.plan(request.clone()).await.expect("it plans");
    assert_eq!(answer.value.steps.len(), 5);
    match &answer.value.steps[3].action {
        StepAction::Run(run) => {
            assert_eq!(run.program, PlannedProgram::Tool(tool.clone()));
            assert_eq!(run.arguments, ["${environment}", "needs.txt"]);
            assert_eq!(run.timeout, Some(std::time::Duration::from_secs(1)));
        }
        other => panic!("{other:?}"),
    }
    assert!(answer.tools.contains_key(&tool));
    assert_eq!(plugin.plan(request.clone()).await.expect("again").value, answer.value, "the same plan");
    fs::remove_file(tool).expect("removed");
    let error = plugin.plan(request).await.expect_err("no installer");
    match *error.cause {
        Cause::Refused { failure } => assert_eq!(failure.class, FailureClass::NotFound),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn environments_are_checked_by_their_files() {
    let scene = Scene::new();
    let environment = scene.path.join("environment");
    fs::create_dir_all(environment.join("bin")).expect("a folder");
    fs::write(environment.join("settings"), "1.2.3").expect("a file");
    symlink("/opt/lang/bin/lang", environment.join("bin/lang")).expect("a link");
    let plugin = runtime(&scene.plugins(), "obliging").await;
    let request = |environment: PathBuf| CheckRequest {
        environment,
        installation: installation("/opt/lang/bin/lang".as_ref()),
        config: config(),
        settings: Vec::new(),
        thorough: false,
    };
    let health = async |path: PathBuf| plugin.check(request(path)).await.expect("it checks").value;
    assert_eq!(health(environment.clone()).await, Health::Healthy);
    fs::write(environment.join("settings"), "1.1.0").expect("a file");
    match health(environment).await {
        Health::Unhealthy { reason } => assert_eq!(reason.class, FailureClass::VersionMismatch),
        Health::Healthy => panic!("built for another version"),
    }
    match health(scene.path.join("missing")).await {
        Health::Unhealthy { reason } => assert_eq!(reason.class, FailureClass::Denied),
        Health::Healthy => panic!("nothing there"),
    }
}

#[tokio::test]
async fn launches_name_the_program_and_its_variables() {
    let scene = Scene::new();
    let plugin = runtime(&scene.plugins(), "obliging").await;
    let request = LaunchRequest {
        installation: installation("/opt/lang/bin/lang".as_ref()),
        config: config(),
        settings: Vec::new(),
        environment: Some(scene.path.join("environment")),
        entry_point: "/pack/main".into(),
        arguments: vec!["x".to_owned()],
    };
    let command = plugin.launch(request).await.expect("it launches").value;
    assert_eq!(command.program, PlannedProgram::Environment("bin/lang".to_owned()));
    assert_eq!(command.arguments, ["-u", "/pack/main", "x"]);
    let path = VariableChange::Prepend("${environment}/bin".to_owned());
    assert_eq!(
        command.variables,
        [("PATH".to_owned(), path), ("LANG_HOME".to_owned(), VariableChange::Unset)]
    );
}

#[tokio::test]
async fn aliases_follow_from_the_declared_versions() {
    let scene = Scene::new();
    let plugin = runtime(&scene.plugins(), "obliging").await;
    let declared = DeclaredVersion {
        version: "1.2".to_owned(),
        is_default: true,
        execution_config: ExecutionConfig::default(),
        distributions: Distributions::default(),
        meta: [("eol".to_owned(), "2030".to_owned())].into(),
    };
    let aliases = plugin.aliases(&[declared]).await.expect("it answers").value;
    assert_eq!(aliases, [Alias { name: "default".to_owned(), constraint: "1.2".to_owned() }]);
}

/// The futures can be moved between a server's threads.
#[test]
fn calls_can_be_spawned() {
    fn assert_send<T: Send>(_: T) {}
    fn check(plugin: &attune::plugin::RuntimePlugin, request: VerificationRequest) {
        assert_send(plugin.detect(detection_request()));
        assert_send(plugin.verify(request));
    }
    let _ = check;
}
