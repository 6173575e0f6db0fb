//! Reading typed values from elements, without stopping at the first thing that is wrong.
//!
//! A reader takes an element, says its problems and returns None if there were any. What is None because of a
//! problem and what is None because it is absent need not be told apart: with a problem there is no pack.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value as Json;

use super::problem::{Report, Span, alternatives, is_unseen, nearest};
use super::yaml::{Element, Entry, Reading, Scalar, Style, Value};

/// The longest time that can be declared; also keeps arithmetic with deadlines far from overflow.
const DURATION_MAX: Duration = Duration::from_hours(366 * 24);

/// The keys of a mapping, as far as they have been asked for.
pub(crate) struct Fields<'n> {
    /// What the mapping is: `an action`.
    subject: &'static str,
    entries: &'n [Entry],
    span: &'n Span,
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    pub(crate) fn of(subject: &'static str, element: &'n Element, report: &mut Report<'_>) -> Option<Self> {
        match &element.value {
            Value::Mapping(entries) => {
                Some(Self { subject, entries, span: &element.span, asked: Vec::new() })
            }
            Value::Scalar(_) | Value::Sequence(_) => {
                report.add(
                    &element.span,
                    format!("{subject} is expected here, and this is {}", element.kind()),
                    "write a mapping: lines of `key: value`",
                );
                None
            }
        }
    }

    /// The element of a key that may be absent; a key without a value counts as absent.
    pub(crate) fn element(&mut self, key: &'static str) -> Option<&'n Element> {
        self.entry(key).map(|entry| &*entry.value).filter(|element| !element.is_null())
    }

    fn entry(&mut self, key: &'static str) -> Option<&'n Entry> {
        self.asked.push(key);
        self.entries.iter().find(|entry| *entry.key == *key)
    }

    /// Where the key is written.
    pub(crate) fn key_span(&mut self, key: &'static str) -> Option<&'n Span> {
        self.entry(key).map(|entry| &entry.key_span)
    }

    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        report: &mut Report<'_>,
        read: impl FnOnce(&'n Element, &mut Report<'_>) -> Option<T>,
    ) -> Option<T> {
        read(self.element(key)?, report)
    }

    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        report: &mut Report<'_>,
        read: impl FnOnce(&'n Element, &mut Report<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(element) = self.element(key) {
            return read(element, report);
        }
        match self.key_span(key) {
            Some(span) => report.add(span, format!("`{key}` has no value"), "write one behind the colon"),
            None => report.add(
                self.span,
                format!("{} needs `{key}`, which is missing", self.subject),
                format!("add `{key}: …`"),
            ),
        }
        None
    }

    /// Says which keys nobody asked for.
    pub(crate) fn finish(self, report: &mut Report<'_>) {
        for Entry { key, key_span, .. } in self.entries {
            if self.asked.iter().any(|asked| **asked == **key) {
                continue;
            }
            let mut known = self.asked.clone();
            known.sort_unstable();
            known.dedup();
            let help = match nearest(key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("{} has {}", self.subject, alternatives(known)),
            };
            report.add(key_span, format!("{} has no key `{key}`", self.subject), help);
        }
    }
}

fn scalar<'n>(element: &'n Element, wanted: &str, report: &mut Report<'_>) -> Option<&'n Scalar> {
    match &element.value {
        Value::Scalar(scalar) => Some(scalar),
        Value::Sequence(_) | Value::Mapping(_) => {
            report.add(
                &element.span,
                format!("{wanted} is expected here, and this is {}", element.kind()),
                format!("write {wanted}"),
            );
            None
        }
    }
}

/// Text. A number or a boolean without quotes is a problem: what was meant can only be guessed.
pub(crate) fn text(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let scalar = scalar(element, "text", report)?;
    if scalar.reading() != Reading::Text {
        report.add(
            &element.span,
            format!("text is expected here, and `{}` is {}", scalar.text, scalar.reading().kind()),
            format!("put quotes around it: `\"{}\"`", scalar.text),
        );
        return None;
    }
    // Whatever shows the text is not to be steered by it.
    let unseen = |character: &char| {
        is_unseen(*character) || character.is_control() && !matches!(character, '\n' | '\r' | '\t')
    };
    if let Some(unseen) = scalar.text.chars().find(unseen) {
        report.add(
            &element.span,
            format!("the text has the character U+{:04X}, which can't be shown", u32::from(unseen)),
            "take it out",
        );
        return None;
    }
    Some(scalar.text.clone())
}

/// Text that becomes an argument of a program: any, as long as it is text.
pub(crate) fn argument(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let scalar = scalar(element, "text", report)?;
    if scalar.reading() != Reading::Text {
        return text(element, report);
    }
    if scalar.text.contains('\0') {
        report.add(&element.span, "the text has a zero byte, which no argument can hold", "leave it out");
        return None;
    }
    Some(scalar.text.clone())
}

