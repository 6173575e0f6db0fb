//! What is wrong with a text that is not YAML, said so that it can be mended.

use granit_parser::{ErrorKind, ScanError};

use super::compose::DEPTH_MAX;
use crate::pack::problem::Report;

/// The place of an error.
struct Place<'t> {
    at: usize,
    /// Where its line starts, and the line.
    start: usize,
    line: &'t str,
    /// What is behind the first colon of the line.
    value: &'t str,
}

/// Says what is wrong, where, and what would be right.
pub(super) fn explain(error: &ScanError, report: &mut Report<'_>) {
    let text = &report.source().text;
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let value = line.split_once(": ").map(|(_, value)| value.trim()).unwrap_or_default();
    let place = Place { at, start, line, value };
    let kind = error.kind();
    let (span, message) = match kind {
        ErrorKind::RecursionLimitExceeded => {
            (at..at + 1, format!("lists and mappings are nested more than {DEPTH_MAX} deep"))
        }
        _ if is_about_a_tab(kind) || is_indented_by_tab(line) => {
            let tab = tab(text, start).unwrap_or(at);
            (tab..tab + 1, "this is not YAML: a tab is where only spaces may be".to_owned())
        }
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
            let message =
                format!("this is not YAML: the character U+{:04X} can't be in it", u32::from(*character));
            (at..at + 1, message)
        }
        _ => (at..at + 1, format!("this is not YAML: {}", error.info())),
    };
    report.add(&span, message, help(kind, &place));
}

fn help(kind: &ErrorKind, place: &Place<'_>) -> String {
    let Place { at, start, line, value } = place;
    let is_plain = !value.is_empty() && !value.starts_with(['"', '\'', '[', '{']);
    match kind {
        _ if is_about_a_tab(kind) || is_indented_by_tab(line) => {
            "indent with spaces, here and on the next lines".to_owned()
        }
        ErrorKind::RecursionLimitExceeded => "nest less deep".to_owned(),
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => "take it out".to_owned(),
        ErrorKind::BomInsideDocument => "take the invisible character U+FEFF out".to_owned(),
        ErrorKind::UnclosedFlowCollection { open } => {
            format!("close it with `{}`", if *open == '[' { ']' } else { '}' })
        }
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => {
            "close the quote that opens here or on a line before".to_owned()
        }
        ErrorKind::UnsupportedYamlMajorVersion => "leave the line out".to_owned(),
        ErrorKind::SimpleKeyExpected => match line.trim().split_once(':') {
            Some((key, value)) => format!("write a space behind the colon: `{key}: {}`", value.trim()),
            None => format!("write a key, a colon and a value: `{}: …`", line.trim()),
        },
        _ if value.starts_with(['>', '|', '*', '&', '!', '%', '@', '`']) => quotes(value),
        // A colon within the value, rather than one of a line that is indented as if it went on.
        ErrorKind::MappingValueNotAllowed
            if is_plain
                && line.get(..at.saturating_sub(*start)).is_some_and(|before| before.contains(": ")) =>
        {
            quotes(value)
        }
        _ => "look at the indentation, the quotes and the brackets here and on the lines before".to_owned(),
    }
}

fn quotes(value: &str) -> String {
    let quote = if value.contains(['"', '\\']) { '\'' } else { '"' };
    format!("put quotes around it: `{quote}{value}{quote}`")
}

/// The first tab among the blanks that lines begin with, or else the first of all, from `start` on: the parser
/// may notice it late, or complain about what was before it.
fn tab(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    for line in text.get(start..)?.split_inclusive('\n') {
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line.get(..blanks)?.find('\t') {
            return Some(at + tab);
        }
        at += line.len();
    }
    Some(start + text.get(start..)?.find('\t')?)
}

/// What such a line leads to is mostly said about something else.
fn is_indented_by_tab(line: &str) -> bool {
    line.trim_start_matches(' ').starts_with('\t')
}

fn is_about_a_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs() {
        for (text, start, expected) in [
            ("a: b\n\tc: d\n", 0, Some(5)),
            ("a:\tb\n  \tc: d\n", 0, Some(7)),
            ("a:\tb\n", 0, Some(2)),
            ("a: b\n", 0, None),
        ] {
            assert_eq!(tab(text, start), expected, "{text:?}");
        }
    }
}
