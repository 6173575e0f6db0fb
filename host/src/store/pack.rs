//! Packs and what they ship: installed, replaced and removed as a whole.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::action::lock_actions;
use super::change::{ChangeError, Kind, Revision};
use super::database::{Query, Row, Transaction};
use super::installation::lock_versions;
use super::program::{Declared, users as users_of};
use super::row::{json, optional_json, parsed, to_json};
use super::runtime::{put_runtime, serve};
use super::runtime_version::replace_versions;
use super::{Durability, Result, Store, now};
use crate::pack::{Grants, Pack, Voucher};
use crate::reference::{PackRef, RuntimeRef};

/// An installed pack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PackRow {
    #[serde(rename = "ref")]
    pub reference: PackRef,
    pub label: String,
    pub description: Option<String>,
    pub version: String,
    pub author: Option<String>,
    pub tags: Vec<String>,
    /// How many of its queued executions run at a time.
    pub concurrency: Option<i64>,
    pub config_schema: Option<serde_json::Value>,
    /// SHA-256 of the bundle.
    pub digest: String,
    /// Where it was installed from.
    pub source: String,
    pub installed_at: DateTime<Utc>,
    /// The name of the trusted key that it was signed with; none if nobody who is trusted vouches for it.
    pub verified_by: Option<String>,
    /// Whether its lock names the digests of its components.
    pub locked: bool,
    #[serde(skip, default = "Revision::of_nothing")]
    pub revision: Revision,
}

/// What a pack says about itself.
#[derive(Clone, Copy, Debug)]
pub struct PackDetails<'a> {
    pub label: &'a str,
    pub description: Option<&'a str>,
    pub version: &'a semver::Version,
    pub author: Option<&'a str>,
    pub config_schema: Option<&'a serde_json::Value>,
    pub tags: &'a [String],
    /// How many of its queued executions run at a time.
    pub concurrency: Option<u32>,
}

/// A pack for the database, apart from what is in it.
#[derive(Clone, Copy, Debug)]
pub struct NewPack<'a> {
    pub reference: &'a PackRef,
    pub details: PackDetails<'a>,
    /// SHA-256 of the bundle.
    pub digest: &'a str,
    /// Where it comes from, for people.
    pub source: &'a str,
}

impl<'a> From<&PackInstall<'a>> for NewPack<'a> {
    fn from(&PackInstall { pack, source, .. }: &PackInstall<'a>) -> Self {
        Self {
            reference: &pack.reference,
            details: PackDetails {
                label: &pack.label,
                description: pack.description.as_deref(),
                version: &pack.version,
                author: pack.author.as_deref(),
                config_schema: pack.config_schema.as_ref(),
                tags: &pack.tags,
                concurrency: pack.concurrency,
            },
            digest: &pack.digest,
            source,
        }
    }
}

/// A component of a pack, inspected.
#[derive(Clone, Debug, Serialize)]
pub struct PluginRow {
    pub sha256: String,
    /// Its name within the pack.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// The contract's version that it is built for, if it can be told.
    pub contract_version: Option<String>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Everything that installing a pack writes.
#[derive(Clone, Debug)]
pub struct PackInstall<'a> {
    pub pack: &'a Pack,
    /// Where it comes from, for people.
    pub source: &'a str,
    /// The name of the trusted key that it is signed with.
    pub verified_by: Option<&'a str>,
    pub plugins: &'a [PluginRow],
    pub runtimes: &'a BTreeMap<RuntimeRef, RuntimeInstall>,
}

/// What installing found out about one runtime.
#[derive(Clone, Debug, Default)]
pub struct RuntimeInstall {
    /// SHA-256 of the component that serves it.
    pub plugin: Option<String>,
    /// Words that stand for constraints.
    pub constraint_aliases: Vec<(String, String)>,
    /// None: asked, but not yet approved.
    pub approved: Option<Approval>,
}

/// An operator's consent to grants.
#[derive(Clone, Debug)]
pub struct Approval {
    pub grants: Grants,
    /// Who, for people.
    pub by: String,
}

