//! A worker that is told to stop: it waits for what it runs, ends it, and gives it back, in this order.

use super::*;

#[test]
fn told_to_stop_it_takes_nothing_more_and_finishes_what_it_has() {
    let machine = Machine::new();
    machine.write("gate", "");
    Pack::new("queued").shell("slow", "", &gated(&machine, "slow")).install(&machine);
    let mut service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.slow"]);
    process(&machine, "slow");
    service.signal(Signal::TERM);
    wait_for("the drain", || {
        fs::read_to_string(machine.at("worker.log")).ok()?.contains("draining").then_some(())
    });
    let later = enqueue(&machine, &["queued.slow"]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(show(&machine, &later)["status"], "queued");
    fs::remove_file(machine.at("gate")).expect("removed");
    assert_eq!(service.wait(), 0);
    assert_eq!(show(&machine, &id)["status"], "succeeded");
    assert_eq!(show(&machine, &later)["status"], "queued");
}

#[test]
fn told_twice_it_gives_back_what_may_run_again() {
    let machine = Machine::new();
    let (mut service, [once, twice], pids) = running_two(&machine);
    service.signal(Signal::TERM);
    wait_for("the drain", || {
        fs::read_to_string(machine.at("worker.log")).ok()?.contains("draining").then_some(())
    });
    service.signal(Signal::TERM);
    assert_eq!(service.wait(), 0);
    assert!(pids.iter().all(|pid| !is_running(pid)));
    let (once, twice) = (show(&machine, &once), show(&machine, &twice));
    assert_eq!((&once["status"], &twice["status"]), (&json!("abandoned"), &json!("queued")));
    assert!(once["error"]["message"].as_str().expect("text").contains("was stopped"), "{once}");
}

#[test]
fn what_is_asked_to_end_has_its_grace_before_it_is_given_back() {
    let machine = Machine::new()
        .and("ATTUNE_HEARTBEAT", "100ms")
        .and("ATTUNE_DRAIN_TIMEOUT", "100ms")
        .and("ATTUNE_KILL_GRACE", "30s");
    let place = machine.path.display();
    let script = format!(
        "trap 'sleep 1; echo cleaned > {place}/cleaned; exit 0' TERM; echo $$ > {place}/pid; \
         while :; do sleep 0.02; done"
    );
    Pack::new("queued").shell("long", "idempotent: true", &script).install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.long"]);
    process(&machine, "pid");
    assert_eq!(service.stop(), 0);
    assert!(machine.at("cleaned").exists(), "it had the time to clean up");
    let row = show(&machine, &id);
    assert_eq!((&row["status"], &row["attempt"]), (&json!("queued"), &json!(1)), "{row}");
}

#[test]
fn what_does_not_end_when_asked_is_given_back_when_it_is_dead() {
    let machine = Machine::new().and("ATTUNE_DRAIN_TIMEOUT", "100ms").and("ATTUNE_KILL_GRACE", "2s");
    let place = machine.path.display();
    machine.write("gate", "");
    let script =
        format!("trap '' TERM; echo $$ >> {place}/pids; while [ -e {place}/gate ]; do sleep 0.02; done");
    Pack::new("queued").shell("stubborn", "idempotent: true", &script).install(&machine);
    let pids = |count: usize| {
        wait_for("the action", || {
            let text = fs::read_to_string(machine.at("pids")).ok()?;
            let pids = text.lines().map(str::to_owned).collect::<Vec<_>>();
            (pids.len() == count && text.ends_with('\n')).then_some(pids)
        })
    };
    let mut first = Service::start(&machine);
    let id = enqueue(&machine, &["queued.stubborn"]);
    pids(1);
    let elsewhere = machine.other("another");
    let second = Service::start(&elsewhere);
    first.signal(Signal::TERM);
    let pids = pids(2);
    assert!(!is_running(&pids[0]), "it runs twice at a time");
    assert_eq!(first.wait(), 0);
    fs::remove_file(machine.at("gate")).expect("removed");
    assert_eq!(becomes(&machine, &id, "succeeded")["attempt"], 2);
    assert_eq!(second.stop(), 0);
}
