//! Text from elsewhere, made fit for a terminal: what it holds is shown, and steers nothing.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Control characters, line ends and tabs apart, as the escapes that stand for them; and those that turn
/// the direction of what follows, with which a text can look like another.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        escape(&mut shown, character);
    }
    Cow::Owned(shown)
}

/// The same on one line: line ends and tabs are escaped as well.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\t']) {
        return printable(text);
    }
    Cow::Owned(printable(text).replace('\n', "\\n").replace('\t', "\\t"))
}

/// The same, but colours and weights are let through, and taken back at the end, and line ends may be of
/// any kind.
pub(crate) fn coloured(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_coloured = false;
    while let Some(character) = rest.chars().next() {
        let length = rendition(rest).unwrap_or_default();
        if length > 0 {
            shown.push_str(&rest[..length]);
            rest = &rest[length..];
            is_coloured = true;
        } else {
            rest = &rest[character.len_utf8()..];
            match character {
                '\r' if rest.starts_with('\n') => {}
                // Where a line was written over, each of its states becomes a line.
                '\r' => shown.push('\n'),
                _ => escape(&mut shown, character),
            }
        }
    }
    if is_coloured {
        shown.push_str("\x1b[0m");
    }
    shown
}

/// In JSON, which may hold all but the oldest control characters as they are.
pub(crate) fn json(text: String) -> String {
    if !text.contains(steers) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            // Writing to a string can't fail. None of them is beyond the first plane.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

fn steers(character: char) -> bool {
    let is_control = character.is_control() && !matches!(character, '\n' | '\t');
    is_control || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(shown: &mut String, character: char) {
    match character {
        '\r' => shown.push_str("\\r"),
        _ if !steers(character) => shown.push(character),
        // Writing to a string can't fail.
        '\0'..='\u{ff}' => drop(write!(shown, "\\x{:02x}", u32::from(character))),
        _ => drop(write!(shown, "\\u{{{:x}}}", u32::from(character))),
    }
}

/// How long the escape sequence is that `text` begins with, if all it does is choose colour and weight.
fn rendition(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, ';' | ':'))?;
    parameters[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
}

/// What an error says, with those of its causes that it does not repeat in its own words.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers() {
        for (text, expected) in [
            ("plain\n\ttext é", "plain\n\ttext é"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("a\x08\x7f", "a\\x08\\x7f"),
            ("\u{9b}2J", "\\x9b2J"),
            ("\u{202e}txt", "\\u{202e}txt"),
        ] {
            assert_eq!(printable(text), expected);
            assert_eq!(coloured(text), expected);
            assert_eq!(one_line(text), expected.replace('\n', "\\n").replace('\t', "\\t"));
        }
    }

    #[test]
    fn a_line_is_not_written_over() {
        assert_eq!(printable("1 %\r2 %\r\n"), "1 %\\r2 %\\r\n");
        assert_eq!(coloured("1 %\r2 %\r\n"), "1 %\n2 %\n");
    }

    #[test]
    fn colours_pass_and_end() {
        assert_eq!(printable("\x1b[31mred"), "\\x1b[31mred");
        for (text, expected) in [
            ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
            ("\x1b[1;38:5:9mred\x1b[m\r\n", "\x1b[1;38:5:9mred\x1b[m\n\x1b[0m"),
            ("\x1b[2J", "\\x1b[2J"),
            ("\x1b[31", "\\x1b[31"),
            ("\x1b[31\x1b[0m", "\\x1b[31\x1b[0m\x1b[0m"),
        ] {
            assert_eq!(coloured(text), expected);
        }
    }

    #[test]
    fn json_says_the_same() {
        let text = serde_json::to_string("a\u{9b}\x1b\u{202e}\u{7f}b").expect("JSON");
        let shown = json(text);
        assert_eq!(shown, r#""a\u009b\u001b\u202e\u007fb""#);
        assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), "a\u{9b}\x1b\u{202e}\u{7f}b");
    }
}
