//! What lies in an environment when it has been built, to find out later whether any of it was damaged.
//!
//! Files are known by size and time of their last change, links by what they lead to. What has come since, such as compiled
//! code that an interpreter keeps beside its sources, is no damage.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ready::MARKER;

/// The file with the list, in the environment.
const CONTENTS: &str = ".attune-contents.json";

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Known {
    /// Bytes, and seconds and nanoseconds of its last change.
    File(u64, i64, i64),
    Link(PathBuf),
}

/// Notes what lies in a folder that was just built.
pub(super) fn record(folder: &Path) -> io::Result<()> {
    let list = serde_json::to_vec(&list(folder)?).map_err(io::Error::other)?;
    fs::write(folder.join(CONTENTS), list)
}

/// What is missing or was changed since the folder was built, in words; none if nothing is, or if nobody knows.
pub(super) fn damage(folder: &Path) -> io::Result<Option<String>> {
    let known = match fs::read(folder.join(CONTENTS)) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(known) = serde_json::from_slice::<BTreeMap<String, Known>>(&known) else {
        return Ok(Some("the list of what was built can't be read".to_owned()));
    };
    let found = list(folder)?;
    let damaged = known.iter().filter(|(path, known)| found.get(*path) != Some(known)).collect::<Vec<_>>();
    let Some((path, _)) = damaged.first() else { return Ok(None) };
    let how = if found.contains_key(*path) { "was changed" } else { "is missing" };
    Ok(Some(match damaged.len() - 1 {
        0 => format!("`{path}` {how}"),
        more => format!("`{path}` {how}, and {more} more are damaged"),
    }))
}

/// Every file and link below a folder, by its path from there.
fn list(folder: &Path) -> io::Result<BTreeMap<String, Known>> {
    let mut list = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current)? {
            let entry = entry?;
            let path = entry.path();
            // What a link leads to is none of the environment's.
            let metadata = entry.metadata()?;
            let known = if metadata.is_dir() {
                folders.push(path);
                continue;
            } else if metadata.is_symlink() {
                Known::Link(fs::read_link(&path)?)
            } else {
                Known::File(metadata.len(), metadata.mtime(), metadata.mtime_nsec())
            };
            let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if ![MARKER, CONTENTS].contains(&relative.as_str()) {
                list.insert(relative, known);
            }
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn damage_is_found_and_what_was_added_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(damage(folder.path()).expect("looked"), None, "nobody knows");
        fs::create_dir_all(at("lib/deep")).expect("made");
        for name in ["lib/one", "lib/deep/two", "lib/three"] {
            fs::write(at(name), name).expect("written");
        }
        symlink("/bin/sh", at("program")).expect("a link");
        fs::write(at(MARKER), "").expect("written");
        record(folder.path()).expect("recorded");
        let found = || damage(folder.path()).expect("looked");

        fs::write(at("lib/compiled"), "").expect("written");
        fs::write(at(MARKER), "used again").expect("written");
        assert_eq!(found(), None);

        fs::write(at("lib/one"), "").expect("emptied");
        assert_eq!(found().as_deref(), Some("`lib/one` was changed"));
        fs::remove_dir_all(at("lib/deep")).expect("removed");
        assert_eq!(found().as_deref(), Some("`lib/deep/two` is missing, and 1 more are damaged"));
        record(folder.path()).expect("recorded");
        fs::remove_file(at("program")).expect("removed");
        symlink("/bin/ls", at("program")).expect("a link");
        assert_eq!(found().as_deref(), Some("`program` was changed"));
        fs::write(at(CONTENTS), "rubbish").expect("written");
        assert!(found().is_some());
    }
}
