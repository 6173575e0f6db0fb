//! Real processes.

use std::fs;
use std::future::Future;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::installation::FailureClass;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arguments = vec!["-c".into(), script.into()];
    command.variables = vec![("PATH".into(), variables::STANDARD_PATH.into())];
    command.timeout = Some(Duration::from_mins(1));
    command.grace = Duration::from_millis(300);
    command
}

async fn run(command: Command) -> Finished {
    start(command).await.expect("started").wait(|_, _| {}, Cancel::never()).await.expect("waited for")
}

/// Whether a process with this number runs; a zombie does not.
fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

/// Asks for an end when `condition` completes.
fn after(condition: impl Future<Output = ()> + Send + 'static) -> Cancel {
    let (canceller, cancel) = Cancel::new();
    tokio::spawn(async move {
        condition.await;
        canceller.ask();
    });
    cancel
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn number_in(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[tokio::test]
async fn reports_how_a_child_ended() {
    for (script, ending) in [
        ("exit 0", Ending::Exited(0)),
        ("exit 3", Ending::Exited(3)),
        ("kill -9 $$", Ending::Signalled(9)),
        ("kill -TERM $$", Ending::Signalled(15)),
    ] {
        let finished = run(shell(script)).await;
        assert_eq!(finished.ending, ending, "{script}");
        assert!(!finished.output_incomplete, "{script}");
        assert!(finished.cpu.is_some(), "{script}");
    }
}

#[tokio::test]
async fn nothing_is_inherited() {
    let mut command = Command::new("/usr/bin/env");
    command.variables = vec![("ONLY".into(), "this".into())];
    assert_eq!(run(command).await.stdout.text(), "ONLY=this\n");

    let folder = tempfile::tempdir().expect("a folder");
    let open = fs::File::create(folder.path().join("private")).expect("created");
    let mut command = shell("pwd; cut -d' ' -f5 /proc/$$/stat; echo $$; ls -l /proc/self/fd");
    command.folder = "/usr".into();
    let output = run(command).await.stdout.text();
    drop(open);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "/usr");
    assert_eq!(lines[1], lines[2], "the child leads its group");
    assert!(output.contains("pipe:") && !output.contains("private"), "{output}");
}

#[tokio::test]
async fn bytes_stay_as_they_are() {
    let mut seen = Vec::new();
    let running = start(shell(r"printf 'a\377\376\000z'; printf '\200' >&2")).await.expect("started");
    let finished = running
        .wait(|stream, bytes| seen.push((stream, bytes.to_vec())), Cancel::never())
        .await
        .expect("waited for");
    assert_eq!(finished.stdout.complete(), Some(&b"a\xff\xfe\0z"[..]));
    assert_eq!(finished.stderr.complete(), Some(&b"\x80"[..]));
    assert_eq!(finished.stdout.text(), "a\u{fffd}\u{fffd}\0z");
    seen.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    assert_eq!(seen, [(Stream::Stdout, b"a\xff\xfe\0z".to_vec()), (Stream::Stderr, b"\x80".to_vec())]);
}

#[tokio::test]
async fn a_hundred_megabytes_are_read_and_a_few_kept() {
    const TOTAL: usize = 100 * 1024 * 1024;
    let mut command = shell("echo begin; head -c 104857600 /dev/zero; echo end; exit 4");
    command.limits = OutputLimits { per_stream: 1024 };
    let seen = AtomicUsize::new(0);
    let count = |_, bytes: &[u8]| {
        seen.fetch_add(bytes.len(), Ordering::Relaxed);
    };
    let finished =
        start(command).await.expect("started").wait(count, Cancel::never()).await.expect("waited for");
    assert_eq!(finished.ending, Ending::Exited(4), "it was not killed for talking");
    assert_eq!(seen.into_inner(), TOTAL + 10);
    assert_eq!(finished.stdout.total(), TOTAL as u64 + 10);
    assert_eq!(finished.stdout.missing(), TOTAL as u64 + 10 - 1024);
    let kept = finished.stdout.bytes();
    assert!(kept.starts_with(b"begin\n") && kept.ends_with(b"end\n"));
}

#[tokio::test]
async fn input_is_fed_while_output_is_read() {
    let input: Vec<u8> = (0..1_000_003_u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut command = Command::new("/bin/cat");
    command.stdin = Stdin::Bytes(input.clone());
    command.timeout = Some(Duration::from_mins(1));
    let finished = run(command).await;
    assert_eq!(finished.ending, Ending::Exited(0));
    assert_eq!(finished.stdout.complete(), Some(&input[..]));
}

#[tokio::test]
async fn a_child_need_not_read_its_input() {
    for script in ["exit 0", "exec <&-; echo closed", "sleep 0.2; echo late"] {
        let mut command = shell(script);
        command.stdin = Stdin::Bytes(vec![b'x'; 1024 * 1024]);
        let finished = run(command).await;
        assert_eq!(finished.ending, Ending::Exited(0), "{script}");
        assert!(!finished.output_incomplete, "{script}");
    }
    let mut command = Command::new("/bin/cat");
    command.stdin = Stdin::Null;
    assert_eq!(run(command).await.stdout.total(), 0, "the null input is empty, not absent");
}

#[tokio::test]
async fn a_timeout_asks_first() {
    let mut command = shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    command.timeout = Some(Duration::from_millis(200));
    command.grace = Duration::from_secs(30);
    let finished = run(command).await;
    let limit = Duration::from_millis(200);
    assert_eq!(finished.ending, Ending::TimedOut { limit, forced: false });
    assert!(finished.stdout.text().ends_with("bye\n"), "output of the grace period is kept");
    assert!(finished.wall >= limit && finished.wall < Duration::from_secs(20), "{:?}", finished.wall);
}

#[tokio::test]
async fn a_timeout_then_kills_what_ignores_it() {
    let mut command = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    command.timeout = Some(Duration::from_millis(200));
    let finished = run(command).await;
    assert!(matches!(finished.ending, Ending::TimedOut { forced: true, .. }), "{:?}", finished.ending);
    assert!(finished.wall >= Duration::from_millis(500), "the grace period was granted");
    assert_eq!(finished.stdout.text(), "ready\n");
}

#[tokio::test]
async fn cancelling_ends_the_whole_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let noted = folder.path().join("grandchild");
    let mut command = shell("sleep 1000 & echo $! > grandchild; wait");
    command.folder = folder.path().to_owned();
    let appears = noted.clone();
    let cancel =
        after(async move { eventually("the grandchild runs", || number_in(&appears).is_some()).await });
    let finished = start(command).await.expect("started").wait(|_, _| {}, cancel).await.expect("waited for");
    assert_eq!(finished.ending, Ending::Cancelled { forced: false });
    let grandchild = number_in(&noted).expect("noted");
    eventually("the grandchild is gone", || !is_alive(grandchild)).await;
}

#[tokio::test]
async fn cancelling_kills_what_ignores_it() {
    let mut command = shell("trap '' TERM; while :; do sleep 0.01; done");
    command.grace = Duration::ZERO;
    let cancel = after(tokio::time::sleep(Duration::from_millis(100)));
    let finished = start(command).await.expect("started").wait(|_, _| {}, cancel).await.expect("waited for");
    // TERM may arrive before the shell has set its trap, and then KILL is not needed.
    assert!(matches!(finished.ending, Ending::Cancelled { .. }), "{:?}", finished.ending);
}

#[tokio::test]
async fn asked_again_it_kills_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let noted = folder.path().join("ready");
    let mut command = shell("trap '' TERM; echo $$ > ready; while :; do sleep 0.01; done");
    command.folder = folder.path().to_owned();
    command.grace = Duration::from_mins(5);
    let (canceller, cancel) = Cancel::new();
    tokio::spawn(async move {
        eventually("it ignores TERM", || number_in(&noted).is_some()).await;
        canceller.urge();
        tokio::time::sleep(Duration::from_millis(100)).await;
        canceller.ask();
        tokio::time::sleep(Duration::from_millis(200)).await;
        canceller.urge();
    });
    let finished = start(command).await.expect("started").wait(|_, _| {}, cancel).await.expect("waited for");
    assert_eq!(finished.ending, Ending::Cancelled { forced: true });
    assert!(finished.wall >= Duration::from_millis(300), "asking is not urging: {:?}", finished.wall);
    assert!(finished.wall < Duration::from_mins(1), "the grace period was cut short: {:?}", finished.wall);
}

