//! Which worker an execution goes to, what one says that no worker can run, and what many of those cost.

use sqlx::{Connection, SqliteConnection};

use super::*;
use crate::environments;
use crate::support::postgres;

/// Three workers of one database, each with another version of the tool on its machine.
fn three(machine: Machine) -> [Machine; 3] {
    let versions = ["3.11.4", "3.12.1", "3.12.9"];
    let names = ["one", "two", "three"];
    let others = [1, 2].map(|at| {
        let other = machine.other(names[at]);
        let home = other.make("home");
        other.and("HOME", home)
    });
    let [second, third] = others;
    let machines = [machine.and("ATTUNE_WORKER_NAME", names[0]), second, third];
    for (machine, version) in machines.iter().zip(versions) {
        tool(machine, version);
    }
    machines
}

#[test]
fn each_goes_to_the_worker_that_has_its_version_and_waits_for_one_with_the_reasons_of_all() {
    let machine =
        Machine::bare().and("ATTUNE_RECHECK_INTERVAL", "300ms").and("ATTUNE_POLL_INTERVAL", "100ms");
    tools()
        .action("old.sh", "runtime: tool\nruntime_version: \"<3.12\"", "echo old")
        .action("exact.sh", "runtime: tool\nruntime_version: \"==3.12.1\"", "echo exact")
        .action("new.sh", "runtime: tool\nruntime_version: \">=3.12.5\"", "echo new")
        .action("newest.sh", "runtime: tool\nruntime_version: \">=3.12.20\"", "echo newest")
        .action(
            "lenient.sh",
            "runtime: tool\nruntime_version: \">=99\"\nversion_policy: fallback",
            "echo lenient",
        )
        .action(
            "rather.sh",
            "runtime: tool\nruntime_version: \"==3.12.9\"\nversion_policy: fallback",
            "echo rather",
        )
        .install(&machine);
    let machines = three(machine);
    let services = machines.each_ref().map(Service::start);
    let [machine, second, _] = &machines;
    let cases = [("old", "3.11.4", 0), ("exact", "3.12.1", 1), ("new", "3.12.9", 2)];
    let asked = [0, 1, 2].map(|_| cases.map(|(name, ..)| enqueue(machine, &[&format!("tools.{name}")])));
    for ids in asked {
        for (id, (name, version, at)) in ids.iter().zip(cases) {
            let row = becomes(machine, id, "succeeded");
            assert_eq!((&row["result"], &row["selected_version"]), (&json!(name), &json!(version)));
            let path = row["installation_path"].as_str().expect("a path");
            assert!(path.starts_with(&*machines[at].path.to_string_lossy()), "{path}");
        }
    }

    let id = enqueue(machine, &["tools.newest"]);
    let row = wait_for("the judgements of all", || {
        Some(show(machine, &id)).filter(|row| row["waiting"]["workers"].as_array().map(Vec::len) == Some(3))
    });
    assert_eq!(row["status"], "queued");
    for (name, version) in [("one", "3.11.4"), ("two", "3.12.1"), ("three", "3.12.9")] {
        let workers = row["waiting"]["workers"].as_array().expect("a list");
        let judged = workers.iter().find(|worker| worker["worker"] == name).expect("it is alive");
        assert_eq!(judged["satisfied"], false, "{judged}");
        let [candidate] = &judged["selection"]["candidates"].as_array().expect("a list")[..] else {
            panic!("one: {judged}")
        };
        assert_eq!(candidate["version"], version);
        let reason = candidate["message"].as_str().expect("a sentence");
        machine.runs(0, &["execution", "show", &id]).prints(&[
            "satisfies what it asks for",
            name,
            version,
            reason,
        ]);
    }
    tool(second, "3.12.21");
    let row = becomes(machine, &id, "succeeded");
    assert_eq!((&row["selected_version"], &row["attempt"]), (&json!("3.12.21"), &json!(1)));

    let id = enqueue(machine, &["tools.lenient"]);
    let row = becomes(machine, &id, "succeeded");
    assert_eq!(row["result"], "lenient");
    let warnings = row["warnings"].to_string();
    assert!(warnings.contains(">=99") && warnings.contains("base"), "{warnings}");

    // Nobody falls back while there is a worker that need not.
    for id in [(); 5].map(|()| enqueue(machine, &["tools.rather"])) {
        let row = becomes(machine, &id, "succeeded");
        assert_eq!((&row["selected_version"], &row["warnings"]), (&json!("3.12.9"), &json!([])), "{row}");
    }
    let [first, second, third] = services;
    assert_eq!(third.stop(), 0);
    let id = enqueue(machine, &["tools.rather"]);
    let warnings = becomes(machine, &id, "succeeded")["warnings"].to_string();
    assert!(warnings.contains("==3.12.9") && warnings.contains("base"), "{warnings}");
    for service in [first, second] {
        assert_eq!(service.stop(), 0);
    }
}

#[test]
fn what_a_worker_was_told_to_leave_alone_waits_for_another() {
    let machine = Machine::bare().and("ATTUNE_POLL_INTERVAL", "100ms");
    tool(&machine, "3.12.1");
    tools().action("say.sh", "runtime: tool", "echo here").install(&machine);
    let service = Service::start(&machine);
    becomes(&machine, &enqueue(&machine, &["tools.say"]), "succeeded");
    assert_eq!(service.stop(), 0);
    // The worker is started anew, and what it had said of itself does not hold any more.
    let ids = [0; 4].map(|_| enqueue(&machine, &["tools.say"]));
    let limited = machine.and("ATTUNE_WORKER_RUNTIMES", "shell");
    let service = Service::start(&limited);
    for id in &ids {
        let row = wait_for("what it says now", || {
            Some(show(&limited, id)).filter(|row| row["waiting"]["workers"][0]["satisfied"] == false)
        });
        assert_eq!(row["status"], "queued", "{row}");
    }
    assert_eq!(service.stop(), 0);
    let machine = limited.and("ATTUNE_WORKER_RUNTIMES", "tool");
    let service = Service::start(&machine);
    for id in &ids {
        assert_eq!(becomes(&machine, id, "succeeded")["result"], "here");
    }
    assert_eq!(service.stop(), 0);
}

