//! Who may do what, and from where.

use std::fs;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Api, pack};
use crate::support::cli::{Machine, wait_for};
use crate::support::fixture::Pack;

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
    machine.runs(2, &["token", "create", "runs"]).says(&["is there already", "stays taken"]);
    for name in ["", " x", "a\nb", "\u{202e}x", &"x".repeat(101)] {
        machine.runs(2, &["token", "create", name]).says(&["1 to 100 characters"]);
        let refused = api.post("/tokens", &json!({ "name": name, "role": "viewer" }));
        assert_eq!(refused.problem(422, "invalid")["field"], "/name");
    }
    let past = json!({ "name": "past", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z" });
    assert_eq!(api.post("/tokens", &past).problem(422, "invalid")["field"], "/expires_at");
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
fn a_token_for_a_pack_is_for_nothing_else() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let asked = |action: &str, parameters: Json| {
        let body = json!({ "action": action, "parameters": parameters });
        let id = api.post("/executions", &body).is(201).json()["id"].as_str().expect("an id").to_owned();
        api.becomes(&id, "succeeded");
        id
    };
    let own = asked("served.say", json!({ "word": "mine" }));
    let others = asked("core.echo", json!({ "message": "secret" }));
    let made = |name: &str, role: &str| {
        let body = json!({ "name": name, "role": role, "pack": "served" });
        api.post("/tokens", &body).is(201).json()["token"].as_str().expect("a token").to_owned()
    };
    let (viewer, admin) = (made("looks", "viewer"), made("rules", "admin"));
    let get = |path: &str| api.ask(&viewer, "GET", path, &[], &Json::Null);
    for path in ["", "/log", "/result", "/stream"] {
        get(&format!("/executions/{own}{path}")).is(200);
        get(&format!("/executions/{others}{path}")).problem(403, "forbidden");
    }
    for list in ["/executions", "/actions", "/packs", "/sensors", "/events", "/environments"] {
        let items = get(list).is(200).json()["items"].clone();
        let items = items.as_array().expect("items");
        assert!(items.iter().all(|item| item.to_string().contains("served")), "{list}: {items:?}");
        assert!(items.len() < 4, "{list}: {items:?}");
    }
    for path in [
        "/packs/core",
        "/actions/core.echo",
        "/actions?pack=core",
        "/executions?pack=core",
        "/executions/stream?pack=core",
        "/events?pack=core",
    ] {
        get(path).problem(403, "forbidden");
    }
    get("/packs/served").is(200);
    get("/actions/served.say").is(200);
    // What serves every pack is no secret.
    get("/runtimes/core.shell").is(200);
    let resolve = |action: &str| api.ask(&viewer, "POST", "/resolve", &[], &json!({ "action": action }));
    resolve("core.echo").problem(403, "forbidden");

    // An administrator of a pack makes nobody one of everything.
    let rule = |method: &str, path: &str, body: &Json| api.ask(&admin, method, path, &[], body);
    rule("POST", "/tokens", &json!({ "name": "more", "role": "admin" })).problem(403, "forbidden");
    rule("GET", "/tokens", &Json::Null).problem(403, "forbidden");
    rule("GET", "/audit", &Json::Null).problem(403, "forbidden");
    let worker = machine.runs(0, &["worker", "list", "--json"]).stdout;
    let worker: Json = serde_json::from_str(&worker).expect("a list");
    let name = worker[0]["name"].as_str().expect("a worker");
    rule("POST", &format!("/workers/{name}/cordon"), &Json::Null).problem(403, "forbidden");
    rule("PUT", "/runtimes/core.python/grants", &json!({ "approved": false })).problem(403, "forbidden");
}

#[test]
fn an_action_may_ask_for_its_own_pack_while_it_runs() {
    let machine = Machine::new();
    let (go, told) = (machine.at("go"), machine.at("told"));
    let script = r#"echo "$ATTUNE_API_URL $ATTUNE_API_TOKEN" > TOLD.new; mv TOLD.new TOLD; echo "$ATTUNE_API_TOKEN"
while [ ! -e GO ]; do sleep 0.05; done"#;
    let script = script.replace("TOLD", &told.to_string_lossy()).replace("GO", &go.to_string_lossy());
    Pack::new("asks").shell("tell", "", &script).shell("other", "", "true").install(&machine);
    let api = Api::start(&machine);
    let asked = api.post("/executions", &json!({ "action": "asks.tell" })).is(201).json();
    let id = asked["id"].as_str().expect("an id");
    api.becomes(id, "running");
    let told = wait_for("what it is told", || fs::read_to_string(&told).ok());
    let (url, token) = told.trim().split_once(' ').expect("a URL and a token");
    assert_eq!(url, api.url);
    assert!(token.starts_with("attune_"), "{token}");
    let run = |token: &str, action: &str| {
        let body = json!({ "action": action, "parameters": {} });
        api.ask(token, "POST", "/executions", &[], &body)
    };
    run(token, "asks.other").is(201);
    run(token, "core.echo").problem(403, "forbidden");
    api.ask(token, "GET", "/tokens", &[], &Json::Null).problem(403, "forbidden");
    let (front, last) = token.split_at(token.len() - 1);
    let forged = format!("{front}{}", if last == "0" { "1" } else { "0" });
    run(&forged, "asks.other").problem(401, "unauthorized");
    let audit = api.get("/audit").is(200).json();
    assert!(audit.to_string().contains(&format!("execution {id}")), "{audit}");

    fs::write(&go, "").expect("written");
    let ended = api.becomes(id, "succeeded");
    assert!(!ended.to_string().contains(token), "{ended}");
    let log = api.get(&format!("/executions/{id}/log")).is(200).json().to_string();
    assert!(log.contains("***") && !log.contains(token), "{log}");
    run(token, "asks.other").problem(401, "unauthorized");
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
