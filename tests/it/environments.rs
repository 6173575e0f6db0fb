//! Environments: built once, checked before each use, built again when they don't work, and collected.

mod failing;
mod packages;
mod shared;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use crate::support::cli::{Machine, Output, is_running, wait_for};
use crate::support::fixture::{Pack, tool};

/// An action that says which environment it runs in.
const PREFIX: &str = "import sys\nprint(sys.prefix)\n";

fn python() -> Pack {
    Pack::new("envs").action("prefix.py", "runtime: core.python\nruntime_version: \">=3.9\"", PREFIX)
}

/// A runtime whose environments are built by a command that waits while there is a file `gate` and notes
/// each build in `builds`; an environment has a program of its own.
pub(crate) fn boxes(machine: &Machine) -> Pack {
    let place = machine.path.display();
    let script = format!(
        "echo building >> {place}/builds; echo half > half; echo talking; echo $$ > {place}/builder; \
         while [ -e {place}/gate ]; do sleep 0.02; done; \
         if [ -e {place}/fail ]; then echo the mirror is down >&2; exit 3; fi; \
         mkdir -p bin; cp /bin/sh bin/box"
    );
    let yaml = format!(
        r#"
ref: boxes.box
plugin:
  component: core.declarative
  grants: {{ tools: [tool], search: [{{ source: home, folders: ["~/tools/*/bin"] }}] }}
distributions:
  verification: {{ commands: [{{ binary: tool, args: ["--version"], pattern: '^tool (?P<version>\S+)' }}] }}
execution_config: &config
  interpreter: {{ binary: tool }}
  environment:
    create:
      - run: ["${{interpreter}}", "-c", "{script}"]
    interpreter: bin/box
versions:
  - {{ version: "3.12", execution_config: *config }}
"#
    );
    machine.write("builds", "");
    Pack::new("boxes")
        .file("runtimes/box.yaml", yaml)
        .action("say.sh", "runtime: box", "readlink /proc/$$/exe")
        .action("more.sh", "runtime: box", "echo more")
}

fn boxed() -> Machine {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    boxes(&machine).install(&machine);
    machine
}

pub(crate) fn builds(machine: &Machine) -> usize {
    fs::read_to_string(machine.at("builds")).expect("a file").lines().count()
}

/// The process that builds, as soon as there is one.
pub(crate) fn builder(machine: &Machine) -> String {
    let noted = || fs::read_to_string(machine.at("builder")).ok().filter(|pid| pid.ends_with('\n'));
    wait_for("the build", noted)
}

/// The environments that are built, or half built.
pub(crate) fn built(machine: &Machine) -> Vec<PathBuf> {
    let folder = machine.at("data/envs/.built");
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it is there");
}

/// Runs the Python action, which has to be in an environment, and says in which, and whether it was built.
#[track_caller]
fn prefix(machine: &Machine) -> (PathBuf, bool) {
    let run = machine.json(&["run", "envs.prefix"]);
    let prefix = PathBuf::from(run["result"].as_str().expect("text"));
    let installation = run["installation"]["path"].as_str().expect("a path");
    assert!(
        prefix.starts_with(machine.at("data/envs/.built")),
        "it ran in {}, of {installation}",
        prefix.display()
    );
    let link = machine.last()["environment_path"].as_str().expect("a path").to_owned();
    assert_eq!(fs::canonicalize(&link).expect("a link"), fs::canonicalize(&prefix).expect("a folder"));
    let label = run["runtime_version"].as_str().expect("a label");
    assert_eq!(Path::new(&link), machine.at(format!("data/envs/envs/python-{label}")));
    (prefix, run["environment_built"] == true)
}

