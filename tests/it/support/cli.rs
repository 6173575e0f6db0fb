//! The program, run as people run it: on machines of their own, with variables from nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::postgres::Database;

const DATABASE: &str = "ATTUNE_DATABASE";
/// What a test waits for at most, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A data folder, a home folder and variables.
pub(crate) struct Machine {
    _folder: tempfile::TempDir,
    /// Canonical.
    pub(crate) path: PathBuf,
    variables: BTreeMap<String, OsString>,
    /// If it is on a server, and not in the data folder.
    database: Option<Arc<Database>>,
}

/// What a command came to.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// 128 and the signal's number if one ended it, as shells have it.
    pub(crate) code: i32,
}

impl Machine {
    /// The machine that the tests run on: its interpreters, already found.
    pub(crate) fn new() -> Self {
        let machine = Self::with(template().variables.clone());
        copy(&template().folder.join("data"), &machine.path.join("data"));
        machine.with_database(template().databases.as_ref().map(|(data, _)| data.copy()))
    }

    /// A machine on which nothing was looked for yet: its programs are those of the system and what a
    /// test puts into its home folder and into `bin`, which comes first on PATH.
    pub(crate) fn bare() -> Self {
        let machine = Self::with(BTreeMap::new());
        copy(&template().folder.join("bare"), &machine.path.join("data"));
        let machine = machine.with_database(template().databases.as_ref().map(|(_, bare)| bare.copy()));
        let home = machine.make("home");
        let bin = machine.make("bin");
        machine.and("HOME", home).and("PATH", format!("{}:/usr/bin:/bin", bin.display()))
    }

    /// A machine without so much as a data folder.
    pub(crate) fn fresh() -> Self {
        let machine = Self::with(BTreeMap::new());
        let home = machine.make("home");
        machine.and("HOME", home).and("PATH", "/usr/bin:/bin").with_database(server_database())
    }

    fn with_database(self, database: Option<Database>) -> Self {
        match database.map(Arc::new) {
            Some(database) => Self { database: Some(database.clone()), ..self }.and(DATABASE, &database.url),
            None => self,
        }
    }

    /// Whether the database is a file in the data folder.
    pub(crate) fn keeps_a_file(&self) -> bool {
        !self.variables.contains_key(DATABASE)
    }

    fn with(variables: BTreeMap<String, OsString>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        let data = path.join("data");
        Self { _folder: folder, path, variables, database: None }.and("ATTUNE_DATA_DIR", data)
    }

    /// With a variable.
    pub(crate) fn and(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    /// The URL of the database, if it is on a server.
    pub(crate) fn database_url(&self) -> Option<String> {
        self.variables.get(DATABASE).map(|url| url.to_string_lossy().into_owned())
    }

    /// Another worker, with folders of its own and the same database, packs and variables.
    pub(crate) fn other(&self, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        let url = match self.variables.get(DATABASE) {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", self.at("data/attune.db").display()).into(),
        };
        let data = path.join("data");
        fs::create_dir(&data).expect("a folder");
        // The database with what lies beside it, and what a worker keeps while it runs, come and go.
        let comes_and_goes =
            |file: &str| matches!(file, "worker.lock" | "runs") || file.starts_with("attune.");
        for entry in fs::read_dir(self.at("data")).expect("a folder") {
            let file = entry.expect("an entry").file_name().into_string().expect("text");
            if !comes_and_goes(&file) {
                copy(&self.at("data").join(&file), &data.join(&file));
            }
        }
        Self { _folder: folder, path, variables: self.variables.clone(), database: self.database.clone() }
            .and("ATTUNE_DATA_DIR", data)
            .and("ATTUNE_WORKER_NAME", name)
            .and(DATABASE, url)
    }

    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The folders of executions, but for those that are kept for the next ones.
    pub(crate) fn run_folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at("data/runs")).expect("a folder").flatten();
        let is_spare = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "spare");
        entries.map(|entry| entry.path()).filter(|path| !is_spare(path)).collect()
    }

    /// A folder.
    pub(crate) fn make(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// A file.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, contents).expect("a file");
        path
    }

    /// A program.
    pub(crate) fn script(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(name, contents);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    /// The program with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attune"));
        command.args(arguments).env_clear().envs(&self.variables).current_dir(&self.path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Output::new(&self.command(arguments).output().expect("it starts"))
    }

    /// Runs the program and checks its exit code.
    #[track_caller]
    pub(crate) fn runs(&self, code: i32, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.code, code, "attune {}\n{output}", arguments.join(" "));
        output
    }

    /// Runs the program, which has to succeed, and reads the JSON that it prints.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        self.runs(0, &[arguments, &["--json"]].concat()).json()
    }

    /// Runs the program with something to read.
    pub(crate) fn run_reading(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::thread::scope(|threads| {
            // A program that does not read it all is what some tests are about.
            threads.spawn(move || drop(stdin.write_all(input)));
            Output::new(&child.wait_with_output().expect("it ends"))
        })
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("it starts")
    }

    /// The newest execution.
    #[track_caller]
    pub(crate) fn last(&self) -> Json {
        self.json(&["execution", "show", "last"])
    }
}

