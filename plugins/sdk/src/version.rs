//! Versions as tools report them, turned into semantic versions.

use crate::types::Version;

/// The version in `native`, if it has the form of one.
///
/// Besides semantic versions: one to many parts, a leading `v` or `go`, prereleases that are glued on
/// (`3.13.0rc1`), a trailing `+`, build numbers (`17.0.9+9`, `11.0.9.1`, `3.3.0p0`), the old Java form
/// (`1.8.0_392`), and a trailing `t` for a free-threaded build.
#[must_use]
pub fn read(native: &str) -> Option<Version> {
    let native = native.trim();
    let text = without_prefix(native);
    let (mut parts, mut rest) = numbers(text)?;
    let mut build: Vec<String> = Vec::new();
    if let ([1, minor, patch], Some(update)) = (parts.as_slice(), rest.strip_prefix('_')) {
        let (update, after) = digits(update)?;
        parts = vec![*minor, *patch, update];
        rest = after.strip_prefix('-').map_or(after, |number| {
            build.push(number.to_owned());
            ""
        });
    }
    let mut parts = parts.into_iter();
    let (major, minor, patch) = (parts.next()?, parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    build.splice(0..0, parts.map(|part| part.to_string()));

    let (prerelease, rest) = prerelease(rest)?;
    let (variant, rest) = match rest.strip_prefix('t') {
        Some(rest) => (Some("freethreaded".to_owned()), rest),
        None => (None, rest),
    };
    let rest = match rest.strip_prefix('p').or_else(|| rest.strip_prefix('_')) {
        Some(patch_level) => {
            let (patch_level, rest) = digits(patch_level)?;
            build.push(patch_level.to_string());
            rest
        }
        None => rest,
    };
    match rest.strip_prefix('+') {
        Some("") => {}
        Some(metadata) => build.push(metadata.to_owned()),
        None if rest.is_empty() || rest.starts_with([' ', '(']) => {}
        None => return None,
    }
    let build = build.join(".");
    let mut semver = format!("{major}.{minor}.{patch}");
    if !prerelease.is_empty() {
        semver = format!("{semver}-{prerelease}");
    }
    if !build.is_empty() {
        if !build.split('.').all(is_identifier) {
            return None;
        }
        semver = format!("{semver}+{build}");
    }
    Some(Version { semver, native: native.to_owned(), variant })
}

/// The first word of `text` that has the form of a version of at least two parts.
#[must_use]
pub fn search(text: &str) -> Option<Version> {
    text.split(|character: char| character.is_whitespace() || "\"',;()[]".contains(character))
        .filter(|word| word.contains('.'))
        .find_map(read)
}

/// Major, minor and patch of a semantic version.
#[must_use]
pub fn parts(semver: &str) -> Option<[u64; 3]> {
    let core = semver.split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// Prerelease identifiers whose numbers are identifiers of their own, so that `rc10` sorts above `rc2`.
fn prerelease(text: &str) -> Option<(String, &str)> {
    const GLUED: [(&str, &str); 9] = [
        ("alpha", "alpha"),
        ("beta", "beta"),
        ("preview", "preview"),
        ("dev", "dev"),
        ("pre", "pre"),
        ("rc", "rc"),
        ("a", "alpha"),
        ("b", "beta"),
        ("c", "rc"),
    ];
    if let Some(identifiers) = text.strip_prefix('-') {
        let (identifiers, _) =
            identifiers.split_at(identifiers.find(['+', ' ', '(']).unwrap_or(identifiers.len()));
        let rest = &text[1 + identifiers.len()..];
        let split: Option<Vec<String>> = identifiers.split('.').map(split_number).collect();
        return Some((split?.join("."), rest));
    }
    let glued = text.strip_prefix(['.', '_']).unwrap_or(text);
    for (written, name) in GLUED {
        let Some((head, rest)) = glued.split_at_checked(written.len()) else { continue };
        if !head.eq_ignore_ascii_case(written) {
            continue;
        }
        let number = rest.strip_prefix(['.', '-', '_']).unwrap_or(rest);
        return match digits(number) {
            Some((number, rest)) => Some((format!("{name}.{number}"), rest)),
            None if rest.is_empty() => Some((name.to_owned(), rest)),
            None => None,
        };
    }
    Some((String::new(), text))
}

/// `rc1` → `rc.1`; an identifier that is not letters followed by a number stays as it is.
fn split_number(identifier: &str) -> Option<String> {
    if !is_identifier(identifier) {
        return None;
    }
    let letters = identifier.trim_end_matches(|character: char| character.is_ascii_digit());
    let number = &identifier[letters.len()..];
    if number.is_empty() || !letters.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Some(identifier.to_owned());
    }
    let number: u64 = number.parse().ok()?;
    Some(if letters.is_empty() { number.to_string() } else { format!("{letters}.{number}") })
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn without_prefix(text: &str) -> &str {
    let rest = text.strip_prefix("go").or_else(|| text.strip_prefix(['v', 'V'])).unwrap_or(text);
    if rest.starts_with(|first: char| first.is_ascii_digit()) { rest } else { text }
}

/// The numbers between dots that `text` begins with.
fn numbers(text: &str) -> Option<(Vec<u64>, &str)> {
    let (first, mut rest) = digits(text)?;
    let mut numbers = vec![first];
    while let Some((number, after)) = rest.strip_prefix('.').and_then(digits) {
        numbers.push(number);
        rest = after;
    }
    Some((numbers, rest))
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(native: &str, expected: Option<&str>) {
        let version = read(native);
        assert_eq!(version.as_ref().map(|version| version.semver.as_str()), expected, "{native}");
        if let Some(version) = version {
            semver::Version::parse(&version.semver).expect("a semantic version");
            assert_eq!(version.native, native.trim());
        }
    }

    #[test]
    fn reported_forms() {
        check("3.12", Some("3.12.0"));
        check(" v20.11\n", Some("20.11.0"));
        check("18", Some("18.0.0"));
        check("3.12.9", Some("3.12.9"));
        check("3.13.0rc1", Some("3.13.0-rc.1"));
        check("8.4.0RC4", Some("8.4.0-rc.4"));
        check("3.14.0a7", Some("3.14.0-alpha.7"));
        check("3.14.0b2", Some("3.14.0-beta.2"));
        check("3.12.0+", Some("3.12.0"));
        check("1.8.0_392", Some("8.0.392"));
        check("1.8.0_392-b08", Some("8.0.392+b08"));
        check("17.0.9+9", Some("17.0.9+9"));
        check("11.0.9.1", Some("11.0.9+1"));
        check("11.0.9.1+1", Some("11.0.9+1.1"));
        check("go1.22", Some("1.22.0"));
        check("go1.21rc2", Some("1.21.0-rc.2"));
        check("3.3.0p0", Some("3.3.0+0"));
        check("v5.36.0", Some("5.36.0"));
        check("5.2.15(1)-release", Some("5.2.15"));
        check("22.0.0-rc.1", Some("22.0.0-rc.1"));
        check("22.0.0-rc1", Some("22.0.0-rc.1"));
        check("23.0.0-nightly20240801abc", Some("23.0.0-nightly20240801abc"));
        check("4.0.0.dev3", Some("4.0.0-dev.3"));
        check("3.08.007", Some("3.8.7"));
    }

    #[test]
    fn no_versions() {
        for text in ["", "v", "go", "abc", ".3", "3.", "3..1", "3.x", "3.1-", "3.1-ä", "3.1+ä", "3.1rcx"] {
            check(text, None);
        }
        check("99999999999999999999.1", None);
    }

    #[test]
    fn variants() {
        assert_eq!(read("3.13t").and_then(|version| version.variant).as_deref(), Some("freethreaded"));
        let candidate = read("3.14.0rc1t").expect("a version");
        assert_eq!((candidate.semver.as_str(), candidate.variant.is_some()), ("3.14.0-rc.1", true));
        assert_eq!(read("3.13.0").expect("a version").variant, None);
    }

    #[test]
    fn in_a_sentence() {
        for (text, expected) in [
            ("GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)", Some("5.2.15")),
            ("openjdk version \"17.0.9\" 2023-10-17", Some("17.0.9")),
            ("jq-1.6", None),
            ("no version here, in 3 words", None),
        ] {
            assert_eq!(search(text).map(|version| version.semver).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn part_of_a_semantic_version() {
        assert_eq!(parts("3.13.0-rc.1"), Some([3, 13, 0]));
        assert_eq!(parts("3.13"), None);
    }

    proptest! {
        #[test]
        fn semantic_versions_stay_as_they_are(major in 2u64.., minor: u64, patch: u64) {
            let text = format!("{major}.{minor}.{patch}");
            prop_assert_eq!(read(&text).map(|version| version.semver), Some(text));
        }

        #[test]
        fn whatever_is_read_is_semantic(text in "v?[0-9]{1,3}(\\.[0-9]{1,3}){0,4}[-+._a-z0-9]{0,8}") {
            if let Some(version) = read(&text) {
                prop_assert!(semver::Version::parse(&version.semver).is_ok(), "{}", version.semver);
            }
        }

        #[test]
        fn candidates_sort_by_number(low in 1u64..200, high in 1u64..200) {
            prop_assume!(low < high);
            let parse = |number| {
                let version = read(&format!("3.14.0rc{number}")).expect("a version");
                semver::Version::parse(&version.semver).expect("a semantic version")
            };
            prop_assert!(parse(low) < parse(high));
        }
    }
}