#[test]
fn built_once_and_used_again() {
    let machine = Machine::new();
    python().install(&machine);
    let (first, fresh) = prefix(&machine);
    assert!(fresh);
    assert_eq!(prefix(&machine), (first.clone(), false));
    // Another pack that needs the same has the same.
    let other =
        Pack::new("others").action("prefix.py", "runtime: python\nruntime_version: \">=3.9\"", PREFIX);
    other.install(&machine);
    let run = machine.json(&["run", "others.prefix"]);
    assert_eq!((&run["result"], &run["environment_built"]), (&json!(first), &json!(false)));
    // Their key means both; a path means one of them.
    let all = machine.json(&["env", "list"]);
    let (key, path) = (all[0]["key"].as_str().expect("a key"), all[0]["path"].as_str().expect("a path"));
    machine.runs(2, &["env", "show", key]).says(&["more than one", path]);
    assert_eq!(machine.json(&["env", "show", path])["path"], path);
}

#[test]
fn one_that_is_damaged_is_built_again_and_never_done_without() {
    let machine = Machine::new();
    python().install(&machine);
    let (folder, _) = prefix(&machine);
    let damage: [&dyn Fn(); 5] = [
        &|| {
            let lib =
                fs::read_dir(folder.join("lib")).expect("a folder").next().expect("one").expect("an entry");
            fs::remove_dir_all(lib.path().join("site-packages")).expect("removed");
        },
        &|| fs::remove_file(folder.join("bin/python")).expect("removed"),
        &|| {
            fs::remove_file(folder.join("bin/python")).expect("removed");
            std::os::unix::fs::symlink("/bin/true", folder.join("bin/python")).expect("a link");
        },
        &|| fs::remove_file(folder.join("pyvenv.cfg")).expect("removed"),
        &|| fs::remove_dir_all(&folder).expect("removed"),
    ];
    for (number, damage) in damage.iter().enumerate() {
        damage();
        let run = machine.runs(0, &["run", "envs.prefix", "--json"]);
        let warned = run.stderr.strip_prefix("warning: the environment `").is_some_and(|said| {
            said.contains("` no longer works, and is built anew: ") && said.trim().lines().count() == 1
        });
        // One that is not there at all is simply built.
        assert!(number == 4 || (warned && !run.stderr.contains("pack ref")), "damage {number}: {run}");
        let (again, fresh) = (
            PathBuf::from(run.json()["result"].as_str().expect("text")),
            run.json()["environment_built"] == true,
        );
        assert!(fresh, "damage {number}");
        assert_eq!(again, folder, "damage {number}");
        assert!(!prefix(&machine).1, "damage {number}: it works again");
    }
}

#[test]
fn an_environment_of_a_declared_command_is_what_runs() {
    let machine = boxed();
    let run = machine.json(&["run", "boxes.say"]);
    let [folder] = &built(&machine)[..] else { panic!("one environment") };
    assert_eq!(run["result"], json!(folder.join("bin/box")));
    assert_eq!(builds(&machine), 1);
    machine.runs(0, &["run", "boxes.more"]);
    assert_eq!(builds(&machine), 1, "both actions have the same");
}

#[test]
fn a_build_that_is_killed_leaves_nothing_that_is_used() {
    let machine = boxed();
    let gate = machine.write("gate", "");
    let mut child = machine.start(&["run", "boxes.say"]);
    let builder = builder(&machine);
    signal(&child, Signal::KILL);
    child.wait().expect("it ends");
    assert_eq!(built(&machine).len(), 1, "it is half built");
    assert!(is_running(&builder), "nobody is there yet to end it");
    machine.runs(0, &["pack", "list"]);
    assert!(built(&machine).is_empty(), "the next process to start removes it");
    assert!(!is_running(&builder));
    fs::remove_file(gate).expect("removed");

    let run = machine.json(&["run", "boxes.say"]);
    assert_eq!((&run["status"], &run["environment_built"]), (&json!("succeeded"), &json!(true)));
    assert_eq!(builds(&machine), 2);
    let listed = machine.json(&["execution", "list"]);
    assert_eq!((&listed[0]["status"], &listed[1]["status"]), (&json!("succeeded"), &json!("abandoned")));
    assert_eq!(machine.json(&["run", "boxes.say"])["environment_built"], false);
}

