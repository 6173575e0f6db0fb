//! What actions and sensors have in common: how they are started, and the runtime that they mean.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::change::{ChangeError, Kind};
use super::database::{Row, Transaction};
use super::row::{json, parsed};
use super::{Result, Store};
use crate::pack::{KnownRuntime, Lookup, Program, find_runtime};
use crate::reference::{ActionRef, PackRef, RuntimeRef};

/// Which actions or sensors are listed, in order of reference: all of them by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramFilter<'a> {
    /// Those of this pack.
    pub pack: Option<&'a PackRef>,
    pub enabled: Option<bool>,
    /// Those after this reference, the last of the page before.
    pub after: Option<&'a str>,
    /// So many at most.
    pub limit: Option<u32>,
}

impl ProgramFilter<'_> {
    pub(super) fn limit(&self) -> i64 {
        self.limit.map_or(i64::MAX, i64::from)
    }
}

impl Store {
    /// References of the actions and sensors that are started with a runtime, whatever they call it.
    pub async fn runtime_users(&self, runtime: &RuntimeRef) -> Result<Vec<String>> {
        let known = known_runtimes(&self.database.query(SELECT_NAMES).fetch_all().await?)?;
        let programs = self.database.query(SELECT_PROGRAMS).fetch_all().await?;
        users_among(&programs, &known, |meant| meant == runtime)
    }
}

const SELECT_NAMES: &str = "select runtime.ref as ref, runtime.plugin is not null as has_versions,
         runtime_alias.alias as alias
     from runtime left join runtime_alias on runtime_alias.runtime = runtime.id
     order by runtime.ref, runtime_alias.alias";

const SELECT_PROGRAMS: &str = "select ref, runtime from action union all select ref, runtime from sensor";

fn known_runtimes(rows: &[Row]) -> Result<Vec<KnownRuntime>> {
    let mut known: Vec<KnownRuntime> = Vec::new();
    for row in rows {
        let reference = parsed(row, "ref")?;
        if known.last().is_none_or(|last| last.reference != reference) {
            let has_versions = row.try_get("has_versions")?;
            known.push(KnownRuntime { reference, aliases: Vec::new(), has_versions });
        }
        if let (Some(alias), Some(last)) = (row.try_get("alias")?, known.last_mut()) {
            last.aliases.push(alias);
        }
    }
    Ok(known)
}

fn users_among(
    programs: &[Row],
    known: &[KnownRuntime],
    is_meant: impl Fn(&RuntimeRef) -> bool,
) -> Result<Vec<String>> {
    let mut users = Vec::new();
    for row in programs {
        // Both kinds of references are written alike.
        let user: ActionRef = parsed(row, "ref")?;
        let text: String = row.try_get("runtime")?;
        if let Lookup::Found(runtime) = find_runtime(&text, Some(user.pack()), known)
            && is_meant(&runtime.reference)
        {
            users.push(user.to_string());
        }
    }
    users.sort();
    Ok(users)
}

/// The actions and sensors that are started with one of the runtimes that `is_meant` picks.
pub(super) async fn users(
    transaction: &mut Transaction,
    is_meant: impl Fn(&RuntimeRef) -> bool,
) -> Result<Vec<String>> {
    let known = known_runtimes(&transaction.query(SELECT_NAMES).fetch_all().await?)?;
    users_among(&transaction.query(SELECT_PROGRAMS).fetch_all().await?, &known, is_meant)
}

/// The runtime that `text` means to something of a pack; none if nothing is called so, or several are.
pub(super) async fn meant_runtime(
    transaction: &mut Transaction,
    pack: &PackRef,
    text: &str,
) -> Result<Option<RuntimeRef>> {
    let known = known_runtimes(&transaction.query(SELECT_NAMES).fetch_all().await?)?;
    Ok(match find_runtime(text, Some(pack), &known) {
        Lookup::Found(runtime) => Some(runtime.reference.clone()),
        Lookup::Ambiguous(_) | Lookup::Unknown => None,
    })
}

/// Locks the runtime that something is to be started with: it is not deleted before that is written.
pub(super) async fn lock_runtime(
    transaction: &mut Transaction,
    (name, pack): (&str, &PackRef),
    program: &Program,
) -> Result<(), ChangeError> {
    let text = &program.runtime;
    let known = known_runtimes(&transaction.query(SELECT_NAMES).fetch_all().await?)?;
    let found = match find_runtime(text, Some(pack), &known) {
        Lookup::Found(runtime) => Kind::Runtime.lock(transaction, &runtime.reference.to_string()).await?,
        Lookup::Unknown => None,
        Lookup::Ambiguous(several) => {
            let meant = several.into_iter().map(|runtime| runtime.reference.clone()).collect();
            return Err(ChangeError::Ambiguous { name: name.to_owned(), text: text.clone(), meant });
        }
    };
    match found {
        Some(_) => Ok(()),
        None => {
            Err(ChangeError::Unknown { name: name.to_owned(), kind: Kind::Runtime, needed: text.clone() })
        }
    }
}

pub(super) fn program_row(row: &Row) -> Result<Program> {
    let constraint: Option<String> = row.try_get("runtime_version_constraint")?;
    let decode = |source| sqlx::Error::ColumnDecode {
        index: "runtime_version_constraint".to_owned(),
        source: Box::new(source),
    };
    Ok(Program {
        runtime: row.try_get("runtime")?,
        constraint: constraint.map(|text| text.try_into().map_err(decode)).transpose()?,
        variant: row.try_get("runtime_variant")?,
        version_policy: named(row, "version_policy")?,
        entry_point: row.try_get("entry_point")?,
        env_vars: json(row, "env_vars")?,
        secrets: json(row, "secrets")?,
    })
}

/// The name of an enum's case, as serde writes it.
pub(super) fn name<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// The case of an enum that a column names.
pub(super) fn named<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    let name: String = row.try_get(column)?;
    Ok(serde_json::from_value(serde_json::Value::String(name))
        .map_err(|source| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) })?)
}
