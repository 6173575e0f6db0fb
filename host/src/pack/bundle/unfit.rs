//! What is found in a folder or an archive and can't be in a pack.

use super::BundleError;

/// Something that was left out of a bundle, which is no pack therefore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Relative to the pack, made printable.
    pub path: String,
    /// Set if it is but a line of the file that is wrong, counted from 1, and the file itself is in.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: &'static str,
}

/// What to do about an error of a single file; None if it is about all of them.
pub(super) fn help(error: &BundleError) -> Option<&'static str> {
    match error {
        BundleError::InvalidPath { .. } => Some("rename it"),
        BundleError::Link { .. } => {
            Some("put the file itself in its place, or leave it out by a line of `.attuneignore`")
        }
        BundleError::Special { .. } => Some("remove it, or leave it out by a line of `.attuneignore`"),
        BundleError::Duplicate { .. } => Some("put it into the archive once"),
        BundleError::CaseCollision { .. } | BundleError::FileAndFolder { .. } => {
            Some("rename one of the two")
        }
        BundleError::EntryTooLarge { .. } => Some("leave it out by a line of `.attuneignore`"),
        BundleError::Read { .. } => Some("make it readable, or leave it out by a line of `.attuneignore`"),
        BundleError::Write { .. }
        | BundleError::NotAnArchive { .. }
        | BundleError::Damaged { .. }
        | BundleError::TooManyEntries
        | BundleError::TooLarge
        | BundleError::Bomb { .. }
        | BundleError::DestinationDiffers { .. } => None,
    }
}
