//! `attune runtime`: what is found on a machine, what only looks like it, and when it is looked for again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, wait_for};
use crate::support::fixture::{Pack, starts, tool, tools};

/// What was found of a runtime, by path.
fn found(machine: &Machine, arguments: &[&str]) -> Vec<Json> {
    let looked = machine.json(arguments);
    looked[0]["installations"].as_array().expect("a list").clone()
}

/// The one finding at a path.
#[track_caller]
fn at<'a>(found: &'a [Json], path: &Path) -> &'a Json {
    let mut matching = found.iter().filter(|found| found["path"].as_str() == path.to_str());
    let only = matching.next().unwrap_or_else(|| panic!("{} is not in {found:#?}", path.display()));
    assert!(matching.next().is_none(), "{} was found twice", path.display());
    only
}

#[test]
fn what_only_looks_like_an_interpreter_is_a_finding_and_the_search_goes_on() {
    let machine = Machine::bare().and("ATTUNE_VERIFICATION_TIMEOUT", "2s");
    let script = |name: &str, text: &str| machine.script(&format!("bin/{name}"), text);
    let link = |name: &str, target: &str| {
        let path = machine.at("bin").join(name);
        symlink(target, &path).expect("a link");
        path
    };
    // The header of a program for a machine that this is not: s390, 64 bit, most significant byte first.
    let foreign = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16\0\0\0\x01".as_slice();
    let lying =
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo Python 3.12.9; else exec python3 \"$@\"; fi\n";
    let expected = [
        (link("python3.50", "/nowhere/python3.50"), json!("broken_symlink")),
        (link("python3.51", "python3.51"), json!("symlink_loop")),
        (machine.make("bin/python3.52"), json!("is_directory")),
        (machine.write("bin/python3.53", "#!/bin/sh\n"), json!("not_executable")),
        (machine.script("bin/python3.54", foreign), json!("exec_format")),
        (script("python3.55", "#!/nowhere/sh\n"), json!("bad_shebang")),
        (script("python3.56", "#!/bin/sh\nwhile :; do sleep 1; done\n"), json!("timeout")),
        (script("python3.57", "#!/bin/sh\nkill -SEGV $$\n"), json!("killed_by_signal(11)")),
        (script("python3.58", "#!/bin/sh\necho Python 3.12.9\n"), json!("shim_unresolved")),
        (script("python3.12", lying), json!("version_mismatch")),
        (
            machine.script("bin/python3.59", fs::read("/bin/false").expect("a program")),
            json!("nonzero_exit(1)"),
        ),
    ];
    let found = found(&machine, &["runtime", "detect", "python"]);
    for (path, class) in &expected {
        let finding = at(&found, path);
        assert_eq!(finding["status"], "rejected", "{finding}");
        assert_eq!(finding["failure"]["class"], *class, "{finding}");
        assert!(!finding["failure"]["message"].as_str().expect("a sentence").is_empty());
    }
    let working = found.iter().filter(|found| found["status"] == "verified").count();
    if Path::new("/usr/bin/python3").exists() {
        assert!(working > 0, "the search went on: {found:#?}");
        let run = machine.json(&["run", "examples.greet"]);
        assert_eq!(run["result"], "Hello, World!");
        let candidates = run["selection"]["candidates"].as_array().expect("a list");
        assert!(candidates.iter().all(|candidate| {
            !candidate["path"]
                .as_str()
                .is_some_and(|path| path.starts_with(&*machine.at("bin").to_string_lossy()))
        }));
    }
    // People see the same names.
    let text = machine.runs(0, &["runtime", "detect", "python"]);
    text.prints(&[
        "broken_symlink",
        "symlink_loop",
        "killed_by_signal(11)",
        "nonzero_exit(1)",
        "version_mismatch",
    ]);
}

/// A shim as version managers write it.
fn shim(machine: &Machine, root: &Path) -> std::path::PathBuf {
    let root = root.display();
    let text = format!(
        "#!/usr/bin/env bash\nset -e\nprogram=\"${{0##*/}}\"\nexport PYENV_ROOT=\"{root}\"\nexec \"{root}/libexec/pyenv\" exec \"$program\" \"$@\"\n"
    );
    machine.script("bin/python3", text)
}

