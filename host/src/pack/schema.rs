//! JSON Schemas that a pack declares: checked when it is loaded, so that executions can rely on them.

mod defaults;

use jsonschema::PatternOptions;
use serde_json::Value as Json;

use super::decode;
use super::problem::{Report, alternatives, nearest};
use super::yaml::{Element, Entry, Value};

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Declared secrets arrive under this name among the parameters.
const RESERVED_PROPERTY: &str = "secrets";

/// A JSON Schema.
pub(crate) fn schema(element: &Element, report: &mut Report<'_>) -> Option<Json> {
    let schema = decode::json(element, report)?;
    if !schema.is_object() {
        report.add(
            &element.span,
            format!("a JSON Schema is expected here, and this is {}", element.kind()),
            "write a mapping, such as `type: object` and `properties: …`",
        );
        return None;
    }
    let meta = match jsonschema::meta::validator_for(&schema) {
        Ok(meta) => meta,
        Err(error) => {
            report.add(
                &element.at_pointer("/$schema").span,
                format!("the dialect of the JSON Schema is not known: {error}"),
                "leave `$schema` out for the current dialect",
            );
            return None;
        }
    };
    let mut valid = true;
    for error in meta.iter_errors(&schema) {
        valid = false;
        let at = element.at_pointer(error.instance_path().as_str());
        let (message, help) = explain(&error, at);
        report.add(&at.span, message, help);
    }
    if !valid {
        return None;
    }
    // What the schema of schemas can't see: references and patterns.
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    if let Err(error) = options.build(&schema) {
        let at = element.at_pointer(error.instance_path().as_str());
        let (span, message, help) = match outside(element) {
            Some((at, reference)) => (
                &at.span,
                format!("`{reference}` is not in this JSON Schema, and nothing is read from elsewhere"),
                "refer only to what is in the same schema, as in `$ref: \"#/$defs/name\"`",
            ),
            None if error.instance().is_string() && error.instance_path().as_str().contains("attern") => (
                &at.span,
                format!("the JSON Schema can't be used: {error}"),
                "write a valid regular expression, with smaller numbers if it repeats with `{…}`",
            ),
            None => (
                &at.span,
                format!("the JSON Schema can't be used: {error}"),
                "refer only to what is in the same schema, as in `$ref: \"#/$defs/name\"`",
            ),
        };
        report.add(span, message, help);
        return None;
    }
    defaults::check(&schema, element, report);
    Some(schema)
}

/// A reference to something that is no part of the schema.
fn outside(element: &Element) -> Option<(&Element, &str)> {
    match &element.value {
        Value::Scalar(_) => None,
        Value::Sequence(items) => items.iter().find_map(|item| outside(item)),
        Value::Mapping(entries) => entries.iter().find_map(|Entry { key, value, .. }| match &value.value {
            Value::Scalar(scalar) if &**key == "$ref" && !scalar.text.starts_with('#') => {
                Some((&**value, scalar.text.as_str()))
            }
            _ => outside(value),
        }),
    }
}

fn explain(error: &jsonschema::ValidationError<'_>, at: &Element) -> (String, String) {
    let keyword = error.instance_path().as_str().rsplit('/').next().unwrap_or_default();
    match error.instance().as_ref() {
        Json::String(read) if keyword == "type" => {
            let help = match nearest(read, TYPES) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("write {}", alternatives(TYPES)),
            };
            (format!("`{read}` is not a type of JSON Schema"), help)
        }
        read if keyword == "required" && !read.is_array() => (
            format!("`required` of a JSON Schema is a list of names, and this is {}", at.kind()),
            "write `required: [name]` beside `properties`".to_owned(),
        ),
        _ => (
            format!("this is not valid in a JSON Schema: {error}"),
            "see https://json-schema.org/understanding-json-schema".to_owned(),
        ),
    }
}

/// The JSON Schema of an object.
pub(crate) fn object_schema(element: &Element, report: &mut Report<'_>) -> Option<Json> {
    let schema = schema(element, report)?;
    if schema.get("type").and_then(Json::as_str) == Some("object") {
        return Some(schema);
    }
    let at = if schema.get("type").is_some() { element.at_pointer("/type") } else { element };
    report.add(
        &at.span,
        "the JSON Schema has to be that of an object",
        "write `type: object`, and the names with their schemas under `properties`",
    );
    None
}

/// The JSON Schema of an action's parameters.
pub(crate) fn parameters_schema(element: &Element, report: &mut Report<'_>) -> Option<Json> {
    let schema = object_schema(element, report)?;
    if schema.get("properties").and_then(|properties| properties.get(RESERVED_PROPERTY)).is_none() {
        return Some(schema);
    }
    report.add(
        &element.at_pointer(&format!("/properties/{RESERVED_PROPERTY}")).span,
        format!("a parameter can't be called `{RESERVED_PROPERTY}`: declared secrets arrive under that name"),
        "use another name, or declare the secret under `secrets` of the action",
    );
    None
}
