//! Masking secrets in bytes that arrive in pieces.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};
use serde_json::Value as Json;

use super::forms::{self, LENGTH_MIN};
use super::{Secrets, credential};

/// What stands in place of a secret.
const MASK: &[u8] = b"***";

/// Finds secrets, in every form that is known, and puts `***` in their place.
#[derive(Clone)]
pub struct Masker {
    /// None if there is nothing to look for.
    searcher: Option<AhoCorasick>,
    /// Sorted.
    forms: Vec<Vec<u8>>,
    longest: usize,
    unmasked: Vec<String>,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Masker").field("forms", &self.forms.len()).finish_non_exhaustive()
    }
}

impl Masker {
    /// Looks for these, and for a token if there is one. Fails only if they are larger than a search for them can be.
    pub fn new(secrets: &Secrets, token: Option<&str>) -> Result<Self, BuildError> {
        let unmasked = secrets
            .iter()
            .filter(|(_, value)| !value.is_empty() && value.len() < LENGTH_MIN)
            .map(|(name, _)| name.to_owned())
            .collect();
        Ok(Self { unmasked, ..Self::of(secrets.iter().map(|(_, value)| value).chain(token))? })
    }

    /// Looks for the credentials in variables that an operator sets for builds: what stands before the `@`
    /// of a URL, and the values of those whose names say that they are secrets.
    pub fn for_variables<'a>(
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BuildError> {
        Self::of(credential::of(variables).iter().map(String::as_str))
    }

    fn of<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self, BuildError> {
        let forms: BTreeSet<Vec<u8>> = values.flat_map(forms::of).collect();
        let forms: Vec<Vec<u8>> = forms.into_iter().collect();
        let searcher = if forms.is_empty() {
            None
        } else {
            // A deterministic automaton is faster, but takes seconds to build for a long key.
            let kind = Some(AhoCorasickKind::ContiguousNFA);
            let match_kind = MatchKind::LeftmostLongest;
            Some(AhoCorasick::builder().kind(kind).match_kind(match_kind).build(&forms)?)
        };
        let longest = forms.iter().map(Vec::len).max().unwrap_or_default();
        Ok(Self { searcher, forms, longest, unmasked: Vec::new() })
    }

    /// The names of secrets that are too short to be masked.
    #[must_use]
    pub fn unmasked(&self) -> &[String] {
        &self.unmasked
    }

    /// For one stream that arrives in pieces.
    #[must_use]
    pub fn stream(&self) -> Masked<'_> {
        Masked { masker: self, held: Vec::new() }
    }

    /// All at once.
    #[must_use]
    pub fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut masked = stream.push(bytes);
        masked.extend(stream.finish());
        masked
    }

    /// Text for people.
    #[must_use]
    pub fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned()
    }

    /// Every text in a value, names too.
    #[must_use]
    pub fn mask_json(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => self.mask_text(text).into(),
            Json::Array(items) => items.iter().map(|item| self.mask_json(item)).collect(),
            Json::Object(object) => {
                object.iter().map(|(name, value)| (self.mask_text(name), self.mask_json(value))).collect()
            }
            // A secret may be all digits.
            Json::Number(number) => {
                let text = number.to_string();
                let masked = self.mask_text(&text);
                if masked == text { value.clone() } else { masked.into() }
            }
            Json::Null | Json::Bool(_) => value.clone(),
        }
    }

    /// The first place, at or after `from`, where what follows is the beginning of a secret, and no
    /// more is known yet.
    fn undecided(&self, bytes: &[u8], from: usize) -> usize {
        let earliest = from.max((bytes.len() + 1).saturating_sub(self.longest));
        (earliest..bytes.len()).find(|start| self.begins_a_form(&bytes[*start..])).unwrap_or(bytes.len())
    }

    /// Whether it is the beginning of a form, and not all of it.
    fn begins_a_form(&self, bytes: &[u8]) -> bool {
        let after = self.forms.partition_point(|form| form.as_slice() <= bytes);
        self.forms.get(after).is_some_and(|form| form.starts_with(bytes))
    }
}

/// A stream on its way through a [`Masker`]. However it is cut into pieces, the outcome is the same.
pub struct Masked<'a> {
    masker: &'a Masker,
    /// What may turn out to be the beginning of a secret.
    held: Vec<u8>,
}

