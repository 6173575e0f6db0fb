//! Parameters from a command line: `name=value`, read by the type that the schema gives the name.

use serde_json::{Map, Value as Json};

use super::check::kind;
use super::defaults::resolve;

/// Why an assignment is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    #[error("`{text}` is not an assignment: write `name=value`")]
    Form { text: String },
    #[error("there is no parameter `{name}`{}", suggestion(.nearest.as_ref()))]
    Unknown { name: String, nearest: Option<String> },
    #[error("`{name}` is given twice")]
    Twice { name: String },
    #[error("`{name}` has to be {expected}, not `{text}`{hint}")]
    Type { name: String, expected: String, text: String, hint: String },
}

fn suggestion(name: Option<&String>) -> String {
    name.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default()
}

/// Reads assignments; all mistakes at once.
pub fn parse(
    schema: Option<&Json>,
    assignments: &[String],
) -> Result<Map<String, Json>, Vec<AssignmentError>> {
    let mut parameters = Map::new();
    let mut errors = Vec::new();
    for text in assignments {
        match assign(schema, text) {
            Ok((name, _)) if parameters.contains_key(&name) => errors.push(AssignmentError::Twice { name }),
            Ok((name, value)) => {
                parameters.insert(name, value);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(parameters) } else { Err(errors) }
}

fn assign(schema: Option<&Json>, text: &str) -> Result<(String, Json), AssignmentError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => (name, value),
        Some(_) | None => return Err(AssignmentError::Form { text: text.to_owned() }),
    };
    let Some(root) = schema else { return Ok((name.to_owned(), value.into())) };
    let schema = resolve(root, root);
    let properties = schema.get("properties").and_then(Json::as_object);
    let property = properties.and_then(|properties| properties.get(name));
    let value = match (property, properties) {
        (Some(property), _) => read(name, value, resolve(root, property))?,
        (None, Some(properties)) if !allows_others(schema) => {
            let nearest = nearest_of(name, properties.keys());
            return Err(AssignmentError::Unknown { name: name.to_owned(), nearest });
        }
        (None, _) => value.into(),
    };
    Ok((name.to_owned(), value))
}

/// JSON Schema allows every other property unless told otherwise, which would let each misspelt name
/// through; on a command line it has to be allowed in so many words.
fn allows_others(schema: &Json) -> bool {
    let has = |name: &str| schema.get(name).is_some_and(|value| *value != Json::Bool(false));
    has("additionalProperties") || has("patternProperties")
}

fn nearest_of<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .map(|(_, known)| known.clone())
}

fn read(name: &str, text: &str, property: &Json) -> Result<Json, AssignmentError> {
    let types: Vec<&str> = match property.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let parsed = serde_json::from_str::<Json>(text);
    if types.is_empty() {
        // Without a type, a value that the schema enumerates is taken for what it enumerates.
        let enumerated = property.get("enum").and_then(Json::as_array);
        let listed = parsed.ok().filter(|parsed| enumerated.is_some_and(|values| values.contains(parsed)));
        return Ok(listed.unwrap_or_else(|| text.into()));
    }
    if let Ok(parsed) = &parsed
        && types.iter().any(|kind| *kind != "string" && is_of(parsed, kind))
    {
        return Ok(parsed.clone());
    }
    if types.contains(&"string") {
        return Ok(text.into());
    }
    let hint = match &parsed {
        Ok(parsed) => format!(", which is {}", kind(parsed)),
        Err(error) if types.iter().any(|kind| matches!(*kind, "array" | "object")) => {
            format!(", which is no JSON: {error}")
        }
        Err(_) => String::new(),
    };
    let expected = types.iter().map(|kind| described(kind)).collect::<Vec<_>>().join(" or ");
    Err(AssignmentError::Type { name: name.to_owned(), expected, text: text.to_owned(), hint })
}

fn is_of(value: &Json, kind: &str) -> bool {
    match value {
        Json::Null => kind == "null",
        Json::Bool(_) => kind == "boolean",
        Json::Number(number) => {
            let is_whole = number.is_i64() || number.is_u64() || number.as_f64().is_some_and(is_whole);
            kind == "number" || kind == "integer" && is_whole
        }
        Json::String(_) => kind == "string",
        Json::Array(_) => kind == "array",
        Json::Object(_) => kind == "object",
    }
}

