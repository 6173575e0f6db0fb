//! Short-lived programs that a component has run: a clean environment, bounded output, one deadline, and
//! nothing left behind.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

use crate::installation::{Failure, FailureClass};
use crate::process::spawn_when_written;

/// How long a pipe may stay open after the program that it belonged to has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// Why a program was not started, when that is no fault of its own: the machine lacks memory or processes, or it is being
/// written.
pub(crate) const NOT_STARTED: &str = "not-started";

/// A program that was started and could not be waited for.
pub(crate) const LOST: &str = "lost";

/// How to run a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) arguments: Vec<String>,
    /// Beside the few that every program gets.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) timeout: Duration,
}

/// What is the same for all programs of a call.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// A folder of its own, empty at first, for `HOME` and `TMPDIR`.
    pub(crate) home: PathBuf,
    /// Bytes kept of each stream.
    pub(crate) output: usize,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) ending: Ending,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) truncated: bool,
}

/// Runs the program at an absolute path to its end, or to its timeout.
pub(crate) async fn run(
    program: &Path,
    invocation: &Invocation,
    surroundings: &Surroundings,
) -> Result<Completion, Failure> {
    let mut child = spawn(program, invocation, surroundings).await?;
    // Declared after `child`, so dropped before it: the group is killed while its leader is not yet reaped.
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let finished =
        tokio::time::timeout(invocation.timeout, complete(&mut child, &mut group, invocation, surroundings));
    match finished.await {
        Ok(completion) => completion,
        Err(_) => Err(Failure::new(
            FailureClass::Timeout,
            format!("{} did not finish within {} ms", program.display(), invocation.timeout.as_millis()),
        )),
    }
}

async fn spawn(
    program: &Path,
    invocation: &Invocation,
    surroundings: &Surroundings,
) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    command
        .args(&invocation.arguments)
        .env_clear()
        .envs(base_variables(&surroundings.home))
        .envs(invocation.variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(if invocation.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    spawn_when_written(&mut command).await.map_err(|error| not_started(program, &error))
}

/// What every program gets: a locale that does not translate, the system's own tools for scripts that
/// call `env`, and a place to write that is thrown away. The host's own values never leak in.
fn base_variables(home: &Path) -> [(&'static str, OsString); 4] {
    [
        ("LANG", "C.UTF-8".into()),
        ("PATH", "/usr/bin:/bin".into()),
        ("HOME", home.as_os_str().to_owned()),
        ("TMPDIR", home.as_os_str().to_owned()),
    ]
}

fn not_started(program: &Path, error: &io::Error) -> Failure {
    let place = program.display();
    if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
        return Failure::new(FailureClass::ExecFormat, format!("{place} is no program for this machine"));
    }
    match error.kind() {
        // The file exists, so it is its interpreter or its loader that does not.
        io::ErrorKind::NotFound if program.exists() => {
            Failure::new(FailureClass::BadShebang, format!("what {place} is to be started by is not there"))
        }
        io::ErrorKind::NotFound => Failure::new(FailureClass::NotFound, format!("nothing is at {place}")),
        io::ErrorKind::PermissionDenied => {
            Failure::new(FailureClass::PermissionDenied, format!("no permission to start {place}"))
        }
        io::ErrorKind::InvalidInput => Failure::new(
            FailureClass::InvalidDeclaration,
            format!("an argument or a variable for {place} contains a zero byte"),
        ),
        _ => Failure::new(
            FailureClass::Other(NOT_STARTED.to_owned()),
            format!("{place} could not be started: {error}"),
        ),
    }
}

async fn complete(
    child: &mut Child,
    group: &mut Group,
    invocation: &Invocation,
    surroundings: &Surroundings,
) -> Result<Completion, Failure> {
    let mut stdout = Capped::new(surroundings.output);
    let mut stderr = Capped::new(surroundings.output);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (status, drained) = {
        // All three at once: a program that fills one pipe while the host waits on another would never end.
        let mut output = std::pin::pin!(async {
            tokio::join!(feed(pipes.0, &invocation.stdin), stdout.fill(pipes.1), stderr.fill(pipes.2))
        });
        let mut closed = false;
        let status = tokio::select! {
            status = child.wait() => status,
            _ = &mut output => { closed = true; child.wait().await }
        };
        group.kill();
        (status, closed || tokio::time::timeout(DRAIN, &mut output).await.is_ok())
    };
    let status = status.map_err(|error| {
        Failure::new(
            FailureClass::Other(LOST.to_owned()),
            format!("the program can't be waited for: {error}"),
        )
    })?;
    let ending = match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
        (Some(code), _) => Ending::Exited(code),
        (None, signal) => Ending::Signalled(signal.unwrap_or_default()),
    };
    let truncated = !drained || stdout.cut || stderr.cut;
    Ok(Completion { ending, stdout: stdout.bytes, stderr: stderr.bytes, truncated })
}

/// A program need not read what it is given.
async fn feed(pipe: Option<ChildStdin>, bytes: &[u8]) {
    if let Some(mut pipe) = pipe {
        let _ = pipe.write_all(bytes).await;
    }
}

