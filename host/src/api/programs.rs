//! What actions and sensors have in common: how they are listed, and how documents of theirs are read.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use utoipa::IntoParams;

use super::Api;
use super::page::Wanted;
use super::problem::Problem;
use crate::pack::part::Surroundings;
use crate::pack::{Program, SecretDeclaration, VariableChange};
use crate::reference::PackRef;
use crate::version::constraint::Constraint;

/// Which actions or sensors are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this pack.
    pack: Option<String>,
    /// Only those that are enabled, or are not.
    pub(super) enabled: Option<bool>,
}

impl Filter {
    /// What it says, as the store takes it: one more than the page has, to see whether there is another.
    pub(super) fn read(&self, page: &Wanted) -> Result<(Option<PackRef>, u32), Problem> {
        let pack = self.pack.as_deref().map(str::parse::<PackRef>).transpose();
        let pack = pack.map_err(|error| Problem::invalid("query/pack", error.to_string()))?;
        Ok((pack, page.limit()?))
    }
}

/// The constraint of a program, as it is written.
pub(super) fn constraint(program: &Program) -> Option<String> {
    program.constraint.as_ref().map(ToString::to_string)
}

/// Changes of variables, as packs write them.
pub(super) fn variables(program: &Program) -> Map<String, Json> {
    let change = |change: &VariableChange| match change {
        VariableChange::Set(value) => json!(value),
        VariableChange::Prepend(value) => json!({ "prepend": value }),
        VariableChange::Append(value) => json!({ "append": value }),
        VariableChange::Unset => json!({ "unset": true }),
    };
    program.env_vars.iter().map(|(name, changed)| (name.clone(), change(changed))).collect()
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

/// The installed pack that something is to be added to, with what that may refer to.
pub(super) async fn surroundings(api: &Api, pack: &PackRef) -> Result<Surroundings, Problem> {
    let none = || Problem::invalid("/ref", format!("there is no pack `{pack}`"));
    let row = api.worker.store.pack(pack).await?.ok_or_else(none)?;
    Ok(Surroundings::of(&api.worker, pack, &row.digest).await?)
}

/// A document as packs write it: what is null is left out.
pub(super) fn written(mut document: Map<String, Json>) -> Json {
    document.retain(|_, value| !value.is_null());
    Json::Object(document)
}

/// A document with changes: what is null in those is taken out, and what they leave out stays (RFC 7396, of one level).
pub(super) fn merged<T: Serialize>(
    current: &T,
    change: Map<String, Json>,
) -> Result<Map<String, Json>, Problem> {
    if change.contains_key("ref") {
        return Err(Problem::invalid("/ref", "what something is called can't be changed"));
    }
    let Json::Object(mut document) = json!(current) else { return Err(Problem::internal()) };
    document.extend(change);
    document.retain(|_, value| !value.is_null());
    Ok(document)
}

/// What something that is to be made is called: the `ref` of its document.
pub(super) fn reference<T: FromStr<Err: Display>>(document: &Map<String, Json>) -> Result<T, Problem> {
    let text = document.get("ref").and_then(Json::as_str);
    let text = text.ok_or_else(|| Problem::invalid("/ref", "it needs a `ref`: pack and name"))?;
    text.parse().map_err(|error: T::Err| Problem::invalid("/ref", error.to_string()))
}

/// Refuses a constraint that can't be read, with the place.
pub(super) fn check_constraint(text: Option<&str>) -> Result<(), Problem> {
    match text.filter(|text| !text.is_empty()).map(Constraint::parse).transpose() {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::constraint("/runtime_version_constraint", &error)),
    }
}
