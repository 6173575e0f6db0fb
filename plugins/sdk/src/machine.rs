//! What a component's logic sees of the world: the host in a component, the machine itself in tests.

use crate::files::Status;
use crate::tools::{Completion, Format, Invocation};
use crate::types::Failure;

/// A program that may be run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which of its machine's handles it is.
    pub handle: usize,
    /// Canonical absolute path.
    pub path: String,
    /// The paths that led here, in search order.
    pub names: Vec<String>,
    /// The `source` of the search root where it was first found.
    pub source: String,
    /// What its first bytes say it is.
    pub format: Format,
}

/// One entry of a search root whose name matches.
#[derive(Clone, Debug)]
pub struct Found {
    /// The path at which it was found.
    pub path: String,
    /// The program, or why it is none.
    pub outcome: Result<Program, Failure>,
}

/// The imports of the contract that components' logic uses; see `wit/` for what each does.
pub trait Machine {
    /// Entries of the search roots whose name matches one of the patterns.
    fn find(&self, patterns: &[String]) -> Vec<Found>;
    /// The program at an absolute path.
    fn open(&self, path: &str) -> Result<Program, Failure>;
    /// Runs the same invocation on several programs and answers in their order.
    fn run_all(&self, programs: &[&Program], invocation: &Invocation) -> Vec<Result<Completion, Failure>>;
    /// The names in a folder.
    fn list(&self, path: &str) -> Result<Vec<String>, Failure>;
    /// What is at a path, links followed.
    fn stat(&self, path: &str) -> Result<Status, Failure>;
    /// The first `limit` bytes of a file.
    fn read(&self, path: &str, limit: u32) -> Result<Vec<u8>, Failure>;
    /// Where a symbolic link points, as written in it.
    fn read_link(&self, path: &str) -> Result<String, Failure>;
    /// The path without links.
    fn canonicalize(&self, path: &str) -> Result<String, Failure>;
    /// The groups of a declared pattern's first match in `text`.
    fn captures(&self, pattern: &str, text: &str) -> Result<Option<Vec<Option<String>>>, Failure>;
}

/// Runs the program that a verification is about.
pub type Run<'a> = dyn Fn(&Invocation) -> Result<Completion, Failure> + 'a;

/// An invocation with `arguments` and nothing else.
#[must_use]
pub fn invocation<T: AsRef<str>>(arguments: &[T], memoize: bool) -> Invocation {
    Invocation {
        arguments: arguments.iter().map(|argument| argument.as_ref().to_owned()).collect(),
        variables: Vec::new(),
        stdin: Vec::new(),
        timeout: None,
        memoize,
        extra: Vec::new(),
    }
}

/// The last component of a path.
#[must_use]
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder that a path lies in; `/` for what lies in the root.
#[must_use]
pub fn folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}
