//! The versions of runtimes: declared by packs, added by hand, or detected.
//!
//! Whether one is available follows from what live workers have [installed](super::installation); what is kept of that
//! here is rolled up whenever an installation or a worker changes.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};

use super::change::{ChangeError, Kind, Locked, Revision};
use super::database::{Row, Transaction};
use super::installation::lock_versions;
use super::row::{json, parsed, to_json};
use super::{Durability, Result, Store};
use crate::pack::{DeclaredVersion, Runtime};
use crate::reference::RuntimeRef;
use crate::version::{Series, Version};

/// Where a version comes that somebody added: after those of the pack, before what was only detected.
const AD_HOC_POSITION: i64 = i64::MAX - 1;

/// A version of a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeVersionRow {
    pub id: i64,
    pub runtime: RuntimeRef,
    pub declared: DeclaredVersion,
    /// Whether it is declared, by the pack or by hand; otherwise it was detected and nothing declared covers it.
    pub is_declared: bool,
    /// Whether a live worker has a verified installation of it.
    pub available: bool,
    /// When one was last verified.
    pub verified_at: Option<DateTime<Utc>>,
    /// Of what is declared: availability comes and goes without another one.
    pub revision: Revision,
    /// Added by somebody, not by the pack: it stays when the pack is installed again.
    pub ad_hoc: bool,
}

/// Which versions are listed: all of them by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct VersionFilter<'a> {
    /// Those of the runtime with this id.
    pub runtime: Option<i64>,
    /// Those of the runtime with this reference.
    pub runtime_ref: Option<&'a RuntimeRef>,
    /// Only those that a live worker has.
    pub available_only: bool,
}

impl Store {
    /// The versions of runtimes, the newest of each first: by precedence, not as texts.
    pub async fn runtime_versions(&self, filter: VersionFilter<'_>) -> Result<Vec<RuntimeVersionRow>> {
        let rows = self
            .database
            .query(
                "select * from runtime_version
             where ($1 is null or runtime = $1) and ($2 is null or runtime_ref = $2) and (available or not $3)",
            )
            .bind(filter.runtime)
            .bind(filter.runtime_ref.map(ToString::to_string))
            .bind(filter.available_only)
            .fetch_all()
            .await?;
        let mut versions = Vec::with_capacity(rows.len());
        for row in &rows {
            versions.push((precedence(row)?, version_row(row)?));
        }
        versions.sort_by_cached_key(|(precedence, row)| (row.runtime.clone(), Reverse(precedence.clone())));
        Ok(versions.into_iter().map(|(_, row)| row).collect())
    }

    /// The version of a runtime that is called `version`.
    pub async fn runtime_version(
        &self,
        runtime: &RuntimeRef,
        version: &str,
    ) -> Result<Option<RuntimeVersionRow>> {
        let row = self
            .database
            .query("select * from runtime_version where runtime_ref = $1 and version = $2")
            .bind(runtime.to_string())
            .bind(version)
            .fetch_optional()
            .await?;
        row.as_ref().map(version_row).transpose()
    }

    /// The default version of a runtime, if it has one.
    pub async fn default_version(&self, runtime: &RuntimeRef) -> Result<Option<RuntimeVersionRow>> {
        let row = self
            .database
            .query("select * from runtime_version where runtime_ref = $1 and is_default")
            .bind(runtime.to_string())
            .fetch_optional()
            .await?;
        row.as_ref().map(version_row).transpose()
    }

