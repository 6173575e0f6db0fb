//! The first process of a container.
//!
//! A process whose parent has ended becomes a child of the first one, and stays in the table of processes until that has asked
//! how it ended. A program that waits for children of its own can't ask for just any: it would take their endings from where
//! they are waited for. So the first process is one that does nothing else, and the program is its only child of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

use super::harden;

/// Whether this process is the first one.
#[must_use]
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Runs this program with `arguments` as a child, hands requests to end on to it, and asks how each process ended that is
/// left to this one, until the child ends. Its exit code, or 128 and the number of the signal that ended it.
pub fn run(arguments: &[OsString]) -> io::Result<u8> {
    let program = std::env::current_exe()?;
    // What it was started with is as secret here as there.
    harden()?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        // Before the child, so that nothing comes too early.
        let mut ended = signal(SignalKind::child())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        // In a group of its own, so that what is typed at a terminal reaches it once.
        let child = std::process::Command::new(program).args(arguments).process_group(0).spawn()?;
        let child =
            i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        loop {
            let handed_on = tokio::select! {
                _ = ended.recv() => None,
                _ = interrupted.recv() => Some(Signal::INT),
                _ = terminated.recv() => Some(Signal::TERM),
                _ = hung_up.recv() => Some(Signal::HUP),
            };
            if let Some(signal) = handed_on {
                kill_process(child, signal)?;
            }
            if let Some(code) = reap(child)? {
                return Ok(code);
            }
        }
    })
}

/// Asks after all that have ended; the code of the child, if that is among them.
fn reap(child: Pid) -> io::Result<Option<u8>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => {
                let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
                return Ok(Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
