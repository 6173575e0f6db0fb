//! What is installed, changed over the API.

use serde_json::{Value as Json, json};

use super::{Api, pack};
use crate::support::cli::Machine;

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
