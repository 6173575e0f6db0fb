//! A database server that is started anew, or whose answers get lost, while workers use it.

use attune::store::worker::WorkerStatus;
use attune::store::{Location, Store};
use sqlx::{Connection, PgConnection};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::*;
use crate::support::line::Fault;
use crate::support::postgres::{self, Server};
use crate::support::store::worker;

const SLOTS: &str = "3";
const EXECUTIONS: usize = 48;

/// Puts one into the queue, whether the server is there at the moment or not.
fn enqueue_at_last(machine: &Machine, action: &str, key: usize) -> String {
    wait_for("the server", || {
        // Whether one whose answer was lost is in the queue, nobody knows: the key makes it one.
        let output =
            machine.run(&["execution", "enqueue", action, "--idempotency-key", &format!("key {key}")]);
        (output.code == 0).then(|| output.stdout.trim().to_owned())
    })
}

fn look(machine: &Machine, id: &str) -> Option<Json> {
    let output = machine.run(&["execution", "show", id, "--json"]);
    (output.code == 0).then(|| output.json())
}

#[test]
fn started_anew_under_load_everything_ends_exactly_once() {
    if Machine::new().keeps_a_file() {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    }
    let mut server = Server::start();
    let machine = Machine::new()
        .and("ATTUNE_DATABASE", &server.url)
        .and("ATTUNE_POLL_INTERVAL", "100ms")
        .and("ATTUNE_HEARTBEAT", "300ms");
    let place = machine.make("ran").display().to_string();
    let script = format!("echo x >> {place}/$ATTUNE_EXECUTION_ID; sleep 0.4; echo done");
    Pack::new("queued").shell("once", "", &script).install(&machine);
    let begun = || fs::read_dir(&place).expect("a folder").count();

    let machines = ["one", "two", "three"].map(|name| machine.other(name));
    let services = machines.each_ref().map(|machine| Service::start_with(machine, &["--slots", SLOTS]));
    let ids = std::thread::scope(|threads| {
        let ask =
            || (0..EXECUTIONS).map(|key| enqueue_at_last(&machine, "queued.once", key)).collect::<Vec<_>>();
        let asking = threads.spawn(ask);
        for (load, mode) in [(6, Signal::INT), (18, Signal::QUIT), (30, Signal::QUIT)] {
            wait_for("some load", || (begun() >= load).then_some(()));
            server.restart(mode);
        }
        asking.join().expect("all are asked for")
    });
    for id in &ids {
        let row = wait_for("its end", || look(&machine, id).filter(|row| !row["finished_at"].is_null()));
        assert_eq!((&row["status"], &row["result"]), (&json!("succeeded"), &json!("done")), "{row}");
        let ran = fs::read_to_string(machine.at("ran").join(id)).expect("it ran");
        assert_eq!(ran, "x\n", "it ran once: {row}");
    }
    assert_eq!(begun(), EXECUTIONS, "nothing else did");
    for (service, machine) in services.into_iter().zip(&machines) {
        assert_eq!(service.stop(), 0);
        assert_eq!(machine.run_folders().len(), 0);
    }
}

/// Makes the commit of each claim wait for whoever holds this lock.
const CLAIMS_WAIT: &str = "
create function wait() returns trigger language plpgsql as $$
begin perform pg_advisory_xact_lock(1); return null; end $$;
create constraint trigger claims_wait after update on execution deferrable initially deferred
for each row when (old.status = 'queued' and new.status = 'running') execute function wait()";

#[test]
fn a_claim_whose_answer_is_lost_is_taken_back_and_run() {
    let machine = Machine::new().and("ATTUNE_HEARTBEAT", "200ms").and("ATTUNE_POLL_INTERVAL", "100ms");
    let Some((url, line)) = machine.database_url().and_then(|url| Some((url.clone(), Line::to(&url)?)))
    else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    let script = format!("echo x >> {}/ran; echo done", machine.path.display());
    Pack::new("queued").shell("once", "", &script).install(&machine);
    postgres::ask(&url, CLAIMS_WAIT);
    let runtime = Runtime::new().expect("a runtime");
    let holder = runtime.block_on(async {
        let mut holder = PgConnection::connect(&url).await.expect("the database");
        sqlx::raw_sql("select pg_advisory_lock(1)").execute(&mut holder).await.expect("the lock");
        holder
    });
    let worker = machine.other("far").and("ATTUNE_DATABASE", &line.url);
    let service = Service::start(&worker);
    let id = enqueue(&machine, &["queued.once"]);
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
    wait_for("the commit", || (postgres::ask(&url, waiting) == "1").then_some(()));
    line.cut();
    runtime.block_on(holder.close()).expect("closed");
    let row = becomes(&machine, &id, "running");
    assert_eq!(row["attempt"], 1, "{row}");
    line.mend();
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!((&row["result"], &row["attempt"]), (&json!("done"), &json!(2)), "{row}");
    assert_eq!(fs::read_to_string(machine.at("ran")).expect("a file"), "x\n", "it was begun once");
    assert_eq!(service.stop(), 0);
}

