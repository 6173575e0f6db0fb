//! Reading one version as people write it: `3.12`, `v20.11`, `3.12.*`, `3.14.0-rc.1`, `3.13+freethreaded`.
//!
//! What is allowed where (wildcards, suffixes) is for the callers to say.

use std::ops::Range as Span;

use semver::Prerelease;

use super::fault::Fault;
use super::series::Series;

/// Digits that a part of a version may have. With it, adding one to a part can't overflow, and no part
/// leaves the integers that a double holds exactly, which is where other tools stop.
const DIGITS_MAX: usize = 15;

/// A version as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written<'t> {
    /// None for `*`.
    pub(super) series: Option<Series>,
    /// Whether the open parts are written out: `3.12.*`.
    pub(super) wildcard: bool,
    pub(super) suffix: Option<Suffix<'t>>,
}

/// What follows a `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suffix<'t> {
    /// Without the `+`.
    pub(super) text: &'t str,
    pub(super) span: Span<usize>,
}

impl<'t> Suffix<'t> {
    /// The suffix as the name of a variant.
    pub(super) fn variant(&self) -> Result<&'t str, Fault> {
        let mut characters = self.text.chars();
        let begins_well = characters.next().is_some_and(|first| first.is_ascii_alphabetic());
        if self.text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Fault::new(
                self.span.clone(),
                format!("`+{}` is build metadata, which never matters to matching", self.text),
            )
            .hint("leave it out; the name of a variant begins with a letter"));
        }
        if begins_well
            && characters
                .all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.'))
        {
            Ok(self.text)
        } else {
            Err(Fault::new(self.span.clone(), format!("`{}` is not the name of a variant", self.text))
                .hint("use letters, digits, `-`, `_` and `.`, a letter first"))
        }
    }
}

/// A part of a version between dots.
enum Part {
    Number(u64),
    Wildcard,
}

impl<'t> Written<'t> {
    /// Reads `word`, which begins at `offset` of the text that spans refer to.
    pub(super) fn read(word: &'t str, offset: usize) -> Result<Self, Fault> {
        let end = offset + word.len();
        if word.is_empty() {
            return Err(Fault::new(offset..end, "there is no version").hint("write one, such as `3.12`"));
        }
        if let Some((at, foreign)) = word.char_indices().find(|(_, character)| !is_part_of_word(*character)) {
            let start = offset + at;
            return Err(Fault::new(
                start..start + foreign.len_utf8(),
                format!("`{}` does not belong to a version", foreign.escape_debug()),
            )
            .hint("a version is up to three numbers joined by dots"));
        }
        let body = without_v(word);
        let start = end - body.len();
        let (numbered, suffix) = match body.split_once('+') {
            Some((_, "")) => {
                return Err(Fault::new(end - 1..end, "nothing follows the `+`")
                    .hint(format!("write the variant after it, or `{}`", &word[..word.len() - 1])));
            }
            Some((before, suffix)) => (before, Some(Suffix { text: suffix, span: end - suffix.len()..end })),
            None => (body, None),
        };
        let (core, pre) = match numbered.split_once('-') {
            Some((core, pre)) => (core, Some(pre)),
            None => (numbered, None),
        };
        if core == "*" && pre.is_none() {
            return Ok(Self { series: None, wildcard: true, suffix });
        }

        let parts = read_core(core, start, word, offset)?;
        let wildcard = matches!(parts.last(), Some(Part::Wildcard));
        let mut numbers = parts.into_iter().filter_map(|part| match part {
            Part::Number(number) => Some(number),
            Part::Wildcard => None,
        });
        let Some(major) = numbers.next() else {
            return Err(not_a_version(word, offset));
        };
        let mut series =
            Series { major, minor: numbers.next(), patch: numbers.next(), pre: Prerelease::EMPTY };
        if let Some(pre) = pre {
            let pre_start = start + core.len() + 1;
            series.pre = read_prerelease(&series, wildcard, pre, pre_start)?;
        }
        Ok(Self { series: Some(series), wildcard, suffix })
    }

    /// The series, where a wildcard makes no sense. `text` is what was read, for the message.
    pub(super) fn into_series(self, text: &str) -> Result<Series, Fault> {
        match self.series {
            Some(series) if !self.wildcard => Ok(series),
            series => Err(Fault::new(
                0..text.len(),
                format!("`{text}` has a wildcard where one exact version is expected"),
            )
            .hint(match series {
                Some(series) => format!("write `{series}`"),
                None => "write a version, such as `3.12`".to_owned(),
            })),
        }
    }
}

/// What versions and aliases are written with. Nothing else gets into the messages as it is.
pub(super) fn is_part_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '*' | '-' | '+' | '/' | '_')
}

/// `v3.12` and `V3.12` without the letter; names that begin with it are left alone.
fn without_v(word: &str) -> &str {
    word.strip_prefix(['v', 'V'])
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap_or(word)
}