    /// Declares a version of a runtime beside those of its pack; it stays when the pack is installed again, unless that
    /// declares it too. One that was only detected becomes this one. A default takes the place of the one before.
    pub async fn create_runtime_version(
        &self,
        runtime: &RuntimeRef,
        version: &DeclaredVersion,
    ) -> Result<Revision, ChangeError> {
        let series = version.version.parse::<Series>()?;
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let Some(locked) = Kind::Runtime.lock(&mut transaction, &runtime.to_string()).await? else {
            let (name, needed) = (version.version.clone(), runtime.to_string());
            return Err(ChangeError::Unknown { name, kind: Kind::Runtime, needed });
        };
        // `3.12` and `v3.12` are the same.
        let is_same = |declared: &String| declared.parse().is_ok_and(|declared: Series| declared == series);
        if let Some(declared) =
            declared(&mut transaction, locked.id).await?.iter().find(|other| is_same(other))
        {
            let name = full_name(runtime, declared);
            return Err(ChangeError::Duplicate { kind: Kind::Version, name });
        }
        let place = Place { runtime: locked.id, position: AD_HOC_POSITION, ad_hoc: true };
        let revision = put_only_default(&mut transaction, place, runtime, version).await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Puts a version in place of the one that is called so; with `expected`, only if that is its last state. One that was
    /// only detected is declared from now on. The next installation of the pack puts back what the pack declares. What is said
    /// of its availability counts as for [`Store::set_availability`].
    pub async fn update_runtime_version(
        &self,
        runtime: &RuntimeRef,
        version: &DeclaredVersion,
        available: Option<bool>,
        expected: Option<Revision>,
    ) -> Result<Revision, ChangeError> {
        version.version.parse::<Series>()?;
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let (id, place) = lock_version(&mut transaction, runtime, &version.version, expected).await?;
        let mut revision = put_only_default(&mut transaction, place, runtime, version).await?;
        if let Some(available) = available {
            revision = say_available(&mut transaction, id, (available, None)).await?;
        }
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Deletes a version of a runtime; with `expected`, only in that state. What a pack declares comes back when that is
    /// installed again, and what is installed is detected again.
    pub async fn delete_runtime_version(
        &self,
        runtime: &RuntimeRef,
        version: &str,
        expected: Option<Revision>,
    ) -> Result<(), ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let (id, place) = lock_version(&mut transaction, runtime, version, expected).await?;
        transaction.query("delete from runtime_version where id = $1").bind(id).execute().await?;
        forget_scans(&mut transaction, place.runtime).await?;
        self.commit_runnable(transaction).await?;
        Ok(())
    }

    /// Deletes all versions of a runtime, as [`Store::delete_runtime_version`] does. How many those were.
    pub async fn delete_runtime_versions(&self, runtime: &RuntimeRef) -> Result<u64, ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let locked = lock_runtime(&mut transaction, runtime).await?;
        let deleted = transaction
            .query("delete from runtime_version where runtime = $1")
            .bind(locked.id)
            .execute()
            .await?;
        forget_scans(&mut transaction, locked.id).await?;
        self.commit_runnable(transaction).await?;
        Ok(deleted)
    }

    /// Makes a version the only default of its runtime; with `expected`, only in that state.
    pub async fn set_default_version(
        &self,
        runtime: &RuntimeRef,
        version: &str,
        expected: Option<Revision>,
    ) -> Result<Revision, ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let (id, place) = lock_version(&mut transaction, runtime, version, expected).await?;
        clear_default(&mut transaction, place.runtime).await?;
        let revision = Revision::new();
        transaction
            .query("update runtime_version set is_default = true, revision = $2 where id = $1")
            .bind(id)
            .bind(revision.value())
            .execute()
            .await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Leaves a runtime without a default version. Whether it had one.
    pub async fn clear_default_version(&self, runtime: &RuntimeRef) -> Result<bool, ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let locked = lock_runtime(&mut transaction, runtime).await?;
        let cleared = clear_default(&mut transaction, locked.id).await?;
        self.commit_runnable(transaction).await?;
        Ok(cleared)
    }

    /// Says whether a version is available, and when that was verified, for whoever knows before the workers do: what they
    /// have installed overrules it with the next change of an installation or of a worker. Without a time, that of the last
    /// verification stays. With `expected`, only in that state.
    pub async fn set_availability(
        &self,
        runtime: &RuntimeRef,
        version: &str,
        said: (bool, Option<DateTime<Utc>>),
        expected: Option<Revision>,
    ) -> Result<Revision, ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let (id, _) = lock_version(&mut transaction, runtime, version, expected).await?;
        let revision = say_available(&mut transaction, id, said).await?;
        transaction.commit().await?;
        Ok(revision)
    }
}

async fn say_available(
    transaction: &mut Transaction,
    id: i64,
    (available, verified_at): (bool, Option<DateTime<Utc>>),
) -> Result<Revision> {
    let revision = Revision::new();
    transaction
        .query(
            "update runtime_version set available = $2, verified_at = coalesce($3, verified_at), revision = $4
         where id = $1",
        )
        .bind(id)
        .bind(available)
        .bind(verified_at)
        .bind(revision.value())
        .execute()
        .await?;
    Ok(revision)
}

