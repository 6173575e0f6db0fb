//! What is on record of executions, whoever ended them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, Output, wait_for};
use crate::support::fixture::{self, Pack, tool, tools};

/// A machine with an action that says its process and runs until somebody ends it.
fn machine() -> Machine {
    let machine = Machine::new().and("ATTUNE_KILL_GRACE", "200ms");
    Pack::new("long").shell("sleep", "", "echo $$\nwhile :; do sleep 0.1; done").install(&machine);
    machine
}

/// Starts it and waits until it runs.
fn started(machine: &Machine) -> (Child, Pid) {
    let mut child = machine.start(&["run", "long.sleep"]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process");
    (child, pid)
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it is there");
}

fn is_gone(pid: Pid) -> Option<()> {
    test_kill_process(pid).is_err().then_some(())
}

#[test]
fn output_that_gets_nowhere_is_no_success() {
    let machine = Machine::new();
    Pack::new("talk")
        .shell("much", "", "echo much")
        .shell("fail", "", "echo much; exit 3")
        .shell("none", "", "true")
        .install(&machine);
    for (action, code, said) in [("much", 1, true), ("fail", 3, true), ("none", 0, false)] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a device");
        let ended = machine.command(&["run", &format!("talk.{action}")]).stdout(full).output();
        let ended = Output::new(&ended.expect("it runs"));
        assert_eq!(ended.code, code, "{action}: {ended}");
        assert_eq!(ended.stderr.contains("what the action printed can't be passed on"), said, "{ended}");
    }
    machine.runs(0, &["execution", "logs", "last"]);
    let listed = machine.json(&["execution", "list", "--action", "talk.much"]);
    assert_eq!(listed[0]["status"], "succeeded", "the action itself did");
}

