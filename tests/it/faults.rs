//! Actions that misbehave: none of them hangs, lies or takes anything down.

use std::process::Stdio;

use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, is_running, wait_for};
use crate::support::fixture::Pack;

#[test]
fn a_hundred_megabytes_pass_and_head_and_tail_are_kept() {
    const ALL: u64 = 100_000_000;
    let machine = Machine::new();
    let script = "echo first; head -c 99999989 /dev/zero | tr '\\0' x; echo last";
    Pack::new("faults").shell("flood", "timeout: 5m", script).install(&machine);
    let file = std::fs::File::create(machine.at("output")).expect("a file");
    let mut command = machine.command(&["run", "faults.flood"]);
    assert!(command.stdout(Stdio::from(file)).status().expect("it starts").success());
    let length = std::fs::metadata(machine.at("output")).expect("a file").len();
    assert_eq!(length, ALL, "a watcher sees all of it");
    let row = machine.last();
    assert_eq!(row["status"], "succeeded", "nobody is ended for talking");
    let result = row["result"].as_str().expect("text");
    assert!(result.starts_with("first\nxxx") && result.ends_with("xxxlast"));
    let (lost, missing) = (ALL - (10 << 20), ALL - (1 << 20));
    assert!(result.contains(&format!("{missing} bytes are missing")), "it says how much");
    let warnings = row["warnings"].to_string();
    let (unkept, more) = (format!("{lost} bytes in the middle"), format!("{} more are only", missing - lost));
    assert!(warnings.contains(&unkept) && warnings.contains(&more), "{warnings}");
    let log = machine.runs(0, &["execution", "logs", "last"]).stdout;
    assert!(log.len() < (10 << 20) + 1000, "{} bytes are kept", log.len());
    assert!(log.starts_with("first\n") && log.ends_with("last\n"));
    assert!(log.contains(&format!("{lost} bytes are missing")));
}

#[test]
fn what_is_not_kept_of_a_stream_is_said() {
    let machine = Machine::new().and("ATTUNE_OUTPUT_LIMIT", "1KiB");
    let errors = "head -c 5000 /dev/zero | tr '\\0' x >&2";
    let output = "head -c 3000 /dev/zero | tr '\\0' x";
    Pack::new("faults")
        .shell("errors", "", &format!("{errors}; echo fine"))
        .shell("both", "", &format!("{errors}; {output}; exit 1"))
        .shell("neither", "", "echo fine; echo fine >&2")
        .install(&machine);
    let unkept = |bytes: u64, stream: &str| {
        format!("{bytes} bytes in the middle of standard {stream} were not kept (setting `output_limit`)")
    };
    machine.runs(0, &["run", "faults.errors"]).says(&[&unkept(3976, "error")]);
    assert_eq!(machine.last()["warnings"], json!([unkept(3976, "error")]));
    machine.runs(1, &["run", "faults.both"]);
    assert_eq!(machine.last()["warnings"], json!([unkept(1976, "output"), unkept(3976, "error")]));
    machine.runs(0, &["run", "faults.neither"]);
    assert_eq!(machine.last()["warnings"], json!([]));
}

#[test]
fn one_that_ignores_the_request_to_end_is_killed() {
    let machine = Machine::new().and("ATTUNE_KILL_GRACE", "200ms");
    let script = "trap '' TERM\necho $$\nwhile :; do sleep 0.1; done";
    Pack::new("faults").shell("deaf", "timeout: 500ms", script).install(&machine);
    let output = machine.runs(124, &["run", "faults.deaf"]);
    output.says(&["did not end when asked to, and was killed"]);
    assert!(!is_running(&output.stdout), "process {} is still there", output.stdout);
    let row = machine.last();
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("timed_out"), &json!("timeout")));
}

#[test]
fn one_that_ends_when_asked_to_is_not_killed() {
    let machine = Machine::new();
    let script = "trap 'echo cleaned up; exit 0' TERM\nwhile :; do sleep 0.05; done";
    Pack::new("faults").shell("polite", "timeout: 500ms", script).install(&machine);
    let output = machine.runs(124, &["run", "faults.polite"]);
    output.says(&["ran longer than 500ms and was ended"]).prints(&["cleaned up"]);
}

