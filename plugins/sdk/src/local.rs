//! The machine that native tests run on: real files, real processes, the rules of the host's as far as
//! components can see them. No grants are checked.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::environment::{Action, BuildPlan, Change, Config, Program as Planned};
use crate::failure::{failure, unexpected_exit};
use crate::files::{Kind, Status};
use crate::machine::{Found, Machine, Program, Run, file_name};
use crate::tools::{Completion, ExitStatus, Format, Invocation};
use crate::types::{Failure, FailureClass, Installation};
use crate::verification::{Outcome, Request, Verdict};

/// `ELOOP` of Linux: the standard library does not name it yet.
const ELOOP: i32 = 40;
/// How long one program may run.
const TIMEOUT: Duration = Duration::from_mins(2);
/// How long a program may be open for writing elsewhere, and how often to look.
const BUSY_MAX: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A configuration that declares nothing.
#[must_use]
pub fn no_config() -> Config {
    Config {
        interpreter_arguments: Vec::new(),
        environment_interpreter: None,
        create: Vec::new(),
        install: Vec::new(),
        settings: Vec::new(),
        extra: Vec::new(),
    }
}

/// The variables that a launch sets, whatever else it does with others.
pub fn set_variables(changes: Vec<(String, Change)>) -> impl Iterator<Item = (String, String)> {
    changes.into_iter().filter_map(|(name, change)| match change {
        Change::Set(value) => Some((name, value)),
        Change::Prepend(_) | Change::Append(_) | Change::Unset | Change::Other(_) => None,
    })
}

/// This machine, with these search roots.
#[derive(Debug, Default)]
pub struct Local {
    /// Source and folder, in search order.
    pub roots: Vec<(String, PathBuf)>,
    /// What the operator sets for the steps of plans.
    pub variables: Vec<(String, String)>,
    /// How many programs were started.
    pub started: RefCell<usize>,
}

impl Local {
    /// This machine, searched in `folders`, each of which is its own source.
    #[must_use]
    pub fn searching(folders: &[&Path]) -> Self {
        let roots = folders
            .iter()
            .map(|folder| (file_name(&folder.to_string_lossy()).to_owned(), folder.to_path_buf()))
            .collect();
        Self { roots, ..Self::default() }
    }

    /// The names of the checks that an installation fails, verified without declared commands.
    pub fn failed_checks(
        &self,
        installation: &Installation,
        verify: impl FnOnce(&Self, Request, &Run) -> Result<Verdict, Failure>,
    ) -> Result<Vec<String>, Failure> {
        let program = self.open(&installation.path)?;
        let run = |invocation: &_| self.run_all(&[&program], invocation).remove(0);
        let installation = installation.clone();
        let request = Request { installation, commands: Vec::new(), settings: Vec::new(), extra: Vec::new() };
        let checks = verify(self, request, &run)?.checks.into_iter();
        let failed = checks.filter(|check| matches!(check.outcome, Outcome::Failed(_)));
        Ok(failed.map(|check| check.name).collect())
    }

