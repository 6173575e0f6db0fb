//! The ways in which a secret may be written.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is shorter is not masked: it would be found everywhere, and give away by that what it is.
pub(super) const LENGTH_MIN: usize = 4;

/// Every form of a secret that is long enough to be looked for.
pub(super) fn of(secret: &str) -> BTreeSet<Vec<u8>> {
    let mut plain = BTreeSet::from([secret, secret.trim()]);
    plain.extend(secret.lines().map(str::trim));
    let mut forms = BTreeSet::new();
    for text in plain.into_iter().filter(|text| text.len() >= LENGTH_MIN) {
        forms.insert(text.as_bytes().to_vec());
        forms.extend(json(text).map(String::into_bytes));
        forms.extend(percent(text).map(String::into_bytes));
        forms.extend(base64(text).map(String::into_bytes));
    }
    forms.retain(|form| form.len() >= LENGTH_MIN);
    forms
}

/// As JSON has it, with other than ASCII as it is or escaped, with `/` as it is or escaped.
fn json(text: &str) -> impl Iterator<Item = String> {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted[1..quoted.len() - 1].to_owned();
    let mut ascii = String::with_capacity(inner.len());
    for character in inner.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a text cannot fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    let slashed = inner.replace('/', "\\/");
    [inner, ascii, slashed].into_iter()
}

/// As in a URL: percent signs with digits of either case, a space as it is in a path or in a form.
fn percent(text: &str) -> impl Iterator<Item = String> {
    let (mut upper, mut lower) = (String::new(), String::new());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            upper.push(char::from(byte));
            lower.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(upper, "%{byte:02X}");
            let _ = write!(lower, "%{byte:02x}");
        }
    }
    let form = upper.replace("%20", "+");
    [upper, lower, form].into_iter()
}

/// In both alphabets, alone or within something longer: where it begins there decides which of three
/// texts stands for it. The first and last digits, which its neighbours have a share in, are left out.
fn base64(text: &str) -> impl Iterator<Item = String> {
    let bytes = text.as_bytes().to_vec();
    (0..3_usize).flat_map(move |offset| {
        let shifted = [vec![0; offset], bytes.clone()].concat();
        let start = (offset * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)]
            .map(|encoded| encoded[start..end].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn check(secret: &str, form: &str) {
        assert!(of(secret).contains(form.as_bytes()), "{form:?} of {secret:?}");
    }

    #[test]
    fn forms() {
        check("pass", "pass");
        check("line one\nline two\r\n", "line one");
        check("line one\nline two\r\n", "line two");
        check("line one\nline two\r\n", "line one\\nline two");
        check(" padded ", "padded");
        check("q\"t/é", "q\\\"t/é");
        check("q\"t/é", "q\\\"t/\\u00e9");
        check("q\"t/é", "q\\\"t\\/é");
        check("key 🗝", "key \\ud83d\\udddd");
        check("a b/ü", "a%20b%2F%C3%BC");
        check("a b/ü", "a%20b%2f%c3%bc");
        check("a b/ü", "a+b%2F%C3%BC");
    }

    #[test]
    fn what_is_short_is_left_out() {
        assert!(of("abc").is_empty());
        assert!(of("").is_empty());
        assert!(!of("abc\nlonger").contains(&b"abc"[..]));
    }

    #[test]
    fn base64_is_found_wherever_it_stands() {
        let secret = "s3cr3t!?>";
        let forms = of(secret);
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
                let is_found = forms.iter().any(|form| {
                    form.len() >= secret.len()
                        && encoded.as_bytes().windows(form.len()).any(|part| part == form)
                });
                assert!(is_found, "{encoded}");
            }
        }
    }
}
