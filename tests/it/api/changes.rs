//! What is installed, changed over the API.

use serde_json::{Value as Json, json};

use super::{Api, pack};
use crate::support::cli::{Machine, wait_for};

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
fn what_is_added_by_itself_is_read_like_a_file_of_the_pack() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let action = json!({
        "ref": "served.again", "label": "Again", "runtime": "shell", "entry_point": "actions/say.sh",
        "runtime_version_constraint": ">=4", "timeout": 5, "env_vars": { "A": "b", "PATH": { "prepend": "/x" } },
        "secrets": [{ "name": "key", "required": false }],
        "parameters": { "type": "object", "properties": { "word": { "type": "string" } } },
    });
    let made = api.post("/actions", &action);
    let shown = made.is(201).json();
    for (key, value) in action.as_object().expect("fields") {
        let same = shown[key] == *value || shown[key].as_f64() == value.as_f64() && value.is_number();
        assert!(same || key == "secrets", "{key}: {shown}");
    }
    assert_eq!(shown["secrets"][0]["name"], "key");
    assert_eq!(shown["ad_hoc"], true);
    api.post("/actions", &action).problem(409, "duplicate");
    let with = |key: &str, value: Json| {
        let mut action = action.clone();
        action["ref"] = json!("served.other");
        action[key] = value;
        api.post("/actions", &action)
    };
    let problem = with("runtime_version_constraint", json!(">=3.12 <")).problem(422, "invalid-constraint");
    assert_eq!(problem["field"], "/runtime_version_constraint");
    assert!(problem["position"].as_u64().is_some_and(|position| position >= 8), "{problem}");
    for (key, value) in [
        ("runtime", json!("no-such")),
        ("entry_point", json!("../../etc/passwd")),
        ("entry_point", json!("actions/none.sh")),
        ("version_policy", json!("lax")),
        ("timeout", json!(0)),
        ("env_vars", json!({ "ATTUNE_X": "y" })),
        ("ref", json!("none.other")),
        ("runtime_version_constraint", json!("newest-of-all")),
    ] {
        let problem = with(key, value.clone()).problem(422, "invalid");
        let field = problem["field"].as_str().unwrap_or_default();
        assert!(field.is_empty() || field.starts_with(&format!("/{key}")), "{key} {value}: {problem}");
    }
    let unknown = with("labl", json!("x")).problem(422, "invalid");
    assert!(unknown["detail"].as_str().is_some_and(|detail| detail.contains("labl")), "{unknown}");

    let run = |parameters: Json| {
        let asked = api.post("/executions", &json!({ "action": "served.again", "parameters": parameters }));
        asked.is(201).json()["id"].as_str().expect("an id").to_owned()
    };
    let id = run(json!({ "word": "x" }));
    api.becomes(&id, "succeeded");
    let log = api.get(&format!("/executions/{id}/log")).is(200).json();
    assert!(log["items"].to_string().contains("said"), "{log}");
    let change = |body: Json| api.patch("/actions/served.again", &body);
    let changed = change(json!({ "timeout": null, "retries": 2, "label": "Once more" })).is(200).json();
    assert_eq!((&changed["timeout"], &changed["retries"]), (&Json::Null, &json!(2)));
    assert_eq!(changed["env_vars"], action["env_vars"], "what is left out stays");
    assert_eq!(change(json!({ "ref": "served.x" })).problem(422, "invalid")["field"], "/ref");
    assert_eq!(change(json!({ "retries": "many" })).problem(422, "invalid")["field"], "/retries");
    let delete = |path: &str| api.ask(&api.token, "DELETE", path, &[], &Json::Null);
    delete("/actions/served.again").is(204);
    api.get("/actions/served.again").problem(404, "not-found");

    let sensor = json!({ "ref": "served.watch", "runtime": "shell", "entry_point": "actions/say.sh",
        "runtime_version_constraint": ">=4" });
    assert_eq!(api.post("/sensors", &sensor).is(201).json()["runtime_version_constraint"], ">=4");
    let patched = json!({ "runtime_version_constraint": ">=5" });
    let patched = api.patch("/sensors/served.watch", &patched).is(200).json();
    assert_eq!(patched["runtime_version_constraint"], ">=5");
    let listed = api.get("/sensors").is(200).json();
    assert_eq!(listed["items"][0]["runtime_version_constraint"], ">=5");
    let wrong = json!({ "runtime_version_constraint": "=>5" });
    api.patch("/sensors/served.watch", &wrong).problem(422, "invalid-constraint");
    delete("/sensors/served.watch").is(204);
}