/// Text with something in it.
pub(crate) fn nonempty(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let text = text(element, report)?;
    if text.trim().is_empty() {
        report.add(&element.span, "the text is empty", "write something, or leave the key out");
        return None;
    }
    Some(text)
}

/// Any scalar, as written: for what becomes an argument or a variable, where `3.10` stays `3.10`.
pub(crate) fn verbatim(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let scalar = scalar(element, "text", report)?;
    if scalar.reading() == Reading::Null {
        report.add(&element.span, "there is no value here", "write `\"\"` for empty text");
        return None;
    }
    Some(scalar.text.clone())
}

/// A version or a constraint, which YAML makes a number of if it can: `3.10` becomes 3.1. Whole numbers are
/// taken, since nothing is lost.
pub(crate) fn version_text(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let scalar = scalar(element, "a version", report)?;
    match scalar.reading() {
        Reading::Text => Some(scalar.text.clone()),
        Reading::Integer(number) if scalar.text == number.to_string() => Some(scalar.text.clone()),
        Reading::Float(number) => {
            report.add(
                &element.span,
                format!("`{}` without quotes is the number {number}, not a version", scalar.text),
                format!("put quotes around it: `\"{}\"`", scalar.text),
            );
            None
        }
        Reading::Integer(_) | Reading::Boolean(_) | Reading::Null => {
            report.add(
                &element.span,
                format!("a version is expected here, and `{}` is {}", scalar.text, scalar.reading().kind()),
                "write a version in quotes: `\"3.12\"`",
            );
            None
        }
    }
}

pub(crate) fn boolean(element: &Element, report: &mut Report<'_>) -> Option<bool> {
    let scalar = scalar(element, "`true` or `false`", report)?;
    if let Reading::Boolean(value) = scalar.reading() {
        return Some(value);
    }
    if let Some(unquoted) = unquoted(scalar, |reading| matches!(reading, Reading::Boolean(_))) {
        quoted(element, scalar, unquoted, "`true` or `false`", report);
        return None;
    }
    let help = match scalar.text.to_lowercase().as_str() {
        "yes" | "on" | "y" | "1" | "true" => "write `true`",
        "no" | "off" | "n" | "0" | "false" => "write `false`",
        _ => "write `true` or `false`",
    };
    report.add(&element.span, format!("`{}` is neither `true` nor `false`", scalar.text), help);
    None
}

/// What a scalar would be without its quotes or its tag, if that is what is wanted.
fn unquoted(scalar: &Scalar, wanted: impl Fn(Reading) -> bool) -> Option<&str> {
    let plain = Scalar { text: scalar.text.clone(), style: Style::Plain, tagged_text: false };
    (scalar.reading() == Reading::Text && wanted(plain.reading())).then_some(scalar.text.as_str())
}

fn quoted(element: &Element, scalar: &Scalar, unquoted: &str, wanted: &str, report: &mut Report<'_>) {
    let (way, what) = if scalar.tagged_text { ("with its tag", "tag") } else { ("in quotes", "quotes") };
    report.add(
        &element.span,
        format!("{wanted} is expected here, and `{unquoted}` {way} is text"),
        format!("leave the {what} out: `{unquoted}`"),
    );
}

/// How many executions may run at a time; `help` is for who writes 0.
pub(crate) fn at_least_one(help: &'static str) -> impl FnOnce(&Element, &mut Report<'_>) -> Option<u32> {
    move |element, report| {
        if matches!(&element.value, Value::Scalar(scalar) if scalar.reading() == Reading::Integer(0)) {
            report.add(&element.span, "with a concurrency of 0 it would never run", help);
            return None;
        }
        integer(1..=u32::MAX.into())(element, report)
    }
}

/// A whole number from a range, which has to be one that `T` has all of.
pub(crate) fn integer<T: TryFrom<i64>>(
    range: RangeInclusive<i64>,
) -> impl Fn(&Element, &mut Report<'_>) -> Option<T> {
    move |element, report| {
        let scalar = scalar(element, "a whole number", report)?;
        if let Some(unquoted) = unquoted(scalar, |reading| matches!(reading, Reading::Integer(_))) {
            quoted(element, scalar, unquoted, "a whole number", report);
            return None;
        }
        let value = match scalar.reading() {
            Reading::Integer(value) if range.contains(&value) => T::try_from(value).ok(),
            _ => None,
        };
        if value.is_none() {
            let (least, most) = (range.start(), range.end());
            // Numbers that are too large for this program are read as floats.
            let whole = scalar.text.trim_start_matches(['-', '+']).bytes().all(|byte| byte.is_ascii_digit());
            let fault = if whole {
                format!("is not in the range from {least} to {most}")
            } else {
                "is not a whole number".to_owned()
            };
            let help = format!("write a whole number from {least} to {most}");
            report.add(&element.span, format!("`{}` {fault}", scalar.text), help);
        }
        value
    }
}

