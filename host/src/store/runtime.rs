//! Runtimes, and who approved what their components may do.

use super::cache::Key;
use super::change::{ChangeError, Kind, Revision, lock_for_new};
use super::database::{Row, Transaction};
use super::installation::lock_versions;
use super::pack::RuntimeInstall;
use super::program::users;
use super::row::{json, optional_json, parsed, to_json};
use super::runtime_version::{RuntimeVersionRow, add_versions, forget_scans, version_row};
use super::{Durability, Result, Store, now};
use crate::pack::{Grants, PluginDeclaration, Runtime};
use crate::reference::{PackRef, RuntimeRef};

/// An installed runtime, with everything that the stages need to know about it.
#[derive(Clone, Debug)]
pub struct RuntimeRow {
    pub id: i64,
    /// As declared. Its `versions` are those of the pack, in their order, then those that somebody added.
    pub runtime: Runtime,
    /// Declared and detected versions, the declared ones first, in the same order.
    pub versions: Vec<RuntimeVersionRow>,
    /// None if nothing serves it, since it needs no component.
    pub plugin: Option<PluginUse>,
    /// Words that stand for constraints.
    pub constraint_aliases: Vec<(String, String)>,
    /// Digest of the pack that it belongs to.
    pub pack_digest: String,
    /// Of what is declared of it, its versions apart.
    pub revision: Revision,
    /// Made by somebody, not by the pack: it stays when the pack is installed again.
    pub ad_hoc: bool,
}

impl RuntimeRow {
    /// The YAML's `plugin.settings`.
    #[must_use]
    pub fn settings(&self) -> &[(String, String)] {
        self.runtime.settings()
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
        let read = async {
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
        };
        self.cached(|| Key::Runtime(reference.to_string()), read).await
    }

    /// References of the runtimes that a reference, name or alias means.
    pub async fn runtimes_called(&self, text: &str) -> Result<Vec<RuntimeRef>> {
        let read = async {
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
        };
        self.cached(|| Key::RuntimesCalled(text.to_owned()), read).await
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
            revision: Revision::of(row)?,
            ad_hoc: row.try_get("ad_hoc")?,
        })
    }

    /// Adds a runtime with its versions to a pack that is installed; it stays when the pack is installed again, unless that
    /// has one of its name. `served` says which component serves it, and what that may do.
    pub async fn create_runtime(
        &self,
        runtime: &Runtime,
        served: &RuntimeInstall,
    ) -> Result<Revision, ChangeError> {
        let (reference, pack) = (runtime.reference.to_string(), runtime.reference.pack());
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let pack = lock_for_new(&mut transaction, Kind::Runtime, pack.as_str(), &reference).await?;
        check_component(&mut transaction, &reference, served).await?;
        let (id, revision) = put_runtime(&mut transaction, pack, runtime, true).await?;
        serve(&mut transaction, id, runtime.plugin.as_ref(), served).await?;
        add_versions(&mut transaction, id, runtime).await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Puts a runtime in place of what is under its reference; with `expected`, only if that is the last state. Its versions
    /// are changed by themselves. Without `served`, it is served as before, by the component that was approved for it. Refused
    /// if it gives up a name that actions or sensors call it by. The next installation of the pack puts back what the pack
    /// ships.
    pub async fn update_runtime(
        &self,
        runtime: &Runtime,
        served: Option<&RuntimeInstall>,
        expected: Option<Revision>,
    ) -> Result<Revision, ChangeError> {
        let reference = runtime.reference.to_string();
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let locked = Kind::Runtime.lock_for_change(&mut transaction, &reference, expected).await?;
        let mut users = self::users(&mut transaction, |meant| *meant == runtime.reference).await?;
        let (id, revision) = put_runtime(&mut transaction, locked.pack, runtime, locked.ad_hoc).await?;
        let left = self::users(&mut transaction, |meant| *meant == runtime.reference).await?;
        users.retain(|user| !left.contains(user));
        if !users.is_empty() {
            return Err(ChangeError::InUse { kind: Kind::Runtime, name: reference, users });
        }
        if let Some(served) = served {
            check_component(&mut transaction, &reference, served).await?;
            serve(&mut transaction, id, runtime.plugin.as_ref(), served).await?;
        }
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Deletes a runtime with its versions; with `expected`, only in that state. Refused while actions or sensors are
    /// started with it.
    pub async fn delete_runtime(
        &self,
        reference: &RuntimeRef,
        expected: Option<Revision>,
    ) -> Result<(), ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        let name = reference.to_string();
        let locked = Kind::Runtime.lock_for_change(&mut transaction, &name, expected).await?;
        let users = users(&mut transaction, |meant| meant == reference).await?;
        if !users.is_empty() {
            return Err(ChangeError::InUse { kind: Kind::Runtime, name, users });
        }
        transaction.query("delete from runtime where id = $1").bind(locked.id).execute().await?;
        self.commit_runnable(transaction).await?;
        Ok(())
    }
}

