//! Credentials in what an operator sets for builds: which parts of variables are secret.

use std::collections::BTreeSet;

/// Words that a variable's name has if its whole value is a secret.
const WORDS: [&str; 5] = ["token", "secret", "passw", "credential", "authorization"];
/// Ends of such names.
const ENDS: [&str; 3] = ["key", "auth", "pwd"];

/// The secrets in variables: what stands before the `@` of each URL, whole and in its parts, and the value
/// of each variable whose name says that it is one.
pub(super) fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeSet<String> {
    let mut secrets = BTreeSet::new();
    for (name, value) in variables {
        if is_secret(name) {
            secrets.insert(value.to_owned());
        }
        for user_info in value.split("://").skip(1).filter_map(user_info) {
            // Who reads such a URL may take a token for the user's name as well as for the password.
            for text in std::iter::once(user_info).chain(user_info.split(':')) {
                secrets.insert(decoded(text));
                secrets.insert(text.to_owned());
            }
        }
    }
    secrets.remove("");
    secrets
}

/// A variable's value for people: `***` in place of what is secret in it.
#[must_use]
pub fn without_credentials(name: &str, value: &str) -> String {
    if is_secret(name) {
        return "***".to_owned();
    }
    let mut parts = value.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = user_info(part).and_then(|user_info| part.get(user_info.len()..));
        shown.extend(["://", if rest.is_some() { "***" } else { "" }, rest.unwrap_or(part)]);
    }
    shown
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word)) || ENDS.iter().any(|end| name.ends_with(end))
}

/// What stands before the last `@` of the authority that a text begins with.
fn user_info(text: &str) -> Option<&str> {
    let end = text.find(|letter: char| letter.is_whitespace() || "/?#\"'<>,".contains(letter));
    let authority = end.map_or(text, |end| &text[..end]);
    authority.rsplit_once('@').map(|(user_info, _)| user_info)
}

/// Without percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        for (name, value, expected) in [
            ("PROXY", "http://proxy:3128", "http://proxy:3128"),
            ("INDEX", "https://u:p@one/ https://two/a@b", "https://***@one/ https://two/a@b"),
            ("TOKEN", "abc", "***"),
        ] {
            assert_eq!(without_credentials(name, value), expected);
        }
    }

    #[test]
    fn what_is_secret() {
        let check = |name: &str, value: &str, expected: &[&str]| {
            let found = of([(name, value)]);
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{name}={value}");
        };
        check("HTTPS_PROXY", "http://proxy:3128", &[]);
        check("INDEX", "https://host/a@b", &[]);
        check("INDEX", "https://token@host/simple", &["token"]);
        check("INDEX", "https://user:p%40ss@host", &["p%40ss", "p@ss", "user", "user:p%40ss", "user:p@ss"]);
        check("INDEX", "https://token:@host/", &["token", "token:"]);
        check("INDEXES", "https://one@a/ https://two@b/,c://three@d", &["one", "three", "two"]);
        check("PROXY", "http://a@b@host", &["a@b"]);
        check("API_TOKEN", "abc", &["abc"]);
        check("registry_authToken", "abc", &["abc"]);
        check("SIGNING_KEY", "abc", &["abc"]);
        check("GIT_AUTHOR_NAME", "abc", &[]);
        check("API_TOKEN", "", &[]);
    }
}
