//! Following executions: what they print and what becomes of them, as it happens.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use super::{ANSWERED_IN, Api, pack};
use crate::support::cli::{Machine, wait_for};
use crate::support::fixture::Pack;

/// An event as it was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    id: String,
    name: String,
    data: Json,
}

/// The events of an answer that has not ended.
pub(super) struct Events {
    lines: BufReader<TcpStream>,
    head: String,
    /// Whether it ended as an answer ends.
    is_whole: bool,
}

impl Events {
    pub(super) fn open(api: &Api, path: &str, last: Option<&str>) -> Self {
        Self::open_with(api, &api.token, path, last)
    }

    fn open_with(api: &Api, token: &str, path: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(&api.address).expect("it listens");
        stream.set_read_timeout(Some(ANSWERED_IN)).expect("a limit");
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let address = &api.address;
        write!(
            stream,
            "GET /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Accept-Encoding: gzip\r\n{last}\r\n"
        )
        .expect("sent");
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).expect("a line") > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        Self { lines, head, is_whole: false }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            let line = line.trim_end();
            // The chunks of HTTP have their lengths and ends in between.
            match line.split_once(':') {
                Some(("id", value)) => value.trim_start().clone_into(&mut event.id),
                Some(("event", value)) => value.trim_start().clone_into(&mut event.name),
                Some(("data", value)) => event.data = serde_json::from_str(value).expect("JSON"),
                Some(("", _)) => {}
                Some(_) => panic!("{line}"),
                None if line.is_empty() && event != Event::default() => return Some(event),
                None if line == "0" => {
                    self.is_whole = true;
                    return None;
                }
                None => {}
            }
        }
    }
}

fn follow(api: &Api, id: &str, last: Option<&str>) -> Vec<Event> {
    let mut events = Events::open(api, &format!("/executions/{id}/stream"), last);
    let all = events.by_ref().collect::<Vec<_>>();
    assert!(events.is_whole, "{}", events.head);
    all
}

/// What was printed to a stream in an attempt.
fn printed(events: &[Event], attempt: i64, stream: &str) -> String {
    let of = |event: &&Event| event.data["attempt"] == attempt && event.data["stream"] == stream;
    let logs = events.iter().filter(|event| event.name == "log").filter(of);
    logs.map(|event| event.data["text"].as_str().expect("a text")).collect()
}

fn statuses(events: &[Event]) -> Vec<&str> {
    let mut statuses = events
        .iter()
        .filter(|event| event.name == "status")
        .map(|event| event.data["status"].as_str().expect("a status"))
        .collect::<Vec<_>>();
    statuses.dedup();
    statuses
}

