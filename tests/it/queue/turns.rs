//! Who comes next: limits and packs in turn.

use std::fs;

use super::{Service, enqueue, gated, process, show};
use crate::support::cli::{Machine, wait_for};
use crate::support::fixture::Pack;

/// Runs what was enqueued with so many slots, until all of it has succeeded.
fn run(machine: &Machine, slots: &str, ids: &[String]) {
    let service = Service::start_with(machine, &["--slots", slots]);
    for id in ids {
        let row = wait_for("its end", || Some(show(machine, id)).filter(|row| !row["finished_at"].is_null()));
        assert_eq!(row["status"], "succeeded", "{row}");
    }
    assert_eq!(service.stop(), 0);
}

#[test]
fn only_so_many_of_a_pack_run_at_a_time() {
    let machine = Machine::new();
    let place = machine.path.display().to_string();
    let script = format!("mkdir {place}/alone || exit 7; sleep 0.1; rmdir {place}/alone");
    // Of its two actions one is limited by itself as well: its executions have a row of their own in the queue.
    Pack::new("narrow")
        .file("pack.yaml", "ref: narrow\nversion: \"1.0.0\"\nconcurrency: 1\n")
        .shell("any", "", &script)
        .shell("limited", "concurrency: 3", &script)
        .install(&machine);
    Pack::new("wide").shell("say", "", "echo here").install(&machine);
    assert_eq!(machine.json(&["pack", "show", "narrow"])["concurrency"], 1);
    let mut ids = ["narrow.any", "narrow.limited"]
        .repeat(3)
        .iter()
        .map(|action| enqueue(&machine, &[action]))
        .collect::<Vec<_>>();
    ids.extend((0..3).map(|_| enqueue(&machine, &["wide.say"])));
    run(&machine, "4", &ids);
}

#[test]
fn a_pack_that_asks_for_much_keeps_no_other_waiting() {
    let machine = Machine::new();
    let order = machine.at("order");
    let mut ids = Vec::new();
    for (pack, count) in [("many", 5), ("few", 2)] {
        let script = format!("echo {pack} >> {}", order.display());
        Pack::new(pack).shell("note", "", &script).install(&machine);
        let action = format!("{pack}.note");
        // What is urgent for its pack is not more urgent than other packs.
        ids.extend((0..count).map(|_| enqueue(&machine, &[&action, "--priority", &count.to_string()])));
    }
    run(&machine, "1", &ids);
    let order = fs::read_to_string(order).expect("a file");
    assert_eq!(order.lines().collect::<Vec<_>>(), ["many", "few", "many", "few", "many", "many", "many"]);
}

#[test]
fn what_somebody_runs_himself_takes_no_place_in_the_queue() {
    let machine = Machine::new();
    machine.write("gate", "");
    Pack::new("narrow")
        .file("pack.yaml", "ref: narrow\nversion: \"1.0.0\"\nconcurrency: 1\n")
        .shell("slow", "", &gated(&machine, "slow"))
        .shell("say", "concurrency: 1", "echo here")
        .install(&machine);
    let mut direct = machine.start(&["run", "narrow.slow"]);
    process(&machine, "slow");
    let ids = [enqueue(&machine, &["narrow.say"]), enqueue(&machine, &["narrow.say"])];
    run(&machine, "2", &ids);
    fs::remove_file(machine.at("gate")).expect("removed");
    assert!(direct.wait().expect("it ends").success());
}
