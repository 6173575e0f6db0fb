//! Bounds on one call: memory, tables and instances, enforced while the component runs.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::error::Function;

/// Commands that there must be time for while one installation is verified, each with a timeout of its own.
const COMMANDS_OF_VERIFICATION: u32 = 4;

/// Elements of a table, at most. The engine's pool is made for it.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Bounds on what a component may use. Each holds for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all of a component's memories together.
    pub memory: usize,
    /// Elements of any one table; more than 100,000 are never allowed.
    pub table_elements: usize,
    /// Core instances; components of interpreted languages consist of a dozen or more.
    pub instances: usize,
    /// For a component's own code, for what it asks the host and for programs it has run. `verify` has
    /// more if programs may take long.
    pub deadline: Duration,
    /// The same for `detect`, which may have to run many programs.
    pub detection_deadline: Duration,
    /// For one program, unless the component asks for less.
    pub command_timeout: Duration,
    /// Bytes kept of each of a program's two streams.
    pub command_output: usize,
    /// How long a component that failed [`Limits::failures`] times in a row for a runtime is not called for it.
    pub cool_down: Duration,
    /// Failures in a row, for one runtime, after which a component is left alone.
    pub failures: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            table_elements: TABLE_ELEMENTS_MAX,
            instances: 256,
            deadline: Duration::from_secs(30),
            detection_deadline: Duration::from_mins(1),
            command_timeout: Duration::from_secs(10),
            command_output: 1 << 20,
            cool_down: Duration::from_mins(1),
            failures: 3,
        }
    }
}

impl Limits {
    /// How long a call of this function may take.
    pub(crate) fn deadline_of(&self, function: Function) -> Duration {
        match function {
            Function::Detect => self.detection_deadline,
            Function::Verify => {
                self.deadline.max(self.command_timeout.saturating_mul(COMMANDS_OF_VERIFICATION))
            }
            _ => self.deadline,
        }
    }
}

/// A component asked for more memory than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asked for {wanted} bytes of memory where {limit} are allowed")]
pub(crate) struct MemoryExceeded {
    pub(crate) wanted: usize,
    pub(crate) limit: usize,
}

/// A component asked for a larger table than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asked for a table of {wanted} elements where {limit} are allowed")]
pub(crate) struct TableExceeded {
    pub(crate) wanted: usize,
    pub(crate) limit: usize,
}

/// Counts what one call uses.
#[derive(Debug)]
pub(crate) struct Usage {
    memory_limit: usize,
    table_limit: usize,
    instance_limit: usize,
    memory: usize,
    peak: usize,
}

impl Usage {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory,
            table_limit: limits.table_elements,
            instance_limit: limits.instances,
            memory: 0,
            peak: 0,
        }
    }

    /// The most bytes of memory held at any time.
    pub(crate) fn peak(&self) -> usize {
        self.peak
    }
}

impl ResourceLimiter for Usage {
    /// An error rather than `false`: a guest whose allocator sees a failed growth panics, and a memory
    /// bomb would look like any other panic.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_add(desired.saturating_sub(current));
        if wanted > self.memory_limit {
            return Err(MemoryExceeded { wanted, limit: self.memory_limit }.into());
        }
        self.memory = wanted;
        self.peak = self.peak.max(wanted);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.table_limit {
            return Err(TableExceeded { wanted: desired, limit: self.table_limit }.into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instance_limit
    }

    fn tables(&self) -> usize {
        self.instance_limit
    }

    fn memories(&self) -> usize {
        self.instance_limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_has_time_for_its_commands() {
        let seconds = Duration::from_secs;
        for (command_timeout, verify) in [(1, 30), (10, 40), (60, 240)] {
            let limits = Limits { command_timeout: seconds(command_timeout), ..Limits::default() };
            assert_eq!(limits.deadline_of(Function::Verify), seconds(verify));
            assert_eq!(limits.deadline_of(Function::Detect), seconds(60));
            assert_eq!(limits.deadline_of(Function::Check), seconds(30));
        }
    }

    #[test]
    fn memories_count_together() {
        let mut usage = Usage::new(&Limits { memory: 100, ..Limits::default() });
        assert!(usage.memory_growing(0, 60, None).is_ok());
        assert!(usage.memory_growing(0, 40, None).is_ok());
        let error = usage.memory_growing(60, 61, None).expect_err("one byte too many");
        assert_eq!(error.downcast_ref(), Some(&MemoryExceeded { wanted: 101, limit: 100 }));
        assert_eq!(usage.peak(), 100);
    }

    #[test]
    fn tables_are_bounded() {
        let mut usage = Usage::new(&Limits { table_elements: 10, ..Limits::default() });
        assert!(usage.table_growing(0, 10, None).is_ok());
        let error = usage.table_growing(10, 11, None).expect_err("one element too many");
        assert_eq!(error.downcast_ref(), Some(&TableExceeded { wanted: 11, limit: 10 }));
    }
}
