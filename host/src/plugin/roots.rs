//! Where the granted folders really are: `~`, `$PATH`, `${VARIABLE:-default}` and globs become existing
//! folders, in order. What was looked at on the way is kept, since the answer holds only as long as all
//! of it stays the same.

mod scanned;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::grant::{Granted, NamePatterns};
use super::machine::{Kind, Machine};

pub use scanned::Scanned;
#[cfg(test)]
pub(crate) use scanned::tests::settle;
pub(crate) use scanned::{Looks, parts};

/// Folders that one pattern may expand to; more are ignored with a warning.
const FOLDERS_MAX: usize = 2_000;

/// Where components look, and what the names in their grants mean there.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where components look and what they run.
    pub machine: Machine,
    /// What `~` means in grants.
    pub home: PathBuf,
    /// What `$PATH` means in grants.
    pub path: OsString,
    /// The operator's variables: for `${NAME}` in grants, and, as far as granted, for components to see.
    pub variables: BTreeMap<String, String>,
}

/// A granted folder that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    /// As written in the grant, expanded.
    pub(crate) path: PathBuf,
    /// Without links.
    pub(crate) canonical: PathBuf,
    pub(crate) source: String,
}

/// The granted folders of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roots {
    /// Where programs are looked for, in order, each folder once.
    pub(crate) search: Vec<Folder>,
    /// Canonical folders whose contents may be read, beside those of `search`.
    pub(crate) read: Vec<PathBuf>,
    pub(crate) looks: Looks,
}

impl Roots {
    /// Looks at the disk. Blocks.
    pub(crate) fn expand(granted: &Granted, surroundings: &Surroundings) -> Self {
        let machine = &surroundings.machine;
        let mut walk = Walk { looks: Looks::on(machine) };
        let mut search = Vec::new();
        let mut seen = HashSet::new();
        for root in &granted.search {
            for written in &root.folders {
                for pattern in folder_patterns(written, surroundings) {
                    for path in walk.folders(&pattern) {
                        let Ok(canonical) = machine.canonicalize(&path) else { continue };
                        if seen.insert(canonical.clone()) {
                            search.push(Folder { path, canonical, source: root.source.clone() });
                        }
                    }
                }
            }
        }
        let mut read = Vec::new();
        for written in &granted.read {
            for pattern in folder_patterns(written, surroundings) {
                for path in walk.folders(&pattern) {
                    read.extend(machine.canonicalize(&path).ok());
                }
            }
        }
        Self { search, read, looks: walk.looks }
    }

    /// The search root that a canonical path lies in.
    pub(crate) fn search_root_of(&self, canonical: &Path) -> Option<&Folder> {
        self.search.iter().find(|folder| canonical.starts_with(&folder.canonical))
    }

    /// Whether the contents of a canonical path may be read.
    pub(crate) fn allows_reading(&self, canonical: &Path) -> bool {
        self.search_root_of(canonical).is_some()
            || self.read.iter().any(|folder| canonical.starts_with(folder))
    }
}

/// The absolute patterns that a written folder stands for. Relative ones stand for nothing: the answer
/// must not depend on the host's working folder.
fn folder_patterns(written: &str, surroundings: &Surroundings) -> Vec<PathBuf> {
    let patterns = if written == "$PATH" {
        std::env::split_paths(&surroundings.path).map(Pattern::Literal).collect()
    } else {
        let text = substitute(written, &surroundings.variables);
        text.map(|text| Pattern::Glob(under_home(&text, &surroundings.home))).into_iter().collect::<Vec<_>>()
    };
    patterns
        .into_iter()
        .filter_map(|pattern| {
            let path = match pattern {
                // A folder on PATH whose name looks like a pattern is still that one folder.
                Pattern::Literal(path) if has_glob(&path) => return None,
                Pattern::Literal(path) | Pattern::Glob(path) => path,
            };
            let is_plain = path.components().all(|part| !matches!(part, Component::ParentDir));
            (path.is_absolute() && is_plain).then_some(path)
        })
        .collect()
}

enum Pattern {
    Literal(PathBuf),
    Glob(PathBuf),
}

/// Replaces `${NAME}` and `${NAME:-default}`; none if a variable without default is not set or the
/// text is malformed.
fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (expression, after) = after.split_once('}')?;
        let (name, default) = match expression.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (expression, None),
        };
        let value = variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
        result.push_str(before);
        result.push_str(value.or(default)?);
        rest = after;
    }
    result.push_str(rest);
    Some(result)
}

fn under_home(text: &str, home: &Path) -> PathBuf {
    match text.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        Some(_) | None => PathBuf::from(text),
    }
}

