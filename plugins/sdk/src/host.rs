//! The machine that a component really has: what the host lets it import.

use std::cell::RefCell;

use crate::files::Status;
use crate::machine::{Found, Machine, Program};
use crate::tools::{self, Completion, Executable, Invocation};
use crate::types::Failure;
use crate::{files, patterns};

/// The host, with the handles that it gave out in this call.
#[derive(Debug, Default)]
pub struct Host {
    executables: RefCell<Vec<Executable>>,
}

impl Host {
    fn keep(&self, executable: Executable) -> Program {
        let mut executables = self.executables.borrow_mut();
        let program = Program {
            handle: executables.len(),
            path: executable.path(),
            names: executable.names(),
            source: executable.source(),
            format: executable.format(),
        };
        executables.push(executable);
        program
    }
}

impl Machine for Host {
    fn find(&self, patterns: &[String]) -> Vec<Found> {
        tools::find(patterns)
            .into_iter()
            .map(|found| Found {
                path: found.path,
                outcome: found.outcome.map(|executable| self.keep(executable)),
            })
            .collect()
    }

    fn open(&self, path: &str) -> Result<Program, Failure> {
        tools::open(path).map(|executable| self.keep(executable))
    }

    fn run_all(&self, programs: &[&Program], invocation: &Invocation) -> Vec<Result<Completion, Failure>> {
        let executables = self.executables.borrow();
        let handles: Vec<&Executable> =
            programs.iter().filter_map(|program| executables.get(program.handle)).collect();
        tools::run_all(&handles, invocation)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        Ok(files::list(path)?.into_iter().map(|entry| entry.name).collect())
    }

    fn stat(&self, path: &str) -> Result<Status, Failure> {
        files::stat(path)
    }

    fn read(&self, path: &str, limit: u32) -> Result<Vec<u8>, Failure> {
        files::read(path, limit)
    }

    fn read_link(&self, path: &str) -> Result<String, Failure> {
        files::read_link(path)
    }

    fn canonicalize(&self, path: &str) -> Result<String, Failure> {
        files::canonicalize(path)
    }

    fn captures(&self, pattern: &str, text: &str) -> Result<Option<Vec<Option<String>>>, Failure> {
        patterns::captures(pattern, text)
    }
}
