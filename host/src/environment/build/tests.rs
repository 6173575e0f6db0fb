//! Real builds, with the machine's shell as the interpreter.

mod escape;
mod killed;

use std::collections::BTreeSet;
use std::fs;
use std::future::ready;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::time::SystemTime;

use chrono::DateTime;

use super::*;
use crate::environment::collect::{self, Entry, Policy, Removal, list, repair};
use crate::environment::key::Ingredients;
use crate::environment::ready::lease;
use crate::environment::rubbish::remove_rubbish;
use crate::environment::scope::Scope;
use crate::environment::{PlannedProgram, RunStep, Step, StepAction};
use crate::installation::FailureClass;
use crate::process::Ending;
use crate::version::Version;

/// A folder for environments, a copy of the shell, and a plan.
struct Fixture {
    _folder: Option<tempfile::TempDir>,
    root: PathBuf,
    layout: Layout,
    installation: Installation,
    identity: Identity,
    tools: Vec<Tool>,
    variables: Vec<(String, String)>,
    plan: Plan,
    network: bool,
}

impl Fixture {
    fn new(steps: impl IntoIterator<Item = StepAction>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_owned();
        Self { _folder: Some(folder), ..Self::within(root, steps) }
    }

    fn within(root: PathBuf, steps: impl IntoIterator<Item = StepAction>) -> Self {
        let interpreter = root.join("interpreter");
        if !interpreter.exists() {
            fs::copy("/bin/sh", &interpreter).expect("copied");
        }
        let title = |number: usize| format!("step {number} of the test");
        let steps = (1..).zip(steps).map(|(number, action)| Step { title: title(number), action }).collect();
        let semver = semver::Version::new(1, 0, 0);
        Self {
            _folder: None,
            layout: Layout::new(root.join("envs")),
            identity: Identity::of(&interpreter).expect("it is there"),
            installation: Installation {
                path: interpreter,
                version: Version { semver, native: "1".to_owned(), variant: None },
                source: "test".to_owned(),
                aliases: Vec::new(),
                attributes: Vec::new(),
            },
            tools: Vec::new(),
            variables: Vec::new(),
            plan: Plan { steps, stage: None, inputs: Vec::new() },
            network: false,
            root,
        }
    }

    fn key(&self) -> Key {
        let Self { plan, installation, identity, variables, .. } = self;
        Key::of(&Ingredients { plan, plugin: "p", installation, identity, manifests: &[], variables })
            .expect("hashed")
    }

    fn link(&self, pack: &str) -> PathBuf {
        let (pack, runtime) = (pack.parse().expect("a name"), "shell".parse().expect("a name"));
        self.layout.link(&pack, &runtime, Some("1"), &Scope::root())
    }

    fn cache(&self) -> PathBuf {
        self.layout.cache(&"core.shell".parse().expect("a reference"))
    }

