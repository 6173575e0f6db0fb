//! Why a database server can't be used.

use std::pin::pin;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, Postgres};
use tokio::time::{sleep, timeout};

use super::{BUSY_TIMEOUT, Location, Result, StoreError};

/// Pools try again for as long as they may when a server refuses to be connected to. Who opens one is told after this time;
/// a server that is started anew may be back soon, but whoever begins can begin again.
const OPENING_PATIENCE: Duration = Duration::from_millis(500);

/// The same for who has had a connection before: almost as long as the pool tries, which then only says that it took too
/// long.
const PATIENCE: Duration = BUSY_TIMEOUT.saturating_sub(Duration::from_secs(1));

/// A server that says nothing on a connection for this long does not answer on it any more.
const SILENCE: Duration = Duration::from_secs(1);

/// A statement that there is no answer to for this long has nobody at the other end any more: the connection has died, and
/// nobody was told. What takes longer is done in parts.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why a server can't be used, and where it was looked for.
#[derive(Debug, thiserror::Error)]
#[error("can't open the database `{location}` at {place}")]
pub struct Refused {
    /// The database.
    pub location: Location,
    /// A host and a port, or a socket.
    pub place: String,
    #[source]
    pub source: Cause,
}

/// Why there is no connection to a server that could be used before, and where that is.
#[derive(Debug, thiserror::Error)]
#[error("can't reach the database server at {place}{}: {source}", for_so_long(*waited))]
pub struct Unreachable {
    /// A host and a port, or a socket.
    pub place: String,
    /// How long a connection was waited for.
    pub waited: Duration,
    #[source]
    pub source: Cause,
}

/// Empty if it was over at once.
fn for_so_long(waited: Duration) -> String {
    let seconds = waited.as_secs();
    if seconds == 0 { String::new() } else { format!(" for {seconds} s") }
}

/// What keeps somebody from having a connection.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The server or the way to it.
    #[error(transparent)]
    Server(#[from] sqlx::Error),
    /// Nobody says anything.
    #[error("there is no answer")]
    Silence,
    /// The server could be reached, and all connections that this process may have are taken.
    #[error("all connections of this process are busy")]
    Busy,
}

/// The first connection of a pool.
pub(super) async fn open(pool: &PgPool, location: &Location) -> Result<()> {
    match Box::pin(reach(pool, OPENING_PATIENCE, pool.acquire())).await {
        Ok(_) => Ok(()),
        Err(source) => {
            let place = place(&pool.connect_options());
            Err(StoreError::Refused(Box::new(Refused { location: location.clone(), place, source })))
        }
    }
}

/// A connection of a pool.
pub(super) async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>> {
    // Boxed, as the pool's own queries are: those who ask for something need not carry the size of a way to a server.
    Box::pin(reached(pool, pool.acquire())).await
}

/// What a pool has `wanted` of it, which has to be nothing but a connection in some form.
pub(super) async fn reached<T>(pool: &PgPool, wanted: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    let since = Instant::now();
    reach(pool, PATIENCE, wanted).await.map_err(|source| {
        StoreError::Unreachable(Box::new(Unreachable {
            place: place(&pool.connect_options()),
            waited: since.elapsed(),
            source,
        }))
    })
}

/// The answer to a statement, which is not waited for without end. The connection is not used any more if there is none.
pub(super) async fn answered<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ANSWER_MAX, asked).await.unwrap_or_else(|silence| Err(sqlx::Error::Io(silence.into()).into()))
}

/// Whether there is anybody at the other end of a `connection`; one that there is nobody for is to be dropped as it is.
pub(super) async fn answers(connection: &mut PgConnection) -> sqlx::Result<bool> {
    match timeout(SILENCE, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(silence) => Err(sqlx::Error::Io(silence.into())),
    }
}

/// Waits for a connection, and asks the server itself when that takes longer than `patience`: a way to it that is closed is
/// the end of the waiting, and what else it says is the reason if that is in vain.
async fn reach<T>(
    pool: &PgPool,
    patience: Duration,
    wanted: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, Cause> {
    let mut wanted = pin!(wanted);
    let mut asked = pin!(async {
        sleep(patience).await;
        Box::pin(PgConnection::connect_with(&pool.connect_options())).await
    });
    let mut answer = None;
    loop {
        tokio::select! {
            biased;
            outcome = &mut wanted => return outcome.map_err(|error| match error {
                sqlx::Error::PoolTimedOut => answer.unwrap_or(Cause::Silence),
                error => Cause::Server(error),
            }),
            asked = &mut asked, if answer.is_none() => match asked {
                Ok(connection) => {
                    // It was only to see whether there can be one.
                    drop(connection.close().await);
                    answer = Some(Cause::Busy);
                }
                Err(error @ sqlx::Error::Io(_)) => return Err(Cause::Server(error)),
                Err(error) => answer = Some(Cause::Server(error)),
            },
        }
    }
}

/// Where a server is looked for: what the URL leaves open, variables and the system say.
fn place(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    let folder = options.get_socket().map(|folder| folder.display().to_string());
    match folder.or_else(|| host.starts_with('/').then(|| host.to_owned())) {
        Some(folder) => format!("{folder}/.s.PGSQL.{port}"),
        None => format!("{host}, port {port}"),
    }
}
