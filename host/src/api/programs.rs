//! What actions and sensors have in common: how they are listed, read, made and changed.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::Caller;
use super::body::typed;
use super::change::{merged, written};
use super::declaration;
use super::page::{Listed, Page, SortKey, Wanted};
use super::problem::Problem;
use super::state::{IfMatch, MayMatch};
use crate::nearest::nearest_name;
use crate::pack::Program;
use crate::pack::part::{Fault, Surroundings};
use crate::reference::PackRef;
use crate::store::program::{Declared, ProgramFilter, ProgramRow};
use crate::store::slice::Slice;
use crate::store::{self, Store};
use crate::token::Role;
use crate::version::constraint::Constraint;

/// An action or a sensor, as the API has it.
pub(super) trait Served: Declared<Reference: FromStr<Err: Display>> {
    /// What of it is declared, as a file of a pack says it.
    type Document: From<Self> + Serialize + DeserializeOwned;

    fn read(surroundings: &Surroundings, document: &Json) -> Result<Self, Vec<Fault>>;

    fn find(
        store: &Store,
        reference: &Self::Reference,
    ) -> impl Future<Output = store::Result<Option<ProgramRow<Self>>>> + Send;
}

/// Which actions or sensors are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this pack.
    pack: Option<String>,
    /// Only those that are enabled, or are not.
    enabled: Option<bool>,
    /// Only those that name their runtime so.
    runtime: Option<String>,
}

/// An action or a sensor in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProgramSummary {
    r#ref: String,
    label: String,
    runtime: String,
    runtime_version_constraint: Option<String>,
    enabled: bool,
}

impl ProgramSummary {
    pub(super) fn new(reference: String, label: String, enabled: bool, program: Program) -> Self {
        let runtime_version_constraint = declaration::constraint(&program);
        Self { r#ref: reference, label, runtime: program.runtime, runtime_version_constraint, enabled }
    }
}

impl Listed for ProgramSummary {
    const KEYS: &'static [SortKey<Self>] = &[("ref", |program| (&program.r#ref).into())];

    fn identity(&self) -> String {
        self.r#ref.clone()
    }
}

pub(super) async fn list<P: Served + Into<ProgramSummary>>(
    api: &Api,
    caller: &Caller,
    filter: &Filter,
    page: Wanted<ProgramSummary>,
) -> Result<axum::Json<Page<ProgramSummary>>, Problem> {
    let pack = caller.pack(filter.pack.as_deref())?;
    let wanted =
        ProgramFilter { pack: pack.as_ref(), enabled: filter.enabled, runtime: filter.runtime.as_deref() };
    let cut = page.read()?;
    let rows = api.worker.store.programs::<P>(&wanted, &cut.slice()?).await?;
    Ok(axum::Json(cut.page(rows.into_iter().map(|row| row.declared.into()).collect())))
}

pub(super) async fn show<P: Served>(
    api: &Api,
    caller: &Caller,
    text: &str,
) -> Result<ProgramRow<P>, Problem> {
    let row = find::<P>(api, caller, text).await?;
    caller.sees(P::pack_of(row.declared.reference()))?;
    Ok(row)
}

async fn find<P: Served>(api: &Api, caller: &Caller, text: &str) -> Result<ProgramRow<P>, Problem> {
    let row = match text.parse::<P::Reference>() {
        Ok(reference) => P::find(&api.worker.store, &reference).await?,
        Err(_) => None,
    };
    if let Some(row) = row {
        return Ok(row);
    }
    let problem = Problem::not_found(format!("there is no {} `{text}`", P::KIND));
    Err(problem.hinted(nearest::<P>(api, caller, text).await))
}

/// What is probably meant by the name of one that is not there, of those that a caller sees.
pub(super) async fn nearest<P: Served>(api: &Api, caller: &Caller, text: &str) -> Option<String> {
    let filter = ProgramFilter { pack: caller.token.pack.as_ref(), ..ProgramFilter::default() };
    let rows = api.worker.store.programs::<P>(&filter, &Slice::default()).await.ok()?;
    nearest_name(rows.iter().map(|row| row.declared.reference().to_string()), text)
}

/// What is declared, read as a file of the pack would be.
async fn read<P: Served>(api: &Api, pack: &PackRef, document: Map<String, Json>) -> Result<P, Problem> {
    // Of the types that the description says; what is in there besides is found by what reads it.
    typed::<P::Document>(Json::Object(document.clone()))?;
    check_constraint(document.get("runtime_version_constraint").and_then(Json::as_str))?;
    P::read(&surroundings(api, pack).await?, &written(document)).map_err(Problem::declaration)
}

pub(super) async fn create<P: Served>(
    api: &Api,
    caller: &Caller,
    document: Map<String, Json>,
) -> Result<ProgramRow<P>, Problem> {
    let reference = reference::<P::Reference>(&document)?;
    let pack = P::pack_of(&reference);
    caller.needs_in(Role::Author, pack)?;
    api.worker.store.create_program(&read::<P>(api, pack, document).await?).await?;
    find(api, caller, &reference.to_string()).await
}

pub(super) async fn change<P: Served>(
    api: &Api,
    caller: &Caller,
    (text, state): (&str, &IfMatch),
    change: Map<String, Json>,
) -> Result<ProgramRow<P>, Problem> {
    let ProgramRow { declared, revision, .. } = find::<P>(api, caller, text).await?;
    let pack = P::pack_of(declared.reference()).clone();
    caller.needs_in(Role::Author, &pack)?;
    let changed = read::<P>(api, &pack, merged(&P::Document::from(declared), change)?).await?;
    // What is left out stays as it was read just now: nobody else's change is lost.
    api.worker.store.update_program(&changed, Some(state.of(revision)?)).await?;
    find(api, caller, text).await
}

pub(super) async fn delete<P: Served>(
    api: &Api,
    caller: &Caller,
    (text, state): (&str, &MayMatch),
) -> Result<StatusCode, Problem> {
    let ProgramRow { declared, revision, .. } = find::<P>(api, caller, text).await?;
    caller.needs_in(Role::Author, P::pack_of(declared.reference()))?;
    api.worker.store.delete_program::<P>(declared.reference(), state.of(revision)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The installed pack that something is to be added to, with what that may refer to.
pub(super) async fn surroundings(api: &Api, pack: &PackRef) -> Result<Surroundings, Problem> {
    let none = || Problem::invalid("/ref", format!("there is no pack `{pack}`"));
    let row = api.worker.store.pack(pack).await?.ok_or_else(none)?;
    Ok(Surroundings::of(&api.worker, pack, &row.digest).await?)
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
