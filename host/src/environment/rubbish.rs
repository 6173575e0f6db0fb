//! What a builder that was killed leaves behind, and what is taken out of use.

use std::io;
use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::lock::Lock;
use super::publish::{ASIDE, unique};
use super::ready;

/// Removes whatever is not in use and never will be: unfinished environments that nobody is building,
/// temporary and quarantined folders, links aside and links to nothing. Ends processes that killed builders
/// left. Done at start; says what was removed.
pub fn remove_rubbish(layout: &Layout) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for (name, path) in entries(&layout.locks_folder())? {
        let Some(lock) = Lock::try_acquire(&path)? else { continue };
        lock.end_predecessor()?;
        for left in [unfinished(&layout.built_folder().join(&name)), existing(&layout.temporary(&name))] {
            removed.extend(left.map(|left| discard(layout, &left).map(|()| left)).transpose()?);
        }
        lock.remove()?;
    }
    // What has no lock file has no builder: it is made before anything else.
    for folder in [layout.built_folder(), layout.temporary_folder()] {
        for (name, path) in entries(&folder)? {
            let is_rubbish = folder != layout.built_folder() || unfinished(&path).is_some();
            if is_rubbish && let Some(lock) = Lock::try_acquire(&layout.lock(&name))? {
                discard(layout, &path)?;
                lock.remove()?;
                removed.push(path);
            }
        }
    }
    for (_, path) in entries(&layout.broken_folder())? {
        remove(&path)?;
        removed.push(path);
    }
    for link in links(layout)? {
        let is_aside = link.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE));
        if is_aside || !link.exists() {
            remove(&link)?;
            removed.push(link);
        }
    }
    Ok(removed)
}

/// Takes a folder out of its place at once, then removes it.
pub(super) fn discard(layout: &Layout, path: &Path) -> io::Result<()> {
    let broken = layout.broken_folder();
    std::fs::create_dir_all(&broken)?;
    let aside = broken.join(unique());
    match std::fs::rename(path, &aside) {
        Ok(()) => remove(&aside),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The stable links, those to nothing and those aside among them.
pub(super) fn links(layout: &Layout) -> io::Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    for (pack, folder) in entries(layout.root())? {
        if !pack.starts_with('.') && folder.is_dir() {
            links
                .extend(entries(&folder)?.into_iter().map(|(_, path)| path).filter(|path| path.is_symlink()));
        }
    }
    Ok(links)
}

/// Names and paths in a folder, sorted; none if there is no such folder.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry?;
        // Every name that is made here is text.
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

fn unfinished(path: &Path) -> Option<PathBuf> {
    existing(path).filter(|path| ready::read(path).is_none())
}

fn existing(path: &Path) -> Option<PathBuf> {
    path.symlink_metadata().is_ok().then(|| path.to_owned())
}

/// Somebody else may be removing it as well.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_symlink() || !path.is_dir() {
        std::fs::remove_file(path)
    } else {
        std::fs::remove_dir_all(path)
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
