//! A PostgreSQL server of the tests' own: started once, in a folder that goes away, ended with the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server to use instead; its user must be allowed to create databases.
const URL: &str = "ATTUNE_TEST_POSTGRES_URL";
/// Where Debian keeps each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The server refuses to run as root: Debian's package makes this user.
const USER: &str = "postgres";
/// Runs a program until this shell is asked to end, and takes its folder away.
const UNTIL_ASKED: &str = r#"folder=$1; shift; "$@" & server=$!; trap 'kill -INT $server' INT; wait $server; wait $server; rm -rf "$folder""#;
const START_MAX: Duration = Duration::from_mins(1);

/// Whether there is a server to use, or one can be started.
pub(crate) fn is_there() -> bool {
    std::env::var_os(URL).is_some() || programs().is_some()
}

/// The URL of an empty database.
pub(crate) fn database() -> String {
    create(server(), "template0")
}

/// The URL of a copy of the database at `url`, which nobody is connected to.
pub(crate) fn copy(url: &str) -> String {
    let name = url.split('?').next().and_then(|url| url.rsplit('/').next()).expect("a name");
    create(server(), name)
}

fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| std::env::var(URL).unwrap_or_else(|_| start()))
}

fn create(server: &str, template: &str) -> String {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let name = format!("attune_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let sql = format!("create database {name} template {template}");
    run(Command::new("psql").args([server, "--quiet", "--command", &sql]));
    let (before, parameters) = server.split_once('?').unwrap_or((server, ""));
    let host = before.rsplit_once('/').map_or(before, |(host, _)| host);
    format!("{host}/{name}?{parameters}")
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let mut versions =
        fs::read_dir(VERSIONS).ok()?.flatten().map(|entry| entry.path().join("bin")).collect::<Vec<_>>();
    versions.retain(|folder| folder.join("initdb").is_file());
    versions.sort();
    versions.pop()
}

fn start() -> String {
    let programs = programs().unwrap_or_else(|| {
        panic!("there is no PostgreSQL here: install Debian's `postgresql`, or set {URL}")
    });
    // Not in a folder that is dropped: statics never are. The server's end removes it.
    let folder = tempfile::Builder::new().prefix("attune-pg-").tempdir_in("/tmp").expect("a folder").keep();
    let is_root =
        fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).expect("a user") == 0;
    if is_root {
        run(Command::new("chown").arg(USER).arg(&folder));
    }
    let data = folder.join("data");
    run(command(is_root, &programs.join("initdb"))
        .args([
            "--auth",
            "trust",
            "--username",
            "attune",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "-D",
        ])
        .arg(&data));
    let mut server = command(is_root, Path::new("/bin/sh"));
    server.args(["-c", UNTIL_ASKED, "sh"]).arg(&folder).arg(programs.join("postgres"));
    server.arg("-D").arg(&data).arg("-k").arg(&folder);
    for setting in ["listen_addresses=", "fsync=off", "max_connections=200", "shared_buffers=32MB"] {
        server.args(["-c", setting]);
    }
    let log = fs::File::create(folder.join("log")).expect("a log");
    server.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    keep(server);
    let url = format!("postgres://attune@localhost/postgres?host={}", folder.display());
    wait_for(&url);
    url
}

/// Runs the server for as long as this process lives. The signal is sent when the thread ends that
/// started it, so that is one that never does before.
fn keep(mut server: Command) {
    std::thread::spawn(move || server.spawn().expect("the server starts").wait());
}

/// A program as a user that may run a server, which is ended with this process.
fn command(is_root: bool, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root {
        command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn wait_for(url: &str) {
    let begin = Instant::now();
    loop {
        let ready = Command::new("psql").args([url, "--quiet", "--command", "select 1"]).output();
        if ready.is_ok_and(|output| output.status.success()) {
            return;
        }
        assert!(begin.elapsed() < START_MAX, "the server did not start: {url}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
