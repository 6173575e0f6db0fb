//! `attune plugin test` and `record`: components on machines that are only described.

use std::fs;
use std::path::{Path, PathBuf};

use attune::pack::embedded::embedded;

use crate::support::cli::{Machine, Output};
use crate::support::fixture::{Pack, tool, tools};

const GOOD: &str = r#"
description: two tools, one of which is none
machine:
  programs:
    /home/user/tools/3.12.1/bin/tool:
      - { arguments: [--version], stdout: "tool 3.12.1\n" }
    /home/user/tools/3.9.9/bin/tool:
      - { arguments: [--version], stdout: "rubbish\n" }
    /home/user/tools/slow/bin/tool:
      - { arguments: ["**"], delay: 1h }
    /usr/bin/tool:
      - { arguments: ["**"], stdout: "tool 9.9.9\n" }
calls:
  - detect: {}
    expect:
      installations:
        - { path: /home/user/tools/3.12.1/bin/tool, version: 3.12.1, source: home }
      rejected:
        - { path: /home/user/tools/3.9.9/bin/tool, class: pattern_mismatch }
        - { path: /home/user/tools/slow/bin/tool, class: timeout }
  - verify: { installation: /home/user/tools/3.12.1/bin/tool }
    expect: { usable: true, version: 3.12.1 }
  - verify: { installation: /usr/bin/tool }
    expect: { failure: { class: not_found } }
  - launch:
      installation: /home/user/tools/3.12.1/bin/tool
      entry_point: /pack/actions/say.sh
      arguments: [1, two]
    expect: { program: "${installation}", arguments: [/pack/actions/say.sh, "1", two] }
"#;

#[track_caller]
fn test(machine: &Machine, code: i32, pack: &Path, more: &[&str]) -> Output {
    let pack = pack.to_string_lossy();
    machine.runs(code, &[&["plugin", "test", &pack], more].concat())
}

fn with_scenario(machine: &Machine, name: &str, text: &str) -> PathBuf {
    tools().file(&format!("tests/{name}.yaml"), text).write(&machine.make("packs"))
}

#[test]
fn what_is_as_expected_is_a_line() {
    let machine = Machine::fresh();
    let pack = with_scenario(&machine, "good", GOOD);
    test(&machine, 0, &pack, &[]).prints(&["ok", "tests/good.yaml: two tools, one of which is none"]);
    let tested = machine.json(&["plugin", "test", &pack.to_string_lossy()]);
    assert_eq!(tested[0]["passed"], true);
    assert_eq!(tested[0]["calls"][0]["answer"]["installations"][0]["version"], "3.12.1");
    // Nothing was installed, and no database was made.
    assert!(!machine.at("data/attune.db").exists());
}

