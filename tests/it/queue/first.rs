//! A worker that is the first process of a container: what others leave behind does not pile up.

use rustix::process::{Pid, kill_process};

use super::*;

/// A container's processes, and nothing else of it.
const APART: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

fn are_there_containers() -> bool {
    let tried = std::process::Command::new("unshare").args(APART).arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// The children of a process: each with its name and state.
fn children(pid: u32) -> Vec<(u32, String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("a folder").flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may be gone by now.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((begin, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let (state, parent) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if parent == pid.to_string() {
            let name = begin.split_once('(').map(|(_, name)| name).unwrap_or_default();
            found.push((child, name.to_owned(), state.to_owned()));
        }
    }
    found
}

/// The only child of a process.
fn only_child(pid: u32) -> u32 {
    wait_for("a child", || match &children(pid)[..] {
        [(child, name, _)] if name == "attune" => Some(*child),
        _ => None,
    })
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it is there");
}

/// A worker in a container of its own.
fn contained(machine: &Machine) -> Service {
    let worker = machine.command(&["worker", "--json"]);
    let (said, errors) = (machine.at("worker.log"), machine.at("worker.err"));
    let mut command = std::process::Command::new("unshare");
    command
        .args(APART)
        .arg(worker.get_program())
        .args(worker.get_args())
        .current_dir(&machine.path)
        .env_clear();
    command.envs(worker.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(File::create(&said).expect("a file")).stderr(File::create(&errors).expect("a file"));
    let service = Service { child: command.spawn().expect("it starts"), errors };
    wait_for("the worker", || fs::read_to_string(&said).ok()?.contains("\"ready\"").then_some(()));
    service
}

#[test]
fn what_actions_leave_behind_does_not_pile_up() {
    if !are_there_containers() {
        return skip("processes can't be kept apart here (unshare --pid)");
    }
    let machine = Machine::new();
    let script = "for i in 1 2 3; do setsid sleep 0.3 > /dev/null 2>&1 < /dev/null & done; echo left";
    Pack::new("queued").shell("leave", "", script).shell("fail", "", "exit 3").install(&machine);
    let mut service = contained(&machine);
    let first = only_child(service.child.id());
    let worker = only_child(first);
    let id = enqueue(&machine, &["queued.leave"]);
    assert_eq!(becomes(&machine, &id, "succeeded")["result"], "left");
    wait_for("the end of what was left", || {
        let left = [children(first), children(worker)].concat();
        (left.len() == 1 && left[0].0 == worker).then_some(())
    });
    // The worker still is told how its own children end.
    let id = enqueue(&machine, &["queued.fail"]);
    assert_eq!(becomes(&machine, &id, "failed")["exit_code"], 3);
    signal(first, Signal::TERM);
    assert_eq!(service.wait(), 0, "it is asked to end, and does");
    let said = fs::read_to_string(machine.at("worker.log")).expect("a log");
    assert!(said.contains("\"draining\""), "{said}");
}

#[test]
fn a_worker_that_is_killed_ends_its_container() {
    if !are_there_containers() {
        return skip("processes can't be kept apart here (unshare --pid)");
    }
    let machine = Machine::new();
    let mut service = contained(&machine);
    signal(only_child(only_child(service.child.id())), Signal::KILL);
    assert_eq!(service.wait(), 128 + 9);
}
