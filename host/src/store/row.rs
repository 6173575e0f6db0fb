//! Reading columns that hold JSON, and writing them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Row, ValueRef};

use super::Result;

/// The value of a column of JSON text.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    Ok(serde_json::from_str(&text)
        .map_err(|source| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) })?)
}

/// The value of a column of JSON text that may be null.
pub(super) fn optional_json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<Option<T>> {
    if row.try_get_raw(column)?.is_null() { Ok(None) } else { json(row, column).map(Some) }
}

/// The value of a column of text that parses to something.
pub(super) fn parsed<T>(row: &SqliteRow, column: &str) -> Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.try_get(column)?;
    Ok(text.parse().map_err(|source: T::Err| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    })?)
}

/// A value to be kept as JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> Json<&T> {
    Json(value)
}
