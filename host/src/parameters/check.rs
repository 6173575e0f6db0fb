//! Checking a value against a JSON Schema.

use std::fmt;

use jsonschema::PatternOptions;
use serde::Serialize;
use serde_json::Value as Json;

/// One way in which a value does not match its schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON pointer to the value in question; empty for the whole.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            formatter.write_str(&self.message)
        } else {
            write!(formatter, "{}: {}", self.path, self.message)
        }
    }
}

/// A schema that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema is not valid: {message}")]
pub struct InvalidSchema {
    pub message: String,
}

/// Every way in which a value does not match; without a schema, everything matches.
///
/// Patterns are regular expressions of linear time, and schemas elsewhere are not fetched.
pub fn violations(schema: Option<&Json>, value: &Json) -> Result<Vec<Violation>, InvalidSchema> {
    let Some(schema) = schema else { return Ok(Vec::new()) };
    let validator = jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| InvalidSchema { message: error.to_string() })?;
    Ok(validator
        .iter_errors(value)
        .map(|error| Violation { path: error.instance_path().to_string(), message: error.to_string() })
        .collect())
}

/// What kind of value it is, with an article.
pub(super) fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Json, value: &Json, expected: &[(&str, &str)]) {
        let found = violations(Some(schema), value).expect("a valid schema");
        let found: Vec<(&str, &str)> =
            found.iter().map(|violation| (violation.path.as_str(), violation.message.as_str())).collect();
        assert_eq!(found, expected, "{schema} {value}");
    }

    #[test]
    fn all_violations_are_reported() {
        check(&json!({}), &json!(1), &[]);
        let pointer = json!({"properties": {"a/b": {"type": "null"}}});
        check(&pointer, &json!({"a/b": 1}), &[("/a~1b", r#"1 is not of type "null""#)]);
        let schema = json!({
            "type": "object",
            "required": ["a"],
            "additionalProperties": false,
            "properties": {
                "list": {"type": "array", "items": {"type": "integer"}},
                "code": {"type": "string", "pattern": "^[a-z]+$"},
            },
        });
        let value = json!({"list": [1, "x", 2.5], "code": "A", "other": 1});
        let expected = [
            ("/list/1", r#""x" is not of type "integer""#),
            ("/list/2", r#"2.5 is not of type "integer""#),
            ("/code", r#""A" does not match "^[a-z]+$""#),
        ];
        let found = violations(Some(&schema), &value).expect("a valid schema");
        assert_eq!(found.len(), 5, "{found:?}");
        for (path, message) in expected {
            let violation = Violation { path: path.to_owned(), message: message.to_owned() };
            assert!(found.contains(&violation), "{violation} of {found:?}");
        }
        assert_eq!(found.iter().filter(|violation| violation.path.is_empty()).count(), 2, "{found:?}");
    }

    #[test]
    fn schemas_are_checked_and_not_fetched() {
        for schema in [
            json!({"type": "nonsense"}),
            json!({"properties": 1}),
            json!({"pattern": "("}),
            // A back-reference needs more than linear time.
            json!({"pattern": r"(a)\1"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/hostname"}),
        ] {
            assert!(violations(Some(&schema), &json!("x")).is_err(), "{schema}");
        }
    }
}
