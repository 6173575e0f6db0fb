//! Components that are programs: what a test harness is when it is compiled to WebAssembly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::Component;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::Command;

use super::call::Call;
use super::engine::DeadlinePassed;
use super::memo::Memo;
use super::{Cause, Plugins, RuntimeScope, Surroundings};
use crate::reference::PackRef;

/// How long all tests of a program may take.
const DEADLINE: Duration = Duration::from_mins(10);

/// A test program, and what it may do.
#[derive(Debug)]
pub struct TestProgram<'a> {
    /// The component.
    pub wasm: &'a [u8],
    /// The pack whose component it tests.
    pub pack: PackRef,
    /// The runtime, and what its YAML asks to be granted.
    pub scope: RuntimeScope,
    /// Where it runs.
    pub surroundings: Surroundings,
    /// Its own name first.
    pub arguments: &'a [String],
    /// What it sees of the environment.
    pub variables: &'a [(String, String)],
}

impl Plugins {
    /// Runs a test program with the host's standard output; its exit code.
    pub async fn run_tests(&self, program: TestProgram<'_>) -> Result<i32, Cause> {
        let TestProgram { wasm, pack, scope, surroundings, arguments, variables } = program;
        let sandbox = self.sandbox()?;
        let engine = |error: wasmtime::Error| Cause::Compile { reason: format!("{error:#}") };
        let component = Component::from_binary(&sandbox.engine, wasm).map_err(engine)?;
        let scope = Arc::new(self.scope((&pack, "tests", ""), scope, surroundings)?);
        let call = Call::new(scope, Arc::new(Memo::default()), None, DEADLINE);
        let call = call.with_arguments(arguments, variables);
        let (mut store, _ticking) = sandbox
            .store(call, Instant::now() + DEADLINE)
            .map_err(|error| Cause::Engine { reason: error.to_string() })?;
        let command = Command::instantiate_async(&mut store, &component, &sandbox.linker).await;
        let command = command.map_err(engine)?;
        let outcome = command.wasi_cli_run().call_run(&mut store).await;
        match outcome {
            Ok(Ok(())) => Ok(0),
            Ok(Err(())) => Ok(1),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => Ok(exit.0),
                None if error.is::<DeadlinePassed>() => Err(Cause::Engine {
                    reason: format!("the tests took longer than {} s", DEADLINE.as_secs()),
                }),
                None => Err(Cause::Trap { reason: error.root_cause().to_string(), message: None }),
            },
        }
    }
}
