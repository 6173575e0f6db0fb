//! `attune plugin`: looking into components, comparing and calling them.

mod new;

use std::process::Command;

use attune::plugin::Wasm;
use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, skip};
use crate::support::fixture::{Pack, starts, tool, tools};
use crate::support::guests;

/// The bytes of a component of the tests.
fn wasm(guest: &str) -> Vec<u8> {
    match guests::source(guest).wasm {
        Wasm::Bytes(bytes) => bytes.to_vec(),
        Wasm::File(path) => panic!("not at hand: {}", path.display()),
    }
}

/// A pack with a component of the tests, and a runtime that asks to run `tools`.
fn shipping(guest: &str, tools: &str, settings: &str) -> Pack {
    let runtime = format!(
        "ref: strange.thing\nlabel: Thing\nplugin:\n  component: {guest}\n  grants:\n    tools: [{tools}]\n    \
         search: [{{ source: system, folders: [/usr/bin] }}]\n  settings: {settings}\nversions: [{{ version: \"1\", execution_config: {{}} }}]\n"
    );
    Pack::new("strange")
        .file("runtimes/thing.yaml", runtime)
        .file(&format!("components/{guest}.wasm"), wasm(guest))
}

fn names(list: &Json) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn what_is_installed_is_shown_with_what_it_may_do() {
    let machine = Machine::bare();
    tools().install(&machine);
    let shown = machine.json(&["plugin", "inspect", "core.declarative"]);
    assert_eq!(shown["component"], "core.declarative");
    assert_eq!(shown["contract"], "0.1.0");
    assert_eq!(
        names(&shown["exports"]),
        ["detection", "environment", "verification"].map(|name| format!("attune:runtime/{name}@0.1.0"))
    );
    assert!(names(&shown["imports"]["attune"]).contains(&"attune:runtime/tools@0.1.0"), "{shown}");
    assert!(names(&shown["imports"]["wasi"]).iter().all(|name| name.starts_with("wasi:")), "{shown}");
    assert_eq!(shown["imports"]["other"], json!([]));
    assert_eq!(shown["needs"]["memories"], 1);
    assert_eq!(shown["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(shown["loading"]["compiled"], false, "{shown}");
    let runtimes = shown["runtimes"].as_array().expect("a list");
    let users = runtimes.iter().map(|used| used["runtime"].as_str().expect("a name")).collect::<Vec<_>>();
    assert_eq!(users, ["core.shell", "tools.tool"]);
    assert_eq!((&runtimes[1]["asked"], &runtimes[1]["missing"]), (&runtimes[1]["approved"], &json!([])));

    let by_runtime = machine.json(&["plugin", "inspect", "the-tool"]);
    assert_eq!(by_runtime["sha256"], shown["sha256"], "a runtime names its component");
    let output = machine.runs(0, &["plugin", "inspect", "tool"]);
    output.prints(&["contract      0.1.0", "and of WASI", "tools.tool  run", "~/tools/*/bin", "yes"]);
}

#[test]
fn a_file_need_not_be_installed() {
    let machine = Machine::bare();
    machine.write("some.wasm", wasm("detector"));
    let first = machine.json(&["plugin", "inspect", "some.wasm"]);
    assert_eq!(names(&first["exports"]), ["attune:runtime/detection@0.1.0"]);
    assert_eq!((&first["loading"]["compiled"], &first["runtimes"]), (&json!(true), &json!([])));
    assert_eq!(first["size"], wasm("detector").len());
    let again = machine.json(&["plugin", "inspect", "some.wasm"]);
    assert_eq!(again["loading"]["compiled"], false, "it is compiled once");
    machine.runs(0, &["plugin", "inspect", "some.wasm"]).prints(&["compiled before"]);
}

/// A component that imports an interface with one function.
fn importing(interface: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // Section 7, types: an instance that exports one function without parameters and results.
    bytes.extend([7, 14, 1, 0x42, 2, 1, 0x40, 0, 1, 0, 4, 0, 1, b'f', 1, 0]);
    // Section 10, imports: one, an instance of that type.
    let length = u8::try_from(interface.len()).expect("a short name");
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(interface.as_bytes());
    bytes.extend([5, 0]);
    bytes
}

#[test]
fn what_was_built_for_another_contract_is_refused() {
    let machine = Machine::bare();
    for (interface, version) in [("tools@0.2.0", "0.2.0"), ("telepathy@0.1.9", "0.1.9")] {
        machine.write("new.wasm", importing(&format!("attune:runtime/{interface}")));
        machine.runs(2, &["plugin", "inspect", "new.wasm"]).says(&[
            &format!("it needs version {version} of the contract (`attune:runtime/{interface}`)"),
            "this Attune has 0.1.0",
            &format!("hint: use an Attune that has version {version}"),
        ]);
    }
    machine.write("old.wasm", importing("attune:runtime/tools@0.0.3"));
    machine.runs(2, &["plugin", "inspect", "old.wasm"]).says(&["needs version 0.0.3", "hint: build it anew"]);
    let pack = shipping("detector", "tool", "{}");
    let pack = pack.file("components/detector.wasm", importing("attune:runtime/tools@1.0.0"));
    let folder = pack.write(&machine.make("packs"));
    let output = machine.runs(2, &["pack", "install", "--approve", &folder.to_string_lossy()]);
    output.says(&[
        "components/detector.wasm",
        "needs version 1.0.0 of the contract",
        "use an Attune that has",
    ]);
}

#[test]
fn what_is_none_is_said() {
    let machine = Machine::bare();
    machine.runs(4, &["plugin", "inspect", "core.declaratife"]).says(&["did you mean `core.declarative`?"]);
    machine.runs(4, &["plugin", "inspect", "./none.wasm"]).says(&["no file or folder `./none.wasm`"]);
    machine.runs(2, &["plugin", "inspect", "native"]).says(&["`core.native` has no component"]);
    machine.write("text.wasm", "text");
    machine.runs(2, &["plugin", "inspect", "text.wasm"]).says(&["not a valid WebAssembly component"]);
    machine.runs(4, &["plugin", "diff", "core.declarative", "core.nothing"]).says(&["`core.nothing`"]);
}

#[test]
fn differences_are_those_of_the_component_and_of_what_is_asked() {
    let machine = Machine::bare();
    let old = shipping("detector", "a, b", "{}").write(&machine.make("old"));
    let new = shipping("detector", "b, c", "{}").write(&machine.make("new"));
    let (old, new) = (old.to_string_lossy(), new.to_string_lossy());
    let difference = machine.json(&["plugin", "diff", &old, &new]);
    assert_eq!(difference["same"], true);
    let changed = json!([{ "runtime": "strange.thing", "added": ["run c"], "removed": ["run a"] }]);
    assert_eq!(difference["grants"], changed);
    machine.runs(0, &["plugin", "diff", &old, &new]).prints(&["strange.thing asks", "- run a", "+ run c"]);
    machine.runs(0, &["plugin", "diff", &old, &old]).prints(&["no difference"]);

    machine.runs(0, &["pack", "install", "--approve", &old]);
    let installed = machine.json(&["plugin", "diff", "strange.detector", &new]);
    assert_eq!(installed["grants"], changed);

    machine.write("other.wasm", wasm("obliging"));
    let difference = machine.json(&["plugin", "diff", &old, "other.wasm"]);
    assert_eq!((&difference["same"], &difference["grants"]), (&json!(false), &json!([])));
    assert_eq!(
        difference["exports"],
        json!({ "added": ["attune:runtime/environment@0.1.0", "attune:runtime/verification@0.1.0"], "removed": [] })
    );
    assert_ne!(difference["size"][0], difference["size"][1]);
}

#[test]
fn a_call_shows_what_was_done_for_its_answer() {
    let machine = Machine::bare();
    let path = tool(&machine, "3.12.1");
    let path = path.to_str().expect("text");
    tools().install(&machine);
    let before = starts(&machine, "3.12.1");

    let called = machine.json(&["plugin", "call", "tool", "detect"]);
    assert_eq!((&called["runtime"], &called["function"]), (&json!("tools.tool"), &json!("detection.detect")));
    let found = &called["answer"]["installations"][0];
    assert_eq!((&found["path"], &found["version"]), (&json!(path), &json!("3.12.1")));
    let program = &called["programs"][0];
    assert_eq!((&program["path"], &program["arguments"]), (&json!(path), &json!(["--version"])));
    assert_eq!((&program["exit_code"], &program["remembered"]), (&json!(0), &json!(true)));
    assert_eq!(starts(&machine, "3.12.1"), before, "what is known is not asked");

    let called = machine.json(&["plugin", "call", "tool", "detect", "--anew"]);
    assert_eq!(
        (&called["programs"][0]["remembered"], &called["programs_started"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(starts(&machine, "3.12.1"), before + 1);
    for part in ["guest_ms", "host_ms", "child_ms", "memory_peak"] {
        assert!(called[part].as_f64().is_some_and(|number| number > 0.0), "{part}: {called}");
    }
    let output = machine.runs(0, &["plugin", "call", "tool", "detect"]);
    output.prints(&["found 3.12.1 at", "remembered", "--version", "ms in programs"]);
}

#[test]
fn each_function_is_called_with_what_the_runtime_declares() {
    let machine = Machine::bare();
    let path = tool(&machine, "3.12.1");
    let path = path.to_str().expect("text");
    tools().install(&machine);
    let answer = |arguments: &[&str]| {
        machine.runs(0, &[&["--json", "plugin", "call", "tool"], arguments].concat()).json()["answer"].clone()
    };
    assert_eq!(answer(&["aliases"]), json!({ "aliases": { "latest": "*" } }));
    let verdict = answer(&["verify", path]);
    assert_eq!((&verdict["version"], &verdict["checks"][0]["outcome"]), (&json!("3.12.1"), &json!("passed")));
    assert_eq!(answer(&["plan", path])["steps"], json!([]));
    assert_eq!(answer(&["check", path, "--environment", "nowhere"])["healthy"], true);
    machine.write("start.me", "");
    let command = answer(&["launch", path, "--entry-point", "start.me", "--", "-x", "y"]);
    assert_eq!(command["program"], "${installation}");
    let started = machine.at("start.me");
    assert_eq!(command["arguments"], json!([started, "-x", "y"]));
    machine.runs(0, &["plugin", "call", "tool", "plan", path]).prints(&["no environment is needed"]);

    let output = machine.runs(4, &["plugin", "call", "tool", "verify", "/usr/bin/none"]);
    output.says(&["`/usr/bin/none` is no installation that `tools.tool` finds", &format!("it finds {path}")]);
    machine.runs(4, &["plugin", "call", "tool", "plan", "/usr/bin/none"]).says(&[path]);
    machine.runs(2, &["plugin", "call", "tool", "plan", path, "--manifest", "x"]).says(&["NAME=FILE"]);
    machine.runs(2, &["plugin", "call", "native", "detect"]).says(&["has no component"]);
}

#[test]
fn a_broken_program_is_named_with_the_reason() {
    let machine = Machine::bare();
    machine.script("home/tools/1/bin/tool", "#!/bin/sh\nexit 3\n");
    tools().install(&machine);
    let path = machine.at("home/tools/1/bin/tool");
    let called = machine.json(&["plugin", "call", "tool", "detect", "--anew"]);
    assert_eq!(called["answer"]["rejected"][0]["path"], json!(path));
    assert_eq!(called["programs"][0]["exit_code"], 3);
    for function in ["verify", "plan"] {
        let output = machine.runs(2, &["plugin", "call", "tool", function, &path.to_string_lossy()]);
        output.says(&["is no installation: nonzero_exit(3)"]);
    }
}

#[test]
fn denials_and_failures_are_shown_with_what_led_to_them() {
    let machine = Machine::bare();
    shipping("hostile", "sh", "{ do: open, with: /etc/passwd }").install(&machine);
    let called = machine.json(&["plugin", "call", "thing", "detect"]);
    let denial = "/etc/passwd is not a granted tool in a granted folder";
    assert_eq!(called["denials"], json!([denial]));
    machine.runs(0, &["plugin", "call", "thing", "detect"]).prints(&[&format!("denied: {denial}")]);

    shipping("hostile", "sh", "{ do: panic }").install_failing(&machine);
    let output = machine.runs(1, &["plugin", "call", "thing", "detect", "--json"]);
    output.says(&["the guest gives up"]);
    let called = output.json();
    assert_eq!(called["answer"], Json::Null);
    assert!(called["error"].as_str().is_some_and(|error| error.contains("it crashed")), "{called}");
    assert!(called["memory_peak"].as_u64().is_some_and(|bytes| bytes > 0), "{called}");
}

/// What `plugin new` writes in languages other than the host's. The tools for that are fetched, so only where that is asked for.
#[test]
fn components_in_other_languages_build_and_answer() {
    if std::env::var_os("ATTUNE_TEST_COMPONENT_LANGUAGES").is_none() {
        return skip(
            "ATTUNE_TEST_COMPONENT_LANGUAGES is not set: tools of Python and of JavaScript would be fetched",
        );
    }
    for lang in ["python", "js"] {
        let machine = Machine::fresh();
        let author = machine.make("author");
        machine.runs(0, &["plugin", "new", "perl", "--lang", lang, "--path", &author.to_string_lossy()]);
        let pack = author.join("perl");
        let built = Command::new("sh").arg("plugin/build.sh").current_dir(&pack).output().expect("a shell");
        assert!(built.status.success(), "{lang}: {}", String::from_utf8_lossy(&built.stderr));
        let pack = pack.to_string_lossy();
        machine.runs(0, &["plugin", "test", &pack]).prints(&["ok"]);
        machine.runs(0, &["pack", "install", "--approve", &pack]).prints(&[
            "perl.perl",
            "ok",
            "/usr/bin/perl",
        ]);
        machine.runs(0, &["run", "perl.hello"]).prints(&["hello"]);
    }
}