impl std::fmt::Debug for Masked<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Masked").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Masked<'_> {
    /// Takes in the next bytes; returns those that are decided.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.decide(false)
    }

    /// What was held back: nothing comes after it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.decide(true)
    }

    fn decide(&mut self, is_last: bool) -> Vec<u8> {
        let Some(searcher) = &self.masker.searcher else { return std::mem::take(&mut self.held) };
        let mut masked = Vec::with_capacity(self.held.len());
        let mut position = 0;
        loop {
            let end = self.held.len();
            let undecided = if is_last { end } else { self.masker.undecided(&self.held, position) };
            // A match that begins before that place is the longest there is at its place.
            let found = searcher.find(aho_corasick::Input::new(&self.held).span(position..end));
            let Some(found) = found.filter(|found| found.start() < undecided) else {
                masked.extend_from_slice(&self.held[position..undecided]);
                self.held.drain(..undecided);
                return masked;
            };
            masked.extend_from_slice(&self.held[position..found.start()]);
            masked.extend_from_slice(MASK);
            position = found.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn masker(secrets: &[&str]) -> Masker {
        let named =
            (0..).zip(secrets).map(|(number, value): (u32, _)| (number.to_string(), (*value).to_owned()));
        Masker::new(&named.collect(), None).expect("a masker")
    }

    fn check(secrets: &[&str], text: &str, expected: &str) {
        assert_eq!(masker(secrets).mask_text(text), expected, "{secrets:?} in {text:?}");
    }

    #[test]
    fn secrets_are_masked() {
        check(&[], "text", "text");
        check(&["hunter2"], "it is hunter2, hunter2!", "it is ***, ***!");
        check(&["hunter2", "hunter2000"], "hunter2000 hunter200 hunter2", "*** ***00 ***");
        check(&["abcd", "bcdefgh"], "abcdefgh bcdefgh", "***efgh ***");
        check(&["first line\nsecond line"], "first line\nsecond line", "***");
        check(&["first line\nsecond line"], "> second line <", "> *** <");
        check(&["a\"b c"], r#"{"x": "a\"b c"}"#, r#"{"x": "***"}"#);
        check(&["p@ss word"], "?q=p%40ss%20word&r=p%40ss+word", "?q=***&r=***");
        check(&["user pass"], "dXNlciBwYXNz", "***");
        check(&["abc"], "abc", "abc");
        assert_eq!(masker(&["abc", "abcd", ""]).unmasked(), ["0"]);
    }

    #[test]
    fn nothing_is_held_back_without_need() {
        let masker = masker(&["hunter2", &"long ".repeat(1000)]);
        let mut stream = masker.stream();
        assert_eq!(stream.push(b"a line\n"), b"a line\n");
        assert_eq!(stream.push(b"it is hun"), b"it is ");
        assert_eq!(stream.push(b"ting\n"), b"hunting\n");
        assert_eq!(stream.push(b"hunter"), b"");
        assert_eq!(stream.push(b"2\n"), b"***\n");
        assert_eq!(stream.push(b"hunt"), b"");
        assert_eq!(stream.finish(), b"hunt");
    }

    #[test]
    fn a_long_key_is_no_burden() {
        let line = |number: u32| format!("{number:0>64}\n");
        let key: String = (0..200).map(line).collect();
        let masker = masker(&[&key]);
        let started = std::time::Instant::now();
        for _ in 0..100 {
            let _ = masker.mask(&[b'0'; 1000]);
        }
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    #[test]
    fn values_are_masked_throughout() {
        let value = json!({"hunter2": ["x hunter2", 123_456, 7, null, true], "a": {"b": "hunter2"}});
        let expected = json!({"***": ["x ***", "***", 7, null, true], "a": {"b": "***"}});
        assert_eq!(masker(&["hunter2", "123456"]).mask_json(&value), expected);
    }

    #[test]
    fn values_are_not_printed() {
        let masker = masker(&["hunter2"]);
        assert!(!format!("{masker:?} {:?}", masker.stream()).contains("hunter2"));
        let mut stream = masker.stream();
        let _ = stream.push(b"hunter");
        assert_eq!(format!("{stream:?}"), "Masked { held: 6, .. }", "nor a part of one");
    }

    fn contains(haystack: &[u8], needle: &[u8]) -> bool {
        haystack.windows(needle.len()).any(|part| part == needle)
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
            // Few letters, so that secrets overlap each other and the text.
            secrets in prop::collection::vec("[ab/]{4,9}(\n[ab]{4,6})?", 1..5),
            text in "[ab/+%]{0,80}",
            which in prop::collection::vec(0_usize..5, 0..6),
            cuts in prop::collection::vec(0_usize..200, 0..12),
        ) {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let masker = masker(&secrets);
            let mut text = text;
            for index in which {
                let secret = secrets[index % secrets.len()];
                let place = (index * 17) % (text.len() + 1);
                text.insert_str(place, secret);
            }
            let bytes = text.as_bytes();
            let whole = masker.mask(bytes);

            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut stream = masker.stream();
            let mut pieces = Vec::new();
            for pair in cuts.windows(2) {
                pieces.extend(stream.push(&bytes[pair[0]..pair[1]]));
            }
            pieces.extend(stream.finish());
            prop_assert_eq!(&pieces, &whole);

            for form in &masker.forms {
                prop_assert!(!contains(&whole, form), "{:?}", String::from_utf8_lossy(form));
            }
        }
    }
}
