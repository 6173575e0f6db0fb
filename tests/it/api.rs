//! The API, asked over HTTP as anybody would.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, wait_for};
use crate::support::fixture::Pack;

/// How long an answer may take.
const ANSWERED_IN: Duration = Duration::from_secs(30);

/// A server of the API, and a token for it.
struct Api {
    child: Child,
    address: String,
    token: String,
}

/// What a server says to a request.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    /// A header's value.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The problem of a kind.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) -> Json {
        self.is(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:attune:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }
}

impl Api {
    fn start(machine: &Machine) -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--worker", "--json"];
        let mut child = machine
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let event: Json = serde_json::from_str(&line).expect("an event");
        let address = event["address"].as_str().expect("an address").to_owned();
        let token =
            fs::read_to_string(machine.at("data/admin.token")).expect("a token").trim_end().to_owned();
        Self { child, address, token }
    }

    /// Asks with headers of its own alone.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(ANSWERED_IN)).expect("a limit");
        let headers =
            headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect::<String>();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
        .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Asks with a token, and more headers.
    fn ask(&self, token: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &Json) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("Host", self.address.as_str()), ("Authorization", &bearer)];
        all.extend(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            all.push(("Content-Type", "application/json"));
        }
        self.send(method, &format!("/api/v1{path}"), &all, &body)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&self.token, "GET", path, &[], &Json::Null)
    }

    fn post(&self, path: &str, body: &Json) -> Answer {
        self.ask(&self.token, "POST", path, &[], body)
    }

    /// Waits for an execution to come to a state.
    #[track_caller]
    fn becomes(&self, id: &str, status: &str) -> Json {
        wait_for(status, || {
            let shown = self.get(&format!("/executions/{id}")).json();
            (shown["status"] == status).then_some(shown)
        })
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn pack(machine: &Machine) {
    Pack::new("served")
        .shell(
            "say",
            "parameters: { type: object, properties: { word: { type: string } }, required: [word] }\n",
            "echo \"said $1\"",
        )
        .shell("slow", "", "sleep 60")
        .install(machine);
}

#[test]
fn on_a_fresh_folder_it_works_at_once_and_runs_what_it_is_asked_to() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let mode = fs::metadata(machine.at("data/admin.token")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read it");

    let asked = api.post("/executions", &json!({ "action": "served.slow" }));
    let slow = asked.is(201).json()["id"].as_str().expect("an id").to_owned();
    api.becomes(&slow, "running");
    let cancelled = api.post(&format!("/executions/{slow}/cancel"), &Json::Null);
    assert_eq!(cancelled.is(200).json()["status"], "running", "it is asked to end");
    api.becomes(&slow, "cancelled");

    let body = json!({ "action": "core.echo", "parameters": { "message": "here" } });
    let keyed = |body: &Json| api.ask(&api.token, "POST", "/executions", &[("Idempotency-Key", "one")], body);
    let first = keyed(&body);
    let id = first.is(201).json()["id"].as_str().expect("an id").to_owned();
    let again = keyed(&body);
    assert_eq!(again.is(200).json(), json!({ "id": id, "known": true }));
    let other = json!({ "action": "core.echo", "parameters": { "message": "there" } });
    keyed(&other).problem(409, "idempotency-key-used");
    let shown = api.becomes(&id, "succeeded");
    assert_eq!(shown["parameters"]["message"], "here");
    assert_eq!(shown["exit_code"], 0);
    let log = api.get(&format!("/executions/{id}/log")).is(200).json();
    assert!(log["items"].to_string().contains("here"), "{log}");
    let retried = api.post(&format!("/executions/{id}/retry"), &Json::Null);
    assert_eq!(retried.is(200).json()["status"], "queued");
    api.becomes(&id, "succeeded");

    // In pages, the newest first.
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("/executions?limit=1{cursor}")).is(200).json();
        listed.extend(page["items"].as_array().expect("items").iter().map(|item| item["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, [json!(id), json!(slow)]);
    let filtered = api.get("/executions?status=cancelled&action=served.slow").is(200).json();
    assert_eq!(filtered["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_is_asked_wrongly_is_said_with_the_place() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let enqueue = |body: Json| api.post("/executions", &body);
    let problem = enqueue(json!({ "action": "core.echo", "runtime_version_constraint": ">=3.12 <" }));
    let problem = problem.problem(422, "invalid-constraint");
    assert_eq!(problem["field"], "/runtime_version_constraint");
    assert!(problem["position"].as_u64().is_some_and(|position| position >= 8), "{problem}");
    for (body, field) in [
        (json!({ "action": "no.such" }), "/action"),
        (json!({ "action": "not a reference" }), "/action"),
        (json!({ "action": "served.say" }), "/parameters"),
        (json!({ "action": "served.slow", "timeout": -1 }), "/timeout"),
        (json!({ "action": "served.slow", "delay": 1e300 }), "/delay"),
    ] {
        assert_eq!(enqueue(body).problem(422, "invalid")["field"], field);
    }
    let message = enqueue(json!({ "action": "served.slow", "priorty": 1 })).problem(422, "invalid");
    assert!(message["detail"].as_str().is_some_and(|detail| detail.contains("priorty")), "{message}");
    let host = api.address.as_str();
    let bearer = format!("Bearer {}", api.token);
    let head = [("Host", host), ("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    api.send("POST", "/api/v1/executions", &head, "{\"action\":").problem(400, "unreadable");
    api.send("POST", "/api/v1/executions", &head[..2], "{}").problem(415, "not-json");
    let large = format!("{{\"action\":\"{}\"}}", "x".repeat(3 << 20));
    api.send("POST", "/api/v1/executions", &head, &large).problem(413, "too-large");
    for path in [
        "/nothing",
        "/packs/none",
        "/actions/none.none",
        "/actions/%20",
        "/executions/1",
        "/runtimes/x",
        "/sensors/x.y",
    ] {
        api.get(path).problem(404, "not-found");
    }
    for path in [
        "/executions?limit=0",
        "/executions?limit=many",
        "/executions?cursor=x",
        "/executions?status=x",
        "/actions?pack=A!",
    ] {
        api.get(path).problem(422, "invalid");
    }
}

#[test]
fn who_may_do_what_is_up_to_the_token() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let made = |arguments: &[&str]| {
        let mut all = vec!["token", "create"];
        all.extend(arguments);
        machine.runs(0, &all).stdout.trim_end().to_owned()
    };
    let (viewer, operator) = (made(&["looks"]), made(&["runs", "--role", "operator", "--pack", "core"]));
    let run = |token: &str, action: &str| {
        api.ask(
            token,
            "POST",
            "/executions",
            &[],
            &json!({ "action": action, "parameters": { "message": "x" } }),
        )
    };
    api.ask(&viewer, "GET", "/packs", &[], &Json::Null).is(200);
    run(&viewer, "core.echo").problem(403, "forbidden");
    run(&operator, "core.echo").is(201);
    let refused = run(&operator, "served.slow").problem(403, "forbidden");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("served")), "{refused}");
    for path in ["/tokens", "/audit"] {
        api.ask(&operator, "GET", path, &[], &Json::Null).problem(403, "forbidden");
    }
    machine.runs(0, &["token", "revoke", "runs"]);
    run(&operator, "core.echo").problem(401, "unauthorized");
    let brief = made(&["brief", "--expires", "1ms"]);
    std::thread::sleep(Duration::from_millis(20));
    api.ask(&brief, "GET", "/packs", &[], &Json::Null).problem(401, "unauthorized");
    api.ask("attune_1234", "GET", "/packs", &[], &Json::Null).problem(401, "unauthorized");

    let created = api.post("/tokens", &json!({ "name": "over", "role": "author" })).is(201).json();
    let over = created["token"].as_str().expect("a token").to_owned();
    api.ask(&over, "GET", "/packs", &[], &Json::Null).is(200);
    api.post("/tokens", &json!({ "name": "over", "role": "author" })).problem(409, "duplicate");
    let listed = machine.runs(0, &["token", "list"]).stdout;
    assert!(listed.contains("over") && listed.contains("revoked") && !listed.contains(&over), "{listed}");

    // What was changed is on record for good, and what was only looked at is not.
    let audit = api.get("/audit").is(200).json();
    let lines = audit["items"].as_array().expect("items").iter();
    let lines =
        lines.map(|line| format!("{} {} {} {}", line["token"], line["method"], line["path"], line["status"]));
    let lines = lines.collect::<Vec<_>>();
    assert_eq!(lines.iter().filter(|line| line.contains("/executions")).count(), 3, "{lines:?}");
    assert!(lines.contains(&r#""runs" "POST" "/api/v1/executions" 201"#.to_owned()), "{lines:?}");
    assert!(lines.contains(&r#""looks" "POST" "/api/v1/executions" 403"#.to_owned()), "{lines:?}");
    let id = audit["items"][0]["request_id"].as_str().expect("an id");
    assert_eq!(id.len(), 32);
}

#[test]
fn names_of_other_places_and_pages_of_others_are_refused() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let bearer = format!("Bearer {}", api.token);
    let ask = |host: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("Host", host), ("Authorization", bearer.as_str())];
        headers.extend(more);
        api.send("GET", "/api/v1/packs", &headers, "")
    };
    ask("localhost", &[]).is(200);
    ask(&api.address, &[("Origin", &format!("http://{}", api.address))]).is(200);
    ask("attune.example.org", &[]).problem(403, "forbidden");
    ask(&api.address, &[("Origin", "https://example.org")]).problem(403, "forbidden");
    ask(&api.address, &[("Origin", "null")]).problem(403, "forbidden");
    let answer = api.send("GET", "/api/v1/packs", &[("Host", &api.address)], "");
    answer.problem(401, "unauthorized");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert!(answer.header("x-request-id").is_some());
    assert!(ask("localhost", &[]).header("access-control-allow-origin").is_none());

    let output = machine.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.code, 2);
    output.says(&["can be reached from other machines", "--plain-http"]);
    let output = machine.run(&["serve", "--listen", &api.address]);
    assert_eq!(output.code, 1);
    output.says(&["can't listen on", "in use"]);
}

#[test]
fn nobody_overwrites_what_he_has_not_seen() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let change = |tag: &str, body: Json| {
        api.ask(&api.token, "PATCH", "/actions/served.say", &[("If-Match", tag)], &body)
    };
    let before = api.get("/actions/served.say");
    let tag = before.is(200).header("etag").expect("a tag").to_owned();
    assert_eq!(before.json()["runtime_version_constraint"], Json::Null);
    let changed = change(&tag, json!({ "runtime_version_constraint": ">=4" }));
    assert_eq!(changed.is(200).json()["runtime_version_constraint"], ">=4");
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    change(&tag, json!({ "enabled": false })).problem(412, "changed-since");
    change("\"nonsense\"", json!({ "enabled": false })).problem(412, "changed-since");
    for (text, kind) in [(">=4 <", "invalid-constraint"), ("newest-of-all", "invalid")] {
        let wrong = change("*", json!({ "runtime_version_constraint": text }));
        assert_eq!(wrong.problem(422, kind)["field"], "/runtime_version_constraint");
    }
    let summary = api.get("/actions?pack=served").is(200).json();
    let said = summary["items"].as_array().expect("items").iter().find(|item| item["ref"] == "served.say");
    assert_eq!(said.expect("listed")["runtime_version_constraint"], ">=4");
    assert_eq!(change("*", json!({ "enabled": false })).is(200).json()["enabled"], false);
    api.post("/executions", &json!({ "action": "served.say", "parameters": { "word": "x" } }))
        .problem(422, "invalid");

    let versions = "/runtimes/core.shell/versions";
    let made = api.post(versions, &json!({ "version": "9.9", "meta": { "eol": "2030" } }));
    assert_eq!(made.is(201).json()["meta"]["eol"], "2030");
    api.post(versions, &json!({ "version": "9.9" })).problem(409, "duplicate");
    assert_eq!(
        api.post(versions, &json!({ "version": "nine" })).problem(422, "invalid")["field"],
        "/version"
    );
    let tag = made.header("etag").expect("a tag").to_owned();
    let default = api.post(&format!("{versions}/9.9/default"), &Json::Null);
    assert_eq!(default.is(200).json()["is_default"], true);
    let delete = |tag: &str| {
        api.ask(&api.token, "DELETE", &format!("{versions}/9.9"), &[("If-Match", tag)], &Json::Null)
    };
    delete(&tag).problem(412, "changed-since");
    let tag = default.header("etag").expect("a tag").to_owned();
    delete(&tag).is(204);
    api.get(&format!("{versions}/9.9")).problem(404, "not-found");
}

#[test]
fn the_document_that_describes_it_is_the_one_that_was_committed() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let served = api.send("GET", "/api/v1/openapi.json", &[("Host", &api.address)], "");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("ATTUNE_TEST_UPDATE").is_some() {
        fs::write(path, &served.is(200).body).expect("written");
    }
    let committed = fs::read_to_string(path).expect("a document");
    assert!(
        served.is(200).body == committed,
        "run the test with ATTUNE_TEST_UPDATE=1, and look at what changed"
    );
}
