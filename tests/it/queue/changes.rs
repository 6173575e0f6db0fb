//! What changes is noticed by workers at once: they hear of it, and need not look.

use attune::pack::VerificationCommand;
use attune::store::pack::PackDetails;
use attune::store::{Location, Store};

use super::*;

/// A machine whose workers look once, when they start: whatever they notice later, they were told.
fn quiet() -> Machine {
    Machine::bare().and("ATTUNE_RECHECK_INTERVAL", "1h").and("ATTUNE_POLL_INTERVAL", "1h")
}

/// Changes something in a machine's database while a worker uses it.
fn change(machine: &Machine, change: impl AsyncFnOnce(&Store)) {
    let file = || format!("sqlite://{}", machine.at("data/attune.db").display());
    let location = machine.database_url().unwrap_or_else(file).parse::<Location>().expect("a location");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&location).await.expect("the database");
        change(&store).await;
        store.close().await;
    });
}

/// Waits until the worker has found that it can't run an execution.
#[track_caller]
fn waits(machine: &Machine, id: &str) {
    wait_for("the reason", || {
        Some(show(machine, id)).filter(|row| row["waiting"]["workers"][0]["satisfied"] == false)
    });
}

#[test]
fn an_interpreter_that_somebody_looks_for_is_used_by_the_worker_at_once() {
    let machine = quiet();
    tool(&machine, "3.11.4");
    tools()
        .action("new.sh", "runtime: tool\nruntime_version: \"3.12\"", "echo new")
        .action("newer.sh", "runtime: tool\nruntime_version: \"3.13\"", "echo newer")
        .action("newest.sh", "runtime: tool\nruntime_version: \"3.14\"", "echo newest")
        .install(&machine);
    let service = Service::start(&machine);
    let cases = [
        ("new", "3.12.1", ["runtime", "detect", "tool"]),
        ("newer", "3.13.1", ["runtime", "verify", "tool"]),
        ("newest", "3.14.1", ["runtime", "show", "tool"]),
    ];
    for (action, version, command) in cases {
        let id = enqueue(&machine, &[&format!("tools.{action}")]);
        waits(&machine, &id);
        tool(&machine, version);
        machine.runs(0, &command);
        let row = becomes(&machine, &id, "succeeded");
        assert_eq!((&row["result"], &row["selected_version"]), (&json!(action), &json!(version)));
    }
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_was_changed_by_itself_holds_for_the_worker_at_once() {
    let machine = quiet();
    tool(&machine, "3.12.1");
    tools()
        .action("asks.sh", "runtime: tool\nruntime_version: \"3.13\"", "echo asks")
        .action("series.sh", "runtime: tool\nruntime_version: \"3.12\"", "echo series")
        .install(&machine);
    let pattern = |pattern: &str| VerificationCommand {
        binary: "tool".to_owned(),
        args: vec!["--version".to_owned()],
        exit_code: 0,
        pattern: Some(pattern.to_owned()),
        priority: 0,
        optional: false,
    };
    let declare = |pattern: VerificationCommand| {
        change(&machine, async |store| {
            let tool = "tools.tool".parse().expect("a reference");
            let row = store.runtime_version(&tool, "3.12").await.expect("a row").expect("it is there");
            let mut declared = row.declared;
            declared.distributions.verification = vec![pattern];
            store.update_runtime_version(&tool, &declared, None, None).await.expect("changed");
        });
    };
    declare(pattern("^never"));
    let service = Service::start(&machine);

    let id = enqueue(&machine, &["tools.series"]);
    waits(&machine, &id);
    declare(pattern("^tool"));
    becomes(&machine, &id, "succeeded");

    let id = enqueue(&machine, &["tools.asks"]);
    waits(&machine, &id);
    change(&machine, async |store| {
        let asks = "tools.asks".parse().expect("a reference");
        let mut action = store.action(&asks).await.expect("a row").expect("it is there").declared;
        action.program.constraint = Some("3.12".to_owned().try_into().expect("a constraint"));
        store.update_program(&action, None).await.expect("changed");
    });
    becomes(&machine, &id, "succeeded");
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_limit_that_was_raised_holds_for_the_worker_at_once() {
    // Otherwise the search for the others, when the worker starts, makes it claim once more.
    let machine = quiet().and("ATTUNE_WORKER_RUNTIMES", "shell");
    let pack = Pack::new("limited").file("pack.yaml", "ref: limited\nversion: \"1.0.0\"\nconcurrency: 1\n");
    let pack = pack.shell("one", "", &gated(&machine, "one")).shell("other", "", &gated(&machine, "other"));
    pack.install(&machine);
    let gate = machine.write("gate", "");
    let service = Service::start(&machine);
    let one = enqueue(&machine, &["limited.one"]);
    process(&machine, "one");
    let other = enqueue(&machine, &["limited.other"]);
    assert_eq!(show(&machine, &other)["status"], "queued");
    change(&machine, async |store| {
        let (limited, version) = ("limited".parse().expect("a reference"), semver::Version::new(1, 0, 0));
        let details = PackDetails {
            label: "Limited",
            description: None,
            version: &version,
            author: None,
            config_schema: None,
            tags: &[],
            concurrency: Some(2),
        };
        store.update_pack(&limited, details, None).await.expect("changed");
    });
    process(&machine, "other");
    fs::remove_file(gate).expect("removed");
    for id in [one, other] {
        becomes(&machine, &id, "succeeded");
    }
    assert_eq!(service.stop(), 0);
}
