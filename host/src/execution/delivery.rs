//! How parameters and secrets reach the process, and what it is told about itself.

use std::collections::BTreeMap;

use super::Asked;
use super::launch::{Launch, variables};
use super::outcome::ExecutionError;
use super::run_folder::RunFolder;
use crate::pack::{ParameterDelivery, ParameterFormat};
use crate::process::{Command, OutputLimits, Stdin};
use crate::trace::TraceContext;
use crate::worker::Worker;

/// Tells a process for which execution it runs; what it starts knows it too, unless it is told otherwise.
pub(super) const EXECUTION_ID: &str = "ATTUNE_EXECUTION_ID";
/// The variable with its attempt.
pub(super) const ATTEMPT: &str = "ATTUNE_ATTEMPT";

/// The command, with everything that the process is given.
pub(super) fn deliver(
    worker: &Worker,
    asked: &Asked,
    launch: &Launch,
    folder: &RunFolder,
    version: Option<&str>,
) -> Result<Command, ExecutionError> {
    let failed = |error: &dyn std::fmt::Display| ExecutionError::Delivery(error.to_string());
    let format = asked.action.parameters.format;
    let mut given = about(asked, version);
    let stdin = match asked.action.parameters.delivery {
        ParameterDelivery::Stdin => Stdin::Bytes(asked.encoded.0.clone()),
        ParameterDelivery::File => {
            let path =
                folder.write_private(file_name(format), &asked.encoded.0).map_err(|error| failed(&error))?;
            given.insert("ATTUNE_PARAMETERS_FILE", path.to_string_lossy().into_owned());
            Stdin::Null
        }
    };
    for declaration in &asked.action.program.secrets {
        // Only where the pack asks for it: variables are easier to leak than what is read.
        if let (Some(variable), Some(value)) =
            (&declaration.env, asked.secrets.get(declaration.name.as_str()))
        {
            given.insert(variable, value.to_owned());
        }
    }
    if let (Some(url), Some(token)) = (&worker.settings.api.url, &asked.token) {
        given.insert("ATTUNE_API_URL", url.clone());
        given.insert("ATTUNE_API_TOKEN", token.reveal().to_owned());
    }
    let home = folder.home();
    let complete = variables(launch, (&home, &folder.temporary()), &given).map_err(|error| failed(&error))?;
    Ok(Command {
        arguments: launch.arguments.iter().map(Into::into).collect(),
        variables: complete.into_vec(),
        folder: home,
        stdin,
        timeout: asked.timeout,
        grace: worker.settings.kill_grace,
        // What is kept is kept masked, not here.
        limits: OutputLimits { per_stream: 0 },
        ..Command::new(&launch.program)
    })
}

/// Tells the process which trace it runs in, whatever the pack says.
pub(super) fn hand_on(trace: Option<TraceContext>, command: &mut Command) {
    if let Some(trace) = trace {
        let variables =
            trace.variables().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>();
        command.variables.retain(|(name, _)| variables.iter().all(|(given, _)| given != name));
        command.variables.extend(variables);
    }
}

/// What a process may want to know of what it runs for.
fn about<'a>(asked: &Asked, version: Option<&str>) -> BTreeMap<&'a str, String> {
    let mut about = BTreeMap::from([
        (EXECUTION_ID, asked.attempt.id.to_string()),
        (ATTEMPT, asked.attempt.number.to_string()),
        ("ATTUNE_ACTION", asked.action.reference.to_string()),
        ("ATTUNE_PACK", asked.action.reference.pack().to_string()),
        ("ATTUNE_PACK_DIR", asked.pack_folder.to_string_lossy().into_owned()),
        ("ATTUNE_RUNTIME", asked.runtime.runtime.reference.to_string()),
    ]);
    about.extend(version.map(|version| ("ATTUNE_RUNTIME_VERSION", version.to_owned())));
    about
}

fn file_name(format: ParameterFormat) -> &'static str {
    match format {
        ParameterFormat::Json => "parameters.json",
        ParameterFormat::Yaml => "parameters.yaml",
        ParameterFormat::Dotenv => "parameters.env",
    }
}