fn enqueue(api: &Api, body: &Json) -> String {
    api.post("/executions", body).is(201).json()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn what_an_execution_prints_and_becomes_is_told_once_wherever_one_goes_on() {
    let machine = Machine::new();
    // A character that is split between pieces of the log, and one that never ends.
    Pack::new("told")
        .shell(
            "split",
            "retries: 1",
            r"printf 'a\360\237'; printf 'b\303' >&2; sleep 1.2; printf '\246\200 c'; printf '\244\n' >&2
sleep 1.2; printf 'd\360\237'; exit 3",
        )
        .install(&machine);
    let api = Api::start(&machine);
    let id = enqueue(&api, &json!({ "action": "told.split" }));
    let events = follow(&api, &id, None);
    for attempt in [1, 2] {
        assert_eq!(printed(&events, attempt, "stdout"), "a🦀 cd\u{fffd}", "{events:#?}");
        assert_eq!(printed(&events, attempt, "stderr"), "bä\n", "{events:#?}");
    }
    let told = statuses(&events);
    assert_eq!(told.last(), Some(&"failed"), "{told:?}");
    assert!(told.windows(2).any(|pair| pair == ["running", "queued"] || pair == ["running", "failed"]));
    let last = &events[events.len() - 2..];
    assert_eq!((&*last[0].name, &*last[1].name), ("status", "end"));
    assert_eq!(last[0].data["action"], "told.split");
    assert_eq!(last[1].data["status"], "failed");
    let first = events.iter().position(|event| event.name == "log").expect("something printed");
    assert_eq!(statuses(&events[..first]).last(), Some(&"running"), "it runs before it prints: {events:#?}");

    for (index, event) in events.iter().enumerate().take(events.len() - 1) {
        let later = follow(&api, &id, Some(&event.id));
        for (attempt, stream) in [(1, "stdout"), (1, "stderr"), (2, "stdout"), (2, "stderr")] {
            assert_eq!(
                printed(&events[..=index], attempt, stream) + &printed(&later, attempt, stream),
                printed(&events, attempt, stream),
                "after {event:?}: {later:#?}"
            );
        }
        let is_last = index == events.len() - 2;
        assert_eq!(statuses(&later), if is_last { vec![] } else { vec!["failed"] }, "after {event:?}");
        assert_eq!(later.last(), events.last());
    }
    // Of an execution that has ended, the last attempt.
    let again = follow(&api, &id, None);
    assert_eq!(printed(&again, 1, "stdout"), "");
    assert_eq!(printed(&again, 2, "stdout"), "a🦀 cd\u{fffd}");

    api.get("/executions/1/stream").problem(404, "not-found");
    let path = format!("/executions/{id}/stream");
    let wrong = api.ask(&api.token, "GET", &path, &[("Last-Event-ID", "yesterday")], &Json::Null);
    assert_eq!(wrong.problem(422, "invalid")["field"], "header/Last-Event-ID");
}

#[test]
fn what_becomes_of_all_executions_is_told_in_order_and_nothing_is_missed() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let path = "/executions/stream";
    let mut all = Events::open(&api, path, None);
    let begin = all.next().expect("where it begins");
    assert_eq!((&*begin.name, &begin.data), ("", &Json::Null));
    let mut some = Events::open(&api, &format!("{path}?action=served.slow&pack=served"), None);
    some.next().expect("where it begins");
    let echo = enqueue(&api, &json!({ "action": "core.echo", "parameters": { "message": "x" } }));
    let of = |event: &Event, id: &str| event.data["id"] == id;
    let told = all.by_ref().take(3).collect::<Vec<_>>();
    assert!(told.iter().all(|event| of(event, &echo)), "{told:#?}");
    assert_eq!(statuses(&told), ["queued", "running", "succeeded"]);

    // Whoever was away is told what he has missed, and no more.
    drop(all);
    let slow = enqueue(&api, &json!({ "action": "served.slow", "delay": 1000 }));
    api.post(&format!("/executions/{slow}/cancel"), &Json::Null).is(200);
    let mut all = Events::open(&api, path, Some(&told[1].id));
    all.next().expect("where it goes on");
    let missed = all.by_ref().take(3).collect::<Vec<_>>();
    assert_eq!(missed[0], told[2]);
    assert!(of(&missed[1], &slow) && of(&missed[2], &slow), "{missed:#?}");
    assert_eq!(statuses(&missed[1..]), ["queued", "cancelled"]);
    assert_eq!(missed[2].data["reason"], "cancelled");
    let filtered = some.by_ref().take(2).collect::<Vec<_>>();
    assert_eq!(filtered, missed[1..], "only what was asked for");

    let mut lost = Events::open(&api, path, Some("0"));
    lost.next().expect("where it goes on");
    assert_eq!(lost.next().expect("an event").name, "missed");
    let mut other = Events::open(&api, path, Some("1000000"));
    assert_eq!(other.next().expect("an event").name, "missed", "it is of another database");
    api.get("/executions/stream?pack=A!").problem(422, "invalid");

    if let Some(url) = machine.database_url() {
        // What began first is committed last.
        let late = enqueue(&api, &json!({ "action": "served.slow", "delay": 1000 }));
        assert!(of(&all.next().expect("it waits"), &late));
        let sql = format!(
            "begin; update execution set status = 'cancelled' where id = '{late}'; select pg_sleep(2); commit"
        );
        let mut psql = Command::new("psql").args([&url, "--quiet", "--command", &sql]).spawn().expect("psql");
        wait_for("the change that is committed late", || {
            let sql = "select 1 from pg_stat_activity where wait_event = 'PgSleep'";
            let output = Command::new("psql").args([&url, "-Atc", sql]).output().expect("psql");
            (output.stdout == b"1\n").then_some(())
        });
        let fast = enqueue(&api, &json!({ "action": "core.echo", "parameters": { "message": "x" } }));
        let told = all.by_ref().take(4).collect::<Vec<_>>();
        assert!(told[..3].iter().all(|event| of(event, &fast)), "{told:#?}");
        assert!(of(&told[3], &late), "{told:#?}");
        assert!(psql.wait().expect("it ends").success());
    }
}