/// The statement that inserts a pack; what follows says what to do if there is one.
macro_rules! insert_pack {
    ($conflict:literal) => {
        concat!(
            "insert into pack
             (label, description, version, author, config_schema, tags, concurrency, revision, ref, digest, source,
              installed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (ref) ",
            $conflict
        )
    };
}

impl Store {
    /// Digests of the installed packs and where they come from, by reference: cheap enough for every start.
    pub async fn pack_sources(&self) -> Result<BTreeMap<String, (String, String)>> {
        let rows = self.database.query("select ref, digest, source from pack").fetch_all().await?;
        rows.iter()
            .map(|row| Ok((row.try_get("ref")?, (row.try_get("digest")?, row.try_get("source")?))))
            .collect()
    }

    /// All installed packs, by reference.
    pub async fn packs(&self) -> Result<Vec<PackRow>> {
        let rows = self.database.query("select * from pack order by ref").fetch_all().await?;
        rows.iter().map(pack_row).collect()
    }

    /// One installed pack.
    pub async fn pack(&self, reference: &PackRef) -> Result<Option<PackRow>> {
        let row = self
            .database
            .query("select * from pack where ref = $1")
            .bind(reference.as_str())
            .fetch_optional()
            .await?;
        row.as_ref().map(pack_row).transpose()
    }

    /// Puts a pack in place of what was installed under its reference, all or nothing.
    pub async fn install_pack(&self, install: &PackInstall<'_>) -> Result<()> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let pack = put_pack(&mut transaction, &NewPack::from(install)).await?;
        transaction
            .query("update pack set verified_by = $2, locked = $3 where id = $1")
            .bind(pack)
            .bind(install.verified_by)
            .bind(install.pack.locked)
            .execute()
            .await?;
        replace_plugins(&mut transaction, pack, install.plugins).await?;
        lock_actions(&mut transaction, pack).await?;
        delete_gone(&mut transaction, pack, install.pack).await?;
        for runtime in &install.pack.runtimes {
            let found = install.runtimes.get(&runtime.reference).cloned().unwrap_or_default();
            let (id, _) = put_runtime(&mut transaction, pack, runtime, false).await?;
            serve(&mut transaction, id, runtime.plugin.as_ref(), &found).await?;
            replace_versions(&mut transaction, id, runtime).await?;
        }
        for action in &install.pack.actions {
            action.put(&mut transaction, pack, false).await?;
        }
        for sensor in &install.pack.sensors {
            sensor.put(&mut transaction, pack, false).await?;
        }
        self.commit_runnable(transaction).await?;
        Ok(())
    }

    /// Adds a pack without anything in it. Its files are those of the bundle with its digest.
    pub async fn create_pack(&self, pack: &NewPack<'_>) -> Result<Revision, ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        let revision = Revision::new();
        let inserted = bind_pack(transaction.query(insert_pack!("do nothing returning id")), pack, revision)
            .fetch_optional()
            .await?;
        if inserted.is_none() {
            return Err(ChangeError::Duplicate { kind: Kind::Pack, name: pack.reference.to_string() });
        }
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Changes what a pack says about itself; with `expected`, only if that is its last state. The next installation puts
    /// back what the pack says.
    pub async fn update_pack(
        &self,
        reference: &PackRef,
        details: PackDetails<'_>,
        expected: Option<Revision>,
    ) -> Result<Revision, ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        let locked = Kind::Pack.lock_for_change(&mut transaction, reference.as_str(), expected).await?;
        let revision = Revision::new();
        let update = transaction.query(
            "update pack set label = $1, description = $2, version = $3, author = $4, config_schema = $5, tags = $6,
                 concurrency = $7, revision = $8
             where id = $9",
        );
        bind_details(update, &details, revision).bind(locked.id).execute().await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Removes a pack and what is in it; its executions stay. With `expected`, only in that state. Refused while other packs
    /// need its components or runtimes.
    pub async fn remove_pack(
        &self,
        reference: &PackRef,
        expected: Option<Revision>,
    ) -> Result<(), ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let locked = Kind::Pack.lock_for_change(&mut transaction, reference.as_str(), expected).await?;
        // Whoever is about to use one of its runtimes locks that.
        transaction
            .query("update runtime set label = label where pack = $1")
            .bind(locked.id)
            .execute()
            .await?;
        let users = pack_users(&mut transaction, locked.id, reference).await?;
        if !users.is_empty() {
            let name = reference.to_string();
            return Err(ChangeError::InUse { kind: Kind::Pack, name, users });
        }
        transaction.query("delete from pack where id = $1").bind(locked.id).execute().await?;
        self.commit_runnable(transaction).await?;
        Ok(())
    }

    /// What of other packs needs a pack's components or runtimes, so that it can't be removed.
    pub async fn users_of_pack(&self, reference: &PackRef) -> Result<Vec<String>, ChangeError> {
        let mut transaction = self.begin(Durability::Process).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let locked = Kind::Pack.lock_for_change(&mut transaction, reference.as_str(), None).await?;
        // What was locked is given back, unchanged.
        Ok(pack_users(&mut transaction, locked.id, reference).await?)
    }

    /// The digest of the component `name` of an installed pack.
    pub async fn plugin_digest(&self, pack: &PackRef, name: &str) -> Result<Option<String>> {
        let row = self
            .database
            .query(
                "select plugin.sha256 as sha256 from plugin join pack on pack.id = plugin.pack
             where pack.ref = $1 and plugin.name = $2",
            )
            .bind(pack.as_str())
            .bind(name)
            .fetch_optional()
            .await?;
        row.map(|row| row.try_get("sha256")).transpose()
    }

    /// What vouches for the component `name` of an installed pack, if it has this digest.
    pub async fn voucher(&self, pack: &PackRef, name: &str, sha256: &str) -> Result<Voucher> {
        let row = self
            .database
            .query(
                "select pack.* from plugin join pack on pack.id = plugin.pack
             where pack.ref = $1 and plugin.name = $2 and plugin.sha256 = $3",
            )
            .bind(pack.as_str())
            .bind(name)
            .bind(sha256)
            .fetch_optional()
            .await?;
        let Some(row) = row else { return Ok(Voucher::Nothing) };
        let PackRow { source, verified_by, locked, .. } = pack_row(&row)?;
        Ok(Voucher::of(&source, verified_by.as_deref(), locked).unwrap_or(Voucher::Digest))
    }

    /// Installed packs that ship the component with a digest, and their digests.
    pub async fn packs_with_component(&self, sha256: &str) -> Result<Vec<(PackRef, String)>> {
        let rows = self
            .database
            .query(
                "select pack.ref as ref, pack.digest as digest from plugin join pack on pack.id = plugin.pack
             where plugin.sha256 = $1 order by pack.ref",
            )
            .bind(sha256)
            .fetch_all()
            .await?;
        rows.iter().map(|row| Ok((parsed(row, "ref")?, row.try_get("digest")?))).collect()
    }

    /// All components of installed packs, as `pack.component`.
    pub async fn component_names(&self) -> Result<Vec<String>> {
        let rows = self
            .database
            .query(
                "select pack.ref || '.' || plugin.name as name from plugin join pack on pack.id = plugin.pack
             order by pack.ref, plugin.name",
            )
            .fetch_all()
            .await?;
        rows.iter().map(|row| row.try_get("name")).collect()
    }

    /// The components of an installed pack, by name.
    pub async fn plugins_of(&self, pack: &PackRef) -> Result<Vec<PluginRow>> {
        let rows = self
            .database
            .query(
                "select plugin.* from plugin join pack on pack.id = plugin.pack
             where pack.ref = $1 order by plugin.name",
            )
            .bind(pack.as_str())
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(PluginRow {
                    sha256: row.try_get("sha256")?,
                    name: row.try_get("name")?,
                    size: row.try_get("size")?,
                    contract_version: row.try_get("contract_version")?,
                    imports: json(row, "imports")?,
                    exports: json(row, "exports")?,
                })
            })
            .collect()
    }
}

