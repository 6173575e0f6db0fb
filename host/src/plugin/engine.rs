//! The WebAssembly engine, what it provides to components, and the clock that interrupts them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline,
};

use super::bindings::Runtime;
use super::call::Call;
use super::limits::TABLE_ELEMENTS_MAX;

/// How often running components are interrupted to see whether their time is up.
const TICK: Duration = Duration::from_millis(10);

/// Native stack for one call; the component's own limit is a part of it.
const STACK: usize = 2 << 20;
const WASM_STACK: usize = 512 << 10;

/// Calls at a time; more of them wait.
const CALLS_AT_ONCE: usize = 64;

/// What the pool has for each call, on average: a component of an interpreted language consists of dozens of instances
/// with a few memories and tables.
const MEMORIES_PER_CALL: u32 = 4;
const TABLES_PER_CALL: u32 = 16;
const INSTANCES_PER_CALL: u32 = 256;

/// Bytes that a part of the pool keeps after a call, cleared, for the next one.
const KEEP_MEMORY: usize = 256 << 10;
const KEEP_OTHER: usize = 64 << 10;

/// A component's own code ran beyond the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub(crate) struct DeadlinePassed;

/// The engine with everything that components may import.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Call>,
    ticker: Ticker,
    slots: Semaphore,
}

/// An engine that takes instances from a pool: nothing has to be mapped for a call. The pool reserves addresses, not
/// memory; where even those are limited, each instance is mapped by itself.
fn engine(config: &mut Config) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    let calls = u32::try_from(CALLS_AT_ONCE)?;
    pool.total_component_instances(calls)
        .total_stacks(calls)
        .total_memories(calls * MEMORIES_PER_CALL)
        .total_tables(calls * TABLES_PER_CALL)
        .total_core_instances(calls * INSTANCES_PER_CALL)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(KEEP_MEMORY)
        .table_keep_resident(KEEP_OTHER)
        .async_stack_keep_resident(KEEP_OTHER)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(pool);
    Engine::new(config).or_else(|error| {
        tracing::debug!("no pool for instances of components: {error:#}");
        // Nor 4 GiB of them for each memory, which would spare the code its bounds checks.
        config.memory_reservation(0).memory_reservation_for_growth(1 << 20).memory_guard_size(0);
        Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand))
    })
}

impl Sandbox {
    pub(crate) fn start() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        // Nothing here is asynchronous within a component, and without it a store is cheaper.
        config.concurrency_support(false);
        config.max_wasm_stack(WASM_STACK);
        config.async_stack_size(STACK);
        let engine = engine(&mut config)?;
        let mut linker = Linker::new(&engine);
        // All of it links, since components of interpreted languages import much of it; nothing is granted by it.
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Runtime::add_to_linker::<_, HasSelf<_>>(&mut linker, |call: &mut Call| call)?;
        let ticker = Ticker::new(engine.clone());
        Ok(Self { engine, linker, ticker, slots: Semaphore::new(CALLS_AT_ONCE) })
    }

    /// Waits until there is room for one more call, for as long as the returned value lives.
    pub(crate) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.slots.acquire().await.ok()
    }

    /// A store whose component is interrupted at `deadline`, for as long as the returned value lives.
    pub(crate) fn store(&self, call: Call, deadline: Instant) -> std::io::Result<(Store<Call>, Ticking<'_>)> {
        let mut store = Store::new(&self.engine, call);
        let memory = store.data().scope.limits.memory;
        store.limiter(|call| &mut call.usage);
        // What a component hands to the host is copied: no more of that than of its own memory.
        store.set_hostcall_fuel(memory);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if Instant::now() >= deadline { Err(DeadlinePassed.into()) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        Ok((store, self.ticker.tick()?))
    }
}

/// Advances the engine's epoch while there are calls; asleep otherwise.
struct Ticker {
    shared: Arc<Shared>,
    engine: Engine,
    thread: OnceLock<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<TickerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TickerState {
    calls: usize,
    /// Whether the thread waits until it is told of a call, rather than for the next tick.
    asleep: bool,
    stopped: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, TickerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a call it stays awake for the rest of the tick, so that one call after another wakes nobody.
    fn run(&self, engine: &Engine) {
        let mut state = self.state();
        while !state.stopped {
            if state.calls == 0 {
                state.asleep = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                state.asleep = false;
                let waited = self.changed.wait_timeout(state, TICK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                engine.increment_epoch();
            }
        }
    }
}

impl Ticker {
    fn new(engine: Engine) -> Self {
        Self { shared: Arc::default(), engine, thread: OnceLock::new() }
    }

    fn tick(&self) -> std::io::Result<Ticking<'_>> {
        if self.thread.get().is_none() {
            let (shared, engine) = (Arc::clone(&self.shared), self.engine.clone());
            let thread = std::thread::Builder::new()
                .name("plugin-ticker".to_owned())
                .spawn(move || shared.run(&engine))?;
            // Of two threads started at once, the one that came second has nothing to do but tick as well.
            if let Err(second) = self.thread.set(thread) {
                drop(second);
            }
        }
        let wakes = {
            let mut state = self.shared.state();
            state.calls += 1;
            std::mem::take(&mut state.asleep)
        };
        if wakes {
            self.shared.changed.notify_all();
        }
        Ok(Ticking(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It can't have panicked, and if it has there is nobody to tell.
            let _ = thread.join();
        }
    }
}

/// While it lives, epochs advance.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.state().calls -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_sleeps_between_calls_and_stops() {
        let engine = Engine::new(&Config::new()).expect("an engine");
        let ticker = Ticker::new(engine);
        assert!(ticker.thread.get().is_none(), "no thread before the first call");
        let (one, two) = (ticker.tick().expect("a thread"), ticker.tick().expect("a thread"));
        assert_eq!(ticker.shared.state().calls, 2);
        drop((one, two));
        assert_eq!(ticker.shared.state().calls, 0);
        // Joins its thread, so that this test ends shows that it stops.
        drop(ticker);
    }
}