/// Seconds as a number, or a number with its unit.
pub(crate) fn duration(element: &Element, report: &mut Report<'_>) -> Option<Duration> {
    let scalar = scalar(element, "a time", report)?;
    let parsed = match scalar.reading() {
        Reading::Integer(_) | Reading::Float(_) | Reading::Text => parse_duration(&scalar.text),
        Reading::Boolean(_) | Reading::Null => None,
    };
    let allowed = parsed.filter(|duration| !duration.is_zero() && *duration <= DURATION_MAX);
    if allowed.is_none() {
        report.add(
            &element.span,
            format!("`{}` is not a time from a millisecond to a year", scalar.text),
            "write seconds as a number, or a number with `ms`, `s`, `m`, `h` or `d`: `90`, `90s`, `5m`",
        );
    }
    allowed
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let milliseconds: f64 = match text.get(digits.len()..)?.trim() {
        "ms" => 1.0,
        "" | "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    // A fraction of a millisecond is a mistake or a joke.
    Duration::try_from_secs_f64((number * milliseconds).floor() / 1_000.0).ok()
}

/// Each item of a list.
pub(crate) fn list<T>(
    read: impl Fn(&Element, &mut Report<'_>) -> Option<T>,
) -> impl Fn(&Element, &mut Report<'_>) -> Option<Vec<T>> {
    move |element, report| {
        let items = items(element, report)?;
        // All are read, so that all problems are said, before any is missed.
        let read: Vec<Option<T>> = items.iter().map(|item| read(item, report)).collect();
        read.into_iter().collect()
    }
}

/// The items of a list.
pub(crate) fn items<'n>(element: &'n Element, report: &mut Report<'_>) -> Option<&'n [Rc<Element>]> {
    match &element.value {
        Value::Sequence(items) => Some(items),
        Value::Scalar(_) | Value::Mapping(_) => {
            report.add(
                &element.span,
                format!("a list is expected here, and this is {}", element.kind()),
                "write `[…]`, or one line starting with `- ` for each item",
            );
            None
        }
    }
}

/// The entries of a mapping whose keys are free.
pub(crate) fn entries<'n>(element: &'n Element, report: &mut Report<'_>) -> Option<&'n [Entry]> {
    match &element.value {
        Value::Mapping(entries) => Some(entries),
        Value::Scalar(_) | Value::Sequence(_) => {
            report.add(
                &element.span,
                format!("a mapping is expected here, and this is {}", element.kind()),
                "write lines of `name: value`",
            );
            None
        }
    }
}

/// Names with scalars as written.
pub(crate) fn pairs(element: &Element, report: &mut Report<'_>) -> Option<Vec<(String, String)>> {
    let read: Vec<_> = entries(element, report)?
        .iter()
        .map(|entry| Some((entry.key.to_string(), verbatim(&entry.value, report)?)))
        .collect();
    read.into_iter().collect()
}

/// One of some words.
pub(crate) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Element, &mut Report<'_>) -> Option<T> {
    move |element, report| {
        let read = text(element, report)?;
        let found = words.iter().find(|(word, _)| *word == read);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            let help = match nearest(&read, names.clone()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("write {}", alternatives(names.clone())),
            };
            report.add(&element.span, format!("`{read}` is not {}", alternatives(names)), help);
        }
        found.map(|(_, value)| *value)
    }
}

/// The element as JSON.
pub(crate) fn json(element: &Element, report: &mut Report<'_>) -> Option<Json> {
    match &element.value {
        Value::Scalar(scalar) => match scalar.reading() {
            Reading::Null => Some(Json::Null),
            Reading::Boolean(value) => Some(Json::Bool(value)),
            Reading::Integer(value) => Some(Json::from(value)),
            Reading::Text => Some(Json::String(scalar.text.clone())),
            Reading::Float(value) => {
                let number = serde_json::Number::from_f64(value);
                if number.is_none() {
                    report.add(
                        &element.span,
                        format!("`{}` is a number that JSON does not have", scalar.text),
                        "write a finite number, or put quotes around text",
                    );
                }
                number.map(Json::Number)
            }
        },
        Value::Sequence(items) => {
            let read: Vec<_> = items.iter().map(|item| json(item, report)).collect();
            read.into_iter().collect::<Option<Vec<_>>>().map(Json::Array)
        }
        Value::Mapping(entries) => {
            let read: Vec<_> = entries
                .iter()
                .map(|entry| Some((entry.key.to_string(), json(&entry.value, report)?)))
                .collect();
            read.into_iter().collect::<Option<serde_json::Map<_, _>>>().map(Json::Object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("90", Some(90_000)),
            ("1.5", Some(1_500)),
            ("90s", Some(90_000)),
            ("5m", Some(300_000)),
            ("2 h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("250ms", Some(250)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1e9", None),
            ("1h30m", None),
            ("5 minutes", None),
            ("1.2.3", None),
            ("99999999999999999999999d", None),
        ] {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