/// Where a version is kept, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    runtime: i64,
    position: i64,
    ad_hoc: bool,
}

fn full_name(runtime: &RuntimeRef, version: &str) -> String {
    format!("{runtime} {version}")
}

async fn lock_runtime(transaction: &mut Transaction, runtime: &RuntimeRef) -> Result<Locked, ChangeError> {
    Kind::Runtime.lock_for_change(transaction, &runtime.to_string(), None).await
}

/// Locks a runtime for the change of one of its versions: two that change its default wait for each other.
async fn lock_version(
    transaction: &mut Transaction,
    runtime: &RuntimeRef,
    version: &str,
    expected: Option<Revision>,
) -> Result<(i64, Place), ChangeError> {
    let name = || full_name(runtime, version);
    let not_found = || ChangeError::NotFound { kind: Kind::Version, name: name() };
    let locked = Kind::Runtime.lock(transaction, &runtime.to_string()).await?.ok_or_else(not_found)?;
    let row = transaction
        .query(
            "select id, position, revision, source, ad_hoc from runtime_version
         where runtime = $1 and version = $2",
        )
        .bind(locked.id)
        .bind(version)
        .fetch_optional()
        .await?;
    let row = row.ok_or_else(not_found)?;
    Kind::Version.check(Revision::of(&row)?, expected, name)?;
    let place = if is_declared(&row)? {
        let (position, ad_hoc) = (row.try_get("position")?, row.try_get("ad_hoc")?);
        Place { runtime: locked.id, position, ad_hoc }
    } else {
        Place { runtime: locked.id, position: AD_HOC_POSITION, ad_hoc: true }
    };
    Ok((row.try_get("id")?, place))
}

/// Labels of the versions of a runtime that are declared.
async fn declared(transaction: &mut Transaction, runtime: i64) -> Result<Vec<String>> {
    let rows = transaction
        .query("select version from runtime_version where runtime = $1 and source = 'declared'")
        .bind(runtime)
        .fetch_all()
        .await?;
    rows.iter().map(|row| row.try_get("version")).collect()
}

/// Whether there was one.
async fn clear_default(transaction: &mut Transaction, runtime: i64) -> Result<bool> {
    let cleared = transaction
        .query(
            "update runtime_version set is_default = false, revision = $2 where runtime = $1 and is_default",
        )
        .bind(runtime)
        .bind(Revision::new().value())
        .execute()
        .await?;
    Ok(cleared > 0)
}

/// Has workers look again: what they found was found by what the runtime was before.
pub(super) async fn forget_scans(transaction: &mut Transaction, runtime: i64) -> Result<()> {
    transaction.query("delete from detection_scan where runtime = $1").bind(runtime).execute().await?;
    Ok(())
}

/// Writes the versions of a runtime that somebody adds. Of several defaults, it is the last.
pub(super) async fn add_versions(
    transaction: &mut Transaction,
    runtime: i64,
    declared: &Runtime,
) -> Result<(), ChangeError> {
    let mut taken = Vec::with_capacity(declared.versions.len());
    for (position, version) in (0_i64..).zip(&declared.versions) {
        let series = version.version.parse::<Series>()?;
        if taken.contains(&series) {
            let name = full_name(&declared.reference, &version.version);
            return Err(ChangeError::Duplicate { kind: Kind::Version, name });
        }
        taken.push(series);
        let place = Place { runtime, position, ad_hoc: true };
        put_only_default(transaction, place, &declared.reference, version).await?;
    }
    Ok(())
}

