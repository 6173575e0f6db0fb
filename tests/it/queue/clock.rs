//! Clocks that are wrong: leases and the queue follow the database's.

use super::*;

/// Where Debian keeps the library that tells a program another time.
const LIBRARIES: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A machine whose clock is off by what the file `clock` says, such as `-1h`.
fn off(machine: Machine, by: &str) -> Option<Machine> {
    let folders = fs::read_dir(LIBRARIES).expect("a folder").flatten();
    let library = folders.map(|entry| entry.path().join(LIBRARY)).find(|path| path.exists())?;
    let clock = set(&machine, by);
    let machine = machine
        .and("LD_PRELOAD", library)
        .and("FAKETIME_TIMESTAMP_FILE", clock)
        .and("FAKETIME_NO_CACHE", "1")
        // Nobody sets that one.
        .and("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .and("NO_FAKE_STAT", "1");
    Some(machine)
}

/// Sets a machine's clock, whatever runs on it. Where the file is that says so.
fn set(machine: &Machine, by: &str) -> std::path::PathBuf {
    let aside = machine.write("clock.new", format!("{by}\n"));
    let clock = machine.at("clock");
    fs::rename(aside, &clock).expect("renamed");
    clock
}

const NO_LIBRARY: &str = "there is no libfaketime here: install Debian's `faketime`";

/// Renewed often enough that a second and a half says whether it can be relied on.
fn quick(machine: Machine) -> Machine {
    machine
        .and("ATTUNE_LEASE", "1500ms")
        .and("ATTUNE_HEARTBEAT", "200ms")
        .and("ATTUNE_POLL_INTERVAL", "100ms")
}

/// Longer than a lease.
fn wait_for_a_lease() {
    std::thread::sleep(Duration::from_secs(2));
}

fn time(row: &Json, column: &str) -> chrono::DateTime<chrono::Utc> {
    row[column].as_str().and_then(|text| text.parse().ok()).expect("a time")
}

/// An action that waits for its own gate, in the folder of `machine`, wherever it runs.
fn gates(machine: &Machine) -> Pack {
    let place = machine.path.display();
    let script = format!(
        "id=$ATTUNE_EXECUTION_ID; touch {place}/$id.begun; while [ ! -e {place}/$id.go ]; do sleep 0.02; done; \
         echo attempt $ATTUNE_ATTEMPT"
    );
    Pack::new("queued").shell("gate", "idempotent: true", &script).shell("say", "", "echo here")
}

fn begun(machine: &Machine, id: &str) {
    wait_for("the action", || machine.at(format!("{id}.begun")).exists().then_some(()));
}

/// Opens the gate of an execution.
fn open(machine: &Machine, id: &str) {
    machine.write(&format!("{id}.go"), "");
}

/// Whether an execution was begun by the service of this machine.
fn has_begun(machine: &Machine, id: &str) -> bool {
    fs::read_to_string(machine.at("worker.log")).expect("a log").contains(id)
}

#[test]
fn workers_whose_clocks_differ_agree_by_the_servers() {
    let machine = quick(Machine::new());
    if machine.keeps_a_file() {
        return skip("the database is not on a server of the tests' own (ATTUNE_TEST_DATABASE=postgres)");
    }
    gates(&machine).install(&machine);
    let (Some(ahead), Some(behind)) =
        (off(machine.other("ahead"), "+1h"), off(machine.other("behind"), "-1h"))
    else {
        return skip(NO_LIBRARY);
    };
    let one = |machine: &Machine| Service::start_with(machine, &["--slots", "1"]);
    let (mut here, mut there) = (one(&ahead), one(&behind));
    // Asked for on machines whose clocks differ as well.
    let mut ids = [enqueue(&ahead, &["queued.gate"]), enqueue(&behind, &["queued.gate"])];
    for id in &ids {
        begun(&machine, id);
    }
    if has_begun(&behind, &ids[0]) {
        ids.reverse();
    }
    let [first, second] = ids;
    let later =
        [&ahead, &behind].map(|asker| enqueue(asker, &["queued.say", "--delay", "1h", "--priority", "99"]));
    let soon = [&ahead, &behind].map(|asker| enqueue(asker, &["queued.say", "--delay", "300ms"]));
    wait_for_a_lease();
    for id in [&first, &second] {
        let row = show(&machine, id);
        assert_eq!(
            (&row["status"], &row["attempt"]),
            (&json!("running"), &json!(1)),
            "nobody took it: {row}"
        );
        let age = (chrono::Utc::now() - time(&row, "created_at")).num_seconds().abs();
        assert!(age < 600, "{age} s by the server's clock: {row}");
    }
    for asker in [&ahead, &behind] {
        let row = show(asker, &soon[0]);
        assert_eq!(row["waiting"]["workers"].as_array().map(Vec::len), Some(2), "both are alive: {row}");
    }

    open(&machine, &first);
    let row = becomes(&machine, &first, "succeeded");
    assert_eq!(row["result"], "attempt 1");
    assert!(time(&row, "started_at") < time(&row, "finished_at"));
    for id in &soon {
        assert_eq!(becomes(&machine, id, "succeeded")["attempt"], 1);
    }
    for id in &later {
        assert_eq!(show(&machine, id)["status"], "queued", "its time has not come");
    }

    // Each takes over from the other when the lease has run out, and not an hour sooner or later.
    let taken = |attempt: i64| {
        wait_for("its rescue", || Some(show(&machine, &second)).filter(|row| row["attempt"] == attempt))
    };
    there.kill();
    assert_eq!(taken(2)["status"], "running");
    let there = one(&behind);
    here.kill();
    assert_eq!(taken(3)["status"], "running");
    open(&machine, &second);
    assert_eq!(becomes(&machine, &second, "succeeded")["result"], "attempt 3");
    assert_eq!(there.stop(), 0);
}

#[test]
fn a_clock_that_is_set_back_holds_up_nothing() {
    let machine = quick(Machine::new());
    if !machine.keeps_a_file() {
        return skip("the clock that counts is a server's");
    }
    gates(&machine).install(&machine);
    let Some(machine) = off(machine, "+0") else { return skip(NO_LIBRARY) };
    let mut service = Service::start_with(&machine, &["--slots", "1"]);
    let running = enqueue(&machine, &["queued.gate"]);
    begun(&machine, &running);
    let waiting = enqueue(&machine, &["queued.say"]);
    let before = time(&show(&machine, &waiting), "created_at");

    set(&machine, "-1h");
    let after = enqueue(&machine, &["queued.say"]);
    assert!(time(&show(&machine, &after), "created_at") < before, "it is earlier now");
    wait_for_a_lease();
    let row = show(&machine, &running);
    assert_eq!((&row["status"], &row["attempt"]), (&json!("running"), &json!(1)), "{row}");
    let row = show(&machine, &waiting);
    assert_eq!(row["waiting"]["reason"], "others come first", "{row}");
    open(&machine, &running);
    assert_eq!(becomes(&machine, &running, "succeeded")["result"], "attempt 1");
    for id in [&waiting, &after] {
        assert_eq!(becomes(&machine, id, "succeeded")["attempt"], 1);
    }

    // One that dies then is missed as soon as one that dies at any other time.
    let lost = enqueue(&machine, &["queued.gate"]);
    begun(&machine, &lost);
    set(&machine, "-2h");
    service.kill();
    let service = Service::start(&machine);
    open(&machine, &lost);
    assert_eq!(becomes(&machine, &lost, "succeeded")["result"], "attempt 2");
    assert_eq!(service.stop(), 0);
}
