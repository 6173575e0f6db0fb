//! Packs and what they ship: installed, replaced and removed as a whole.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::database::{Row, Transaction};
use super::installation::lock_versions;
use super::row::{json, optional_json, parsed, to_json};
use super::{Durability, Result, Store, now};
use crate::pack::{DeclaredVersion, Grants, Pack, Runtime};
use crate::reference::{PackRef, RuntimeRef};
use crate::version::Series;

/// An installed pack.
#[derive(Clone, Debug, Serialize)]
pub struct PackRow {
    #[serde(rename = "ref")]
    pub reference: PackRef,
    pub label: String,
    pub description: Option<String>,
    pub version: String,
    pub author: Option<String>,
    pub tags: Vec<String>,
    pub config_schema: Option<serde_json::Value>,
    /// SHA-256 of the bundle.
    pub digest: String,
    /// Where it was installed from.
    pub source: String,
    pub installed_at: DateTime<Utc>,
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
        let pack = upsert_pack(&mut transaction, install).await?;
        replace_plugins(&mut transaction, pack, install.plugins).await?;
        delete_gone(&mut transaction, pack, install.pack).await?;
        for runtime in &install.pack.runtimes {
            let found = install.runtimes.get(&runtime.reference).cloned().unwrap_or_default();
            let id = upsert_runtime(&mut transaction, pack, runtime, &found).await?;
            replace_aliases(&mut transaction, id, runtime).await?;
            upsert_versions(&mut transaction, id, runtime).await?;
        }
        for action in &install.pack.actions {
            super::action::upsert_action(&mut transaction, pack, action).await?;
        }
        for sensor in &install.pack.sensors {
            super::action::upsert_sensor(&mut transaction, pack, sensor).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Removes a pack and what it shipped; its executions stay. Whether there was one.
    pub async fn remove_pack(&self, reference: &PackRef) -> Result<bool> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let removed =
            transaction.query("delete from pack where ref = $1").bind(reference.as_str()).execute().await?;
        transaction.commit().await?;
        Ok(removed > 0)
    }

    /// References of other packs' runtimes that a component of this pack serves.
    pub async fn runtimes_served_by(&self, reference: &PackRef) -> Result<Vec<RuntimeRef>> {
        let rows = self
            .database
            .query(
                "select runtime.ref as ref from runtime
             join plugin on plugin.sha256 = runtime.plugin
             join pack on pack.id = plugin.pack
             where pack.ref = $1 and runtime.pack <> pack.id
             order by runtime.ref",
            )
            .bind(reference.as_str())
            .fetch_all()
            .await?;
        rows.iter().map(|row| parsed(row, "ref")).collect()
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
        config_schema: optional_json(row, "config_schema")?,
        digest: row.try_get("digest")?,
        source: row.try_get("source")?,
        installed_at: row.try_get("installed_at")?,
    })
}

type Tx = Transaction;