#[test]
fn a_runtime_is_added_changed_and_deleted() {
    let machine = Machine::bare();
    pack(&machine);
    crate::support::fixture::tool(&machine, "3.12.1");
    let api = Api::start(&machine);
    let runtime = json!({
        "ref": "served.tool", "label": "Tool", "aliases": ["hammer"],
        "plugin": { "component": "core.declarative", "grants": {
            "tools": ["tool"], "search": [{ "source": "home", "folders": ["~/tools/*/bin"] }] } },
        "distributions": { "verification": { "commands": [
            { "binary": "tool", "args": ["--version"], "pattern": "^tool (?P<version>\\S+)" }] } },
        "execution_config": { "interpreter": { "binary": "tool" } },
    });
    api.post("/runtimes", &runtime).problem(403, "not-approved");
    let made = api.post("/runtimes?approve=true", &runtime);
    assert_eq!(made.is(201).json()["ad_hoc"], true);
    api.post("/runtimes?approve=true", &runtime).problem(409, "duplicate");
    let versions = "/runtimes/served.tool/versions";
    api.post(versions, &json!({ "version": "3.12" })).is(201);
    api.post("/runtimes/served.tool/verify", &Json::Null).is(200);
    // It is verified as the runtime says, and counts when its worker is there.
    let is_available = || {
        wait_for("an available version", || {
            let version = api.get(&format!("{versions}/3.12")).is(200).json();
            (version["available"] == true).then_some(())
        });
    };
    is_available();
    let patch = |path: &str, body: Json| api.patch(path, &body);
    let version = format!("{versions}/3.12");
    let changed =
        patch(&version, json!({ "meta": { "eol": "2028-10-31" }, "available": false })).is(200).json();
    assert_eq!((&changed["meta"]["eol"], &changed["available"]), (&json!("2028-10-31"), &json!(false)));
    api.post(&format!("{version}/verify"), &Json::Null).is(200);
    is_available();

    let action = json!({ "ref": "served.by", "runtime": "hammer", "entry_point": "actions/say.sh" });
    api.post("/actions", &action).is(201);
    let renamed = patch("/runtimes/served.tool", json!({ "aliases": [], "label": "Own" }));
    renamed.problem(409, "in-use");
    let changed = patch("/runtimes/served.tool", json!({ "label": "Own" })).is(200).json();
    assert_eq!(changed["label"], "Own");
    let shown = api.post("/resolve", &json!({ "action": "served.by" })).is(200).json();
    assert_eq!(shown["selected"]["version"], "3.12.1", "what is left out stays: {shown}");
    patch("/runtimes/served.tool", json!({ "plugin": {} })).problem(422, "invalid");
    let delete = |path: &str| api.ask(&api.token, "DELETE", path, &[], &Json::Null);
    delete("/runtimes/served.tool").problem(409, "in-use");
    delete("/actions/served.by").is(204);
    delete("/runtimes/served.tool").is(204);
    api.get("/runtimes/served.tool").problem(404, "not-found");
    let mut other = runtime.clone();
    other["plugin"]["component"] = json!("core.none");
    assert_eq!(
        api.post("/runtimes?approve=true", &other).problem(422, "invalid")["field"],
        "/plugin/component"
    );
}

#[test]
fn what_a_runtime_declares_is_shown_as_it_can_be_written() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let runtimes = api.get("/runtimes").is(200).json();
    let runtimes = runtimes["items"].as_array().expect("items");
    assert!(runtimes.len() >= 4, "those of the core pack: {runtimes:?}");
    for runtime in runtimes {
        let path = format!("/runtimes/{}", runtime["ref"].as_str().expect("a reference"));
        let declared = |runtime: &Json| {
            let field = |name: &str| runtime[name].clone();
            ["label", "description", "aliases", "distributions", "execution_config"].map(field)
        };
        let [label, description, aliases, distributions, execution_config] = declared(runtime);
        assert!(distributions.is_object() && execution_config.is_object(), "{runtime}");
        let same = json!({ "label": label, "description": description, "aliases": aliases,
            "distributions": distributions, "execution_config": execution_config });
        let changed = api.patch(&path, &same).is(200).json();
        assert_eq!(declared(&changed), declared(runtime));
        // What is left out stays.
        let other = api.patch(&path, &json!({ "label": "Other" })).is(200).json();
        assert_eq!(other["execution_config"], execution_config);
        assert_eq!((&other["distributions"], &other["label"]), (&distributions, &"Other".into()));
    }
    let wrong = json!({ "execution_config": { "interpreter": { "bin": "x" } } });
    let said = api.patch("/runtimes/core.python", &wrong).problem(422, "invalid");
    assert_eq!(said["field"], "/execution_config/interpreter/bin");
}