fn has_glob(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Follows patterns through the disk, and remembers what it looked at.
struct Walk {
    looks: Looks,
}

impl Walk {
    /// The existing folders that an absolute pattern stands for, sorted.
    fn folders(&mut self, pattern: &Path) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from("/")];
        for part in pattern.components() {
            let Component::Normal(name) = part else { continue };
            if !has_glob(Path::new(name)) {
                for path in &mut found {
                    path.push(name);
                }
                continue;
            }
            let matching = name.to_str().and_then(|name| NamePatterns::compile(&[name.to_owned()]).ok());
            let Some(matching) = matching else { return Vec::new() };
            found = found.iter().flat_map(|folder| self.children(folder, &matching)).collect();
            if found.len() > FOLDERS_MAX {
                tracing::warn!(
                    "the folder pattern {} matches more than {FOLDERS_MAX} folders; the rest is ignored",
                    pattern.display()
                );
                found.truncate(FOLDERS_MAX);
            }
        }
        found.retain(|path| self.looks.look(path) && self.is_folder(path));
        found
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.looks.machine().status(path).is_ok_and(|status| status.kind == Kind::Folder)
    }

    fn children(&mut self, folder: &Path, matching: &NamePatterns) -> Vec<PathBuf> {
        if !self.looks.look(folder) {
            return Vec::new();
        }
        // As in a shell, `*` does not mean hidden folders.
        let wanted = |name: &OsString| {
            name.to_str().is_some_and(|name| !name.starts_with('.') && matching.matches(name))
        };
        let entries = self.looks.machine().entries(folder, usize::MAX, wanted).unwrap_or_default();
        let mut children: Vec<PathBuf> = entries.into_iter().map(|(name, _)| folder.join(name)).collect();
        children.sort();
        children
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;
    use crate::pack::{Grants, SearchRoot};

    fn variables() -> BTreeMap<String, String> {
        [("ROOT", "/opt/x"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn substitution() {
        for (text, expected) in [
            ("/usr/bin", Some("/usr/bin")),
            ("${ROOT}/bin", Some("/opt/x/bin")),
            ("${ROOT:-~/.x}/bin", Some("/opt/x/bin")),
            ("${NONE:-~/.x}/bin", Some("~/.x/bin")),
            ("${EMPTY:-/e}", Some("/e")),
            ("${NONE:-}/bin", Some("/bin")),
            ("${NONE}/bin", None),
            ("${EMPTY}/bin", None),
            ("${ROOT/bin", None),
            ("${ROOT}${ROOT}", Some("/opt/x/opt/x")),
            ("$ROOT", Some("$ROOT")),
        ] {
            assert_eq!(substitute(text, &variables()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn patterns_are_absolute() {
        let surroundings = Surroundings {
            machine: Machine::This,
            home: "/home/me".into(),
            path: "/a::rel:/b/../c:/d*:/e".into(),
            variables: variables(),
        };
        for (written, expected) in [
            ("$PATH", &["/a", "/e"][..]),
            ("~", &["/home/me"]),
            ("~/.x/*/bin", &["/home/me/.x/*/bin"]),
            ("~other/bin", &[]),
            ("relative", &[]),
            ("/a/../b", &[]),
            ("${NONE}/bin", &[]),
        ] {
            let found = folder_patterns(written, &surroundings);
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{written}");
        }
    }

    fn expand(home: &Path, folders: &[&str]) -> Roots {
        let grants = Grants {
            search: vec![SearchRoot {
                source: "here".to_owned(),
                folders: folders.iter().map(|folder| (*folder).to_owned()).collect(),
            }],
            ..Grants::default()
        };
        let granted = Granted::compile(&grants).expect("valid grants");
        let surroundings = Surroundings {
            machine: Machine::This,
            home: home.to_owned(),
            path: OsString::new(),
            variables: BTreeMap::new(),
        };
        Roots::expand(&granted, &surroundings)
    }

    #[test]
    fn globs_find_folders_in_order_and_once() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().canonicalize().expect("a path");
        for folder in ["v/2/bin", "v/1/bin", "v/.hidden/bin", "v/none"] {
            fs::create_dir_all(path.join(folder)).expect("a folder");
        }
        fs::write(path.join("v/file"), "").expect("a file");
        symlink("1", path.join("v/3")).expect("a link");
        settle();
        let roots = expand(&path, &["~/v/*/bin", "~/v/1/bin", "~/missing/*/bin"]);
        let found: Vec<_> = roots.search.iter().map(|folder| folder.path.clone()).collect();
        assert_eq!(found, [path.join("v/1/bin"), path.join("v/2/bin")]);
        let scanned = roots.looks.into_scanned();
        let missing = scanned.iter().find(|scanned| scanned.path == path.join("missing"));
        assert_eq!(missing.map(|scanned| scanned.identity.clone()), Some(None));
        assert!(scanned.iter().all(Scanned::is_unchanged));
    }

    #[test]
    fn whatever_would_change_the_answer_changes_what_was_scanned() {
        type Change = fn(&Path) -> std::io::Result<()>;
        let changes: [Change; 5] = [
            |home| fs::create_dir_all(home.join("v/9/bin")),
            |home| fs::create_dir_all(home.join("v/none/bin")),
            |home| fs::remove_dir_all(home.join("v/1")),
            |home| fs::create_dir(home.join("missing")),
            |home| {
                fs::remove_file(home.join("current"))?;
                symlink("v/none/other", home.join("current"))
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let home = tempfile::tempdir().expect("a folder");
            for folder in ["v/1/bin", "v/none"] {
                fs::create_dir_all(home.path().join(folder)).expect("a folder");
            }
            symlink("v/none/one", home.path().join("current")).expect("a link");
            settle();
            let roots = expand(home.path(), &["~/v/*/bin", "~/missing/*/bin", "~/current"]);
            let scanned = roots.looks.into_scanned();
            assert!(scanned.iter().all(Scanned::is_unchanged), "before change {number}");
            change(home.path()).expect("a change");
            assert!(!scanned.iter().all(Scanned::is_unchanged), "change {number}");
        }
    }

    proptest! {
        #[test]
        fn expansion_never_leaves_the_pattern(written in "[~/.*${}:a-zA-Z-]{0,20}") {
            let surroundings = Surroundings { machine: Machine::This, home: "/h".into(), path: "/p".into(), variables: variables() };
            for pattern in folder_patterns(&written, &surroundings) {
                prop_assert!(pattern.is_absolute());
                prop_assert!(pattern.components().all(|part| part != Component::ParentDir));
            }
        }
    }
}
