//! What is installed on a worker: interpreters, proofs that they work, and reasons why others don't.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// Why something could not be used. The same names everywhere: output, database, metrics, WIT.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
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

impl From<FailureClass> for String {
    fn from(class: FailureClass) -> Self {
        class.to_string()
    }
}

/// What `Display` writes; anything else is a class of its own.
impl From<String> for FailureClass {
    fn from(text: String) -> Self {
        let (name, detail) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, detail)) => (name, Some(detail)),
            None => (text.as_str(), None),
        };
        let number = detail.and_then(|detail| detail.parse().ok());
        match (name, detail, number) {
            ("not_found", None, _) => Self::NotFound,
            ("broken_symlink", None, _) => Self::BrokenSymlink,
            ("symlink_loop", None, _) => Self::SymlinkLoop,
            ("is_directory", None, _) => Self::IsDirectory,
            ("not_executable", None, _) => Self::NotExecutable,
            ("permission_denied", None, _) => Self::PermissionDenied,
            ("exec_format", None, _) => Self::ExecFormat,
            ("bad_shebang", None, _) => Self::BadShebang,
            ("shim_unresolved", None, _) => Self::ShimUnresolved,
            ("not_base_installation", None, _) => Self::NotBaseInstallation,
            ("timeout", None, _) => Self::Timeout,
            ("killed_by_signal", _, Some(signal)) => Self::KilledBySignal(signal),
            ("nonzero_exit", _, Some(code)) => Self::NonzeroExit(code),
            ("unparsable_output", None, _) => Self::UnparsableOutput,
            ("pattern_mismatch", None, _) => Self::PatternMismatch,
            ("version_mismatch", None, _) => Self::VersionMismatch,
            ("wrong_implementation", None, _) => Self::WrongImplementation,
            ("variant_mismatch", None, _) => Self::VariantMismatch,
            ("missing_capability", Some(capability), _) => Self::MissingCapability(capability.to_owned()),
            ("denied", None, _) => Self::Denied,
            ("invalid_declaration", None, _) => Self::InvalidDeclaration,
            ("plugin_failed", None, _) => Self::PluginFailed,
            _ => Self::Other(text),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_its_name_wherever_it_is_kept() {
        for (class, name) in [
            (FailureClass::NotFound, "not_found"),
            (FailureClass::BrokenSymlink, "broken_symlink"),
            (FailureClass::SymlinkLoop, "symlink_loop"),
            (FailureClass::IsDirectory, "is_directory"),
            (FailureClass::NotExecutable, "not_executable"),
            (FailureClass::PermissionDenied, "permission_denied"),
            (FailureClass::ExecFormat, "exec_format"),
            (FailureClass::BadShebang, "bad_shebang"),
            (FailureClass::ShimUnresolved, "shim_unresolved"),
            (FailureClass::NotBaseInstallation, "not_base_installation"),
            (FailureClass::Timeout, "timeout"),
            (FailureClass::KilledBySignal(11), "killed_by_signal(11)"),
            (FailureClass::NonzeroExit(-1), "nonzero_exit(-1)"),
            (FailureClass::UnparsableOutput, "unparsable_output"),
            (FailureClass::PatternMismatch, "pattern_mismatch"),
            (FailureClass::VersionMismatch, "version_mismatch"),
            (FailureClass::WrongImplementation, "wrong_implementation"),
            (FailureClass::VariantMismatch, "variant_mismatch"),
            (FailureClass::MissingCapability("ssl".to_owned()), "missing_capability(ssl)"),
            (FailureClass::Denied, "denied"),
            (FailureClass::InvalidDeclaration, "invalid_declaration"),
            (FailureClass::PluginFailed, "plugin_failed"),
            (FailureClass::Other("damaged-environment".to_owned()), "damaged-environment"),
            (FailureClass::Other("nonzero_exit(x)".to_owned()), "nonzero_exit(x)"),
        ] {
            assert_eq!(serde_json::to_value(&class).unwrap(), name);
            assert_eq!(serde_json::from_value::<FailureClass>(name.into()).unwrap(), class);
        }
    }
}
