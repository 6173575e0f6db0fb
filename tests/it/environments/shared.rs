//! One stable path for environments that are built with several interpreters, and what is shown while one is built.

use std::fs;

use serde_json::{Value as Json, json};

use super::{boxed, boxes, builder, builds, signal};
use crate::support::cli::{Machine, wait_for};
use crate::support::fixture::tool;

fn states(machine: &Machine) -> Vec<Json> {
    let listed = machine.json(&["env", "list"]);
    listed.as_array().expect("a list").iter().map(|environment| environment["state"].clone()).collect()
}

#[test]
fn interpreters_of_one_label_do_not_take_each_others_environment() {
    let machine = Machine::bare();
    let versions = ["3.12.1", "3.12.4"];
    let tools = versions.map(|version| tool(&machine, version).display().to_string());
    let asking = |version: &str| format!("runtime: box\nruntime_version: \"=={version}\"");
    boxes(&machine)
        .action("old.sh", &asking(versions[0]), "readlink /proc/$$/exe")
        .action("new.sh", &asking(versions[1]), "readlink /proc/$$/exe")
        .install(&machine);
    let run = |action: &str| machine.runs(0, &["-vv", "run", action]);
    let ran_in = ["boxes.old", "boxes.new"].map(|action| run(action).stdout);
    assert_ne!(ran_in[0], ran_in[1]);
    for _ in 0..2 {
        for (action, before) in ["boxes.old", "boxes.new"].into_iter().zip(&ran_in) {
            let output = run(action);
            assert_eq!(output.stdout, *before);
            assert!(!output.stderr.contains("environment.plan"), "it is not planned again: {output}");
        }
    }
    assert_eq!(builds(&machine), 2);

    let listed = machine.json(&["env", "list"]);
    let paths = listed.as_array().expect("a list").iter().map(|row| row["path"].as_str().expect("a path"));
    let path = machine.at("data/envs/boxes/box-3.12").display().to_string();
    assert_eq!(paths.collect::<Vec<_>>(), [&path; 2]);
    assert_eq!([0, 1].map(|row| &listed[row]["installation"]), [&json!(tools[0]), &json!(tools[1])]);
    machine.runs(2, &["env", "show", &path]).says(&[
        "more than one: name its path or key",
        &tools[0],
        &tools[1],
    ]);
    let key = listed[1]["key"].as_str().expect("a key");
    machine.runs(0, &["env", "show", &key[..12]]).prints(&[&tools[1]]);
    for _ in 0..2 {
        let repaired = machine.json(&["env", "repair"]);
        let outcomes = repaired.as_array().expect("a list").iter().map(|looked| &looked["outcome"]);
        assert_eq!(outcomes.collect::<Vec<_>>(), ["healthy", "healthy"]);
    }
    machine.runs(0, &["env", "prune", "--all"]);
    assert_eq!(machine.json(&["env", "list"]), json!([]));
}

#[test]
fn one_that_is_built_for_the_first_time_is_shown_as_such() {
    let machine = boxed();
    machine.write("gate", "");
    let mut child = machine.start(&["run", "boxes.say"]);
    builder(&machine);
    assert_eq!(states(&machine), ["building"]);
    machine.runs(0, &["env", "list"]).prints(&["building"]);
    machine.runs(0, &["env", "show", "boxes/box"]).prints(&["building", "begun"]);
    let chosen =
        wait_for("the choice", || Some(machine.last()).filter(|row| row["selected_version"] != Json::Null));
    assert_eq!((&chosen["status"], &chosen["selected_version"]), (&json!("running"), &json!("3.12.1")));
    assert_eq!(chosen["sandbox"], Json::Null, "nothing runs yet");
    signal(&child, rustix::process::Signal::KILL);
    child.wait().expect("it ends");
    let row = machine.last();
    assert_eq!((&row["status"], &row["selected_version"]), (&json!("abandoned"), &json!("3.12.1")), "{row}");
    assert_eq!(states(&machine), ["unfinished"], "nobody builds it any more");
    machine.runs(0, &["env", "prune"]);
    assert_eq!(states(&machine), [""; 0]);

    fs::remove_file(machine.at("builder")).expect("removed");
    let mut child = machine.start(&["run", "boxes.say"]);
    builder(&machine);
    fs::remove_file(machine.at("gate")).expect("removed");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(states(&machine), ["ready"]);

    // One that is built again, too.
    let built = super::built(&machine);
    fs::remove_dir_all(&built[0]).expect("removed");
    assert_eq!(states(&machine), ["missing"]);
    machine.write("gate", "");
    let mut child = machine.start(&["run", "boxes.say"]);
    wait_for("the build", || (states(&machine) == ["building"]).then_some(()));
    fs::remove_file(machine.at("gate")).expect("removed");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(states(&machine), ["ready"]);
}
