//! `attune plugin`: writing, testing and inspecting components.

mod library;
mod record;
mod test;
mod test_runner;

use clap::Subcommand;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Have a pack's components answer on the machines of its scenarios, and compare
    Test(test::Test),
    /// Run a component's own tests: a runner for `cargo test --target wasm32-wasip2` and `cargo component test`
    TestRunner(test_runner::TestRunner),
    /// Write a scenario down from this machine: what a component asks, what it is told, what it answers
    Record(record::Record),
}

impl Plugin {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        match self {
            Self::Test(command) => command.execute(options, output).await,
            Self::TestRunner(command) => command.execute(options, output).await,
            Self::Record(command) => command.execute(options, output).await,
        }
    }
}
