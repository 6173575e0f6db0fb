//! Runtimes, their versions, and who approved what their components may do.

use chrono::{DateTime, Utc};

use super::database::Row;
use super::row::{json, optional_json, parsed};
use super::{Result, Store};
use crate::pack::{DeclaredVersion, Grants, Runtime};
use crate::reference::{PackRef, RuntimeRef};

/// An installed runtime, with everything that the stages need to know about it.
#[derive(Clone, Debug)]
pub struct RuntimeRow {
    pub id: i64,
    /// As declared. Its `versions` are those of the pack, in their order.
    pub runtime: Runtime,
    /// Declared and detected versions, the declared ones first, in the order of the pack.
    pub versions: Vec<RuntimeVersionRow>,
    /// None if nothing serves it, since it needs no component.
    pub plugin: Option<PluginUse>,
    /// Words that stand for constraints.
    pub constraint_aliases: Vec<(String, String)>,
    /// Digest of the pack that ships it.
    pub pack_digest: String,
}

impl RuntimeRow {
    /// The YAML's `plugin.settings`.
    #[must_use]
    pub fn settings(&self) -> &[(String, String)] {
        self.runtime.plugin.as_ref().map(|plugin| plugin.settings.as_slice()).unwrap_or_default()
    }
}

/// How a runtime uses a component.
#[derive(Clone, Debug)]
pub struct PluginUse {
    /// SHA-256 of the component.
    pub sha256: String,
    /// None until an operator approves.
    pub approved: Option<Grants>,
}

/// A version of a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeVersionRow {
    pub id: i64,
    pub declared: DeclaredVersion,
    /// Whether the pack declares it; otherwise it was detected and nothing declared covers it.
    pub is_declared: bool,
    /// Whether a live worker has a verified installation of it.
    pub available: bool,
    /// When one was last verified.
    pub verified_at: Option<DateTime<Utc>>,
}

/// The statement for runtimes with their aliases and what was approved for them; what follows says which.
macro_rules! select_runtime {
    ($which:literal) => {
        concat!(
            "select runtime.*, pack.digest as pack_digest, plugin_grant.approved as approved,
                 (select string_agg(alias, ' ' order by alias) from runtime_alias
                  where runtime_alias.runtime = runtime.id) as aliases
             from runtime
             join pack on pack.id = runtime.pack
             left join plugin_grant on plugin_grant.runtime = runtime.id ",
            $which
        )
    };
}

impl Store {
    /// All runtimes, by reference.
    pub async fn runtimes(&self) -> Result<Vec<RuntimeRow>> {
        let rows = self.database.query(select_runtime!("order by runtime.ref")).fetch_all().await?;
        let mut runtimes = Vec::with_capacity(rows.len());
        for row in &rows {
            runtimes.push(self.complete(row).await?);
        }
        Ok(runtimes)
    }

    /// The runtime with this reference.
    pub async fn runtime(&self, reference: &RuntimeRef) -> Result<Option<RuntimeRow>> {
        let row = self
            .database
            .query(select_runtime!("where runtime.ref = $1"))
            .bind(reference.to_string())
            .fetch_optional()
            .await?;
        match row {
            Some(row) => Ok(Some(self.complete(&row).await?)),
            None => Ok(None),
        }
    }

    /// References of the runtimes that a reference, name or alias means.
    pub async fn runtimes_called(&self, text: &str) -> Result<Vec<RuntimeRef>> {
        let rows = self
            .database
            .query(
                "select ref from runtime
             where ref = $1 or name = $1
                or exists (select 1 from runtime_alias where runtime = runtime.id and alias = $1)
             order by ref",
            )
            .bind(text)
            .fetch_all()
            .await?;
        rows.iter().map(|row| parsed(row, "ref")).collect()
    }

    /// What every installed runtime can be called: its reference and its aliases.
    pub async fn runtime_names(&self) -> Result<Vec<(RuntimeRef, Vec<String>)>> {
        let rows = self
            .database
            .query(
                "select runtime.ref as ref, runtime_alias.alias as alias from runtime
             left join runtime_alias on runtime_alias.runtime = runtime.id
             order by runtime.ref, runtime_alias.alias",
            )
            .fetch_all()
            .await?;
        let mut names: Vec<(RuntimeRef, Vec<String>)> = Vec::new();
        for row in &rows {
            let reference: RuntimeRef = parsed(row, "ref")?;
            if names.last().is_none_or(|(last, _)| *last != reference) {
                names.push((reference, Vec::new()));
            }
            if let (Some(alias), Some((_, aliases))) = (row.try_get("alias")?, names.last_mut()) {
                aliases.push(alias);
            }
        }
        Ok(names)
    }

    /// References of the runtimes that a pack ships.
    pub async fn runtimes_of(&self, pack: &PackRef) -> Result<Vec<RuntimeRef>> {
        let rows = self
            .database
            .query(
                "select runtime.ref as ref from runtime join pack on pack.id = runtime.pack
             where pack.ref = $1 order by runtime.ref",
            )
            .bind(pack.as_str())
            .fetch_all()
            .await?;
        rows.iter().map(|row| parsed(row, "ref")).collect()
    }

    async fn complete(&self, row: &Row) -> Result<RuntimeRow> {
        let id: i64 = row.try_get("id")?;
        let rows = self.database.query("select * from runtime_version where runtime = $1 order by position, version_major, version_minor, version_patch, version")
            .bind(id)
            .fetch_all()
            .await?;
        let versions = rows.iter().map(version_row).collect::<Result<Vec<_>>>()?;
        let aliases: Option<String> = row.try_get("aliases")?;
        let sha256: Option<String> = row.try_get("plugin")?;
        let approved = optional_json(row, "approved")?;
        Ok(RuntimeRow {
            id,
            runtime: Runtime {
                reference: parsed(row, "ref")?,
                label: row.try_get("label")?,
                description: row.try_get("description")?,
                aliases: aliases.iter().flat_map(|names| names.split(' ')).map(str::to_owned).collect(),
                distributions: json(row, "distributions")?,
                execution_config: json(row, "execution_config")?,
                versions: versions
                    .iter()
                    .filter(|version| version.is_declared)
                    .map(|version| version.declared.clone())
                    .collect(),
                plugin: optional_json(row, "plugin_declaration")?,
            },
            versions,
            plugin: sha256.map(|sha256| PluginUse { sha256, approved }),
            constraint_aliases: json(row, "constraint_aliases")?,
            pack_digest: row.try_get("pack_digest")?,
        })
    }
}

fn version_row(row: &Row) -> Result<RuntimeVersionRow> {
    let source: String = row.try_get("source")?;
    Ok(RuntimeVersionRow {
        id: row.try_get("id")?,
        declared: DeclaredVersion {
            version: row.try_get("version")?,
            is_default: row.try_get("is_default")?,
            execution_config: json(row, "execution_config")?,
            distributions: json(row, "distributions")?,
            meta: json(row, "meta")?,
        },
        is_declared: source == "declared",
        available: row.try_get("available")?,
        verified_at: row.try_get("verified_at")?,
    })
}
