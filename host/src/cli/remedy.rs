//! What to do about files that can't be used.

use std::error::Error;
use std::io;

use crate::store::{FileFault, Location, file_fault};

/// What to do if the data folder, or something in it, can't be used.
pub(super) const OTHER_FOLDER: &str = "use another folder: --data-dir DIR";

/// What to do about a database whose file can't be used; none if that is not what an error says.
pub(super) fn of_database(error: &(dyn Error + 'static), database: &Location) -> Option<String> {
    let Location::File(path) = database else { return None };
    let path = path.display();
    Some(match file_fault(error)? {
        FileFault::Denied => {
            format!("give this user the right to read and write `{path}` and its folder, or {OTHER_FOLDER}")
        }
        FileFault::Damaged => {
            format!("if `{path}` is damaged, put a copy in its place or move it away; or {OTHER_FOLDER}")
        }
    })
}

/// What to do about a folder of Attune's own that can't be used.
pub(super) fn of_folder(error: &(dyn Error + 'static)) -> String {
    let causes = anyhow::Chain::new(error);
    let mut kinds = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let is_denied =
        kinds.any(|kind| matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem));
    if is_denied {
        format!("give this user the right to read and write it, or {OTHER_FOLDER}")
    } else {
        OTHER_FOLDER.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_is_told_so() {
        let hint = |kind: io::ErrorKind| of_folder(&io::Error::from(kind));
        assert!(hint(io::ErrorKind::PermissionDenied).starts_with("give this user the right"));
        assert!(hint(io::ErrorKind::ReadOnlyFilesystem).starts_with("give this user the right"));
        assert_eq!(hint(io::ErrorKind::NotADirectory), OTHER_FOLDER);
    }
}
