//! Workers that don't share a disk: packs reach each of them.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::support::postgres;

/// A program that serves S3's protocol, such as moto's server: `PROGRAM -H ADDRESS -p PORT`.
const S3_SERVER: &str = "ATTUNE_TEST_S3_SERVER";

fn say(text: &str) -> Pack {
    Pack::new("queued").shell("say", "", &format!("echo {text}"))
}

/// Where a machine has the files of the pack that [`say`] makes.
fn versions(machine: &Machine) -> Vec<PathBuf> {
    let folder = fs::read_dir(machine.at("data/packs/queued"));
    folder.map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Installs on one machine what a service on another runs.
fn installed_here_and_run_there(here: &Machine, there: &Machine) {
    let service = Service::start(there);
    for text in ["one", "two"] {
        say(text).install(here);
        let id = enqueue(here, &["queued.say"]);
        assert_eq!(becomes(here, &id, "succeeded")["result"], text);
    }
    assert_eq!(versions(there).len(), 2, "both were fetched");
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_pack_that_is_installed_on_one_machine_runs_on_another() {
    let here = Machine::new();
    let shared = here.make("shared");
    let here = here.and("ATTUNE_BUNDLES", &shared);
    let there = here.other("far");
    installed_here_and_run_there(&here, &there);
}

#[test]
fn a_pack_reaches_other_machines_through_a_bucket() {
    let Some(server) = std::env::var_os(S3_SERVER) else {
        return skip(&format!("there is no server for buckets ({S3_SERVER})"));
    };
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let mut server = Command::new(server)
        .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for("the server", || TcpStream::connect(address).ok());
    let endpoint = format!("http://{address}");
    // An unsigned request is enough for this kind of server.
    let made = Command::new("curl").args(["-sf", "-X", "PUT", &format!("{endpoint}/packs")]).status();
    assert!(made.expect("curl").success());
    let here = Machine::new()
        .and("ATTUNE_BUNDLES", "s3://packs/of/us")
        .and("AWS_ENDPOINT", endpoint)
        .and("AWS_ALLOW_HTTP", "true")
        .and("AWS_ACCESS_KEY_ID", "test")
        .and("AWS_SECRET_ACCESS_KEY", "test");
    let there = here.other("far");
    installed_here_and_run_there(&here, &there);
    server.kill().expect("it is there");
    server.wait().expect("it ends");
    say("three").write(&here.make("packs"));
    let pack = here.at("packs/queued");
    here.runs(1, &["pack", "install", "--approve", &pack.to_string_lossy()]).says(&["s3://packs/of/us"]);
    assert_eq!(here.json(&["pack", "show", "queued"])["digest"].as_str().map(str::len), Some(64));
    assert_eq!(here.runs(0, &["run", "queued.say"]).stdout, "two\n", "what was installed stays");
}

#[test]
fn what_a_machine_can_not_have_yet_waits_until_it_can() {
    let here = Machine::new().and("ATTUNE_POLL_INTERVAL", "100ms");
    let there = here.other("far");
    let service = Service::start(&there);
    say("hello").install(&here);
    let id = enqueue(&here, &["queued.say"]);
    let said = || fs::read_to_string(there.at("worker.err")).unwrap_or_default();
    wait_for("the reason", || said().contains("gives an execution back").then_some(()));
    assert!(said().contains("let `bundles` be a place that all workers share"), "{}", said());
    let row = wait_for("the reason on record", || {
        Some(show(&here, &id))
            .filter(|row| row["waiting"]["reason"].as_str().is_some_and(|why| why.contains("`bundles`")))
    });
    let why = row["waiting"]["reason"].as_str().expect("text");
    assert!(why.starts_with("it could not be begun, and is tried again in a moment: "), "{why}");
    assert_eq!(
        (&row["last_error"]["class"], &row["finished_at"]),
        (&json!("not_begun"), &Json::Null),
        "{row}"
    );
    there
        .runs(1, &["run", "queued.say"])
        .says(&["`queued` are not on this machine", "install the pack again"]);

    // Somebody copies the folder.
    let bundles = here.at("data/bundles/packs");
    for bundle in fs::read_dir(bundles).expect("a folder").flatten() {
        fs::copy(bundle.path(), there.at("data/bundles/packs").join(bundle.file_name())).expect("copied");
    }
    let row = becomes(&here, &id, "succeeded");
    assert_eq!((&row["result"], &row["attempt"]), (&json!("hello"), &json!(1)), "it was started once");
    assert_eq!(service.stop(), 0);
}

#[test]
fn that_a_pack_can_not_be_had_is_not_said_for_each_of_its_actions() {
    let here = Machine::new();
    let there = here.other("far").and("ATTUNE_RECHECK_INTERVAL", "200ms");
    let pack = ["one.py", "two.py"]
        .into_iter()
        .fold(Pack::new("queued"), |pack, file| pack.action(file, "runtime: core.python", "print('hello')"));
    pack.install(&here);
    let service = Service::start(&there);
    let said = || fs::read_to_string(there.at("worker.err")).unwrap_or_default();
    let missing = "the files of the pack `queued` are not on this machine";
    wait_for("the reason, with builds in between", || (said().matches(missing).count() > 5).then_some(()));
    assert_eq!(service.stop(), 0);
    assert!(!said().contains("can't prepare an environment"), "{}", said());
}

/// Keeps others from being told of what somebody installs: the machine that does it, and what to do afterwards.
fn unheard(machine: &Machine, install: impl FnOnce(&Machine)) {
    let Some(url) = machine.database_url() else {
        let (bells, aside) = (machine.at("data/attune.bells"), machine.at("aside"));
        fs::rename(&bells, &aside).expect("moved");
        install(machine);
        return fs::rename(aside, bells).expect("moved");
    };
    // A user who may do anything but notify.
    let name = postgres::ask(&url, "select 'mute_' || current_database()");
    postgres::ask(
        &url,
        &format!(
            "create role {name} login;
             grant all on all tables in schema public to {name};
             grant all on all sequences in schema public to {name};
             revoke execute on function pg_notify from public"
        ),
    );
    let mute = machine.other("mute").and("ATTUNE_DATABASE", url.replace("//attune@", &format!("//{name}@")));
    let said = mute.runs(0, &["pack", "list", "-vv"]).stderr;
    assert!(!said.contains("can't wake the workers"), "{said}");
    install(&mute.and("ATTUNE_LOG", "attune=debug"));
}

#[test]
fn a_pack_that_nobody_was_told_of_reaches_workers_all_the_same() {
    let here = Machine::new();
    if here.database_url().is_some_and(|url| !url.contains("//attune@")) {
        return skip("the server is not of the tests' own: its user may not make others");
    }
    let shared = here.make("shared");
    let here = here.and("ATTUNE_BUNDLES", &shared);
    let there = here.other("far");
    let service = Service::start(&there);
    unheard(&here, |machine| {
        say("hello").write(&machine.make("packs"));
        let pack = machine.at("packs/queued");
        let output = machine.runs(0, &["pack", "install", "--approve", &pack.to_string_lossy()]);
        if !machine.keeps_a_file() {
            output.says(&["can't wake the workers"]);
        }
    });
    wait_for("the pack", || (versions(&there).len() == 1).then_some(()));
    let id = enqueue(&here, &["queued.say"]);
    becomes(&here, &id, "succeeded");
    assert_eq!(service.stop(), 0);
}

#[test]
fn workers_are_listed_with_what_they_do_and_have() {
    let machine = Machine::bare().and("ATTUNE_WORKER_NAME", "one");
    machine.runs(0, &["worker", "list"]).prints(&["there are no workers"]);
    tool(&machine, "3.11.4");
    tool(&machine, "3.12.1");
    machine.write("gate", "");
    tools().action("slow.sh", "runtime: tool", &gated(&machine, "slow")).install(&machine);
    let mut service = Service::start_with(&machine, &["--slots", "3"]);
    let id = enqueue(&machine, &["tools.slow"]);
    process(&machine, "slow");
    let listed = machine.json(&["worker", "list"]);
    let [worker] = &listed.as_array().expect("a list")[..] else { panic!("one worker: {listed}") };
    assert_eq!((&worker["name"], &worker["status"]), (&json!("one"), &json!("active")));
    assert_eq!((&worker["slots"], &worker["running"]), (&json!(3), &json!(1)));
    assert_eq!(worker["version"], env!("CARGO_PKG_VERSION"));
    assert!(worker["heartbeat_at"].is_string() && worker["host"].is_string(), "{worker}");
    let installed = worker["installed"].as_array().expect("a list");
    let tools = installed.iter().find(|row| row["runtime"] == "tools.tool").expect("it is installed");
    assert_eq!(tools["versions"], json!(["3.12.1", "3.11.4"]));
    let text = machine.runs(0, &["worker", "list"]);
    text.prints(&["WORKER", "active", "1 of 3", "tools.tool 3.12.1, 3.11.4"]);
    fs::remove_file(machine.at("gate")).expect("removed");
    becomes(&machine, &id, "succeeded");
    service.signal(Signal::TERM);
    assert_eq!(service.wait(), 0);
    assert_eq!(machine.json(&["worker", "list"])[0]["status"], "stopped");
    machine.runs(2, &["worker", "list", "--slots", "3"]);
}

#[test]
fn a_component_that_is_lost_is_fetched_again() {
    let machine = Machine::new();
    say("hello").install(&machine);
    let components = machine.at("data/components");
    for component in fs::read_dir(&components).expect("a folder").flatten() {
        fs::remove_file(component.path()).expect("removed");
    }
    fs::remove_dir_all(machine.at("data/packs/queued")).expect("removed");
    machine.runs(0, &["runtime", "detect", "core.shell"]);
    assert_eq!(machine.runs(0, &["run", "queued.say"]).stdout, "hello\n");
    assert!(fs::read_dir(components).expect("a folder").next().is_some());
}