#[test]
fn a_build_that_is_cancelled_ends_with_what_it_started() {
    let machine = boxed();
    machine.write("gate", "");
    let child = machine.start(&["run", "boxes.say"]);
    let builder = builder(&machine);
    signal(&child, Signal::INT);
    let output = Output::new(&child.wait_with_output().expect("it ends"));
    assert_eq!(output.code, 130, "{output}");
    assert_eq!(machine.last()["status"], "cancelled");
    assert!(!is_running(&builder));
    fs::remove_file(machine.at("gate")).expect("removed");
    assert_eq!(machine.json(&["run", "boxes.say"])["environment_built"], true);
    assert_eq!(builds(&machine), 2);
}

#[test]
fn many_that_want_one_make_one() {
    let machine = boxed();
    machine.write("gate", "");
    let children = (0..10).map(|_| machine.start(&["run", "boxes.say", "--json"])).collect::<Vec<_>>();
    wait_for("the build", || (builds(&machine) == 1).then_some(()));
    fs::remove_file(machine.at("gate")).expect("removed");
    let runs =
        children.into_iter().map(|child| Output::new(&child.wait_with_output().expect("it ends")).json());
    let runs = runs.collect::<Vec<_>>();
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
    assert_eq!(runs.iter().filter(|run| run["environment_built"] == true).count(), 1);
    assert_eq!(builds(&machine), 1);
}

#[test]
fn a_build_that_fails_shows_why_and_runs_nothing() {
    let machine = boxed();
    machine.write("fail", "");
    let output = machine.runs(5, &["run", "boxes.say"]);
    output.says(&["the mirror is down", "can't build the environment", "exited with code 3"]);
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.matches("exited with code 3").count(), 1, "told once: {output}");
    for word in ["warning:", "ran by", "hint:"] {
        assert!(!output.stderr.contains(word), "{output}");
    }
    machine.runs(5, &["run", "boxes.say", "-v"]).says(&["duration_ms"]);
    let row = machine.last();
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("failed"), &json!("environment_failed")));
    assert!(built(&machine).is_empty(), "nothing is left that looks like one");
    let listed = machine.json(&["env", "list"]);
    assert_eq!(listed[0]["state"], "failed");
    let path = listed[0]["path"].as_str().expect("a path");
    machine.runs(0, &["env", "show", path]).prints(&["the mirror is down"]);
    let json = machine.runs(5, &["run", "boxes.say", "--json"]).json();
    assert_eq!(json["error"]["class"], "environment_failed");

    fs::remove_file(machine.at("fail")).expect("removed");
    assert_eq!(machine.json(&["run", "boxes.say"])["environment_built"], true);
    assert_eq!(machine.json(&["env", "list"])[0]["state"], "ready");
}