    /// Executes a plan as the host would, below `environment`.
    pub fn execute(
        &self,
        plan: &BuildPlan,
        environment: &Path,
        cache: &Path,
        installation: &str,
    ) -> Result<(), Failure> {
        let environment_text = environment.to_string_lossy();
        let replace = |text: &str| {
            text.replace("${environment}", &environment_text)
                .replace("${cache}", &cache.to_string_lossy())
                .replace("${installation}", installation)
        };
        fs::create_dir_all(environment).map_err(|error| of_io(&error))?;
        for step in &plan.steps {
            match &step.action {
                Action::MakeDir(path) => fs::create_dir_all(environment.join(path)),
                Action::WriteFile(file) => fs::write(environment.join(&file.path), &file.contents),
                Action::Link(link) => std::os::unix::fs::symlink(&link.target, environment.join(&link.path)),
                Action::Verify(path) => fs::metadata(environment.join(path)).map(|_| ()),
                Action::Run(run) => {
                    let program = match &run.program {
                        Planned::Installation => installation.to_owned(),
                        Planned::Environment(path) => format!("{environment_text}/{path}"),
                        Planned::Tool(path) | Planned::Other(path) => path.clone(),
                    };
                    let mut command = Command::new(program);
                    command.args(run.arguments.iter().map(|argument| replace(argument)));
                    command.envs(run.variables.iter().map(|(name, value)| (name, replace(value))));
                    command.env("HOME", environment.join("home"));
                    command.envs(self.variables.iter().cloned());
                    command.current_dir(environment.join(&run.folder));
                    let completion = self.complete(command, TIMEOUT)?;
                    match unexpected_exit(&completion, 0) {
                        Some(failure) => return Err(failure),
                        None => Ok(()),
                    }
                }
                Action::Other(other) => Err(io::Error::other(other.clone())),
            }
            .map_err(|error| Failure { message: format!("{}: {error}", step.title), ..of_io(&error) })?;
        }
        Ok(())
    }