#[test]
fn a_shim_is_followed_to_what_it_starts() {
    let Ok(interpreter) = fs::canonicalize("/usr/bin/python3") else {
        return crate::support::cli::skip("there is no /usr/bin/python3");
    };
    let machine = Machine::bare();
    let root = machine.make("home/.pyenv");
    let shim = shim(&machine, &root);
    let bin = machine.make("home/.pyenv/versions/3.77.0/bin");
    symlink(&interpreter, bin.join("python3")).expect("a link");
    machine.write("home/.pyenv/version", "3.77.0\n");
    let detected = found(&machine, &["runtime", "detect", "python"]);
    let installation = at(&detected, &interpreter);
    assert_eq!(installation["status"], "verified");
    let aliases = installation["aliases"].as_array().expect("a list");
    assert!(aliases.contains(&json!(shim)), "{installation}");
    assert!(!detected.iter().any(|found| found["path"] == json!(shim)), "it is no finding of its own");

    // Nothing was started to find that out: the manager that the shim names does not exist.
    machine.write("home/.pyenv/version", "3.78.0\n");
    let detected = found(&machine, &["runtime", "detect", "python"]);
    let finding = at(&detected, &shim);
    assert_eq!(finding["failure"]["class"], "shim_unresolved");
    assert!(finding["failure"]["message"].as_str().is_some_and(|text| text.contains("3.78.0")));
}

#[test]
fn every_installation_with_its_checks() {
    let machine = Machine::new();
    let found = machine.json(&["runtime", "detect"]);
    let runtimes = found.as_array().expect("a list").iter().map(|looked| looked["runtime"].clone());
    assert_eq!(runtimes.collect::<Vec<_>>(), [json!("core.node"), json!("core.python"), json!("core.shell")]);
    for looked in found.as_array().expect("a list") {
        for found in looked["installations"].as_array().expect("a list") {
            let checks = found["checks"].as_array().expect("a list");
            if found["status"] == "verified" {
                assert!(checks.iter().any(|check| check["name"] == "version"), "{found}");
                assert!(checks.iter().all(|check| check["outcome"] != "failed"), "{found}");
                assert!(found["path"].as_str().is_some_and(|path| path.starts_with('/')), "{found}");
            } else {
                assert!(found["failure"]["class"] != Json::Null, "{found}");
            }
        }
    }
    let listed = machine.json(&["runtime", "list"]);
    let python = listed.as_array().expect("a list").iter().find(|runtime| runtime["ref"] == "core.python");
    let python = python.expect("Python");
    let declared = python["versions"].as_array().expect("a list");
    let labels = |only: &str| {
        let versions = declared.iter().filter(|version| version[only] == true);
        versions.filter_map(|version| version["version"].as_str()).collect::<Vec<_>>()
    };
    assert_eq!(labels("is_declared"), ["3.11", "3.12", "3.13", "3.14"]);
    assert_eq!(labels("is_default"), ["3.12"]);
    let shown = machine.json(&["runtime", "show", "python3"]);
    assert_eq!(shown["ref"], "core.python", "by an alias");
    machine.runs(4, &["runtime", "show", "pyton"]).says(&["did you mean `python`?"]);
}

/// The version of the made-up tool that is selected.
fn selected(machine: &Machine, constraint: &str) -> Json {
    machine.json(&["resolve", "--runtime", "tool", constraint])["selected"]["version"].clone()
}

#[test]
fn a_machine_that_changes_is_looked_at_again() {
    let machine = Machine::bare();
    tool(&machine, "3.11.7");
    tools().install(&machine);
    assert_eq!(selected(&machine, ""), "3.11.7");

    tool(&machine, "3.12.1");
    assert_eq!(selected(&machine, ""), "3.12.1", "what appears is found, and it is the default");
    assert_eq!(selected(&machine, "3.11"), "3.11.7");

    fs::remove_dir_all(machine.at("home/tools/3.12.1")).expect("removed");
    assert_eq!(selected(&machine, ""), "3.11.7", "what is gone is not selected");
    machine.runs(3, &["resolve", "--runtime", "tool", "3.12"]);

    fs::remove_file(machine.at("home/tools/3.11.7/bin/tool")).expect("removed");
    machine.runs(3, &["resolve", "--runtime", "tool"]);
}