/// Writes a runtime in place of what is under its reference; its versions, and what serves it, stay.
pub(super) async fn put_runtime(
    transaction: &mut Transaction,
    pack: i64,
    runtime: &Runtime,
    ad_hoc: bool,
) -> Result<(i64, Revision)> {
    let revision = Revision::new();
    let row = transaction
        .query(
            "insert into runtime
             (pack, ref, name, label, description, distributions, execution_config, constraint_aliases,
              revision, ad_hoc)
         values ($1, $2, $3, $4, $5, $6, $7, '[]', $8, $9)
         on conflict (ref) do update set
             label = excluded.label, description = excluded.description,
             distributions = excluded.distributions, execution_config = excluded.execution_config,
             revision = excluded.revision, ad_hoc = excluded.ad_hoc
         returning id",
        )
        .bind(pack)
        .bind(runtime.reference.to_string())
        .bind(runtime.reference.name().as_str())
        .bind(&runtime.label)
        .bind(&runtime.description)
        .bind(to_json(&runtime.distributions))
        .bind(to_json(&runtime.execution_config))
        .bind(revision.value())
        .bind(ad_hoc)
        .fetch_one()
        .await?;
    let id = row.try_get("id")?;
    replace_aliases(transaction, id, runtime).await?;
    forget_scans(transaction, id).await?;
    Ok((id, revision))
}

/// Writes which component serves a runtime, and what it may do.
pub(super) async fn serve(
    transaction: &mut Transaction,
    runtime: i64,
    declaration: Option<&PluginDeclaration>,
    served: &RuntimeInstall,
) -> Result<()> {
    transaction
        .query(
            "update runtime set plugin = $2, plugin_declaration = $3, constraint_aliases = $4 where id = $1",
        )
        .bind(runtime)
        .bind(&served.plugin)
        .bind(declaration.map(to_json))
        .bind(to_json(&served.constraint_aliases))
        .execute()
        .await?;
    transaction.query("delete from plugin_grant where runtime = $1").bind(runtime).execute().await?;
    if let (Some(plugin), Some(declaration)) = (&served.plugin, declaration) {
        transaction
            .query(
                "insert into plugin_grant (runtime, plugin, asked, approved, approved_by, approved_at)
             values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(runtime)
            .bind(plugin)
            .bind(to_json(&declaration.grants))
            .bind(served.approved.as_ref().map(|approval| to_json(&approval.grants)))
            .bind(served.approved.as_ref().map(|approval| &approval.by))
            .bind(served.approved.as_ref().map(|_| now()))
            .execute()
            .await?;
    }
    Ok(())
}

/// Refuses a component that no installed pack ships.
async fn check_component(
    transaction: &mut Transaction,
    name: &str,
    served: &RuntimeInstall,
) -> Result<(), ChangeError> {
    let Some(sha256) = &served.plugin else { return Ok(()) };
    let shipped =
        transaction.query("select 1 from plugin where sha256 = $1").bind(sha256).fetch_optional().await?;
    match shipped {
        Some(_) => Ok(()),
        None => {
            Err(ChangeError::Unknown { name: name.to_owned(), kind: Kind::Component, needed: sha256.clone() })
        }
    }
}

async fn replace_aliases(transaction: &mut Transaction, runtime: i64, declared: &Runtime) -> Result<()> {
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
