//! The queue and the service that runs what is in it: nothing is lost, nothing is run twice that must not be, and what
//! waits says why.

mod builds;
mod changes;
mod clock;
mod drain;
mod faults;
mod first;
mod fleet;
mod killed;
mod logs;
mod model;
mod monitor;
mod names;
mod outage;
mod scheduling;
mod server;
mod service;
mod shown;
mod traces;
mod turns;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, Output, PATIENCE, is_running, skip, wait_for};
use crate::support::fixture::{Pack, tool, tools};
use crate::support::line::Line;
use service::Service;

fn enqueue(machine: &Machine, arguments: &[&str]) -> String {
    let output = machine.runs(0, &[&["execution", "enqueue"], arguments].concat());
    output.stdout.trim().to_owned()
}

#[track_caller]
fn show(machine: &Machine, id: &str) -> Json {
    machine.json(&["execution", "show", id])
}

/// Waits until an execution has this status.
#[track_caller]
fn becomes(machine: &Machine, id: &str, status: &str) -> Json {
    let began = Instant::now();
    loop {
        let row = show(machine, id);
        if row["status"] == status {
            return row;
        }
        assert!(began.elapsed() < PATIENCE, "it never was {status}: {row}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process of an action that says which it is by `echo $$ > pid` of this name.
#[track_caller]
fn process(machine: &Machine, name: &str) -> String {
    wait_for("the action", || fs::read_to_string(machine.at(name)).ok().filter(|pid| pid.ends_with('\n')))
}

/// An action that says which process it is in a file of this name and goes on while there is a file `gate`.
fn gated(machine: &Machine, name: &str) -> String {
    let place = machine.path.display();
    format!("echo $$ > {place}/{name}; while [ -e {place}/gate ]; do sleep 0.02; done; echo through")
}

#[test]
fn what_is_queued_is_run_and_says_the_same_as_what_is_run_at_once() {
    let machine = Machine::new();
    Pack::new("queued")
        .shell("say", "parameters: {type: object, properties: {name: {type: string}}}", "cat; echo oops >&2")
        .shell("fail", "", "exit 3")
        .install(&machine);
    let early = enqueue(&machine, &["queued.say", "-p", "name=early"]);
    let row = show(&machine, &early);
    assert_eq!((&row["status"], &row["attempt"]), (&json!("queued"), &json!(0)));
    assert!(row["waiting"]["reason"].as_str().expect("text").contains("no worker is there"), "{row}");
    machine.runs(2, &["execution", "enqueue", "queued.say", "-p", "nam=x", "-p", "name"]);
    machine.runs(4, &["execution", "enqueue", "queued.sya"]).says(&["did you mean `queued.say`?"]);

    let service = Service::start(&machine);
    let row = becomes(&machine, &early, "succeeded");
    assert_eq!((&row["result"], &row["attempt"]), (&json!("{\"name\":\"early\"}"), &json!(1)));
    let output = machine.runs(0, &["run", "--queue", "queued.say", "-p", "name=now"]);
    assert_eq!(output.stdout, "{\"name\":\"now\"}\n");
    output.says(&["oops", "queued.say succeeded", "ran by  Shell "]);
    machine.runs(3, &["run", "--queue", "queued.fail"]).says(&["nonzero_exit", "exit code 3"]);
    assert_eq!(machine.runs(0, &["execution", "watch", &early]).stdout, "{\"name\":\"early\"}\n");
    assert_eq!(machine.json(&["execution", "watch", &early])["status"], "succeeded");
    assert_eq!(service.stop(), 0);
}

#[test]
fn one_key_is_one_execution() {
    let machine = Machine::new();
    let yaml = "parameters: {type: object, properties: {n: {type: integer}}}";
    Pack::new("queued").shell("say", yaml, "cat").install(&machine);
    let ask =
        |n: &str| machine.run(&["execution", "enqueue", "queued.say", "-p", n, "--idempotency-key", "k1"]);
    let first = ask("n=1");
    let again = ask("n=1");
    assert_eq!(first.stdout, again.stdout);
    again.says(&["asked for before"]);
    let other = ask("n=2");
    assert_eq!(other.code, 2, "{other}");
    other.says(&["the idempotency key `k1` was used for something else", first.stdout.trim()]);
    assert_eq!(machine.json(&["execution", "list"]).as_array().expect("a list").len(), 1);
}

#[test]
fn what_waits_is_cancelled_at_once_and_what_runs_in_good_order() {
    let machine = Machine::new();
    let script = "trap 'echo cleaned; exit 0' TERM; echo $$ > pid; cp pid \"$OLDPWD\"/pid 2>/dev/null; \
                  while :; do sleep 0.02; done";
    let script = script.replace("\"$OLDPWD\"", &machine.path.display().to_string());
    Pack::new("queued").shell("long", "", &script).install(&machine);
    let waiting = enqueue(&machine, &["queued.long"]);
    machine.runs(0, &["execution", "cancel", &waiting]).prints(&["is cancelled"]);
    machine.runs(2, &["execution", "cancel", &waiting]).says(&["it has ended before, as cancelled"]);
    let service = Service::start(&machine);
    let running = enqueue(&machine, &["queued.long"]);
    let pid = process(&machine, "pid");
    let asked = Instant::now();
    machine.runs(0, &["execution", "cancel", &running]).prints(&["asked to end it"]);
    let row = becomes(&machine, &running, "cancelled");
    assert_eq!(row["error"]["class"], "cancelled");
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
    assert!(!is_running(&pid));
    machine.runs(0, &["execution", "logs", &running]).prints(&["cleaned"]);
    // It was cancelled while it waited: it never ran.
    assert_eq!(show(&machine, &waiting)["attempt"], 0);

    machine.runs(0, &["execution", "retry", &waiting]);
    fs::remove_file(machine.at("pid")).expect("removed");
    process(&machine, "pid");
    machine.runs(0, &["execution", "cancel", &waiting]);
    assert_eq!(becomes(&machine, &waiting, "cancelled")["attempt"], 1);
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_fails_is_tried_again_as_often_as_it_says() {
    let machine = Machine::new();
    let place = machine.path.display().to_string();
    let flaky =
        format!("echo attempt $ATTUNE_ATTEMPT; echo x >> {place}/tries; [ \"$ATTUNE_ATTEMPT\" -gt 1 ]");
    Pack::new("queued")
        .shell("flaky", "retries: 3", &flaky)
        .shell("hopeless", "retries: 1", "echo no; exit 4")
        .install(&machine);
    let service = Service::start(&machine);
    let (flaky, hopeless) = (enqueue(&machine, &["queued.flaky"]), enqueue(&machine, &["queued.hopeless"]));
    let row = becomes(&machine, &flaky, "succeeded");
    assert_eq!((&row["attempt"], &row["error"]), (&json!(2), &Json::Null));
    assert_eq!(fs::read_to_string(machine.at("tries")).expect("a file"), "x\nx\n");
    for (attempt, text) in [("1", "attempt 1\n"), ("2", "attempt 2\n")] {
        let logs = machine.runs(0, &["execution", "logs", &flaky, "--attempt", attempt]);
        assert_eq!(logs.stdout, text);
    }
    let row = becomes(&machine, &hopeless, "failed");
    assert_eq!((&row["attempt"], &row["exit_code"]), (&json!(2), &json!(4)));
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_a_new_pack_needs_is_built_before_somebody_asks_for_it() {
    let machine = Machine::new().and("ATTUNE_POLL_INTERVAL", "100ms");
    let service = Service::start(&machine);
    let yaml = "runtime: core.python\nruntime_version: \">=3.9\"";
    Pack::new("queued").action("say.py", yaml, "print('here')").install(&machine);
    wait_for("the environment", || {
        let environments = machine.json(&["env", "list"]);
        let mut environments = environments.as_array().expect("a list").iter();
        environments.any(|row| row["pack"] == "queued" && row["state"] == "ready").then_some(())
    });
    assert_eq!(machine.json(&["run", "--queue", "queued.say"])["result"], "here");
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_nothing_satisfies_waits_with_reasons_and_starts_by_itself() {
    let machine = Machine::bare().and("ATTUNE_RECHECK_INTERVAL", "300ms");
    tool(&machine, "3.11.4");
    tools().action("say.sh", "runtime: tool\nruntime_version: \">=3.12\"", "echo here").install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["tools.say"]);
    let row = wait_for("a judgement", || {
        Some(show(&machine, &id))
            .filter(|row| !row["waiting"]["workers"].as_array().is_none_or(Vec::is_empty))
    });
    assert_eq!(row["status"], "queued");
    let judged = &row["waiting"]["workers"][0];
    assert_eq!(judged["satisfied"], false);
    assert!(judged["reason"].as_str().expect("text").contains("no installation of `tools.tool` satisfies"));
    assert_eq!(judged["selection"]["candidates"][0]["version"], "3.11.4", "{judged}");
    machine.runs(0, &["execution", "show", &id]).prints(&["satisfies what it asks for", ">=3.12"]);
    tool(&machine, "3.12.1");
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!((&row["selected_version"], &row["result"]), (&json!("3.12.1"), &json!("here")));
    assert_eq!(service.stop(), 0);
}

#[test]
fn each_goes_to_a_worker_that_has_its_version_and_a_lost_worker_has_none() {
    let machine = Machine::bare()
        .and("ATTUNE_WORKER_NAME", "old")
        .and("ATTUNE_LEASE", "1500ms")
        .and("ATTUNE_HEARTBEAT", "200ms");
    tool(&machine, "3.11.4");
    tools()
        .action("new.sh", "runtime: tool\nruntime_version: \">=3.12\"", "echo new")
        .action("old.sh", "runtime: tool\nruntime_version: \"<3.12\"", "echo old")
        .install(&machine);
    let other = machine.other("new");
    let home = other.make("home");
    let other = other.and("HOME", home);
    tool(&other, "3.12.1");
    let (here, mut there) = (Service::start(&machine), Service::start(&other));
    for (action, version, home) in [("tools.new", "3.12.1", &other), ("tools.old", "3.11.4", &machine)] {
        let id = enqueue(&machine, &[action]);
        let row = becomes(&machine, &id, "succeeded");
        assert_eq!(row["selected_version"], version);
        let path = row["installation_path"].as_str().expect("a path");
        assert!(path.starts_with(&*home.path.to_string_lossy()), "{path}");
    }
    let available = |wanted: &str| {
        let runtime = machine.json(&["runtime", "show", "tools.tool"]);
        let versions = runtime["versions"].as_array().expect("a list").clone();
        versions.iter().find(|row| row["version"] == wanted).expect("it is declared")["available"] == true
    };
    assert!(available("3.12") && available("3.11"));
    there.kill();
    wait_for("the loss", || (!available("3.12")).then_some(()));
    assert!(available("3.11"));
    let id = enqueue(&machine, &["tools.new"]);
    let row = wait_for("a judgement", || {
        Some(show(&machine, &id))
            .filter(|row| !row["waiting"]["workers"].as_array().is_none_or(Vec::is_empty))
    });
    let workers = row["waiting"]["workers"].as_array().expect("a list");
    assert_eq!((workers.len(), &workers[0]["worker"]), (1, &json!("old")), "{row}");
    let there = Service::start(&other);
    assert_eq!(becomes(&machine, &id, "succeeded")["selected_version"], "3.12.1");
    assert_eq!((here.stop(), there.stop()), (0, 0));
}

#[test]
fn what_waits_for_something_else_stops_nobody() {
    let machine = Machine::bare();
    tools().action("say.sh", "runtime: tool", "echo never").install(&machine);
    Pack::new("queued").shell("say", "", "echo here").install(&machine);
    for _ in 0..20 {
        enqueue(&machine, &["tools.say", "--priority", "100"]);
    }
    let service = Service::start(&machine);
    assert_eq!(machine.json(&["run", "--queue", "queued.say"])["result"], "here");
    assert_eq!(service.stop(), 0);
}

#[test]
fn only_so_many_of_an_action_run_at_a_time() {
    let machine = Machine::new();
    let place = machine.path.display().to_string();
    let script = format!("mkdir {place}/alone || exit 7; sleep 0.1; rmdir {place}/alone");
    Pack::new("queued").shell("alone", "concurrency: 1", &script).install(&machine);
    let ids = (0..6).map(|_| enqueue(&machine, &["queued.alone"])).collect::<Vec<_>>();
    let service = Service::start_with(&machine, &["--slots", "4"]);
    for id in ids {
        wait_for("its end", || Some(show(&machine, &id)).filter(|row| !row["finished_at"].is_null()));
        let row = show(&machine, &id);
        assert_eq!(row["status"], "succeeded", "{row}");
    }
    assert_eq!(service.stop(), 0);
}

#[test]
fn the_order_is_by_priority_and_nothing_is_too_early_or_too_late() {
    let machine = Machine::new();
    let place = machine.path.display().to_string();
    let yaml = "parameters: {type: object, properties: {n: {type: string}}}";
    Pack::new("queued").shell("note", yaml, &format!("cat >> {place}/order")).install(&machine);
    enqueue(&machine, &["queued.note", "-p", "n=second"]);
    enqueue(&machine, &["queued.note", "-p", "n=third", "--priority", "-1"]);
    enqueue(&machine, &["queued.note", "-p", "n=first", "--priority", "5"]);
    let later = enqueue(&machine, &["queued.note", "-p", "n=later", "--delay", "1h", "--priority", "1000"]);
    let late = enqueue(&machine, &["queued.note", "-p", "n=late", "--deadline", "1ms"]);
    let machine = &machine.and("ATTUNE_HEARTBEAT", "200ms");
    let service = Service::start_with(machine, &["--slots", "1"]);
    let row = becomes(machine, &late, "timed_out");
    assert_eq!(row["error"]["class"], "deadline");
    wait_for("three of them", || {
        let order = fs::read_to_string(machine.at("order")).ok()?;
        (order.lines().count() == 3).then_some(())
    });
    let order = fs::read_to_string(machine.at("order")).expect("a file");
    assert_eq!(order, "{\"n\":\"first\"}\n{\"n\":\"second\"}\n{\"n\":\"third\"}\n");
    assert_eq!(show(machine, &later)["status"], "queued");
    assert_eq!(service.stop(), 0);
}

/// A worker that runs two executions, of which only the second may run twice; they go on while there is a file `gate`.
fn running_two(machine: &Machine) -> (Service, [String; 2], [String; 2]) {
    machine.write("gate", "");
    Pack::new("queued")
        .shell("once", "", &gated(machine, "once"))
        .shell("twice", "idempotent: true", &gated(machine, "twice"))
        .install(machine);
    let service = Service::start(machine);
    let ids = ["queued.once", "queued.twice"].map(|action| enqueue(machine, &[action]));
    (service, ids, ["once", "twice"].map(|name| process(machine, name)))
}

#[test]
fn a_killed_worker_loses_nothing_and_leaves_no_process() {
    let machine = Machine::new();
    let (mut service, [once, twice], pids) = running_two(&machine);
    service.kill();
    assert!(pids.iter().all(|pid| is_running(pid)), "nobody has ended them yet");
    fs::remove_file(machine.at("twice")).expect("removed");
    let service = Service::start(&machine);
    assert!(pids.iter().all(|pid| !is_running(pid)), "the next one ends what runs before it takes anything");
    let row = show(&machine, &once);
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("abandoned"), &json!("worker_lost")));
    process(&machine, "twice");
    fs::remove_file(machine.at("gate")).expect("removed");
    let row = becomes(&machine, &twice, "succeeded");
    assert_eq!((&row["attempt"], &row["result"]), (&json!(2), &json!("through")));
    assert_eq!(service.stop(), 0);
    assert!(machine.run_folders().is_empty());
}

#[test]
fn one_that_was_stopped_beyond_its_lease_has_no_say() {
    let machine = Machine::new()
        .and("ATTUNE_LEASE", "1500ms")
        .and("ATTUNE_HEARTBEAT", "200ms")
        .and("ATTUNE_WORKER_NAME", "one");
    machine.write("gate", "");
    Pack::new("queued").shell("slow", "idempotent: true", &gated(&machine, "slow")).install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.slow"]);
    let pid = process(&machine, "slow");
    service.pause();
    // Another command of the same machine takes it back, as another worker would.
    std::thread::sleep(Duration::from_secs(2));
    fs::remove_file(machine.at("slow")).expect("removed");
    let other = machine.other("two");
    let second = Service::start(&other);
    process(&machine, "slow");
    let row = becomes(&machine, &id, "running");
    assert_eq!(row["attempt"], 2);
    service.signal(Signal::CONT);
    wait_for("the end of the first process", || (!is_running(&pid)).then_some(()));
    assert_eq!(show(&machine, &id)["status"], "running", "its end does not count");
    fs::remove_file(machine.at("gate")).expect("removed");
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!(row["attempt"], 2);
    assert_eq!((second.stop(), service.stop()), (0, 0));
}

#[test]
fn a_server_that_cannot_be_reached_for_a_while_loses_nothing() {
    let machine = Machine::new();
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    machine.write("gate", "");
    Pack::new("queued")
        .shell("short", "", &gated(&machine, "short"))
        .shell("long", "idempotent: true", &gated(&machine, "long"))
        .install(&machine);
    let worker = machine.other("far").and("ATTUNE_DATABASE", &line.url);

    // Shorter than a lease: what ends meanwhile is on record when the server is back.
    let service = Service::start(&worker);
    let short = enqueue(&machine, &["queued.short"]);
    process(&machine, "short");
    line.cut();
    fs::remove_file(machine.at("gate")).expect("removed");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(show(&machine, &short)["status"], "running");
    line.mend();
    let row = becomes(&machine, &short, "succeeded");
    assert_eq!((&row["attempt"], &row["result"]), (&json!(1), &json!("through")));
    assert_eq!(service.stop(), 0);

    // Longer than a lease: it ends what it runs before somebody else may have it.
    machine.write("gate", "");
    let worker = worker.and("ATTUNE_LEASE", "1500ms").and("ATTUNE_HEARTBEAT", "200ms");
    let service = Service::start(&worker);
    let long = enqueue(&machine, &["queued.long"]);
    let pid = process(&machine, "long");
    line.cut();
    wait_for("the end of what runs", || (!is_running(&pid)).then_some(()));
    assert_eq!(show(&machine, &long)["status"], "running", "nobody can know yet");
    fs::remove_file(machine.at("gate")).expect("removed");
    line.mend();
    let row = becomes(&machine, &long, "succeeded");
    assert_eq!(row["attempt"], 2);
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_service_manager_is_told() {
    let machine = Machine::new().and("ATTUNE_POLL_INTERVAL", "50ms");
    let path = machine.at("manager");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_mins(1))).expect("a limit");
    let machine = machine.and("NOTIFY_SOCKET", &path);
    let hears = |wanted: &str| loop {
        let mut text = [0; 1000];
        let length = manager.recv(&mut text).expect("something is said in time");
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        if text.lines().any(|line| line == wanted) {
            break text;
        }
    };
    machine.write("gate", "");
    Pack::new("queued").shell("slow", "", &gated(&machine, "slow")).install(&machine);
    let mut service = Service::start(&machine);
    hears("READY=1");
    assert!(hears("WATCHDOG=1").contains("STATUS=0 executions run"));
    hears("WATCHDOG=1");
    enqueue(&machine, &["queued.slow"]);
    process(&machine, "slow");
    service.signal(Signal::TERM);
    hears("STOPPING=1");
    // It lives for as long as it waits.
    assert!(hears("WATCHDOG=1").contains("STATUS=1 executions run"));
    hears("WATCHDOG=1");
    fs::remove_file(machine.at("gate")).expect("removed");
    assert_eq!(service.wait(), 0);
}

/// How often the worker is killed; `just crash` says more.
fn crashes() -> usize {
    std::env::var("ATTUNE_TEST_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[test]
fn killed_again_and_again_it_still_brings_everything_to_an_end() {
    let machine = Machine::new().and("ATTUNE_POLL_INTERVAL", "100ms").and("ATTUNE_HEARTBEAT", "500ms");
    let place = machine.path.display().to_string();
    // Notes that it has begun and that it has ended, so that what runs twice at a time would be seen.
    let script = format!(
        "mkdir {place}/now/$ATTUNE_EXECUTION_ID 2>/dev/null || echo $ATTUNE_EXECUTION_ID >> {place}/twice; \
         sleep 0.0$((RANDOM % 10)); echo done; rmdir {place}/now/$ATTUNE_EXECUTION_ID"
    );
    machine.make("now");
    Pack::new("queued").shell("work", "idempotent: true", &script).install(&machine);
    let count = crashes() * 4;
    let ids = (0..count).map(|_| enqueue(&machine, &["queued.work"])).collect::<Vec<_>>();
    for crash in 0..crashes() {
        let mut service = Service::start(&machine);
        // Not the same moment each time.
        std::thread::sleep(Duration::from_millis(37 * (crash as u64 % 9)));
        service.kill();
        // What was killed in the middle has left its note; whoever runs it next makes it anew.
        assert_eq!(machine.run(&["pack", "list", "--quiet"]).code, 0);
        for left in fs::read_dir(machine.at("now")).expect("a folder").flatten() {
            fs::remove_dir(left.path()).expect("removed");
        }
    }
    let service = Service::start(&machine);
    let mut succeeded = 0;
    for id in &ids {
        let row =
            wait_for("its end", || Some(show(&machine, id)).filter(|row| !row["finished_at"].is_null()));
        // One that has lost its worker too often is given up.
        let lost = row["status"] == "abandoned" && row["attempt"].as_i64() > Some(3);
        succeeded += usize::from(row["status"] == "succeeded");
        assert!(lost || row["result"] == "done", "{row}");
    }
    assert!(succeeded * 2 > count, "{succeeded} of {count}");
    let begin = Instant::now();
    while let Some(left) = machine.run_folders().first() {
        let talk = || fs::read_to_string(machine.at("worker.err")).unwrap_or_default();
        assert!(begin.elapsed() < Duration::from_mins(1), "{} is never swept: {}", left.display(), talk());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(service.stop(), 0);
    assert!(!machine.at("twice").exists(), "something ran twice at a time");
}

#[test]
fn a_second_service_in_the_same_folder_is_refused() {
    let machine = Machine::new();
    let service = Service::start(&machine);
    machine.runs(1, &["worker"]).says(&["another worker service", "worker.lock", "--data-dir"]);
    assert_eq!(service.stop(), 0);
}

#[test]
fn an_action_that_is_gone_when_its_turn_comes_fails_with_that_reason() {
    let machine = Machine::new();
    Pack::new("queued").shell("gone", "", "true").shell("stays", "", "true").install(&machine);
    let id = enqueue(&machine, &["queued.gone"]);
    machine.runs(0, &["pack", "remove", "queued"]);
    let service = Service::start(&machine);
    let row = becomes(&machine, &id, "failed");
    assert_eq!(row["error"]["class"], "invalid_request");
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_was_run_at_once_is_neither_cancelled_nor_tried_again_from_elsewhere() {
    let machine = Machine::new();
    machine.write("gate", "");
    Pack::new("queued").shell("slow", "", &gated(&machine, "slow")).install(&machine);
    let child = machine.command(&["run", "queued.slow"]).stderr(Stdio::null()).spawn().expect("it starts");
    process(&machine, "slow");
    machine.runs(2, &["execution", "cancel", "last"]).says(&["started by `attune run`"]);
    fs::remove_file(machine.at("gate")).expect("removed");
    assert_eq!(Output::new(&child.wait_with_output().expect("it ends")).code, 0);
    machine.runs(2, &["execution", "retry", "last"]).says(&["run it again there"]);
}
