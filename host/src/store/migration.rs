//! Bringing a database to the schema that this binary knows.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::database::{Database, Engine};
use super::{Location, Result, StoreError};

/// Version, description and SQL of a migration.
type Source = (i64, &'static str, &'static str);

/// Every migration, oldest first.
const SQLITE: [Source; 15] = [
    (1, "initial", include_str!("../../../migrations/sqlite/0001_initial.sql")),
    (2, "trace context", include_str!("../../../migrations/sqlite/0002_trace_context.sql")),
    (3, "packs in turn", include_str!("../../../migrations/sqlite/0003_packs_in_turn.sql")),
    (4, "revisions", include_str!("../../../migrations/sqlite/0004_revisions.sql")),
    (5, "generation", include_str!("../../../migrations/sqlite/0005_generation.sql")),
    (6, "worker home", include_str!("../../../migrations/sqlite/0006_worker_home.sql")),
    (
        7,
        "environments by interpreter",
        include_str!("../../../migrations/sqlite/0007_environments_by_interpreter.sql"),
    ),
    (8, "claims", include_str!("../../../migrations/sqlite/0008_claims.sql")),
    (9, "fallback", include_str!("../../../migrations/sqlite/0009_fallback.sql")),
    (10, "denials", include_str!("../../../migrations/sqlite/0010_denials.sql")),
    (11, "signatures", include_str!("../../../migrations/sqlite/0011_signatures.sql")),
    (12, "locks", include_str!("../../../migrations/sqlite/0012_locks.sql")),
    (13, "api", include_str!("../../../migrations/sqlite/0013_api.sql")),
    (14, "changes", include_str!("../../../migrations/sqlite/0014_changes.sql")),
    (15, "wanted", include_str!("../../../migrations/sqlite/0015_wanted.sql")),
];
const POSTGRES: [Source; 15] = [
    (1, "initial", include_str!("../../../migrations/postgres/0001_initial.sql")),
    (2, "trace context", include_str!("../../../migrations/postgres/0002_trace_context.sql")),
    (3, "packs in turn", include_str!("../../../migrations/postgres/0003_packs_in_turn.sql")),
    (4, "revisions", include_str!("../../../migrations/postgres/0004_revisions.sql")),
    (5, "generation", include_str!("../../../migrations/postgres/0005_generation.sql")),
    (6, "worker home", include_str!("../../../migrations/postgres/0006_worker_home.sql")),
    (
        7,
        "environments by interpreter",
        include_str!("../../../migrations/postgres/0007_environments_by_interpreter.sql"),
    ),
    (8, "claims", include_str!("../../../migrations/postgres/0008_claims.sql")),
    (9, "fallback", include_str!("../../../migrations/postgres/0009_fallback.sql")),
    (10, "denials", include_str!("../../../migrations/postgres/0010_denials.sql")),
    (11, "signatures", include_str!("../../../migrations/postgres/0011_signatures.sql")),
    (12, "locks", include_str!("../../../migrations/postgres/0012_locks.sql")),
    (13, "api", include_str!("../../../migrations/postgres/0013_api.sql")),
    (14, "changes", include_str!("../../../migrations/postgres/0014_changes.sql")),
    (15, "wanted", include_str!("../../../migrations/postgres/0015_wanted.sql")),
];

/// Applies what is missing; refuses a database that has more than this binary knows.
pub(super) async fn migrate(database: &Database, location: &Location) -> Result<()> {
    let sources = match database.engine() {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    };
    apply(database, location, sources).await
}

async fn apply(database: &Database, location: &Location, sources: &[Source]) -> Result<()> {
    let migrations = sources.iter().copied().map(migration).collect::<Vec<_>>();
    let last = &migrations[migrations.len() - 1];
    // Most starts end here. The checksum tells a database of the same number that was made otherwise.
    let is_last = |found: &Applied| found.version == last.version && found.checksum == *last.checksum;
    let found = newest(database).await?;
    if found.as_ref().is_some_and(is_last) {
        return Ok(());
    }
    if let Some(found) = found.filter(|found| found.version > last.version) {
        let known = last.version;
        return Err(StoreError::Newer { location: location.clone(), found: found.version, known });
    }
    // Two processes that start at once must not both apply the same migration. On a server the migrator takes
    // a lock there by itself.
    let _lock = match location {
        Location::File(path) => Some(lock(path)?),
        Location::Server(_) => None,
    };
    if newest(database).await?.as_ref().is_some_and(is_last) {
        return Ok(());
    }
    let migrator = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    let outcome = match database {
        Database::Sqlite(pool) => migrator.run(pool).await,
        Database::Postgres(pool) => migrator.run(pool).await,
    };
    outcome.map_err(|source| StoreError::Migrate { location: location.clone(), source })
}

fn migration((version, description, sql): Source) -> Migration {
    Migration::new(version, Cow::Borrowed(description), MigrationType::Simple, sql.into_sql_str(), false)
}