#[test]
fn what_is_otherwise_is_shown_where_it_is_expected() {
    let machine = Machine::bare();
    for (old, new, words) in [
        (
            "source: home }",
            "source: elsewhere }",
            &[
                "tests/bad.yaml:17:78: detect installations[0].source",
                "expected  elsewhere",
                "got       home",
            ][..],
        ),
        ("version: 3.12.1, source", "version: 3.12.10, source", &["expected  3.12.10", "got       3.12.1\n"]),
        ("class: timeout }", "class: denied }", &["detect rejected[1].class", "got       timeout"]),
        ("usable: true", "usable: false", &["verify usable", "got       true"]),
        ("two] }", "two, three] }", &["launch arguments", "expected  4 of them", "got       3 of them"]),
        (
            "arguments: [--version], stdout: \"rubbish",
            "arguments: [-v], stdout: \"rubbish",
            &[
                "detect ran /home/user/tools/3.9.9/bin/tool with the arguments [\"--version\"]",
                "add one to its `programs`",
            ],
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let pack = with_scenario(&machine, "bad", &GOOD.replace(old, new));
        test(&machine, 1, &pack, &[]).prints(&["failed", "tests/bad.yaml"]).prints(words);
    }
}

#[test]
fn mistakes_in_scenarios_have_a_place() {
    let machine = Machine::bare();
    for (text, place, words) in [
        ("calls: [{ detct: {} }]", "1:11", &["`detct` can't be called", "did you mean `detect`?"][..]),
        ("calls: []", "1:8", &["there are no calls"]),
        ("machine: {}", "1:1", &["needs `calls`"]),
        ("calls: [{ verify: {} }]", "1:19", &["needs `installation`"]),
        (
            "machine: { files: { bin/x: y } }\ncalls: [{ detect: {} }]",
            "1:21",
            &["`bin/x` is not an absolute path"],
        ),
        (
            "machine: { links: { /x: /y }, files: { /x/z: a } }\ncalls: [{ detect: {} }]",
            "1:40",
            &["`/x/z` can't be there: `/x` is no folder"],
        ),
        (
            "machine: { links: { /x: /y }, folders: [/x] }\ncalls: [{ detect: {} }]",
            "1:41",
            &["`/x` is described twice"],
        ),
    ] {
        let pack = with_scenario(&machine, "wrong", text);
        let place = format!("tests/wrong.yaml:{place}");
        test(&machine, 2, &pack, &[]).says(&[&place]).says(words);
    }
    let pack = with_scenario(&machine, "other", "runtime: none\ncalls: [{ detect: {} }]");
    test(&machine, 1, &pack, &[])
        .prints(&["the pack has no runtime `none` with a component: it has `tools.tool`"]);
    test(&machine, 4, &pack, &["nothing-like-it"]).says(&["there are other.yaml"]);
    let none = Pack::new("none").shell("say", "", "echo").write(&machine.make("packs"));
    test(&machine, 4, &none, &[]).says(&["there are no scenarios in", "attune plugin record"]);
}

/// What one machine was seen to have is all that the component needs on another.
#[test]
fn what_was_recorded_can_be_played_anywhere() {
    let machine = Machine::bare();
    let program = tool(&machine, "3.12.1");
    machine.script("home/tools/3.11.5/bin/tool", "#!/bin/sh\necho tool 3.11.5 from Zürich\n");
    machine.script("home/tools/bad/bin/tool", "#!/bin/sh\nexit 3\n");
    std::os::unix::fs::symlink("nowhere", machine.make("home/tools/gone/bin").join("tool")).expect("a link");
    tools().install(&machine);
    let file = machine.at("recorded.yaml");
    machine
        .runs(0, &["plugin", "record", "tools.tool", "--output", &file.to_string_lossy()])
        .says(&["wrote"]);
    let again = machine.runs(1, &["plugin", "record", "tools.tool", "--output", &file.to_string_lossy()]);
    again.says(&["can't write", "what is there is kept"]);
    let text = fs::read_to_string(file).expect("written");
    assert!(text.contains("from Zürich") && text.contains("nowhere"), "{text}");

    fs::remove_file(program).expect("removed");
    let other = Machine::bare();
    let pack = with_scenario(&other, "recorded", &text);
    test(&other, 0, &pack, &[]).prints(&["ok"]);
    let changed = with_scenario(&other, "recorded", &text.replace("tool 3.11.5", "tool 3.11.6"));
    test(&other, 1, &changed, &[]).prints(&["expected  3.11.5", "got       3.11.6"]);
}

/// The components that come with Attune.
#[test]
fn the_core_pack_does_as_its_scenarios_say() {
    let machine = Machine::bare();
    let core = embedded().iter().find(|pack| pack.name == "core").expect("the core pack");
    let folder = machine.make("core");
    for file in core.files {
        let path = folder.join(file.path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, file.contents).expect("a file");
    }
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/core/tests");
    fs::create_dir(folder.join("tests")).expect("a folder");
    for entry in fs::read_dir(scenarios).expect("scenarios") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), folder.join("tests").join(entry.file_name())).expect("copied");
    }
    test(&machine, 0, &folder, &[]);
}

#[test]
fn what_is_no_test_program_is_said_to_be_none() {
    let machine = Machine::bare();
    let file = machine.write("no.wasm", "no component");
    machine
        .runs(1, &["plugin", "test-runner", &file.to_string_lossy()])
        .says(&["can't run the tests in", "no.wasm"]);
}
