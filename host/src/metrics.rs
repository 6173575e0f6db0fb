//! Figures about what a service does, as Prometheus collects them.
//!
//! Noting one costs next to nothing while nobody collects them: then there is no recorder.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::execution::Status;

const EXECUTIONS: &str = "attune_executions_total";
const STAGES: &str = "attune_stage_duration_seconds";
const RUNNING: &str = "attune_executions_running";
const SLOTS: &str = "attune_worker_slots";
const CLAIMS: &str = "attune_claim_duration_seconds";
const WAITS: &str = "attune_claim_wait_seconds";
const DEPTH: &str = "attune_queue_depth";
const AGE: &str = "attune_queue_oldest_seconds";
const RENEWALS: &str = "attune_lease_renewals_total";
const LOST: &str = "attune_executions_lost_total";
const CALLS: &str = "attune_plugin_call_duration_seconds";
const MEMORY: &str = "attune_plugin_call_memory_bytes";
const DENIALS: &str = "attune_plugin_denials_total";
const BUILDS: &str = "attune_environment_build_duration_seconds";

/// Upper bounds of the classes into which durations are put, in seconds: from a call of a component to a large build.
const CLASSES: [f64; 18] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
    300.0, 1800.0,
];

/// The same for memory, in bytes: from a page of WebAssembly's to the most that a component may have.
const SIZES: [f64; 8] = [
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// Starts to collect.
pub(crate) fn recorder() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &CLASSES)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &SIZES)?
        .build_recorder();
    let handle = recorder.handle();
    // If there is one already, it belongs to a service of this process that has ended; a process has one.
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("figures are collected already");
    }
    describe_counter!(EXECUTIONS, "Attempts that have ended on this worker, by action, status and reason");
    describe_histogram!(STAGES, Unit::Seconds, "Time that each stage of an attempt took");
    describe_gauge!(RUNNING, "Executions that run on this worker");
    describe_gauge!(SLOTS, "Executions that this worker runs at a time");
    describe_histogram!(CLAIMS, Unit::Seconds, "Time that the database took to lend executions");
    describe_histogram!(
        WAITS,
        Unit::Seconds,
        "Time between when an execution could have begun and its claim"
    );
    describe_gauge!(DEPTH, "Executions in the queue, by what they need");
    describe_gauge!(AGE, Unit::Seconds, "For how long the first of them could have begun already");
    describe_counter!(RENEWALS, "Renewals of this worker's leases, by outcome");
    describe_counter!(LOST, "Executions taken from workers that were lost, by what became of them");
    describe_histogram!(CALLS, Unit::Seconds, "Time that calls of components took, by outcome");
    describe_histogram!(MEMORY, Unit::Bytes, "The most memory that a component held in a call");
    describe_counter!(DENIALS, "What components asked for and were denied, by runtime");
    describe_histogram!(BUILDS, Unit::Seconds, "Time that builds of environments took, by outcome");
    // What is counted from the beginning can be seen to have grown.
    for is_ok in [true, false] {
        counter!(RENEWALS, "outcome" => outcome(is_ok)).increment(0);
    }
    for became in [Status::Queued, Status::Cancelled, Status::Abandoned] {
        counter!(LOST, "status" => became.name()).increment(0);
    }
    Ok(handle)
}

/// An attempt has ended.
pub(crate) fn ended(action: &str, status: &str, reason: Option<&str>, stages: &[(String, f64)]) {
    let labels = [
        ("action", action.to_owned()),
        ("status", status.to_owned()),
        ("reason", reason.unwrap_or("").to_owned()),
    ];
    counter!(EXECUTIONS, &labels).increment(1);
    for (stage, milliseconds) in stages {
        histogram!(STAGES, "stage" => stage.clone()).record(milliseconds / 1000.0);
    }
}

/// What this worker has to do, of how much it can.
pub(crate) fn load(running: usize, slots: usize) {
    gauge!(RUNNING).set(count(running));
    gauge!(SLOTS).set(count(slots));
}

/// A claim was answered.
pub(crate) fn claim(took: Duration) {
    histogram!(CLAIMS).record(took);
}

/// An execution was claimed.
pub(crate) fn claimed(waited: Duration) {
    histogram!(WAITS).record(waited);
}

/// How much waits in the queue for a runtime and a constraint, and for how long the first could have begun already.
pub(crate) fn queue(runtime: &str, constraint: &str, waiting: usize, oldest: Duration) {
    let labels = [("runtime", runtime.to_owned()), ("constraint", constraint.to_owned())];
    gauge!(DEPTH, &labels).set(count(waiting));
    gauge!(AGE, &labels).set(oldest.as_secs_f64());
}

/// The leases were renewed, or could not be.
pub(crate) fn renewal(is_ok: bool) {
    counter!(RENEWALS, "outcome" => outcome(is_ok)).increment(1);
}

/// An execution was taken from a worker that was lost.
pub(crate) fn lost(became: &'static str) {
    counter!(LOST, "status" => became).increment(1);
}

/// A component was called, and held so many bytes at most.
pub(crate) fn plugin_call(
    (pack, component): (&str, &str),
    function: &'static str,
    (took, memory): (Duration, usize),
    is_ok: bool,
) {
    let labels = [
        ("pack", pack.to_owned()),
        ("component", component.to_owned()),
        ("function", function.to_owned()),
        ("outcome", outcome(is_ok).to_owned()),
    ];
    histogram!(CALLS, &labels).record(took);
    // A component has no more than 4 GiB, of which a float tells every byte.
    let memory = u32::try_from(memory).map_or(f64::from(u32::MAX), f64::from);
    histogram!(MEMORY, &labels[..2]).record(memory);
}

/// A component was denied what it asked for.
pub(crate) fn denials(runtime: &str, pack: &str, component: &str, count: usize) {
    let labels =
        [("runtime", runtime.to_owned()), ("pack", pack.to_owned()), ("component", component.to_owned())];
    counter!(DENIALS, &labels).increment(count as u64);
}

/// An environment was built, or could not be.
pub(crate) fn environment_build(runtime: &str, took: Duration, is_ok: bool) {
    histogram!(BUILDS, "runtime" => runtime.to_owned(), "outcome" => outcome(is_ok)).record(took);
}

fn outcome(is_ok: bool) -> &'static str {
    if is_ok { "ok" } else { "failed" }
}

/// Exact as far as anybody counts.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
