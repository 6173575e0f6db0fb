//! Where an answer is not as expected. What an expectation does not name is not compared, within lists neither; but a list has
//! as many items as are expected.

use serde_json::Value as Json;

use crate::pack::problem::{Position, Source};
use crate::pack::scenario::{Expected, ExpectedValue};

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 600;

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Where in the answer: `installations[0].version`; empty for all of it.
    pub path: String,
    /// What is expected there.
    pub expected: String,
    /// What there is.
    pub got: String,
    /// Where that is expected.
    pub position: Position,
}

/// All differences.
pub(super) fn compare(expected: &Expected, answer: &Json, source: &Source) -> Vec<Difference> {
    let mut comparison = Comparison { source, differences: Vec::new() };
    let awaits_failure = match &expected.value {
        ExpectedValue::Mapping(entries) => {
            entries.is_empty() || entries.iter().any(|(key, _)| key == "failure")
        }
        ExpectedValue::Nothing | ExpectedValue::Scalar(_) | ExpectedValue::List(_) => false,
    };
    match answer.get("failure") {
        // All of it is missing: why, is what is to be known.
        Some(failure) if !awaits_failure => comparison.differences.push(Difference {
            path: String::new(),
            expected: "an answer".to_owned(),
            got: format!("the failure {}", shown(failure)),
            position: source.position(&expected.span),
        }),
        _ => comparison.compare(expected, Some(answer), ""),
    }
    comparison.differences
}

struct Comparison<'a> {
    source: &'a Source,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    fn compare(&mut self, expected: &Expected, got: Option<&Json>, path: &str) {
        match (&expected.value, got) {
            (ExpectedValue::Nothing, None | Some(Json::Null)) => {}
            (ExpectedValue::Scalar(text), Some(got)) if is_scalar(text, got) => {}
            (ExpectedValue::Mapping(entries), Some(Json::Object(got))) => {
                for (key, expected) in entries {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.compare(expected, got.get(key), &path);
                }
            }
            (ExpectedValue::List(items), Some(Json::Array(got))) if items.len() == got.len() => {
                for (number, (expected, got)) in items.iter().zip(got).enumerate() {
                    self.compare(expected, Some(got), &format!("{path}[{number}]"));
                }
            }
            (
                ExpectedValue::Nothing
                | ExpectedValue::Scalar(_)
                | ExpectedValue::Mapping(_)
                | ExpectedValue::List(_),
                got,
            ) => self.differences.push(Difference {
                path: path.to_owned(),
                expected: shown(&json_of(expected)),
                got: got.map_or_else(|| "nothing".to_owned(), shown),
                position: self.source.position(&expected.span),
            }),
        }
    }
}

/// Whether a value is what was written. Text counts as it is; so `3.10` is not `3.1`.
fn is_scalar(text: &str, got: &Json) -> bool {
    match got {
        Json::String(got) => got == text,
        Json::Number(got) => got.to_string() == text,
        Json::Bool(got) => got.to_string() == text,
        Json::Null | Json::Array(_) | Json::Object(_) => false,
    }
}

fn json_of(expected: &Expected) -> Json {
    match &expected.value {
        ExpectedValue::Nothing => Json::Null,
        ExpectedValue::Scalar(text) => Json::from(text.clone()),
        ExpectedValue::List(items) => items.iter().map(json_of).collect(),
        ExpectedValue::Mapping(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), json_of(value))).collect()
        }
    }
}

/// A value in a line; of a list, an item in a line each.
fn shown(value: &Json) -> String {
    let text = match value {
        Json::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Json::Array(items) => {
            let lines = items.iter().map(|item| format!("\n  {item}"));
            format!("{} of them:{}", items.len(), lines.collect::<String>())
        }
        Json::Null => "nothing".to_owned(),
        Json::String(text) if !text.is_empty() => text.clone(),
        Json::Object(_) | Json::String(_) | Json::Number(_) | Json::Bool(_) => value.to_string(),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scalar(text: &str) -> Expected {
        Expected { span: 0..0, value: ExpectedValue::Scalar(text.to_owned()) }
    }

    fn list(items: Vec<Expected>) -> Expected {
        Expected { span: 0..0, value: ExpectedValue::List(items) }
    }

    fn mapping(entries: &[(&str, Expected)]) -> Expected {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        Expected { span: 0..0, value: ExpectedValue::Mapping(entries.collect()) }
    }

    fn differences(expected: &Expected, answer: &Json) -> Vec<(String, String)> {
        let source = Source::new("tests/x.yaml", "expected");
        let differences = compare(expected, answer, &source).into_iter();
        differences.map(|difference| (difference.path, difference.got)).collect()
    }

    #[test]
    fn only_what_is_named_is_compared() {
        let answer = json!({ "a": [{ "version": "3.10", "more": 1 }], "b": true, "c": null, "n": 7 });
        let one = |version: &str| mapping(&[("a", list(vec![mapping(&[("version", scalar(version))])]))]);
        assert_eq!(differences(&one("3.10"), &answer), []);
        let difference = |path: &str, got: &str| vec![(path.to_owned(), got.to_owned())];
        assert_eq!(differences(&one("3.1"), &answer), difference("a[0].version", "3.10"));
        let nothing = Expected { span: 0..0, value: ExpectedValue::Nothing };
        for (expected, got) in [
            (mapping(&[("b", scalar("true"))]), vec![]),
            (mapping(&[("n", scalar("7"))]), vec![]),
            (mapping(&[("c", nothing.clone()), ("absent", nothing.clone())]), vec![]),
            (mapping(&[("b", nothing)]), difference("b", "true")),
            (mapping(&[("absent", scalar("x"))]), difference("absent", "nothing")),
            (mapping(&[("c", scalar("x"))]), difference("c", "nothing")),
            (
                mapping(&[("a", list(vec![]))]),
                difference("a", "1 of them:\n  {\"version\":\"3.10\",\"more\":1}"),
            ),
            (
                mapping(&[("a", scalar("x"))]),
                difference("a", "1 of them:\n  {\"version\":\"3.10\",\"more\":1}"),
            ),
            (mapping(&[("b", mapping(&[]))]), difference("b", "true")),
        ] {
            assert_eq!(differences(&expected, &answer), got, "{expected:?}");
        }
    }
}
