//! What a component costs: compiling it, loading it compiled, and one call of a trivial export (a new store,
//! an instance, the call, and dropping both). `cargo bench --profile release --bench plugin_call`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and has nobody to report to"
)]

#[path = "../../tests/it/support/guests.rs"]
mod guests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use attune::pack::Grants;
use attune::plugin::{Limits, Machine, PluginSettings, Plugins, RuntimeScope, Surroundings};

const LOADS: usize = 20;
const CALLS: usize = 5_000;

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
}
