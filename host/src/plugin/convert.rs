//! Between the contract's types and the host's own. What a component answers is checked on the way: beyond
//! this module, paths are absolute or confined, and versions are versions.

pub(crate) mod environment;

use std::path::PathBuf;

use super::bindings::attune::runtime::types as wit;
use super::bindings::exports::attune::runtime::{detection, verification};
use super::error::Cause;
use crate::installation::{Candidate, Check, CheckOutcome, Failure, FailureClass, Installation, Verdict};
use crate::pack::{DeclaredVersion, VerificationCommand};
use crate::version::Version;

/// Bytes of a message that a component may hand on to people.
const MESSAGE_MAX: usize = 4 << 10;

/// Bytes of an invalid value that are shown.
const SHOWN_MAX: usize = 120;

/// An answer that can't be.
pub(crate) fn invalid(place: impl Into<String>, value: &str, rule: &'static str) -> Cause {
    Cause::InvalidAnswer { place: place.into(), value: cut(value, SHOWN_MAX), rule }
}

/// The text up to a limit in bytes, cut between characters, with a mark where it was cut.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit)])
}

pub(crate) fn failure_to_wit(failure: &Failure) -> wit::Failure {
    use wit::FailureClass as Wit;
    let class = match &failure.class {
        FailureClass::NotFound => Wit::NotFound,
        FailureClass::BrokenSymlink => Wit::BrokenSymlink,
        FailureClass::SymlinkLoop => Wit::SymlinkLoop,
        FailureClass::IsDirectory => Wit::IsDirectory,
        FailureClass::NotExecutable => Wit::NotExecutable,
        FailureClass::PermissionDenied => Wit::PermissionDenied,
        FailureClass::ExecFormat => Wit::ExecFormat,
        FailureClass::BadShebang => Wit::BadShebang,
        FailureClass::ShimUnresolved => Wit::ShimUnresolved,
        FailureClass::NotBaseInstallation => Wit::NotBaseInstallation,
        FailureClass::Timeout => Wit::Timeout,
        FailureClass::KilledBySignal(signal) => Wit::KilledBySignal(*signal),
        FailureClass::NonzeroExit(code) => Wit::NonzeroExit(*code),
        FailureClass::UnparsableOutput => Wit::UnparsableOutput,
        FailureClass::PatternMismatch => Wit::PatternMismatch,
        FailureClass::VersionMismatch => Wit::VersionMismatch,
        FailureClass::WrongImplementation => Wit::WrongImplementation,
        FailureClass::VariantMismatch => Wit::VariantMismatch,
        FailureClass::MissingCapability(capability) => Wit::MissingCapability(capability.clone()),
        FailureClass::Denied => Wit::Denied,
        FailureClass::InvalidDeclaration => Wit::InvalidDeclaration,
        FailureClass::PluginFailed => Wit::Other("plugin-failed".to_owned()),
        FailureClass::Other(name) => Wit::Other(name.clone()),
    };
    wit::Failure { class, message: failure.message.clone() }
}

pub(crate) fn failure_from_wit(failure: wit::Failure) -> Failure {
    use wit::FailureClass as Wit;
    let class = match failure.class {
        Wit::NotFound => FailureClass::NotFound,
        Wit::BrokenSymlink => FailureClass::BrokenSymlink,
        Wit::SymlinkLoop => FailureClass::SymlinkLoop,
        Wit::IsDirectory => FailureClass::IsDirectory,
        Wit::NotExecutable => FailureClass::NotExecutable,
        Wit::PermissionDenied => FailureClass::PermissionDenied,
        Wit::ExecFormat => FailureClass::ExecFormat,
        Wit::BadShebang => FailureClass::BadShebang,
        Wit::ShimUnresolved => FailureClass::ShimUnresolved,
        Wit::NotBaseInstallation => FailureClass::NotBaseInstallation,
        Wit::Timeout => FailureClass::Timeout,
        Wit::KilledBySignal(signal) => FailureClass::KilledBySignal(signal),
        Wit::NonzeroExit(code) => FailureClass::NonzeroExit(code),
        Wit::UnparsableOutput => FailureClass::UnparsableOutput,
        Wit::PatternMismatch => FailureClass::PatternMismatch,
        Wit::VersionMismatch => FailureClass::VersionMismatch,
        Wit::WrongImplementation => FailureClass::WrongImplementation,
        Wit::VariantMismatch => FailureClass::VariantMismatch,
        Wit::MissingCapability(capability) => FailureClass::MissingCapability(cut(&capability, SHOWN_MAX)),
        Wit::Denied => FailureClass::Denied,
        Wit::InvalidDeclaration => FailureClass::InvalidDeclaration,
        Wit::Other(name) if name == "plugin-failed" => FailureClass::PluginFailed,
        Wit::Other(name) => FailureClass::Other(cut(&name, SHOWN_MAX)),
    };
    Failure { class, message: cut(&failure.message, MESSAGE_MAX) }
}

