//! Keeping this process and other processes of the same user apart.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Standard input, output and error: what a child is given in their place is decided for each.
const STANDARD: RawFd = 2;

/// Makes this process undumpable, so that a child of the same user can read neither its memory nor its
/// environment, and keeps what it has open to itself. Children are not affected: starting a program resets
/// the one, and drops the other.
pub fn harden() -> io::Result<()> {
    keep_descriptors()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Whatever this process was started with, such as a lock or a socket of its parent's: without this, every
/// child would have it too. What it opens itself is marked already when it is opened.
fn keep_descriptors() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if number <= STANDARD {
            continue;
        }
        #[allow(unsafe_code, reason = "what was inherited has no owner here that could lend it")]
        // SAFETY: nothing is done but reading and adding a flag, which the kernel refuses if another thread
        // has closed the descriptor in the meantime, and which everything opened here has already.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        match fcntl_getfd(descriptor).and_then(|flags| fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC)) {
            Ok(()) | Err(Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_process_undumpable() {
        harden().expect("a process may always harden itself");
        let behavior = rustix::process::dumpable_behavior().expect("it can be asked");
        assert_eq!(behavior, DumpableBehavior::NotDumpable);
        set_dumpable_behavior(DumpableBehavior::Dumpable).expect("undone for the other tests");
    }

    #[test]
    fn marks_what_is_not_marked() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        fcntl_setfd(&file, FdFlags::empty()).expect("unmarked");
        keep_descriptors().expect("they can be listed");
        assert!(fcntl_getfd(&file).expect("flags").contains(FdFlags::CLOEXEC));
    }
}
