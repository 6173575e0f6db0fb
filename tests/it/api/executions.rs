//! Asking for executions, and what comes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value as Json, json};

use super::{Api, pack};
use crate::support::cli::Machine;

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
