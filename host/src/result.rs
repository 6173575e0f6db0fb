//! Results: what an action printed, parsed and checked.
//!
//! Masking of secrets is done before: what is parsed here is what is kept.

use serde_json::Value as Json;

use crate::pack::{Output, OutputFormat};
use crate::parameters::{InvalidSchema, Violation, joined, violations};
use crate::process::{Captured, Ending};

/// No larger result is kept, in bytes: of text as it was printed, of anything else as JSON. The log has it all.
pub const RESULT_MAX: usize = 1 << 20;

/// What was printed, as a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub value: Json,
    /// How many bytes of text are not in it.
    pub missing: u64,
}

/// Why what was printed is not a result. The text is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    #[error("the output is not valid {format}: {message}")]
    Unparsable { format: &'static str, message: String, text: String },
    #[error("the output is not valid UTF-8 at byte {position}")]
    NotUtf8 { position: usize, text: String },
    /// What is missing in the middle can't be parsed around.
    #[error("the output is too large to be parsed: {missing} bytes of it were not kept")]
    Incomplete { missing: u64, text: String },
    #[error("the output does not match the schema: {}", joined(.violations))]
    Invalid { violations: Vec<Violation>, text: String },
    /// What would be left of it if it were cut would be something else.
    #[error(
        "the result is {bytes} bytes of JSON, and at most {RESULT_MAX} are kept: print less, or write it to a file and print where that is"
    )]
    TooLarge { bytes: usize },
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
}

/// The result of an action that ended so, having printed this. None if it did not end well: what it
/// printed is then a log, and no result.
///
/// Text comes without the newline at its end; invalid UTF-8 in it is replaced, and a gap is marked, also one that is
/// made since it is too large.
pub fn parse(output: &Output, ending: Ending, stdout: &Captured) -> Result<Option<Parsed>, ResultError> {
    if ending != Ending::Exited(0) {
        return Ok(None);
    }
    let value = match output.format {
        OutputFormat::Text => text(stdout),
        OutputFormat::Json => json(complete(stdout)?)?,
        OutputFormat::Jsonl => lines(complete(stdout)?)?,
        OutputFormat::Yaml => yaml(complete(stdout)?)?,
    };
    let violations = violations(output.schema.as_ref(), &value)?;
    if !violations.is_empty() {
        return Err(ResultError::Invalid { violations, text: stdout.text() });
    }
    if output.format == OutputFormat::Text {
        let kept = stdout.shortened(RESULT_MAX);
        let value = if kept.missing() == stdout.missing() { value } else { text(&kept) };
        return Ok(Some(Parsed { value, missing: kept.missing() }));
    }
    match value.to_string().len() {
        bytes if bytes > RESULT_MAX => Err(ResultError::TooLarge { bytes }),
        _ => Ok(Some(Parsed { value, missing: 0 })),
    }
}

fn text(stdout: &Captured) -> Json {
    let text = stdout.text();
    text.strip_suffix('\n').map(ToOwned::to_owned).unwrap_or(text).into()
}

fn complete(stdout: &Captured) -> Result<&str, ResultError> {
    let Some(bytes) = stdout.complete() else {
        return Err(ResultError::Incomplete { missing: stdout.missing(), text: stdout.text() });
    };
    std::str::from_utf8(bytes)
        .map_err(|error| ResultError::NotUtf8 { position: error.valid_up_to(), text: stdout.text() })
}

fn json(text: &str) -> Result<Json, ResultError> {
    serde_json::from_str(text).map_err(|error| unparsable("JSON", error.to_string(), text))
}

/// An array of what the lines hold; empty lines hold nothing.
fn lines(text: &str) -> Result<Json, ResultError> {
    let mut values = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if !line.trim().is_empty() {
            let value = serde_json::from_str(line).map_err(|error| {
                let message = format!("line {number}, column {}: {}", error.column(), reason(&error));
                unparsable("JSON lines", message, text)
            })?;
            values.push(value);
        }
    }
    Ok(Json::Array(values))
}

fn yaml(text: &str) -> Result<Json, ResultError> {
    serde_saphyr::from_str(text)
        .map_err(|error| unparsable("YAML", error.without_snippet().to_string(), text))
}

fn unparsable(format: &'static str, message: String, text: &str) -> ResultError {
    ResultError::Unparsable { format, message, text: text.to_owned() }
}

