//! What was asked of this machine, so that another can be described that answers the same.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::child::{Completion, Invocation};
use super::super::roots::parts;
use super::{Kind, Machine, Reply, Scripted, Thing};
use crate::installation::{Failure, FailureClass};

/// Links that are followed on one path, as the kernel has it.
const LINKS_MAX: usize = 40;

/// Everything that was looked at and run.
#[derive(Debug, Default)]
pub struct Recording(Mutex<BTreeMap<PathBuf, Thing>>);

impl Recording {
    /// What was seen, folders left out that something else lies in.
    #[must_use]
    pub fn things(&self) -> BTreeMap<PathBuf, Thing> {
        let seen = self.seen();
        let is_above = |folder: &Path| seen.keys().any(|path| path.parent() == Some(folder));
        let needed = seen.iter().filter(|(path, thing)| !(**thing == Thing::Folder && is_above(path)));
        needed.map(|(path, thing)| (path.clone(), thing.clone())).collect()
    }

    /// Notes every link on the way to the end of `path`, and what is there. Blocks.
    pub(super) fn look(&self, path: &Path) {
        if !path.is_absolute() {
            return;
        }
        let mut seen = self.seen();
        let mut reached = PathBuf::from("/");
        let mut left = parts(path);
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                reached.pop();
                continue;
            }
            reached.push(part);
            let Ok(status) = Machine::This.link_status(&reached) else { return };
            if status.kind == Kind::Link {
                let Ok(target) = reached.read_link() else { return };
                seen.insert(reached.clone(), Thing::Link(target.clone()));
                links += 1;
                if links > LINKS_MAX {
                    return;
                }
                if target.is_absolute() {
                    reached = "/".into();
                } else {
                    reached.pop();
                }
                left.extend(parts(&target));
                continue;
            }
            if left.is_empty() {
                let thing = match status.kind {
                    Kind::Folder => Thing::Folder,
                    Kind::File | Kind::Link | Kind::Special => {
                        Thing::File { contents: Vec::new(), executable: status.executable }
                    }
                };
                seen.entry(reached.clone()).or_insert(thing);
            }
        }
    }

    /// Notes what was read of a file: the most that ever was.
    pub(super) fn read(&self, path: &Path, outcome: &io::Result<Vec<u8>>) {
        let Ok(bytes) = outcome else { return };
        let mut seen = self.seen();
        let Some(thing) = seen.get_mut(path) else { return };
        match thing {
            Thing::File { executable: true, .. } if !bytes.starts_with(b"#!") && is_binary(bytes) => {
                *thing = Thing::Program { contents: None, answers: Vec::new() };
            }
            Thing::File { contents, .. } | Thing::Program { contents: Some(contents), .. } => {
                if contents.len() < bytes.len() {
                    contents.clone_from(bytes);
                }
            }
            Thing::Program { contents: None, .. } | Thing::Folder | Thing::Link(_) => {}
        }
    }

    /// Notes what a program answered.
    pub(super) fn ran(&self, program: &Path, invocation: &Invocation, outcome: &Result<Completion, Failure>) {
        let (delay, reply) = match outcome {
            Ok(done) => {
                let Completion { ending, stdout, stderr, .. } = done.clone();
                (Duration::ZERO, Reply::Ends { ending, stdout, stderr })
            }
            Err(failure) => {
                let hung = failure.class == FailureClass::Timeout;
                let delay = if hung { invocation.timeout + Duration::from_secs(1) } else { Duration::ZERO };
                (delay, Reply::Fails(failure.clone()))
            }
        };
        let answer = Scripted {
            arguments: invocation.arguments.clone(),
            variables: invocation.variables.clone(),
            delay,
            reply,
        };
        let mut seen = self.seen();
        let Some(thing) = seen.get_mut(program) else { return };
        match thing {
            Thing::Program { answers, .. } => {
                let known = |known: &&mut Scripted| {
                    known.arguments == answer.arguments && known.variables == answer.variables
                };
                match answers.iter_mut().find(known) {
                    Some(known) => *known = answer,
                    None => answers.push(answer),
                }
            }
            Thing::File { contents, .. } => {
                let contents = Some(std::mem::take(contents));
                *thing = Thing::Program { contents, answers: vec![answer] };
            }
            Thing::Folder | Thing::Link(_) => {}
        }
    }

    /// Nothing that holds the lock can leave the things half changed.
    fn seen(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Thing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is machine code rather than text.
fn is_binary(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") || std::str::from_utf8(bytes).is_err()
}
