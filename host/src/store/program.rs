//! What actions and sensors have in common: how they are kept and started, and the runtime that they mean.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::change::{ChangeError, Kind, Revision, lock_for_new};
use super::database::{Row, Transaction};
use super::row::{json, parsed};
use super::slice::Slice;
use super::{Durability, Result, Store};
use crate::pack::{KnownRuntime, Lookup, Program, find_runtime};
use crate::reference::{ActionRef, PackRef, RuntimeRef};

/// An action or a sensor, which a pack or somebody else declared.
pub trait Declared: Send + Sync + Sized {
    type Reference: Display + Sync;

    /// Selects the one with a reference.
    const SELECT: &'static str;
    /// Selects those of a pack (`$1`), enabled or not (`$2`), that are started with what is called `$3`; a slice by
    /// reference, up and down, after `$4` and up to `$5`.
    const SELECT_SLICE: [&'static str; 2];
    /// Deletes the one with an id.
    const DELETE: &'static str;
    const KIND: Kind;

    fn reference(&self) -> &Self::Reference;

    fn pack_of(reference: &Self::Reference) -> &PackRef;

    fn program(&self) -> &Program;

    /// # Errors
    ///
    /// The row can't be read.
    fn of(row: &Row) -> Result<Self>;

    /// Writes it in place of what is under its reference.
    fn put(
        &self,
        transaction: &mut Transaction,
        pack: i64,
        ad_hoc: bool,
    ) -> impl Future<Output = Result<Revision>> + Send;
}

/// An installed action or sensor.
#[derive(Clone, Debug)]
pub struct ProgramRow<P> {
    pub declared: P,
    /// Digest of the pack that it belongs to.
    pub pack_digest: String,
    pub revision: Revision,
    /// Made by somebody, not by the pack: it stays when the pack is installed again.
    pub ad_hoc: bool,
}

impl<P: Declared> ProgramRow<P> {
    pub(super) fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            declared: P::of(row)?,
            pack_digest: row.try_get("pack_digest")?,
            revision: Revision::of(row)?,
            ad_hoc: row.try_get("ad_hoc")?,
        })
    }
}

/// Which actions or sensors are listed: all of them by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramFilter<'a> {
    /// Those of this pack.
    pub pack: Option<&'a PackRef>,
    pub enabled: Option<bool>,
    /// Those that call their runtime so.
    pub runtime: Option<&'a str>,
}

impl Store {
    /// The action or sensor with this reference.
    pub async fn program<P: Declared>(&self, reference: &P::Reference) -> Result<Option<ProgramRow<P>>> {
        let row = self.database.query(P::SELECT).bind(reference.to_string()).fetch_optional().await?;
        row.as_ref().map(ProgramRow::of).transpose()
    }

    /// Some actions or sensors, by reference.
    pub async fn programs<P: Declared>(
        &self,
        filter: &ProgramFilter<'_>,
        slice: &Slice<String>,
    ) -> Result<Vec<ProgramRow<P>>> {
        let rows = self
            .database
            .query(slice.way(P::SELECT_SLICE))
            .bind(filter.pack.map(PackRef::as_str))
            .bind(filter.enabled)
            .bind(filter.runtime)
            .bind(slice.after.as_deref())
            .bind(slice.limit())
            .fetch_all()
            .await?;
        rows.iter().map(ProgramRow::of).collect()
    }

    /// Adds an action or a sensor to a pack that is installed; it stays when the pack is installed again, unless that has
    /// one of its name.
    pub async fn create_program<P: Declared>(&self, declared: &P) -> Result<Revision, ChangeError> {
        let (reference, pack) = (declared.reference().to_string(), P::pack_of(declared.reference()));
        let mut transaction = self.begin(Durability::Disk).await?;
        let id = lock_for_new(&mut transaction, P::KIND, pack.as_str(), &reference).await?;
        lock_runtime(&mut transaction, (&reference, pack), declared.program()).await?;
        let revision = declared.put(&mut transaction, id, true).await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Puts an action or a sensor in place of what is under its reference; with `expected`, only if that is the last
    /// state. The next installation of the pack puts back what the pack ships. What of an action waits in the queue
    /// follows it.
    pub async fn update_program<P: Declared>(
        &self,
        declared: &P,
        expected: Option<Revision>,
    ) -> Result<Revision, ChangeError> {
        let (reference, pack) = (declared.reference().to_string(), P::pack_of(declared.reference()));
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_runtime(&mut transaction, (&reference, pack), declared.program()).await?;
        let locked = P::KIND.lock_for_change(&mut transaction, &reference, expected).await?;
        let revision = declared.put(&mut transaction, locked.pack, locked.ad_hoc).await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Deletes an action or a sensor; with `expected`, only in that state. What a pack ships comes back when that is
    /// installed again.
    pub async fn delete_program<P: Declared>(
        &self,
        reference: &P::Reference,
        expected: Option<Revision>,
    ) -> Result<(), ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        let locked = P::KIND.lock_for_change(&mut transaction, &reference.to_string(), expected).await?;
        transaction.query(P::DELETE).bind(locked.id).execute().await?;
        self.commit_runnable(transaction).await?;
        Ok(())
    }

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
