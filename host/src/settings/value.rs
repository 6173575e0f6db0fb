//! Reading the values of settings, and showing them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::pack::bundles::BundlesLocation;
use crate::pack::signature::Policy;
use crate::store::Location;
use crate::trace::Endpoint;

/// Why a text is not the value that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    #[error("`{text}`: write a number and a unit, such as `500ms`, `10s`, `5m`, `1h` or `2d`")]
    Duration { text: String },
    #[error("`{text}`: write a number and a unit, such as `4096`, `64KiB`, `10MiB` or `2GiB`")]
    Bytes { text: String },
    #[error("`{text}`: write a number from 1 to {COUNT_MAX}")]
    Count { text: String },
    #[error("`{text}`: write a time of at most `36500d`")]
    Endless { text: String },
    #[error("no time at all: write more")]
    NoTime,
    #[error("`{text}`: write at most `1048576TiB`")]
    Much { text: String },
    #[error("`{text}`: write at least `1MiB`")]
    Little { text: String },
    #[error("`{text}`: write an absolute path")]
    Path { text: String },
    #[error("that: write `sqlite://` and the absolute path of a file, or `postgres://user@host/database`")]
    Database,
    #[error("`{text}`: write an address and a port, such as `127.0.0.1:9464` or `[::]:9464`")]
    Address { text: String },
    #[error(
        "that: write the URL of a collector, such as `http://127.0.0.1:4318`, or `none`; headers with credentials go into OTEL_EXPORTER_OTLP_HEADERS"
    )]
    OtlpEndpoint,
    #[error("`{text}`: write a number from 1 to {COUNT_MAX}, or `none`")]
    Rate { text: String },
    #[error("`{text}`: write origins such as `https://example.org`, with commas in between, or `none`")]
    Origins { text: String },
    #[error("`{text}`: write a URL such as `https://attune.example.org/api/v1`")]
    Url { text: String },
    #[error("`{text}`: write `text` or `json`")]
    LogFormat { text: String },
    #[error("`{text}`: write `require`, `warn` or `off`")]
    Signatures { text: String },
    #[error("`{text}`: write the absolute path of a folder, or `s3://bucket/path`")]
    Bundles { text: String },
}

/// Longer than anything runs, and short enough to be added to any time.
const DURATION_MAX: Duration = Duration::from_hours(36_500 * 24);

/// More than any disk has.
const BYTES_MAX: u64 = 1 << 60;

/// More than one machine runs at a time.
const COUNT_MAX: usize = 100_000;

/// The least memory that a component can do anything with.
const MEMORY_MIN: u64 = 1 << 20;

/// How the lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object each, for programs.
    Json,
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, InvalidValue> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(InvalidValue::LogFormat { text: text.to_owned() }),
    }
}

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const BYTE_UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A number with a unit; without one, in the unit `bare`. What is too large to be counted is the largest there is.
fn quantity(text: &str, units: &[(&str, u64)], bare: u64) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor = if unit.is_empty() {
        bare
    } else {
        units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
    };
    if number.is_empty() {
        return None;
    }
    // They are digits: what does not fit is too much for every limit.
    Some(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor))
}

/// `500ms`, `10s`, `5m`, `1h`, `2d`; a bare number is seconds. A century at most.
pub fn duration(text: &str) -> Result<Duration, InvalidValue> {
    let invalid = || InvalidValue::Duration { text: text.to_owned() };
    let duration = quantity(text, &DURATION_UNITS, 1_000).map(Duration::from_millis).ok_or_else(invalid)?;
    if duration > DURATION_MAX {
        return Err(InvalidValue::Endless { text: text.to_owned() });
    }
    Ok(duration)
}

/// The same, and more than nothing.
pub(super) fn positive(text: &str) -> Result<Duration, InvalidValue> {
    duration(text)
        .and_then(|duration| if duration.is_zero() { Err(InvalidValue::NoTime) } else { Ok(duration) })
}

/// 1 or more, within reason.
pub(super) fn count(text: &str) -> Result<usize, InvalidValue> {
    text.trim()
        .parse()
        .ok()
        .filter(|count| (1..=COUNT_MAX).contains(count))
        .ok_or_else(|| InvalidValue::Count { text: text.to_owned() })
}