#[tokio::test]
async fn a_cancelled_child_does_not_run_on() {
    let finished = start(shell("sleep 1000"))
        .await
        .expect("started")
        .wait(|_, _| {}, after(std::future::ready(())))
        .await
        .expect("waited for");
    assert_eq!(finished.ending, Ending::Cancelled { forced: false });
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_delays_nothing() {
    let started = Instant::now();
    let finished = run(shell("sleep 1000 & echo $!")).await;
    assert_eq!(finished.ending, Ending::Exited(0));
    assert!(finished.output_incomplete);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let grandchild = finished.stdout.text().trim().parse().expect("a number");
    eventually("the grandchild is gone", || !is_alive(grandchild)).await;
}

#[tokio::test]
async fn a_grandchild_that_holds_nothing_is_killed_too() {
    let finished = run(shell("sleep 1000 >/dev/null 2>&1 & echo $!")).await;
    assert!(!finished.output_incomplete);
    let grandchild = finished.stdout.text().trim().parse().expect("a number");
    eventually("the grandchild is gone", || !is_alive(grandchild)).await;
}

#[tokio::test]
async fn dropping_kills_the_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let noted = folder.path().join("grandchild");
    let mut command = shell("sleep 1000 & echo $! > grandchild; wait");
    command.folder = folder.path().to_owned();
    let running = start(command).await.expect("started");
    let leader = running.record().pid;
    eventually("the grandchild runs", || number_in(&noted).is_some()).await;
    drop(running);
    let grandchild = number_in(&noted).expect("noted");
    eventually("both are gone", || !is_alive(leader) && !is_alive(grandchild)).await;
}

