//! Which version runs an action: what it asks for, what the command line asks for, and what is on record.

use serde_json::{Value as Json, json};

use crate::support::cli::Machine;
use crate::support::fixture::{Pack, starts, tool, tools};

const INSTALLED: [&str; 4] = ["3.9.18", "3.11.7", "3.12.1", "3.13.0"];

/// A machine with made-up tools, and a pack of actions for them.
fn machine() -> Machine {
    let machine = Machine::bare();
    for version in INSTALLED {
        tool(&machine, version);
    }
    let say = r#"echo "$ATTUNE_RUNTIME_VERSION $SERIES""#;
    tools()
        .action("any.sh", "runtime: tool", say)
        .action("old.sh", "runtime: the-tool\nruntime_version: \"3.9\"", say)
        .action("range.sh", "runtime: tools.tool\nruntime_version: \">=3.10,<3.12\"", say)
        .action("none.sh", "runtime: tool\nruntime_version: \">=99\"", say)
        .action("lenient.sh", "runtime: tool\nruntime_version: \">=99\"\nversion_policy: fallback", say)
        .install(&machine);
    machine
}

#[test]
fn the_version_that_is_asked_for_runs() {
    let machine = machine();
    let check = |arguments: &[&str], version: &str, label: Json| {
        let run = machine.json(&[&["run"], arguments].concat());
        let said = run["result"].as_str().expect("text");
        assert_eq!(said.split(' ').next(), Some(version), "{arguments:?}");
        assert_eq!(run["runtime_version"], label, "{arguments:?}");
        let row = machine.last();
        assert_eq!(row["selected_version"], version);
        let path = machine.at(format!("home/tools/{version}/bin/tool"));
        assert_eq!(row["installation_path"].as_str(), path.to_str());
        assert_eq!(row["runtime_version"], run["runtime_version"]);
        assert_eq!(row["selection"], run["selection"]);
    };
    check(&["tools.any"], "3.12.1", json!("3.12"));
    check(&["tools.old"], "3.9.18", json!("3.9.18"));
    check(&["tools.range"], "3.11.7", json!("3.11"));
    check(&["tools.any", "--constraint", ">=3.12"], "3.13.0", json!("3.13.0"));
    check(&["tools.any", "--constraint", "3.9"], "3.9.18", json!("3.9.18"));
    check(&["tools.any", "--constraint", ">=3.10,<3.12"], "3.11.7", json!("3.11"));
    check(&["tools.none", "--constraint", "*"], "3.13.0", json!("3.13.0"));
}

/// On the interpreters that this machine has: which that is, is for the listing to say.
#[test]
fn what_was_selected_is_what_runs() {
    let machine = Machine::new();
    let script = "import platform\nprint(platform.python_version())\n";
    Pack::new("real").action("version.py", "runtime: python", script).install(&machine);
    let looked = machine.json(&["runtime", "detect", "python"]);
    let found = looked[0]["installations"].as_array().expect("a list").iter();
    let working = found.filter(|found| found["status"] == "verified");
    let installed = working.filter_map(|found| found["version"].as_str()).collect::<Vec<_>>();
    for (constraint, matches) in [
        (">=3.12", (|minor| minor >= 12) as fn(u32) -> bool),
        ("3.9", |minor| minor == 9),
        (">=3.10,<3.12", |minor| (10..12).contains(&minor)),
        (">=3.4", |minor| minor >= 4),
        (">=99", |_| false),
    ] {
        let fits = |version: &&str| {
            let rest = version.strip_prefix("3.").and_then(|rest| rest.split_once('.'));
            !version.contains('-') && rest.is_some_and(|(minor, _)| minor.parse().is_ok_and(matches))
        };
        let expected = i32::from(!installed.iter().any(fits)) * 3;
        let output = machine.runs(expected, &["run", "real.version", "--constraint", constraint]);
        let row = machine.last();
        if expected == 0 {
            assert!(fits(&output.stdout.trim()), "`{constraint}` ran {}", output.stdout);
            assert_eq!(row["selected_version"], output.stdout.trim());
        } else {
            assert_eq!(row["error"]["class"], "no_match");
        }
    }
}

#[test]
fn the_selected_versions_execution_config_is_what_counts() {
    let machine = machine();
    assert_eq!(machine.json(&["run", "tools.any"])["result"], "3.12.1 3.12");
    assert_eq!(machine.json(&["run", "tools.range"])["result"], "3.11.7 ", "no `SERIES` is declared for it");
}

#[test]
fn every_line_of_the_log_says_for_what_and_under_which_version() {
    let machine = machine().and("ATTUNE_LOG_FORMAT", "json");
    let output = machine.runs(0, &["run", "tools.old", "-vv"]);
    let lines = output.stderr.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let mut lines =
        lines.skip_while(|line| line["fields"]["message"] != "selected an installation").peekable();
    let id = machine.last()["id"].clone();
    assert!(lines.peek().is_some(), "{output}");
    for line in lines {
        let span = line["spans"].as_array().and_then(|spans| spans.first()).expect("a span");
        assert_eq!((&span["execution.id"], &span["action.ref"]), (&id, &json!("tools.old")), "{line}");
        assert_eq!(span["runtime.version"], "3.9.18", "{line}");
    }
}

