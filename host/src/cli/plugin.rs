//! `attune plugin`: writing, testing, inspecting and calling components.

mod call;
mod diff;
mod inspect;
mod library;
pub(super) mod list;
mod new;
mod record;
mod subject;
mod test;
mod test_runner;

use std::time::Duration;

use clap::Subcommand;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::Output;
use super::runtime::open_worker;

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Write a new pack with a runtime and the source of its component
    New(new::New),
    /// Have a pack's components answer on the machines of its scenarios, and compare
    Test(test::Test),
    /// Run a component's own tests: a runner for `cargo test --target wasm32-wasip2` and `cargo component test`
    TestRunner(test_runner::TestRunner),
    /// Write a scenario down from this machine: what a component asks, what it is told, what it answers
    Record(record::Record),
    /// List the components of the installed packs
    List,
    /// Show what a component exports, imports and needs, and what it may do
    Inspect {
        /// A .wasm file, a pack's folder or archive, an installed component `pack.component`, or a runtime
        component: String,
    },
    /// Show in what two components differ
    Diff {
        /// The one, named as for `inspect`
        old: String,
        /// The other
        new: String,
    },
    /// Call one function of a runtime's component, and show its answer and everything that it did for it
    Call(call::Call),
}

impl Plugin {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        // Those that test need no database.
        match &self {
            Self::Test(command) => return command.execute(options, output).await,
            Self::TestRunner(command) => return command.execute(options, output).await,
            _ => {}
        }
        let worker = open_worker(options, output).await?;
        match &self {
            Self::New(new) => new.execute(&worker, output).await?,
            Self::Record(record) => record.execute(&worker, output).await?,
            Self::List => list::list(&worker, output).await?,
            Self::Inspect { component } => inspect::inspect(&worker, component, output).await?,
            Self::Diff { old, new } => diff::diff(&worker, (old, new), output).await?,
            Self::Call(call) => call.execute(&worker, output).await?,
            Self::Test(_) | Self::TestRunner(_) => {}
        }
        worker.close().await;
        Ok(Exit::Success)
    }
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
