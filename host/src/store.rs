//! The database: everything that outlives a process, and all of the SQL.
//!
//! Each file below owns the queries of one part of the data model and gives plain data. Nothing here
//! decides anything; a change that must not be seen half done is one method and one transaction.

pub mod action;
pub mod answer;
pub mod bell;
pub mod change;
pub mod claim;
pub mod consent;
pub mod denial;
pub mod environment;
pub mod event;
pub mod execution;
pub mod fleet;
pub mod follow;
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
pub mod slice;
pub mod token;
pub mod worker;

mod cache;
mod clock;
mod database;
mod group;
mod location;
mod log;
mod migration;
mod refusal;
mod retention;
mod row;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteError, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection, Executor};
use tokio::time::timeout;

use cache::Cache;
use database::{Database, Transaction};
use execution::Milestones;
use queue::Arrivals;
use token::Audits;

pub use location::{InvalidLocation, Location};
pub use refusal::{Cause, Refused, Unreachable};

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a database may take to be closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Connections to a server that one process uses at most.
const CONNECTIONS_MAX: u32 = 8;

/// A connection that was of use so lately is taken to be so still: who was using it would have found no sooner that it is not.
const FRESH: Duration = Duration::from_millis(20);

/// A process that is stopped in a transaction, or whose machine is cut off, must not hold its locks for ever.
const SESSION: &str = "set idle_in_transaction_session_timeout = '10s'";

/// A longer journal is merged into the database before a process ends: reading it costs every start.
const JOURNAL_MAX: u64 = 512 << 10;

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the database can't be used.
    #[error("can't use the folder `{}` of the database", path.display())]
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
    /// The server can't be reached any more.
    #[error(transparent)]
    Unreachable(Box<Unreachable>),
    /// The connection broke while it was used.
    #[error("the connection to the database was lost: {0}")]
    Lost(#[source] sqlx::Error),
    /// A query failed.
    #[error("the database refused a query: {0}")]
    Query(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => Self::Lost(error),
            error => Self::Query(error),
        }
    }
}

/// Classes of SQLSTATE that are no fault of what was asked: connections, resources, an operator who steps in, and the
/// system below.
const OUTAGES: [&str; 4] = ["08", "53", "57", "58"];

/// Of these, what does not pass by itself: what the server does not understand, a configured limit, a statement that took too
/// long, and a database that is gone.
const FAULTS: [&str; 4] = ["08P01", "53400", "57014", "57P04"];

/// What a text that is not of the database's encoding is refused with; U+0000 is of none.
const UNKEEPABLE_TEXT: &str = "22021";

/// What passes, of SQLite's result codes: busy, locked, out of memory, reading or writing failed, full, can't be opened.
const FILE_OUTAGES: [i32; 6] = [5, 6, 7, 10, 13, 14];

impl StoreError {
    /// Whether the database, once opened, is out of reach or can't do anything at the moment: the same may be asked again
    /// later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(unreachable) => match &unreachable.source {
                Cause::Silence | Cause::Busy => true,
                Cause::Server(error) => is_outage(error),
            },
            Self::Lost(_) => true,
            Self::Query(error) => is_outage(error),
            Self::Folder { .. }
            | Self::Open { .. }
            | Self::Refused(_)
            | Self::Newer { .. }
            | Self::Migrate { .. } => false,
        }
    }

    /// Whether a text was to be kept that a server can't keep: one with U+0000.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let Self::Query(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code == UNKEEPABLE_TEXT)
    }
}

fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => {
            let Some(code) = error.code() else { return false };
            match error.try_downcast_ref::<SqliteError>() {
                // The lower byte is the code, the rest says more about it.
                Some(_) => code.parse::<i32>().is_ok_and(|code| FILE_OUTAGES.contains(&(code & 0xff))),
                None => {
                    !FAULTS.contains(&&*code) && code.get(..2).is_some_and(|class| OUTAGES.contains(&class))
                }
            }
        }
        _ => false,
    }
}

/// What keeps the file of a database from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// This user may not use it, or not write to it.
    Denied,
    /// It is not what it was written as.
    Damaged,
}

/// What is wrong with the file of the database that an error comes from, by SQLite's result codes.
#[must_use]
pub fn file_fault(error: &(dyn std::error::Error + 'static)) -> Option<FileFault> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|cause| {
        let sqlx::Error::Database(error) = cause.downcast_ref()? else { return None };
        error.try_downcast_ref::<SqliteError>()?;
        match error.code()?.parse::<i32>().ok()? & 0xff {
            // No permission, read-only, can't be opened.
            3 | 8 | 14 => Some(FileFault::Denied),
            // Malformed, not a database.
            11 | 26 => Some(FileFault::Damaged),
            _ => None,
        }
    })
}

/// Whether an error comes from the database: the same may well succeed when the database is back.
#[must_use]
pub fn is_to_blame(error: &(dyn std::error::Error + 'static)) -> bool {
    // What an error passes on as it is does not show up in its chain: of a `StoreError` in it, only the sources do.
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<StoreError>() || error.is::<sqlx::Error>() || error.is::<Cause>())
}

/// The result of a query.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// An open database, migrated. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    location: Location,
    milestones: Arc<Milestones>,
    arrivals: Arc<Arrivals>,
    audits: Arc<Audits>,
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
        Ok(Self {
            database,
            location: location.clone(),
            milestones: Arc::default(),
            arrivals: Arc::default(),
            audits: Arc::default(),
            cache: None,
        })
    }

    fn engine(&self) -> database::Engine {
        self.database.engine()
    }

    /// Ends the use of the database by a process that is about to end.
    ///
    /// Closing a file properly merges the journal into it and waits for the disk three times, which is longer
    /// than a short action takes. A short journal is as safe where it is, and the next one to open the database
    /// finds it.
    ///
    /// It takes five seconds at most: a connection that died is not told that it is closed, and its place in the pool may
    /// never be free again.
    pub async fn close(self) {
        let _ = timeout(CLOSE_MAX, self.close_pool()).await;
    }

    async fn close_pool(self) {
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
                Durability::Disk => Box::pin(refusal::answered(refusal::reached(pool, pool.begin()))).await?,
                Durability::Process => {
                    let statement = "begin; set local synchronous_commit = off";
                    Box::pin(refusal::answered(refusal::reached(pool, pool.begin_with(statement)))).await?
                }
            }),
        })
    }
}

async fn open_file(path: &Path, location: &Location) -> Result<SqlitePool> {
    // One that is made by mistake would be an empty database, and all that was in the other one seem to be gone.
    if let Some(folder) = path.parent()
        && let Err(source) = std::fs::metadata(folder)
    {
        return Err(StoreError::Folder { path: folder.to_owned(), source });
    }
    if !path.exists() {
        tracing::info!("makes a new database: `{}`", path.display());
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
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(BUSY_TIMEOUT)
        .after_connect(|connection, _| Box::pin(async { connection.execute(SESSION).await.map(drop) }))
        // What the pool asks by itself, it waits for without end, and a connection may die and nobody be told.
        .test_before_acquire(false)
        .before_acquire(|connection, used| {
            Box::pin(async move { Ok(used.idle_for < FRESH || refusal::answers(connection).await?) })
        })
        .after_release(|connection, _| Box::pin(refusal::answers(connection)));
    let pool = pool.connect_lazy_with(options);
    refusal::open(&pool, location).await?;
    Ok(pool)
}

/// The time now by this machine's clock, as precise as every database keeps it. What others are to agree on is told by
/// the [database's](Store::time).
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