#[test]
fn what_nothing_satisfies_does_not_run() {
    let machine = machine();
    let output = machine.runs(3, &["run", "tools.none"]);
    output.says(&[
        "no installation of `tools.tool` on this machine satisfies `>=99`",
        "below the range",
        "hint:",
    ]);
    for version in INSTALLED {
        output.says(&[version]);
    }
    assert_eq!(output.stdout, "");
    let row = machine.last();
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("failed"), &json!("no_match")));
    let candidates = row["selection"]["candidates"].as_array().expect("what was judged is on record");
    assert_eq!(candidates.len(), INSTALLED.len());
    assert!(candidates.iter().all(|candidate| candidate["reason"] == "below"), "{row}");

    let output = machine.runs(3, &["run", "tools.none", "--json"]);
    let run = output.json();
    assert_eq!(run["selection"]["selected"], Json::Null);
    assert_eq!(run["selection"], machine.last()["selection"]);

    let preview = machine.runs(3, &["run", "tools.none", "--dry-run", "--json"]).json();
    assert_eq!(preview["selection"], run["selection"]);
    assert_eq!((&preview["error"], &preview["command"]), (&run["error"], &Json::Null));
}

#[test]
fn falling_back_has_to_be_allowed_and_is_said() {
    let machine = machine();
    let output = machine.runs(0, &["run", "tools.lenient"]);
    output.says(&["warning: no installation satisfies `>=99`: fell back", "because nothing satisfies"]);
    let row = machine.last();
    assert_eq!(row["selected_version"], "3.12.1");
    assert_eq!(row["runtime_version"], Json::Null, "it is the base runtime");
    assert!(row["warnings"][0].as_str().is_some_and(|warning| warning.contains("fell back")), "{row}");
    let preview = machine.json(&["run", "tools.lenient", "--dry-run"]);
    assert_eq!(preview["warnings"], row["warnings"]);
    assert_eq!(machine.json(&["resolve", "tools.lenient"])["warnings"], row["warnings"]);
}

#[test]
fn a_mistake_in_a_constraint_is_pointed_at() {
    let machine = machine();
    let output = machine.runs(2, &["run", "tools.any", "--constraint", ">=3.12,,<4"]);
    let lines = output.stderr.lines().collect::<Vec<_>>();
    let text = lines.iter().position(|line| line.contains(">=3.12,,<4")).expect("the constraint");
    let caret = lines[text + 1].find('^').expect("a caret below it");
    let column = lines[text].find(">=3.12,,<4").expect("the constraint") + ">=3.12,".len();
    assert_eq!(caret, column, "{output}");
    for constraint in ["3.*.1", "~=3.12", "03.12", "3.", "=>3", "3.12 &&"] {
        machine.runs(2, &["run", "tools.any", "--constraint", constraint]).says(&["^"]);
    }
}

#[test]
fn a_warm_run_starts_nothing_but_the_action() {
    let machine = machine();
    machine.runs(0, &["run", "tools.range"]);
    let before = INSTALLED.map(|version| starts(&machine, version));
    let run = machine.json(&["run", "tools.range"]);
    let after = INSTALLED.map(|version| starts(&machine, version));
    assert_eq!([after[0], after[2], after[3]], [before[0], before[2], before[3]]);
    assert_eq!(after[1], before[1] + 1, "the action itself");
    assert!(!super::stages(&run).contains(&"detect"), "{run}");
    machine.runs(0, &["resolve", "tools.range"]);
    machine.runs(0, &["doctor"]);
    assert_eq!(INSTALLED.map(|version| starts(&machine, version)), after);
}

#[test]
fn programs_have_no_versions_to_ask_for() {
    let machine = Machine::new();
    Pack::new("direct").action("hi.sh", "runtime: native", "#!/bin/sh\necho hi\n").install(&machine);
    assert_eq!(machine.json(&["run", "direct.hi"])["result"], "hi");
    machine.runs(2, &["run", "direct.hi", "--constraint", ">=1"]).says(&["has no versions to choose from"]);
    machine.runs(2, &["run", "direct.hi", "--constraint", ">=1", "--dry-run"]).says(&["no versions"]);
    let folder = Pack::new("asking")
        .action("hi.sh", "runtime: core.native\nruntime_version: \">=1\"", "#!/bin/sh\n")
        .write(&machine.make("packs"));
    machine
        .runs(2, &["pack", "validate", &folder.to_string_lossy()])
        .says(&["hi.yaml:4:", "runtime_version"]);
}