fn pack_row(row: &Row) -> Result<PackRow> {
    Ok(PackRow {
        reference: parsed(row, "ref")?,
        label: row.try_get("label")?,
        description: row.try_get("description")?,
        version: row.try_get("version")?,
        author: row.try_get("author")?,
        tags: json(row, "tags")?,
        concurrency: row.try_get("concurrency")?,
        config_schema: optional_json(row, "config_schema")?,
        digest: row.try_get("digest")?,
        source: row.try_get("source")?,
        installed_at: row.try_get("installed_at")?,
        verified_by: row.try_get("verified_by")?,
        locked: row.try_get("locked")?,
        revision: Revision::of(row)?,
    })
}

fn bind_pack<'e>(insert: Query<'e>, pack: &NewPack<'_>, revision: Revision) -> Query<'e> {
    let NewPack { reference, details, digest, source } = pack;
    bind_details(insert, details, revision).bind(reference.as_str()).bind(*digest).bind(*source).bind(now())
}

/// What a pack says about itself, and the revision: the first eight values.
fn bind_details<'e>(query: Query<'e>, details: &PackDetails<'_>, revision: Revision) -> Query<'e> {
    query
        .bind(details.label)
        .bind(details.description)
        .bind(details.version.to_string())
        .bind(details.author)
        .bind(details.config_schema.map(to_json))
        .bind(to_json(&details.tags))
        .bind(details.concurrency.map(i64::from))
        .bind(revision.value())
}