#[test]
fn what_ran_is_listed_shown_and_its_output_kept() {
    let machine = Machine::new();
    machine.runs(0, &["execution", "list"]).prints(&["no executions yet"]);
    Pack::new("talk")
        .shell("both", "", "echo out; echo err >&2")
        .shell("fail", "", "exit 3")
        .install(&machine);
    machine.runs(0, &["run", "talk.both"]);
    machine.runs(3, &["run", "talk.fail"]);
    machine.runs(0, &["run", "core.echo"]);
    let list = |arguments: &[&str]| {
        let listed = machine.json(&[&["execution", "list"], arguments].concat());
        let listed = listed.as_array().expect("a list").iter();
        listed.map(|row| row["action"].as_str().expect("an action").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["core.echo", "talk.fail", "talk.both"], "newest first");
    assert_eq!(list(&["--action", "talk.both"]), ["talk.both"]);
    assert_eq!(list(&["--status", "failed"]), ["talk.fail"]);
    assert_eq!(list(&["-n", "2"]), ["core.echo", "talk.fail"]);
    let none = |filter: &[&str]| machine.runs(0, &[&["execution", "list"], filter].concat()).stdout;
    assert_eq!(none(&["--status", "queued"]), "no execution matches\n");
    assert_eq!(none(&["--action", "talk.both", "--status", "failed"]), "no execution matches\n");
    assert_eq!(
        none(&["--action", "talk.boht"]),
        "no execution matches, and there is no action `talk.boht`; did you mean `talk.both`?\n"
    );
    machine.runs(2, &["execution", "list", "-n", "0"]).says(&["--limit"]);
    machine
        .runs(2, &["execution", "list", "--status", "asleep"])
        .says(&["`asleep` is not `queued`, `running`, ", "`cancelled` or `abandoned`"]);

    let listed = machine.json(&["execution", "list", "--action", "talk.both"]);
    let id = listed[0]["id"].as_str().expect("an identifier");
    let shown = machine.runs(0, &["execution", "show", id]);
    shown.prints(&[id, "talk.both", "succeeded", "core.shell", "/bash", "timings", "run "]);
    let logs = |more: &[&str]| machine.runs(0, &[&["execution", "logs", id], more].concat()).stdout;
    let both = logs(&[]);
    assert!(both == "out\nerr\n" || both == "err\nout\n", "{both}");
    assert_eq!(logs(&["--stream", "stdout"]), "out\n");
    assert_eq!(logs(&["--stream", "stderr"]), "err\n");
    machine.runs(4, &["execution", "show", "01900000-0000-7000-8000-000000000000"]);
    machine.runs(2, &["execution", "show", "it"]).says(&["`attune execution list` shows, or `last`"]);
}

#[test]
fn the_beginning_of_an_identifier_is_enough() {
    let machine = Machine::new();
    for _ in 0..2 {
        machine.runs(0, &["run", "core.echo"]);
    }
    let listed = machine.json(&["execution", "list"]);
    let ids = [0, 1].map(|row| listed[row]["id"].as_str().expect("an identifier").to_owned());
    let common = ids[0].bytes().zip(ids[1].bytes()).take_while(|(one, other)| one == other).count();
    for id in &ids {
        let enough = &id[..=common];
        assert_eq!(machine.json(&["execution", "show", enough])["id"], **id);
        assert_eq!(machine.runs(0, &["execution", "logs", &enough.to_uppercase()]).stdout, "{}\n");
    }
    let both = machine.runs(2, &["execution", "show", &ids[0][..4]]);
    both.says(&[&ids[0], &ids[1], "core.echo", "error: more than one execution begins like that"]);
    machine.runs(4, &["execution", "show", "ffff"]).says(&["there is no such execution"]);
    machine.runs(2, &["execution", "show", &ids[0][..3]]).says(&["4 or more digits"]);
}

#[test]
fn what_was_printed_does_not_steer_a_terminal() {
    let machine = Machine::new();
    let steering = r"printf 'a\033]0;title\007b\033[31mred\n'";
    Pack::new("sly")
        .shell("print", "parameters: { type: object }", &format!("{steering}; cat"))
        .shell("fail", "output_format: json", steering)
        .install(&machine);
    machine.runs(0, &["run", "sly.print", "-p", "x=\u{1b}[2J\u{9b}2J"]);
    let shown = machine.runs(0, &["execution", "show", "last"]);
    assert!(!shown.stdout.contains(['\u{1b}', '\u{9b}', '\u{7}']), "{shown}");
    shown.prints(&["a\\x1b]0;title\\x07b\\x1b[31mred", "\\x9b2J"]);
    let json = machine.runs(0, &["execution", "show", "last", "--json"]);
    assert!(!json.stdout.contains(['\u{1b}', '\u{9b}']), "{json}");
    assert_eq!(json.json()["parameters"]["x"], "\u{1b}[2J\u{9b}2J");
    machine.runs(0, &["execution", "logs", "last"]).prints(&["a\u{1b}]0;title\u{7}b\u{1b}[31mred"]);
    let failed = machine.runs(1, &["run", "sly.fail"]);
    assert!(!failed.stderr.contains('\u{1b}'), "{failed}");
}

#[test]
fn what_nothing_matched_is_shown_with_what_was_considered() {
    let machine = Machine::bare();
    tool(&machine, "3.11.4");
    tools().action("new.sh", "runtime: tool\nruntime_version: \">=3.12\"", "").install(&machine);
    machine.runs(3, &["run", "tools.new"]);
    let shown = machine.runs(0, &["execution", "show", "last"]);
    shown.prints(&["no_match: ", "VERSION", "REASON", "3.11.4", "below the range"]);
    machine.runs(3, &["execution", "watch", "last"]).says(&["no_match: ", "3.11.4", "below the range"]);
    assert_eq!(machine.last()["selection"]["candidates"][0]["reason"], "below");
}

#[test]
fn what_is_large_is_shown_in_part_and_not_kept_whole_as_a_result() {
    const LARGE: usize = 1_200_000;
    let machine = Machine::new();
    let print = |bytes: usize| format!("head -c {bytes} /dev/zero | tr '\\0' x");
    Pack::new("large")
        .shell("middling", "", &print(100_000))
        .shell("text", "", &print(LARGE))
        .shell("json", "output_format: json", &format!("echo '\"'$({})'\"'", print(LARGE)))
        .install(&machine);
    machine.runs(0, &["run", "large.middling"]);
    let shown = machine.runs(0, &["execution", "show", "last"]).stdout;
    assert!(shown.len() < 20_000 && shown.contains(&"x".repeat(10_000)), "{} bytes", shown.len());
    assert!(
        shown.contains("[… 83616 more bytes: `attune execution show "),
        "{}",
        &shown[shown.len() - 200..]
    );
    assert_eq!(machine.last()["result"].as_str().map(str::len), Some(100_000));

    assert_eq!(machine.runs(0, &["run", "large.text"]).stdout.trim_end().len(), LARGE, "what is printed is");
    let row = machine.last();
    let (id, result) = (row["id"].as_str().expect("text"), row["result"].as_str().expect("text"));
    assert!(result.contains("\n[… 151424 bytes are missing here …]\n"), "{} bytes", result.len());
    assert!(result.len() < (1 << 20) + 100, "{} bytes", result.len());
    let warning = format!(
        "151424 bytes in the middle, beyond 1048576, are only in the log: `attune execution logs {id}"
    );
    assert!(row["warnings"][0].as_str().expect("a warning").contains(&warning), "{}", row["warnings"]);
    let logs = machine.runs(0, &["execution", "logs", id, "--stream", "stdout"]);
    assert_eq!(logs.stdout.len(), LARGE);

    let refused = machine.runs(1, &["run", "large.json"]);
    refused.says(&["result_too_large: the result is 1200002 bytes of JSON, and at most 1048576 are kept"]);
    let row = machine.last();
    assert_eq!((&row["result"], &row["error"]["class"]), (&Json::Null, &json!("result_too_large")));
}

#[test]
fn nothing_is_there_on_a_fresh_machine() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::fresh();
    assert_eq!(machine.json(&["execution", "list"]), json!([]));
    machine.runs(4, &["execution", "show", "last"]).says(&["there is no such execution"]);
    if !machine.keeps_a_file() {
        return;
    }
    let mode = fs::metadata(machine.at("data")).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "whichever command makes it, nobody else looks into it");
}

