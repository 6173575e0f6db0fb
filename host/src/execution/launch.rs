//! What is started: the program, its arguments, and an environment built from nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::detection::DetectionError;
use crate::environment::prepare::{Prepared, Ready};
use crate::environment::ready::Lease;
use crate::environment::{LaunchCommand, PlannedProgram};
use crate::installation::Identity;
use crate::pack::{Program, VariableChange};
use crate::plugin::{Function, LaunchRequest, PluginError, RuntimePlugin};
use crate::process::variables::{InvalidVariable, Variables};
use crate::store::runtime::RuntimeRow;
use crate::worker::{Kept, Worker};

use super::choice::Choice;

/// What to start, resolved.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Absolute path.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// On top of the clean environment, in order.
    pub changes: Vec<(String, VariableChange)>,
    /// The interpreter, and what it was when it was verified.
    pub interpreter: Option<(PathBuf, Identity)>,
    /// The environment's folder, whose own programs may be started.
    pub environment: Option<PathBuf>,
    /// Whether the program is a tool that was granted.
    pub tool: bool,
    /// Keeps the environment from being collected while it is used.
    pub lease: Option<Lease>,
}

impl Launch {
    /// Compares once more, right before the start: what was verified is what runs.
    pub(crate) fn check(&self) -> Result<(), LaunchError> {
        match &self.interpreter {
            Some((path, identity)) if Identity::of(path).ok().as_ref() != Some(identity) => {
                Err(LaunchError::Changed { path: path.clone() })
            }
            Some((path, _)) if !self.leads_to(path) => {
                Err(LaunchError::Elsewhere { path: self.program.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the program is the interpreter, or of an environment that was built with it: in either
    /// case it is the interpreter's file, or lies below the folder that it is named by.
    fn leads_to(&self, interpreter: &Path) -> bool {
        let Ok(real) = self.program.canonicalize() else { return false };
        real == interpreter
            || self.environment.as_ref().is_some_and(|folder| real.starts_with(folder))
            || self.tool
    }
}

/// Why an action can't be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The component failed, or says that it can't be done.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The component may not be used.
    #[error(transparent)]
    Detection(#[from] DetectionError),
    /// It wants a program of an environment, and there is none.
    #[error("the component wants `{program}` of an environment, but planned none")]
    NoEnvironment {
        /// What it wants.
        program: String,
    },
    /// It wants a tool that it was not told of.
    #[error("the component wants `{}`, which it was not told of in this call", path.display())]
    UnknownTool {
        /// What it wants.
        path: PathBuf,
    },
    /// The interpreter is not the file any more that was verified.
    #[error("`{}` is not the file any more that was verified", path.display())]
    Changed {
        /// The interpreter.
        path: PathBuf,
    },
    /// The program of the environment is not the interpreter's and not the environment's own.
    #[error("`{}` leads out of its environment, and not to the interpreter that was verified", path.display())]
    Elsewhere {
        /// The program.
        path: PathBuf,
    },
    /// A variable can't be set.
    #[error(transparent)]
    Variable(#[from] InvalidVariable),
}

/// How to start an entry point that a runtime's interpreter reads.
pub(crate) async fn interpreted(
    worker: &Worker,
    runtime: &RuntimeRow,
    choice: &Choice,
    prepared: &Prepared,
    program: &Program,
) -> Result<Launch, LaunchError> {
    let (installation, identity) = choice.installed();
    let environment = prepared.environment.as_ref();
    let request = LaunchRequest {
        installation: installation.clone(),
        config: choice.config.clone(),
        settings: runtime.settings().to_vec(),
        environment: environment.map(|ready| ready.folder.clone()),
        entry_point: prepared.root.join(&program.entry_point),
        arguments: Vec::new(),
    };
    let asked =
        (&installation, &choice.config, runtime.settings(), &request.environment, &request.entry_point);
    let ask = |plugin: RuntimePlugin| {
        let request = request.clone();
        async move {
            let answer = plugin.launch(request).await?;
            Ok::<Kept<LaunchCommand>, LaunchError>(answer.into())
        }
    };
    let answer = worker.answer(runtime, (Function::Launch, &asked), |_| true, ask).await?;
    let LaunchCommand { program: wanted, arguments, variables } = answer.value;
    let tool = matches!(wanted, PlannedProgram::Tool(_));
    let path = match wanted {
        PlannedProgram::Installation => choice.installation.path.clone(),
        PlannedProgram::Environment(relative) => match environment {
            Some(ready) => ready.folder.join(relative),
            None => return Err(LaunchError::NoEnvironment { program: relative }),
        },
        PlannedProgram::Tool(path) if answer.tools.contains_key(&path) => path,
        PlannedProgram::Tool(path) => return Err(LaunchError::UnknownTool { path }),
    };
    let places = places(&choice.installation.path, environment);
    let mut changes = variables;
    changes.extend(choice.config.env_vars.clone());
    changes.extend(program.env_vars.clone());
    Ok(Launch {
        program: path,
        arguments: arguments.iter().map(|argument| expand(argument, &places)).collect(),
        changes: changes.into_iter().map(|(name, change)| (name, expand_change(change, &places))).collect(),
        interpreter: Some((choice.installation.path.clone(), identity)),
        environment: environment.and_then(|ready| ready.folder.canonicalize().ok()),
        tool,
        lease: environment.and_then(|ready| ready.lease.clone()),
    })
}

/// How to start an entry point that is itself the program.
pub(crate) fn direct(runtime: &RuntimeRow, pack_folder: &Path, program: &Program) -> Launch {
    let mut changes = runtime.runtime.execution_config.env_vars.clone();
    changes.extend(program.env_vars.clone());
    let program = pack_folder.join(&program.entry_point);
    Launch {
        program,
        arguments: Vec::new(),
        changes,
        interpreter: None,
        environment: None,
        tool: false,
        lease: None,
    }
}

/// The complete environment of the process.
pub(crate) fn variables(
    launch: &Launch,
    (home, temporary): (&Path, &Path),
    given: &BTreeMap<&str, String>,
) -> Result<Variables, InvalidVariable> {
    let mut variables = Variables::base(home, temporary);
    variables.apply(&launch.changes)?;
    for (name, value) in given {
        variables.set(name, value.as_str())?;
    }
    Ok(variables)
}

fn places(installation: &Path, environment: Option<&Ready>) -> Vec<(&'static str, String)> {
    let mut places = vec![("${installation}", installation.to_string_lossy().into_owned())];
    places.extend(environment.map(|ready| ("${environment}", ready.folder.to_string_lossy().into_owned())));
    places
}

/// Replaces placeholders. One that nothing stands for stays: there is no environment, or it is meant for
/// the program.
fn expand(text: &str, places: &[(&str, String)]) -> String {
    places.iter().fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
}

fn expand_change(change: VariableChange, places: &[(&str, String)]) -> VariableChange {
    match change {
        VariableChange::Set(text) => VariableChange::Set(expand(&text, places)),
        VariableChange::Prepend(text) => VariableChange::Prepend(expand(&text, places)),
        VariableChange::Append(text) => VariableChange::Append(expand(&text, places)),
        VariableChange::Unset => VariableChange::Unset,
    }
}
