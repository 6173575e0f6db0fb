//! What a request says that can't be, and what is said to that.

use serde_json::{Value as Json, json};

use super::{Answer, Api, pack};
use crate::support::cli::Machine;

#[test]
fn what_an_address_says_counts_or_is_refused() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    for (path, field, said) in [
        ("/executions?stauts=failed", "query/stauts", "did you mean `status`?"),
        ("/workers?all=1", "query/all", "there are limit, cursor, sort"),
        ("/packs/core?watch=true", "query/watch", "nothing is asked for"),
        ("/executions?limit=many", "query/limit", "`many`: invalid digit"),
        ("/executions?limit=1&limit=2", "query", "duplicate field `limit`"),
        ("/actions?enabled=yes", "query/enabled", "`yes`"),
    ] {
        let problem = api.get(path).problem(422, "invalid");
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem.to_string().contains(said), "{problem}");
    }
    let dry = api.post("/executions?dryrun=true", &json!({ "action": "served.slow" }));
    assert_eq!(dry.problem(422, "invalid")["hint"], "did you mean `dry_run`?");
    assert_eq!(api.get("/executions").json()["items"], json!([]), "nothing was done");
    for path in [
        "/actions/%ff",
        "/actions/a%00b",
        "/runtimes/core.shell/versions/%00",
        "/actions?cursor=%00",
        "/actions?pack=%ff",
    ] {
        api.get(path).problem(400, "unreadable");
    }
    let delete = |path: &str| api.ask(&api.token, "DELETE", path, &[], &Json::Null);
    delete("/tokens/%00").problem(400, "unreadable");
    assert!(delete("/tokens/none").header("x-request-id").is_some());
}

#[test]
fn what_is_probably_meant_is_said() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let hint = |answer: &Answer, status, kind: &str| answer.problem(status, kind)["hint"].clone();
    assert_eq!(hint(&api.get("/actions/served.sya"), 404, "not-found"), "did you mean `served.say`?");
    let asked = api.post("/executions", &json!({ "action": "served.slwo" }));
    assert_eq!(hint(&asked, 422, "invalid"), "did you mean `served.slow`?");
    // A token for another pack is told nothing of this one.
    let other = machine.runs(0, &["token", "create", "other", "--role", "operator", "--pack", "core"]).stdout;
    let told = api.ask(other.trim_end(), "GET", "/actions/served.sya", &[], &Json::Null);
    assert_eq!(hint(&told, 404, "not-found"), Json::Null);

    let remote = machine.runs(4, &["run", "served.sya", "--server", api.url.trim_end_matches("/api/v1")]);
    remote.says(&["there is no action `served.sya`", "did you mean `served.say`?"]);
}

#[test]
fn what_a_body_says_wrongly_is_said_with_its_place() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    for (path, body, field, said) in [
        ("/resolve", json!({ "runtime": "nope" }), "/runtime", "no runtime called `nope`"),
        (
            "/executions",
            json!({ "action": "served.say", "parameters": { "word": 3 } }),
            "/parameters/word",
            "the parameters don't match the schema",
        ),
        (
            "/tokens",
            json!({ "name": "soon", "role": "viewer", "expires_at": "tomorrow" }),
            "/expires_at",
            "2030-01-31T12:00:00Z",
        ),
    ] {
        let problem = api.post(path, &body).problem(422, "invalid");
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem.to_string().contains(said), "{problem}");
    }
    let large = json!({ "action": "x".repeat(3 << 20) });
    let large = api.post("/executions", &large).problem(413, "too-large");
    assert_eq!(large["hint"], "2 MiB is the most, and 128 MiB for an archive");

    let timed = |timeout: Json| {
        let action = json!({ "ref": "served.timed", "runtime": "shell", "entry_point": "actions/say.sh",
            "timeout": timeout });
        api.post("/actions", &action)
    };
    for timeout in [json!("soon"), json!(-1)] {
        let problem = timed(timeout).problem(422, "invalid");
        assert_eq!(problem["field"], "/timeout");
        assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("`90s`")), "{problem}");
    }
    assert_eq!(timed(json!("90s")).is(201).json()["timeout"], 90.0, "as the hint says");

    // One engine can keep it, the other says that it can't.
    let nul = api.post("/resolve", &json!({ "runtime": "core.\u{0}" }));
    nul.problem(422, "invalid");
}