#[test]
fn a_program_that_is_replaced_in_place_is_asked_again() {
    let machine = Machine::bare();
    let path = tool(&machine, "3.12.1");
    tools().install(&machine);
    assert_eq!(selected(&machine, ""), "3.12.1");
    // Same length, same time of change: only the time at which that was changed tells.
    let before = fs::metadata(&path).expect("a file");
    let text = fs::read_to_string(&path).expect("a file").replace("tool 3.12.1", "tool 3.12.2");
    fs::write(&path, text).expect("a file");
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(before.modified().expect("a time")).expect("a time");
    drop(file);
    let after = fs::metadata(&path).expect("a file");
    assert_eq!((after.len(), after.modified().ok()), (before.len(), before.modified().ok()));
    assert_eq!(selected(&machine, ""), "3.12.2");
}

#[test]
fn an_answer_is_remembered_until_it_is_asked_for_anew() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    tools().install(&machine);
    let known = starts(&machine, "3.12.1");
    assert!(known > 0, "installing a pack looks for its runtimes");
    for arguments in [&["resolve", "--runtime", "tool"][..], &["runtime", "list"], &["doctor"]] {
        machine.runs(0, arguments);
    }
    machine.runs(0, &["runtime", "detect", "tool"]);
    assert_eq!(starts(&machine, "3.12.1"), known, "the same program gives the same answer");
    machine.runs(0, &["runtime", "verify", "tool"]);
    assert!(starts(&machine, "3.12.1") > known, "unless it is to be asked");
}

#[test]
fn what_loses_the_right_to_be_executed_is_noticed() {
    let machine = Machine::bare();
    let path = tool(&machine, "3.12.1");
    tool(&machine, "3.11.7");
    tools().install(&machine);
    assert_eq!(selected(&machine, ""), "3.12.1");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(selected(&machine, ""), "3.11.7");
    let found = found(&machine, &["runtime", "detect", "tool"]);
    assert_eq!(at(&found, &path)["failure"]["class"], "not_executable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    machine.runs(0, &["runtime", "detect", "tool"]);
    assert_eq!(selected(&machine, ""), "3.12.1");
}

#[test]
fn a_version_that_does_not_work_is_not_selected() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    machine.script("home/tools/broken/bin/tool", "#!/bin/sh\necho tool 3.12.9\n[ $# = 1 ]\nexit 1\n");
    tools().install(&machine);
    let resolved = machine.json(&["resolve", "--runtime", "tool", "3.12"]);
    assert_eq!(resolved["selected"]["version"], "3.12.1");
    let found = found(&machine, &["runtime", "detect", "tool"]);
    let broken = at(&found, &machine.at("home/tools/broken/bin/tool"));
    assert_eq!(broken["failure"]["class"], json!("nonzero_exit(1)"));
}

#[test]
fn that_a_program_hangs_is_remembered_until_somebody_asks_for_it() {
    let machine = Machine::bare().and("ATTUNE_VERIFICATION_TIMEOUT", "1s");
    machine.write("starts", "");
    let starts = machine.at("starts");
    let script = format!("#!/bin/sh\necho >> {}\nwhile :; do sleep 1; done\n", starts.display());
    let path = machine.script("bin/python3.99", &script);
    let count = || fs::read_to_string(&starts).expect("a file").lines().count();
    let says = |output: &crate::support::cli::Output| {
        output.says(&[&format!("`{}` is no candidate", path.display()), "did not finish within 1000 ms"]);
    };
    let resolve = ["resolve", "--runtime", "python", ">=90"];
    says(&machine.runs(3, &resolve));
    assert_eq!(count(), 1, "asked once, not by every question");
    for _ in 0..2 {
        says(&machine.runs(3, &resolve));
    }
    Pack::new("hung").action("it.py", "runtime: python\nruntime_version: \">=90\"", "").install(&machine);
    says(&machine.runs(3, &["run", "hung.it"]));
    assert_eq!(count(), 1, "it is known");

    // Who asks for it, and who changes it, is told anew.
    machine.runs(0, &["runtime", "detect", "python"]).prints(&["timeout", "python3.99"]);
    assert_eq!(count(), 2);
    says(&machine.runs(3, &resolve));
    assert_eq!(count(), 2);
    machine.runs(0, &["runtime", "verify", "python"]);
    assert_eq!(count(), 3);
    machine.script("bin/python3.99", script.replace("sleep 1", "sleep 2"));
    says(&machine.runs(3, &resolve));
    assert_eq!(count(), 4);
}

