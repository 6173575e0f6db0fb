//! Executing one step of a plan, within what a plan may do.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::beneath::{Folder, components};
use super::build::Request;
use super::ready::MARKER;
use super::{PathError, PlannedProgram, RunStep, StepAction};
use crate::installation::Identity;
use crate::process::variables::{InvalidVariable, Variables};
use crate::process::{
    self, Cancel, Command, Ending, OutputLimits, ProcessRecord, SpawnError, Stdin, Stream, WaitError,
};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Path(#[from] PathError),
    /// Host and dynamic loader are steered by these.
    #[error("a plan may not set the variable `{name}`")]
    Variable { name: String },
    #[error(transparent)]
    InvalidVariable(#[from] InvalidVariable),
    #[error("it needs the network, which the runtime was not granted")]
    Network,
    /// The component was never told of it.
    #[error("`{path}` is not among the tools that were granted")]
    UnknownTool { path: PathBuf },
    #[error("`{path}` is not the file any more that it was when the plan was made")]
    Changed { path: PathBuf },
    #[error("`{path}` leads out of the environment")]
    Outside { path: PathBuf },
    #[error("there is no `{path}`")]
    Missing { path: String },
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error("it {ending}")]
    Ended { ending: Ending },
    #[error("how far the build is could not be noted: {source}")]
    Note { source: std::io::Error },
}

impl StepError {
    /// Whether it asked for what the runtime was not granted.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::Variable { .. } | Self::Network | Self::UnknownTool { .. } | Self::Outside { .. }
        )
    }
}

/// What the steps of one build share.
pub(super) struct Place<'a> {
    pub(super) request: &'a Request<'a>,
    /// The environment.
    pub(super) folder: Folder,
    pub(super) temporary: PathBuf,
    pub(super) home: PathBuf,
}

