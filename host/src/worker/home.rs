//! What tells the data folder of a worker from every other one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::WorkerError;

/// In the data folder.
const FILE: &str = "identity";

/// The identity of a data folder, made when it is asked for the first time. A copy of the folder has another one.
pub(super) fn identify(data_dir: &Path) -> Result<Uuid, WorkerError> {
    let path = data_dir.join(FILE);
    read_or_make(&path, data_dir).map_err(|source| WorkerError::Home { path, source })
}

fn read_or_make(path: &Path, data_dir: &Path) -> io::Result<Uuid> {
    loop {
        match fs::read_to_string(path) {
            Ok(text) => match text.trim().parse() {
                Ok(written) => return Ok(of_file(written, fs::metadata(path)?.ino())),
                // Whatever it said, nobody can be told by it any more.
                Err(_) => drop(made(data_dir)?.persist(path)?),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Whoever else makes it at the same moment makes it as a whole, and the first one counts.
                match made(data_dir)?.persist_noclobber(path) {
                    Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed.error);
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// What is written tells it from the folders of other machines, the number of the file from its own copies.
fn of_file(written: Uuid, inode: u64) -> Uuid {
    let digest = Sha256::new().chain_update(written).chain_update(inode.to_be_bytes()).finalize();
    Uuid::from_slice(&digest[..16]).unwrap_or(written)
}

fn made(folder: &Path) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(folder)?;
    writeln!(file, "{}", Uuid::now_v7())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_folder_has_one_and_no_other_has_it() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [one, other] = folders.each_ref().map(|folder| {
            let found = thread::scope(|threads| {
                let ask = || threads.spawn(|| identify(folder.path()).unwrap());
                [(); 4].map(|()| ask()).map(|asked| asked.join().unwrap())
            });
            assert!(found.iter().all(|identity| *identity == found[0]), "{found:?}");
            assert_eq!(folder.path().read_dir().unwrap().count(), 1);
            found[0]
        });
        assert_ne!(one, other);
    }

    #[test]
    fn a_copy_has_another_one() {
        let [folder, copy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let identity = identify(folder.path()).unwrap();
        fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
        assert_ne!(identify(copy.path()).unwrap(), identity);
        assert_eq!(identify(folder.path()).unwrap(), identity);
    }

    #[test]
    fn what_can_not_be_read_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = identify(folder.path()).unwrap();
        fs::write(folder.path().join(FILE), "").unwrap();
        let second = identify(folder.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(identify(folder.path()).unwrap(), second);
    }
}
