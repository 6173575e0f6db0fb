//! Two engines behind one text of SQL.
//!
//! A statement is written once, with `$1` for what is bound, and runs on both. What differs between the engines
//! is in the migrations, and in the few places that ask for the [`Engine`].

use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Decode, Encode, Row as _, Type, ValueRef as _};

use super::{Result, refusal};

/// What keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// An open database.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction; dropped without a commit, it changes nothing.
#[derive(Debug)]
pub enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// A row of an answer.
#[derive(Debug)]
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What can be bound to a statement.
pub(super) trait Bind<'v>:
    Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres>
{
}
impl<'v, T> Bind<'v> for T where T: Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres> {}

/// What can be read from a column.
pub(super) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}
impl<T> Column for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

type SqliteQuery = sqlx::query::Query<'static, Sqlite, SqliteArguments>;
type PostgresQuery = sqlx::query::Query<'static, Postgres, PgArguments>;

/// A statement, where it is to run, and what is bound so far.
#[must_use]
pub(super) enum Query<'e> {
    SqlitePool(&'e SqlitePool, SqliteQuery),
    Sqlite(&'e mut SqliteConnection, SqliteQuery),
    PostgresPool(&'e PgPool, PostgresQuery),
    Postgres(&'e mut PgConnection, PostgresQuery),
}

/// The same for every kind of query; what is bound and what runs it have the same names in each.
macro_rules! each {
    ($query:expr, ($executor:ident, $statement:ident) => $run:expr) => {
        match $query {
            Query::SqlitePool($executor, $statement) => $run,
            Query::Sqlite($executor, $statement) => $run,
            Query::PostgresPool(pool, $statement) => {
                let mut connection = refusal::acquire(pool).await?;
                let $executor = &mut *connection;
                refusal::answered(async { Ok($run) }).await?
            }
            Query::Postgres($executor, $statement) => refusal::answered(async { Ok($run) }).await?,
        }
    };
}

impl Database {
    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// A statement that is a transaction by itself. What it wrote survives the death of every process.
    pub(super) fn query(&self, sql: &'static str) -> Query<'_> {
        match self {
            Self::Sqlite(pool) => Query::SqlitePool(pool, sqlx::query(sql)),
            Self::Postgres(pool) => Query::PostgresPool(pool, sqlx::query(sql)),
        }
    }

    /// A statement that is a transaction by itself, on the disk when it ends. Ask for all of its rows: how many
    /// it changed is only known by what it returns.
    pub(super) fn durable(&self, sql: &'static str) -> Query<'_> {
        match self {
            // In one go: what is handed to the thread of SQLite and back costs as much as the statement.
            Self::Sqlite(pool) => Query::SqlitePool(
                pool,
                sqlx::query(AssertSqlSafe(format!(
                    "pragma synchronous = full; {sql}; pragma synchronous = normal"
                ))),
            ),
            Self::Postgres(pool) => Query::PostgresPool(pool, sqlx::query(sql)),
        }
    }
}

impl Transaction {
    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// A statement of this transaction.
    pub(super) fn query(&mut self, sql: &'static str) -> Query<'_> {
        match self {
            Self::Sqlite(transaction) => Query::Sqlite(transaction, sqlx::query(sql)),
            Self::Postgres(transaction) => Query::Postgres(transaction, sqlx::query(sql)),
        }
    }

    pub(super) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => {
                refusal::answered(async { Ok(transaction.commit().await?) }).await?;
            }
        }
        Ok(())
    }
}

impl Query<'_> {
    /// The value of the next `$n`.
    pub(super) fn bind<'v>(self, value: impl Bind<'v>) -> Self {
        match self {
            Self::SqlitePool(executor, query) => Self::SqlitePool(executor, query.bind(value)),
            Self::Sqlite(executor, query) => Self::Sqlite(executor, query.bind(value)),
            Self::PostgresPool(executor, query) => Self::PostgresPool(executor, query.bind(value)),
            Self::Postgres(executor, query) => Self::Postgres(executor, query.bind(value)),
        }
    }

    /// Runs it; how many rows it changed.
    pub(super) async fn execute(self) -> Result<u64> {
        Ok(each!(self, (executor, query) => query.execute(executor).await?.rows_affected()))
    }

    /// All rows.
    pub(super) async fn fetch_all(self) -> Result<Vec<Row>> {
        Ok(each!(self, (executor, query) => {
            query.fetch_all(executor).await?.into_iter().map(Row::from).collect()
        }))
    }

    /// The first row, if there is one.
    pub(super) async fn fetch_optional(self) -> Result<Option<Row>> {
        Ok(each!(self, (executor, query) => query.fetch_optional(executor).await?.map(Row::from)))
    }

    /// The first row; that there is none is an error.
    pub(super) async fn fetch_one(self) -> Result<Row> {
        Ok(each!(self, (executor, query) => query.fetch_one(executor).await?.into()))
    }
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

impl Row {
    /// The value of a column.
    pub(super) fn try_get<T: Column>(&self, column: &str) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn is_null(&self, column: &str) -> Result<bool> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get_raw(column)?.is_null(),
            Self::Postgres(row) => row.try_get_raw(column)?.is_null(),
        })
    }
}
