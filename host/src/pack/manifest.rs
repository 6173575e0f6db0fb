//! `pack.yaml`.

use serde_json::Value as Json;

use super::decode::{Fields, at_least_one, list, nonempty, text, version_text};
use super::problem::Report;
use super::schema::object_schema;
use super::yaml::{Element, Reading, Value};
use crate::reference::PackRef;

/// What `pack.yaml` says.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) label: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) version: semver::Version,
    pub(crate) author: Option<String>,
    pub(crate) config_schema: Option<Json>,
    pub(crate) tags: Vec<String>,
    pub(crate) concurrency: Option<u32>,
}

/// The name of the pack, which the other files are read with even if the rest is wrong, and the rest.
pub(crate) fn read(element: &Element, report: &mut Report<'_>) -> (Option<PackRef>, Option<Manifest>) {
    let Some(mut fields) = Fields::of("a pack", element, report) else { return (None, None) };
    let reference = fields.required("ref", report, pack_reference);
    let label = fields.optional("label", report, nonempty);
    let description = fields.optional("description", report, text);
    let version = fields.required("version", report, version);
    let author = fields.optional("author", report, nonempty);
    let config_schema = fields.optional("config", report, object_schema);
    let tags = fields.optional("tags", report, list(nonempty)).unwrap_or_default();
    let help = "write at least 1, or leave it out for no limit";
    let concurrency = fields.optional("concurrency", report, at_least_one(help));
    fields.finish(report);
    let rest = version.map(|version| Manifest {
        label,
        description,
        version,
        author,
        config_schema,
        tags,
        concurrency,
    });
    (reference, rest)
}

fn pack_reference(element: &Element, report: &mut Report<'_>) -> Option<PackRef> {
    let read = nonempty(element, report)?;
    read.parse()
        .map_err(|error: crate::reference::InvalidReference| {
            report.add(&element.span, error.to_string(), "write a name such as `examples`");
        })
        .ok()
}

fn version(element: &Element, report: &mut Report<'_>) -> Option<semver::Version> {
    let read = match &element.value {
        // What it would be in quotes is no version of a pack either.
        Value::Scalar(scalar) if matches!(scalar.reading(), Reading::Float(_)) => scalar.text.clone(),
        _ => version_text(element, report)?,
    };
    if let Ok(version) = semver::Version::parse(&read) {
        return Some(version);
    }
    let help = match padded(&read) {
        Some(meant) => format!("write `\"{meant}\"`"),
        None => "write three numbers, as in `version: \"1.0.0\"`".to_owned(),
    };
    let message = format!("`{read}` is not the version of a pack, which is three numbers with dots between");
    report.add(&element.span, message, help);
    None
}

/// The version that was probably meant by one with a `v`, or with less than three numbers.
fn padded(read: &str) -> Option<semver::Version> {
    let numbers = read.trim().trim_start_matches(['v', 'V']);
    let missing = 2_usize.saturating_sub(numbers.matches('.').count());
    semver::Version::parse(&format!("{numbers}{}", ".0".repeat(missing))).ok()
}
