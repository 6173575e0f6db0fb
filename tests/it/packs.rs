//! `attune pack`: what is installed is all of a pack or nothing of it.

mod damaged;
mod grants;
mod integrity;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use attune::plugin::Wasm;
use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, Output, skip, wait_for};
use crate::support::fixture::{Pack, TOOL, starts, tool, tools};
use crate::support::guests;

/// The result of an action.
#[track_caller]
fn result(machine: &Machine, action: &str) -> Json {
    machine.json(&["run", action])["result"].clone()
}

fn install(machine: &Machine, path: &Path) -> Output {
    machine.run(&["pack", "install", &path.to_string_lossy()])
}

#[test]
fn from_a_folder_and_from_an_archive() {
    let machine = Machine::new();
    let pack = Pack::new("mine").shell("say", "", "echo folder");
    let output = pack.install(&machine);
    output.prints(&["installed mine 1.0.0", "mine.say"]);
    assert_eq!(result(&machine, "mine.say"), "folder");

    let pack = Pack::new("mine").shell("say", "", "echo archive");
    pack.write(&machine.make("other"));
    let archive = machine.at("mine.tar.gz");
    let tar =
        Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(machine.at("other")).arg("mine").status();
    assert!(tar.expect("tar").success());
    let output = install(&machine, &archive);
    assert_eq!(output.code, 0, "{output}");
    output.prints(&["replaced mine 1.0.0 by 1.0.0"]);
    assert_eq!(result(&machine, "mine.say"), "archive");
    // What was installed stays as it was, whatever becomes of where it came from.
    fs::remove_dir_all(machine.at("packs")).expect("removed");
    fs::remove_file(archive).expect("removed");
    assert_eq!(result(&machine, "mine.say"), "archive");
}

#[test]
fn installing_says_what_the_runtimes_find() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    tools().install(&machine).prints(&["tools.tool", "3.12.1", "home/tools/3.12.1/bin/tool"]);
    let folder = tools().write(&machine.make("packs"));
    let installed = machine.json(&["pack", "install", &folder.to_string_lossy()]);
    assert_eq!(installed["runtimes"][0]["runtime"], "tools.tool");
    assert_eq!(installed["runtimes"][0]["installations"][0]["status"], "verified");
}

