//! A copy of a pack's files beside links into an environment, for languages that find dependencies by
//! where a source file lies.

use std::io;
use std::path::{Path, PathBuf};

use super::beneath::{Folder, components};
use super::key::Key;
use super::layout::Layout;
use super::lock::Lock;
use super::rubbish::discard;
use super::scope::Scope;
use super::{PathError, Stage};

/// What to stage.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub layout: &'a Layout,
    /// The environment, which is ready.
    pub key: &'a Key,
    /// The pack's files, which are not going to change.
    pub pack: &'a Path,
    /// SHA-256 of them.
    pub pack_digest: &'a str,
    /// The folder that the dependencies are for, and where the links are made.
    pub scope: &'a Scope,
    pub stage: &'a Stage,
}

/// Why nothing was staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("the environment has no `{target}` to link to")]
    NoTarget { target: String },
    #[error("`{path}` is neither a file nor a folder, so it can't be part of a pack")]
    Unsupported { path: PathBuf },
    #[error("`{path}`: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// The folder with the staged files, made if it is not there yet. Blocks.
///
/// What the pack itself has in place of a link is left out.
pub fn stage(request: &Request<'_>) -> Result<PathBuf, StageError> {
    let Request { layout, key, pack_digest, scope, .. } = *request;
    let staged = layout.staged(key, pack_digest, scope);
    // It gets its name when it is whole.
    if staged.is_dir() {
        return Ok(staged);
    }
    for folder in [layout.staged_folder(), layout.locks_folder(), layout.temporary_folder()] {
        std::fs::create_dir_all(&folder).map_err(io_at(&folder))?;
    }
    let name = staged.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lock = Lock::acquire(&layout.lock(&name)).map_err(io_at(&staged))?;
    if !staged.is_dir() {
        let aside = layout.temporary(&name);
        discard(layout, &aside).map_err(io_at(&aside))?;
        std::fs::create_dir(&aside).map_err(io_at(&aside))?;
        let filled = fill(request, &aside);
        if filled.is_err() {
            discard(layout, &aside).map_err(io_at(&aside))?;
        }
        filled?;
        std::fs::rename(&aside, &staged).map_err(io_at(&staged))?;
    }
    lock.remove().map_err(io_at(&staged))?;
    Ok(staged)
}

/// What is staged of the pack with a digest, as far as it can be listed. Blocks.
#[must_use]
pub fn stages(layout: &Layout, pack_digest: &str) -> Vec<PathBuf> {
    let is_of_pack = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.split('-').nth(1)) == Some(pack_digest)
    };
    let entries = std::fs::read_dir(layout.staged_folder()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_of_pack).collect()
}

fn fill(request: &Request<'_>, aside: &Path) -> Result<(), StageError> {
    let Request { layout, key, pack, scope, stage, .. } = *request;
    let environment = layout.built(key);
    let mut links = Vec::new();
    for (name, target) in &stage.links {
        components(target)?;
        let target_path = environment.join(target);
        if target_path.symlink_metadata().is_err() {
            return Err(StageError::NoTarget { target: target.clone() });
        }
        links.push((scope.join(name), target_path));
    }
    let left_out: Vec<PathBuf> = links.iter().map(|(path, _)| PathBuf::from(path)).collect();
    copy(pack, aside, &left_out)?;
    let folder = Folder::open(aside)?;
    for (path, target) in &links {
        folder.link(path, target)?;
    }
    Ok(())
}

