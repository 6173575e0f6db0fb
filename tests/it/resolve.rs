//! `attune resolve`: the selection and its reasons, for an action, a runtime or made-up candidates.

use serde_json::{Value as Json, json};

use crate::support::cli::Machine;
use crate::support::fixture::{tool, tools};

/// Arguments for made-up candidates.
fn among<'a>(constraint: Option<&'a str>, candidates: &[&'a str]) -> Vec<&'a str> {
    let candidates = candidates.iter().flat_map(|candidate| ["--candidate", candidate]);
    ["resolve"].into_iter().chain(constraint).chain(candidates).collect()
}

/// Version and reason of each candidate.
fn reasons(resolved: &Json) -> Vec<(&str, &str)> {
    let candidates = resolved["candidates"].as_array().expect("a list");
    candidates
        .iter()
        .map(|candidate| {
            (
                candidate["version"].as_str().expect("a version"),
                candidate["reason"].as_str().expect("a reason"),
            )
        })
        .collect()
}

#[test]
fn among_given_candidates() {
    let machine = Machine::fresh();
    let check = |constraint: Option<&str>, candidates: &[&str], selected: Option<&str>| {
        let code = if selected.is_some() { 0 } else { 3 };
        let arguments = [&among(constraint, candidates)[..], &["--json"]].concat();
        let resolved = machine.runs(code, &arguments).json();
        let expected = selected.map_or(Json::Null, |version| json!(version));
        let found = resolved["selected"].get("version").cloned().unwrap_or(Json::Null);
        assert_eq!(found, expected, "{constraint:?} {candidates:?}");
        let chosen = resolved["candidates"].as_array().expect("a list").iter();
        assert_eq!(chosen.filter(|candidate| candidate["chosen"] == true).count(), selected.iter().count());
        // In any order.
        let turned = candidates.iter().rev().copied().collect::<Vec<_>>();
        let arguments = [&among(constraint, &turned)[..], &["--json"]].concat();
        assert_eq!(machine.runs(code, &arguments).json(), resolved);
    };
    let all = ["3.9.18", "3.11.7=default", "3.12.1", "3.13.0", "3.14.0-rc.1"];
    check(None, &all, Some("3.11.7"));
    check(Some(""), &all, Some("3.11.7"));
    check(Some("*"), &all, Some("3.13.0"));
    check(Some(">=3.12"), &all, Some("3.13.0"));
    check(Some("3.9"), &all, Some("3.9.18"));
    check(Some(">=3.10,<3.12"), &all, Some("3.11.7"));
    check(Some(">=3.14.0-rc.0"), &all, Some("3.14.0-rc.1"));
    check(Some(">=3.14"), &all, None);
    check(Some(">=99"), &all, None);
    check(None, &["3.12.1=default,unavailable", "3.11.7"], Some("3.11.7"));
    check(Some(">=3.12"), &["3.12.1", "3.14=unavailable"], Some("3.12.1"));
    check(Some("3.14"), &["3.12.1", "3.14=unavailable"], None);
    let unavailable = among(None, &["3.12.1", "3.11.7=default,unavailable"]);
    let warned = "the default version 3.11.7 can't be used: unavailable: given as unavailable";
    machine.runs(0, &unavailable).says(&[&format!("warning: {warned}")]);
    assert_eq!(machine.json(&unavailable)["warnings"], json!([warned]));
    machine.runs(0, &among(None, &["3.14.0-rc.1"])).says(&["is a prerelease that was not asked for"]);
    machine.runs(3, &among(Some("3"), &["2.0.0"])).prints(&["VERSION"]).says(&["error: nothing matches"]);
    assert!(!machine.at("data").exists(), "made-up candidates need no data folder");
}

#[test]
fn the_reason_for_each() {
    let machine = Machine::fresh();
    let candidates =
        ["3.8.1", "3.12.1", "3.12.2", "3.13.0-rc.1", "3.14.0", "3.12.3=unavailable", "3.12.0", "4.0.0"];
    let arguments = among(Some(">=3.12,<4,!=3.12.0"), &candidates);
    let resolved = machine.json(&arguments);
    let reasons = reasons(&resolved);
    for expected in [
        ("3.8.1", "below"),
        ("3.12.1", "lower_precedence"),
        ("3.12.2", "lower_precedence"),
        ("3.13.0-rc.1", "prerelease_not_asked"),
        ("3.14.0", "selected"),
        ("3.12.3", "unavailable"),
        ("3.12.0", "excluded"),
        ("4.0.0", "above"),
    ] {
        assert!(reasons.contains(&expected), "{expected:?} is not in {reasons:?}");
    }
    machine.runs(0, &arguments).prints(&["selected", "below the range", "3.14.0 is higher"]);
}

#[test]
fn what_cannot_be_read_is_pointed_at() {
    let machine = Machine::fresh();
    machine.runs(2, &among(Some("~=3.12"), &["3.12.1"])).says(&["~=3.12", "^", "is not a constraint"]);
    machine.runs(2, &among(Some("lts"), &["3.12.1"])).says(&["lts"]);
    machine.runs(2, &among(None, &["3.12.1=defalt"])).says(&["defalt"]);
    machine.runs(2, &among(None, &["three"])).says(&["three"]);
    machine.runs(2, &["resolve"]).says(&["--runtime", "--candidate"]);
    machine.runs(2, &["resolve", ">=3.12"]).says(&["--runtime RUNTIME"]);
    machine.runs(2, &["resolve", "--runtime", "python", "--candidate", "3.12"]).says(&["--candidate"]);
}

#[test]
fn mistakes_in_candidates_say_what_would_be_right() {
    let machine = Machine::fresh();
    let refused = |candidates: &[&str], words: &[&str]| {
        machine.runs(2, &among(None, candidates)).says(words);
    };
    refused(&["3.13t"], &["`t` follows the number 13", "hint: write a variant as `3.13+name`"]);
    refused(&["3.13.0rc1"], &["`rc1` follows the number 0", "hint: write `3.13.0-rc.1`"]);
    refused(&["3.12.1=defalt"], &["hint: flags are `default` and `unavailable`"]);
    let twice = ["3.12.1", "3.13.1=default", "3.12=default"];
    refused(
        &twice,
        &["`3.12=default` is a second default, after `3.13.1=default`", "hint: a runtime has one"],
    );
    machine.runs(0, &among(None, &["3.12.1", "3.13.1=default,unavailable"]));
    let word = ["resolve", "lts", "--candidate", "3.12"];
    machine.runs(2, &word).says(&[
        "only a runtime knows what `lts` stands for",
        "hint: ",
        "--runtime RUNTIME",
    ]);
}

#[test]
fn a_long_constraint_is_shown_around_its_mistake() {
    let machine = Machine::fresh();
    let long = format!("{} ~=3.13.1", vec![">=3.12"; 25].join(","));
    let output = machine.runs(2, &among(Some(&long), &["3.12.1"]));
    output.says(&["column 176: `~=` is not an operator here", "…", "write `~3.13.1`"]);
    let lines = output.stderr.lines().map(|line| line.chars().collect::<Vec<_>>()).collect::<Vec<_>>();
    let caret = lines[2].iter().position(|character| *character == '^').expect("a caret");
    assert_eq!(lines[1][caret..caret + 2], ['~', '='], "{output}");
    assert!(lines.iter().all(|line| line.len() < 120), "{output}");
    // What is too long as a whole.
    let output = machine.runs(2, &among(Some(&"3.12,".repeat(60)), &["3.12.1"]));
    output.says(&["has 300 characters", "^"]);
    assert!(output.stderr.lines().all(|line| line.chars().count() < 120), "{output}");
}

#[test]
fn of_a_runtime_and_of_an_action() {
    let machine = Machine::bare();
    for version in ["3.11.7", "3.12.1", "3.13.0"] {
        tool(&machine, version);
    }
    tools().action("range.sh", "runtime: tool\nruntime_version: \"<3.12\"", "exit").install(&machine);
    let version = |arguments: &[&str]| machine.json(arguments)["selected"]["version"].clone();
    assert_eq!(version(&["resolve", "--runtime", "tools.tool"]), "3.12.1", "the default");
    assert_eq!(version(&["resolve", "--runtime", "the-tool", ">=3.12"]), "3.13.0");
    assert_eq!(version(&["resolve", "tools.range"]), "3.11.7");
    assert_eq!(version(&["resolve", "tools.range", "--constraint", "3.12"]), "3.12.1");
    let output = machine.runs(3, &["resolve", "--runtime", "tool", ">=99"]);
    output.prints(&["VERSION", "below the range"]);
    output.says(&["error: no installation of `tools.tool` on this machine satisfies `>=99`", "hint: "]);
    assert!(!output.stderr.contains("not in the table"), "{output}");
    assert_eq!(output.stderr.lines().count(), 2, "the table is shown once: {output}");
    machine.runs(4, &["resolve", "--runtime", "tol"]).says(&["there is no runtime called `tol`"]);
    machine.runs(4, &["resolve", "tools.rang"]).says(&["did you mean `tools.range`?"]);
    machine.runs(2, &["resolve", "--runtime", "native"]).says(&["has no versions"]);
    let resolved = machine.json(&["resolve", "--runtime", "tool", "3.11"]);
    assert_eq!(
        reasons(&resolved),
        [("3.11.7", "selected"), ("3.13.0", "above"), ("3.12.1", "above")],
        "the selected one comes first"
    );
    let declared = resolved["candidates"].as_array().expect("a list").iter().map(|it| &it["declared"]);
    let declared = declared.map(|declared| declared["version"].as_str()).collect::<Vec<_>>();
    assert_eq!(declared, [Some("3.11"), None, Some("3.12")], "3.13 is not declared");
}

#[test]
fn a_word_that_the_component_knows() {
    let machine = Machine::new();
    let listed = machine.json(&["runtime", "show", "node"]);
    let words = &listed["constraint_aliases"];
    assert!(words["lts/iron"].is_string(), "{words:?}");
    let output = machine.runs(2, &["resolve", "--runtime", "node", "lts/irn"]);
    output.says(&["lts/irn", "lts/iron"]);
    // What it stands for is said, whatever is installed.
    let meaning = words["lts/iron"].as_str().expect("text");
    let asked = ["resolve", "--runtime", "node", "lts/iron"];
    machine.run(&asked).says(&[&format!("`{meaning}`")]);
    let resolved = machine.run(&[&asked[..], &["--json"]].concat()).json();
    assert_eq!(resolved["stands_for"], meaning);
}

#[test]
fn what_only_looks_like_an_installation_is_counted() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    machine.script("home/tools/3.11.7/bin/tool", "#!/bin/sh\nexit 3\n");
    tools().action("range.sh", "runtime: tool\nruntime_version: \"3.11\"", "exit").install(&machine);
    let hint = "hint: not in the table: 1 program that turned out to be broken or something else; \
                `attune runtime detect tools.tool` says why";
    machine.runs(3, &["resolve", "--runtime", "tool", "3.11"]).says(&[hint]);
    machine.runs(3, &["run", "tools.range"]).says(&[hint]);
    let looked = machine.runs(0, &["runtime", "detect", "tool"]);
    looked.prints(&["nonzero_exit(3)"]);
    assert!(looked.stdout.lines().all(|line| line.trim_end() == line), "{looked}");
}

#[test]
fn what_is_missing_is_said_as_it_was_asked() {
    let machine = Machine::bare();
    tools().install(&machine);
    let seen = |arguments: &[&str], words: &str| {
        let output = machine.runs(3, &[&["resolve", "--runtime", "tool"], arguments].concat());
        output.says(&[&format!("no installation of `tools.tool` on this machine {words}\n")]);
    };
    seen(&[], "can be used");
    seen(&["--variant", "debug"], "has the variant `debug`");
    seen(&[">=3", "--variant", "debug"], "satisfies `>=3` and has the variant `debug`");
}