/// Waits until no other process migrates this database; the lock ends with the file handle.
fn lock(path: &Path) -> Result<File> {
    let lock_path = path.with_extension("migration-lock");
    let failed = |source| StoreError::Folder { path: lock_path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// A migration that was applied.
struct Applied {
    version: i64,
    checksum: Vec<u8>,
}

/// The newest migration that was applied; none in a database that was just made.
async fn newest(database: &Database) -> Result<Option<Applied>> {
    let asked = database
        .query("select version, checksum from _sqlx_migrations order by version desc limit 1")
        .fetch_optional()
        .await;
    let row = match asked {
        Ok(row) => row,
        Err(StoreError::Query(error)) if is_no_table(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    row.map(|row| Ok(Applied { version: row.try_get("version")?, checksum: row.try_get("checksum")? }))
        .transpose()
}

/// Whether a statement failed since a table that it names is not there.
fn is_no_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    // SQLite has no code for it.
    error.code().is_some_and(|code| code == "42P01") || error.message().starts_with("no such table")
}

#[cfg(test)]
mod tests {
    use super::super::pack::PackDetails;
    use super::super::{Store, now, open_file};
    use super::*;

    #[tokio::test]
    async fn a_database_is_made_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/attune.db");
        // The folder may be a mistake.
        let error = Store::open(&Location::File(path.clone())).await.unwrap_err();
        assert!(matches!(error, StoreError::Folder { path, .. } if path == folder.path().join("deep")));
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        Store::open(&Location::File(path.clone())).await.unwrap().close().await;
        Store::open(&Location::File(path.clone())).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn an_older_database_is_migrated_and_keeps_its_queue() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        let location = Location::File(path.clone());
        let old = Database::Sqlite(open_file(&path, &location).await.unwrap());
        apply(&old, &location, &SQLITE[..1]).await.unwrap();
        for statement in [
            "insert into requirement (id, runtime, constraint_text, limited_action)
             values (1, 'core.x', '>=1', ''), (2, 'core.x', '>=1', 'a.one'), (3, 'core.x', '>=2', '')",
            "insert into execution
             (id, action, pack, pack_digest, requirement, parameters, status, run_at, created_at, warnings, timings)
             values (x'01', 'a.two', 'a', '', 1, '{}', 'queued', '', '', '[]', '[]'),
                 (x'02', 'b.two', 'b', '', 1, '{}', 'queued', '', '', '[]', '[]'),
                 (x'03', 'a.one', 'a', '', 2, '{}', 'queued', '', '', '[]', '[]')",
        ] {
            old.query(statement).execute().await.unwrap();
        }
        drop(old);
        let store = Store::open(&location).await.unwrap();
        let rows = store
            .database
            .query(
                "select execution.action as action, requirement.runtime || constraint_text as required, scope,
                     requirement.pack as pack
                 from requirement left join execution on execution.requirement = requirement.id order by action",
            )
            .fetch_all()
            .await
            .unwrap();
        let text = |row: &super::super::database::Row, column: &str| row.try_get::<String>(column).unwrap();
        let rows =
            rows.iter().map(|row| ["action", "required", "scope", "pack"].map(|column| text(row, column)));
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [
                ["a.one", "core.x>=1", "a.one", "a"],
                ["a.two", "core.x>=1", "a", "a"],
                ["b.two", "core.x>=1", "b", "b"],
            ]
        );
    }

    #[tokio::test]
    async fn an_older_database_is_migrated_and_keeps_its_packs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        let location = Location::File(path.clone());
        let old = Database::Sqlite(open_file(&path, &location).await.unwrap());
        apply(&old, &location, &SQLITE[..1]).await.unwrap();
        old.query(
            "insert into pack (ref, label, version, tags, digest, source, installed_at)
             values ('mine', 'Mine', '1.0.0', '[]', '', '', $1)",
        )
        .bind(now())
        .execute()
        .await
        .unwrap();
        drop(old);
        let store = Store::open(&location).await.unwrap();
        let pack = "mine".parse().unwrap();
        let old = store.pack(&pack).await.unwrap().unwrap().revision;
        let details = PackDetails {
            label: "Ours",
            description: None,
            version: &semver::Version::new(1, 0, 0),
            author: None,
            config_schema: None,
            tags: &[],
            concurrency: None,
        };
        let new = store.update_pack(&pack, details, Some(old)).await.unwrap();
        assert_eq!(store.pack(&pack).await.unwrap().unwrap().revision, new);
        assert_ne!(old, new);
    }

    #[tokio::test]
    async fn a_newer_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        let store = Store::open(&Location::File(path.clone())).await.unwrap();
        store.database.query("insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, x'00', 0)")
            .execute()
            .await
            .unwrap();
        store.close().await;
        let error = Store::open(&Location::File(path.clone())).await.unwrap_err();
        let newest = SQLITE[SQLITE.len() - 1].0;
        assert!(matches!(error, StoreError::Newer { found: 9999, known, .. } if known == newest), "{error}");
    }

    #[tokio::test]
    async fn a_database_that_was_made_otherwise_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        let store = Store::open(&Location::File(path.clone())).await.unwrap();
        store.database.query("update _sqlx_migrations set checksum = x'00'").execute().await.unwrap();
        store.close().await;
        let error = Store::open(&Location::File(path.clone())).await.unwrap_err();
        assert!(matches!(error, StoreError::Migrate { .. }), "{error}");
    }

    #[tokio::test]
    async fn rubbish_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        std::fs::write(&path, "this is no database, but long enough to look like one".repeat(100)).unwrap();
        assert!(matches!(
            Store::open(&Location::File(path.clone())).await.unwrap_err(),
            StoreError::Open { .. } | StoreError::Query(_)
        ));
    }
}