impl Place<'_> {
    /// Executes a step. A process is shown to `started` as soon as there is one, its output to `output`.
    pub(super) async fn execute(
        &self,
        action: &StepAction,
        started: impl FnOnce(&ProcessRecord) -> std::io::Result<()> + Send,
        output: impl FnMut(Stream, &[u8]) + Send,
    ) -> Result<(), StepError> {
        match action {
            StepAction::MakeDir { path } => self.folder.make_dir(path)?,
            StepAction::WriteFile { path, contents, executable } => {
                refuse_marker(path)?;
                self.folder.write_file(path, contents, *executable)?;
            }
            StepAction::Link { path, target } => {
                refuse_marker(path)?;
                self.allow_target(path, target)?;
                self.folder.link(path, Path::new(target))?;
            }
            StepAction::Verify { path } => {
                components(path)?;
                if !self.folder.path().join(path).exists() {
                    return Err(StepError::Missing { path: path.clone() });
                }
            }
            StepAction::Run(step) => {
                let running = process::start(self.command(step)?).await?;
                started(running.record()).map_err(|source| StepError::Note { source })?;
                let finished = running.wait(output, Cancel::never()).await?;
                if finished.ending != Ending::Exited(0) {
                    return Err(StepError::Ended { ending: finished.ending });
                }
            }
        }
        Ok(())
    }

    fn command(&self, step: &RunStep) -> Result<Command, StepError> {
        if step.network && !self.request.network {
            return Err(StepError::Network);
        }
        let program = self.program(&step.program)?;
        let mut variables = Variables::base(&self.home, &self.temporary);
        variables.set("PATH", self.search_path(&program))?;
        for (name, value) in &step.variables {
            if crate::variable::steers_programs(name) {
                return Err(StepError::Variable { name: name.clone() });
            }
            variables.set(name, self.fill(value))?;
        }
        // The operator's come last: they say where packages come from, whatever the plan thinks.
        for (name, value) in self.request.variables {
            variables.set(name, value)?;
        }
        Ok(Command {
            arguments: step.arguments.iter().map(|argument| self.fill(argument)).collect(),
            variables: variables.into_vec(),
            folder: self.folder.folder(&step.folder)?,
            stdin: Stdin::Null,
            timeout: Some(step.timeout.unwrap_or(self.request.step_timeout)),
            grace: self.request.grace,
            // The caller keeps what it needs, of both streams in one.
            limits: OutputLimits { per_stream: 0 },
            ..Command::new(program)
        })
    }

    /// Where a step finds programs by name: what the environment has, then what lies beside the selected
    /// interpreter, then what lies beside the step's program. A tool whose `#!` line looks for its
    /// interpreter by name thus finds the selected one.
    fn search_path(&self, program: &Path) -> OsString {
        let beside = |path: &Path| path.parent().map(Path::to_path_buf);
        let mut folders: Vec<PathBuf> = Vec::new();
        let wanted = [
            Some(self.folder.path().join("bin")),
            beside(&self.request.installation.path),
            beside(program),
            Some("/usr/bin".into()),
            Some("/bin".into()),
        ];
        for folder in wanted.into_iter().flatten() {
            // A folder with a colon in its name can't be on a search path.
            if !folders.contains(&folder) && !folder.as_os_str().as_encoded_bytes().contains(&b':') {
                folders.push(folder);
            }
        }
        let folders: Vec<&OsStr> = folders.iter().map(|folder| folder.as_os_str()).collect();
        folders.join(OsStr::new(":"))
    }

    fn program(&self, program: &PlannedProgram) -> Result<PathBuf, StepError> {
        let Request { installation, identity, tools, .. } = self.request;
        let unchanged = |path: &Path, identity: &Identity| match Identity::of(path) {
            Ok(now) if now == *identity => Ok(path.to_owned()),
            Ok(_) | Err(_) => Err(StepError::Changed { path: path.to_owned() }),
        };
        match program {
            PlannedProgram::Installation => unchanged(&installation.path, identity),
            PlannedProgram::Tool(path) => match tools.iter().find(|tool| tool.path == *path) {
                Some(tool) => unchanged(&tool.path, &tool.identity),
                None => Err(StepError::UnknownTool { path: path.clone() }),
            },
            PlannedProgram::Environment(path) => {
                components(path)?;
                // Started by this path and not by the one that links lead to: an interpreter recognises an
                // environment by where it was started from.
                let full = self.folder.path().join(path);
                let real = full.canonicalize().map_err(|source| PathError::io(&full, source))?;
                let root = self.folder.path();
                let root = root.canonicalize().map_err(|source| PathError::io(root, source))?;
                if real.starts_with(root) || self.is_allowed(&real) {
                    Ok(full)
                } else {
                    Err(StepError::Outside { path: full })
                }
            }
        }
    }

    /// Whether a canonical path outside of the environment is one that an environment may lead to.
    fn is_allowed(&self, real: &Path) -> bool {
        let Request { installation, tools, link_roots, .. } = self.request;
        let is = |path: &Path| path.canonicalize().is_ok_and(|path| path == real);
        let is_below = |root: &Path| root.canonicalize().is_ok_and(|root| real.starts_with(root));
        is(&installation.path)
            || tools.iter().any(|tool| is(&tool.path))
            || link_roots.iter().any(|root| is_below(root))
    }

    /// A link leads to something within the environment, or to what the host knows outside of it.
    fn allow_target(&self, path: &str, target: &str) -> Result<(), PathError> {
        let refused = || PathError::Target { path: path.to_owned(), target: target.to_owned() };
        let depth = components(path)?.len().saturating_sub(1);
        let climbs = Path::new(target).components().take_while(|part| *part == Component::ParentDir).count();
        let mut rest = Path::new(target).components().skip(climbs);
        let is_allowed = if target.starts_with('/') {
            !Path::new(target).components().any(|part| part == Component::ParentDir)
                && Path::new(target).canonicalize().is_ok_and(|real| self.is_allowed(&real))
        } else {
            // Upwards only at the beginning: what comes before is made of folders, not of links.
            climbs <= depth && rest.all(|part| matches!(part, Component::Normal(_)))
        };
        if is_allowed && !target.is_empty() && !target.contains('\0') { Ok(()) } else { Err(refused()) }
    }

    /// Replaces the placeholders, once: what they stand for is not looked at again.
    fn fill(&self, text: &str) -> OsString {
        let places: [(&str, &Path); 3] = [
            ("${environment}", self.folder.path()),
            ("${cache}", self.request.cache),
            ("${installation}", &self.request.installation.path),
        ];
        let mut filled = OsString::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, at) = rest.split_at(start);
            filled.push(before);
            if let Some((name, value)) = places.iter().find(|(name, _)| at.starts_with(name)) {
                filled.push(value);
                rest = &at[name.len()..];
            } else {
                filled.push("${");
                rest = &at[2..];
            }
        }
        filled.push(rest);
        filled
    }
}

/// The marker is written by the host, and last.
fn refuse_marker(path: &str) -> Result<(), PathError> {
    if components(path)? == [OsStr::new(MARKER)] {
        return Err(PathError::NotRelative { path: path.to_owned() });
    }
    Ok(())
}
