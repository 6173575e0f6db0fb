//! Times and sizes as options take them. What is wrong with one is said by clap, which names option and text itself.

use std::time::Duration;

use crate::settings::{InvalidValue, bytes, duration};

/// A time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|error| advice(&error, text))
}

/// A time that something may take.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("nothing can be done in no time; leave it out for the action's own".to_owned()),
        limit => Ok(limit),
    }
}

/// A number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    bytes(text).map_err(|error| advice(&error, text))
}

/// What would be right, without the text that is wrong.
fn advice(error: &InvalidValue, text: &str) -> String {
    let said = error.to_string();
    said.strip_prefix(&format!("`{text}`: ")).unwrap_or(&said).to_owned()
}