#[test]
fn a_base_interpreter_that_is_replaced_makes_another_environment() {
    let machine = boxed();
    machine.runs(0, &["run", "boxes.say"]);
    let path = machine.at("home/tools/3.12.1/bin/tool");
    let text = fs::read_to_string(&path).expect("a file").replace("tool 3.12.1", "tool 3.12.2");
    fs::write(&path, text).expect("a file");
    assert_eq!(machine.json(&["env", "list"])[0]["state"], "interpreter_changed");
    fs::rename(&path, machine.at("aside")).expect("renamed");
    assert_eq!(machine.json(&["env", "list"])[0]["state"], "interpreter_gone");
    let link = machine.json(&["env", "list"])[0]["path"].as_str().expect("a path").to_owned();
    machine.runs(0, &["doctor"]).prints(&[&format!("1 environment of interpreters that are gone: {link}")]);
    fs::rename(machine.at("aside"), &path).expect("renamed");
    let run = machine.json(&["run", "boxes.say"]);
    assert_eq!((&run["environment_built"], &run["runtime_version"]), (&json!(true), &json!("3.12")));
    assert_eq!(run["installation"]["version"], "3.12.2");
    assert_eq!(builds(&machine), 2);
    let listed = machine.json(&["env", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "it has the place of the old one");
    assert_eq!(listed[0]["state"], "ready");
}

#[test]
fn listed_shown_repaired_and_removed() {
    let machine = Machine::new();
    machine.runs(0, &["env", "list"]).prints(&["no environments yet"]);
    machine.runs(0, &["env", "repair"]).prints(&["no environments yet"]);
    python().install(&machine);
    let (folder, _) = prefix(&machine);
    let listed = machine.json(&["env", "list"]);
    let [environment] = &listed.as_array().expect("a list")[..] else { panic!("one: {listed:#}") };
    assert_eq!((&environment["state"], &environment["pack"]), (&json!("ready"), &json!("envs")));
    let path = environment["path"].as_str().expect("a path");
    let key = environment["key"].as_str().expect("a key");
    let short = &key[..8];
    machine.runs(0, &["env", "show", path]).prints(&["core.python", key]);
    machine.runs(0, &["env", "show", short]).prints(&[path]);
    machine.runs(4, &["env", "show", "nothing"]).says(&["there is no environment `nothing`"]);

    assert_eq!(machine.json(&["env", "repair"])[0]["outcome"], "healthy");
    let packages =
        fs::read_dir(folder.join("lib")).expect("a folder").next().expect("one").expect("an entry");
    fs::remove_dir_all(packages.path()).expect("removed");
    let output = machine.runs(0, &["env", "repair", "--dry-run"]);
    output.prints(&[
        "nothing was done; this is the plan\n\n",
        "to be repaired",
        &format!("\n{path}\n    1. "),
    ]);
    let plan = machine.json(&["env", "repair", "--dry-run"]);
    assert_eq!(plan["environments"][0]["outcome"], "to_be_repaired", "the first repaired nothing: {plan}");
    let repaired = machine.json(&["env", "repair"]);
    assert_eq!((&repaired[0]["outcome"], &repaired[0]["path"]), (&json!("repaired"), &json!(path)));
    assert_ne!(repaired[0]["reason"], Json::Null);
    assert!(!prefix(&machine).1, "it was built by the repair");

    assert_eq!(machine.json(&["env", "prune"]), json!([]), "what was used a moment ago stays");
    assert_eq!(machine.json(&["env", "prune", "--quota", "1MiB", "--grace", "1h"]), json!([]));
    let plan = machine.json(&["env", "prune", "--all", "--dry-run"]);
    machine.runs(0, &["env", "prune", "--all", "--dry-run"]).prints(&[
        "nothing was done",
        path,
        " to be freed",
    ]);
    let removed = machine.json(&["env", "prune", "--all"]);
    assert_eq!((&plan["dry_run"], &plan["removed"]), (&json!(true), &removed));
    assert_eq!(removed[0]["key"], key);
    assert!(!folder.exists() && !Path::new(path).exists());
    assert_eq!(machine.json(&["env", "list"]), json!([]));
    assert!(prefix(&machine).1, "the next run builds it again");
}

#[test]
fn what_runs_is_not_removed() {
    let machine = Machine::new();
    let script = "import sys, time\nprint(sys.prefix, flush=True)\ntime.sleep(600)\n";
    Pack::new("envs")
        .action("wait.py", "runtime: python\nruntime_version: \">=3.9\"", script)
        .install(&machine);
    let child = machine.start(&["run", "envs.wait"]);
    wait_for("the action", || {
        let listed = machine.json(&["env", "list"]);
        (listed[0]["state"] == "ready" && machine.last()["environment_key"] != Json::Null).then_some(())
    });
    assert_eq!(machine.json(&["env", "prune", "--all"]), json!([]));
    assert_eq!(built(&machine).len(), 1);
    signal(&child, Signal::INT);
    assert_eq!(Output::new(&child.wait_with_output().expect("it ends")).code, 130);
    assert_eq!(machine.json(&["env", "prune", "--all"]).as_array().map(Vec::len), Some(1));
}
