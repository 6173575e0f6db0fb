//! Who may do what, and from where.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Api, pack};
use crate::support::cli::Machine;

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
