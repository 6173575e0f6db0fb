//! What is installed on a worker: interpreters, proofs that they work, and reasons why others don't.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// Why something could not be used. The same names everywhere: output, database, metrics, WIT.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Nothing is at the path.
    NotFound,
    /// A symbolic link whose target does not exist.
    BrokenSymlink,
    /// Symbolic links that lead back to themselves.
    SymlinkLoop,
    /// A folder where a program was expected.
    IsDirectory,
    /// A regular file without permission to execute it.
    NotExecutable,
    /// The operating system refused access.
    PermissionDenied,
    /// A program for another machine, or no program.
    ExecFormat,
    /// A script whose `#!` line names an interpreter that does not exist.
    BadShebang,
    /// A script that starts something else and could not be followed.
    ShimUnresolved,
    /// A program of an isolated environment, not of an installation.
    NotBaseInstallation,
    /// It did not finish in time.
    Timeout,
    /// It was ended by this signal.
    KilledBySignal(i32),
    /// It ended with this exit code.
    NonzeroExit(i32),
    /// It printed something else than was asked of it.
    UnparsableOutput,
    /// It did not print what a pattern expects.
    PatternMismatch,
    /// It says one version and is another.
    VersionMismatch,
    /// A different implementation of the language.
    WrongImplementation,
    /// A different build variant.
    VariantMismatch,
    /// It lacks this capability.
    MissingCapability(String),
    /// Not granted.
    Denied,
    /// What the pack declares cannot be carried out.
    InvalidDeclaration,
    /// The component itself failed.
    PluginFailed,
    /// Anything else, by name.
    Other(String),
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::NotFound => "not_found",
            Self::BrokenSymlink => "broken_symlink",
            Self::SymlinkLoop => "symlink_loop",
            Self::IsDirectory => "is_directory",
            Self::NotExecutable => "not_executable",
            Self::PermissionDenied => "permission_denied",
            Self::ExecFormat => "exec_format",
            Self::BadShebang => "bad_shebang",
            Self::ShimUnresolved => "shim_unresolved",
            Self::NotBaseInstallation => "not_base_installation",
            Self::Timeout => "timeout",
            Self::KilledBySignal(signal) => return write!(formatter, "killed_by_signal({signal})"),
            Self::NonzeroExit(code) => return write!(formatter, "nonzero_exit({code})"),
            Self::UnparsableOutput => "unparsable_output",
            Self::PatternMismatch => "pattern_mismatch",
            Self::VersionMismatch => "version_mismatch",
            Self::WrongImplementation => "wrong_implementation",
            Self::VariantMismatch => "variant_mismatch",
            Self::MissingCapability(capability) => {
                return write!(formatter, "missing_capability({capability})");
            }
            Self::Denied => "denied",
            Self::InvalidDeclaration => "invalid_declaration",
            Self::PluginFailed => "plugin_failed",
            Self::Other(name) => name,
        };
        formatter.write_str(name)
    }
}

/// A reason: a class for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{class}: {message}")]
pub struct Failure {
    /// What kind of failure it is.
    pub class: FailureClass,
    /// What was seen.
    pub message: String,
}

impl Failure {
    /// A failure of `class` with a sentence that says what was seen.
    #[must_use]
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

/// What tells one state of a file from another. Replacing a file in place changes `ctime` even when
/// size and `mtime` are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the contents, in nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of the inode, in nanoseconds since 1970.
    pub ctime: i64,
}

impl Identity {
    /// The identity of the file at `path`, links followed.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self::from_metadata(&std::fs::metadata(path)?))
    }

    /// The identity that `metadata` describes.
    #[must_use]
    pub fn from_metadata(metadata: &std::fs::Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            dev: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}:{}:{}", self.dev, self.inode, self.size, self.mtime, self.ctime)
    }
}

/// An interpreter that a component detected on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// Canonical absolute path.
    pub path: PathBuf,
    /// Exact version and variant.
    pub version: Version,
    /// Which search root led to it.
    pub source: String,
    /// Other paths that lead to it.
    pub aliases: Vec<PathBuf>,
    /// What else is known: implementation, architecture, ABI, …
    pub attributes: Vec<(String, String)>,
}

/// Something that looked like an installation, and what it turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it was found.
    pub path: PathBuf,
    /// The installation, or why it is none.
    pub outcome: Result<Installation, Failure>,
}

/// How one named check of a verification came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum CheckOutcome {
    /// As it should be.
    Passed,
    /// Usable, but something is to be known.
    Warned {
        /// What.
        reason: Failure,
    },
    /// Not usable.
    Failed {
        /// Why.
        reason: Failure,
    },
    /// Not done.
    Skipped {
        /// Why not.
        reason: String,
    },
}

/// A named check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `version`, `implementation`, …
    pub name: String,
    /// How it came out.
    #[serde(flatten)]
    pub outcome: CheckOutcome,
    /// What was seen.
    pub detail: String,
}

/// What verification proved about an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// As the runtime itself reports it.
    pub version: Version,
    /// In the order in which they were done.
    pub checks: Vec<Check>,
    /// Replace the installation's attributes.
    pub attributes: Vec<(String, String)>,
}

impl Verdict {
    /// The first check that makes the installation unusable.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.checks.iter().find_map(|check| match &check.outcome {
            CheckOutcome::Failed { reason } => Some(reason),
            CheckOutcome::Passed | CheckOutcome::Warned { .. } | CheckOutcome::Skipped { .. } => None,
        })
    }
}