/// Puts the versions that a pack declares in place of those that it declared before.
pub(super) async fn replace_versions(
    transaction: &mut Transaction,
    runtime: i64,
    declared: &Runtime,
) -> Result<()> {
    let rows = transaction
        .query("select id, version, ad_hoc from runtime_version where runtime = $1 and source = 'declared'")
        .bind(runtime)
        .fetch_all()
        .await?;
    for row in rows {
        let (version, ad_hoc): (String, bool) = (row.try_get("version")?, row.try_get("ad_hoc")?);
        let series = version.parse::<Series>().ok();
        let mut others = declared.versions.iter().map(|declared| &declared.version);
        // What somebody added stays, unless the pack now has the same in other words.
        let is_gone = if ad_hoc {
            others.any(|other| *other != version && other.parse().ok() == series)
        } else {
            others.all(|other| *other != version)
        };
        if is_gone {
            let id: i64 = row.try_get("id")?;
            transaction.query("delete from runtime_version where id = $1").bind(id).execute().await?;
        }
    }
    // Two defaults at any moment break the index, even within the transaction.
    let has_default = declared.versions.iter().any(|version| version.is_default);
    transaction
        .query(
            "update runtime_version set is_default = false, revision = $3
         where runtime = $1 and is_default and ($2 or not ad_hoc)",
        )
        .bind(runtime)
        .bind(has_default)
        .bind(Revision::new().value())
        .execute()
        .await?;
    for (position, version) in (0_i64..).zip(&declared.versions) {
        let place = Place { runtime, position, ad_hoc: false };
        put_version(transaction, place, &declared.reference, version).await?;
    }
    Ok(())
}

/// Writes a version in place of what is called so; if it is the default, no other is.
async fn put_only_default(
    transaction: &mut Transaction,
    place: Place,
    runtime: &RuntimeRef,
    version: &DeclaredVersion,
) -> Result<Revision> {
    if version.is_default {
        clear_default(transaction, place.runtime).await?;
    }
    put_version(transaction, place, runtime, version).await
}

/// Writes a declared version in place of what is called so.
async fn put_version(
    transaction: &mut Transaction,
    Place { runtime, position, ad_hoc }: Place,
    reference: &RuntimeRef,
    version: &DeclaredVersion,
) -> Result<Revision> {
    let floor = version.version.parse::<Series>().ok().map(|series| series.floor());
    let number = |part: fn(&semver::Version) -> u64| {
        floor.as_ref().map(|floor| i64::try_from(part(floor)).unwrap_or(i64::MAX))
    };
    let revision = Revision::new();
    transaction
        .query(
            "insert into runtime_version
             (runtime, runtime_ref, version, version_major, version_minor, version_patch, position,
              execution_config, distributions, is_default, source, meta, revision, ad_hoc)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'declared', $11, $12, $13)
         on conflict (runtime, version) do update set
             position = excluded.position, execution_config = excluded.execution_config,
             distributions = excluded.distributions, is_default = excluded.is_default,
             source = excluded.source, meta = excluded.meta, revision = excluded.revision,
             ad_hoc = excluded.ad_hoc",
        )
        .bind(runtime)
        .bind(reference.to_string())
        .bind(version.version.trim())
        .bind(number(|floor| floor.major))
        .bind(number(|floor| floor.minor))
        .bind(number(|floor| floor.patch))
        .bind(position)
        .bind(to_json(&version.execution_config))
        .bind(to_json(&version.distributions))
        .bind(version.is_default)
        .bind(to_json(&version.meta))
        .bind(revision.value())
        .bind(ad_hoc)
        .execute()
        .await?;
    Ok(revision)
}

fn is_declared(row: &Row) -> Result<bool> {
    let source: String = row.try_get("source")?;
    Ok(source == "declared")
}

/// The version that a label stands for: the lowest of a series.
fn precedence(row: &Row) -> Result<Version> {
    let label: String = row.try_get("version")?;
    if let Ok(version) = Version::lenient(&label) {
        return Ok(version);
    }
    let number = |column| -> Result<u64> {
        let number: Option<i64> = row.try_get(column)?;
        Ok(number.map_or(0, i64::unsigned_abs))
    };
    let (major, minor, patch) =
        (number("version_major")?, number("version_minor")?, number("version_patch")?);
    Ok(Version { semver: semver::Version::new(major, minor, patch), native: label, variant: None })
}

pub(super) fn version_row(row: &Row) -> Result<RuntimeVersionRow> {
    Ok(RuntimeVersionRow {
        id: row.try_get("id")?,
        runtime: parsed(row, "runtime_ref")?,
        declared: DeclaredVersion {
            version: row.try_get("version")?,
            is_default: row.try_get("is_default")?,
            execution_config: json(row, "execution_config")?,
            distributions: json(row, "distributions")?,
            meta: json(row, "meta")?,
        },
        is_declared: is_declared(row)?,
        available: row.try_get("available")?,
        verified_at: row.try_get("verified_at")?,
        revision: Revision::of(row)?,
        ad_hoc: row.try_get("ad_hoc")?,
    })
}