#[tokio::test]
async fn sweeping_kills_what_a_predecessor_left() {
    let running = start(shell("sleep 1000 & wait")).await.expect("started");
    let record = running.record().clone();
    let known = serde_json::to_string(&record).expect("a record can be kept");
    let record: ProcessRecord = serde_json::from_str(&known).expect("and read again");
    assert_eq!(sweep(&record).expect("swept"), Swept::Killed);
    let finished = running.wait(|_, _| {}, Cancel::never()).await.expect("waited for");
    assert_eq!(finished.ending, Ending::Signalled(9));
    assert_eq!(sweep(&record).expect("swept"), Swept::Gone);
}

#[tokio::test]
async fn says_why_a_program_cannot_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let script = |name: &str, contents: &[u8], mode: u32| {
        fs::write(path(name), contents).expect("written");
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("permitted");
    };
    script("plain", b"#!/bin/sh\n", 0o644);
    script("orphan", b"#!/no/such/interpreter -x\n", 0o755);
    script("nonsense", b"\x01\x02\x03\x04", 0o755);
    script("empty", b"", 0o755);
    symlink("nowhere", path("broken")).expect("linked");
    symlink("loop", path("loop")).expect("linked");
    fs::create_dir(path("folder")).expect("made");

    for (name, class) in [
        ("absent", FailureClass::NotFound),
        ("plain/below", FailureClass::NotFound),
        ("broken", FailureClass::BrokenSymlink),
        ("loop", FailureClass::SymlinkLoop),
        ("folder", FailureClass::IsDirectory),
        ("plain", FailureClass::NotExecutable),
        ("orphan", FailureClass::BadShebang),
        ("nonsense", FailureClass::ExecFormat),
        ("empty", FailureClass::ExecFormat),
    ] {
        let error = start(Command::new(path(name))).await.expect_err(name);
        assert!(matches!(error, SpawnError::Program { .. }), "{name}: {error}");
        assert_eq!(error.class(), class, "{name}: {error}");
    }

    let error = start(Command::new("sh")).await.expect_err("a relative path");
    assert!(matches!(error, SpawnError::Relative { .. }), "{error}");
    for folder in [path("absent"), path("plain")] {
        let mut command = shell("true");
        command.folder = folder;
        let error = start(command).await.expect_err("no folder");
        assert!(matches!(error, SpawnError::Folder { .. }), "{error}");
    }
    let error = start(shell("a\0b")).await.expect_err("no argument has a NUL byte");
    assert_eq!(error.class(), FailureClass::InvalidDeclaration);
}

#[tokio::test]
async fn a_child_that_somebody_else_reaped_is_lost() {
    let running = start(shell("exit 0")).await.expect("started");
    let pid = rustix::process::Pid::from_raw(running.record().pid).expect("a number");
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).expect("reaped");
    let error = running.wait(|_, _| {}, Cancel::never()).await.expect_err("nothing to wait for");
    assert!(error.to_string().starts_with("lost sight of `/bin/sh`"), "{error}");
}