#[test]
fn out_of_reach_of_the_server_a_worker_waits_and_says_so_once() {
    let machine = Machine::new().and("ATTUNE_HEARTBEAT", "200ms");
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    Pack::new("queued").shell("say", "", "echo here").install(&machine);
    let worker = machine.other("far").and("ATTUNE_DATABASE", &line.url);
    let service = Service::start(&worker);
    line.cut();
    std::thread::sleep(Duration::from_secs(3));
    line.mend();
    let id = enqueue(&machine, &["queued.say"]);
    assert_eq!(becomes(&machine, &id, "succeeded")["result"], "here");
    let said = fs::read_to_string(worker.at("worker.err")).expect("a log");
    for what in ["claim executions", "renew the leases"] {
        let failed = said.matches(&format!("can't {what}")).count();
        let back = said.matches(&format!("can {what} again")).count();
        assert_eq!((failed, back), (1, 1), "{what} is said once: {said}");
    }
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_ends_while_the_server_is_out_of_reach_is_on_record_afterwards() {
    let machine = Machine::new().and("ATTUNE_LEASE", "4s").and("ATTUNE_HEARTBEAT", "200ms");
    let line = || machine.database_url().and_then(|url| Line::to(&url));
    let (Some(one_line), Some(other_line)) = (line(), line()) else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    Pack::new("queued").shell("gated", "", &gated(&machine, "pid")).install(&machine);
    machine.write("gate", "");
    let one = machine.other("one").and("ATTUNE_DATABASE", &one_line.url);
    let other = machine.other("another").and("ATTUNE_DATABASE", &other_line.url);
    let service = Service::start(&one);
    let id = enqueue(&machine, &["queued.gated"]);
    process(&machine, "pid");
    let second = Service::start(&other);
    one_line.cut();
    other_line.cut();
    fs::remove_file(machine.at("gate")).expect("it was there");
    // Longer than a lease, and than anybody waits for a connection.
    std::thread::sleep(Duration::from_secs(15));
    let before = other_line.through();
    other_line.mend();
    // The other one is back, and has seen that a lease has run out and that a worker gave no sign of life.
    wait_for("a connection", || (other_line.through() > before).then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    one_line.mend();
    let row = wait_for("its end", || Some(show(&machine, &id)).filter(|row| !row["finished_at"].is_null()));
    assert_eq!((&row["status"], &row["result"]), (&json!("succeeded"), &json!("through")), "{row}");
    assert_eq!(row["attempt"], 1, "{row}");
    let said = fs::read_to_string(other.at("worker.err")).expect("a log");
    assert!(!said.contains("lost a worker"), "{said}");
    assert_eq!((service.stop(), second.stop()), (0, 0));
}

#[test]
fn told_to_stop_out_of_reach_of_the_server_a_worker_ends_what_it_runs() {
    let machine = Machine::new().and("ATTUNE_LEASE", "2s").and("ATTUNE_HEARTBEAT", "200ms");
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    let script = format!("echo $$ > {}; exec sleep 600", machine.at("pid").display());
    Pack::new("queued").shell("long", "retries: 1\n", &script).install(&machine);
    let id = enqueue(&machine, &["queued.long"]);
    let worker = machine.other("far").and("ATTUNE_DATABASE", &line.url).and("ATTUNE_DRAIN_TIMEOUT", "100ms");
    let worker = worker.and("ATTUNE_KILL_GRACE", "100ms");
    let service = Service::start(&worker);
    let pid = process(&machine, "pid");
    line.fail(Fault::Silent);
    let asked = Instant::now();
    assert_ne!(service.stop(), 0, "it can't say that it has stopped");
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
    assert!(!is_running(&pid), "nobody watches over it");

    let service = Service::start(&machine);
    let row = wait_for("its second attempt", || Some(show(&machine, &id)).filter(|row| row["attempt"] == 2));
    assert_eq!(row["status"], "running", "{row}");
    machine.runs(0, &["execution", "cancel", &id]);
    becomes(&machine, &id, "cancelled");
    assert_eq!(service.stop(), 0);
}

#[test]
fn workers_that_come_and_go_at_the_same_moment_do_not_stop_each_other() {
    let machine = Machine::bare();
    let Some(url) = machine.database_url() else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    let location = url.parse::<Location>().expect("a location");
    std::thread::scope(|threads| {
        for name in ["one", "two", "three", "four"] {
            let location = &location;
            threads.spawn(move || {
                Runtime::new().expect("a runtime").block_on(async {
                    let store = Store::open(location).await.expect("a database");
                    let worker = worker(&store, name).await;
                    for _ in 0..100 {
                        for status in [WorkerStatus::Active, WorkerStatus::Stopped] {
                            store.worker_status((worker, Uuid::nil()), status, 1).await.expect("on record");
                        }
                    }
                    store.close().await;
                });
            });
        }
    });
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_without_end() {
    let machine = Machine::new();
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    Runtime::new().expect("a runtime").block_on(async {
        let store = Store::open(&Location::Server(line.url.clone())).await.expect("a store");
        // A connection that was of use just now is not asked whether it still is; on a busy machine, that may be a while ago.
        let fault = async {
            loop {
                store.time().await.expect("an answer");
                line.mute();
                if let Err(fault) = store.time().await {
                    break fault;
                }
            }
        };
        let fault = tokio::time::timeout(PATIENCE, fault).await.expect("an end of the waiting");
        assert!(fault.is_outage(), "it is as if nobody was there: {fault}");
        store.time().await.expect("an answer on another connection");
        store.close().await;
    });
}