impl Output {
    pub(crate) fn new(output: &std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status;
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }

    /// Checks that standard error says each of these.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.stderr.contains(word), "does not say `{word}`\n{self}");
        }
        self
    }

    /// Checks that standard output has each of these.
    #[track_caller]
    pub(crate) fn prints(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.stdout.contains(word), "does not print `{word}`\n{self}");
        }
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stdout, stderr, code } = self;
        write!(formatter, "exit code {code}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}

/// What every machine starts from, made once by each run of the tests.
struct Template {
    /// `data` with the packs and what is installed here, `bare` with the packs alone.
    folder: PathBuf,
    variables: BTreeMap<String, OsString>,
    /// The same two, if they are on a server.
    databases: Option<(Database, Database)>,
    /// Another run of the tests waits for this one's end: both would use the same folder.
    _lock: File,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine");
        let lock = File::create(folder.with_extension("lock")).expect("a file");
        lock.lock().expect("a lock");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("removed");
        }
        fs::create_dir_all(folder.join("home")).expect("a folder");
        let variables = variables(&folder.join("home"));
        let mut own = variables.clone();
        let database = server_database();
        own.extend(database.iter().map(|database| (DATABASE.to_owned(), (&database.url).into())));
        prepare(&folder.join("data"), &own, &["pack", "list"]);
        copy(&folder.join("data"), &folder.join("bare"));
        let bare = database.as_ref().map(Database::copy);
        prepare(&folder.join("data"), &own, &["runtime", "detect"]);
        Template { folder, variables, databases: database.zip(bare), _lock: lock }
    })
}

/// An empty database on a server, if the tests are to use one: `ATTUNE_TEST_DATABASE=postgres`.
fn server_database() -> Option<Database> {
    match std::env::var("ATTUNE_TEST_DATABASE").as_deref() {
        Ok("postgres") => Some(Database::empty()),
        Ok(other) => panic!("ATTUNE_TEST_DATABASE={other}: write `postgres`, or leave it out"),
        Err(_) => None,
    }
}

/// This machine's interpreters and no other variable of the test's own environment.
fn variables(home: &Path) -> BTreeMap<String, OsString> {
    let mut variables = BTreeMap::from([("HOME".to_owned(), home.into())]);
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    variables.insert("PATH".to_owned(), path);
    let outer_home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let manager = std::env::var_os("PYENV_ROOT").unwrap_or_else(|| outer_home.join(".pyenv").into());
    if Path::new(&manager).is_dir() {
        variables.insert("PYENV_ROOT".to_owned(), manager);
    }
    variables
}

fn prepare(data: &Path, variables: &BTreeMap<String, OsString>, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_attune"))
        .args(arguments)
        .env_clear()
        .envs(variables)
        .env("ATTUNE_DATA_DIR", data)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "attune {}: {}", arguments.join(" "), Output::new(&output));
}

/// Copies a folder with modes and times.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("it starts");
    assert!(status.success(), "can't copy {} to {}", from.display(), to.display());
}

/// Waits until `condition` gives something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process is there, one that nobody has waited for apart.
pub(crate) fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    status.is_ok_and(|status| status.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

/// Says that a test did nothing: what it needs is not there.
pub(crate) fn skip(reason: &str) {
    // Not through the macro, whose output the test harness keeps to itself while tests pass.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