#[test]
fn a_grandchild_that_holds_the_output_does_not_hold_the_execution() {
    let machine = Machine::new();
    Pack::new("faults").shell("fork", "timeout: 50s", "sleep 600 &\necho $!").install(&machine);
    let output = machine.runs(0, &["run", "faults.fork"]);
    output.says(&["the output may be incomplete"]);
    let row = machine.last();
    assert_eq!((&row["status"], &row["output_incomplete"]), (&json!("succeeded"), &json!(true)));
    wait_for("the grandchild's end", || (!is_running(&output.stdout)).then_some(()));
}

#[test]
fn what_leaves_the_group_and_holds_the_output_is_ended_and_named() {
    let machine = Machine::new();
    let yaml = "timeout: 50s";
    let script = "for i in 1 2; do setsid sleep 600 & echo $!; done; exec setsid -w sh -c 'sleep 0.2'";
    Pack::new("faults").shell("escape", yaml, script).shell("stay", yaml, "echo here").install(&machine);
    let output = machine.runs(0, &["run", "faults.escape"]);
    let pids = output.stdout.lines().collect::<Vec<_>>();
    let said = "ended 2 processes that had left the action's process group and outlived it: sleep (";
    output.says(&[said, &format!("({})", pids[0]), &format!("({})", pids[1])]);
    for pid in pids {
        wait_for("the end of what escaped", || (!is_running(pid)).then_some(()));
    }
    let warnings = machine.last()["warnings"].to_string();
    assert!(warnings.contains(said), "{warnings}");
    let quiet = machine.runs(0, &["run", "faults.stay"]);
    assert!(!quiet.stderr.contains("outlived"), "{quiet}");
}

#[test]
fn bytes_that_are_no_text_are_kept_as_they_are() {
    let machine = Machine::new();
    Pack::new("faults").shell("bytes", "", r"printf 'a\377\000b\n'").install(&machine);
    let output = machine.command(&["run", "faults.bytes"]).output().expect("it starts");
    assert_eq!(output.stdout, b"a\xff\0b\n");
    let log = machine.command(&["execution", "logs", "last"]).output().expect("it starts");
    assert_eq!(log.stdout, b"a\xff\0b\n");
    assert_eq!(machine.last()["result"], "a\u{fffd}\0b");
}

#[test]
fn a_megabyte_of_parameters_whether_it_is_read_or_not() {
    let machine = Machine::new();
    let typed = "timeout: 50s\nparameters: {type: object, properties: {text: {type: string}}}\n";
    Pack::new("faults")
        .shell("ignore", typed, "exec <&-; echo done")
        .shell("late", typed, "echo early; head -c 300000 /dev/zero | tr '\\0' x >&2; wc -c")
        .install(&machine);
    let text = "y".repeat(1_000_000);
    machine.write("large.json", json!({ "text": text }).to_string());
    let run = |action: &str| machine.json(&["run", action, "--params", "large.json", "--quiet"]);
    assert_eq!(run("faults.ignore")["result"], "done");
    let expected = json!({ "text": text }).to_string().len() + 1;
    assert_eq!(run("faults.late")["result"], format!("early\n{expected}"));
}