/// Copies what is below `from`, without the relative paths that are `left_out`.
fn copy(from: &Path, to: &Path, left_out: &[PathBuf]) -> Result<(), StageError> {
    let mut pending = vec![PathBuf::new()];
    while let Some(folder) = pending.pop() {
        let source = from.join(&folder);
        for entry in std::fs::read_dir(&source).map_err(io_at(&source))? {
            let entry = entry.map_err(io_at(&source))?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(io_at(&entry.path()))?;
            if left_out.contains(&path) {
                continue;
            }
            let target = to.join(&path);
            if kind.is_dir() {
                std::fs::create_dir(&target).map_err(io_at(&target))?;
                pending.push(path);
            } else if kind.is_file() {
                // Hard links are refused across file systems, and by some for other reasons.
                if std::fs::hard_link(entry.path(), &target).is_err() {
                    std::fs::copy(entry.path(), &target).map_err(io_at(&target))?;
                }
            } else {
                return Err(StageError::Unsupported { path: entry.path() });
            }
        }
    }
    Ok(())
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> StageError {
    move |source| StageError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        layout: Layout,
        key: Key,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let layout = Layout::new(folder.path().join("envs"));
            let key: Key = "a".repeat(64).parse().expect("a key");
            fs::create_dir_all(layout.built(&key).join("modules/one")).expect("made");
            let pack = folder.path().join("pack/actions/deep");
            fs::create_dir_all(&pack).expect("made");
            fs::write(pack.join("run.sh"), "run").expect("written");
            fs::write(folder.path().join("pack/pack.yaml"), "pack").expect("written");
            Self { folder, layout, key }
        }

        fn pack(&self) -> PathBuf {
            self.folder.path().join("pack")
        }

        fn stage(&self, scope: &str, name: &str, target: &str) -> Result<PathBuf, StageError> {
            stage(&Request {
                layout: &self.layout,
                key: &self.key,
                pack: &self.pack(),
                pack_digest: "d1",
                scope: &Scope::parse(scope).expect("a scope"),
                stage: &Stage { links: vec![(name.to_owned(), target.to_owned())] },
            })
        }
    }

    #[test]
    fn files_lie_beside_links() {
        let fixture = Fixture::new();
        let staged = fixture.stage("actions", "modules", "modules").expect("staged");
        assert_eq!(fs::read_to_string(staged.join("actions/deep/run.sh")).expect("read"), "run");
        assert_eq!(fs::read_to_string(staged.join("pack.yaml")).expect("read"), "pack");
        assert!(staged.join("actions/modules/one").is_dir());
        let inode = fs::metadata(&staged).expect("there").ino();
        let again = fixture.stage("actions", "modules", "modules").expect("staged");
        assert_eq!((fs::metadata(&again).expect("there").ino(), &again), (inode, &staged));
        let root = fixture.stage("", "modules", "modules").expect("staged");
        assert!(root != staged && root.join("modules/one").is_dir());
        assert_eq!(fs::read_dir(fixture.layout.temporary_folder()).expect("listed").count(), 0);
    }

    #[test]
    fn what_the_pack_has_in_place_of_a_link_is_left_out() {
        let fixture = Fixture::new();
        fs::create_dir_all(fixture.pack().join("modules/stale")).expect("made");
        let staged = fixture.stage("", "modules", "modules").expect("staged");
        assert!(staged.join("modules/one").is_dir() && !staged.join("modules/stale").exists());
        assert!(fixture.pack().join("modules/stale").is_dir());
    }

    #[test]
    fn many_at_once_make_one() {
        let fixture = Fixture::new();
        let made: Vec<PathBuf> = std::thread::scope(|scope| {
            let at_once: Vec<_> =
                (0..8).map(|_| scope.spawn(|| fixture.stage("", "modules", "modules"))).collect();
            at_once.into_iter().map(|one| one.join().expect("joined").expect("staged")).collect()
        });
        assert!(made.iter().all(|path| *path == made[0] && path.join("pack.yaml").is_file()));
    }

    #[test]
    fn a_killed_predecessor_is_cleared_away() {
        let fixture = Fixture::new();
        let staged = fixture.layout.staged(&fixture.key, "d1", &Scope::root());
        let aside = fixture.layout.temporary(&staged.file_name().expect("a name").to_string_lossy());
        fs::create_dir_all(aside.join("half")).expect("made");
        let staged = fixture.stage("", "modules", "modules").expect("staged");
        assert!(!staged.join("half").exists());
    }

    #[test]
    fn nothing_leads_out() {
        let fixture = Fixture::new();
        for (name, target) in
            [("../x", "modules"), ("/x", "modules"), ("x", "../x"), ("x", "/etc"), ("", "modules")]
        {
            let error = fixture.stage("", name, target).expect_err("refused");
            assert!(
                matches!(error, StageError::Path(PathError::NotRelative { .. })),
                "{name} {target}: {error}"
            );
        }
        let error = fixture.stage("", "x", "absent").expect_err("refused");
        assert!(matches!(error, StageError::NoTarget { .. }), "{error}");
        symlink("/etc/passwd", fixture.pack().join("link")).expect("linked");
        let error = fixture.stage("", "x", "modules").expect_err("refused");
        assert!(matches!(error, StageError::Unsupported { .. }), "{error}");
        fs::remove_dir_all(fixture.pack()).expect("removed");
        let error = fixture.stage("", "x", "modules").expect_err("nothing to stage");
        assert!(matches!(error, StageError::Io { .. }), "{error}");
        assert_eq!(fs::read_dir(fixture.layout.temporary_folder()).expect("listed").count(), 0);
        assert_eq!(fs::read_dir(fixture.layout.staged_folder()).expect("listed").count(), 0);
    }
}
