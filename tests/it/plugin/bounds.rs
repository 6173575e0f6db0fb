//! The hostile guest: whatever it does ends in a typed error that names it, or in an answer that says no. After
//! each, another component still works.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attune::installation::{FailureClass, Identity};
use attune::pack::ExecutionConfig;
use attune::plugin::{
    Cause, DetectionRequest, Function, LaunchRequest, Limits, Part, PlanRequest, Plugins, RuntimePlugin,
    RuntimeScope, Scanned, VerificationRequest,
};

use super::{Scene, grants, installation, instruction, load, provoke, provoked, runtime, scope};

async fn assert_others_work(plugins: &Plugins) {
    let plugin = runtime(plugins, "detector").await;
    assert_eq!(plugin.detect(DetectionRequest::default()).await.expect("it works").value, []);
}

fn short() -> Limits {
    let limit = Duration::from_millis(400);
    Limits { deadline: limit, detection_deadline: limit, failures: 100, ..Limits::default() }
}

async fn hostile(scene: &Scene, limits: Limits) -> (Plugins, RuntimePlugin) {
    let plugins = Plugins::new(scene.settings(limits));
    let plugin = runtime(&plugins, "hostile").await;
    (plugins, plugin)
}

#[tokio::test]
async fn an_endless_loop_is_ended() {
    let scene = Scene::new();
    let (plugins, plugin) = hostile(&scene, short()).await;
    let started = Instant::now();
    let error = provoke(&plugin, "loop", "").await.expect_err("it never ends");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    match &*error.cause {
        Cause::DeadlineExceeded { part, guest, .. } => {
            assert_eq!(*part, Part::Guest);
            assert!(*guest >= Duration::from_millis(300), "{guest:?}");
        }
        other => panic!("{other}"),
    }
    assert_eq!((error.pack.as_str(), error.component.as_str()), ("tests", "hostile"));
    assert_eq!(error.function, Function::Detect);
    assert_others_work(&plugins).await;
}

#[tokio::test]
async fn a_loop_holds_up_nobody_else() {
    let scene = Scene::new();
    let (plugins, plugin) = hostile(&scene, short()).await;
    let other = runtime(&plugins, "detector").await;
    let is_over = Cell::new(false);
    let looping = async {
        let looped = provoke(&plugin, "loop", "").await;
        is_over.set(true);
        looped
    };
    // On the one thread of this test, which the loop has to give up again and again.
    let working = async {
        for _ in 0..3 {
            other.detect(DetectionRequest::default()).await.expect("it works meanwhile");
            tokio::task::yield_now().await;
        }
        is_over.get()
    };
    let (looped, was_over) = tokio::join!(looping, working);
    assert!(looped.is_err());
    assert!(!was_over, "nobody waited for the end of the loop");
}

#[tokio::test]
async fn programs_that_take_all_the_time_are_named_and_ended() {
    let scene = Scene::new();
    symlink("/bin/sh", scene.at("bin/sh")).expect("a link");
    let (plugins, plugin) = hostile(&scene, short()).await;
    match provoked(&plugin, "run-on-and-on", "").await {
        Cause::DeadlineExceeded { part, child, .. } => {
            assert_eq!(part, Part::Child);
            assert!(child >= Duration::from_millis(200), "{child:?}");
        }
        other => panic!("{other}"),
    }
    assert_others_work(&plugins).await;
}

#[tokio::test]
async fn memory_is_limited() {
    let scene = Scene::new();
    let (plugins, plugin) = hostile(&scene, Limits::default()).await;
    match provoked(&plugin, "allocate", "").await {
        Cause::OutOfMemory { wanted, limit } => assert!(wanted > limit && limit == 64 << 20),
        other => panic!("{other}"),
    }
    assert_others_work(&plugins).await;
}

