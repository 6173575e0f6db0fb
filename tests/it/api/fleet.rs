//! Workers, and what they have.

use serde_json::{Value as Json, json};

use super::{Api, pack};
use crate::support::cli::{Machine, wait_for};

#[test]
fn a_cordoned_worker_takes_nothing_and_a_drained_one_ends() {
    let machine = Machine::new();
    pack(&machine);
    let mut api = Api::start(&machine);
    let name = wait_for("a worker", || {
        let workers = api.get("/workers").is(200).json();
        workers["items"][0]["name"].as_str().map(str::to_owned)
    });
    let ask =
        |api: &Api, what: &str| api.post(&format!("/workers/{name}/{what}"), &Json::Null).is(200).json();
    let enqueue = |api: &Api| {
        let asked =
            api.post("/executions", &json!({ "action": "core.echo", "parameters": { "message": "x" } }));
        asked.is(201).json()["id"].as_str().expect("an id").to_owned()
    };
    let slow = api.post("/executions", &json!({ "action": "served.slow" })).is(201).json();
    let slow = slow["id"].as_str().expect("an id").to_owned();
    api.becomes(&slow, "running");

    assert_eq!(ask(&api, "cordon")["wanted"], "cordoned");
    // It hears of it in its turn.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let waits = enqueue(&api);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let status = |id: &str| api.get(&format!("/executions/{id}")).json()["status"].clone();
    assert_eq!(status(&waits), "queued");
    assert_eq!(status(&slow), "running", "what runs goes on");
    assert_eq!(ask(&api, "uncordon")["wanted"], Json::Null);
    api.becomes(&waits, "succeeded");

    api.post(&format!("/executions/{slow}/cancel"), &Json::Null).is(200);
    api.becomes(&slow, "cancelled");
    assert_eq!(ask(&api, "drain")["wanted"], "drained");
    wait_for("its end", || {
        let shown = api.get(&format!("/workers/{name}")).json();
        (shown["status"] == "stopped").then_some(())
    });
    api.get("/workers/none").problem(404, "not-found");
    assert!(api.child.try_wait().expect("its state").is_none(), "the API is still there");
    let waits = enqueue(&api);
    drop(api);
    // Whoever starts it again wants it to run.
    let api = Api::start(&machine);
    api.becomes(&waits, "succeeded");
}

#[test]
fn what_workers_have_is_listed() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let verified = api.post("/runtimes/core.shell/verify", &Json::Null).is(200).json();
    let first = &verified["items"][0];
    assert_eq!(first["status"], "verified", "{verified}");
    let worker = first["worker"].as_str().expect("a name");
    let listed = api.get(&format!("/runtimes/core.shell/installations?worker={worker}")).is(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), verified["items"].as_array().map(Vec::len));
    let none = api.get("/runtimes/core.shell/installations?worker=none").is(200).json();
    assert_eq!(none["items"], json!([]));
    let version = first["runtime_version"].as_str().expect("a version");
    let anew =
        api.post(&format!("/runtimes/core.shell/versions/{version}/verify"), &Json::Null).is(200).json();
    assert_eq!(anew["version"], version);
    assert!(api.get("/environments").is(200).json()["items"].is_array());
    assert_eq!(api.get("/events").is(200).json()["items"], json!([]));
    let plugins = api.get("/plugins").is(200).json();
    let declarative = plugins["items"].as_array().expect("items").iter();
    let declarative = declarative.filter(|plugin| plugin["ref"] == "core.declarative").count();
    assert_eq!(declarative, 1);
    assert_eq!(api.get("/plugins/core.declarative").is(200).json()["vouched"], "it comes with Attune");
    api.get("/plugins/core.none").problem(404, "not-found");
}
