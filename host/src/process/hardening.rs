//! Keeping other processes of the same user out of this one.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Makes this process undumpable, so that a child of the same user can read neither its memory nor its
/// environment. Children are not affected: starting a program resets it.
pub fn harden() -> std::io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
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
}
