//! Defaults within a JSON Schema: each is what an execution gets that gives nothing, and has to be allowed there.

use jsonschema::{PatternOptions, ValidationError};
use serde_json::Value as Json;

use crate::pack::problem::Report;
use crate::pack::yaml::{Element, Reading, Value};
use crate::parameters;

/// Keywords with a schema, or a list of schemas. Those of conditions are left out: what stands there is given to nobody.
const SCHEMAS: [&str; 8] =
    ["additionalProperties", "allOf", "anyOf", "contains", "else", "items", "oneOf", "prefixItems"];

/// Keywords with schemas by name.
const BY_NAME: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// Reports each default of `schema`, read from `element`, that its own schema refuses. A default is completed first, as
/// when an action runs.
pub(super) fn check(schema: &Json, element: &Element, report: &mut Report<'_>) {
    let mut declared = Vec::new();
    collect(schema, "", &mut declared);
    if declared.is_empty() {
        return;
    }
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    let Ok(validators) = options.build_map(schema) else { return };
    for (pointer, part) in declared {
        let Some(validator) = validators.get(&format!("#{pointer}")) else { continue };
        let mut default = part["default"].clone();
        parameters::fill_in_part(schema, part, &mut default);
        for error in validator.iter_errors(&default) {
            let at = element.at_pointer(&format!("{pointer}/default{}", error.instance_path()));
            let message = format!("the default is not what its JSON Schema allows: {error}");
            report.add(&at.span, message, help(part, at, &error));
        }
    }
}

/// The parts of a schema that have a default, and JSON pointers to them.
fn collect<'a>(schema: &'a Json, pointer: &str, declared: &mut Vec<(String, &'a Json)>) {
    let Json::Object(keywords) = schema else { return };
    if keywords.contains_key("default") {
        declared.push((pointer.to_owned(), schema));
    }
    for (keyword, value) in keywords {
        let below = format!("{pointer}/{keyword}");
        match value {
            Json::Object(named) if BY_NAME.contains(&keyword.as_str()) => {
                for (name, schema) in named {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    collect(schema, &format!("{below}/{name}"), declared);
                }
            }
            Json::Array(schemas) if SCHEMAS.contains(&keyword.as_str()) => {
                for (position, schema) in schemas.iter().enumerate() {
                    collect(schema, &format!("{below}/{position}"), declared);
                }
            }
            schema if SCHEMAS.contains(&keyword.as_str()) => collect(schema, &below, declared),
            _ => {}
        }
    }
}

fn help(part: &Json, at: &Element, error: &ValidationError<'_>) -> String {
    match &at.value {
        Value::Scalar(scalar)
            if part["type"] == "string"
                && scalar.reading() != Reading::Text
                && error.instance_path().as_str().is_empty() =>
        {
            format!("put quotes around it: `\"{}\"`", scalar.text)
        }
        _ => "write a value that the schema allows, or correct the schema".to_owned(),
    }
}
