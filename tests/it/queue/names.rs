//! Workers that are called alike, by mistake or since one of them was given up.

use super::*;

/// Two with data folders of their own and one name.
fn namesakes(machine: &Machine) -> [Machine; 2] {
    ["one", "other"].map(|folder| machine.other(folder).and("ATTUNE_WORKER_NAME", "same"))
}

fn said(machine: &Machine) -> String {
    fs::read_to_string(machine.at("worker.err")).expect("a log")
}

#[test]
fn two_that_are_called_alike_leave_each_other_alone() {
    let machine = Machine::new();
    Pack::new("queued").shell("gated", "", &gated(&machine, "pid")).install(&machine);
    machine.write("gate", "");
    let [one, other] = namesakes(&machine);
    let first = Service::start(&one);
    let id = enqueue(&machine, &["queued.gated"]);
    process(&machine, "pid");
    // The second time, it is on record already.
    for _ in 0..2 {
        assert_eq!(Service::start(&other).stop(), 0);
    }
    assert!(said(&other).contains("another worker is called `same`, so this one is called `same-"));
    fs::remove_file(machine.at("gate")).expect("it was there");
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!((&row["attempt"], &row["worker"]), (&json!(1), &json!("same")), "{row}");
    assert_eq!(first.stop(), 0);
    assert!(!said(&one).contains("called"), "{}", said(&one));
}

#[test]
fn one_whose_name_was_taken_while_it_was_stopped_ends() {
    let machine = Machine::new().and("ATTUNE_LEASE", "600ms").and("ATTUNE_HEARTBEAT", "100ms");
    Pack::new("queued").shell("say", "", "echo here").install(&machine);
    let [one, other] = namesakes(&machine);
    let mut first = Service::start(&one);
    let onlooker = machine.other("onlooker").and("ATTUNE_WORKER_RUNTIMES", "native");
    let judge = Service::start(&onlooker);
    first.pause();
    let status = |name: &str| {
        let workers = machine.json(&["worker", "list"]);
        let found = workers.as_array().expect("a list").iter().find(|worker| worker["name"] == name);
        found.expect("it is there")["status"].clone()
    };
    wait_for("its loss", || (status("same") == "lost").then_some(()));
    let second = Service::start(&other);
    first.signal(Signal::CONT);
    assert_eq!(first.wait(), 1);
    assert_eq!(status("same"), "active", "what the first one does is not the second one's");
    assert!(said(&one).contains("another worker is called `same` by now"), "{}", said(&one));
    let row = becomes(&machine, &enqueue(&machine, &["queued.say"]), "succeeded");
    assert_eq!(row["worker"], "same", "{row}");
    assert_eq!((second.stop(), judge.stop()), (0, 0));
}
