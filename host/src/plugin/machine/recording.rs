//! What was asked of this machine, so that another can be described that answers the same.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::child::{Completion, Invocation};
use super::super::roots::parts;
use super::{Kind, Machine, Node, Reply, Scripted};
use crate::installation::{Failure, FailureClass};

/// Links that are followed on one path, as the kernel has it.
const LINKS_MAX: usize = 40;

/// Everything that was looked at and run.
#[derive(Debug, Default)]
pub struct Recording(Mutex<BTreeMap<PathBuf, Node>>);

impl Recording {
    /// What was seen, folders left out that something else lies in.
    #[must_use]
    pub fn things(&self) -> BTreeMap<PathBuf, Node> {
        let nodes = self.nodes();
        let is_above = |folder: &Path| nodes.keys().any(|path| path.parent() == Some(folder));
        let needed = nodes.iter().filter(|(path, node)| !(**node == Node::Folder && is_above(path)));
        needed.map(|(path, node)| (path.clone(), node.clone())).collect()
    }

    /// Notes every link on the way to the end of `path`, and what is there. Blocks.
    pub(super) fn look(&self, path: &Path) {
        if !path.is_absolute() {
            return;
        }
        let mut nodes = self.nodes();
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
                nodes.insert(reached.clone(), Node::Link(target.clone()));
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
                let node = match status.kind {
                    Kind::Folder => Node::Folder,
                    Kind::File | Kind::Link | Kind::Special => {
                        Node::File { contents: Vec::new(), executable: status.executable }
                    }
                };
                nodes.entry(reached.clone()).or_insert(node);
            }
        }
    }

    /// Notes what was read of a file: the most that ever was.
    pub(super) fn read(&self, path: &Path, outcome: &io::Result<Vec<u8>>) {
        let Ok(bytes) = outcome else { return };
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(path) else { return };
        match node {
            Node::File { executable: true, .. } if !bytes.starts_with(b"#!") && is_binary(bytes) => {
                *node = Node::Program { contents: None, answers: Vec::new() };
            }
            Node::File { contents, .. } | Node::Program { contents: Some(contents), .. } => {
                if contents.len() < bytes.len() {
                    contents.clone_from(bytes);
                }
            }
            Node::Program { contents: None, .. } | Node::Folder | Node::Link(_) => {}
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
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(program) else { return };
        match node {
            Node::Program { answers, .. } => {
                let known = |known: &&mut Scripted| {
                    known.arguments == answer.arguments && known.variables == answer.variables
                };
                match answers.iter_mut().find(known) {
                    Some(known) => *known = answer,
                    None => answers.push(answer),
                }
            }
            Node::File { contents, .. } => {
                let contents = Some(std::mem::take(contents));
                *node = Node::Program { contents, answers: vec![answer] };
            }
            Node::Folder | Node::Link(_) => {}
        }
    }

    /// Nothing that holds the lock can leave the things half changed.
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is machine code rather than text.
fn is_binary(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") || std::str::from_utf8(bytes).is_err()
}
