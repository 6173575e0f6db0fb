//! The machine that components ask about: the one this program runs on, or one that is only described.
//!
//! Everything that the host looks up or starts on a component's behalf goes through here, so that grants are checked by
//! the same code whatever machine it is. Paths are what they are on that machine.

mod described;
mod recording;

use std::ffi::OsString;
use std::fs::{FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, OFlags};

use super::child::{self, Completion, Invocation};
use crate::installation::{Failure, Identity};

pub use described::{ANY, Described, Reply, Scripted, Thing};
pub use recording::Recording;

/// Where components look and what they run.
#[derive(Clone, Debug, Default)]
pub enum Machine {
    /// The one that this program runs on.
    #[default]
    This,
    /// One that somebody described: nothing of this machine is seen, and nothing is started.
    Described(Arc<Described>),
    /// This one; what is asked of it is written down.
    Recorded(Arc<Recording>),
}

/// What kind of thing is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
    Link,
    /// A pipe, a device, a socket.
    Special,
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        if kind.is_symlink() {
            Self::Link
        } else if kind.is_dir() {
            Self::Folder
        } else if kind.is_file() {
            Self::File
        } else {
            Self::Special
        }
    }
}

/// What is known of what is at a path, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) kind: Kind,
    pub(crate) identity: Identity,
    /// Whether anybody may execute it.
    pub(crate) executable: bool,
}

impl From<&Metadata> for Status {
    fn from(metadata: &Metadata) -> Self {
        Self {
            kind: metadata.file_type().into(),
            identity: Identity::from_metadata(metadata),
            executable: metadata.permissions().mode() & 0o111 != 0,
        }
    }
}

/// All but `run` block, as file systems do.
impl Machine {
    /// What a path leads to.
    pub(crate) fn status(&self, path: &Path) -> io::Result<Status> {
        match self {
            Self::This => path.metadata().map(|metadata| Status::from(&metadata)),
            Self::Described(machine) => machine.status(path, true),
            Self::Recorded(recording) => {
                recording.look(path);
                Self::This.status(path)
            }
        }
    }

    /// What is at a path, which may be a link.
    pub(crate) fn link_status(&self, path: &Path) -> io::Result<Status> {
        match self {
            Self::This => path.symlink_metadata().map(|metadata| Status::from(&metadata)),
            Self::Described(machine) => machine.status(path, false),
            Self::Recorded(recording) => {
                recording.look(path);
                Self::This.link_status(path)
            }
        }
    }

    /// Where a link points, as written in it.
    pub(crate) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Self::This => path.read_link(),
            Self::Described(machine) => machine.read_link(path),
            Self::Recorded(recording) => {
                recording.look(path);
                path.read_link()
            }
        }
    }

    /// The path without links, of something that exists.
    pub(crate) fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Self::This => path.canonicalize(),
            Self::Described(machine) => machine.canonicalize(path),
            Self::Recorded(recording) => {
                recording.look(path);
                path.canonicalize()
            }
        }
    }

    /// The entries of a folder whose names are `wanted`, at most one more than `limit`, in no order.
    pub(crate) fn entries(
        &self,
        folder: &Path,
        limit: usize,
        wanted: impl Fn(&OsString) -> bool,
    ) -> io::Result<Vec<(OsString, Kind)>> {
        match self {
            Self::This => {
                let mut entries = Vec::new();
                for entry in folder.read_dir()? {
                    let entry = entry?;
                    let name = entry.file_name();
                    if wanted(&name) {
                        entries.push((name, entry.file_type()?.into()));
                        if entries.len() > limit {
                            break;
                        }
                    }
                }
                Ok(entries)
            }
            Self::Described(machine) => {
                let mut entries = machine.entries(folder)?;
                entries.retain(|(name, _)| wanted(name));
                Ok(entries)
            }
            Self::Recorded(recording) => {
                recording.look(folder);
                let entries = Self::This.entries(folder, limit, wanted)?;
                for (name, _) in &entries {
                    recording.look(&folder.join(name));
                }
                Ok(entries)
            }
        }
    }

    /// The start of a regular file, by a path without links.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::This => {
                // Not through a link that was swapped in meanwhile, and not waiting for the other end of a pipe.
                let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let flags = flags.bits().cast_signed();
                let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
                let kind = Kind::from(file.metadata()?.file_type());
                expect_file(kind)?;
                let mut bytes = Vec::new();
                file.take(limit).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Self::Described(machine) => machine.read(path, limit),
            Self::Recorded(recording) => {
                recording.look(path);
                let read = Self::This.read(path, limit);
                recording.read(path, &read);
                read
            }
        }
    }

    /// Whether this process may execute the file at a path without links.
    pub(crate) fn may_execute(&self, path: &Path) -> bool {
        match self {
            Self::This | Self::Recorded(_) => rustix::fs::access(path, Access::EXEC_OK).is_ok(),
            // Who owns what is not described.
            Self::Described(_) => true,
        }
    }

    /// What tells the file at a path from another; none if there is nothing.
    pub(crate) fn identity(&self, path: &Path) -> Option<Identity> {
        self.status(path).ok().map(|status| status.identity)
    }

    /// Runs a program to its end, or to its timeout.
    pub(crate) async fn run(
        &self,
        program: &Path,
        invocation: &Invocation,
        surroundings: &child::Surroundings,
    ) -> Result<Completion, Failure> {
        match self {
            Self::This => child::run(program, invocation, surroundings).await,
            Self::Described(machine) => machine.run(program, invocation, surroundings.output),
            Self::Recorded(recording) => {
                let outcome = child::run(program, invocation, surroundings).await;
                recording.ran(program, invocation, &outcome);
                outcome
            }
        }
    }
}

/// Only regular files are read.
fn expect_file(kind: Kind) -> io::Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Folder => Err(io::ErrorKind::IsADirectory.into()),
        Kind::Link | Kind::Special => Err(io::ErrorKind::InvalidInput.into()),
    }
}
