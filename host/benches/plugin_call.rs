//! What a component costs: compiling it, loading it compiled, and one call of a trivial export (a new store,
//! an instance, the call, and dropping both). `cargo bench --profile release --bench plugin_call`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and has nobody to report to"
)]

#[path = "../../tests/it/support/guests.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod guests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use attune::pack::Grants;
use attune::plugin::{ComponentSource, Limits, Machine, PluginSettings, Plugins, RuntimeScope, Surroundings};

const LOADS: usize = 20;
const CALLS: usize = 5_000;
const AT_ONCE: usize = 64;
const IDLE: usize = 50;

fn plugins(folder: &Path) -> Plugins {
    Plugins::new(PluginSettings {
        cache_folder: folder.join("cache"),
        key_file: folder.join("key"),
        homes_folder: folder.join("homes"),
        limits: Limits::default(),
        surroundings: Surroundings {
            machine: Machine::This,
            home: folder.to_owned(),
            path: OsString::new(),
            variables: BTreeMap::new(),
        },
    })
}

fn show(what: &str, mut samples: Vec<Duration>) {
    samples.sort();
    let at = |share: usize| samples[(samples.len() - 1) * share / 100];
    println!("{what:<34} p50 {:>10.1?}  p95 {:>10.1?}  min {:>10.1?}", at(50), at(95), samples[0]);
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    for guest in ["detector", "obliging", "hostile"] {
        let source = guests::source(guest);
        let started = Instant::now();
        plugins(folder.path()).load(&source).await.expect("it compiles");
        show(&format!("{guest}: engine, compile, store"), vec![started.elapsed()]);
        let mut loads = Vec::new();
        let mut fresh = Vec::new();
        for _ in 0..LOADS {
            let plugins = plugins(folder.path());
            let started = Instant::now();
            plugins.load(&source).await.expect("it loads");
            fresh.push(started.elapsed());
            // Once more with the engine running, as in a worker: reading, checking, mapping and linking.
            plugins.forget(&source.sha256);
            let started = Instant::now();
            plugins.load(&source).await.expect("it loads");
            loads.push(started.elapsed());
        }
        show(&format!("{guest}: engine, load from cache"), fresh);
        show(&format!("{guest}: load from cache"), loads);
    }

    let plugins = plugins(folder.path());
    let plugin = plugins.load(&guests::source("detector")).await.expect("it loads");
    let scope = RuntimeScope {
        runtime: "tests.lang".parse().expect("a reference"),
        grants: Grants::default(),
        patterns: Vec::new(),
    };
    let runtime = plugins.runtime(&plugin, scope).expect("valid grants");
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let started = Instant::now();
        runtime.aliases(&[]).await.expect("it answers");
        calls.push(started.elapsed());
    }
    show("detector: call", calls);

    // As many at once as there is room for, from as many tasks.
    let started = Instant::now();
    let tasks = (0..AT_ONCE).map(|_| {
        let runtime = runtime.clone();
        tokio::spawn(async move {
            let mut samples = Vec::new();
            for _ in 0..CALLS / AT_ONCE {
                let started = Instant::now();
                runtime.aliases(&[]).await.expect("it answers");
                samples.push(started.elapsed());
            }
            samples
        })
    });
    let mut together = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        together.extend(task.await.expect("it ends"));
    }
    let each = started.elapsed() / u32::try_from(together.len()).unwrap_or(1);
    show(&format!("detector: call, {AT_ONCE} at once"), together);
    println!("{:<34} {each:>14.1?} from one to the next", "");

    // What a component costs that is loaded and not called.
    let before = resident();
    let mut idle = Vec::new();
    for number in 0..IDLE {
        let source = ComponentSource { name: format!("copy{number}"), ..guests::source("obliging") };
        idle.push(plugins.load(&source).await.expect("it loads"));
    }
    let each = resident().saturating_sub(before) / IDLE;
    println!("{:<34} {each} KiB resident, mean of {IDLE}", "obliging: loaded and idle");
}

/// Memory of this process that is in use, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