fn version_to_wit(version: &Version) -> wit::Version {
    wit::Version {
        semver: version.semver.to_string(),
        native: version.native.clone(),
        variant: version.variant.clone(),
    }
}

fn version_from_wit(place: &str, version: wit::Version) -> Result<Version, Cause> {
    let semver = semver::Version::parse(&version.semver).map_err(|_| {
        invalid(
            format!("{place}.semver"),
            &version.semver,
            "which is not a complete semantic version such as `3.12.1`",
        )
    })?;
    if version.variant.as_deref() == Some("") {
        return Err(invalid(format!("{place}.variant"), "", "where an absent variant is `none`"));
    }
    Ok(Version { semver, native: version.native, variant: version.variant })
}

/// Paths come from components and the contract, so they are text.
fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

pub(crate) fn installation_to_wit(installation: &Installation) -> wit::Installation {
    wit::Installation {
        path: text(&installation.path),
        version: version_to_wit(&installation.version),
        source: installation.source.clone(),
        aliases: installation.aliases.iter().map(|path| text(path)).collect(),
        attributes: installation.attributes.clone(),
    }
}

fn installation_from_wit(place: &str, installation: wit::Installation) -> Result<Installation, Cause> {
    let aliases = installation.aliases.into_iter().enumerate();
    Ok(Installation {
        path: absolute(format!("{place}.path"), installation.path)?,
        version: version_from_wit(&format!("{place}.version"), installation.version)?,
        source: installation.source,
        aliases: aliases
            .map(|(number, path)| absolute(format!("{place}.aliases[{number}]"), path))
            .collect::<Result<_, _>>()?,
        attributes: installation.attributes,
    })
}

fn absolute(place: String, path: String) -> Result<PathBuf, Cause> {
    if path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..") {
        return Ok(path.into());
    }
    Err(invalid(place, &path, "which is not an absolute path without `..`"))
}

