//! A worker service in a process of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::cli::{Machine, wait_for};

/// A worker service, ended with the test.
pub(super) struct Service {
    pub(super) child: Child,
    /// What it says on standard error.
    pub(super) errors: PathBuf,
}

impl Service {
    /// Starts one and waits until it takes executions.
    pub(super) fn start(machine: &Machine) -> Self {
        Self::start_with(machine, &[])
    }

    pub(super) fn start_with(machine: &Machine, arguments: &[&str]) -> Self {
        let said = machine.at("worker.log");
        let mut command = machine.command(&[&["worker", "--json"], arguments].concat());
        let output = File::create(&said).expect("a file");
        let errors = machine.at("worker.err");
        let talk = File::options().create(true).append(true).open(&errors).expect("a file");
        let child = command.stdout(output).stderr(talk).spawn().expect("it starts");
        let service = Self { child, errors };
        wait_for("the worker", || fs::read_to_string(&said).ok()?.contains("\"ready\"").then_some(()));
        service
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("it is there");
    }

    /// Stops it where it is, but not while it writes: to a database in a file, nobody else could write then.
    pub(super) fn pause(&self) {
        let writes = || {
            let locks = fs::read_to_string("/proc/locks").expect("the locks");
            let of_it = |line: &str| line.contains(&format!(" WRITE {} ", self.child.id()));
            // Its lock on the data folder is one as well, of another kind.
            locks.lines().any(|line| line.contains("POSIX") && of_it(line))
        };
        self.signal(Signal::STOP);
        while writes() {
            self.signal(Signal::CONT);
            std::thread::sleep(Duration::from_millis(10));
            self.signal(Signal::STOP);
        }
    }

    /// Tells it to stop, and waits until it has.
    pub(super) fn stop(mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub(super) fn wait(&mut self) -> i32 {
        let ended = wait_for("the worker's end", || self.child.try_wait().expect("it is there"));
        if !ended.success() {
            self.tell();
        }
        ended.code().unwrap_or(-1)
    }

    #[expect(clippy::print_stderr, reason = "it is shown if the test fails")]
    fn tell(&self) {
        eprintln!("{}", fs::read_to_string(&self.errors).unwrap_or_default());
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A stopped one does not end before it goes on; one that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.tell();
        }
    }
}