#[test]
fn asked_to_end_it_ends_what_it_started() {
    for asked in [Signal::INT, Signal::TERM] {
        let machine = machine();
        let (child, pid) = started(&machine);
        signal(&child, asked);
        let output = Output::new(&child.wait_with_output().expect("it ends"));
        assert_eq!(output.code, 130, "{output}");
        output.says(&["long.sleep cancelled"]);
        wait_for("the end of the action", || is_gone(pid));
        let row = machine.last();
        assert_eq!((&row["status"], &row["error"]["class"]), (&json!("cancelled"), &json!("cancelled")));
        assert!(machine.run_folders().is_empty());
    }
}

#[test]
fn asked_a_second_time_it_kills_at_once() {
    for again in [Signal::INT, Signal::TERM] {
        let machine = Machine::new().and("ATTUNE_KILL_GRACE", "10m");
        let ignoring = "trap '' TERM\necho $$\nwhile :; do sleep 0.1; done";
        Pack::new("long").shell("sleep", "", ignoring).install(&machine);
        let (mut child, pid) = started(&machine);
        signal(&child, Signal::INT);
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().expect("a pipe")).read_line(&mut said).expect("a line");
        assert!(said.contains("Ctrl-C again"), "{said}");
        assert_eq!(is_gone(pid), None, "it ignores that");
        // A terminal that closes is no second request.
        signal(&child, Signal::HUP);
        assert_eq!(is_gone(pid), None);
        signal(&child, again);
        let output = Output::new(&child.wait_with_output().expect("it ends"));
        assert_eq!(output.code, 130, "{output}");
        output.says(&["long.sleep cancelled", "did not end when asked to, and was killed"]);
        assert_eq!(is_gone(pid), Some(()));
    }
}

