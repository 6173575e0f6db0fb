//! A machine that exists as a description alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::super::child::{Completion, Ending, Invocation};
use super::super::program::MACHINES;
use super::super::roots::parts;
use super::{Kind, Status, expect_file};
use crate::installation::{Failure, FailureClass, Identity};

/// Links that are followed on one path, as the kernel has it.
const LINKS_MAX: usize = 40;

/// What every machine has, since scripts name them: `#!/bin/sh`, `#!/usr/bin/env …`.
const EVERYWHERE: [&str; 2] = ["/bin/sh", "/usr/bin/env"];

/// Matches any one argument; at the end of a list, `**` matches any number.
pub const ANY: &str = "*";
const ANY_NUMBER: &str = "**";

/// What is at a path of a described machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A folder; those above anything described need not be described.
    Folder,
    /// A link, with its target as written in it.
    Link(PathBuf),
    /// A file that is not run.
    File {
        /// What is in it.
        contents: Vec<u8>,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A program that may be run.
    Program {
        /// The text of a script; machine code for this processor if there is none.
        contents: Option<Vec<u8>>,
        /// What it answers; the first that fits counts.
        answers: Vec<Scripted>,
    },
}

/// What a program does when it is run in a certain way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripted {
    /// The arguments that it fits: `*` stands for any one, `**` at the end for any number of them.
    pub arguments: Vec<String>,
    /// Variables that have to be set like this for it to fit.
    pub variables: Vec<(String, String)>,
    /// How long it takes. That time is not spent: it only decides whether it is longer than the program may take.
    pub delay: Duration,
    /// What it does then.
    pub reply: Reply,
}

/// What comes of running a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It ends.
    Ends {
        /// How.
        ending: Ending,
        /// What it prints.
        stdout: Vec<u8>,
        /// What it complains about.
        stderr: Vec<u8>,
    },
    /// It can't be started.
    Fails(Failure),
}

impl Scripted {
    fn fits(&self, invocation: &Invocation) -> bool {
        let variables = self.variables.iter().all(|variable| invocation.variables.contains(variable));
        variables && fits(&self.arguments, &invocation.arguments)
    }
}

/// Whether the arguments of a run are those of a pattern.
fn fits(pattern: &[String], arguments: &[String]) -> bool {
    match (pattern, arguments) {
        ([last], _) if last == ANY_NUMBER => true,
        ([first, pattern @ ..], [argument, arguments @ ..]) => {
            (first == ANY || first == argument) && fits(pattern, arguments)
        }
        ([], []) => true,
        (_, _) => false,
    }
}

/// Files, folders, links and programs, and what the programs answer.
#[derive(Debug, Default)]
pub struct Described {
    things: BTreeMap<PathBuf, Thing>,
    unanswered: Mutex<Vec<String>>,
}

impl Described {
    /// A machine with these things, and the folders that they lie in.
    #[must_use]
    pub fn new(things: impl IntoIterator<Item = (PathBuf, Thing)>) -> Self {
        let mut things: BTreeMap<_, _> = things.into_iter().collect();
        for path in EVERYWHERE {
            things.entry(path.into()).or_insert(Thing::Program { contents: None, answers: Vec::new() });
        }
        let folders: Vec<_> =
            things.keys().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
        for folder in folders {
            things.entry(folder).or_insert(Thing::Folder);
        }
        Self { things, unanswered: Mutex::default() }
    }

