//! The database: everything that outlives a process, and all of the SQL.
//!
//! Each file below owns the queries of one part of the data model and gives plain data. Nothing here
//! decides anything; a change that must not be seen half done is one method and one transaction.

pub mod action;
pub mod answer;
pub mod bell;
pub mod change;
pub mod environment;
pub mod execution;
pub mod installation;
pub mod lease;
pub mod pack;
pub mod probe;
pub mod program;
pub mod queue;
pub mod requirement;
pub mod runtime;
pub mod runtime_version;
pub mod sensor;
pub mod worker;

mod cache;
mod clock;
mod database;
mod group;
mod location;
mod migration;
mod refusal;
mod row;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use cache::Cache;
use database::{Database, Transaction};
use execution::Milestones;

pub use location::{InvalidLocation, Location};
pub use refusal::Refused;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to a server that one process uses at most.
const CONNECTIONS_MAX: u32 = 8;

/// A longer journal is merged into the database before a process ends: reading it costs every start.
const JOURNAL_MAX: u64 = 512 << 10;

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder for the database can't be made.
    #[error("can't create the folder `{}` for the database", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The database can't be opened.
    #[error("can't open the database `{location}`")]
    Open {
        /// The database.
        location: Location,
        #[source]
        source: sqlx::Error,
    },
    /// The server can't be used.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// A newer Attune has changed the database.
    #[error(
        "the database `{location}` is of a newer Attune (schema {found}; this one knows up to {known}): use that one, or another database"
    )]
    Newer {
        /// The database.
        location: Location,
        /// The newest migration that was applied.
        found: i64,
        /// The newest migration that this binary has.
        known: i64,
    },
    /// A migration failed; the database is as it was before it.
    #[error("can't migrate the database `{location}`")]
    Migrate {
        /// The database.
        location: Location,
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A query failed.
    #[error("the database refused a query: {0}")]
    Query(#[from] sqlx::Error),
}

/// Whether an error comes from the database: the same may well succeed when the database is back.
#[must_use]
pub fn is_to_blame(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<StoreError>() || error.is::<sqlx::Error>())
}

/// The result of a query.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// An open database, migrated. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    location: Location,
    milestones: Arc<Milestones>,
    /// For whoever [asked for one](Store::caching).
    cache: Option<Arc<Cache>>,
}

/// What a commit survives when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// A power cut: it is on the disk.
    Disk,
    /// The death of every process; it is on the disk with the next commit that waits for that. Enough for
    /// what can be found out again, and for logs and progress.
    Process,
}

impl Store {
    /// Opens the database, made and migrated if need be.
    pub async fn open(location: &Location) -> Result<Self> {
        let database = match location {
            Location::File(path) => Database::Sqlite(open_file(path, location).await?),
            Location::Server(url) => Database::Postgres(connect(url, location).await?),
        };
        migration::migrate(&database, location).await?;
        Ok(Self { database, location: location.clone(), milestones: Arc::default(), cache: None })
    }

    fn engine(&self) -> database::Engine {
        self.database.engine()
    }

    /// Ends the use of the database by a process that is about to end.
    ///
    /// Closing a file properly merges the journal into it and waits for the disk three times, which is longer
    /// than a short action takes. A short journal is as safe where it is, and the next one to open the database
    /// finds it.
    pub async fn close(self) {
        let pool = match &self.database {
            Database::Sqlite(pool) => pool,
            Database::Postgres(pool) => return pool.close().await,
        };
        if self.journal_length() < JOURNAL_MAX
            // Back from its last use only when it can be taken again.
            && let Ok(connection) = pool.acquire().await
        {
            // Dropping the last connection would close the database all the same.
            std::mem::forget((connection, self));
            return;
        }
        pool.close().await;
    }

    /// Bytes of the write-ahead log, which is beside the file.
    fn journal_length(&self) -> u64 {
        let Location::File(path) = &self.location else { return 0 };
        let mut journal = path.as_os_str().to_owned();
        journal.push("-wal");
        std::fs::metadata(journal).map_or(0, |metadata| metadata.len())
    }

    /// A transaction. What has to survive a power cut is written in one; a statement by itself need not.
    async fn begin(&self, durability: Durability) -> Result<Transaction> {
        Ok(match &self.database {
            // The write lock is taken at once: one that first reads and then wants to write would fail if
            // somebody else wrote in between.
            Database::Sqlite(pool) => Transaction::Sqlite(
                pool.begin_with(match durability {
                    Durability::Disk => "pragma synchronous = full; begin immediate",
                    Durability::Process => "pragma synchronous = normal; begin immediate",
                })
                .await?,
            ),
            Database::Postgres(pool) => Transaction::Postgres(match durability {
                Durability::Disk => pool.begin().await?,
                Durability::Process => pool.begin_with("begin; set local synchronous_commit = off").await?,
            }),
        })
    }
}

async fn open_file(path: &Path, location: &Location) -> Result<SqlitePool> {
    if let Some(folder) = path.parent() {
        // What is in it is nobody else's business, whichever command is the first to need it.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT);
    SqlitePoolOptions::new()
        .max_connections(1)
        // It is a file: its connection neither breaks nor has to be asked before each use whether it did.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .before_acquire(|connection, _| Box::pin(async { Ok(is_free(connection).await) }))
        .connect_with(options)
        .await
        .map_err(|source| StoreError::Open { location: location.clone(), source })
}

/// Whether the transaction before has ended. When the disk is full, SQLite ends it by itself; it then can't be ended once
/// more, and whoever counts them counts one too many for ever. Such a connection is replaced.
async fn is_free(connection: &mut SqliteConnection) -> bool {
    // What was dropped is ended by the connection's own thread, which has answered only then.
    !connection.is_in_transaction() || (connection.ping().await.is_ok() && !connection.is_in_transaction())
}

async fn connect(url: &str, location: &Location) -> Result<PgPool> {
    let failed = |source| StoreError::Open { location: location.clone(), source };
    let options = url.parse::<PgConnectOptions>().map_err(failed)?.application_name("attune");
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(BUSY_TIMEOUT);
    match pool.connect_with(options.clone()).await {
        Ok(pool) => Ok(pool),
        Err(error) => Err(Refused::of(location, &options, error).await),
    }
}

/// The time now by this machine's clock, as precise as every database keeps it. What others are to agree on is told by
/// the [database's](Store::time).
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
