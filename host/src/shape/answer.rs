//! What components answer, as data: what `plugin call --json` prints, and what scenarios expect.

use serde_json::{Map, Value as Json, json};

use super::{PlanShape, program};
use crate::environment::{LaunchCommand, Plan};
use crate::installation::{Candidate, Failure, FailureClass, Installation, Verdict};
use crate::pack::VariableChange;
use crate::plugin::{Alias, Cause, Health, PluginError};
use crate::version::Version;

pub(crate) fn candidates(candidates: &[Candidate]) -> Json {
    let (mut installations, mut rejected) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match &candidate.outcome {
            Ok(found) => installations.push(installation(found)),
            Err(Failure { class, message }) => {
                rejected.push(json!({ "path": candidate.path, "class": class, "message": message }));
            }
        }
    }
    json!({ "installations": installations, "rejected": rejected })
}

fn installation(found: &Installation) -> Json {
    let Installation { path, version: Version { semver, native, variant }, source, aliases, attributes } =
        found;
    json!({
        "path": path,
        "version": semver.to_string(),
        "native": native,
        "variant": variant,
        "source": source,
        "aliases": aliases,
        "attributes": object(attributes),
    })
}

pub(crate) fn aliases(aliases: &[Alias]) -> Json {
    let aliases = aliases.iter().map(|alias| (alias.name.clone(), Json::from(alias.constraint.clone())));
    json!({ "aliases": aliases.collect::<Map<_, _>>() })
}

pub(crate) fn verdict(verdict: &Verdict) -> Json {
    let Verdict { version: Version { semver, native, variant }, checks, attributes } = verdict;
    json!({
        "usable": verdict.failure().is_none(),
        "version": semver.to_string(),
        "native": native,
        "variant": variant,
        "checks": checks,
        "attributes": object(attributes),
    })
}

pub(crate) fn plan(plan: &Plan) -> Json {
    json!(PlanShape::from(plan))
}

pub(crate) fn health(health: &Health) -> Json {
    match health {
        Health::Healthy => json!({ "healthy": true }),
        Health::Unhealthy { reason } => json!({ "healthy": false, "reason": reason }),
    }
}

pub(crate) fn command(command: &LaunchCommand) -> Json {
    let variables = command.variables.iter().map(|(name, change)| (name.clone(), variable(change)));
    json!({
        "program": program(&command.program),
        "arguments": command.arguments,
        "variables": variables.collect::<Map<_, _>>(),
    })
}

/// As a pack's `env_vars` have it.
fn variable(change: &VariableChange) -> Json {
    match change {
        VariableChange::Set(value) => json!(value),
        VariableChange::Prepend(value) => json!({ "prepend": value }),
        VariableChange::Append(value) => json!({ "append": value }),
        VariableChange::Unset => json!({ "unset": true }),
    }
}

pub(crate) fn failed(failure: &Failure) -> Json {
    json!({ "failure": failure })
}

/// Why a component gave no answer, as the failure that it refused with or as one of its own.
pub(crate) fn cause(error: &PluginError) -> Failure {
    match &*error.cause {
        Cause::Refused { failure } | Cause::Installation { failure } => failure.clone(),
        cause => Failure::new(FailureClass::PluginFailed, cause.to_string()),
    }
}

fn object(pairs: &[(String, String)]) -> Json {
    Json::Object(pairs.iter().map(|(name, value)| (name.clone(), Json::from(value.clone()))).collect())
}
