//! Making a finished environment visible: its marker, then its stable link.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::key::Key;
use super::ready::{MARKER, Marker};

/// How the names of links begin that are about to be renamed.
pub(super) const ASIDE: &str = ".aside-";
/// How often a link is laid that somebody else takes away.
const TRIES: u32 = 100;

/// Writes the marker of an environment such that it is there completely, or not at all.
pub(super) fn write_marker(folder: &Path, marker: &Marker) -> io::Result<()> {
    let aside = folder.join(format!("{MARKER}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(&serde_json::to_vec_pretty(marker)?)?;
    file.sync_all()?;
    std::fs::rename(&aside, folder.join(MARKER))?;
    File::open(folder)?.sync_all()
}

/// Has the stable `link` lead to the environment of `key` from one moment to the next.
pub(super) fn swap_link(link: &Path, key: &Key) -> io::Result<()> {
    // Relative, so that a folder of environments that is looked at from elsewhere stays whole.
    let target = Path::new("../.built").join(key.as_str());
    if std::fs::read_link(link).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match lay(link, &target) {
            // Another process has just removed what killed ones left, and taken it for that.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {}
            outcome => return outcome,
        }
    }
}

fn lay(link: &Path, target: &Path) -> io::Result<()> {
    let folder = link.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    let aside = folder.join(format!("{ASIDE}{}", unique()));
    symlink(target, &aside)?;
    std::fs::rename(&aside, link).inspect_err(|_| {
        // What is in the way is the error to report.
        let _ = std::fs::remove_file(&aside);
    })
}

/// A name that nobody else on this machine comes up with.
pub(super) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{time}-{count}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::layout::Layout;
    use super::super::rubbish::remove_rubbish;
    use super::*;

    #[test]
    fn a_sweep_that_goes_on_meanwhile_keeps_no_link_from_being_laid() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        let link = folder.path().join("pack/shell-1");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    remove_rubbish(&layout).expect("swept");
                }
            });
            for number in 0..500 {
                let key = format!("{number:064x}").parse().expect("a key");
                let laid = swap_link(&link, &key);
                if let Err(error) = &laid {
                    is_over.store(true, Ordering::Relaxed);
                    panic!("{error}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn the_link_is_never_absent_while_it_is_swapped() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("pack/shell-1");
        let keys: Vec<Key> =
            ["a", "b"].iter().map(|digit| digit.repeat(64).parse().expect("a key")).collect();
        swap_link(&link, &keys[0]).expect("made");
        std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                for round in 0..500 {
                    swap_link(&link, &keys[round % 2]).expect("swapped");
                }
            });
            while !swapping.is_finished() {
                let target = std::fs::read_link(&link).expect("it is there");
                assert!(keys.iter().any(|key| target.ends_with(key.as_str())), "{target:?}");
            }
        });
        let names = std::fs::read_dir(folder.path().join("pack")).expect("listed");
        assert_eq!(names.count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("pack/shell-1");
        std::fs::create_dir_all(link.join("precious")).expect("made");
        let key = "a".repeat(64).parse().expect("a key");
        swap_link(&link, &key).expect_err("a folder is in the way");
        assert!(link.join("precious").exists());
        assert_eq!(std::fs::read_dir(folder.path().join("pack")).expect("listed").count(), 1);
    }
}
