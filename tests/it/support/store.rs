//! Stores for tests, on each of the engines, and what to put into them.

use std::collections::BTreeMap;
use std::time::Duration;

use attune::execution::ExecutionId;
use attune::pack::{
    Action, DeclaredVersion, Distributions, ExecutionConfig, Output, Pack, Parameters, Program, Runtime,
    Sensor, VersionPolicy,
};
use attune::reference::RuntimeRef;
use attune::store::lease::Lessee;
use attune::store::pack::PackInstall;
use attune::store::queue::NewQueued;
use attune::store::requirement::{NewRequirement, Verdict};
use attune::store::worker::{Identity, WorkerId};
use attune::store::{Location, Store, now};
use serde_json::json;
use uuid::Uuid;

use super::cli::skip;
use super::postgres;

/// Runs a test on an empty database of each engine; without a PostgreSQL, on SQLite alone.
pub(crate) fn on_each_engine(test: &impl AsyncFn(&Store, &Location)) {
    let folder = tempfile::tempdir().expect("a folder");
    run("SQLite", &Location::File(folder.path().join("attune.db")), test);
    if !postgres::is_there() {
        return skip("there is no PostgreSQL here: install Debian's `postgresql`");
    }
    let database = postgres::Database::empty();
    run("PostgreSQL", &database.url.parse().expect("a location"), test);
}

#[allow(clippy::print_stdout, reason = "it is shown when the test fails")]
fn run(engine: &str, location: &Location, test: &impl AsyncFn(&Store, &Location)) {
    println!("on {engine}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(location).await.expect("a database");
        test(&store, location).await;
        store.close().await;
    });
}

/// A worker of this name.
pub(crate) async fn worker(store: &Store, name: &str) -> WorkerId {
    let identity = Identity { name, host: "here", home: Uuid::nil() };
    store.register_worker(&identity).await.expect("it is registered").0
}

pub(crate) fn version(text: &str) -> DeclaredVersion {
    DeclaredVersion {
        version: text.to_owned(),
        is_default: false,
        execution_config: ExecutionConfig::default(),
        distributions: Distributions::default(),
        meta: BTreeMap::new(),
    }
}

pub(crate) fn default_version(text: &str) -> DeclaredVersion {
    DeclaredVersion { is_default: true, ..version(text) }
}

pub(crate) fn runtime(reference: &str, versions: &[&str]) -> Runtime {
    Runtime {
        reference: reference.parse().expect("a reference"),
        label: "A language".to_owned(),
        description: None,
        aliases: Vec::new(),
        distributions: Distributions::default(),
        execution_config: ExecutionConfig::default(),
        versions: versions.iter().map(|text| version(text)).collect(),
        plugin: None,
    }
}

fn program(runtime: &str, constraint: &str) -> Program {
    Program {
        runtime: runtime.to_owned(),
        constraint: (!constraint.is_empty()).then(|| constraint.to_owned().try_into().expect("a constraint")),
        variant: None,
        version_policy: VersionPolicy::Strict,
        entry_point: "act".to_owned(),
        env_vars: Vec::new(),
        secrets: Vec::new(),
    }
}

/// `constraint` is empty for none.
pub(crate) fn action(reference: &str, runtime: &str, constraint: &str) -> Action {
    Action {
        reference: reference.parse().expect("a reference"),
        label: "An action".to_owned(),
        description: None,
        program: program(runtime, constraint),
        parameters: Parameters::default(),
        output: Output::default(),
        timeout: None,
        retries: 0,
        concurrency: None,
        idempotent: false,
        enabled: true,
    }
}

/// `constraint` is empty for none.
pub(crate) fn sensor(reference: &str, runtime: &str, constraint: &str) -> Sensor {
    Sensor {
        reference: reference.parse().expect("a reference"),
        label: "A sensor".to_owned(),
        description: None,
        program: program(runtime, constraint),
        event_schema: None,
        enabled: true,
    }
}

/// A pack with nothing in it.
pub(crate) fn pack(reference: &str) -> Pack {
    Pack {
        reference: reference.parse().expect("a reference"),
        label: "A pack".to_owned(),
        description: None,
        version: semver::Version::new(1, 0, 0),
        author: None,
        config_schema: None,
        tags: Vec::new(),
        concurrency: None,
        runtimes: Vec::new(),
        actions: Vec::new(),
        sensors: Vec::new(),
        components: BTreeMap::new(),
        locked: false,
        digest: "0".repeat(64),
    }
}

pub(crate) async fn install(store: &Store, pack: &Pack) {
    let install =
        PackInstall { pack, source: "a test", verified_by: None, plugins: &[], runtimes: &BTreeMap::new() };
    store.install_pack(&install).await.expect("installed");
}

/// Puts an execution into the queue as it is needed now; `given` is a constraint instead of the action's own.
pub(crate) async fn enqueue(
    store: &Store,
    act: &Action,
    lang: &RuntimeRef,
    given: Option<&str>,
) -> ExecutionId {
    let own = act.program.constraint.as_ref().map(ToString::to_string).unwrap_or_default();
    let id = ExecutionId::new();
    let new = NewQueued {
        id,
        action: &act.reference,
        pack_digest: "",
        requirement: NewRequirement::of(act, lang, given.unwrap_or(&own)),
        parameters: &json!({}),
        constraint: given,
        timeout: None,
        priority: 0,
        created_at: now(),
        run_at: now(),
        deadline: None,
        retries: 0,
        idempotent: false,
        idempotency_key: None,
        request_digest: "",
        trace: None,
    };
    store.enqueue(&new).await.expect("an answer");
    id
}

/// Judges what a worker has not judged: `can` says which constraints it satisfies. What it then gets.
pub(crate) async fn claim(store: &Store, worker: WorkerId, can: &[&str]) -> Vec<ExecutionId> {
    let judged = store.requirements(worker, false).await.expect("an answer");
    let judged = judged
        .iter()
        .map(|row| (row.id, verdict(can.contains(&row.constraint.as_str()))))
        .collect::<Vec<_>>();
    store.keep_judgements(worker, &judged).await.expect("an answer");
    let claimed = store.claim(Lessee::new(worker), 10, Duration::from_mins(1)).await.expect("an answer");
    claimed.iter().map(|claimed| claimed.attempt.id).collect()
}

pub(crate) fn verdict(satisfied: bool) -> Verdict {
    if satisfied {
        Verdict::Satisfied
    } else {
        Verdict::Unsatisfied { reason: "it is not installed".to_owned(), selection: None }
    }
}
