//! Which folder of a pack the dependencies of an entry point are for, and the files that name them.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::FileType;

use super::beneath::{Folder, components};
use super::{Manifest, PathError};

/// The largest manifest.
const MANIFEST_MAX: u64 = 1024 * 1024;
/// All manifests of a folder together; lock files are long.
const TOTAL_MAX: usize = 8 * 1024 * 1024;
/// How many manifests a folder may have.
const COUNT_MAX: usize = 64;
/// How many entries are looked at for patterns that reach into folders.
const ENTRIES_MAX: usize = 10_000;
/// How deep such a pattern reaches, at most.
const DEPTH_MAX: usize = 8;

/// A folder of a pack, relative to it; the pack itself is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

impl Scope {
    /// The pack itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The folder at a relative path; `` for the pack itself.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let names: Vec<_> = components(path)?.into_iter().map(std::ffi::OsStr::to_string_lossy).collect();
        Ok(Self(names.join("/")))
    }

    /// With `/` between the folders; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, relative to the pack, of something in the folder.
    pub(super) fn join(&self, name: &str) -> String {
        if self.0.is_empty() { name.to_owned() } else { format!("{}/{name}", self.0) }
    }

    fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())))
    }
}

/// What an entry point depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    pub scope: Scope,
    /// Sorted by name.
    pub manifests: Vec<Manifest>,
}

/// Why the manifests of a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    #[error("`{pattern}` is not a pattern of file names: {source}")]
    Pattern { pattern: String, source: globset::Error },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("`{scope}` has more than {COUNT_MAX} manifests, or they are larger than {TOTAL_MAX} bytes")]
    TooMany { scope: String },
    #[error("`{scope}` has more than {ENTRIES_MAX} entries to look for manifests in")]
    TooWide { scope: String },
}

/// Looks for the nearest folder, from the entry point's upwards to the pack's, with a file that matches
/// the first pattern, and reads all that match any of them there. None if there is none.
///
/// Links are not followed: what they lead to is not part of the pack.
pub fn find(pack: &Path, entry_point: &str, patterns: &[String]) -> Result<Option<Dependencies>, ScopeError> {
    let all: Vec<Pattern> =
        patterns.iter().map(|pattern| Pattern::compile(pattern)).collect::<Result<_, _>>()?;
    let Some(first) = all.get(..1) else { return Ok(None) };
    let pack = Folder::open(pack)?;
    let mut scope = Scope::parse(entry_point)?.parent().unwrap_or_default();
    loop {
        if !matching(&pack, &scope, first)?.is_empty() {
            let manifests = read(&pack, &scope, matching(&pack, &scope, &all)?)?;
            return Ok(Some(Dependencies { scope, manifests }));
        }
        match scope.parent() {
            Some(parent) => scope = parent,
            None => return Ok(None),
        }
    }
}

struct Pattern {
    glob: GlobMatcher,
    /// How many folders deep it can match.
    depth: usize,
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, ScopeError> {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|source| ScopeError::Pattern { pattern: pattern.to_owned(), source })?;
        let depth = if pattern.contains("**") { DEPTH_MAX } else { pattern.matches('/').count() };
        Ok(Self { glob: glob.compile_matcher(), depth: depth.min(DEPTH_MAX) })
    }
}

