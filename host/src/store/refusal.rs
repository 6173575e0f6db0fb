//! Why a database server can't be used.

use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::{Location, StoreError};

/// How long a server is asked why it can't be used.
const ASKED_MAX: Duration = Duration::from_secs(5);

/// Why a server can't be used, and where it was looked for.
#[derive(Debug, thiserror::Error)]
#[error("can't open the database `{location}` at {place}")]
pub struct Refused {
    /// The database.
    pub location: Location,
    /// A host and a port, or a socket.
    pub place: String,
    #[source]
    pub source: sqlx::Error,
}

impl Refused {
    /// What became of a pool that could not be opened.
    pub(super) async fn of(
        location: &Location,
        options: &PgConnectOptions,
        error: sqlx::Error,
    ) -> StoreError {
        let source = match error {
            // Pools try again for as long as they may, and then only say that this took too long.
            sqlx::Error::PoolTimedOut => reason(options).await.unwrap_or(sqlx::Error::PoolTimedOut),
            error => error,
        };
        StoreError::Refused(Box::new(Self { location: location.clone(), place: place(options), source }))
    }
}

/// Why there is no connection; none if there is one now, or no answer either.
async fn reason(options: &PgConnectOptions) -> Option<sqlx::Error> {
    let connecting = PgConnection::connect_with(options);
    tokio::time::timeout(ASKED_MAX, connecting).await.ok()?.err()
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