/// Reads the parts before prerelease and suffix.
fn read_core(core: &str, start: usize, word: &str, offset: usize) -> Result<Vec<Part>, Fault> {
    let whole = offset..offset + word.len();
    let texts: Vec<&str> = core.split('.').collect();
    let is_name = core.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_wildcard(texts[0]);
    if core.is_empty() || is_name {
        return Err(not_a_version(word, offset));
    }
    if texts.iter().any(|text| text.is_empty()) {
        let given: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        let fault = Fault::new(whole, format!("`{word}` lacks a number beside a dot"));
        return Err(match (core.starts_with('.'), given.as_slice()) {
            (true, _) | (_, []) => fault.hint("write all numbers, from the major version on"),
            (false, given) => fault.hint(format!("write `{}`", given.join("."))),
        });
    }
    if texts.len() > 3 {
        return Err(Fault::new(
            whole,
            format!("`{word}` has {} parts, a version has at most three", texts.len()),
        )
        .hint(format!("write `{}`", texts[..3].join("."))));
    }
    let mut parts = Vec::with_capacity(texts.len());
    let mut position = start;
    for text in &texts {
        let span = position..position + text.len();
        let part = read_part(text, span.clone()).map_err(|fault| match letters(core) {
            Some(hint) if span.end == start + core.len() => fault.hint(hint),
            _ => fault,
        })?;
        if let Some(Part::Wildcard) = parts.last() {
            let kept = texts[..parts.len()].join(".");
            return Err(Fault::new(span, format!("`{word}` goes on after a wildcard"))
                .hint(format!("end with the first wildcard: `{kept}`")));
        }
        if parts.is_empty() && matches!(part, Part::Wildcard) {
            return Err(Fault::new(whole, format!("`{word}` has a wildcard for the major version"))
                .hint("write `*` alone for any version"));
        }
        parts.push(part);
        position = span.end + 1;
    }
    Ok(parts)
}

/// What was probably meant by letters behind the last number: a prerelease as others write it, or a variant.
fn letters(core: &str) -> Option<String> {
    let version = core.trim_end_matches(|last: char| last.is_ascii_digit());
    let (version, serial) =
        (version.trim_end_matches(|last: char| last.is_ascii_alphabetic()), &core[version.len()..]);
    let word = &core[version.len()..core.len() - serial.len()];
    if word.is_empty() {
        return None;
    }
    let series = Written::read(version, 0).ok().filter(|written| !written.wildcard)?.series?;
    let name = match word {
        "a" | "alpha" => "alpha",
        "b" | "beta" => "beta",
        "c" | "rc" => "rc",
        "dev" | "pre" | "preview" => word,
        // Both a build and an update are written so.
        _ if serial.is_empty() => return Some(format!("write a variant as `{version}+name`")),
        _ => return None,
    };
    let pre = if serial.is_empty() { name.to_owned() } else { format!("{name}.{serial}") };
    Prerelease::new(&pre).ok()?;
    Some(format!("write `{}-{pre}`", series.floor()))
}

fn is_wildcard(text: &str) -> bool {
    matches!(text, "*" | "x" | "X")
}

fn read_part(text: &str, span: Span<usize>) -> Result<Part, Fault> {
    if is_wildcard(text) {
        return Ok(Part::Wildcard);
    }
    let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(Fault::new(span, format!("`{text}` is not a number"))
            .hint("a version is up to three numbers joined by dots"));
    }
    if !rest.is_empty() {
        return Err(Fault::new(
            span.start + digits..span.end,
            format!("`{rest}` follows the number {number}"),
        )
        .hint("write a prerelease as `3.14.0-rc.1`, a variant as `3.13+name`"));
    }
    if number.len() > 1 && number.starts_with('0') {
        let right = number.trim_start_matches('0');
        return Err(Fault::new(span, format!("`{number}` begins with a zero"))
            .hint(format!("write `{}`", if right.is_empty() { "0" } else { right })));
    }
    match number.parse() {
        Ok(value) if number.len() <= DIGITS_MAX => Ok(Part::Number(value)),
        _ => Err(Fault::new(span, format!("`{number}` is too large"))
            .hint(format!("a part of a version has at most {DIGITS_MAX} digits"))),
    }
}

fn read_prerelease(series: &Series, wildcard: bool, pre: &str, start: usize) -> Result<Prerelease, Fault> {
    let span = start - 1..start + pre.len();
    if pre.is_empty() {
        return Err(Fault::new(span, "nothing follows the hyphen")
            .hint(format!("write a range with spaces on both sides: `{series} - …`")));
    }
    if wildcard || !series.is_complete() {
        let fault = Fault::new(span, format!("`-{pre}` follows a version that is not complete"));
        let could_be_version =
            pre.contains('.') && pre.chars().all(|digit| digit.is_ascii_digit() || digit == '.');
        return Err(if could_be_version {
            fault.hint(format!("write a range with spaces: `{series} - {pre}`"))
        } else {
            fault.hint(format!("write `{}-{pre}`", series.floor()))
        });
    }
    Prerelease::new(pre).map_err(|_| {
        Fault::new(span, format!("`{pre}` is not a prerelease"))
            .hint("write letters, digits and `-` in parts joined by dots, numbers without leading zeros")
    })
}

/// For what begins like a name. If a version follows the name, that is what was meant.
fn not_a_version(word: &str, offset: usize) -> Fault {
    let fault = Fault::new(offset..offset + word.len(), format!("`{word}` is not a version"));
    let version = word.trim_start_matches(|character: char| !character.is_ascii_digit());
    if version.len() < word.len() && Written::read(version, 0).is_ok() {
        fault.hint(format!("write `{version}`"))
    } else {
        fault.hint("write a version, such as `3.12`")
    }
}