    fn complete(&self, mut command: Command, timeout: Duration) -> Result<Completion, Failure> {
        *self.started.borrow_mut() += 1;
        let inherited: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").envs(inherited);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command).map_err(|error| of_io(&error))?;
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let drain = |stream: &mut Option<Box<dyn Read + Send>>| {
            let mut bytes = Vec::new();
            stream.as_mut().map(|stream| stream.read_to_end(&mut bytes)).transpose().map(|_| bytes)
        };
        let mut stdout = stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
        let mut stderr = stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
        let errors = std::thread::spawn(move || drain(&mut stderr));
        let output = std::thread::spawn(move || drain(&mut stdout));
        let start = Instant::now();
        let status = loop {
            match child.try_wait().map_err(|error| of_io(&error))? {
                Some(status) => break status,
                None if start.elapsed() > timeout => {
                    child.kill().map_err(|error| of_io(&error))?;
                    child.wait().map_err(|error| of_io(&error))?;
                    return Err(failure(FailureClass::Timeout, "did not finish in time"));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let bytes = |thread: std::thread::JoinHandle<io::Result<Vec<u8>>>| {
            thread.join().ok().and_then(Result::ok).unwrap_or_default()
        };
        Ok(Completion {
            status: match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
                (Some(code), _) => ExitStatus::Exited(code),
                (None, Some(signal)) => ExitStatus::Signalled(signal),
                (None, None) => ExitStatus::Other(status.to_string()),
            },
            stdout: bytes(output),
            stderr: bytes(errors),
            truncated: false,
            extra: Vec::new(),
        })
    }

    fn program(path: &str, names: Vec<String>, source: &str) -> Result<Program, Failure> {
        let metadata = fs::metadata(path).map_err(|error| of_io(&error))?;
        if metadata.is_dir() {
            return Err(failure(FailureClass::IsDirectory, "is a folder"));
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(failure(FailureClass::NotExecutable, "may not be executed"));
        }
        let mut head = [0; 128];
        let length = fs::File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
        let head = &head[..length];
        let format = if head.starts_with(b"\x7fELF") || head.starts_with(b"\xcf\xfa\xed\xfe") {
            Format::Native
        } else if let Some(line) = head.strip_prefix(b"#!") {
            Format::Script(String::from_utf8_lossy(line).lines().next().unwrap_or_default().to_owned())
        } else {
            Format::Other("neither machine code nor a script".to_owned())
        };
        Ok(Program { handle: 0, path: path.to_owned(), names, source: source.to_owned(), format })
    }
}

impl Machine for Local {
    fn find(&self, patterns: &[String]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for (source, folder) in &self.roots {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let mut names: Vec<String> =
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort();
            for name in names.iter().filter(|name| patterns.iter().any(|pattern| matches(pattern, name))) {
                let path = folder.join(name).to_string_lossy().into_owned();
                let outcome = self
                    .canonicalize(&path)
                    .and_then(|canonical| Self::program(&canonical, vec![path.clone()], source));
                let known = outcome.as_ref().ok().and_then(|program| {
                    found
                        .iter_mut()
                        .filter_map(|found| found.outcome.as_mut().ok())
                        .find(|known| known.path == program.path)
                });
                match known {
                    Some(known) => known.names.push(path),
                    None => found.push(Found { path, outcome }),
                }
            }
        }
        found
    }

    fn open(&self, path: &str) -> Result<Program, Failure> {
        Self::program(&self.canonicalize(path)?, vec![path.to_owned()], "")
    }

    fn run_all(&self, programs: &[&Program], invocation: &Invocation) -> Vec<Result<Completion, Failure>> {
        let timeout = invocation.timeout.map_or(TIMEOUT, |limit| Duration::from_millis(u64::from(limit)));
        programs
            .iter()
            .map(|program| {
                let mut command = Command::new(&program.path);
                command.args(&invocation.arguments).envs(invocation.variables.iter().cloned());
                command.current_dir("/");
                self.complete(command, timeout)
            })
            .collect()
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        let entries = fs::read_dir(path).map_err(|error| of_io(&error))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn stat(&self, path: &str) -> Result<Status, Failure> {
        let metadata = fs::metadata(path).map_err(|error| of_io(&error))?;
        Ok(Status {
            kind: if metadata.is_dir() { Kind::Directory } else { Kind::File },
            size: metadata.len(),
            executable: metadata.permissions().mode() & 0o111 != 0,
            extra: Vec::new(),
        })
    }

    fn read(&self, path: &str, limit: u32) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(u64::from(limit)).read_to_end(&mut bytes))
            .map_err(|error| of_io(&error))?;
        Ok(bytes)
    }

    fn read_link(&self, path: &str) -> Result<String, Failure> {
        fs::read_link(path).map(|target| target.to_string_lossy().into_owned()).map_err(|error| of_io(&error))
    }

    fn canonicalize(&self, path: &str) -> Result<String, Failure> {
        fs::canonicalize(path).map(|path| path.to_string_lossy().into_owned()).map_err(|error| {
            if fs::symlink_metadata(path).is_ok() && error.kind() == io::ErrorKind::NotFound {
                return failure(FailureClass::BrokenSymlink, "leads nowhere");
            }
            of_io(&error)
        })
    }

    fn captures(&self, pattern: &str, text: &str) -> Result<Option<Vec<Option<String>>>, Failure> {
        let pattern =
            regex::Regex::new(pattern).map_err(|error| failure(FailureClass::Denied, error.to_string()))?;
        Ok(pattern
            .captures(text)
            .map(|groups| groups.iter().map(|group| group.map(|group| group.as_str().to_owned())).collect()))
    }
}

/// Starts a program. One that was just written may be open for writing for as long as another thread takes to
/// start a program of its own, which inherits what is open until then.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let start = Instant::now();
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && start.elapsed() < BUSY_MAX => {
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
}

/// Whether `name` matches a pattern of `*`, `?` and `[a-z]`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut expression = String::from("^");
    for character in pattern.chars() {
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' | ']' | '-' => expression.push(character),
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    expression.push('$');
    regex::Regex::new(&expression).is_ok_and(|expression| expression.is_match(name))
}

fn of_io(error: &io::Error) -> Failure {
    let class = match error.kind() {
        io::ErrorKind::NotFound => FailureClass::NotFound,
        io::ErrorKind::PermissionDenied => FailureClass::PermissionDenied,
        _ if error.raw_os_error() == Some(ELOOP) => FailureClass::SymlinkLoop,
        io::ErrorKind::IsADirectory => FailureClass::IsDirectory,
        _ => FailureClass::Other("io".to_owned()),
    };
    failure(class, error.to_string())
}
