//! Environments that can't be built: named, with the reason, and none of the others' business.

use std::fs;

use serde_json::{Value as Json, json};

use super::{boxed, boxes, builds, built, prefix, python};
use crate::support::cli::Machine;
use crate::support::fixture::tool;

/// The environment of a pack in what a command printed.
#[track_caller]
fn of_pack<'a>(listed: &'a Json, pack: &str) -> &'a Json {
    let all = listed.as_array().expect("a list");
    let is_its = |found: &&Json| {
        found["path"].as_str().is_some_and(|path| path.contains(&format!("/data/envs/{pack}/")))
    };
    all.iter().find(is_its).unwrap_or_else(|| panic!("none of {pack} in {listed:#}"))
}

#[test]
fn one_that_can_not_be_repaired_keeps_no_other_from_it() {
    let machine = Machine::new();
    tool(&machine, "3.12.1");
    let machine = {
        let home = machine.at("home");
        machine.and("HOME", home)
    };
    boxes(&machine).install(&machine);
    python().install(&machine);
    machine.runs(0, &["run", "boxes.say"]);
    let (folder, _) = prefix(&machine);
    let healthy = machine.json(&["env", "repair"]);
    assert_eq!(of_pack(&healthy, "boxes")["outcome"], "healthy");
    assert_eq!(of_pack(&healthy, "envs")["outcome"], "healthy");

    // The actions of the broken one come first.
    machine.write("fail", "");
    for environment in built(&machine) {
        // One of them has this program.
        let _ = fs::remove_file(environment.join("bin/box"));
    }
    fs::remove_file(folder.join("pyvenv.cfg")).expect("removed");
    let before = builds(&machine);
    let output = machine.runs(5, &["env", "repair", "--json"]);
    let repaired = output.json();
    let broken = of_pack(&repaired, "boxes");
    assert_eq!((&broken["outcome"], &broken["action"]), (&json!("failed"), &json!("boxes.more")));
    assert!(broken["reason"].as_str().is_some_and(|why| why.contains("exited with code 3")), "{broken}");
    assert_eq!(of_pack(&repaired, "envs")["outcome"], "repaired", "{repaired:#}");
    assert_eq!(repaired.as_array().map(Vec::len), Some(2), "each once: {repaired:#}");
    assert_eq!(builds(&machine), before + 1, "for two actions that need the same");
    let path = broken["path"].as_str().expect("a path");
    output.says(&["can't repair", path]);
    assert!(!prefix(&machine).1, "it was built by the repair");

    let output = machine.runs(5, &["env", "repair"]);
    output
        .prints(&["failed", "healthy", path, "exited with code 3"])
        .says(&["can't repair", "attune env show"]);
    fs::remove_file(machine.at("fail")).expect("removed");
    let repaired = machine.json(&["env", "repair"]);
    let mended = of_pack(&repaired, "boxes");
    assert_eq!(mended["outcome"], "repaired");
    assert!(mended["reason"].as_str().is_some_and(|why| why.contains("its last build failed")), "{mended}");
}

#[test]
fn shown_by_whatever_it_is_known_by_with_why_and_when_it_failed() {
    let machine = boxed();
    machine.write("fail", "");
    machine.runs(5, &["run", "boxes.say"]);
    let listed = machine.json(&["env", "list"]);
    let (path, key) =
        (listed[0]["path"].as_str().expect("a path"), listed[0]["key"].as_str().expect("a key"));
    let forms: [&[&str]; 7] = [
        &[path],
        &[&key[..12]],
        &["boxes/box-3.12"],
        &["boxes/box"],
        &["boxes/box", "3.12"],
        &["boxes/boxes.box", "3.12"],
        &[key],
    ];
    for form in forms {
        let shown = machine.json(&[&["env", "show"], form].concat());
        assert_eq!((&shown["path"], &shown["state"]), (&json!(path), &json!("failed")), "{form:?}");
        let times = ["failed_at", "again_at"].map(|name| shown[name].as_str().expect("a time").to_owned());
        assert!(times[0] < times[1], "{shown}");
        assert!(shown["error"].as_str().is_some_and(|why| why.contains("exited with code 3")), "{shown}");
    }
    let first = machine.json(&["env", "show", path])["failed_at"].as_str().expect("a time").to_owned();
    let text = machine.runs(0, &["env", "show", path]);
    text.prints(&["failed        ", &first[..19], "tried again", "exited with code 3", "the mirror is down"]);
    assert!(!text.stdout.contains("\nbuilt  ") && !text.stdout.contains("last used"), "{text}");
    for other in [&["boxes/box", "3.11"][..], &["other/box"], &["box"], &[&key[..3]]] {
        machine.runs(4, &[&["env", "show"], other].concat()).says(&["there is no environment"]);
    }
    // Whoever runs it himself need not wait, and it stays on record since when it fails.
    machine.runs(5, &["run", "boxes.say"]);
    assert_eq!(builds(&machine), 2);
    machine.runs(0, &["env", "show", path]).prints(&["failing since", &first[..19]]);
}
