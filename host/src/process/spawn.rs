//! Starting a child, and saying why one could not be started.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Pid;
use tokio::process::Child;
use tokio::time::sleep;

use super::{Command, ProcessRecord, Running, Stdin};
use crate::installation::{Failure, FailureClass};

/// For how long, and how often, a program that is being written is tried again.
const BUSY_MAX: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// What runs must not depend on a search path or on the folder.
    #[error("`{path}` is not an absolute path")]
    Relative { path: PathBuf },
    /// It has no folder to start in.
    #[error("cannot start in `{folder}`: {source}")]
    Folder { folder: PathBuf, source: std::io::Error },
    /// The operating system refused the program.
    #[error("cannot start `{program}`: {failure}")]
    Program { program: PathBuf, failure: Failure },
    /// It was started, but could not be watched, and was killed.
    #[error("cannot watch `{program}`: {source}")]
    Unwatched { program: PathBuf, source: std::io::Error },
}

impl SpawnError {
    /// The class under which it is shown and counted.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Relative { .. } => FailureClass::InvalidDeclaration,
            Self::Folder { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied => FailureClass::PermissionDenied,
                _ => FailureClass::NotFound,
            },
            Self::Program { failure, .. } => failure.class.clone(),
            Self::Unwatched { .. } => FailureClass::Other("unwatched".to_owned()),
        }
    }
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Program { failure, .. } => failure,
            other => Self::new(other.class(), other.to_string()),
        }
    }
}

/// Starts a child.
///
/// Dropping what it returns kills the child's whole process group.
pub async fn start(command: Command) -> Result<Running, SpawnError> {
    for path in [&command.program, &command.folder] {
        if !path.is_absolute() {
            return Err(SpawnError::Relative { path: path.clone() });
        }
    }
    let stdin = match command.stdin {
        Stdin::Null => Stdio::null(),
        Stdin::Bytes(_) => Stdio::piped(),
    };
    // Nothing here may need code between fork and exec: the standard library then uses posix_spawn,
    // which does not copy this process's page tables.
    let mut prepared = tokio::process::Command::new(&command.program);
    prepared
        .args(&command.arguments)
        .env_clear()
        .envs(command.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&command.folder)
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);

    let child = spawn_when_written(&mut prepared).await.map_err(|error| explain(&command, &error))?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let unwatched = |source| SpawnError::Unwatched { program: command.program.clone(), source };
    let pid = pid.ok_or_else(|| unwatched(ErrorKind::NotFound.into()))?;
    // The child can't be mistaken for another here: it is not reaped before it is waited for.
    let record = ProcessRecord::of(pid).map_err(unwatched)?;
    Ok(Running::new(child, pid, record, command))
}

/// Starts a program, as soon as nobody writes it any more.
///
/// While another thread starts a child, that child holds a copy of every open descriptor until it execs: on a busy machine, a
/// program that was written a moment ago is open for writing for longer than it took to write it.
pub(crate) async fn spawn_when_written(prepared: &mut tokio::process::Command) -> std::io::Result<Child> {
    let began = Instant::now();
    loop {
        match prepared.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && began.elapsed() < BUSY_MAX => {
                sleep(BUSY_PAUSE).await;
            }
            settled => return settled,
        }
    }
}

/// The error of spawning alone does not tell a missing program from a missing folder or interpreter.
fn explain(command: &Command, error: &std::io::Error) -> SpawnError {
    let folder = &command.folder;
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return SpawnError::Folder { folder: folder.clone(), source: ErrorKind::NotADirectory.into() };
        }
        Err(source) => return SpawnError::Folder { folder: folder.clone(), source },
    }
    let program = command.program.clone();
    let failure = classify(&program, error);
    SpawnError::Program { program, failure }
}

fn classify(program: &Path, error: &std::io::Error) -> Failure {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let (class, message) = match errno {
        Some(Errno::NOENT) => return missing(program),
        Some(Errno::NOTDIR) => (FailureClass::NotFound, "a part of its path is not a folder".to_owned()),
        Some(Errno::LOOP) => (FailureClass::SymlinkLoop, "its links lead back to themselves".to_owned()),
        Some(Errno::ACCESS | Errno::PERM) => return refused(program),
        Some(Errno::NOEXEC) => {
            (FailureClass::ExecFormat, "it is no program that this machine can run".to_owned())
        }
        _ if error.kind() == ErrorKind::InvalidInput => {
            (FailureClass::InvalidDeclaration, "an argument or a variable contains a NUL byte".to_owned())
        }
        _ => (FailureClass::Other("spawn".to_owned()), error.to_string()),
    };
    Failure::new(class, message)
}

fn missing(program: &Path) -> Failure {
    let Ok(metadata) = std::fs::symlink_metadata(program) else {
        return Failure::new(FailureClass::NotFound, "there is no such file");
    };
    if metadata.is_symlink() && !program.exists() {
        return Failure::new(FailureClass::BrokenSymlink, "it is a link to something that does not exist");
    }
    match shebang(program) {
        Some(line) => Failure::new(
            FailureClass::BadShebang,
            format!("its first line names an interpreter that does not exist: `{line}`"),
        ),
        None => Failure::new(FailureClass::ExecFormat, "the loader that it needs does not exist"),
    }
}

fn refused(program: &Path) -> Failure {
    match std::fs::metadata(program) {
        Ok(metadata) if metadata.is_dir() => Failure::new(FailureClass::IsDirectory, "it is a folder"),
        Ok(metadata) if !is_executable(&metadata) => {
            Failure::new(FailureClass::NotExecutable, "it is not executable")
        }
        Ok(_) | Err(_) => {
            Failure::new(FailureClass::PermissionDenied, "the operating system refused to run it")
        }
    }
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

/// The `#!` line, as far as the kernel reads it.
fn shebang(program: &Path) -> Option<String> {
    let mut start = Vec::new();
    std::fs::File::open(program).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(format!("#!{}", String::from_utf8_lossy(line)))
}
