//! Regular expressions of a runtime's YAML: the one way to compile them, with bounds.

use regex::{Regex, RegexBuilder};

use super::decode;
use super::problem::{Report, Span, nearest};
use super::yaml::{Element, Value};

/// Bytes that a compiled pattern may take. Patterns for versions take a hundredth; nested repetitions
/// such as `(a{1000}){1000}` would take gigabytes.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// The group of a pattern that a version is read from.
const VERSION_GROUP: &str = "version";

/// Compiles a pattern as it was compiled when the pack was loaded.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
}

/// A pattern that compiles.
pub(crate) fn pattern(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let text = decode::nonempty(element, report)?;
    let (span, message) = match compile(&text) {
        Ok(pattern) => {
            check_groups(&pattern, element, report);
            return Some(text);
        }
        Err(regex::Error::CompiledTooBig(limit)) => {
            let message = format!("the pattern needs more than {limit} bytes when it is compiled");
            (element.span.clone(), message)
        }
        Err(error) => match syntax_error(&text) {
            Some((range, message)) => (locate(element, &range, report), message),
            None => (element.span.clone(), error.to_string()),
        },
    };
    report.add(
        &span,
        format!("`{text}` is not a regular expression: {message}"),
        "write it in the syntax of the Rust crate `regex`: no look-around, no back-references",
    );
    None
}

/// A version is read from the group `version`, or else from the first: one that is nearly called that is meant to be it.
fn check_groups(pattern: &Regex, element: &Element, report: &mut Report<'_>) {
    let mut names = pattern.capture_names().flatten();
    if names.clone().any(|name| name == VERSION_GROUP) {
        return;
    }
    let Some(name) = names.find(|name| nearest(name, [VERSION_GROUP]).is_some()) else { return };
    let start = pattern.as_str().find(&format!("<{name}>")).map_or(0, |at| at + 1);
    let span = locate(element, &(start..start + name.len()), report);
    report.add(
        &span,
        format!("the version is not read from a group called `{name}`"),
        format!("did you mean `{VERSION_GROUP}`?"),
    );
}

/// What is wrong, and where in the pattern.
fn syntax_error(pattern: &str) -> Option<(Span, String)> {
    let (span, message) = match regex_syntax::Parser::new().parse(pattern).err()? {
        regex_syntax::Error::Parse(error) => (*error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (*error.span(), error.kind().to_string()),
        _ => return None,
    };
    Some((span.start.offset..span.end.offset, message))
}

/// Where a part of a scalar's text is in the file.
pub(crate) fn locate(element: &Element, range: &Span, report: &Report<'_>) -> Span {
    match &element.value {
        Value::Scalar(scalar) => scalar.locate(range, &element.span, &report.source().text),
        Value::Sequence(_) | Value::Mapping(_) => element.span.clone(),
    }
}