#[test]
fn output_that_is_what_it_was_declared_to_be_and_output_that_is_not() {
    let schema = "output_schema: {type: object, required: [n], properties: {n: {type: integer}}}\n";
    let cases = [
        ("a", "json", r#"echo '{"n": 1}'"#, Ok(json!({"n": 1}))),
        ("b", "json", "echo '{'", Err("unparsable_result")),
        ("c", "json", "true", Err("unparsable_result")),
        ("d", "jsonl", r#"echo 1; echo; echo '{"n": 2}'"#, Ok(json!([1, {"n": 2}]))),
        ("e", "jsonl", "echo 1; echo x", Err("unparsable_result")),
        ("f", "yaml", "echo 'n: [1, x]'", Ok(json!({"n": [1, "x"]}))),
        ("g", "yaml", "echo 'n: ['", Err("unparsable_result")),
        ("h", "text", "echo '{'", Ok(json!("{"))),
        ("i", "json", r"printf '\377'", Err("unparsable_result")),
        ("j", "schema", r#"echo '{"n": 1}'"#, Ok(json!({"n": 1}))),
        ("k", "schema", r#"echo '{"n": "1"}'"#, Err("invalid_result")),
        ("l", "schema", "echo '{}'", Err("invalid_result")),
    ];
    let machine = Machine::new();
    let mut pack = Pack::new("faults");
    for (name, format, script, _) in &cases {
        let yaml = match *format {
            "schema" => format!("output_format: json\n{schema}"),
            format => format!("output_format: {format}"),
        };
        pack = pack.shell(name, &yaml, script);
    }
    pack.install(&machine);
    for (name, _, script, expected) in &cases {
        let output = machine.run(&["run", &format!("faults.{name}"), "--json"]);
        let run = output.json();
        match expected {
            Ok(result) => assert_eq!((&run["result"], output.code), (result, 0), "{script}"),
            Err(class) => assert_eq!((&run["error"]["class"], output.code), (&json!(class), 1), "{script}"),
        }
    }
    // What can't be read is kept all the same.
    machine.runs(1, &["run", "faults.b"]).says(&["unparsable_result: the output is not valid JSON"]);
    assert_eq!(machine.runs(0, &["execution", "logs", "last"]).stdout, "{\n");
}

#[test]
fn no_variable_of_the_hosts_is_passed_on() {
    let machine = Machine::new()
        .and("LEAK", "host")
        .and("PYTHONPATH", "/host")
        .and("NODE_OPTIONS", "--host")
        .and("PIP_INDEX_URL", "https://host.invalid")
        .and("BASH_ENV", "/host")
        .and("LC_ALL", "C")
        .and("ATTUNE_KILL_GRACE", "1s");
    Pack::new("faults").shell("env", "", "env | cut -d= -f1 | sort").install(&machine);
    let run = machine.json(&["run", "faults.env"]);
    let names = run["result"].as_str().expect("text").lines().collect::<Vec<_>>();
    // A shell adds `PWD`, `SHLVL` and `_` by itself.
    let expected = [
        "ATTUNE_ACTION",
        "ATTUNE_ATTEMPT",
        "ATTUNE_EXECUTION_ID",
        "ATTUNE_PACK",
        "ATTUNE_PACK_DIR",
        "ATTUNE_RUNTIME",
        "ATTUNE_RUNTIME_VERSION",
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "SHLVL",
        "TMPDIR",
        "_",
    ];
    assert_eq!(names, expected);
}

#[test]
fn variables_as_the_pack_declares_them() {
    let machine = Machine::new();
    let yaml = r"
env_vars:
  PLAIN: set
  SPELT: { set: out }
  PATH: { prepend: /opt/first }
  TMPDIR: { append: /last }
  LANG: { unset: true }
";
    let script = r#"echo "$PLAIN|$SPELT|${PATH%%:*}|${TMPDIR##*:}|${LANG-none}""#;
    Pack::new("faults").shell("env", yaml, script).install(&machine);
    assert_eq!(machine.json(&["run", "faults.env"])["result"], "set|out|/opt/first|/last|none");
}

#[test]
fn an_entry_point_that_cannot_be_started() {
    let machine = Machine::new();
    Pack::new("faults")
        .action("missing.sh", "runtime: native", "#!/nowhere/interpreter\n")
        .action("data.sh", "runtime: native", "#!")
        .install(&machine);
    for action in ["faults.missing", "faults.data"] {
        let output = machine.run(&["run", action]);
        assert_eq!(output.code, 1, "{output}");
        let row = machine.last();
        assert_eq!(row["status"], "failed", "{row}");
        assert_ne!(row["error"]["class"], Json::Null, "{row}");
    }
}