#[test]
fn an_installation_that_hangs_when_it_is_verified_is_left_alone_too() {
    let machine = Machine::bare().and("ATTUNE_VERIFICATION_TIMEOUT", "1s");
    tool(&machine, "3.11.7");
    let script = "#!/bin/sh\necho >> \"${0%/bin/*}/starts\"\n\
        if [ $# = 1 ] && [ ! -e \"${0%/bin/*}/hang\" ]; then echo tool 3.12.1; exit; fi\nwhile :; do sleep 1; done\n";
    machine.write("home/tools/3.12.1/starts", "");
    machine.script("home/tools/3.12.1/bin/tool", script);
    tools().install(&machine);
    assert_eq!(selected(&machine, ""), "3.12.1");
    machine.write("home/tools/3.12.1/hang", "");
    machine.runs(0, &["runtime", "verify", "tool"]);
    let known = starts(&machine, "3.12.1");
    for _ in 0..2 {
        machine.runs(3, &["resolve", "--runtime", "tool", "3.12"]).says(&["is no candidate"]);
    }
    assert_eq!(starts(&machine, "3.12.1"), known);
}

#[test]
fn programs_that_hang_take_no_time_from_the_others() {
    // One after the other, those that hang would take all the time that there is for programs.
    let machine =
        Machine::bare().and("ATTUNE_VERIFICATION_TIMEOUT", "3s").and("ATTUNE_DETECTION_TIMEOUT", "9s");
    for name in ["1-hangs", "2-hangs", "3-hangs"] {
        machine.script(&format!("home/tools/{name}/bin/tool"), "#!/bin/sh\nwhile :; do sleep 1; done\n");
    }
    tool(&machine, "3.12.1");
    let pack = tools().write(&machine.make("packs"));
    let installed = machine.json(&["pack", "install", "--approve", &pack.to_string_lossy()]);
    let found = installed["runtimes"][0]["installations"].as_array().expect("a list");
    assert_eq!(at(found, &machine.at("home/tools/3.12.1/bin/tool"))["status"], "verified");
    let hung = &at(found, &machine.at("home/tools/3-hangs/bin/tool"))["failure"];
    assert_eq!(hung["class"], "timeout");
    let said = hung["message"].as_str().expect("a message");
    assert!(
        said.starts_with("`tool --version`: ") && said.contains("did not finish within 3000 ms"),
        "{said}"
    );
}

#[test]
fn what_is_gone_is_said() {
    let machine = Machine::bare();
    let path = tool(&machine, "3.12.1");
    tool(&machine, "3.11.7");
    tools().install(&machine);
    assert_eq!(machine.json(&["runtime", "verify", "tool"])[0]["gone"], json!([]));
    fs::remove_dir_all(machine.at("home/tools/3.12.1")).expect("removed");
    let verified = machine.json(&["runtime", "verify", "tool"]);
    let gone = &verified[0]["gone"];
    assert_eq!(gone.as_array().map(Vec::len), Some(1), "{verified:#}");
    assert_eq!((&gone[0]["path"], &gone[0]["version"]), (&json!(path), &json!("3.12.1")));
    assert_eq!(gone[0]["reason"], "not_found");
    assert!(gone[0]["verified_at"].is_string());
    assert_eq!(machine.json(&["runtime", "verify", "tool"])[0]["gone"], json!([]), "that was known");

    fs::remove_dir_all(machine.at("home/tools/3.11.7")).expect("removed");
    let text = machine.runs(0, &["runtime", "verify", "tool"]);
    text.prints(&["gone", "3.11.7", "not_found: it worked when it was last verified"]);
}

#[test]
fn what_a_killed_command_left_of_the_programs_that_it_ran_is_removed() {
    let machine = Machine::bare();
    tools().install(&machine);
    machine
        .script("home/tools/3.12.1/bin/tool", "#!/bin/sh\necho > \"$HOME/ran\"\nwhile :; do sleep 1; done\n");
    let homes = || -> Vec<_> {
        let entries = fs::read_dir(machine.at("data/tools")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut child = machine.start(&["runtime", "detect", "tool"]);
    let home = wait_for("the program", || homes().into_iter().find(|home| home.join("ran").exists()));
    assert_eq!(machine.runs(0, &["pack", "list"]).code, 0);
    assert!(home.exists(), "it is in use");
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    machine.runs(0, &["pack", "list"]);
    assert_eq!(homes(), Vec::<std::path::PathBuf>::new());
}
