//! Environments that can't be built, and many executions that want them.

use super::*;
use crate::environments::{boxes, builder, builds};

/// Lines of a worker's log that say this, with fields of their own.
fn said(log: &str, message: &str) -> Vec<Json> {
    let lines = log.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    let is_it =
        |line: &Json| line["fields"]["message"].as_str().is_some_and(|text| text.starts_with(message));
    lines.filter(is_it).map(|line| line["fields"].clone()).collect()
}

/// The environment of the pack, beside which others of the machine may be listed.
fn of_boxes(machine: &Machine) -> Json {
    let listed = machine.json(&["env", "list"]);
    let mut listed = listed.as_array().expect("a list").iter();
    listed.find(|row| row["pack"] == "boxes").expect("it is listed").clone()
}

#[test]
fn a_build_that_fails_is_not_tried_by_everybody() {
    let machine = Machine::bare().and("ATTUNE_LOG_FORMAT", "json");
    tool(&machine, "3.12.1");
    boxes(&machine).install(&machine);
    machine.write("fail", "");
    machine.write("gate", "");
    let service = Service::start_with(&machine, &["-v", "--slots", "5"]);
    // Whoever is first, the worker as it gets ready or an execution, is the only one that tries: neither who waits for
    // that build nor who comes later does.
    let waiting = [enqueue(&machine, &["boxes.say"]), enqueue(&machine, &["boxes.more"])];
    for id in &waiting {
        becomes(&machine, id, "running");
    }
    builder(&machine);
    fs::remove_file(machine.at("gate")).expect("removed");
    let later = (0..3).map(|_| enqueue(&machine, &["boxes.say"]));
    let ids = waiting.into_iter().chain(later).collect::<Vec<_>>();
    for id in &ids {
        let row = becomes(&machine, id, "failed");
        assert_eq!(row["error"]["class"], "environment_failed");
        let why = row["error"]["message"].as_str().expect("a sentence");
        assert!(why.contains("exited with code 3") && why.contains("the mirror is down"), "{why}");
    }
    assert_eq!(builds(&machine), 1);
    let environment = of_boxes(&machine);
    let again_at = environment["again_at"].as_str().expect("a time").to_owned();
    let last = show(&machine, &ids[4])["error"]["message"].as_str().expect("a sentence").to_owned();
    assert!(last.contains("is not tried again before"), "{last}");

    // One with retries waits for the next try.
    boxes(&machine).action("again.sh", "runtime: box\nretries: 3", "readlink /proc/$$/exe").install(&machine);
    let id = enqueue(&machine, &["boxes.again"]);
    let row = wait_for("the first attempt's end", || {
        Some(show(&machine, &id)).filter(|row| row["attempt"] == 1 && row["status"] == "queued").filter(
            |row| row["error"]["class"] == "environment_failed" || row["reason"] == "environment_failed",
        )
    });
    let run_at = row["run_at"].as_str().expect("a time");
    assert!(run_at[..19] >= again_at[..19], "{run_at} is before {again_at}");
    assert_eq!(builds(&machine), 0, "since the pack was installed again");

    // Who repairs it does not wait, and it goes on.
    fs::remove_file(machine.at("fail")).expect("removed");
    assert_eq!(machine.json(&["env", "repair"])[0]["outcome"], "repaired");
    assert_eq!(builds(&machine), 1);
    becomes(&machine, &enqueue(&machine, &["boxes.say"]), "succeeded");
    assert_eq!(service.stop(), 0);

    let log = fs::read_to_string(machine.at("worker.err")).expect("a file");
    let failed = said(&log, "can't build an environment");
    assert_eq!(failed.len(), 1, "{log}");
    for (name, value) in [
        ("pack.ref", &json!("boxes")),
        ("runtime.ref", &json!("boxes.box")),
        ("runtime.version", &json!("3.12.1")),
        ("environment.key", &environment["key"]),
        ("environment.path", &environment["path"]),
    ] {
        assert_eq!(failed[0][name], *value, "{name}: {}", failed[0]);
    }
}

#[test]
fn a_build_is_logged_with_what_it_is_for() {
    let machine = Machine::bare().and("ATTUNE_LOG_FORMAT", "json");
    tool(&machine, "3.12.1");
    boxes(&machine).install(&machine);
    let service = Service::start_with(&machine, &["-v"]);
    // Others of the machine may be built as well.
    let built = || {
        let log = fs::read_to_string(machine.at("worker.err")).expect("a file");
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut built = said(whole, "built an environment");
        built.retain(|built| built["runtime.ref"] == "boxes.box");
        built
    };
    wait_for("the line", || (!built().is_empty()).then_some(()));
    assert_eq!(service.stop(), 0);
    let built = built();
    let [built] = &built[..] else { panic!("not once: {built:?}") };
    let environment = of_boxes(&machine);
    assert_eq!(built["environment.key"], environment["key"]);
    assert_eq!((&built["runtime.ref"], &built["runtime.version"]), (&json!("boxes.box"), &json!("3.12.1")));
    assert!(built["duration_ms"].is_u64(), "{built}");
}