/// JSON Schema takes `1.0` for an integer.
fn is_whole(number: f64) -> bool {
    number.fract().abs() < f64::EPSILON
}

fn described(kind: &str) -> &str {
    match kind {
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a JSON array",
        "object" => "a JSON object",
        "null" => "`null`",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Json {
        json!({"properties": {
            "text": {"type": "string"},
            "whole": {"type": "integer"},
            "number": {"type": "number"},
            "flag": {"type": "boolean"},
            "list": {"type": "array"},
            "map": {"type": "object"},
            "maybe": {"type": ["string", "null"]},
            "either": {"type": ["integer", "boolean"]},
            "level": {"enum": [1, "two"]},
            "any": {},
            "elsewhere": {"$ref": "#/$defs/whole"},
        }, "$defs": {"whole": {"type": "integer"}}})
    }

    fn one(text: &str) -> Result<Map<String, Json>, Vec<AssignmentError>> {
        parse(Some(&schema()), &[text.to_owned()])
    }

    #[test]
    fn values_are_read_by_their_type() {
        for (text, expected) in [
            ("text=World", json!({"text": "World"})),
            ("text=", json!({"text": ""})),
            ("text=1", json!({"text": "1"})),
            ("text={\"a\": 1}", json!({"text": "{\"a\": 1}"})),
            ("text=a=b", json!({"text": "a=b"})),
            ("whole=-3", json!({"whole": -3})),
            ("whole=1.0", json!({"whole": 1.0})),
            ("number=2.5", json!({"number": 2.5})),
            ("flag=true", json!({"flag": true})),
            ("list=[1, \"a\"]", json!({"list": [1, "a"]})),
            ("map={\"a\": {}}", json!({"map": {"a": {}}})),
            ("maybe=null", json!({"maybe": null})),
            ("maybe=nul", json!({"maybe": "nul"})),
            ("either=3", json!({"either": 3})),
            ("level=1", json!({"level": 1})),
            ("level=two", json!({"level": "two"})),
            ("level=2", json!({"level": "2"})),
            ("any=1", json!({"any": "1"})),
            ("elsewhere=1", json!({"elsewhere": 1})),
        ] {
            assert_eq!(one(text).map(Json::Object), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, expected) in [
            ("text", "`text` is not an assignment: write `name=value`"),
            ("=x", "`=x` is not an assignment: write `name=value`"),
            ("texr=x", "there is no parameter `texr`: did you mean `text`?"),
            ("completely=x", "there is no parameter `completely`"),
            ("whole=x", "`whole` has to be a whole number, not `x`"),
            ("whole=2.5", "`whole` has to be a whole number, not `2.5`, which is a number"),
            ("flag=yes", "`flag` has to be `true` or `false`, not `yes`"),
            ("list={}", "`list` has to be a JSON array, not `{}`, which is an object"),
            (
                "map={a}",
                "`map` has to be a JSON object, not `{a}`, which is no JSON: key must be a string at line 1 column 2",
            ),
            ("either=x", "`either` has to be a whole number or `true` or `false`, not `x`"),
        ] {
            let errors = one(text).expect_err(text);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected], "{text}");
        }
        let given = ["text=a", "text=b", "whole=x"].map(str::to_owned);
        let errors = parse(Some(&schema()), &given).expect_err("two mistakes");
        assert_eq!(errors.len(), 2);
        assert_eq!(errors[0], AssignmentError::Twice { name: "text".to_owned() });
    }

    #[test]
    fn without_a_schema_all_is_text() {
        let given = ["a=1".to_owned(), "b=true".to_owned()];
        assert_eq!(parse(None, &given).map(Json::Object), Ok(json!({"a": "1", "b": "true"})));
        let open = json!({"properties": {"a": {"type": "integer"}}, "additionalProperties": true});
        assert_eq!(parse(Some(&open), &given).map(Json::Object), Ok(json!({"a": 1, "b": "true"})));
        assert_eq!(parse(Some(&json!({})), &given).map(Json::Object), Ok(json!({"a": "1", "b": "true"})));
    }
}
