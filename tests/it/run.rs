//! `attune run`: what goes in, what comes out, and what is on record afterwards.

mod given;
mod secrets;
mod versions;

use std::fs;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::support::cli::Machine;
use crate::support::fixture::Pack;

/// The stages that an execution went through.
fn stages(run: &Json) -> Vec<&str> {
    run["timings"].as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_first_command_of_the_readme() {
    let machine = Machine::new();
    let output = machine.runs(0, &["run", "examples.greet", "-p", "name=Ada"]);
    assert_eq!(output.stdout, "Hello, Ada!\n", "the result and nothing else");
    let choice = machine.last();
    let version = choice["selected_version"].as_str().expect("a version");
    let path = choice["installation_path"].as_str().expect("a path");
    output.says(&[
        "examples.greet succeeded",
        &format!("{version} at {path}"),
        "because `>=3.9` was asked for",
        "took    start ",
    ]);
    assert!(path.starts_with('/'), "{path}");
}

#[test]
fn without_a_terminal_there_is_no_progress_and_no_colour() {
    let machine = Machine::new();
    let output = machine.runs(0, &["run", "examples.greet"]);
    assert!(!output.stderr.contains('\x1b') && !output.stderr.contains('\r'), "{output}");
    let output = machine.runs(0, &["run", "examples.greet", "--quiet"]);
    assert_eq!(output.stderr, "");
    assert_eq!(output.stdout, "Hello, World!\n");
}

#[test]
fn as_json() {
    let machine = Machine::new();
    let run = machine.json(&["run", "examples.greet", "-p", "name=Ada"]);
    assert_eq!(run["result"], "Hello, Ada!");
    assert_eq!((&run["status"], &run["exit_code"]), (&json!("succeeded"), &json!(0)));
    let chosen = run["selection"]["candidates"].as_array().expect("a list");
    assert_eq!(chosen.iter().filter(|candidate| candidate["chosen"] == true).count(), 1);
    assert!(chosen.iter().all(|candidate| candidate["reason"].is_string()), "{run}");
    assert_eq!(run["selection"]["selected"]["version"], run["installation"]["version"]);
    assert_eq!(run["installation"]["status"], "verified");
}

#[test]
fn the_second_run_detects_nothing_and_builds_nothing() {
    let machine = Machine::bare();
    // Folders that were made within a tick of the kernel's clock are looked at again.
    std::thread::sleep(Duration::from_millis(50));
    let first = machine.json(&["run", "core.echo"]);
    assert_eq!(stages(&first), ["start", "ask", "detect", "environment", "launch", "run", "result"]);
    let second = machine.json(&["run", "core.echo"]);
    assert_eq!(stages(&second), ["start", "ask", "select", "environment", "launch", "run", "result"]);
    assert_eq!(second["environment_built"], false);
    assert_eq!(second["installation"], first["installation"], "and it is the same one");
}

#[test]
fn exit_codes_of_what_went_wrong() {
    let machine = Machine::new();
    Pack::new("codes")
        .shell("seven", "", "exit 7")
        .shell("killed", "", "kill -9 $$")
        .shell("slow", "timeout: 300ms", "sleep 60")
        .shell("idle", "", "sleep 60")
        .shell("off", "enabled: false", "exit 0")
        .install(&machine);
    for (code, arguments, words) in [
        (7, &["run", "codes.seven"][..], "nonzero_exit: the action ended with exit code 7"),
        (1, &["run", "codes.killed"], "killed_by_signal: the action was ended by signal 9 (SIGKILL)"),
        (2, &["run", "codes.off"], "the action `codes.off` is disabled"),
        (2, &["run", "greet"], "greet"),
        (2, &["run", "examples.greet", "-p", "name"], "write `name=value`"),
        (2, &["run", "examples.greet", "--params", "/nowhere.json"], "/nowhere.json"),
        (2, &["run", "examples.greet", "--constraint", "lts"], "`lts`"),
        (2, &["run", "examples.greet", "--timeout", "soon"], "soon"),
        (3, &["run", "examples.greet", "--constraint", ">=99"], "satisfies `>=99`"),
        (4, &["run", "examples.gret"], "did you mean `examples.greet`?"),
        (4, &["run", "nothing.here"], "there is no action `nothing.here`"),
        (124, &["run", "codes.slow"], "timeout: the action ran longer than 300ms"),
        (124, &["run", "codes.idle", "--timeout", "200ms"], "timeout: the action ran longer than 200ms"),
        (2, &["run", "codes.seven", "--timeout", "0"], "no time; leave it out for the action's own"),
    ] {
        machine.runs(code, arguments).says(&[words]);
    }
    // What was never accepted is not on record.
    let recorded = machine.json(&["execution", "list"]);
    let recorded = recorded.as_array().expect("a list");
    let mut seen = recorded.iter().map(|row| row["status"].as_str().expect("a status")).collect::<Vec<_>>();
    seen.sort_unstable();
    assert_eq!(seen, ["failed", "failed", "failed", "timed_out", "timed_out"]);
}

#[test]
fn what_was_not_started_was_not_timed() {
    let machine = Machine::new();
    let output = machine.runs(3, &["run", "examples.greet", "--constraint", ">=99", "--json"]);
    assert_eq!(stages(&output.json()), ["start", "ask", "detect"]);
    machine
        .runs(3, &["run", "examples.greet", "--constraint", ">=99"])
        .says(&["took    start ", " in all\n"]);
    let shown = machine.last();
    assert_eq!(stages(&shown), ["start", "ask", "detect"]);
    assert_eq!(shown["error"]["class"], "no_match");
}

#[test]
fn a_failure_as_json_has_the_exit_code_and_the_class() {
    let machine = Machine::new();
    Pack::new("codes").shell("seven", "", "echo out; echo complaint >&2; exit 7").install(&machine);
    let output = machine.runs(7, &["run", "codes.seven", "--json"]);
    let run = output.json();
    assert_eq!(run["status"], "failed");
    assert_eq!(run["exit_code"], 7);
    assert_eq!(run["error"]["class"], "nonzero_exit");
    assert_eq!(run["result"], Json::Null);
    assert_eq!(output.stderr, "complaint\n");
}

#[test]
fn a_dry_run_does_nothing() {
    let machine = Machine::new();
    let before = machine.json(&["env", "list"]);
    let output = machine.runs(0, &["run", "examples.slugify", "-p", "text=x", "--dry-run"]);
    output.prints(&[
        "nothing was done; this is the plan\n\nselection\n",
        " was asked for: ",
        "would be built",
        "known when the environment is built",
    ]);
    assert!(!output.stdout.contains("import os"), "a script is told by its length alone: {output}");
    output.prints(&["(a script of ", " lines)"]);
    let is_numbered = |line: &&str| {
        line.trim_start().split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    };
    let numbered = output.stdout.lines().filter(is_numbered);
    let steps = machine.json(&["run", "examples.slugify", "-p", "text=x", "--dry-run"]);
    let steps = steps["environment"]["plan"]["steps"].as_array().expect("steps").len();
    assert_eq!(numbered.count(), steps, "a line for each step: {output}");
    let mut said = output.stdout.lines().filter_map(|line| line.split_once(": "));
    let twice =
        said.find(|(title, what)| title.split_once(". ").is_some_and(|(_, title)| what.starts_with(title)));
    assert_eq!(twice, None, "{output}");
    assert_eq!(machine.json(&["env", "list"]), before);
    assert_eq!(machine.json(&["execution", "list"]), json!([]));
    let built = machine.at("data/envs/.built");
    assert!(!built.exists() || built.read_dir().expect("a folder").next().is_none(), "nothing was built");

    let preview = machine.json(&["run", "core.echo", "-p", "name=Ada", "--dry-run"]);
    assert_eq!(preview["dry_run"], true);
    assert_eq!(preview["parameters"], json!({"name": "Ada"}));
    assert_eq!(preview["command"]["program"], preview["selection"]["selected"]["path"]);
    assert_eq!(preview["environment"]["ready"], false, "a shell needs none");
    let output = machine.runs(0, &["run", "core.echo", "-p", "name=Ada", "--dry-run"]);
    output.prints(&["environment\n  none is needed\n", "parameters\n  {\"name\":\"Ada\"}\n"]);
    assert!(!output.stdout.contains("secrets"), "it has none: {output}");
    machine.runs(3, &["run", "examples.greet", "--constraint", ">=99", "--dry-run"]);
    machine.runs(2, &["run", "examples.greet", "-p", "nme=Ada", "--dry-run"]);
}

#[test]
fn what_starts_by_itself_is_named() {
    let machine = Machine::new();
    let script = "#!/bin/sh\necho by itself\n";
    Pack::new("alone").action("say.sh", "runtime: core.native", script).install(&machine);
    let run = machine.json(&["run", "alone.say"]);
    assert_eq!(run["installation"], Json::Null);
    let program = run["program"].as_str().expect("a path").to_owned();
    assert_eq!(fs::read_to_string(&program).expect("it is there"), script);
    assert!(program.starts_with('/') && program.ends_with("/actions/say.sh"), "{program}");
    let ran_by = format!("ran by  Native at {program}\n");
    machine.runs(0, &["run", "alone.say"]).says(&[&ran_by]);
    machine.runs(0, &["execution", "watch", "last"]).says(&[&ran_by]);
    let shown = machine.runs(0, &["execution", "show", "last"]);
    assert!(
        shown.stdout.lines().any(|line| line.starts_with("program") && line.ends_with(&program)),
        "{shown}"
    );
    let preview = machine.runs(0, &["run", "alone.say", "--dry-run"]);
    preview.prints(&[&format!("command\n  {program}\n")]);
}

#[test]
fn every_example_that_needs_no_packages() {
    let machine = Machine::new();
    machine.runs(0, &["run", "examples.disk", "-p", "folder=/"]).prints(&["/"]);
    let run = machine.json(&["run", "examples.stream", "-p", "seconds=1"]);
    assert_eq!(run["result"], json!([{"second": 1, "of": 1}]));
}
