//! What is declared, as files of packs say it.

use serde_json::{Map, Value as Json, json};

use crate::pack::{
    DeclaredCommand, Distributions, ExecutionConfig, Program, SecretDeclaration, VariableChange,
};

/// An object of what there is.
fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
    let there = fields.into_iter().filter(|(_, value)| !value.is_null());
    there.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

/// The constraint of a program, as it is written.
pub(super) fn constraint(program: &Program) -> Option<String> {
    program.constraint.as_ref().map(ToString::to_string)
}

/// Changes of variables, as packs write them.
pub(super) fn variables(changes: &[(String, VariableChange)]) -> Map<String, Json> {
    let change = |change: &VariableChange| match change {
        VariableChange::Set(value) => json!(value),
        VariableChange::Prepend(value) => json!({ "prepend": value }),
        VariableChange::Append(value) => json!({ "append": value }),
        VariableChange::Unset => json!({ "unset": true }),
    };
    changes.iter().map(|(name, changed)| (name.clone(), change(changed))).collect()
}

/// Secrets, as packs write them.
pub(super) fn secrets(program: &Program) -> Vec<Json> {
    let secret = |SecretDeclaration { name, description, required, env }: &SecretDeclaration| {
        let mut document = json!({ "name": name, "required": required });
        for (key, value) in [("description", description), ("env", env)] {
            if let Some(value) = value {
                document[key] = json!(value);
            }
        }
        document
    };
    program.secrets.iter().map(secret).collect()
}

/// How installations are verified.
pub(super) fn distributions(distributions: &Distributions) -> Json {
    let commands = distributions.verification.iter().map(|command| {
        object([
            ("binary", json!(command.binary)),
            ("args", json!(command.args)),
            ("exit_code", json!(command.exit_code)),
            ("pattern", json!(command.pattern)),
            ("priority", json!(command.priority)),
            ("optional", json!(command.optional)),
        ])
    });
    json!({ "verification": { "commands": commands.collect::<Vec<_>>() } })
}

/// How things are run, and environments built.
pub(super) fn execution_config(config: &ExecutionConfig) -> Json {
    let ExecutionConfig { interpreter, environment, dependencies, env_vars } = config;
    let commands = |commands: &[DeclaredCommand]| commands.iter().map(command).collect::<Json>();
    json!({
        "interpreter": object([("binary", json!(interpreter.binary)), ("args", json!(interpreter.args))]),
        "environment": object([
            ("create", commands(&environment.create)),
            ("interpreter", json!(environment.interpreter)),
        ]),
        "dependencies": {
            "manifests": dependencies.manifests,
            "install": commands(&dependencies.install),
        },
        "env_vars": variables(env_vars),
    })
}

fn command(command: &DeclaredCommand) -> Json {
    object([
        ("run", json!(command.run)),
        ("network", json!(command.network)),
        ("timeout", json!(command.timeout.map(|timeout| timeout.as_secs_f64()))),
    ])
}