/// The message without the position, which counts from the beginning of the line alone.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::process::Capture;

    fn captured(bytes: &[u8]) -> Captured {
        let mut capture = Capture::new(64);
        capture.push(bytes);
        capture.finish()
    }

    fn parsed(format: OutputFormat, bytes: &[u8]) -> Result<Option<Json>, ResultError> {
        value_of(parse(&Output { format, schema: None }, Ending::Exited(0), &captured(bytes)))
    }

    fn value_of(parsed: Result<Option<Parsed>, ResultError>) -> Result<Option<Json>, ResultError> {
        parsed.map(|parsed| parsed.map(|Parsed { value, .. }| value))
    }

    fn check(format: OutputFormat, text: &str, expected: Json) {
        assert_eq!(parsed(format, text.as_bytes()), Ok(Some(expected)), "{format:?} {text:?}");
    }

    #[test]
    fn formats() {
        check(OutputFormat::Text, "", json!(""));
        check(OutputFormat::Text, "a\n", json!("a"));
        check(OutputFormat::Text, "a\n\n", json!("a\n"));
        check(OutputFormat::Text, " a", json!(" a"));
        check(OutputFormat::Json, " {\"a\": [1, null]}\n", json!({"a": [1, null]}));
        check(OutputFormat::Json, "3", json!(3));
        check(OutputFormat::Jsonl, "", json!([]));
        check(OutputFormat::Jsonl, "1\n\n{\"a\": 2}\r\n\"x\"", json!([1, {"a": 2}, "x"]));
        check(OutputFormat::Yaml, "a: [1, x]\nb:\n  - c: true\n", json!({"a": [1, "x"], "b": [{"c": true}]}));
        check(OutputFormat::Yaml, "", json!(null));
    }

    #[test]
    fn text_is_never_refused() {
        assert_eq!(parsed(OutputFormat::Text, b"a\xffb\n"), Ok(Some(json!("a\u{fffd}b"))));
        let long = parsed(OutputFormat::Text, &[b'x'; 100]).expect("a result").expect("a result");
        assert!(long.as_str().is_some_and(|text| text.contains("36 bytes are missing")), "{long}");
    }

    #[test]
    fn what_cannot_be_parsed_is_kept() {
        for (format, text, message) in [
            (
                OutputFormat::Json,
                "",
                "the output is not valid JSON: EOF while parsing a value at line 1 column 0",
            ),
            (
                OutputFormat::Json,
                "1 2",
                "the output is not valid JSON: trailing characters at line 1 column 3",
            ),
            (
                OutputFormat::Jsonl,
                "1\n{",
                "the output is not valid JSON lines: line 2, column 1: EOF while parsing an object",
            ),
        ] {
            let error = parsed(format, text.as_bytes()).expect_err(text);
            assert_eq!(error.to_string(), message);
            assert!(matches!(error, ResultError::Unparsable { text: kept, .. } if kept == text));
        }
        let error = parsed(OutputFormat::Yaml, b"a: [1").expect_err("no YAML");
        assert!(matches!(error, ResultError::Unparsable { format: "YAML", .. }), "{error}");
        for format in [OutputFormat::Json, OutputFormat::Jsonl, OutputFormat::Yaml] {
            let error = parsed(format, b"12\xff").expect_err("no text");
            assert!(matches!(error, ResultError::NotUtf8 { position: 2, .. }), "{error}");
            let error = parsed(format, &[b'1'; 100]).expect_err("too long");
            assert!(matches!(error, ResultError::Incomplete { missing: 36, .. }), "{error}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (next, last) in
            ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"])
        {
            text.extend([next, ": &", next, " [", &vec![format!("*{last}"); 10].join(", "), "]\n"]);
        }
        let mut capture = Capture::new(100_000);
        capture.push(text.as_bytes());
        let output = Output { format: OutputFormat::Yaml, schema: None };
        let error = parse(&output, Ending::Exited(0), &capture.finish()).expect_err("a bomb");
        assert!(matches!(error, ResultError::Unparsable { .. }), "{error}");
    }

    #[test]
    fn a_schema_is_held_against_it() {
        let schema = Some(json!({"type": "object", "required": ["a"]}));
        let output = Output { format: OutputFormat::Json, schema };
        let parse = |output: &Output, text: &str| {
            value_of(parse(output, Ending::Exited(0), &captured(text.as_bytes())))
        };
        assert_eq!(parse(&output, "{\"a\": 1}"), Ok(Some(json!({"a": 1}))));
        let error = parse(&output, "{}").expect_err("no `a`");
        assert!(
            matches!(&error, ResultError::Invalid { violations, .. } if violations.len() == 1),
            "{error}"
        );
        let output = Output { format: OutputFormat::Json, schema: Some(json!({"type": 1})) };
        assert!(matches!(parse(&output, "1"), Err(ResultError::Schema(_))));
    }

    #[test]
    fn what_is_too_large_is_cut_if_it_is_text_and_refused_if_not() {
        let parsed = |format, length: usize| {
            let mut capture = Capture::new(4 * RESULT_MAX);
            capture.push(&[b"\"", &*vec![b'x'; length - 2], b"\""].concat());
            parse(&Output { format, schema: None }, Ending::Exited(0), &capture.finish())
        };
        let missing =
            |length| parsed(OutputFormat::Text, length).expect("text").expect("it ended well").missing;
        assert_eq!([RESULT_MAX, RESULT_MAX + 7].map(missing), [0, 7]);
        for format in [OutputFormat::Json, OutputFormat::Jsonl, OutputFormat::Yaml] {
            // A list has brackets around what the line holds.
            assert!(parsed(format, RESULT_MAX - 2).is_ok(), "{format:?}");
            let error = parsed(format, RESULT_MAX + 1).expect_err("too large");
            assert!(matches!(error, ResultError::TooLarge { bytes } if bytes > RESULT_MAX), "{error}");
        }
    }

    #[test]
    fn nothing_is_parsed_unless_it_ended_well() {
        let limit = Duration::from_secs(1);
        for ending in [
            Ending::Exited(1),
            Ending::Signalled(9),
            Ending::TimedOut { limit, forced: false },
            Ending::Cancelled { forced: true },
        ] {
            let output = Output { format: OutputFormat::Json, schema: None };
            assert_eq!(parse(&output, ending, &captured(b"not JSON")), Ok(None), "{ending:?}");
        }
    }
}