    async fn build_for(
        &self,
        pack: &str,
        healthy: Result<(), Failure>,
        progress: impl Fn(Progress<'_>) + Send + Sync,
    ) -> Result<Built, BuildError> {
        let (key, link, cache) = (self.key(), self.link(pack), self.cache());
        let request = Request {
            layout: &self.layout,
            key: &key,
            link: &link,
            plan: &self.plan,
            installation: &self.installation,
            identity: &self.identity,
            tools: &self.tools,
            link_roots: &[],
            cache: &cache,
            network: self.network,
            variables: &self.variables,
            step_timeout: Duration::from_mins(1),
            grace: Duration::from_millis(100),
        };
        match lock(&request, &progress).await? {
            Some(lock) => build(&request, &lock, |_| ready(healthy), &progress).await,
            None => published(&request),
        }
    }

    async fn build(&self) -> Result<Built, BuildError> {
        self.build_for("examples", Ok(()), |_| {}).await
    }

    fn inspect(&self) -> State {
        inspect(&self.layout, &self.key(), &self.identity)
    }

    /// That nothing is left which could be taken for an environment, or is in nobody's use.
    fn assert_clean(&self) {
        assert_eq!(self.inspect(), State::Missing);
        assert!(self.link("examples").symlink_metadata().is_err(), "no link was made");
        for folder in
            [self.layout.built_folder(), self.layout.temporary_folder(), self.layout.broken_folder()]
        {
            assert_eq!(fs::read_dir(&folder).expect("listed").count(), 0, "{folder:?}");
        }
    }
}

fn run(script: &str) -> StepAction {
    StepAction::Run(RunStep {
        program: PlannedProgram::Installation,
        arguments: vec!["-c".to_owned(), script.to_owned()],
        variables: Vec::new(),
        folder: String::new(),
        network: false,
        timeout: None,
    })
}

fn run_with(change: impl FnOnce(&mut RunStep)) -> StepAction {
    match run("exit 0") {
        StepAction::Run(mut step) => {
            change(&mut step);
            StepAction::Run(step)
        }
        other => other,
    }
}

fn file(path: &str, contents: &str) -> StepAction {
    StepAction::WriteFile { path: path.to_owned(), contents: contents.as_bytes().to_vec(), executable: true }
}

fn link(path: &str, target: impl Into<String>) -> StepAction {
    StepAction::Link { path: path.to_owned(), target: target.into() }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

fn prune(
    layout: &Layout,
    in_use: &BTreeSet<Key>,
    policy: Policy,
    now: SystemTime,
) -> std::io::Result<Vec<Entry>> {
    let entries = list(layout)?;
    collect::prune(layout, &collect::decide(&entries, in_use, policy, now))
}

#[tokio::test]
async fn the_operators_credentials_are_masked_in_what_steps_print() {
    for (script, works) in [("", true), ("; exit 3", false)] {
        let spelt =
            "echo from $INDEX; printf %s s3cr; sleep 0.1; echo et-to && printf %s u:s3cret-to | base64 >&2";
        let mut fixture = Fixture::new([run(&format!("{spelt}{script}"))]);
        fixture.variables = vec![("INDEX".to_owned(), "https://u:s3cret-to@host/simple".to_owned())];
        let seen = Mutex::new(Vec::new());
        let watch = |progress: Progress<'_>| {
            if let Progress::Output { bytes, .. } = progress {
                seen.lock().expect("unpoisoned").extend_from_slice(bytes);
            }
        };
        let kept = match fixture.build_for("examples", Ok(()), watch).await {
            Ok(built) if works => built.log,
            Err(BuildError::Step { output, .. }) if !works => output,
            other => panic!("{other:?}"),
        };
        let seen = String::from_utf8(seen.into_inner().expect("unpoisoned")).expect("text");
        for text in [kept, seen] {
            assert!(text.contains("from https://***@host/simple\n***\n"), "{text}");
            assert!(!text.contains("s3cret") && !text.contains("czNjcmV0"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_plan_becomes_an_environment() {
    let mut fixture = Fixture::new([
        StepAction::MakeDir { path: "lib/deep".to_owned() },
        file("lib/deep/tool", "#!/bin/sh\necho \"tool in $PWD with $*\"\n"),
        link("bin/tool", "../lib/deep/tool"),
        run("echo one; echo two >&2; echo '${cache}' > lib/places; echo \"$SET $INDEX\" >> lib/places"),
        run_with(|step| {
            step.program = PlannedProgram::Environment("bin/tool".to_owned());
            step.arguments = vec!["${environment}".to_owned(), "${unknown} ${".to_owned()];
            step.folder = "lib".to_owned();
        }),
        StepAction::Verify { path: "bin/tool".to_owned() },
    ]);
    let StepAction::Run(step) = &mut fixture.plan.steps[3].action else { panic!("a run step") };
    step.variables =
        vec![("SET".to_owned(), "${installation}".to_owned()), ("INDEX".to_owned(), "overridden".to_owned())];
    fixture.variables = vec![("INDEX".to_owned(), "${cache}".to_owned())];
    fixture.plan.steps.insert(
        0,
        Step {
            title: "link".to_owned(),
            action: link("bin/shell", fixture.installation.path.to_string_lossy()),
        },
    );

    let seen = Mutex::new(Vec::new());
    let built = fixture
        .build_for("examples", Ok(()), |progress| {
            if let Progress::Step { number, of, title } = progress {
                seen.lock().expect("no panic").push((number, of, title.to_owned()));
            }
        })
        .await
        .expect("built");
    assert!(built.fresh);
    assert_eq!(seen.into_inner().expect("no panic").len(), 7);
    assert_eq!(fixture.inspect(), State::Ready(built.marker.clone()));
    assert_eq!(built.marker.steps.len(), 7);
    assert_eq!(built.marker.plan, plan_digest(&fixture.plan).expect("hashed"));
    assert_eq!(fixture.link("examples").canonicalize().expect("published"), built.path);

    let places = fs::read_to_string(built.path.join("lib/places")).expect("read");
    let (cache, interpreter) = (fixture.cache(), &fixture.installation.path);
    let expected = format!("{}\n{} ${{cache}}\n", cache.display(), interpreter.display());
    assert_eq!(places, expected, "the operator's variables win, and are taken as they are");
    let expected = format!("tool in {0}/lib with {0} ${{unknown}} ${{\n", built.path.display());
    assert!(built.log.contains(&expected), "{}", built.log);
    assert!(built.log.contains("one\n") && built.log.contains("two\n"), "{}", built.log);
    assert!(built.log.contains("== step 5: step 4 of the test\n"), "{}", built.log);
}

#[tokio::test]
async fn a_step_inherits_nothing() {
    let script =
        "env | sed 's/=.*//' | grep -v '^PWD$' | sort | tr '\\n' ' '; echo; echo $PATH; ls -d $HOME $TMPDIR";
    let fixture = Fixture::new([run(script)]);
    let built = fixture.build().await.expect("built");
    let beside = fixture.root.display();
    let bin = built.path.join("bin");
    assert!(built.log.contains("HOME LANG PATH TMPDIR"), "{}", built.log);
    assert!(built.log.contains(&format!("{}:{beside}:/usr/bin:/bin\n", bin.display())), "{}", built.log);
    assert!(built.log.contains(&format!("{}\n", fixture.cache().join("home").display())), "{}", built.log);
    assert!(!fixture.layout.temporary(fixture.key().as_str()).exists(), "it is only for the build");
}

#[tokio::test]
async fn ten_at_once_make_one_build() {
    let fixture = Fixture::new([run("echo x >> '${cache}/count'; sleep 0.3")]);
    let waited = Mutex::new(0);
    let note = |progress: Progress<'_>| {
        if matches!(progress, Progress::Waiting { step: Some((1, 1, _)) }) {
            *waited.lock().expect("no panic") += 1;
        }
    };
    let packs: Vec<String> = (0..10).map(|number| format!("pack-{number}")).collect();
    let builds = packs.iter().map(|pack| fixture.build_for(pack, Ok(()), note));
    let built: Vec<Built> =
        futures_util::future::join_all(builds).await.into_iter().map(|built| built.expect("built")).collect();
    assert_eq!(fs::read_to_string(fixture.cache().join("count")).expect("read"), "x\n");
    assert_eq!(built.iter().filter(|built| built.fresh).count(), 1);
    assert!(packs.iter().all(|pack| fixture.link(pack).canonicalize().expect("a link") == built[0].path));
    assert!(*waited.lock().expect("no panic") >= 9, "each sees what it waits for");
}

#[tokio::test]
async fn a_failing_step_leaves_nothing() {
    let fixture = Fixture::new([
        file("a", "a"),
        run("echo before; echo trouble >&2; exit 7"),
        run("touch '${cache}/never'"),
    ]);
    let error = fixture.build().await.expect_err("step 2 fails");
    assert_eq!(error.to_string(), "step 2 (step 2 of the test): it exited with code 7");
    let BuildError::Step { number: 2, source, output, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, StepError::Ended { ending: Ending::Exited(7) }), "{source}");
    assert!(output.contains("before\n") && output.contains("trouble\n"), "{output}");
    assert!(!fixture.cache().join("never").exists());
    fixture.assert_clean();
}

#[tokio::test]
async fn steps_fail_for_their_reasons() {
    async fn check(what: &str, action: StepAction, expected: fn(&StepError) -> bool) {
        let fixture = Fixture::new([action]);
        let error = fixture.build().await.expect_err(what);
        let BuildError::Step { source, .. } = &error else { panic!("{what}: {error}") };
        assert!(expected(source), "{what}: {error}");
        fixture.assert_clean();
    }
    let mut quick = run("exec sleep 100");
    if let StepAction::Run(step) = &mut quick {
        step.timeout = Some(Duration::from_millis(100));
    }
    check("timeout", quick, |error| matches!(error, StepError::Ended { ending: Ending::TimedOut { .. } }))
        .await;
    check("missing", StepAction::Verify { path: "x".to_owned() }, |error| {
        matches!(error, StepError::Missing { .. })
    })
    .await;
    check("network", run_with(|step| step.network = true), |error| matches!(error, StepError::Network)).await;
    for name in ["PATH", "LD_PRELOAD", "DYLD_X"] {
        let action = run_with(|step| step.variables = vec![(name.to_owned(), "x".to_owned())]);
        check(name, action, |error| matches!(error, StepError::Variable { .. })).await;
    }
    let action = run_with(|step| step.variables = vec![("A=B".to_owned(), "x".to_owned())]);
    check("variable", action, |error| matches!(error, StepError::InvalidVariable(_))).await;
    let action = run_with(|step| step.program = PlannedProgram::Tool("/bin/true".into()));
    check("tool", action, |error| matches!(error, StepError::UnknownTool { .. })).await;
    let action = run_with(|step| step.program = PlannedProgram::Environment("absent".to_owned()));
    check("absent", action, |error| matches!(error, StepError::Path(PathError::Io { .. }))).await;
    let action = run_with(|step| step.arguments.push("a\0b".to_owned()));
    check("spawn", action, |error| matches!(error, StepError::Spawn(_))).await;
}

#[tokio::test]
async fn links_lead_to_what_the_host_knows() {
    let mut fixture = Fixture::new([link("a/b", "../c"), link("tool", "/bin/cat"), link("d", "a/b")]);
    let path = PathBuf::from("/bin/cat").canonicalize().expect("it is there");
    fixture.tools = vec![Tool { identity: Identity::of(&path).expect("it is there"), path }];
    let built = fixture.build().await.expect("built");
    assert!(built.path.join("tool").exists());
}

#[tokio::test]
async fn a_tool_that_changed_is_not_run() {
    let mut fixture = Fixture::new([]);
    let path = fixture.root.join("tool");
    fs::copy("/bin/true", &path).expect("copied");
    fixture.tools = vec![Tool { identity: Identity::of(&path).expect("it is there"), path: path.clone() }];
    let program = PlannedProgram::Tool(path.clone());
    let action = run_with(|step| step.program = program);
    fixture.plan.steps.push(Step { title: "tool".to_owned(), action });
    let key = fixture.key();
    fixture.build().await.expect("built");
    let marker = fixture.build().await.expect("still there").marker;
    assert_eq!(repair(&fixture.layout, &marker).expect("removed"), Removal::Removed);
    fs::copy("/bin/false", &path).expect("replaced");
    assert_eq!(key, fixture.key(), "a tool is no part of the key");
    let error = fixture.build().await.expect_err("changed");
    let BuildError::Step { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, StepError::Changed { .. }), "{source}");
}

#[tokio::test]
async fn an_interpreter_that_is_replaced_makes_another_environment() {
    let mut fixture = Fixture::new([file("a", "a")]);
    let first = fixture.build().await.expect("built");
    let first_key = fixture.key();
    fs::remove_file(&fixture.installation.path).expect("removed");
    let error = Fixture { plan: Plan::default(), ..fixture_like(&fixture) }.build().await.expect_err("gone");
    assert!(matches!(error, BuildError::InterpreterChanged { .. }), "{error}");

    fs::copy("/bin/sh", &fixture.installation.path).expect("replaced");
    let error =
        Fixture { plan: Plan::default(), ..fixture_like(&fixture) }.build().await.expect_err("changed");
    assert!(matches!(error, BuildError::InterpreterChanged { .. }), "{error}");
    let now = Identity::of(&fixture.installation.path).expect("it is there");
    let State::InterpreterChanged { recorded } = inspect(&fixture.layout, &first_key, &now) else {
        panic!("it was built with another")
    };
    assert_eq!(recorded, fixture.identity);

    fixture.identity = now;
    let second = fixture.build().await.expect("built");
    assert!(second.fresh && second.path != first.path);
    assert!(first.path.join("a").exists(), "what may be running in it is left alone");
    assert_eq!(fixture.link("examples").canonicalize().expect("swapped"), second.path);
}

/// The same machine, seen at the same time.
fn fixture_like(fixture: &Fixture) -> Fixture {
    Fixture {
        _folder: None,
        root: fixture.root.clone(),
        layout: fixture.layout.clone(),
        installation: fixture.installation.clone(),
        identity: fixture.identity.clone(),
        tools: fixture.tools.clone(),
        variables: fixture.variables.clone(),
        plan: fixture.plan.clone(),
        network: fixture.network,
    }
}

#[tokio::test]
async fn what_fails_its_check_is_not_published() {
    let fixture = Fixture::new([run("echo made")]);
    let failure = Failure::new(FailureClass::MissingCapability("x".to_owned()), "no x");
    let error = fixture.build_for("examples", Err(failure.clone()), |_| {}).await.expect_err("unhealthy");
    let BuildError::Unhealthy { failure: seen, log } = error else { panic!("{error}") };
    assert_eq!(seen, failure);
    assert!(log.contains("made"), "{log}");
    fixture.assert_clean();
    assert!(fixture.build().await.expect("built").fresh, "it can be tried again");
}

#[tokio::test]
async fn what_cannot_be_hashed_or_written_is_an_error() {
    let fixture = Fixture::new([]);
    fs::write(fixture.layout.root(), "a file in the way").expect("written");
    let error = fixture.build().await.expect_err("no folder");
    assert!(matches!(error, BuildError::Io { .. }), "{error}");

    let fixture = Fixture::new([]);
    fs::create_dir_all(fixture.link("examples").join("precious")).expect("made");
    let error = fixture.build().await.expect_err("no link");
    assert!(matches!(error, BuildError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_build_can_be_built_again() {
    let fixture = Fixture::new([run("echo $$ > '${cache}/pid'; test -e '${cache}/go' || exec sleep 1000")]);
    let pid = fixture.cache().join("pid");
    let started =
        eventually("the step runs", || fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')));
    tokio::select! {
        built = fixture.build() => panic!("{built:?}"),
        () = started => {}
    }
    let pid = fs::read_to_string(&pid).expect("read").trim().to_owned();
    eventually("the step is killed", || !is_alive(&pid)).await;
    assert_eq!(fixture.inspect(), State::Unfinished);
    fs::write(fixture.cache().join("go"), "").expect("written");
    assert!(fixture.build().await.expect("built").fresh);
}

#[tokio::test]
async fn what_is_being_built_is_no_rubbish() {
    let fixture =
        Fixture::new([run("touch '${cache}/started'; while ! test -e '${cache}/go'; do sleep 0.01; done")]);
    let cache = fixture.cache();
    let cleaning = async {
        eventually("the step runs", || cache.join("started").exists()).await;
        assert_eq!(remove_rubbish(&fixture.layout).expect("looked"), Vec::<PathBuf>::new());
        fs::write(cache.join("go"), "").expect("written");
    };
    let (built, ()) = tokio::join!(fixture.build(), cleaning);
    assert!(built.expect("built").fresh);
    assert_eq!(remove_rubbish(&fixture.layout).expect("looked"), Vec::<PathBuf>::new());
    assert!(matches!(fixture.inspect(), State::Ready(_)), "nor is what is ready");
}

#[tokio::test]
async fn environments_are_listed_repaired_and_pruned() {
    let fixture = Fixture::new([run("head -c 100000 /dev/zero > data")]);
    let built = fixture.build().await.expect("built");
    let staged = fixture.layout.staged(&fixture.key(), "digest", &Scope::root());
    fs::create_dir_all(&staged).expect("made");
    fs::write(staged.join("data"), vec![1; 100_000]).expect("written");

    let entries = list(&fixture.layout).expect("listed");
    assert_eq!(entries.len(), 1);
    assert_eq!((&entries[0].key, &entries[0].marker), (&fixture.key(), &built.marker));
    assert_eq!(entries[0].links, [fixture.link("examples")]);
    assert!(entries[0].size > 200_000, "{}", entries[0].size);

    let older = Marker { created_at: DateTime::UNIX_EPOCH, ..built.marker.clone() };
    assert_eq!(repair(&fixture.layout, &older).expect("looked"), Removal::Kept, "it was built since");
    let later = SystemTime::now() + Duration::from_hours(48);
    let policy = Policy { quota: 0, grace: Duration::from_hours(24) };
    let in_use = BTreeSet::from([fixture.key()]);
    assert_eq!(prune(&fixture.layout, &in_use, policy, later).expect("pruned"), []);
    assert_eq!(prune(&fixture.layout, &BTreeSet::new(), policy, SystemTime::now()).expect("pruned"), []);

    let removed = prune(&fixture.layout, &BTreeSet::new(), policy, later).expect("pruned");
    assert_eq!(removed, entries);
    assert!(!staged.exists());
    fixture.assert_clean();
    assert_eq!(repair(&fixture.layout, &built.marker).expect("looked"), Removal::Gone);
    assert!(fixture.build().await.expect("built").fresh);
}

#[tokio::test]
async fn use_puts_off_collection() {
    let fixture = Fixture::new([]);
    fixture.build().await.expect("built");
    let marker = fixture.layout.built(&fixture.key()).join(crate::environment::ready::MARKER);
    let long_ago = SystemTime::now() - Duration::from_hours(1000);
    let open = fs::File::options().append(true).open(&marker).expect("opened");
    open.set_modified(long_ago).expect("set");
    assert_eq!(list(&fixture.layout).expect("listed")[0].last_used, long_ago);
    let lease = lease(&fixture.layout, &fixture.key()).expect("leased");
    assert!(lease.is_some());
    assert!(list(&fixture.layout).expect("listed")[0].last_used > long_ago);
    assert!(matches!(fixture.inspect(), State::Ready(_)));
}

#[tokio::test]
async fn what_is_in_use_is_not_collected() {
    let fixture = Fixture::new([]);
    fixture.build().await.expect("built");
    let all = Policy { quota: 0, grace: Duration::ZERO };
    let prune = || prune(&fixture.layout, &BTreeSet::new(), all, SystemTime::now() + Duration::from_secs(1));
    let first = lease(&fixture.layout, &fixture.key()).expect("leased").expect("free");
    let second = lease(&fixture.layout, &fixture.key()).expect("leased").expect("shared");
    assert_eq!(prune().expect("pruned"), []);
    drop(first);
    assert_eq!(prune().expect("pruned"), []);
    drop(second);
    assert_eq!(prune().expect("pruned").len(), 1);
    assert!(lease(&fixture.layout, &fixture.key()).expect("looked").is_none());
}

#[tokio::test]
async fn a_marker_of_another_key_or_half_of_one_is_none() {
    let fixture = Fixture::new([]);
    let built = fixture.build().await.expect("built");
    let marker = built.path.join(crate::environment::ready::MARKER);
    let text = fs::read_to_string(&marker).expect("read");
    fs::write(&marker, &text[..text.len() / 2]).expect("cut");
    assert_eq!(fixture.inspect(), State::Unfinished);
    fs::write(&marker, text.replace(fixture.key().as_str(), &"0".repeat(64))).expect("changed");
    assert_eq!(fixture.inspect(), State::Unfinished);
}
