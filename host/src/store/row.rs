//! Reading columns that hold JSON, and writing them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Encode, Type};

use super::Result;
use super::database::Row;

/// The value of a column of JSON text.
pub(super) fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    Ok(serde_json::from_str(&text)
        .map_err(|source| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) })?)
}

/// The value of a column of JSON text that may be null.
pub(super) fn optional_json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>> {
    if row.is_null(column)? { Ok(None) } else { json(row, column).map(Some) }
}

/// The value of a column of text that parses to something.
pub(super) fn parsed<T>(row: &Row, column: &str) -> Result<T>
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

/// A value to be kept as JSON text: a column of JSON would sort its keys on one engine, and be a number on the
/// other if that is all it holds.
pub(super) fn to_json<T: Serialize>(value: &T) -> JsonText<'_, T> {
    JsonText(value)
}

/// See [`to_json`].
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonText<'v, T>(&'v T);

impl<D: Database, T> Type<D> for JsonText<'_, T>
where
    String: Type<D>,
{
    fn type_info() -> D::TypeInfo {
        String::type_info()
    }
}

impl<'q, D: Database, T: Serialize> Encode<'q, D> for JsonText<'_, T>
where
    String: Encode<'q, D>,
{
    fn encode_by_ref(&self, buffer: &mut D::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        serde_json::to_string(self.0)?.encode(buffer)
    }
}
