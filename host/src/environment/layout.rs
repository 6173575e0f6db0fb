//! Where environments lie. Pure: nothing here looks at a disk.
//!
//! ```text
//! {root}/{pack}/{runtime}[-{version}][+{scope}]   stable link for people, to
//! {root}/.built/{key}/                            an environment, never changed once it is ready
//! {root}/.staged/{key}-{pack digest}[-{scope}]/   a pack's files beside links into an environment
//! {root}/.cache/{runtime}/                        downloads that all environments of a runtime share
//! {root}/.locks/ .temporary/ .broken/             of builders at work, and what is to be removed
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::key::Key;
use super::scope::Scope;
use crate::digest::hexadecimal;
use crate::reference::{Name, PackRef, RuntimeRef};

/// The longest text that goes into a file name as it is; most file systems allow names of 255 bytes.
const SEGMENT_MAX: usize = 80;

/// The folder of all environments of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Below `root`, an absolute path.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The stable path of an environment, for people; executions use [`Self::built`].
    #[must_use]
    pub fn link(&self, pack: &PackRef, runtime: &Name, version: Option<&str>, scope: &Scope) -> PathBuf {
        let mut name = runtime.to_string();
        if let Some(version) = version {
            name.push('-');
            name.push_str(&shortened(escaped(version, "._+-")));
        }
        if let Some(scope) = label(scope) {
            name.push('+');
            name.push_str(&scope);
        }
        self.root.join(pack.as_str()).join(name)
    }

    /// The folder of an environment.
    #[must_use]
    pub fn built(&self, key: &Key) -> PathBuf {
        self.built_folder().join(key.as_str())
    }

    /// A pack's files beside links into an environment.
    #[must_use]
    pub fn staged(&self, key: &Key, pack_digest: &str, scope: &Scope) -> PathBuf {
        let mut name = format!("{key}-{}", shortened(escaped(pack_digest, "")));
        if let Some(scope) = label(scope) {
            name.push('-');
            name.push_str(&scope);
        }
        self.staged_folder().join(name)
    }

    /// Downloads that all environments of a runtime share.
    #[must_use]
    pub fn cache(&self, runtime: &RuntimeRef) -> PathBuf {
        self.root.join(".cache").join(runtime.to_string())
    }

    pub(super) fn built_folder(&self) -> PathBuf {
        self.root.join(".built")
    }

    pub(super) fn staged_folder(&self) -> PathBuf {
        self.root.join(".staged")
    }

    pub(super) fn broken_folder(&self) -> PathBuf {
        self.root.join(".broken")
    }

    pub(super) fn locks_folder(&self) -> PathBuf {
        self.root.join(".locks")
    }

    pub(super) fn temporary_folder(&self) -> PathBuf {
        self.root.join(".temporary")
    }

    /// The lock of what is called `name` in one of the folders.
    pub(super) fn lock(&self, name: &str) -> PathBuf {
        self.locks_folder().join(name)
    }

    /// Where the builder of `name` puts what nobody else is to see.
    pub(super) fn temporary(&self, name: &str) -> PathBuf {
        self.temporary_folder().join(name)
    }
}

/// `actions/fetch` is `actions.fetch`; none for the root.
fn label(scope: &Scope) -> Option<String> {
    let scope = scope.as_str();
    if scope.is_empty() {
        return None;
    }
    // Without the dot among what is kept: `a.b` and `a/b` are two folders.
    let names: Vec<String> = scope.split('/').map(|name| escaped(name, "_-")).collect();
    Some(shortened(names.join(".")))
}

/// Letters, digits and what is `kept` as they are, all else as `%` and the hexadecimal byte.
fn escaped(text: &str, kept: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

/// A text that is too long for a file name by its beginning and a digest. It is ASCII.
fn shortened(text: String) -> String {
    if text.len() <= SEGMENT_MAX {
        return text;
    }
    let digest = hexadecimal(&Sha256::digest(&text)[..16]);
    format!("{}~{digest}", &text[..SEGMENT_MAX - digest.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Option<&str>, scope: &str, expected: &str) {
        let layout = Layout::new("/envs");
        let pack = "examples".parse().expect("a name");
        let runtime = "shell".parse().expect("a name");
        let scope = Scope::parse(scope).expect("a scope");
        let link = layout.link(&pack, &runtime, version, &scope);
        assert_eq!(link, Path::new("/envs/examples").join(expected), "{version:?} {scope:?}");
        assert!(link.file_name().expect("a name").len() < 255);
    }

    #[test]
    fn links() {
        check(None, "", "shell");
        check(Some("3.12"), "", "shell-3.12");
        check(Some("3.13+freethreaded"), "", "shell-3.13+freethreaded");
        check(None, "actions/fetch", "shell+actions.fetch");
        check(Some("3.12"), "actions/fetch", "shell-3.12+actions.fetch");
        check(Some("3.12"), "actions.fetch", "shell-3.12+actions%2efetch");
        check(Some("../../x"), "", "shell-..%2f..%2fx");
        check(Some("3 é"), "", "shell-3%20%c3%a9");
        let long = "a".repeat(100);
        let digest = hexadecimal(&Sha256::digest(&long)[..16]);
        check(None, &long, &format!("shell+{}~{digest}", "a".repeat(47)));
    }

    #[test]
    fn names_fit_and_stay_below() {
        let layout = Layout::new("/envs");
        let key: Key = "a".repeat(64).parse().expect("a key");
        let scope = Scope::parse(&"a/".repeat(300)).expect("a scope");
        let staged = layout.staged(&key, &"b".repeat(64), &scope);
        assert_eq!(staged.parent(), Some(Path::new("/envs/.staged")));
        assert!(staged.file_name().expect("a name").len() < 255);
        let odd = layout.staged(&key, "../x", &Scope::root());
        assert_eq!(odd, Path::new("/envs/.staged").join(format!("{key}-%2e%2e%2fx")));
        assert_eq!(layout.built(&key), Path::new("/envs/.built").join(key.as_str()));
        let runtime = "core.shell".parse().expect("a reference");
        assert_eq!(layout.cache(&runtime), Path::new("/envs/.cache/core.shell"));
    }
}