/// The first bytes of a stream; the rest is read and dropped, so that the program is not held up.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Capped {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, cut: false }
    }

    async fn fill(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = vec![0; 64 << 10];
        while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
            let room = self.limit - self.bytes.len();
            self.bytes.extend_from_slice(&chunk[..read.min(room)]);
            self.cut |= read > room;
        }
    }
}

/// A process group that does not outlive this value.
struct Group(Option<Pid>);

impl Group {
    /// At most once: when its last member is gone, the number may come to mean another group.
    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // Fails if there is nobody left, which is as good.
            let _ = rustix::process::kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    fn invocation(arguments: &[&str]) -> Invocation {
        Invocation {
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            variables: Vec::new(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(10),
        }
    }

    async fn run_with(program: &str, invocation: &Invocation) -> Result<Completion, Failure> {
        let home = tempfile::tempdir().expect("a folder");
        let surroundings = Surroundings { home: home.path().to_owned(), output: 1 << 20 };
        run(Path::new(program), invocation, &surroundings).await
    }

    async fn shell(script: &str) -> Result<Completion, Failure> {
        run_with("/bin/sh", &invocation(&["-c", script])).await
    }

    #[tokio::test]
    async fn endings_and_streams() {
        let done = shell("echo out; echo err >&2; exit 3").await.expect("it ran");
        assert_eq!(done.ending, Ending::Exited(3));
        assert_eq!((&done.stdout[..], &done.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        assert!(!done.truncated);
        assert_eq!(shell("kill -9 $$").await.expect("it ran").ending, Ending::Signalled(9));
    }

    #[tokio::test]
    async fn the_environment_is_built_from_nothing() {
        let done = run_with("/usr/bin/env", &invocation(&[])).await.expect("it ran");
        let text = String::from_utf8(done.stdout).expect("text");
        let mut names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR"]);
        assert_eq!(shell("pwd").await.expect("it ran").stdout, b"/\n");
    }

    #[tokio::test]
    async fn large_input_and_output_do_not_deadlock() {
        let mut echo = invocation(&[]);
        echo.stdin = vec![b'x'; 3 << 20];
        let done = run_with("/bin/cat", &echo).await.expect("it ran");
        assert_eq!(done.stdout.len(), 1 << 20);
        assert!(done.truncated);
        let mut deaf = invocation(&["-c", "exit 0"]);
        deaf.stdin = vec![b'x'; 3 << 20];
        assert_eq!(run_with("/bin/sh", &deaf).await.expect("it ran").ending, Ending::Exited(0));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let marker = folder.path().join("pid");
        let script = format!("trap '' TERM; sleep 600 & echo $! > {}; wait", marker.display());
        let mut hang = invocation(&["-c", &script]);
        hang.timeout = Duration::from_millis(300);
        let failure = run_with("/bin/sh", &hang).await.expect_err("it hangs");
        assert_eq!(failure.class, FailureClass::Timeout);
        assert_gone(&std::fs::read_to_string(&marker).expect("a process id"));
    }

    #[tokio::test]
    async fn what_outlives_its_parent_is_ended() {
        let started = Instant::now();
        let done = shell("sleep 600 & echo $!").await.expect("it ran");
        assert_eq!(done.ending, Ending::Exited(0));
        assert!(started.elapsed() < Duration::from_secs(5), "waited for the grandchild");
        assert_gone(&String::from_utf8(done.stdout).expect("text"));
    }

    #[tokio::test]
    async fn what_leaves_its_group_does_not_hold_up_the_answer() {
        let script =
            "setsid sh -c 'echo > $HOME/left; exec sleep 3' & until [ -e $HOME/left ]; do sleep 0.01; done";
        let done = shell(script).await.expect("it ran");
        assert!(done.truncated, "the pipe was still open");
    }

    fn assert_gone(pid: &str) {
        let pid = pid.trim();
        let deadline = Instant::now() + Duration::from_secs(5);
        // A zombie is as good as gone: only who its parent is now can reap it.
        while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "process {pid} is still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[tokio::test]
    async fn what_is_being_written_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new");
        std::fs::write(&path, "#!/bin/sh\nexit 3\n").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let writing = std::fs::File::options().append(true).open(&path).expect("it is there");
        let written = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(writing);
        };
        let (none, program) = (invocation(&[]), path.to_string_lossy());
        let (done, ()) = tokio::join!(run_with(&program, &none), written);
        assert_eq!(done.expect("it ran").ending, Ending::Exited(3));
    }

    #[tokio::test]
    async fn what_can_not_be_started() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text, mode, class) in [
            ("text", "hello", 0o755, FailureClass::ExecFormat),
            ("shebang", "#!/no/such\n", 0o755, FailureClass::BadShebang),
            ("mode", "#!/bin/sh\n", 0o644, FailureClass::PermissionDenied),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
            let failure = run_with(&path.to_string_lossy(), &invocation(&[])).await.expect_err(name);
            assert_eq!(failure.class, class, "{failure}");
        }
        let failure = run_with("/no/such", &invocation(&[])).await.expect_err("nothing there");
        assert_eq!(failure.class, FailureClass::NotFound);
        let failure = run_with("/bin/sh", &invocation(&["a\0b"])).await.expect_err("a zero byte");
        assert_eq!(failure.class, FailureClass::InvalidDeclaration);
    }
}