async fn put_pack(transaction: &mut Transaction, pack: &NewPack<'_>) -> Result<i64> {
    let upsert = transaction.query(insert_pack!(
        "do update set
             label = excluded.label, description = excluded.description, version = excluded.version,
             author = excluded.author, config_schema = excluded.config_schema, tags = excluded.tags,
             digest = excluded.digest, source = excluded.source, installed_at = excluded.installed_at,
             revision = excluded.revision, concurrency = excluded.concurrency
         returning id"
    ));
    bind_pack(upsert, pack, Revision::new()).fetch_one().await?.try_get("id")
}

/// What of other packs needs a pack's components or runtimes.
async fn pack_users(transaction: &mut Transaction, pack: i64, reference: &PackRef) -> Result<Vec<String>> {
    let mut users = served_by(transaction, pack).await?;
    let prefix = format!("{reference}.");
    let programs = users_of(transaction, |meant| meant.pack() == reference).await?;
    users.extend(programs.into_iter().filter(|user| !user.starts_with(&prefix)));
    Ok(users)
}

/// References of other packs' runtimes that only a component of this pack can serve.
async fn served_by(transaction: &mut Transaction, pack: i64) -> Result<Vec<String>> {
    let rows = transaction
        .query(
            "select runtime.ref as ref from runtime
         where runtime.pack <> $1
            and runtime.plugin in (select sha256 from plugin where pack = $1)
            and runtime.plugin not in (select sha256 from plugin where pack <> $1)
         order by runtime.ref",
        )
        .bind(pack)
        .fetch_all()
        .await?;
    rows.iter().map(|row| row.try_get("ref")).collect()
}

async fn replace_plugins(transaction: &mut Transaction, pack: i64, plugins: &[PluginRow]) -> Result<()> {
    for plugin in plugins {
        // Runtimes of other packs that use this component follow it to its new version.
        transaction
            .query(
                "update runtime set plugin = $1
             where plugin = (select sha256 from plugin where pack = $2 and name = $3)",
            )
            .bind(&plugin.sha256)
            .bind(pack)
            .bind(&plugin.name)
            .execute()
            .await?;
    }
    transaction.query("delete from plugin where pack = $1").bind(pack).execute().await?;
    for plugin in plugins {
        transaction
            .query(
                "insert into plugin (pack, name, sha256, size, contract_version, imports, exports)
             values ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(pack)
            .bind(&plugin.name)
            .bind(&plugin.sha256)
            .bind(plugin.size)
            .bind(&plugin.contract_version)
            .bind(to_json(&plugin.imports))
            .bind(to_json(&plugin.exports))
            .execute()
            .await?;
    }
    Ok(())
}

/// Deletes what an earlier version of the pack shipped and this one does not. What somebody added stays.
async fn delete_gone(transaction: &mut Transaction, pack: i64, new: &Pack) -> Result<()> {
    let runtimes = new.runtimes.iter().map(|runtime| runtime.reference.to_string()).collect::<Vec<_>>();
    let actions = new.actions.iter().map(|action| action.reference.to_string()).collect::<Vec<_>>();
    let sensors = new.sensors.iter().map(|sensor| sensor.reference.to_string()).collect::<Vec<_>>();
    for (select, delete, kept) in [
        (
            "select ref from runtime where pack = $1 and not ad_hoc",
            "delete from runtime where ref = $1",
            runtimes,
        ),
        (
            "select ref from action where pack = $1 and not ad_hoc",
            "delete from action where ref = $1",
            actions,
        ),
        (
            "select ref from sensor where pack = $1 and not ad_hoc",
            "delete from sensor where ref = $1",
            sensors,
        ),
    ] {
        for row in transaction.query(select).bind(pack).fetch_all().await? {
            let reference: String = row.try_get("ref")?;
            if !kept.contains(&reference) {
                transaction.query(delete).bind(reference).execute().await?;
            }
        }
    }
    Ok(())
}
