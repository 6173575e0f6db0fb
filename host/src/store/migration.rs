//! Bringing a database to the schema that this binary knows.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqlitePool;
use sqlx::{Row, SqlSafeStr};

use super::{Result, StoreError};

/// Version, description and SQL of every migration, oldest first.
const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "initial", include_str!("../../../migrations/sqlite/0001_initial.sql"))];

/// Applies what is missing; refuses a database that has more than this binary knows.
pub(super) async fn migrate(pool: &SqlitePool, path: &Path) -> Result<()> {
    let migrations = MIGRATIONS.into_iter().map(migration).collect::<Vec<_>>();
    let last = &migrations[migrations.len() - 1];
    // Most starts end here. The checksum tells a database of the same number that was made otherwise.
    let is_last = |found: &Applied| found.version == last.version && found.checksum == *last.checksum;
    let found = newest(pool).await?;
    if found.as_ref().is_some_and(is_last) {
        return Ok(());
    }
    if let Some(found) = found.filter(|found| found.version > last.version) {
        let known = last.version;
        return Err(StoreError::Newer { path: path.to_owned(), found: found.version, known });
    }
    // Two processes that start at once must not both apply the same migration.
    let _lock = lock(path)?;
    if newest(pool).await?.as_ref().is_some_and(is_last) {
        return Ok(());
    }
    let migrator = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    migrator.run(pool).await.map_err(|source| StoreError::Migrate { path: path.to_owned(), source })
}

fn migration((version, description, sql): (i64, &'static str, &'static str)) -> Migration {
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
async fn newest(pool: &SqlitePool) -> Result<Option<Applied>> {
    let table = sqlx::query("select 1 from sqlite_master where type = 'table' and name = '_sqlx_migrations'")
        .fetch_optional(pool)
        .await?;
    if table.is_none() {
        return Ok(None);
    }
    let row = sqlx::query("select version, checksum from _sqlx_migrations order by version desc limit 1")
        .fetch_optional(pool)
        .await?;
    row.map(|row| Ok(Applied { version: row.try_get("version")?, checksum: row.try_get("checksum")? }))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::super::{Store, StoreError};

    #[tokio::test]
    async fn a_database_is_made_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/attune.db");
        Store::open(&path).await.unwrap().close().await;
        Store::open(&path).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn a_newer_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        let store = Store::open(&path).await.unwrap();
        sqlx::query("insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, x'00', 0)")
            .execute(&store.pool)
            .await
            .unwrap();
        store.close().await;
        let error = Store::open(&path).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 9999, known: 1, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_database_that_was_made_otherwise_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        let store = Store::open(&path).await.unwrap();
        sqlx::query("update _sqlx_migrations set checksum = x'00'").execute(&store.pool).await.unwrap();
        store.close().await;
        let error = Store::open(&path).await.unwrap_err();
        assert!(matches!(error, StoreError::Migrate { .. }), "{error}");
    }

    #[tokio::test]
    async fn rubbish_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        std::fs::write(&path, "this is no database, but long enough to look like one".repeat(100)).unwrap();
        assert!(matches!(
            Store::open(&path).await.unwrap_err(),
            StoreError::Open { .. } | StoreError::Query(_)
        ));
    }
}
