//! What a service says about itself over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::support::line::Fault;

/// Where the service answers, as it says when it is ready.
fn address(machine: &Machine) -> String {
    let log = fs::read_to_string(machine.at("worker.log")).expect("a log");
    let ready: Json = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
    ready["monitor"].as_str().expect("an address").to_owned()
}

/// Whoever collects figures waits no longer, unless he is told otherwise.
const COLLECTED_IN: Duration = Duration::from_secs(10);

/// Status and body of an answer.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(COLLECTED_IN)).expect("a limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// The value of a figure whose line begins so, which has to be there.
#[track_caller]
fn figure(text: &str, begin: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn others_can_ask_how_it_is_and_what_it_does() {
    let machine = Machine::new().and("ATTUNE_MONITOR_ADDRESS", "127.0.0.1:0");
    machine.write("gate", "");
    Pack::new("queued")
        .shell("say", "", "echo hello")
        .shell("fail", "", "exit 3")
        .shell("slow", "", &gated(&machine, "slow"))
        .action("never.sh", "runtime: core.python\nruntime_version_constraint: \">=99\"", "")
        .install(&machine);
    let mut service = Service::start_with(&machine, &["--slots", "2"]);
    let address = address(&machine);
    assert_eq!(get(&address, "/health/live"), (200, "{\"status\":\"ok\"}\n".to_owned()));
    assert_eq!(get(&address, "/health/ready").0, 200);
    assert_eq!(get(&address, "/").0, 404);

    let text = get(&address, "/metrics").1;
    for begin in
        ["attune_executions_lost_total{status=\"queued\"}", "attune_lease_renewals_total{outcome=\"failed\"}"]
    {
        assert!(figure(&text, begin).abs() < 1e-9, "counted from the beginning: {text}");
    }
    let never = [enqueue(&machine, &["queued.never"]), enqueue(&machine, &["queued.never"])];
    for (action, status) in [("queued.say", "succeeded"), ("queued.fail", "failed")] {
        let id = enqueue(&machine, &[action]);
        becomes(&machine, &id, status);
    }
    let slow = enqueue(&machine, &["queued.slow"]);
    process(&machine, "slow");
    let text = get(&address, "/metrics").1;
    for (begin, value) in [
        ("attune_executions_total{action=\"queued.say\",status=\"succeeded\",reason=\"\"}", 1.0),
        ("attune_executions_total{action=\"queued.fail\",status=\"failed\",reason=\"nonzero_exit\"}", 1.0),
        ("attune_queue_depth{runtime=\"core.python\",constraint=\">=99\"}", 2.0),
        ("attune_stage_duration_seconds_count{stage=\"run\"}", 2.0),
        ("attune_claim_wait_seconds_count", 3.0),
        ("attune_executions_running", 1.0),
        ("attune_worker_slots", 2.0),
    ] {
        assert!((figure(&text, begin) - value).abs() < 1e-9, "{begin}: {text}");
    }
    assert!(figure(&text, "attune_queue_oldest_seconds{") > 0.0);
    assert!(figure(&text, "attune_lease_renewals_total{outcome=\"ok\"}") >= 1.0);
    assert!(figure(&text, "attune_claim_duration_seconds_count") >= 3.0);

    for id in &never {
        machine.runs(0, &["execution", "cancel", id]);
    }
    let text = get(&address, "/metrics").1;
    assert!(figure(&text, "attune_queue_depth{runtime=\"core.python\"").abs() < 1e-9, "{text}");
    service.signal(Signal::TERM);
    wait_for("the drain", || (get(&address, "/health/ready").0 == 503).then_some(()));
    assert_eq!(get(&address, "/health/ready").1, "{\"status\":\"draining\"}\n");
    assert_eq!(get(&address, "/health/live").0, 200, "it has to go on until what runs has ended");
    fs::remove_file(machine.at("gate")).expect("removed");
    assert_eq!(service.wait(), 0);
    assert_eq!(show(&machine, &slow)["status"], "succeeded");
}

#[test]
fn what_can_not_be_listened_on_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let machine = Machine::new();
    for (address, said) in
        [(address.as_str(), "Address already in use"), ("9464", "write an address and a port")]
    {
        let output = machine.run(&["worker", "--set", &format!("monitor_address={address}")]);
        assert_ne!(output.code, 0);
        output.says(&["monitor_address", said]);
    }
    let listed = machine.json(&["worker", "list"]);
    let is_active = |worker: &Json| worker["status"] == "active";
    assert!(!listed.as_array().expect("a list").iter().any(is_active), "none was ever there: {listed}");
}

#[test]
fn connections_that_die_silently_are_replaced() {
    let machine = Machine::new();
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    Pack::new("queued").shell("say", "", "echo here").install(&machine);
    let worker = machine
        .other("far")
        .and("ATTUNE_DATABASE", &line.url)
        .and("ATTUNE_MONITOR_ADDRESS", "127.0.0.1:0")
        .and("ATTUNE_LEASE", "3s")
        .and("ATTUNE_HEARTBEAT", "200ms");
    let service = Service::start(&worker);
    let address = address(&worker);
    let status = || get(&address, "/health/ready").0;
    // More often than there are connections: none is waited for without end.
    for _ in 0..10 {
        line.mute();
        wait_for("its recovery", || (status() == 200).then_some(()));
        let id = enqueue(&machine, &["queued.say"]);
        becomes(&machine, &id, "succeeded");
    }
    assert_eq!(get(&address, "/health/live").0, 200);
    assert_eq!(service.stop(), 0);
}

#[test]
fn out_of_reach_of_the_database_it_is_not_ready() {
    let machine = Machine::new();
    let Some(line) = machine.database_url().and_then(|url| Line::to(&url)) else {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    };
    let worker = machine
        .other("far")
        .and("ATTUNE_DATABASE", &line.url)
        .and("ATTUNE_MONITOR_ADDRESS", "127.0.0.1:0")
        .and("ATTUNE_LEASE", "900ms")
        .and("ATTUNE_HEARTBEAT", "100ms");
    let service = Service::start(&worker);
    let address = address(&worker);
    let status = || get(&address, "/health/ready");
    assert_eq!(status().0, 200);
    for fault in [Fault::Cut, Fault::Refused, Fault::Silent] {
        line.fail(fault);
        wait_for("its trouble", || (status().0 == 503).then_some(()));
        assert_eq!(status().1, "{\"status\":\"database unreachable\"}\n", "{fault:?}");
        let (code, figures) = get(&address, "/metrics");
        assert_eq!(code, 200, "the other figures can still be had");
        assert!(figure(&figures, "attune_lease_renewals_total{outcome=\"failed\"}") >= 1.0, "{fault:?}");
        line.mend();
        wait_for("its recovery", || (status().0 == 200).then_some(()));
    }
    assert_eq!(service.stop(), 0);
}
