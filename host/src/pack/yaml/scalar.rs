//! Scalars: what YAML 1.2's core schema reads them as, and where in the file their characters are.

use std::ops::Range;

use crate::pack::problem::Span;

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// `|` or `>`.
    Block,
}

/// A scalar as written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// Without quotes, escapes replaced.
    pub(crate) text: String,
    pub(crate) style: Style,
    /// Tagged `!!str`: text even though it has no quotes.
    pub(crate) tagged_text: bool,
}

/// What a scalar is to YAML.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text,
}

impl Reading {
    /// For messages.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text => "text",
        }
    }
}

impl Scalar {
    /// By the core schema: `yes`, `on` and dates are text.
    pub(crate) fn reading(&self) -> Reading {
        if self.style != Style::Plain || self.tagged_text {
            return Reading::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Reading::Null,
            "true" | "True" | "TRUE" => Reading::Boolean(true),
            "false" | "False" | "FALSE" => Reading::Boolean(false),
            ".nan" | ".NaN" | ".NAN" => Reading::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" => Reading::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Reading::Float(f64::NEG_INFINITY),
            text => number(text).unwrap_or(Reading::Text),
        }
    }

    /// Where `range` of the text is in the file, given where the scalar is and how it is written there.
    /// All of the scalar if its lines were folded or its text comes from a block.
    pub(crate) fn locate(&self, range: &Range<usize>, span: &Span, source: &str) -> Span {
        let Some(written) = source.get(span.clone()) else { return span.clone() };
        let ends: Option<Vec<usize>> = match self.style {
            Style::Plain => (written == self.text).then(|| (0..=written.len()).collect()),
            Style::SingleQuoted => offsets(written, single_quoted_unit),
            Style::DoubleQuoted => offsets(written, double_quoted_unit),
            Style::Block => None,
        };
        let Some(ends) = ends.filter(|ends| ends.len() == self.text.len() + 1) else { return span.clone() };
        match (ends.get(range.start), ends.get(range.end)) {
            (Some(start), Some(end)) if start <= end => span.start + start..span.start + end,
            _ => span.clone(),
        }
    }
}

fn number(text: &str) -> Option<Reading> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix).ok().map(Reading::Integer);
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts_well = unsigned.starts_with(|first: char| first.is_ascii_digit())
        || unsigned
            .strip_prefix('.')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    if !starts_well {
        return None;
    }
    // Larger integers are floats to whoever reads JSON, too.
    text.parse().map(Reading::Integer).or_else(|_| text.parse().map(Reading::Float)).ok()
}

/// For each byte of the text, and its end, the offset in what is written between the quotes. `unit` takes
/// what is left and says how many written bytes make how many bytes of text; None at a line break.
fn offsets(written: &str, unit: fn(&str) -> Option<(usize, usize)>) -> Option<Vec<usize>> {
    let inner = written.get(1..written.len().checked_sub(1)?)?;
    let mut offsets = Vec::with_capacity(inner.len() + 1);
    let mut at = 0;
    while at < inner.len() {
        let (taken, made) = unit(inner.get(at..)?)?;
        offsets.extend(std::iter::repeat_n(at + 1, made));
        at += taken;
    }
    offsets.push(at + 1);
    Some(offsets)
}

fn plain_unit(rest: &str) -> Option<(usize, usize)> {
    match rest.chars().next()? {
        '\n' | '\r' => None,
        // Every byte stands for itself, so that ranges within a character are never asked for.
        character => Some((character.len_utf8(), character.len_utf8())),
    }
}

fn single_quoted_unit(rest: &str) -> Option<(usize, usize)> {
    if rest.starts_with("''") { Some((2, 1)) } else { plain_unit(rest) }
}

fn double_quoted_unit(rest: &str) -> Option<(usize, usize)> {
    let Some(escape) = rest.strip_prefix('\\') else { return plain_unit(rest) };
    let digits = match escape.chars().next()? {
        '\n' | '\r' => return None,
        'x' => 2,
        'u' => 4,
        'U' => 8,
        'N' | '_' => return Some((2, 2)),
        'L' | 'P' => return Some((2, 3)),
        _ => return Some((2, 1)),
    };
    let code = u32::from_str_radix(escape.get(1..=digits)?, 16).ok()?;
    Some((digits + 2, char::from_u32(code)?.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str, style: Style) -> Scalar {
        Scalar { text: text.to_owned(), style, tagged_text: false }
    }

    #[test]
    fn readings() {
        for (text, expected) in [
            ("", Reading::Null),
            ("~", Reading::Null),
            ("true", Reading::Boolean(true)),
            ("yes", Reading::Text),
            ("no", Reading::Text),
            ("3", Reading::Integer(3)),
            ("-3", Reading::Integer(-3)),
            ("0x1f", Reading::Integer(31)),
            ("3.10", Reading::Float(3.1)),
            ("1e3", Reading::Float(1000.0)),
            (".5", Reading::Float(0.5)),
            ("3.12.1", Reading::Text),
            ("2027-10-31", Reading::Text),
            ("inf", Reading::Text),
            ("nan", Reading::Text),
            (".", Reading::Text),
            ("1_000", Reading::Text),
        ] {
            assert_eq!(scalar(text, Style::Plain).reading(), expected, "{text}");
            assert_eq!(scalar(text, Style::DoubleQuoted).reading(), Reading::Text, "{text}");
        }
    }

    #[test]
    fn places_within_scalars() {
        // The whole file is the scalar; the text is what YAML makes of it; `b` is looked for.
        for (source, text, style, expected) in [
            ("abc", "abc", Style::Plain, 1..2),
            ("'a''b'", "a'b", Style::SingleQuoted, 4..5),
            (r#""\\b""#, r"\b", Style::DoubleQuoted, 3..4),
            (r#""\x41b""#, "Ab", Style::DoubleQuoted, 5..6),
            (r#""\u00e4b""#, "äb", Style::DoubleQuoted, 7..8),
            (r#""\_b""#, "\u{a0}b", Style::DoubleQuoted, 3..4),
            ("'äb'", "äb", Style::SingleQuoted, 3..4),
            // Folded: all of it.
            ("'a\n  b'", "a b", Style::SingleQuoted, 0..7),
            ("a\n  b", "a b", Style::Plain, 0..5),
            ("|\n  ab", "ab", Style::Block, 0..6),
        ] {
            let at = text.find('b').expect("a b");
            let found = scalar(text, style).locate(&(at..at + 1), &(0..source.len()), source);
            assert_eq!(found, expected, "{source}");
        }
    }
}