#[test]
fn what_it_was_started_with_does_not_reach_what_it_starts() {
    let list = "for n in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo open $n; done; true";
    let machine = Machine::bare();
    let tool = format!("#!/bin/sh\n{{ {list}; }} > ${{0%/bin/*}}/descriptors\necho tool 3.12.1\n");
    machine.script("home/tools/3.12.1/bin/tool", tool);
    fixture::tools().shell("list", "", list).install(&machine);
    for arguments in [&["runtime", "verify", "tools.tool"][..], &["run", "tools.list"]] {
        let attune = machine.command(arguments);
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().envs(attune.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.args(["-c", "exec 7</dev/null 8>leak 9<leak; exec \"$@\"", "sh"]);
        shell.arg(attune.get_program()).args(attune.get_args()).current_dir(&machine.path);
        let output = Output::new(&shell.output().expect("it starts"));
        assert_eq!(output.code, 0, "{output}");
        assert!(!output.stdout.contains("open "), "{output}");
    }
    let seen = machine.at("home/tools/3.12.1/descriptors");
    assert_eq!(fs::read_to_string(seen).expect("the tool was asked"), "");
}

#[test]
fn what_a_killed_worker_left_is_ended_and_abandoned_by_the_next() {
    let machine = machine();
    let (mut child, pid) = started(&machine);
    signal(&child, Signal::KILL);
    child.wait().expect("it ends");
    assert_eq!(is_gone(pid), None, "nobody is there yet to end it");
    let output = machine.runs(0, &["run", "core.echo"]);
    assert!(output.stderr.starts_with("warning: abandoned an execution: "), "no date, no level: {output}");
    wait_for("the end of the action", || is_gone(pid));
    let listed = machine.json(&["execution", "list", "--action", "long.sleep"]);
    let row = &listed[0];
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("abandoned"), &json!("worker_lost")));
    assert!(row["error"]["message"].as_str().is_some_and(|text| text.contains("was ended")), "{row}");
    assert_ne!(row["finished_at"], Json::Null);
    assert!(machine.run_folders().is_empty());
}

#[test]
fn who_asks_first_what_became_of_a_killed_run_is_told_the_truth() {
    for question in [&["execution", "show", "last", "--json"][..], &["execution", "list", "--json"]] {
        let machine = machine();
        let (mut child, pid) = started(&machine);
        assert_eq!(machine.last()["status"], "running", "a look does it no harm");
        assert_eq!(is_gone(pid), None);
        signal(&child, Signal::KILL);
        child.wait().expect("it ends");
        let output = machine.runs(0, question);
        let answer = output.json();
        let row = answer.get(0).unwrap_or(&answer);
        assert_eq!((&row["status"], &row["error"]["class"]), (&json!("abandoned"), &json!("worker_lost")));
        assert_ne!(row["finished_at"], Json::Null);
        output.says(&["abandoned an execution: the worker that ran it was killed"]);
        wait_for("the end of the action", || is_gone(pid));
    }
}

#[test]
fn who_asks_another_database_leaves_what_became_of_a_killed_run_to_be_found_out() {
    let machine = machine();
    let (mut child, pid) = started(&machine);
    signal(&child, Signal::KILL);
    child.wait().expect("it ends");
    let other = format!("sqlite://{}", machine.at("other.db").display());
    let listed = machine.runs(0, &["execution", "list", "--json", "--database", &other]);
    assert_eq!(listed.json(), json!([]));
    wait_for("the end of the action", || is_gone(pid));
    let row = machine.last();
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("abandoned"), &json!("worker_lost")));
}

#[test]
fn what_somebody_else_runs_is_left_alone() {
    let machine = machine();
    let (child, pid) = started(&machine);
    machine.runs(0, &["run", "core.echo"]);
    assert_eq!(is_gone(pid), None);
    let listed = machine.json(&["execution", "list", "--action", "long.sleep"]);
    assert_eq!(listed[0]["status"], "running");
    signal(&child, Signal::INT);
    assert_eq!(Output::new(&child.wait_with_output().expect("it ends")).code, 130);
}

#[test]
fn many_at_once() {
    let machine = Machine::new();
    let children = (0..8)
        .map(|number| machine.start(&["run", "core.echo", "-p", &format!("n={number}"), "--json"]))
        .collect::<Vec<_>>();
    for (number, child) in children.into_iter().enumerate() {
        let output = Output::new(&child.wait_with_output().expect("it ends"));
        assert_eq!(output.code, 0, "{output}");
        assert_eq!(output.json()["result"], json!({"n": number.to_string()}));
    }
    let listed = machine.json(&["execution", "list", "--status", "succeeded"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(8));
}