/// The names, relative to the scope, of the files that match.
fn matching(pack: &Folder, scope: &Scope, patterns: &[Pattern]) -> Result<Vec<String>, ScopeError> {
    let depth = patterns.iter().map(|pattern| pattern.depth).max().unwrap_or_default();
    let mut seen = 0;
    let mut found = Vec::new();
    let mut pending = vec![(String::new(), 0)];
    while let Some((folder, level)) = pending.pop() {
        for entry in pack.list(&scope.join(&folder))? {
            seen += 1;
            if seen > ENTRIES_MAX {
                return Err(ScopeError::TooWide { scope: scope.0.clone() });
            }
            let Some(name) = entry.name.to_str() else { continue };
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            match entry.kind {
                FileType::Directory if level < depth => pending.push((path, level + 1)),
                FileType::RegularFile if patterns.iter().any(|pattern| pattern.glob.is_match(&path)) => {
                    found.push(path);
                }
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(pack: &Folder, scope: &Scope, names: Vec<String>) -> Result<Vec<Manifest>, ScopeError> {
    let too_many = || ScopeError::TooMany { scope: scope.0.clone() };
    if names.len() > COUNT_MAX {
        return Err(too_many());
    }
    let mut total = 0;
    let mut manifests = Vec::new();
    for name in names {
        let Some(contents) = pack.read(&scope.join(&name), MANIFEST_MAX)? else { continue };
        total += contents.len();
        if total > TOTAL_MAX {
            return Err(too_many());
        }
        manifests.push(Manifest { name, contents });
    }
    Ok(manifests)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pack(files: &[&str]) -> tempfile::TempDir {
        let pack = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = pack.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(path, file).expect("written");
        }
        pack
    }

    fn check(files: &[&str], entry_point: &str, patterns: &[&str], expected: Option<(&str, &[&str])>) {
        let pack = pack(files);
        fs::create_dir_all(pack.path().join(entry_point)).expect("made");
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let found = find(pack.path(), entry_point, &patterns).expect("looked for");
        let found = found.as_ref().map(|found| {
            let names: Vec<&str> = found.manifests.iter().map(|manifest| manifest.name.as_str()).collect();
            (found.scope.as_str(), names)
        });
        let expected = expected.map(|(scope, names)| (scope, names.to_vec()));
        assert_eq!(found, expected, "{files:?} {entry_point} {patterns:?}");
    }

    #[test]
    fn the_nearest_folder_upward_counts() {
        let patterns = &["deps.txt", "deps*.txt", "lock", "sub/*.txt"];
        check(&["a/y.sh"], "a/x.sh", patterns, None);
        check(&["deps.txt"], "x.sh", patterns, Some(("", &["deps.txt"])));
        check(&["deps.txt"], "a/b/x.sh", patterns, Some(("", &["deps.txt"])));
        check(&["deps.txt", "a/deps.txt"], "a/b/x.sh", patterns, Some(("a", &["deps.txt"])));
        check(&["a/lock", "deps.txt"], "a/x.sh", patterns, Some(("", &["deps.txt"])));
        check(&["b/deps.txt"], "a/x.sh", patterns, None);
        check(&["deps.txt"], "x.sh", &[], None);
        check(
            &["a/deps.txt", "a/deps-dev.txt", "a/lock", "a/sub/c.txt", "a/sub/d/e.txt", "a/other"],
            "a/x.sh",
            patterns,
            Some(("a", &["deps-dev.txt", "deps.txt", "lock", "sub/c.txt"])),
        );
        let deep = &["deps.txt", "**/r.txt"];
        check(&["deps.txt", "p/q/r.txt"], "x.sh", deep, Some(("", &["deps.txt", "p/q/r.txt"])));
    }

    #[test]
    fn contents_are_read() {
        let pack = pack(&["a/deps.txt"]);
        let found = find(pack.path(), "a/x.sh", &["*.txt".to_owned()]).expect("looked for").expect("found");
        assert_eq!(found.manifests[0].contents, b"a/deps.txt");
    }

    #[test]
    fn links_are_not_part_of_the_pack() {
        let pack = pack(&[]);
        std::os::unix::fs::symlink("/etc/passwd", pack.path().join("deps.txt")).expect("linked");
        assert_eq!(find(pack.path(), "x.sh", &["deps.txt".to_owned()]).expect("looked for"), None);
    }

    #[test]
    fn says_what_is_wrong() {
        let pattern = |text: &str| vec![text.to_owned()];
        let error = find(pack(&[]).path(), "x.sh", &pattern("[")).expect_err("no pattern");
        assert!(matches!(error, ScopeError::Pattern { .. }), "{error}");
        let error = find(pack(&[]).path(), "../x.sh", &pattern("*")).expect_err("outside");
        assert!(matches!(error, ScopeError::Path(PathError::NotRelative { .. })), "{error}");
        let error = find(pack(&[]).path(), "no/x.sh", &pattern("*")).expect_err("no such folder");
        assert!(matches!(error, ScopeError::Path(PathError::Io { .. })), "{error}");

        let names: Vec<String> = (0..=COUNT_MAX).map(|number| format!("{number}.txt")).collect();
        let many = pack(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let error = find(many.path(), "x.sh", &pattern("*.txt")).expect_err("too many");
        assert!(matches!(error, ScopeError::TooMany { .. }), "{error}");

        let large = pack(&[]);
        for number in 0..9 {
            let path = large.path().join(format!("{number}.txt"));
            fs::write(path, vec![b'x'; 1024 * 1024]).expect("written");
        }
        let error = find(large.path(), "x.sh", &pattern("*.txt")).expect_err("too large together");
        assert!(matches!(error, ScopeError::TooMany { .. }), "{error}");
        fs::write(large.path().join("0.txt"), vec![b'x'; 1024 * 1024 + 1]).expect("written");
        let error = find(large.path(), "x.sh", &pattern("0.txt")).expect_err("too large");
        assert!(matches!(error, ScopeError::Path(PathError::TooLarge { .. })), "{error}");

        let wide = tempfile::tempdir().expect("a folder");
        for number in 0..=ENTRIES_MAX {
            fs::write(wide.path().join(number.to_string()), "").expect("written");
        }
        let error = find(wide.path(), "x.sh", &pattern("*")).expect_err("too wide");
        assert!(matches!(error, ScopeError::TooWide { .. }), "{error}");
    }
}
