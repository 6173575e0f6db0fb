//! What may go wrong on a machine, and does not stop the queue.

use attune::plugin::Wasm;

use super::*;
use crate::support::guests;

const HANGS: &str = "
ref: bad.hangs
label: Hangs
plugin: {component: hostile, settings: {do: loop}}
distributions: {verification: {commands: [{binary: tool}]}}
versions: [{version: \"1\", is_default: true, execution_config: {interpreter: {binary: tool}}}]
";

#[test]
fn a_component_that_hangs_holds_up_nothing_else() {
    let Wasm::Bytes(component) = guests::source("hostile").wasm else { panic!("it is in memory") };
    // Installing looks for what the pack can run, so it has to be over soon there.
    let machine = Machine::bare().and("ATTUNE_DETECTION_TIMEOUT", "500ms");
    Pack::new("bad")
        .file("runtimes/hangs.yaml", HANGS)
        .file("components/hostile.wasm", &*component)
        .action("never.sh", "runtime: bad.hangs", "")
        .install_failing(&machine);
    tools().action("say.sh", "runtime: tool", "echo tool").install(&machine);
    tool(&machine, "3.12.1");
    let bad = enqueue(&machine, &["bad.never", "--priority", "100"]);
    let good = enqueue(&machine, &["tools.say"]);

    let machine = machine.and("ATTUNE_DETECTION_TIMEOUT", "1h").and("ATTUNE_RECHECK_INTERVAL", "300ms");
    let service = Service::start(&machine);
    assert_eq!(becomes(&machine, &good, "succeeded")["result"], "tool");
    let row = show(&machine, &bad);
    assert_eq!(row["status"], "queued", "{row}");
    assert!(row["waiting"]["workers"].as_array().is_none_or(Vec::is_empty), "nobody knows yet: {row}");
    let reason = row["waiting"]["reason"].as_str().expect("text");
    assert!(reason.starts_with("it is being judged: the worker `"), "somebody is about to: {reason}");
    let again = enqueue(&machine, &["tools.say"]);
    becomes(&machine, &again, "succeeded");
    assert_eq!(service.stop(), 0, "it does not wait for the component");

    let machine = machine.and("ATTUNE_DETECTION_TIMEOUT", "500ms");
    let service = Service::start(&machine);
    let row = wait_for("the reason", || {
        Some(show(&machine, &bad))
            .filter(|row| row["waiting"]["workers"].as_array().is_some_and(|workers| !workers.is_empty()))
    });
    let reason = row["waiting"].to_string();
    assert!(reason.contains("hostile") && reason.contains("500 ms"), "{reason}");
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_prints_a_lot_holds_up_nothing_else() {
    let machine = Machine::new();
    let place = machine.path.display();
    machine.write("gate", "");
    // Each line on another stream than the one before, as fast as it goes.
    let script = format!("while [ -e {place}/gate ]; do echo out; echo err >&2; done");
    Pack::new("queued").shell("talk", "", &script).shell("say", "", "echo here").install(&machine);
    let service = Service::start_with(&machine, &["--slots", "4"]);
    let began = Instant::now();
    let ids = [(); 2].map(|()| enqueue(&machine, &["queued.talk"]));
    for id in &ids {
        becomes(&machine, id, "running");
    }
    while began.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        machine.runs(0, &["run", "--queue", "queued.say"]);
        assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?}", asked.elapsed());
    }
    fs::remove_file(machine.at("gate")).expect("removed");
    for id in &ids {
        becomes(&machine, id, "succeeded");
        let seconds = usize::try_from(began.elapsed().as_secs()).expect("few") + 1;
        let log = machine.json(&["execution", "logs", id]);
        let pieces = log.as_array().expect("a list");
        for stream in ["stdout", "stderr"] {
            let of_it = pieces.iter().filter(|piece| piece["stream"] == stream);
            let text = of_it.map(|piece| piece["text"].as_str().expect("text")).collect::<String>();
            let line = format!("{}\n", stream.replace("std", ""));
            assert!(
                text.len() > 1000 && text.replace(&line, "").len() < 200,
                "{stream} is as it was printed"
            );
        }
        assert!(pieces.len() < 100 * (seconds + 1), "{} pieces in {seconds} s", pieces.len());
    }
    assert_eq!(service.stop(), 0);
}

/// A small file system of its own; none where the tests may not mount one.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: std::path::PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(&at)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_while_an_environment_is_built_leaves_none_that_is_half() {
    let machine = Machine::new();
    let envs = machine.make("envs");
    let Some(_disk) = Disk::mount(envs.clone()) else {
        return skip("no file system can be mounted here");
    };
    let machine = machine.and("ATTUNE_RUNTIME_ENVS_DIR", &envs).and("ATTUNE_POLL_INTERVAL", "100ms");
    fs::write(envs.join("fills"), vec![0; 62 << 20]).expect("room for it");
    Pack::new("queued")
        .action("large.py", "runtime: core.python", "import site; print('hello')")
        .file("requirements.txt", "pip==24.0\n")
        .install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.large"]);
    let row = becomes(&machine, &id, "failed");
    assert_eq!(row["error"]["class"], "environment_failed", "{row}");
    let message = row["error"]["message"].as_str().expect("text");
    assert!(message.to_lowercase().contains("no space left"), "{message}");

    // The worker tries as well, as it gets ready; to the same end, as long as there is no room.
    wait_for("the end of every try", || {
        let listed = machine.json(&["env", "list"]);
        let own = listed.as_array().expect("a list").iter().filter(|row| row["pack"] == "queued");
        (own.map(|row| row["state"].clone()).collect::<Vec<_>>() == ["failed"]).then_some(())
    });
    fs::remove_file(envs.join("fills")).expect("removed");
    let id = enqueue(&machine, &["queued.large"]);
    assert_eq!(becomes(&machine, &id, "succeeded")["result"], "hello", "there is room again");
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_disk_that_is_full_while_an_action_prints_ends_in_a_record() {
    let machine = Machine::new().and("ATTUNE_POLL_INTERVAL", "100ms");
    if !machine.keeps_a_file() {
        return skip("the database is not on this machine's disk");
    }
    let data = machine.at("data");
    let aside = machine.at("aside");
    fs::rename(&data, &aside).expect("moved");
    let Some(_disk) = Disk::mount(data.clone()) else {
        return skip("no file system can be mounted here");
    };
    let copied = std::process::Command::new("cp").arg("-a").arg(aside.join(".")).arg(&data).status();
    assert!(copied.expect("cp").success());
    machine.write("gate", "");
    let script =
        format!("{}; head -c 12000000 /dev/zero | tr '\\0' x; echo; echo end", gated(&machine, "slow"));
    Pack::new("queued").shell("loud", "", &script).install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.loud"]);
    process(&machine, "slow");
    fs::write(data.join("fills"), vec![0; 80 << 20]).expect_err("it is full");
    fs::remove_file(machine.at("gate")).expect("removed");
    wait_for("the fault", || {
        let said = fs::read_to_string(machine.at("worker.err")).ok()?;
        let is_it =
            |line: &str| line.contains("can't record the end") && line.contains("database or disk is full");
        said.lines().any(is_it).then_some(())
    });
    assert_eq!(show(&machine, &id)["status"], "running", "its end can't be recorded");
    fs::remove_file(data.join("fills")).expect("removed");
    let row = wait_for("its end", || Some(show(&machine, &id)).filter(|row| !row["finished_at"].is_null()));
    assert_eq!(row["status"], "succeeded", "it did what it had to");
    assert!(row["result"].as_str().is_some_and(|text| text.starts_with("through\nxxx")));
    let log = machine.runs(0, &["execution", "logs", &id]).stdout;
    assert!(
        log.starts_with("through\nxxx") && log.ends_with("x\nend\n"),
        "what could not be written then was later"
    );
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_worker_that_can_begin_nothing_gives_back_what_it_claims() {
    let machine = Machine::new().and("ATTUNE_POLL_INTERVAL", "100ms");
    Pack::new("queued").shell("say", "", "echo here").install(&machine);
    let service = Service::start(&machine);
    let (runs, aside) = (machine.at("data/runs"), machine.at("aside"));
    let id = enqueue(&machine, &["queued.say", "--delay", "1s"]);
    fs::rename(&runs, &aside).expect("moved");
    fs::write(&runs, "").expect("a file where the folder was");
    wait_for("the fault", || {
        let said = fs::read_to_string(machine.at("worker.err")).ok()?;
        said.contains("gives an execution back").then_some(())
    });
    fs::remove_file(&runs).expect("removed");
    fs::rename(&aside, &runs).expect("moved");
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!(row["attempt"], 1, "what was never begun does not count: {row}");
    assert_eq!(service.stop(), 0);
}