#[test]
fn a_key_is_a_key() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let ask = |token: &str, key: &str, action: &str| {
        api.ask(token, "POST", "/executions", &[("Idempotency-Key", key)], &json!({ "action": action }))
    };
    for key in ["", &"k".repeat(256), "schlüssel"] {
        assert_eq!(
            ask(&api.token, key, "served.slow").problem(422, "invalid")["field"],
            "header/Idempotency-Key"
        );
    }
    let made = ask(&api.token, &"k".repeat(255), "served.slow");
    let id = made.is(201).json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(made.header("location"), Some(format!("/api/v1/executions/{id}").as_str()));
    // Whoever may not see it is not told which it is.
    let other = machine.runs(0, &["token", "create", "other", "--role", "operator", "--pack", "core"]).stdout;
    let taken = ask(other.trim_end(), &"k".repeat(255), "core.echo").problem(409, "idempotency-key-used");
    assert!(!taken.to_string().contains(&id), "{taken}");
    api.post(&format!("/executions/{id}/cancel"), &Json::Null).is(200);

    api.get(&format!("/executions/{id}/log?attempt=9")).problem(404, "not-found");
    api.get(&format!("/executions/{id}/log?attempt=0")).problem(404, "not-found");
    api.get(&format!("/executions/{id}/log")).is(200);
}

#[test]
fn a_change_says_what_it_is_a_change_of() {
    let machine = Machine::new();
    // A worker would say what is available.
    let api = Api::start_with(&machine, "127.0.0.1:0", &[]);
    let made = api.post("/runtimes/core.shell/versions", &json!({ "version": "9 beta" }));
    made.problem(422, "invalid");
    let made = api.post("/runtimes/core.shell/versions", &json!({ "version": " 9.9 " }));
    let place = made.is(201).header("location").expect("a place").to_owned();
    assert_eq!(place, "/api/v1/runtimes/core.shell/versions/9.9");
    let path = place.strip_prefix("/api/v1").expect("of the API");
    let tag = made.header("etag").expect("a tag").to_owned();
    let change = |headers: &[(&str, &str)], body: Json| api.ask(&api.token, "PATCH", path, headers, &body);

    let blind = change(&[], json!({ "available": true })).problem(428, "unconditional");
    assert_eq!(blind["field"], "header/If-Match");
    change(&[("If-Match", "9.9")], json!({ "available": true })).problem(422, "invalid");
    let any = format!("\"{}\", {tag}", "0".repeat(32));
    let both = json!({ "available": true, "meta": { "eol": "2031" } });
    let changed = change(&[("If-Match", &any)], both);
    assert_eq!(changed.is(200).json()["available"], true, "one of them is its state");
    assert_eq!(changed.json()["meta"]["eol"], "2031");
    change(&[("If-Match", &any)], json!({ "available": false })).problem(412, "changed-since");
    // What somebody says of it is another state, also if that is no more than whether it is there.
    let tag = changed.header("etag").expect("a tag").to_owned();
    let gone = change(&[("If-Match", &tag)], json!({ "available": false }));
    assert_eq!(gone.is(200).json()["meta"]["eol"], "2031", "what is left out stays");
    assert_ne!(gone.header("etag"), Some(tag.as_str()));
    change(&[("If-Match", &tag)], json!({ "available": true })).problem(412, "changed-since");
    change(&[("If-Match", "*")], json!({ "available": true })).is(200);
}
