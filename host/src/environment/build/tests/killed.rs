//! Builders that are killed with SIGKILL in the middle of a step.

use super::*;

/// Tells the test binary, started anew, in which folder to build until it is killed.
const KILLED_IN: &str = "ATTUNE_TEST_BUILD_UNTIL_KILLED_IN";

/// What [`killed_builder`] starts in a process of its own, to be killed; left alone, it builds.
#[tokio::test]
async fn build_until_killed() {
    if let Some(root) = std::env::var_os(KILLED_IN) {
        let built = slow(root.into()).build().await;
        panic!("it was not killed: {built:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = slow(folder.path().to_owned());
    fs::create_dir_all(fixture.cache()).expect("made");
    fs::write(fixture.cache().join("go"), "").expect("written");
    assert!(fixture.build().await.expect("built").fresh);
}

fn slow(root: PathBuf) -> Fixture {
    Fixture::within(
        root,
        [
            file("half", "half"),
            run(
                "echo $$ > '${cache}/pid'; test -e '${cache}/go' || { sleep 1000; touch '${environment}/late'; }",
            ),
        ],
    )
}

/// A builder that is killed with SIGKILL in the middle of a step, whose process lives on.
async fn killed_builder() -> (tempfile::TempDir, Fixture, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = slow(folder.path().to_owned());
    let mut builder = std::process::Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", "environment::build::tests::killed::build_until_killed"])
        .env(KILLED_IN, folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("started");
    let pid = fixture.cache().join("pid");
    let lock = fixture.layout.lock(fixture.key().as_str());
    eventually("the step runs and is noted", || {
        let noted = Note::read(&lock).and_then(|note| note.process).map(|process| process.pid.to_string());
        noted.is_some() && fs::read_to_string(&pid).ok().map(|pid| pid.trim().to_owned()) == noted
    })
    .await;
    builder.kill().expect("killed");
    builder.wait().expect("reaped");
    let pid = fs::read_to_string(&pid).expect("read").trim().to_owned();
    assert!(is_alive(&pid), "a step outlives its builder");
    assert_eq!(fixture.inspect(), State::Unfinished);
    (folder, fixture, pid)
}

#[tokio::test]
async fn a_killed_build_is_rubbish() {
    let (_folder, fixture, pid) = killed_builder().await;
    let aside = fixture.root.join("envs/examples/.aside-1");
    fs::create_dir_all(aside.parent().expect("it has one")).expect("made");
    symlink("../.built/x", &aside).expect("linked");
    fs::create_dir_all(fixture.layout.broken_folder().join("half removed")).expect("made");

    let removed = remove_rubbish(&fixture.layout).expect("removed");
    assert!(removed.contains(&fixture.layout.built(&fixture.key())), "{removed:?}");
    assert!(removed.contains(&aside), "{removed:?}");
    eventually("the step is killed", || !is_alive(&pid)).await;
    fixture.assert_clean();
    assert_eq!(fs::read_dir(fixture.layout.locks_folder()).expect("listed").count(), 0);
    assert_eq!(remove_rubbish(&fixture.layout).expect("nothing left"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_killed_build_is_built_again() {
    let (_folder, fixture, pid) = killed_builder().await;
    fs::write(fixture.cache().join("go"), "").expect("written");
    let built = fixture.build().await.expect("built");
    assert!(built.fresh && !is_alive(&pid), "the step of the killed builder no longer writes there");
}