/// A runtime of the hostile component's, which does this when it is asked to detect or verify.
fn hostile(name: &str, what: &str) -> String {
    format!(
        "ref: bad.{name}
plugin:
  component: hostile
  settings: {{ do: {what} }}
  grants:
    tools: [tool]
    search: [{{ source: home, folders: [\"~/tools/*/bin\"] }}]
versions: [{{ version: \"1\", execution_config: {{}} }}]
"
    )
}

fn bad() -> Pack {
    let Wasm::Bytes(component) = guests::source("hostile").wasm else { panic!("it is in memory") };
    Pack::new("bad").file("components/hostile.wasm", &*component)
}

#[test]
fn a_component_that_fails_is_said_and_the_pack_is_installed_all_the_same() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let pack = bad()
        .file("runtimes/crashes.yaml", hostile("crashes", "panic"))
        .file("runtimes/good.yaml", TOOL.replace("tools.tool", "bad.good").replace("aliases:", "# aliases:"))
        .file("runtimes/unproved.yaml", hostile("unproved", "fail-to-verify"));
    let output = pack.install_failing(&machine);
    output.prints(&["installed bad 1.0.0", "bad.crashes\n  failed: component `hostile`", "ok      3.12.1"]);
    output.says(&["error: component `hostile` of pack `bad`", "hint: `bad` is installed"]);
    let folder = machine.at("packs/bad");
    let installed = machine.runs(1, &["pack", "install", "--json", &folder.to_string_lossy()]).json();
    let of = |name: &str| {
        installed["runtimes"].as_array().expect("a list").iter().find(|it| it["runtime"] == name)
    };
    assert!(of("bad.crashes").expect("there")["error"].as_str().expect("an error").contains("hostile"));
    assert_eq!(of("bad.good").expect("there")["installations"][0]["status"], "verified");
    let unproved = &of("bad.unproved").expect("there")["installations"][0]["failure"];
    assert_eq!(unproved["class"], "plugin_failed", "{installed:#}");
    // As when they are looked for again.
    for (runtime, code) in [("bad.crashes", 1), ("bad.good", 0), ("bad.unproved", 1)] {
        machine.runs(code, &["runtime", "detect", runtime]);
    }
    machine
        .runs(1, &["runtime", "detect", "bad.unproved"])
        .says(&["`bad.unproved` failed to verify 1 installation"]);
    // Nothing found is no failure.
    fs::remove_dir_all(machine.at("home/tools")).expect("removed");
    tools().install(&machine).prints(&["nothing found"]);
}

#[test]
fn what_is_being_done_fits_a_narrow_terminal() {
    let machine = Machine::bare().and("ATTUNE_DETECTION_TIMEOUT", "4s").and("TERM", "xterm");
    let long = "label: A name that is longer than a narrow terminal has columns\n";
    let pack = bad().file("runtimes/hangs.yaml", hostile("hangs", "loop") + long);
    let folder = pack.write(&machine.make("packs"));
    let install = machine.command(&["pack", "install", "--approve", &folder.to_string_lossy()]);
    let words = install.get_args().map(|word| word.to_string_lossy().into_owned());
    let line = format!(
        "stty rows 24 cols 40; exec {} {}",
        env!("CARGO_BIN_EXE_attune"),
        words.collect::<Vec<_>>().join(" ")
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).current_dir(&machine.path).env_clear();
    terminal.envs(install.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Ok(shown) = terminal.stdin(Stdio::null()).output() else {
        return skip("there is no `script`, which gives a program a terminal");
    };
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let lines = shown.split(['\r', '\n', '\u{1b}']).filter(|line| line.contains("looking for A name"));
    let widths = lines.map(|line| line.trim_start_matches("[2K").chars().count()).collect::<Vec<_>>();
    assert!(!widths.is_empty() && widths.iter().all(|width| *width <= 40), "{widths:?}: {shown:?}");
}

#[test]
fn runtimes_of_a_pack_are_looked_for_side_by_side() {
    let machine = Machine::bare().and("ATTUNE_DETECTION_TIMEOUT", "1h");
    tool(&machine, "3.12.1");
    let pack = bad()
        .file("runtimes/hangs.yaml", hostile("hangs", "loop"))
        .file("runtimes/tool.yaml", TOOL.replace("tools.tool", "bad.tool"));
    let folder = pack.write(&machine.make("packs"));
    let mut install = machine.start(&["pack", "install", "--approve", &folder.to_string_lossy()]);
    wait_for("the other one to be looked for", || (starts(&machine, "3.12.1") > 0).then_some(()));
    assert!(install.try_wait().expect("a process").is_none(), "one component still hangs");
    install.kill().expect("killed");
    install.wait().expect("it is gone");
}

#[test]
fn installing_again_replaces_all_of_it() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let pack =
        tools().action("old.sh", "runtime: tool", "echo old").action("both.sh", "runtime: tool", "echo 1");
    pack.install(&machine);
    let before = starts(&machine, "3.12.1");
    assert!(before > 0);
    let yaml = r#"
ref: tools.tool
plugin:
  component: core.declarative
  grants: { tools: [tool], search: [{ source: home, folders: ["~/tools/*/bin"] }] }
distributions:
  verification: { commands: [{ binary: tool, args: ["--version"], pattern: '^tool (?P<version>\S+)' }] }
execution_config: { interpreter: { binary: tool } }
versions:
  - { version: "3.13", execution_config: { interpreter: { binary: tool } } }
"#;
    Pack::new("tools")
        .file("pack.yaml", "ref: tools\nversion: \"0.9.0\"\n")
        .file("runtimes/tool.yaml", yaml)
        .action("both.sh", "runtime: tool", "echo 2")
        .install(&machine)
        .prints(&["replaced tools 1.0.0 by 0.9.0", "no longer there: tools.tool 3.11, tools.tool 3.12\n"]);
    assert_eq!(result(&machine, "tools.both"), "2");
    machine.runs(4, &["run", "tools.old"]);
    let shown = machine.json(&["runtime", "show", "tools.tool"]);
    let versions = shown["versions"].as_array().expect("a list");
    let declared = versions.iter().filter(|version| version["is_declared"] == true);
    assert_eq!(declared.map(|version| version["version"].clone()).collect::<Vec<_>>(), [json!("3.13")]);
    assert_eq!(shown["aliases"], json!([]), "aliases go away as well");
    let actions = machine.json(&["pack", "show", "tools"])["actions"].as_array().map(Vec::len);
    assert_eq!(actions, Some(1));
}

/// A pack with one mistake of every kind.
fn mistaken() -> Pack {
    Pack::new("wrong")
        .file("pack.yaml", "ref: wrong\nversion: \"1.0.0\"\nlable: Wrong\n")
        .action("a.sh", "runtime: core.shell\nruntime_version: 3.10", "true")
        .action("b.sh", "runtime: core.shel", "true")
        .action("c.sh", "runtime: core.shell\nruntime_version: \">=3.*.1\"", "true")
        .action("d.sh", "runtime: core.shell\ntimout: 5s", "true")
        .file("actions/e.yaml", "ref: wrong.e\nruntime: core.shell\nentry_point: actions/gone.sh\n")
        .file("actions/f.yaml", "ref: wrong.f\nruntime: core.shell\nentry_point: ../../etc/passwd\n")
        .file("actions/g.yaml", "ref: wrong.a\nruntime: core.shell\nentry_point: actions/a.sh\n")
        .file(
            "runtimes/r.yaml",
            "ref: wrong.r\nplugin: { component: absent }\nexecution_config: &c {}\nversions:\n  \
             - { version: \"1\", is_default: true, execution_config: *c }\n  \
             - { version: \"2\", is_default: true, execution_config: *c }\n",
        )
}

#[test]
fn every_mistake_is_reported_at_once() {
    let machine = Machine::new();
    let folder = mistaken().write(&machine.make("packs"));
    let path = folder.to_string_lossy().into_owned();
    let output = machine.runs(2, &["pack", "validate", &path]);
    output.says(&[
        "pack.yaml:3:1",
        "did you mean `label`?",
        "actions/a.yaml:4:",
        "put quotes around it",
        "actions/b.yaml:3:",
        "core.shell",
        "actions/c.yaml:4:",
        "actions/d.yaml:4:1",
        "did you mean `timeout`?",
        "actions/e.yaml:3:",
        "actions/gone.sh",
        "actions/f.yaml:3:",
        "actions/g.yaml:1:",
        "runtimes/r.yaml:2:",
        "absent",
        "runtimes/r.yaml:6:",
        "error: the pack has 10 mistakes in 9 files",
    ]);
    assert!(!output.stderr.contains("10 problems"), "counted once: {output}");
    let validity = machine.runs(2, &["pack", "validate", &path, "--json"]).json();
    assert_eq!(validity["valid"], false);
    let problems = validity["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 10, "{problems:#?}");
    for problem in problems {
        for key in ["file", "line", "column", "message", "help"] {
            assert_ne!(problem[key], Json::Null, "`{key}` of {problem}");
        }
    }
    assert_eq!(machine.runs(2, &["pack", "install", &path]).stderr, output.stderr);
    assert_eq!(machine.runs(2, &["pack", "install", &path, "--json"]).json(), validity);
    machine.runs(4, &["pack", "show", "wrong"]);
    let good = Pack::new("right").shell("say", "", "true").write(&machine.make("packs"));
    let validity = machine.json(&["pack", "validate", &good.to_string_lossy()]);
    assert_eq!((&validity["valid"], &validity["ref"]), (&json!(true), &json!("right")));
    machine.runs(4, &["pack", "show", "right"]).says(&["there is no pack `right`"]);
}

#[test]
fn aliases_that_no_component_knows() {
    let machine = Machine::new();
    let yaml = "ref: odd.r\nplugin: { component: core.node }\nexecution_config: &c {}\nversions:\n  \
                - { version: \"22\", execution_config: *c }\n";
    let pack = Pack::new("odd")
        .file("runtimes/r.yaml", yaml)
        .action("own.js", "runtime: odd.r\nruntime_version: lts/foo", "")
        .action("installed.js", "runtime: core.node\nruntime_version: lts/foo", "")
        .action("none.sh", "runtime: core.shell\nruntime_version: lts", "")
        .action("right.js", "runtime: node\nruntime_version: lts", "")
        .file(
            "sensors/s.yaml",
            "ref: odd.s\nruntime: core.node\nentry_point: actions/own.js\nruntime_version: ltz\n",
        );
    let folder = pack.write(&machine.make("packs")).to_string_lossy().into_owned();
    let output = machine.runs(2, &["pack", "validate", &folder]);
    output.says(&[
        "actions/installed.yaml:4:18",
        "`core.node` can't resolve the constraint: `lts/foo` stands for no version of this runtime",
        "known aliases: ",
        "lts/jod",
        "actions/none.yaml:4:18",
        "actions/own.yaml:4:18",
        "`odd.r` can't resolve the constraint",
        "sensors/s.yaml:4:18",
        "did you mean `lts`?",
        "error: the pack has 4 mistakes",
    ]);
    assert_eq!(machine.runs(2, &["pack", "install", &folder]).stderr, output.stderr);
}

#[test]
fn components_that_no_pack_has() {
    let machine = Machine::new();
    let yaml = "ref: odd.r\nplugin:\n  component: core.nope\n";
    let pack = Pack::new("odd").file("runtimes/r.yaml", yaml).shell("say", "timout: 5", "true");
    let folder = pack.write(&machine.make("packs")).to_string_lossy().into_owned();
    let output = machine.runs(2, &["pack", "validate", &folder]);
    output.says(&[
        "there is no component `core.nope`",
        "runtimes/r.yaml:3:14",
        "did you mean `core.node`?",
        "actions/say.yaml:4:1",
        "error: the pack has 2 mistakes",
    ]);
    assert_eq!(machine.runs(2, &["pack", "install", &folder]).stderr, output.stderr);
}

#[test]
fn validating_always_prints_a_document() {
    let machine = Machine::new();
    let folder = Pack::new("mine").shell("say", "timout: 5", "true").write(&machine.make("packs"));
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).expect("a link");
    machine.write("text", "no archive");
    let keys = |validity: &Json| {
        let problems = validity["problems"].as_array().expect("a list").clone();
        for problem in &problems {
            for key in ["file", "line", "column", "message", "help"] {
                assert!(problem.as_object().is_some_and(|problem| problem.contains_key(key)), "{problem}");
            }
        }
        problems.iter().map(|problem| (problem["file"].clone(), problem["line"].clone())).collect::<Vec<_>>()
    };
    let path = folder.to_string_lossy().into_owned();
    let validity = machine.runs(2, &["pack", "validate", &path, "--json"]).json();
    assert_eq!(keys(&validity), [(json!("actions/say.yaml"), json!(4)), (json!("link"), Json::Null)]);
    for (code, path) in [(2, "text"), (4, "gone")] {
        let validity = machine.runs(code, &["pack", "validate", path, "--json"]).json();
        assert_eq!((&validity["valid"], keys(&validity)), (&json!(false), vec![(json!(path), Json::Null)]));
    }
    let good = Pack::new("mine").shell("say", "", "true").write(&machine.make("packs"));
    let validity = machine.json(&["pack", "validate", &good.to_string_lossy()]);
    assert_eq!((&validity["valid"], &validity["problems"]), (&json!(true), &json!([])));
}

#[test]
fn a_pack_that_cannot_be_installed_leaves_the_old_one_working() {
    let machine = Machine::new();
    Pack::new("mine").shell("say", "", "echo one").install(&machine);
    let before = machine.json(&["pack", "show", "mine"]);
    let worse = Pack::new("mine").shell("say", "", "echo two").shell("bad", "timout: 5", "true");
    assert_eq!(install(&machine, &worse.write(&machine.make("packs"))).code, 2);
    let component = "runtimes/r.yaml";
    let yaml = "ref: mine.r\nplugin: { component: broken, grants: { tools: [x] } }\n";
    let worse = Pack::new("mine").shell("say", "", "echo two").file(component, yaml);
    let worse = worse.file("components/broken.wasm", b"\0asm\x0d\0\x01\0 and no more".as_slice());
    let output = machine.run(&[
        "pack",
        "install",
        "--approve",
        &worse.write(&machine.make("packs")).to_string_lossy(),
    ]);
    assert_ne!(output.code, 0, "{output}");
    output.says(&["components/broken.wasm", "not a valid WebAssembly component"]);
    let validity = machine.runs(2, &["pack", "validate", "packs/mine", "--json"]).json();
    assert_eq!(validity["problems"][0]["file"], "components/broken.wasm");
    // A component that is nothing but the beginning of one.
    worse.file("components/broken.wasm", b"\0asm\x0d\0\x01\0".as_slice()).write(&machine.at("packs"));
    let none = "none of the interfaces of a component: `detection`, `verification`, `environment`";
    for command in [&["pack", "validate", "packs/mine"][..], &["pack", "install", "--approve", "packs/mine"]]
    {
        machine.runs(2, command).says(&["components/broken.wasm", none]);
    }
    assert_eq!(machine.json(&["pack", "show", "mine"]), before);
    assert_eq!(result(&machine, "mine.say"), "one");
    machine.runs(4, &["runtime", "show", "mine.r"]);
}

#[test]
fn archives_that_mean_no_good() {
    let machine = Machine::new();
    machine.write("no.tar.gz", "this is no archive");
    assert_eq!(install(&machine, &machine.at("no.tar.gz")).code, 2);
    assert_eq!(install(&machine, &machine.at("gone.tar.gz")).code, 4);
    let folder = Pack::new("mine").shell("say", "", "true").write(&machine.make("packs"));
    std::os::unix::fs::symlink("/etc/passwd", folder.join("actions/link")).expect("a link");
    let archive = machine.at("link.tar.gz");
    let tar = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(folder).arg(".").status();
    assert!(tar.expect("tar").success());
    let output = install(&machine, &archive);
    assert_eq!(output.code, 2, "{output}");
    output.says(&["link"]);
    machine.runs(4, &["pack", "show", "mine"]);
}

#[test]
fn what_components_ask_for_has_to_be_approved() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let folder = tools().action("say.sh", "runtime: tool", "echo hi").write(&machine.make("packs"));
    let output = install(&machine, &folder);
    assert_eq!(output.code, 6, "{output}");
    output.says(&["tools.tool asks to", "run", "tool", "look in", "~/tools/*/bin", "--approve"]);
    machine.runs(4, &["run", "tools.say"]);
    assert_eq!(starts(&machine, "3.12.1"), 0, "nothing was run before it was approved");
    machine.runs(0, &["pack", "install", "--approve", &folder.to_string_lossy()]);
    assert_eq!(result(&machine, "tools.say"), "hi");

    // What was approved once need not be approved again, and nothing more.
    assert_eq!(install(&machine, &folder).code, 0);
    let yaml = folder.join("runtimes/tool.yaml");
    let more = fs::read_to_string(&yaml).expect("a file").replace("tools: [tool]", "tools: [tool, rm]");
    fs::write(yaml, more).expect("a file");
    let output = install(&machine, &folder);
    assert_eq!(output.code, 6, "{output}");
    output.says(&[
        "tools.tool asks to\n  run           rm\nand, as approved before, to\n  run           tool\n",
    ]);
    output.says(&["the version that is installed stays"]);
    // The plan is the same, and nothing is done even if it is approved.
    let path = folder.to_string_lossy();
    let before = machine.json(&["pack", "show", "tools"]);
    let planned = machine.runs(6, &["pack", "install", "--dry-run", "--json", &path]).json();
    assert_eq!((&planned["dry_run"], &planned["grants"][0]["approved"]), (&json!(true), &json!(false)));
    let output = machine.runs(0, &["pack", "install", "--dry-run", "--approve", &path]);
    output.prints(&[
        "nothing was done; this is the plan\n\nwould replace tools 1.0.0 by 1.0.0",
        "run           rm",
    ]);
    assert_eq!(machine.json(&["pack", "show", "tools"]), before);
    let installed = machine.json(&["pack", "show", "tools"])["digest"].clone();
    assert_eq!(result(&machine, "tools.say"), "hi", "what was approved goes on");
    machine.runs(0, &["pack", "install", "--approve", &folder.to_string_lossy()]);
    assert_ne!(machine.json(&["pack", "show", "tools"])["digest"], installed);
}

#[test]
fn removing_one() {
    let machine = Machine::new();
    Pack::new("mine").shell("say", "", "echo hi").install(&machine);
    machine.runs(0, &["run", "mine.say"]);
    let plan = machine.runs(0, &["pack", "remove", "mine", "--dry-run"]);
    plan.prints(&["nothing was done; this is the plan\n\nwould remove mine 1.0.0\nactions: mine.say\n"]);
    let plan = machine.json(&["pack", "remove", "mine", "--dry-run"]);
    assert_eq!((&plan["dry_run"], &plan["actions"]), (&json!(true), &json!(["mine.say"])));
    assert!(plan["bytes"].as_u64() > Some(0), "{plan}");
    machine.runs(0, &["run", "mine.say"]);
    machine.runs(0, &["pack", "remove", "mine"]).says(&["removed mine"]);
    machine.runs(4, &["run", "mine.say"]);
    machine.runs(4, &["pack", "remove", "mine"]);
    assert!(!machine.at("data/packs/mine").exists());
    assert_eq!(machine.last()["action"], "mine.say", "what it ran stays on record");
    machine.runs(0, &["execution", "logs", "last"]).prints(&["hi"]);
    machine.runs(2, &["pack", "remove", "core"]).says(&["core"]);
    machine.runs(2, &["pack", "remove", "examples"]).says(&["comes with Attune"]);
    Pack::new("mine").shell("say", "", "echo again").install(&machine);
    assert_eq!(result(&machine, "mine.say"), "again");
}

#[test]
fn a_new_one_is_ready_to_be_installed() {
    let machine = Machine::new();
    let output = machine.runs(0, &["pack", "new", "mine"]);
    output.says(&["attune pack install"]);
    let folder = machine.at("mine").to_string_lossy().into_owned();
    let valid = "mine 0.1.0 is a valid pack: 0 runtimes, 1 action, 0 sensors\n";
    assert_eq!(machine.runs(0, &["pack", "validate", &folder]).stdout, valid);
    assert!(!output.stderr.contains("warning"), "{output}");
    let other = machine.runs(0, &["pack", "new", "examples"]);
    other.says(&["warning: ", "a pack `examples` comes with Attune", "replaces it"]);
    machine.runs(0, &["pack", "install", &folder]);
    assert_eq!(machine.json(&["run", "mine.greet", "-p", "name=it's me"])["result"], "Hello, it's me!");
    machine.runs(2, &["pack", "new", "mine"]).says(&["exists already"]);
    machine.runs(2, &["pack", "new", "Not A Name"]);
    machine.runs(0, &["pack", "new", "other", "--path", &machine.make("below").to_string_lossy()]);
    assert!(machine.at("below/other/pack.yaml").is_file());
}

#[test]
fn those_that_come_with_it() {
    let machine = Machine::new();
    let listed = machine.json(&["pack", "list"]);
    let names = listed.as_array().expect("a list").iter().map(|pack| pack["ref"].clone());
    assert_eq!(names.collect::<Vec<_>>(), [json!("core"), json!("examples")]);
    let core = machine.json(&["pack", "show", "core"]);
    assert_eq!(core["runtimes"], json!(["core.native", "core.node", "core.python", "core.shell"]));
    let components =
        core["components"].as_array().expect("a list").iter().map(|component| component["name"].clone());
    assert_eq!(components.collect::<Vec<_>>(), [json!("declarative"), json!("node"), json!("python")]);
    machine.runs(0, &["pack", "show", "examples"]).prints(&["examples.greet", ">=3.9", "core.python"]);
}

#[test]
fn showing_one_says_what_its_actions_run_under_now() {
    let machine = Machine::bare();
    tool(&machine, "3.11.4");
    let new = tool(&machine, "3.12.1");
    tools()
        .file("pack.yaml", "ref: tools\nversion: \"1.0.0\"\nconcurrency: 7\n")
        .action("say.sh", "runtime: tool\nconcurrency: 3", "echo")
        .action("newer.sh", "runtime: tool\nruntime_version: \">=3.13\"", "echo")
        .shell("sh", "", "echo")
        .file("sensors/watch.yaml", "ref: tools.watch\nruntime: tool\nentry_point: sensors/watch.sh\n")
        .file("sensors/watch.sh", "echo")
        .install(&machine);
    let shown = machine.json(&["pack", "show", "tools"]);
    assert_eq!(shown["concurrency"], 7);
    let runs_under = |name: &str| {
        let actions = shown["actions"].as_array().expect("a list");
        let action = actions.iter().find(|action| action["ref"] == format!("tools.{name}"));
        action.expect("the action")["runs_under"].clone()
    };
    assert_eq!(runs_under("say"), json!({"version": "3.12.1", "path": new, "problem": null}));
    let newer = runs_under("newer");
    assert_eq!((&newer["version"], &newer["path"]), (&Json::Null, &Json::Null));
    assert!(newer["problem"].as_str().expect("a sentence").contains(">=3.13"), "{newer}");
    let text = machine.runs(0, &["pack", "show", "tools"]);
    text.prints(&["concurrency   7", "3.12.1 at", &new.to_string_lossy(), "CONCURRENCY"]);
    let line = |name: &str| {
        let mut lines = text.stdout.lines();
        lines.find(|line| line.starts_with(&format!("tools.{name} "))).expect("a line").to_owned()
    };
    assert!(line("newer").contains("nothing: no installation of `tools.tool`"), "{text}");
    assert!(line("say").split_whitespace().any(|word| word == "3"), "{text}");
    for name in ["say", "watch"] {
        assert!(line(name).contains(" tools.tool "), "{text}");
    }
    // What its actions need can come and go.
    tool(&machine, "3.13.2");
    let line = machine.runs(0, &["pack", "show", "tools"]).stdout;
    assert!(line.contains("3.13.2 at"), "{line}");
}

#[test]
fn one_that_others_need_is_not_removed() {
    let machine = Machine::bare();
    tools().install(&machine);
    Pack::new("mine").action("say.sh", "runtime: the-tool", "echo hi").install(&machine);
    for dry in [&["--dry-run"][..], &[]] {
        let output = machine.runs(2, &[&["pack", "remove", "tools"], dry].concat());
        output.says(&["`tools` is used by `mine.say`", "first"]);
    }
    machine.runs(0, &["runtime", "show", "tools.tool"]);
    machine.runs(0, &["pack", "remove", "mine"]);
    machine.runs(0, &["pack", "remove", "tools"]).says(&["removed tools"]);
}
