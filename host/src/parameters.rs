//! Parameters: defaults, checks against the schema, and how they reach the program.
//!
//! Owns values and their text, not the pipe or file that carries it.

mod assignment;
mod check;
mod defaults;
mod encode;

use serde_json::{Map, Value as Json};

pub use assignment::{AssignmentError, parse};
pub use check::{InvalidSchema, Violation, violations};
pub(crate) use defaults::fill_in_part;
pub use encode::{EncodeError, encode};

/// The largest parameters, as JSON.
pub const SIZE_MAX: usize = 1024 * 1024;

/// Why parameters are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    #[error("parameters are an object of names and values, not {found}")]
    NotObject { found: &'static str },
    #[error("the parameters have {size} bytes as JSON, more than {SIZE_MAX}")]
    TooLarge { size: usize },
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
    /// All of them.
    #[error("the parameters don't match the schema: {}", joined(.violations))]
    Invalid { violations: Vec<Violation> },
}

/// Fills in what the schema has defaults for, and checks the outcome against it.
pub fn complete(schema: Option<&Json>, given: Json) -> Result<Map<String, Json>, ParametersError> {
    let mut given = given;
    if let Some(schema) = schema {
        defaults::fill_in(schema, &mut given);
    }
    let size = given.to_string().len();
    if size > SIZE_MAX {
        return Err(ParametersError::TooLarge { size });
    }
    let found = violations(schema, &given)?;
    let parameters = match given {
        Json::Object(parameters) => parameters,
        other => return Err(ParametersError::NotObject { found: check::kind(&other) }),
    };
    if found.is_empty() { Ok(parameters) } else { Err(ParametersError::Invalid { violations: found }) }
}

pub(crate) fn joined(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_come_before_the_check() {
        let schema = json!({
            "type": "object",
            "properties": {"name": {"type": "string", "default": "World"}, "count": {"type": "integer"}},
            "required": ["name"],
        });
        let complete = |given: Json| complete(Some(&schema), given).map(Json::Object);
        assert_eq!(complete(json!({})), Ok(json!({"name": "World"})));
        assert_eq!(complete(json!({"name": "x", "count": 1})), Ok(json!({"name": "x", "count": 1})));
        let Err(ParametersError::Invalid { violations }) = complete(json!({"name": 1, "count": "x"})) else {
            panic!("two violations")
        };
        let paths: Vec<&str> = violations.iter().map(|violation| violation.path.as_str()).collect();
        assert_eq!(paths, ["/name", "/count"], "{violations:?}");
    }

    #[test]
    fn refuses_what_are_no_parameters() {
        assert_eq!(complete(None, json!([1])), Err(ParametersError::NotObject { found: "an array" }));
        let large = json!({"text": "x".repeat(SIZE_MAX)});
        assert!(matches!(complete(None, large), Err(ParametersError::TooLarge { size }) if size > SIZE_MAX));
        let schema = json!({"type": "nonsense"});
        assert!(matches!(complete(Some(&schema), json!({})), Err(ParametersError::Schema(_))));
    }
}