    /// What was run in a way that the description has no answer for, since the last time that this was asked.
    pub fn take_unanswered(&self) -> Vec<String> {
        std::mem::take(&mut self.unanswered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The thing at the end of a path, and where it is; whether the last part is followed if it is a link is up to
    /// `follow`.
    fn locate(&self, path: &Path, follow: bool) -> io::Result<(PathBuf, &Thing)> {
        if !path.is_absolute() {
            return Err(Errno::NOENT.into());
        }
        let mut reached = PathBuf::from("/");
        let mut thing = &Thing::Folder;
        let mut left = parts(path);
        let mut links = 0;
        while let Some(part) = left.pop() {
            if !matches!(thing, Thing::Folder) {
                return Err(Errno::NOTDIR.into());
            }
            if part == ".." {
                reached.pop();
                continue;
            }
            reached.push(part);
            thing = self.things.get(&reached).ok_or(Errno::NOENT)?;
            let Thing::Link(target) = thing else { continue };
            if left.is_empty() && !follow {
                break;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP.into());
            }
            if target.is_absolute() {
                reached = "/".into();
            } else {
                reached.pop();
            }
            left.extend(parts(target));
            thing = &Thing::Folder;
        }
        Ok((reached, thing))
    }

    pub(super) fn status(&self, path: &Path, follow: bool) -> io::Result<Status> {
        let (path, thing) = self.locate(path, follow)?;
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let (kind, size, executable) = match thing {
            Thing::Folder => (Kind::Folder, 4096, true),
            Thing::Link(target) => (Kind::Link, target.as_os_str().len(), true),
            Thing::File { contents, executable } => (Kind::File, contents.len(), *executable),
            Thing::Program { contents, .. } => {
                (Kind::File, contents.as_ref().map_or(MACHINE_CODE.len(), Vec::len), true)
            }
        };
        // It never changes, and no other has the same.
        let identity = Identity { dev: 1, inode: hasher.finish(), size: size as u64, mtime: 0, ctime: 0 };
        Ok(Status { kind, identity, executable })
    }

    pub(super) fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.locate(path, true).map(|(path, _)| path)
    }

    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        match self.locate(path, false)?.1 {
            Thing::Link(target) => Ok(target.clone()),
            Thing::Folder | Thing::File { .. } | Thing::Program { .. } => Err(Errno::INVAL.into()),
        }
    }

    pub(super) fn entries(&self, folder: &Path) -> io::Result<Vec<(OsString, Kind)>> {
        let (folder, Thing::Folder) = self.locate(folder, true)? else { return Err(Errno::NOTDIR.into()) };
        let below = self.things.iter().filter(|(path, _)| path.parent() == Some(&folder));
        Ok(below
            .filter_map(|(path, thing)| {
                let kind = match thing {
                    Thing::Folder => Kind::Folder,
                    Thing::Link(_) => Kind::Link,
                    Thing::File { .. } | Thing::Program { .. } => Kind::File,
                };
                Some((path.file_name()?.to_owned(), kind))
            })
            .collect())
    }

    pub(super) fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let contents = match self.locate(path, false)?.1 {
            Thing::File { contents, .. } | Thing::Program { contents: Some(contents), .. } => contents,
            Thing::Program { contents: None, .. } => MACHINE_CODE,
            Thing::Folder => return expect_file(Kind::Folder).map(|()| Vec::new()),
            Thing::Link(_) => return expect_file(Kind::Link).map(|()| Vec::new()),
        };
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(contents.len());
        Ok(contents[..length].to_vec())
    }

    pub(super) fn run(
        &self,
        program: &Path,
        invocation: &Invocation,
        output: usize,
    ) -> Result<Completion, Failure> {
        let known = match self.locate(program, true) {
            Ok((_, Thing::Program { answers, .. })) => answers.as_slice(),
            Ok(_) | Err(_) => &[],
        };
        let Some(answer) = known.iter().find(|answer| answer.fits(invocation)) else {
            let what = shown(program, invocation);
            self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push(what.clone());
            return Err(Failure::new(
                FailureClass::Other("not-described".to_owned()),
                format!("the machine has no answer for {what}"),
            ));
        };
        if answer.delay > invocation.timeout {
            return Err(Failure::new(
                FailureClass::Timeout,
                format!("{} did not finish within {} ms", program.display(), invocation.timeout.as_millis()),
            ));
        }
        let cut = |bytes: &[u8]| bytes[..bytes.len().min(output)].to_vec();
        match &answer.reply {
            Reply::Fails(failure) => Err(failure.clone()),
            Reply::Ends { ending, stdout, stderr } => Ok(Completion {
                ending: *ending,
                stdout: cut(stdout),
                stderr: cut(stderr),
                truncated: stdout.len() > output || stderr.len() > output,
            }),
        }
    }
}

/// A run as one would write it in a description.
fn shown(program: &Path, invocation: &Invocation) -> String {
    let arguments = serde_json::to_string(&invocation.arguments).unwrap_or_default();
    format!("{} with the arguments {arguments}", program.display())
}

/// The head of a program for the processor that this one is compiled for.
const MACHINE_CODE: &[u8] = &{
    let mut head = [0; 20];
    if cfg!(target_os = "macos") {
        (head[0], head[1], head[2], head[3]) = (0xcf, 0xfa, 0xed, 0xfe);
    } else {
        (head[0], head[1], head[2], head[3]) = (0x7f, b'E', b'L', b'F');
        let is_little = cfg!(target_endian = "little");
        head[5] = if is_little { 1 } else { 2 };
        let machine = if let [first, ..] = MACHINES { *first } else { 0 };
        (head[16], head[17]) = if is_little { (2, 0) } else { (0, 2) };
        let machine = if is_little { machine.to_le_bytes() } else { machine.to_be_bytes() };
        (head[18], head[19]) = (machine[0], machine[1]);
    }
    head
};

#[cfg(test)]
mod tests;