pub(crate) fn declared_version_to_wit(version: &DeclaredVersion) -> wit::DeclaredVersion {
    wit::DeclaredVersion {
        version: version.version.clone(),
        is_default: version.is_default,
        meta: version.meta.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

pub(crate) fn command_to_wit(command: &VerificationCommand) -> detection::Command {
    detection::Command {
        binary: command.binary.clone(),
        arguments: command.args.clone(),
        exit_code: command.exit_code,
        pattern: command.pattern.clone(),
        priority: command.priority,
        optional: command.optional,
        extra: Vec::new(),
    }
}

/// No two candidates report the same installation: two rows for one would count it twice.
pub(crate) fn candidates_from_wit(candidates: Vec<detection::Candidate>) -> Result<Vec<Candidate>, Cause> {
    let mut seen = std::collections::HashSet::new();
    let convert = |(number, candidate): (usize, detection::Candidate)| {
        let place = format!("candidates[{number}]");
        let path = absolute(format!("{place}.path"), candidate.path)?;
        let outcome = match candidate.outcome {
            Ok(installation) => {
                let installation = installation_from_wit(&format!("{place}.installation"), installation)?;
                if !seen.insert(installation.path.clone()) {
                    let path = text(&installation.path);
                    return Err(invalid(place, &path, "which another candidate has reported already"));
                }
                Ok(installation)
            }
            Err(failure) => Err(failure_from_wit(failure)),
        };
        Ok(Candidate { path, outcome })
    };
    candidates.into_iter().enumerate().map(convert).collect()
}

/// A word that stands for a constraint.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Alias {
    /// `lts`, `lts/iron`, `latest`.
    pub name: String,
    /// In the host's constraint grammar, not parsed yet.
    pub constraint: String,
}

pub(crate) fn aliases_from_wit(aliases: Vec<detection::Alias>) -> Result<Vec<Alias>, Cause> {
    let convert = |(number, alias): (usize, detection::Alias)| {
        if alias.name.is_empty() {
            return Err(invalid(format!("aliases[{number}].name"), "", "which is empty"));
        }
        Ok(Alias { name: alias.name, constraint: alias.constraint })
    };
    aliases.into_iter().enumerate().map(convert).collect()
}

pub(crate) fn verdict_from_wit(verdict: verification::Verdict) -> Result<Verdict, Cause> {
    let convert = |(number, check): (usize, verification::Check)| {
        let outcome = match check.outcome {
            verification::Outcome::Passed => CheckOutcome::Passed,
            verification::Outcome::Warned(failure) => {
                CheckOutcome::Warned { reason: failure_from_wit(failure) }
            }
            verification::Outcome::Failed(failure) => {
                CheckOutcome::Failed { reason: failure_from_wit(failure) }
            }
            verification::Outcome::Skipped(reason) => {
                CheckOutcome::Skipped { reason: cut(&reason, MESSAGE_MAX) }
            }
            // Whether such an outcome leaves the installation usable can't be known.
            verification::Outcome::Other(name) => {
                let place = format!("checks[{number}].outcome");
                return Err(invalid(place, &name, "which this host does not know"));
            }
        };
        Ok(Check { name: check.name, outcome, detail: cut(&check.detail, MESSAGE_MAX) })
    };
    Ok(Verdict {
        version: version_from_wit("version", verdict.version)?,
        checks: verdict.checks.into_iter().enumerate().map(convert).collect::<Result<_, _>>()?,
        attributes: verdict.attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_way_there_and_back() {
        for class in [
            FailureClass::NotFound,
            FailureClass::BrokenSymlink,
            FailureClass::SymlinkLoop,
            FailureClass::IsDirectory,
            FailureClass::NotExecutable,
            FailureClass::PermissionDenied,
            FailureClass::ExecFormat,
            FailureClass::BadShebang,
            FailureClass::ShimUnresolved,
            FailureClass::NotBaseInstallation,
            FailureClass::Timeout,
            FailureClass::KilledBySignal(9),
            FailureClass::NonzeroExit(3),
            FailureClass::UnparsableOutput,
            FailureClass::PatternMismatch,
            FailureClass::VersionMismatch,
            FailureClass::WrongImplementation,
            FailureClass::VariantMismatch,
            FailureClass::MissingCapability("ssl".to_owned()),
            FailureClass::Denied,
            FailureClass::InvalidDeclaration,
            FailureClass::PluginFailed,
            FailureClass::Other("x".to_owned()),
        ] {
            let failure = Failure::new(class, "why");
            assert_eq!(failure_from_wit(failure_to_wit(&failure)), failure);
        }
    }

    fn installation(path: &str, semver: &str) -> wit::Installation {
        wit::Installation {
            path: path.to_owned(),
            version: wit::Version { semver: semver.to_owned(), native: semver.to_owned(), variant: None },
            source: "here".to_owned(),
            aliases: Vec::new(),
            attributes: Vec::new(),
        }
    }

    fn check(path: &str, semver: &str, place: Option<&str>) {
        let candidate =
            detection::Candidate { path: "/found".to_owned(), outcome: Ok(installation(path, semver)) };
        let found = match candidates_from_wit(vec![candidate]) {
            Ok(_) => None,
            Err(Cause::InvalidAnswer { place, .. }) => Some(place),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found.as_deref(), place, "{path} {semver}");
    }

    #[test]
    fn installations_are_checked() {
        let (path, semver) =
            (Some("candidates[0].installation.path"), Some("candidates[0].installation.version.semver"));
        for (text, version, place) in [
            ("/usr/bin/x", "1.2.3", None),
            ("/usr/bin/x", "1.2.3-rc.1+b", None),
            ("usr/bin/x", "1.2.3", path),
            ("/usr/../x", "1.2.3", path),
            ("/x\0", "1.2.3", path),
            ("", "1.2.3", path),
            ("/usr/bin/x", "1.2", semver),
            ("/usr/bin/x", "v1.2.3", semver),
            ("/usr/bin/x", "", semver),
        ] {
            check(text, version, place);
        }
    }

    #[test]
    fn an_installation_is_reported_once() {
        let candidate =
            || detection::Candidate { path: "/found".to_owned(), outcome: Ok(installation("/x", "1.2.3")) };
        let error = candidates_from_wit(vec![candidate(), candidate()]).expect_err("twice");
        assert!(error.to_string().contains("candidates[1]"), "{error}");
    }

    #[test]
    fn long_texts_are_cut() {
        let failure = wit::Failure { class: wit::FailureClass::Denied, message: "é".repeat(10_000) };
        assert!(failure_from_wit(failure).message.len() <= MESSAGE_MAX + '…'.len_utf8());
    }
}
