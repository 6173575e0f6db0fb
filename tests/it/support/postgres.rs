//! A PostgreSQL server of the tests' own: started once, in a folder that goes away, ended with the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::cli::wait_for;

/// A server to use instead; its user must be allowed to create databases.
const URL: &str = "ATTUNE_TEST_POSTGRES_URL";
/// Where Debian keeps each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The server refuses to run as root: Debian's package makes this user.
const USER: &str = "postgres";
/// For many small databases that need not outlive the machine: a short log of little, and no disk waited for.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "fsync=off",
    "max_connections=200",
    "shared_buffers=32MB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=64MB",
];
/// Runs a program until this shell is asked to end, and takes its folder away. A shell can't catch `INT` if whoever
/// started the tests ignores it.
const UNTIL_ASKED: &str = r#"folder=$1; shift; "$@" & server=$!; trap 'kill -INT $server' TERM; wait $server; wait $server; rm -rf "$folder""#;

/// Whether there is a server to use, or one can be started.
pub(crate) fn is_there() -> bool {
    std::env::var_os(URL).is_some() || installed().is_some()
}

/// A database on the server, which is dropped with this, whoever is connected to it.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) name: String,
}

impl Database {
    /// An empty one.
    pub(crate) fn empty() -> Self {
        Self::create("template0")
    }

    /// A copy of this one, which nobody is connected to.
    pub(crate) fn copy(&self) -> Self {
        Self::create(&self.name)
    }

    fn create(template: &str) -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let server = server();
        let name = format!("attune_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        run(&mut psql(server, &format!("create database {name} template {template}")));
        let (before, parameters) = server.split_once('?').unwrap_or((server, ""));
        let host = before.rsplit_once('/').map_or(before, |(host, _)| host);
        Self { url: format!("{host}/{name}?{parameters}"), name }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that fails has said why: this is no reason to fail twice.
        let _ = psql(server(), &format!("drop database {} with (force)", self.name)).output();
    }
}

fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| std::env::var(URL).unwrap_or_else(|_| start()))
}

/// One that runs a statement.
fn psql(url: &str, sql: &str) -> Command {
    let mut command = Command::new("psql");
    command.args([url, "--quiet", "--no-align", "--tuples-only", "--command", sql]);
    command
}

/// The folder of the newest version's programs.
fn programs() -> PathBuf {
    installed()
        .unwrap_or_else(|| panic!("there is no PostgreSQL here: install Debian's `postgresql`, or set {URL}"))
}

/// The same, if there is one.
fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let folders = versions.map(|entry| entry.path().join("bin"));
    folders.filter(|folder| folder.join("initdb").is_file()).max()
}

/// Starts the server that the tests share.
fn start() -> String {
    // Not in a folder that is dropped: statics never are. The server's end removes it.
    let folder = initialised().keep();
    let mut server = command(Path::new("/bin/sh"), "TERM");
    server.args(["-c", UNTIL_ASKED, "sh"]).arg(&folder).arg(programs().join("postgres"));
    serves(&mut server, &folder);
    keep(server);
    let url = url(&folder);
    wait_for("the server", || answers(&url));
    url
}

/// A server that a test has for itself, to be ended and started.
pub(crate) struct Server {
    /// The URL of a database that is empty at first.
    pub(crate) url: String,
    folder: tempfile::TempDir,
    process: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = initialised();
        let process = Self::process(folder.path());
        let mut server = Self { url: url(folder.path()), folder, process };
        server.wait();
        server
    }

    fn process(folder: &Path) -> Child {
        let mut server = command(&programs().join("postgres"), "INT");
        serves(&mut server, folder);
        server.spawn().expect("it starts")
    }

    /// Ends it and starts it again, as `pg_ctl restart` does: `INT` is its mode `fast`, and `QUIT` is `immediate`.
    pub(crate) fn restart(&mut self, mode: Signal) {
        self.end(mode);
        self.process = Self::process(self.folder.path());
        self.wait();
    }

    fn wait(&mut self) {
        wait_for("the server", || {
            // It can't begin before the last of those that its predecessor started is gone.
            if self.process.try_wait().expect("it is there").is_some() {
                self.process = Self::process(self.folder.path());
            }
            answers(&self.url)
        });
    }

    fn end(&mut self, mode: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, mode).expect("it is there");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Signal::QUIT);
    }
}

/// A folder with the data of a new server.
fn initialised() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("attune-pg-").tempdir_in("/tmp").expect("a folder");
    if is_root() {
        run(Command::new("chown").arg(USER).arg(folder.path()));
    }
    let mut initdb = command(&programs().join("initdb"), "INT");
    initdb.args([
        "--auth",
        "trust",
        "--username",
        "attune",
        "--no-sync",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
    ]);
    run(initdb.arg("-D").arg(folder.path().join("data")));
    folder
}

/// What a server in this folder is told.
fn serves(server: &mut Command, folder: &Path) {
    server.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    server.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    server.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
}

fn url(folder: &Path) -> String {
    format!("postgres://attune@localhost/postgres?host={}", folder.display())
}

/// Runs the server for as long as this process lives. The signal is sent when the thread ends that
/// started it, so that is one that never does before.
fn keep(mut server: Command) {
    std::thread::spawn(move || server.spawn().expect("the server starts").wait());
}

/// A program as a user that may run a server, which is told by a signal that this process has ended.
fn command(program: &Path, ended: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", ended]);
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).expect("a user") == 0
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the server answers to a statement.
pub(crate) fn ask(url: &str, sql: &str) -> String {
    let output = psql(url, sql).output().expect("psql");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn answers(url: &str) -> Option<()> {
    let ready = psql(url, "select 1").output();
    ready.is_ok_and(|output| output.status.success()).then_some(())
}