/// So many a second; none for `none`.
pub(super) fn rate(text: &str) -> Result<Option<u32>, InvalidValue> {
    if text.trim() == "none" {
        return Ok(None);
    }
    let rate = count(text).ok().and_then(|rate| u32::try_from(rate).ok());
    rate.map(Some).ok_or_else(|| InvalidValue::Rate { text: text.to_owned() })
}

/// Origins as browsers send them; none for `none`.
pub(super) fn origins(text: &str) -> Result<Vec<String>, InvalidValue> {
    if text.trim() == "none" {
        return Ok(Vec::new());
    }
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_part = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-._:[]".contains(letter)
        };
        host.is_some_and(|host| !host.is_empty() && host.chars().all(is_part))
    };
    let origins = list(text);
    if origins.iter().all(is_origin) {
        Ok(origins)
    } else {
        Err(InvalidValue::Origins { text: text.to_owned() })
    }
}

/// Where something is, without a `/` at the end.
pub(super) fn url(text: &str) -> Result<String, InvalidValue> {
    let url = text.trim().trim_end_matches('/');
    let place = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_place =
        |place: &str| place.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '[');
    let is_url = place.is_some_and(is_place) && url.chars().all(|letter| letter.is_ascii_graphic());
    if is_url { Ok(url.to_owned()) } else { Err(InvalidValue::Url { text: text.to_owned() }) }
}

/// `4096`, `64KiB`, `10MiB`, `2GiB`.
pub fn bytes(text: &str) -> Result<u64, InvalidValue> {
    match quantity(text, &BYTE_UNITS, 1) {
        Some(bytes) if bytes > BYTES_MAX => Err(InvalidValue::Much { text: text.to_owned() }),
        Some(bytes) => Ok(bytes),
        None => Err(InvalidValue::Bytes { text: text.to_owned() }),
    }
}

/// The same, and enough for a component.
pub(super) fn memory(text: &str) -> Result<u64, InvalidValue> {
    bytes(text).and_then(|bytes| {
        if bytes < MEMORY_MIN { Err(InvalidValue::Little { text: text.to_owned() }) } else { Ok(bytes) }
    })
}

/// An absolute path: a relative one would mean another folder with every working directory.
pub(super) fn path(text: &str) -> Result<PathBuf, InvalidValue> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(InvalidValue::Path { text: text.to_owned() }) }
}

/// A database. The text may hold a password, so errors don't repeat it.
pub(super) fn database(text: &str) -> Result<Location, InvalidValue> {
    match text.parse::<Location>() {
        Ok(Location::File(path)) if path.is_relative() => Err(InvalidValue::Database),
        Ok(location) => Ok(location),
        Err(_) => Err(InvalidValue::Database),
    }
}

/// An address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, InvalidValue> {
    text.trim().parse().map_err(|_| InvalidValue::Address { text: text.to_owned() })
}

/// A collector; none for `none`. The text may hold credentials, so errors don't repeat it.
pub(super) fn otlp_endpoint(text: &str) -> Result<Option<Endpoint>, InvalidValue> {
    if text.trim() == "none" {
        return Ok(None);
    }
    Endpoint::below(text).map(Some).ok_or(InvalidValue::OtlpEndpoint)
}

/// A folder or a bucket.
pub(super) fn bundles(text: &str) -> Result<BundlesLocation, InvalidValue> {
    text.parse().map_err(|()| InvalidValue::Bundles { text: text.to_owned() })
}

pub(super) fn signatures(text: &str) -> Result<Policy, InvalidValue> {
    text.parse().map_err(|()| InvalidValue::Signatures { text: text.to_owned() })
}

/// What stands between commas.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// In the largest unit that gives a whole number.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(milliseconds, &DURATION_UNITS)
}

/// In the largest unit that gives a whole number.
pub(super) fn show_bytes(bytes: u64) -> String {
    show(bytes, &BYTE_UNITS)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .rev()
        .find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor))
        .map_or_else(|| amount.to_string(), |(name, factor)| format!("{}{name}", amount / factor))
}