#[test]
fn who_follows_is_let_go_at_once_when_it_ends() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let id = enqueue(&api, &json!({ "action": "served.slow", "delay": 1000 }));
    let mut one = Events::open(&api, &format!("/executions/{id}/stream"), None);
    assert_eq!(one.next().expect("an event").data["status"], "queued");
    let mut all = Events::open(&api, "/executions/stream", None);
    all.next().expect("where it begins");
    let begun = Instant::now();
    let pid = i32::try_from(api.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, Signal::TERM).expect("told");
    for mut events in [one, all] {
        assert_eq!(events.next(), None);
        assert!(events.is_whole, "it is not cut off");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn five_hundred_who_follow_cost_little() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let ids = (0..10)
        .map(|_| enqueue(&api, &json!({ "action": "served.slow", "delay": 1000 })))
        .collect::<Vec<_>>();
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", api.child.id())).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
    };
    let before = resident();
    let mut open = ids.iter().cycle().take(500).enumerate().map(|(index, id)| match index % 2 {
        0 => Events::open(&api, &format!("/executions/{id}/stream"), None),
        _ => Events::open(&api, "/executions/stream", None),
    });
    let mut open = open.by_ref().collect::<Vec<_>>();
    for events in &mut open {
        events.next().expect("an event");
    }
    api.post(&format!("/executions/{}/cancel", ids[0]), &Json::Null).is(200);
    let told = |event: Event| event.data["id"] == ids[0] && event.data["status"] == "cancelled";
    for (index, events) in open.iter_mut().enumerate().filter(|(index, _)| index % 2 == 1 || index % 10 == 0)
    {
        assert!(events.next().is_some_and(told), "{index}");
    }
    let after = resident();
    assert!(after < 150, "{before} MiB before, {after} MiB with all of them");
}

#[test]
fn whoever_waits_for_long_hears_that_somebody_is_there() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let asked = api.post("/executions", &json!({ "action": "served.slow" })).is(201).json();
    let id = asked["id"].as_str().expect("an id");
    api.becomes(id, "running");
    let mut events = Events::open(&api, &format!("/executions/{id}/stream"), None);
    let began = Instant::now();
    let mut line = String::new();
    while !line.starts_with(':') {
        line.clear();
        assert!(events.lines.read_line(&mut line).expect("a line") > 0, "it ended");
        assert!(began.elapsed() < ANSWERED_IN, "nothing was heard");
    }
    assert!(began.elapsed() > Duration::from_secs(10), "not more often than needed: {line}");
    api.post(&format!("/executions/{id}/cancel"), &Json::Null).is(200);
}

#[test]
fn whoever_is_shut_out_sees_nothing_more() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start_with(&machine, "127.0.0.1:0", &[]);
    let id = api.post("/executions", &json!({ "action": "served.slow" })).is(201).json();
    let one = format!("/executions/{}/stream", id["id"].as_str().expect("an id"));
    let token = |name: &str, more: &[&str]| {
        let made = machine.runs(0, &[&["token", "create", name], more].concat());
        made.stdout.trim_end().to_owned()
    };
    let (revoked, expires) = (token("revoked", &[]), token("expires", &["--expires", "2s"]));
    let paths = [one.as_str(), "/executions/stream"];
    let open = |token: &str| paths.map(|path| Events::open_with(&api, token, path, None));
    let streams = [open(&revoked), open(&expires)];
    let mut stays = Events::open(&api, &one, None);
    machine.runs(0, &["token", "revoke", "revoked"]);
    for mut stream in streams.into_iter().flatten() {
        assert!(stream.all(|event| event.name != "end"), "it has not ended");
        assert!(stream.is_whole, "it is the stream that ended");
    }
    assert_eq!(stays.next().expect("an event").name, "status");
}

#[test]
fn what_runs_when_it_is_told_to_stop_may_ask_and_is_followed_to_its_end() {
    let machine = Machine::new();
    let (go, told) = (machine.at("go"), machine.at("told"));
    let script =
        "echo \"$ATTUNE_API_TOKEN\" > TOLD.new; mv TOLD.new TOLD; while [ ! -e GO ]; do sleep 0.05; done";
    let script = script.replace("TOLD", &told.to_string_lossy()).replace("GO", &go.to_string_lossy());
    Pack::new("asks").shell("wait", "", &script).install(&machine);
    let mut api = Api::start(&machine);
    let asked = api.post("/executions", &json!({ "action": "asks.wait" })).is(201).json();
    let id = asked["id"].as_str().expect("an id").to_owned();
    let token = wait_for("its token", || fs::read_to_string(&told).ok());
    let mut stream = Events::open(&api, &format!("/executions/{id}/stream"), None);
    let pid = i32::try_from(api.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    wait_for("a service that drains", || {
        let worker = &machine.json(&["worker", "list"])[0];
        (worker["status"] == "draining").then_some(())
    });
    let next = api.ask(token.trim(), "POST", "/executions", &[], &json!({ "action": "asks.wait" }));
    next.is(201);
    fs::write(&go, "").expect("written");
    assert!(stream.any(|event| event.name == "end"), "it is told to the end");
    assert_eq!(api.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(machine.runs(0, &["execution", "show", &id, "--json"]).json()["status"], "succeeded");
}