#[tokio::test]
async fn crashes_say_what_the_component_said() {
    let scene = Scene::new();
    let (plugins, plugin) = hostile(&scene, Limits { failures: 100, ..Limits::default() }).await;
    for (what, expected_reason, expected_message) in [
        ("panic", "unreachable", "the guest gives up"),
        ("print", "unreachable", "after much talk"),
        ("recurse", "call stack exhausted", ""),
        ("exit", "it exited with code", ""),
        ("hoard", "resource table", ""),
    ] {
        symlink("/bin/sh", scene.at("bin/sh")).ok();
        match provoked(&plugin, what, "").await {
            Cause::Trap { reason, message } => {
                assert!(reason.contains(expected_reason), "{what}: {reason}");
                assert!(message.unwrap_or_default().contains(expected_message), "{what}");
            }
            other => panic!("{what}: {other}"),
        }
    }
    assert_others_work(&plugins).await;
}

#[tokio::test]
async fn repeated_crashes_open_the_circuit() {
    let scene = Scene::new();
    let limits = Limits { failures: 3, cool_down: Duration::from_millis(200), ..Limits::default() };
    let (plugins, plugin) = hostile(&scene, limits).await;
    for _ in 0..3 {
        assert!(matches!(provoked(&plugin, "panic", "").await, Cause::Trap { .. }));
    }
    match provoked(&plugin, "idle", "").await {
        cause @ Cause::CircuitOpen { failures: 3, .. } => {
            assert!(cause.to_string().contains("the guest gives up"), "{cause}");
        }
        other => panic!("{other}"),
    }
    assert_others_work(&plugins).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while provoke(&plugin, "idle", "").await.is_err() {
        assert!(Instant::now() < deadline, "it never closes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(provoked(&plugin, "panic", "").await, Cause::Trap { .. }));
    provoke(&plugin, "idle", "").await.expect("a success had reset the count");
}

#[tokio::test]
async fn crashes_for_a_runtime_leave_the_others_of_the_component_alone() {
    let scene = Scene::new();
    let limits = Limits { failures: 2, cool_down: Duration::from_hours(1), ..Limits::default() };
    let (plugins, plugin) = hostile(&scene, limits).await;
    let other = RuntimeScope { runtime: "tests.other".parse().expect("a reference"), ..scope(grants()) };
    let other = plugins.runtime(&load(&plugins, "hostile").await, other).expect("valid grants");
    for _ in 0..2 {
        assert!(matches!(provoked(&plugin, "panic", "").await, Cause::Trap { .. }));
    }
    assert!(matches!(provoked(&plugin, "idle", "").await, Cause::CircuitOpen { .. }));
    provoke(&other, "idle", "").await.expect("it is the same component for another runtime");
    // That is no success of the first, and one failure of the other is not its second.
    assert!(matches!(provoked(&plugin, "idle", "").await, Cause::CircuitOpen { .. }));
    assert!(matches!(provoked(&other, "panic", "").await, Cause::Trap { .. }));
    provoke(&other, "idle", "").await.expect("it failed only once");
}

#[tokio::test]
async fn refusing_is_an_answer() {
    let scene = Scene::new();
    let (_plugins, plugin) = hostile(&scene, Limits::default()).await;
    for _ in 0..5 {
        match provoked(&plugin, "refuse", "").await {
            Cause::Refused { failure } => assert_eq!(failure.message, "it would rather not"),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn answers_that_can_not_be() {
    let scene = Scene::new();
    let (plugins, plugin) = hostile(&scene, Limits::default()).await;
    let place = |cause| match cause {
        Cause::InvalidAnswer { place, .. } => place,
        other => panic!("{other}"),
    };
    for (what, expected) in [
        ("relative-path", "candidates[0].installation.path"),
        ("bad-version", "candidates[0].installation.version.semver"),
        ("twice", "candidates[1]"),
    ] {
        assert_eq!(place(provoked(&plugin, what, "").await), expected);
    }
    assert_eq!(place(*plugin.aliases(&[]).await.expect_err("empty").cause), "aliases[0].name");
    for (what, with, expected) in [
        ("make-dir", "../x", "steps[0].path"),
        ("write-file", "/etc/cron.d/x", "steps[0].path"),
        ("link", "/etc/shadow", "steps[0].target"),
        ("run", "/bin/sh", "steps[0].program"),
        ("many-steps", "bin", "steps"),
    ] {
        let request = PlanRequest {
            installation: installation("/opt/lang/bin/lang".as_ref()),
            config: ExecutionConfig::default(),
            settings: instruction(what, with),
            manifests: Vec::new(),
        };
        assert_eq!(place(*plugin.plan(request).await.expect_err(what).cause), expected, "{what} {with}");
    }
    let shell = std::path::Path::new("/bin/sh").canonicalize().expect("a shell");
    let verification = VerificationRequest {
        installation: installation(&shell),
        identity: Identity::of(&shell).expect("there"),
        commands: Vec::new(),
        settings: instruction("unknown-outcome", ""),
    };
    assert_eq!(place(*plugin.verify(verification).await.expect_err("unknown").cause), "checks[0].outcome");
    let launch = LaunchRequest {
        installation: installation("/opt/lang/bin/lang".as_ref()),
        config: ExecutionConfig::default(),
        settings: instruction("", "/bin/sh"),
        environment: None,
        entry_point: "/pack/main".into(),
        arguments: Vec::new(),
    };
    assert_eq!(place(*plugin.launch(launch).await.expect_err("no handle").cause), "command.program");
    assert_others_work(&plugins).await;
}

#[tokio::test]
async fn wasi_gives_nothing_away() {
    let scene = Scene::new();
    let (_plugins, plugin) = hostile(&scene, Limits::default()).await;
    let seen = provoke(&plugin, "look-around", "").await.expect("it looks");
    assert_eq!(seen, "(0, 0, false, false, false, false, false, 0)");
}

#[tokio::test]
async fn only_granted_variables_are_seen() {
    let scene = Scene::new();
    let (_plugins, plugin) = hostile(&scene, Limits::default()).await;
    let seen = provoke(&plugin, "variables", "").await.expect("it looks");
    assert_eq!(seen, r#"[("TOOL_HOME", "/opt/tool")]"#);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_reported() {
    let scene = Scene::new();
    fs::create_dir(scene.at("readable")).expect("a folder");
    fs::create_dir(scene.at("readable/folder")).expect("a folder");
    fs::write(scene.at("readable/file"), "text").expect("a file");
    fs::write(scene.at("secret"), "secret").expect("a file");
    symlink("../secret", scene.at("readable/escape")).expect("a link");
    symlink("/bin/sh", scene.at("bin/sh")).expect("a link");
    symlink("/bin/sh", scene.at("bin/other")).expect("a link");
    let (_plugins, plugin) = hostile(&scene, Limits::default()).await;
    for (what, with, is_denied) in [
        ("read", "readable/file", false),
        ("list", "readable", false),
        ("stat", "bin/other", true),
        ("read", "secret", true),
        ("read", "readable/escape", true),
        ("read", "readable/../secret", true),
        ("stat", "readable/escape", true),
        ("canonicalize", "readable/escape", true),
        ("read-link", "readable/escape", false),
        ("list", "", true),
        ("read", "missing", true),
        ("open", "bin/sh", false),
        ("open", "bin/other", true),
        ("open", "bin/../bin/sh", false),
        ("open", "../../../bin/sh", true),
    ] {
        let request =
            DetectionRequest { settings: instruction(what, &scene.at(with)), ..DetectionRequest::default() };
        let answer = plugin.detect(request).await.expect(what);
        let message = &answer.value[0].outcome.as_ref().expect_err("a report").message;
        assert_eq!(message.contains("Denied"), is_denied, "{what} {with}: {message}");
        assert_eq!(answer.report.denials.len(), usize::from(is_denied), "{what} {with}");
    }
    for (what, with) in [
        ("open", "/bin/sh"),
        ("open", "bin/sh"),
        ("read", "/etc/passwd"),
        ("read", "/proc/self/environ"),
        ("match", ".*"),
        ("set-variable", "PATH"),
        ("set-variable", "LD_PRELOAD"),
        ("set-variable", "SECRET"),
    ] {
        let message = provoke(&plugin, what, with).await.expect(what);
        assert!(message.contains("Denied"), "{what} {with}: {message}");
    }
    let message = provoke(&plugin, "set-variable", "TOOL_HOME").await.expect("granted");
    assert!(message.contains("Exited(0)"), "{message}");
    assert_eq!(provoke(&plugin, "find", "*").await.expect("it looks"), format!("[{:?}]", scene.at("bin/sh")));
    assert_eq!(provoke(&plugin, "find", "../*").await.expect("it looks"), "[]");
}

#[tokio::test]
async fn what_was_refused_or_missing_is_scanned() {
    for (what, with) in
        [("open", "bin/tool-new"), ("open", "deep/tool-new"), ("read", "secret"), ("stat", "readable/new")]
    {
        let scene = Scene::new();
        fs::create_dir(scene.at("readable")).expect("a folder");
        fs::create_dir(scene.at("deep")).expect("a folder");
        let (_plugins, plugin) = hostile(&scene, Limits::default()).await;
        std::thread::sleep(Duration::from_millis(40));
        let request =
            DetectionRequest { settings: instruction(what, &scene.at(with)), ..DetectionRequest::default() };
        let scanned = plugin.detect(request).await.expect(what).scanned;
        // Of the place itself, whatever the folder around it says.
        let of_place = || scanned.iter().filter(|scanned| scanned.path == scene.path.join(with));
        assert!(of_place().count() > 0 && of_place().all(Scanned::is_unchanged), "{what} {with}");
        fs::write(scene.at(with), "").expect("a file");
        assert!(!of_place().all(Scanned::is_unchanged), "{what} {with}");
    }
}

#[tokio::test]
async fn floods_are_cut() {
    let scene = Scene::new();
    symlink("/bin/sh", scene.at("bin/sh")).expect("a link");
    let (_plugins, plugin) = hostile(&scene, Limits::default()).await;
    let request = DetectionRequest { settings: instruction("talk", ""), ..DetectionRequest::default() };
    let answer = plugin.detect(request).await.expect("it talks");
    assert_eq!(answer.report.messages, 100_000);
    let flood = "head -c 3000000 /dev/zero";
    let message = provoke(&plugin, "run", flood).await.expect("it runs");
    assert!(message.starts_with("(ExitStatus::Exited(0), 1048576, true"), "{message}");
}

#[tokio::test]
async fn programs_are_bounded() {
    let scene = Scene::new();
    symlink("/bin/sh", scene.at("bin/sh")).expect("a link");
    let (_plugins, plugin) = hostile(&scene, Limits::default()).await;
    let message = provoke(&plugin, "run-briefly", "sleep 600").await.expect("it runs");
    assert!(message.contains("Timeout"), "{message}");
    let message = provoke(&plugin, "zero-byte", "").await.expect("it runs");
    assert!(message.contains("Denied") || message.contains("InvalidDeclaration"), "{message}");
    let marker = scene.at("pid");
    let script = format!("sleep 600 & echo $! > {marker}; exit 0");
    let message = provoke(&plugin, "run", &script).await.expect("it runs");
    assert!(message.contains("Exited(0)"), "{message}");
    let pid = fs::read_to_string(marker).expect("a process id");
    let stat = format!("/proc/{}/stat", pid.trim());
    let deadline = Instant::now() + Duration::from_secs(5);
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "{} outlived its call", pid.trim());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let message = provoke(&plugin, "run", "env").await.expect("it runs");
    for name in ["HOME=", "LANG=", "PATH=", "TMPDIR="] {
        assert!(message.contains(name), "{message}");
    }
    assert!(!message.contains("CARGO"), "{message}");
}

#[tokio::test]
async fn a_program_that_was_replaced_is_not_run() {
    let scene = Scene::new();
    let tool = scene.tool("tool-1", "#!/bin/sh\n");
    let plugins = scene.plugins();
    let plugin = Arc::new(runtime(&plugins, "obliging").await);
    let request = VerificationRequest {
        installation: installation(&tool),
        identity: Identity::of(&tool).expect("there"),
        commands: vec![super::command()],
        settings: Vec::new(),
    };
    fs::remove_file(&tool).expect("removed");
    let error = plugin.verify(request).await.expect_err("gone");
    match *error.cause {
        Cause::Installation { failure } => assert_eq!(failure.class, FailureClass::NotFound),
        other => panic!("{other}"),
    }
}