#[test]
fn two_workers_that_share_a_folder_build_an_environment_once() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let shared = machine.make("shared");
    let machine = machine.and("ATTUNE_RUNTIME_ENVS_DIR", &shared).and("ATTUNE_WORKER_NAME", "one");
    environments::boxes(&machine).install(&machine);
    let other = machine.other("two");
    let gate = machine.write("gate", "");
    let ids = [(); 2].map(|()| enqueue(&machine, &["boxes.say"]));
    let services = [&machine, &other].map(|machine| Service::start_with(machine, &["--slots", "1"]));
    for id in &ids {
        becomes(&machine, id, "running");
    }
    for machine in [&machine, &other] {
        let begun = || machine.run_folders().len() == 1;
        wait_for("one on each", || begun().then_some(()));
    }
    environments::builder(&machine);
    fs::remove_file(gate).expect("removed");
    let rows = ids.each_ref().map(|id| becomes(&machine, id, "succeeded"));
    assert_eq!(environments::builds(&machine), 1);
    // There may be others, of packs that came with the program.
    let folders = fs::read_dir(shared.join(".built")).expect("a folder").flatten();
    let boxes = folders.map(|entry| entry.path().join("bin/box")).filter(|path| path.exists());
    let [built] = &boxes.collect::<Vec<_>>()[..] else { panic!("one environment") };
    for row in rows {
        assert_eq!((&row["result"], &row["attempt"]), (&json!(built), &json!(1)));
    }
    for service in services {
        assert_eq!(service.stop(), 0);
    }
}

/// Copies of an execution that waits, with identifiers of their own.
const COPIES: usize = 10_000;

fn copies(identifier: &str) -> String {
    format!(
        "with recursive number (n) as (select 1 union all select n + 1 from number where n < {COPIES})
         insert into execution (id, action, pack, pack_digest, requirement, parameters, status, priority, rank, run_at,
             created_at, request_digest, warnings, timings)
         select {identifier}, action, pack, pack_digest, requirement, parameters, status, priority, rank, run_at,
             created_at, request_digest, warnings, timings
         from execution, number where status = 'queued'"
    )
}

/// Rows of executions that a server has read.
fn rows_read(url: &str) -> i64 {
    // What was counted is told some time later.
    postgres::ask(url, "select pg_stat_force_next_flush()");
    std::thread::sleep(Duration::from_millis(1500));
    let sql = "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables
               where relname = 'execution'";
    postgres::ask(url, sql).parse().expect("a number")
}

#[test]
fn ten_thousand_that_nothing_satisfies_cost_the_others_nothing() {
    const OTHERS: usize = 10;
    let machine = Machine::bare();
    tools().action("never.sh", "runtime: tool", "echo never").install(&machine);
    Pack::new("queued").shell("say", "", "echo here").install(&machine);
    let never = enqueue(&machine, &["tools.never", "--priority", "100"]);
    let url = machine.database_url();
    if let Some(url) = &url {
        postgres::ask(url, &copies("gen_random_uuid()"));
    } else {
        let file = format!("sqlite://{}", machine.at("data/attune.db").display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut database = SqliteConnection::connect(&file).await.expect("the database");
            let sql = sqlx::AssertSqlSafe(copies("randomblob(16)"));
            let copied = sqlx::query(sql).execute(&mut database).await.expect("copied");
            assert_eq!(copied.rows_affected(), COPIES as u64);
            database.close().await.expect("closed");
        });
    }
    let service = Service::start(&machine);
    assert_eq!(machine.json(&["run", "--queue", "queued.say"])["result"], "here");
    let before = url.as_deref().map(rows_read);
    for _ in 0..OTHERS {
        assert_eq!(machine.json(&["run", "--queue", "queued.say"])["result"], "here");
    }
    if let (Some(url), Some(before)) = (url.as_deref(), before) {
        let read = rows_read(url) - before;
        let all = i64::try_from(COPIES).expect("a number");
        assert!(read < all, "{read} rows for {OTHERS} executions, of {all} that are not looked at");
    }
    assert_eq!(show(&machine, &never)["status"], "queued");
    assert_eq!(service.stop(), 0);
}

#[test]
fn an_interpreter_that_is_gone_fails_nothing_that_waits() {
    let machine = Machine::bare().and("ATTUNE_RECHECK_INTERVAL", "1h");
    let interpreter = tool(&machine, "3.12.1");
    tools().action("say.sh", "runtime: tool\nruntime_version: \">=3.12\"", "echo here").install(&machine);
    let service = Service::start(&machine);
    becomes(&machine, &enqueue(&machine, &["tools.say"]), "succeeded");
    fs::remove_file(&interpreter).expect("removed");
    let id = enqueue(&machine, &["tools.say"]);
    let row = wait_for("the reason", || {
        Some(show(&machine, &id)).filter(|row| row["waiting"]["workers"][0]["satisfied"] == false)
    });
    assert_eq!((&row["status"], &row["attempt"]), (&json!("queued"), &json!(0)), "{row}");
    assert_eq!(service.stop(), 0);
    tool(&machine, "3.12.1");
    let service = Service::start(&machine);
    assert_eq!(becomes(&machine, &id, "succeeded")["attempt"], 1);
    assert_eq!(service.stop(), 0);
}