async fn upsert_pack(transaction: &mut Tx, install: &PackInstall<'_>) -> Result<i64> {
    let pack = install.pack;
    let row = transaction
        .query(
            "insert into pack
             (ref, label, description, version, author, config_schema, tags, digest, source, installed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (ref) do update set
             label = excluded.label, description = excluded.description, version = excluded.version,
             author = excluded.author, config_schema = excluded.config_schema, tags = excluded.tags,
             digest = excluded.digest, source = excluded.source, installed_at = excluded.installed_at
         returning id",
        )
        .bind(pack.reference.as_str())
        .bind(&pack.label)
        .bind(&pack.description)
        .bind(pack.version.to_string())
        .bind(&pack.author)
        .bind(pack.config_schema.as_ref().map(to_json))
        .bind(to_json(&pack.tags))
        .bind(&pack.digest)
        .bind(install.source)
        .bind(now())
        .fetch_one()
        .await?;
    row.try_get("id")
}

async fn replace_plugins(transaction: &mut Tx, pack: i64, plugins: &[PluginRow]) -> Result<()> {
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

/// Deletes what an earlier version of the pack shipped and this one does not.
async fn delete_gone(transaction: &mut Tx, pack: i64, new: &Pack) -> Result<()> {
    let runtimes = new.runtimes.iter().map(|runtime| runtime.reference.to_string()).collect::<Vec<_>>();
    let actions = new.actions.iter().map(|action| action.reference.to_string()).collect::<Vec<_>>();
    let sensors = new.sensors.iter().map(|sensor| sensor.reference.to_string()).collect::<Vec<_>>();
    for (select, delete, kept) in [
        ("select ref from runtime where pack = $1", "delete from runtime where ref = $1", runtimes),
        ("select ref from action where pack = $1", "delete from action where ref = $1", actions),
        ("select ref from sensor where pack = $1", "delete from sensor where ref = $1", sensors),
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

async fn upsert_runtime(
    transaction: &mut Tx,
    pack: i64,
    runtime: &Runtime,
    found: &RuntimeInstall,
) -> Result<i64> {
    let row = transaction
        .query(
            "insert into runtime
             (pack, ref, name, label, description, distributions, execution_config, plugin,
              plugin_declaration, constraint_aliases)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (ref) do update set
             label = excluded.label, description = excluded.description,
             distributions = excluded.distributions, execution_config = excluded.execution_config,
             plugin = excluded.plugin, plugin_declaration = excluded.plugin_declaration,
             constraint_aliases = excluded.constraint_aliases
         returning id",
        )
        .bind(pack)
        .bind(runtime.reference.to_string())
        .bind(runtime.reference.name().as_str())
        .bind(&runtime.label)
        .bind(&runtime.description)
        .bind(to_json(&runtime.distributions))
        .bind(to_json(&runtime.execution_config))
        .bind(&found.plugin)
        .bind(runtime.plugin.as_ref().map(to_json))
        .bind(to_json(&found.constraint_aliases))
        .fetch_one()
        .await?;
    let id = row.try_get("id")?;
    // What was found was found by what the runtime was before.
    transaction.query("delete from detection_scan where runtime = $1").bind(id).execute().await?;
    transaction.query("delete from plugin_grant where runtime = $1").bind(id).execute().await?;
    if let (Some(plugin), Some(declaration)) = (&found.plugin, &runtime.plugin) {
        transaction
            .query(
                "insert into plugin_grant (runtime, plugin, asked, approved, approved_by, approved_at)
             values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(id)
            .bind(plugin)
            .bind(to_json(&declaration.grants))
            .bind(found.approved.as_ref().map(|approval| to_json(&approval.grants)))
            .bind(found.approved.as_ref().map(|approval| &approval.by))
            .bind(found.approved.as_ref().map(|_| now()))
            .execute()
            .await?;
    }
    Ok(id)
}

async fn replace_aliases(transaction: &mut Tx, runtime: i64, declared: &Runtime) -> Result<()> {
    transaction.query("delete from runtime_alias where runtime = $1").bind(runtime).execute().await?;
    for alias in &declared.aliases {
        transaction
            .query("insert into runtime_alias (alias, runtime) values ($1, $2)")
            .bind(alias)
            .bind(runtime)
            .execute()
            .await?;
    }
    Ok(())
}

async fn upsert_versions(transaction: &mut Tx, runtime: i64, declared: &Runtime) -> Result<()> {
    let rows = transaction
        .query("select id, version from runtime_version where runtime = $1 and source = 'declared'")
        .bind(runtime)
        .fetch_all()
        .await?;
    for row in rows {
        let version: String = row.try_get("version")?;
        if !declared.versions.iter().any(|declared| declared.version == version) {
            let id: i64 = row.try_get("id")?;
            transaction.query("delete from runtime_version where id = $1").bind(id).execute().await?;
        }
    }
    // Two defaults at any moment break the index, even within the transaction.
    transaction
        .query("update runtime_version set is_default = false where runtime = $1")
        .bind(runtime)
        .execute()
        .await?;
    for (position, version) in (0_i64..).zip(&declared.versions) {
        upsert_version(transaction, runtime, declared, (position, version)).await?;
    }
    Ok(())
}

async fn upsert_version(
    transaction: &mut Tx,
    runtime: i64,
    declared: &Runtime,
    (position, version): (i64, &DeclaredVersion),
) -> Result<()> {
    let floor = version.version.parse::<Series>().ok().map(|series| series.floor());
    let number = |part: fn(&semver::Version) -> u64| {
        floor.as_ref().map(|floor| i64::try_from(part(floor)).unwrap_or(i64::MAX))
    };
    transaction
        .query(
            "insert into runtime_version
             (runtime, runtime_ref, version, version_major, version_minor, version_patch, position,
              execution_config, distributions, is_default, source, meta)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'declared', $11)
         on conflict (runtime, version) do update set
             position = excluded.position, execution_config = excluded.execution_config,
             distributions = excluded.distributions, is_default = excluded.is_default,
             source = excluded.source, meta = excluded.meta",
        )
        .bind(runtime)
        .bind(declared.reference.to_string())
        .bind(&version.version)
        .bind(number(|floor| floor.major))
        .bind(number(|floor| floor.minor))
        .bind(number(|floor| floor.patch))
        .bind(position)
        .bind(to_json(&version.execution_config))
        .bind(to_json(&version.distributions))
        .bind(version.is_default)
        .bind(to_json(&version.meta))
        .execute()
        .await?;
    Ok(())
}
