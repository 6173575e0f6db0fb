//! Secrets reach the action that declares them, and nothing that is kept or shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::cli::Machine;
use crate::support::fixture::Pack;

const SECRET: &str = "correct-horse-battery";

fn machine() -> Machine {
    let machine = Machine::new();
    let file = machine.write("secrets.yaml", format!("token: {SECRET}\nother: not-declared-anywhere\n"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let read = "secrets: [{ name: token, required: true }]";
    let variable = "secrets: [{ name: token, env: TOKEN, required: true }]";
    Pack::new("vault")
        .shell("print", read, "cat; cat /proc/$$/environ | tr '\\0' '\\n' >&2")
        .shell("spell", variable, r#"printf %s "$TOKEN" | base64; printf '%s\n' "$TOKEN"; echo "$TOKEN" >&2"#)
        .shell("length", variable, r#"echo "${#TOKEN}""#)
        .shell("echo", "parameters: {type: object}", "cat")
        .install(&machine);
    machine
}

#[test]
fn they_are_masked_wherever_they_would_be_kept() {
    let machine = machine();
    for action in ["vault.print", "vault.spell"] {
        for json in [&[][..], &["--json"]] {
            let arguments = [&["run", action, "--secrets", "secrets.yaml", "-vv"], json].concat();
            let output = machine.runs(0, &arguments);
            assert!(!output.to_string().contains(SECRET), "{output}");
            output.says(&[if action == "vault.print" { "ATTUNE_ACTION=vault.print" } else { "***" }]);
        }
        for command in [&["execution", "show", "last"][..], &["execution", "logs", "last"]] {
            let output = machine.runs(0, command);
            let shown = output.to_string();
            let spelt = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";
            assert!(!shown.contains(SECRET) && !shown.contains(spelt), "{shown}");
            output.prints(&["***"]);
        }
    }
    let secret = SECRET.as_bytes();
    for file in ["attune.db", "attune.db-wal"] {
        let kept = fs::read(machine.at("data").join(file)).unwrap_or_default();
        assert!(!kept.windows(secret.len()).any(|window| window == secret), "{file} has it");
    }
}

#[test]
fn they_arrive_and_only_those_that_are_declared() {
    let machine = machine();
    let run = machine.json(&["run", "vault.length", "--secrets", "secrets.yaml"]);
    assert_eq!(run["result"], SECRET.len().to_string());
    let output = machine.runs(0, &["run", "vault.print", "--secrets", "secrets.yaml"]);
    assert!(!output.to_string().contains("not-declared-anywhere"), "{output}");
    let output = machine.runs(0, &["run", "vault.echo", "--secrets", "secrets.yaml", "-p", "a=b"]);
    assert_eq!(output.stdout, "{\"a\":\"b\"}\n");
    let file = machine.at("secrets.yaml");
    let machine = machine.and("ATTUNE_SECRETS_FILE", file);
    assert_eq!(machine.json(&["run", "vault.length"])["result"], SECRET.len().to_string());
}

#[test]
fn a_dry_run_needs_none_and_says_which() {
    let machine = machine();
    let output = machine.runs(0, &["run", "vault.length", "--dry-run"]);
    output.prints(&["secrets\n  token is needed, and no file of secrets is named: --secrets FILE\n"]);
    // It is not so much as opened.
    let output = machine.runs(0, &["run", "vault.length", "--secrets", "gone.yaml", "--dry-run"]);
    output.prints(&["secrets\n  token would be read from gone.yaml\n"]);
    let given = ["run", "vault.spell", "--secrets", "secrets.yaml", "--dry-run"];
    let output = machine.runs(0, &given);
    assert!(!output.to_string().contains(SECRET), "{output}");
    let shown = machine.json(&given);
    assert_eq!(shown["secrets"], json!([{"name": "token", "required": true}]));
    assert_eq!(shown["secrets_file"], "secrets.yaml");
    assert!(!shown.to_string().contains(SECRET), "{shown}");
    assert_eq!(machine.json(&["execution", "list"]), json!([]));
}

#[test]
fn without_them_nothing_runs() {
    let machine = machine();
    machine.runs(2, &["run", "vault.length"]).says(&["token", "--secrets FILE"]);
    fs::set_permissions(machine.at("secrets.yaml"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let output = machine.runs(2, &["run", "vault.length", "--secrets", "secrets.yaml"]);
    output.says(&["chmod 600"]);
    assert!(!output.stderr.contains("hint:"), "the message says it all: {output}");
    let absent = machine.runs(2, &["run", "vault.length", "--secrets", "gone.yaml"]);
    absent.says(&["cannot read `gone.yaml`: No such file", "hint: the file is what --secrets FILE names"]);
    let folder = machine.runs(2, &["run", "vault.length", "--secrets", "packs"]);
    folder.says(&["cannot read `packs`: is a directory"]);
    machine.write("secrets.yaml", "token: [1]\n");
    let file = machine.at("secrets.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let output = machine.runs(2, &["run", "vault.length", "--secrets", "secrets.yaml"]);
    output.says(&["is not a map of names to texts", "hint: write each secret as its name and a text"]);
}

#[test]
fn one_that_is_too_short_to_be_masked_is_pointed_out() {
    let machine = machine();
    let file = machine.write("short.yaml", "token: abc\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let output = machine.runs(0, &["run", "vault.length", "--secrets", "short.yaml"]);
    let said = output.stderr.lines().next().unwrap_or_default();
    assert_eq!(said, "warning: the secret `token` is too short to be masked");
    assert_eq!(machine.last()["warnings"][0], "the secret `token` is too short to be masked");
}

#[test]
fn the_example() {
    let machine = machine();
    let file = machine.write("example.json", format!("{{\"api_token\": \"{SECRET}\"}}"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let run = machine.json(&["run", "examples.secret", "--secrets", "example.json"]);
    assert_eq!(run["result"]["length"], SECRET.len());
}
