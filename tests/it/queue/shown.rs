//! What somebody sees of an execution: while he watches it, when it has ended, and in lists.

use std::io::{BufRead, BufReader};
use std::process::ChildStderr;

use super::*;
use crate::environments;

/// What a command says, line by line.
struct Talk(BufReader<ChildStderr>);

impl Talk {
    fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stderr.take().expect("a pipe")))
    }

    /// Reads on until a line has all of these words; that line.
    #[track_caller]
    fn hears(&mut self, words: &[&str]) -> String {
        let mut said = String::new();
        loop {
            let begin = said.len();
            assert!(self.0.read_line(&mut said).expect("text") > 0, "{words:?} were not said:\n{said}");
            let line = &said[begin..];
            if words.iter().all(|word| line.contains(word)) {
                return line.to_owned();
            }
        }
    }
}

/// A pack of actions for a tool of which 3.11.4 and 3.12.1 are there.
fn machine() -> Machine {
    let machine = Machine::bare().and("ATTUNE_WORKER_NAME", "one");
    tool(&machine, "3.11.4");
    tool(&machine, "3.12.1");
    tools()
        .action("say.sh", "runtime: tool\nruntime_version: \">=3.11\"", "echo said")
        .action("any.sh", "runtime: tool", "echo any")
        .action("fail.sh", "runtime: tool\nretries: 1", "exit 3")
        .action("lenient.sh", "runtime: tool\nruntime_version: \">=99\"\nversion_policy: fallback", "echo it")
        .install(&machine);
    machine
}

#[test]
fn what_a_worker_ran_ends_like_what_is_run_at_once() {
    let machine = machine();
    for command in [&["execution", "enqueue"][..], &["run", "--queue"]] {
        let planned = [command, &["tools.say", "--dry-run"]].concat();
        machine.runs(0, &planned).prints(&["nothing was done; this is the plan\n\naction", "none is there"]);
    }
    assert_eq!(machine.json(&["execution", "list"]), json!([]), "nothing was queued");
    let service = Service::start(&machine);
    let plan = || machine.json(&["execution", "enqueue", "tools.say", "--dry-run"]);
    assert_eq!(plan()["requirement"]["runtime"], "tools.tool");
    assert_eq!(plan()["workers"][0]["satisfied"], Json::Null, "it has not been asked yet");
    for (action, because) in [
        ("tools.say", "`>=3.11` was asked for: it is the highest of the 2 that match, of 2 installed"),
        ("tools.any", "no version was asked for: it is the default, of 2 installed"),
        ("tools.lenient", "nothing satisfies what was asked for: it is the base runtime, of 2 installed"),
    ] {
        let direct = machine.runs(0, &["run", action]);
        let queued = machine.runs(0, &["run", "--queue", action]);
        let id = show(&machine, "last")["id"].as_str().expect("text").to_owned();
        let watched = machine.runs(0, &["execution", "watch", &id]);
        direct.says(&["Tool 3.12.1 at ", because]);
        for output in [&queued, &watched] {
            assert_eq!(output.stdout, direct.stdout);
            for begin in ["warning: ", "   ran by", "   because"] {
                let lines = |said: &str| {
                    let mut lines = said.lines().filter(|line| line.starts_with(begin));
                    (lines.next().map(str::to_owned), lines.next().is_some())
                };
                assert_eq!(lines(&output.stderr), lines(&direct.stderr), "{begin} {output}\n{direct}");
            }
            output.says(&[
                &format!("{action} succeeded ({id})"),
                "   took    ask ",
                " in all\n",
                "worker  one\n",
            ]);
        }
        assert!(queued.stderr.starts_with(&format!("-- {action} queued ({id})\n")), "{queued}");
    }
    assert_eq!(plan()["workers"], json!([{"worker": "one", "satisfied": true, "reason": ""}]));
    machine.runs(0, &["execution", "enqueue", "tools.say", "--dry-run"]).prints(&["one: can run it"]);
    assert_eq!(machine.runs(0, &["run", "--queue", "tools.say", "--quiet"]).stderr, "");
    assert_eq!(service.stop(), 0);
}

#[test]
fn who_watches_is_told_what_becomes_of_it() {
    let machine = Machine::bare().and("ATTUNE_WORKER_NAME", "one");
    tool(&machine, "3.12.1");
    environments::boxes(&machine).install(&machine);
    machine.write("gate", "");
    let mut child = machine.start(&["run", "--queue", "boxes.say"]);
    let mut talk = Talk::of(&mut child);
    let said = talk.hears(&["-- boxes.say queued ("]);
    let id = said.split_once('(').and_then(|(_, rest)| rest.split_once(')')).expect("an identifier").0;
    assert_eq!(show(&machine, id)["status"], "queued");
    talk.hears(&["waiting", "no worker is there"]);
    let service = Service::start(&machine);
    talk.hears(&["claimed by one, attempt 1 of 1"]);
    talk.hears(&["busy", "the environment: "]);
    let row = show(&machine, id);
    assert_eq!((&row["worker"], &row["sandbox"]), (&json!("one"), &Json::Null), "{row}");
    let reason = row["reason"].as_str().expect("a reason");
    assert!(reason.contains("the environment"), "{reason}");
    environments::builder(&machine);
    fs::remove_file(machine.at("gate")).expect("removed");
    talk.hears(&["boxes.say succeeded", id]);
    talk.hears(&["because", "no version was asked for"]);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(show(&machine, id)["reason"], Json::Null);

    machine.write("gate", "");
    Pack::new("queued").shell("slow", "", &gated(&machine, "slow")).install(&machine);
    let id = enqueue(&machine, &["queued.slow"]);
    process(&machine, "slow");
    let mut child = machine.start(&["execution", "watch", &id]);
    let mut talk = Talk::of(&mut child);
    talk.hears(&["-- queued.slow running", &id]);
    talk.hears(&["claimed by one"]);
    talk.hears(&["running", "/bash"]);
    fs::remove_file(machine.at("gate")).expect("removed");
    talk.hears(&["queued.slow succeeded"]);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(service.stop(), 0);
}

#[test]
fn who_watches_is_told_that_a_worker_was_lost_and_a_rescue_is_no_retry() {
    let machine = Machine::new()
        .and("ATTUNE_WORKER_NAME", "one")
        .and("ATTUNE_LEASE", "5s")
        .and("ATTUNE_HEARTBEAT", "500ms");
    machine.write("gate", "");
    let place = machine.path.display();
    let script = format!(
        "echo x >> {place}/tries; case $(wc -l < {place}/tries) in 1) {};; 2) sleep 2; exit 3;; *) echo done;; esac",
        gated(&machine, "first")
    );
    Pack::new("queued").shell("flaky", "retries: 1", &script).install(&machine);
    let mut service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.flaky"]);
    process(&machine, "first");
    let mut child = machine.start(&["execution", "watch", &id]);
    let mut talk = Talk::of(&mut child);
    talk.hears(&["claimed by one, attempt 1 of 2"]);
    let two = machine.other("two");
    let other = Service::start(&two);
    service.kill();
    talk.hears(&["again", "after attempt 1: worker_lost: the worker that ran it was lost"]);
    talk.hears(&["claimed by two, attempt 2 of 3"]);
    talk.hears(&["again", "after attempt 2: nonzero_exit"]);
    // The third is over so soon that nobody may see it run.
    talk.hears(&["queued.flaky succeeded"]);
    assert_eq!(show(&machine, &id)["attempt"], 3);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(other.stop(), 0);
}

#[test]
fn a_failure_is_that_of_its_attempt() {
    let machine = machine();
    let service = Service::start(&machine);
    let output = machine.runs(3, &["run", "--queue", "tools.fail"]);
    output.says(&["again   after attempt 1: nonzero_exit: ", "worker  one, attempt 2\n"]);
    assert_eq!(service.stop(), 0);
    let row = machine.last();
    let id = row["id"].as_str().expect("text");
    assert_eq!((&row["error"]["class"], &row["last_error"]), (&json!("nonzero_exit"), &Json::Null));
    machine.runs(0, &["execution", "show", id]).prints(&[
        "attempt          2 of 2\n",
        "worker           one\n",
        "priority         0\n",
        "because          no version was asked for",
        "\nerror            nonzero_exit: ",
        "+00:00",
    ]);
    let retried = machine.runs(0, &["execution", "retry", id]);
    assert_eq!(retried.stdout, format!("{id}: it is in the queue again, as attempt 3\n"));
    let again = machine.runs(2, &["execution", "retry", id]);
    again.says(&[&format!("{id} can't be tried again: it has not ended yet, it is queued")]);
    let row = show(&machine, id);
    assert_eq!((&row["error"], &row["exit_code"]), (&Json::Null, &Json::Null), "it has not failed yet");
    assert_eq!(row["last_error"]["class"], "nonzero_exit");
    let shown = machine.runs(0, &["execution", "show", id]);
    shown.prints(&["\nlast error       nonzero_exit: ", "\nwaiting          no worker"]);
    assert!(!shown.stdout.contains("\nerror ") && !shown.stdout.contains("\nstarted "), "{shown}");
    let cancelled = machine.runs(0, &["execution", "cancel", id]);
    assert_eq!(cancelled.stdout, format!("{id}: it was waiting, and is cancelled\n"));
    machine.runs(2, &["execution", "cancel", id]).says(&[id, "it has ended before, as cancelled"]);

    let direct = machine.runs(3, &["run", "tools.fail"]);
    direct.says(&["it is not tried again: `retries: 1` of the action counts for what is queued"]);
    assert!(machine.last()["warnings"].to_string().contains("not tried again"));
}

#[test]
fn what_waits_for_a_limit_says_for_which() {
    let machine = Machine::new();
    machine.write("gate", "");
    Pack::new("narrow")
        .file("pack.yaml", "ref: narrow\nversion: \"1.0.0\"\nconcurrency: 2\n")
        .shell("alone", "concurrency: 1", &gated(&machine, "alone"))
        .shell("other", "", &gated(&machine, "other"))
        .install(&machine);
    let service = Service::start_with(&machine, &["--slots", "4"]);
    let first = enqueue(&machine, &["narrow.alone"]);
    process(&machine, "alone");
    let waits = |id: &str, limits: &Json, reason: &str| {
        let row = wait_for("the reason", || {
            Some(show(&machine, id)).filter(|row| row["waiting"]["limits"] == *limits)
        });
        assert_eq!(row["waiting"]["reason"], reason);
        machine.runs(0, &["execution", "show", id]).prints(&[reason]);
    };
    let pack = |running: i64| json!({"of": "pack", "name": "narrow", "allowed": 2, "running": running});
    let action = json!({"of": "action", "name": "narrow.alone", "allowed": 1, "running": 1});
    let second = enqueue(&machine, &["narrow.alone"]);
    let of_action = "the action `narrow.alone` runs 1 of at most 1 at a time (its `concurrency`)";
    waits(&second, &json!([action, pack(1)]), of_action);
    let third = enqueue(&machine, &["narrow.other"]);
    process(&machine, "other");
    let fourth = enqueue(&machine, &["narrow.other"]);
    let of_pack = "the pack `narrow` runs 2 of at most 2 at a time (its `concurrency`)";
    waits(&fourth, &json!([pack(2)]), of_pack);
    waits(&second, &json!([action, pack(2)]), &format!("{of_action}; {of_pack}"));
    fs::remove_file(machine.at("gate")).expect("removed");
    for id in [first, second, third, fourth] {
        becomes(&machine, &id, "succeeded");
    }
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_list_says_when_it_was_asked_for_and_when_it_began() {
    let machine = machine();
    let id = enqueue(&machine, &["tools.say", "--delay", "1500ms"]);
    let listed = machine.runs(0, &["execution", "list"]);
    listed.prints(&["ENQUEUED (UTC)", "STARTED", "TOOK"]);
    let day_and_time = |text: &str| text[..19].replace('T', " ");
    let created = day_and_time(show(&machine, &id)["created_at"].as_str().expect("text"));
    let line =
        |listed: &str| listed.lines().find(|line| line.contains(&id)).expect("it is listed").to_owned();
    let waiting = line(&listed.stdout);
    assert_eq!(waiting.split_whitespace().skip(3).collect::<Vec<_>>().join(" "), format!("- {created} - -"));
    let service = Service::start(&machine);
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!(service.stop(), 0);
    let started = day_and_time(row["started_at"].as_str().expect("text"));
    assert!(started > created, "{row}");
    let ended = line(&machine.runs(0, &["execution", "list"]).stdout);
    // The day is not said twice.
    let started = started.strip_prefix(&created[..11]).unwrap_or(&started);
    assert!(ended.contains(&format!("3.12.1  {created}  {started}  ")) || ended.contains(started), "{ended}");
    machine.runs(0, &["execution", "show", &id]).prints(&["\nenqueued  ", "\nnot before  ", "\nstarted  "]);
}

#[test]
fn a_deadline_that_has_passed_is_said_with_the_deadline() {
    let machine = machine().and("ATTUNE_HEARTBEAT", "200ms");
    let id = enqueue(&machine, &["tools.say", "--deadline", "1ms"]);
    let service = Service::start(&machine);
    let row = becomes(&machine, &id, "timed_out");
    let deadline = row["deadline_at"].as_str().expect("a time");
    machine.runs(0, &["execution", "show", &id]).prints(&[
        "deadline: it waited in the queue until its deadline had passed, and was not started",
        &format!("\ndeadline         {}", &deadline[..19]),
    ]);
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_could_never_start_is_refused() {
    let machine = machine();
    for place in [&["--deadline", "0"][..], &["--delay", "5s", "--deadline", "5s"]] {
        for asked in [&["execution", "enqueue", "tools.say"][..], &["run", "--queue", "tools.say"]] {
            machine.runs(2, &[asked, place].concat()).says(&["it could never start", "later than `--delay`"]);
        }
    }
    assert_eq!(machine.json(&["execution", "list"]), json!([]));
}

#[test]
fn what_is_cancelled_before_another_try_keeps_why_the_last_one_failed() {
    let machine = machine();
    Pack::new("queued").shell("fail", "retries: 9", "exit 3").install(&machine);
    let service = Service::start(&machine);
    let id = enqueue(&machine, &["queued.fail"]);
    wait_for("its first failure", || {
        Some(show(&machine, &id)).filter(|row| row["status"] == "queued" && row["attempt"] == 1)
    });
    machine.runs(0, &["execution", "cancel", &id]);
    let row = becomes(&machine, &id, "cancelled");
    let why = row["error"]["message"].as_str().expect("text");
    assert!(
        why.contains("before it was tried again, after nonzero_exit: ") && why.contains("exit code 3"),
        "{why}"
    );
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_is_tried_again_by_hand_needs_what_its_action_does_by_then() {
    let machine = machine();
    let service = Service::start(&machine);
    let own = enqueue(&machine, &["tools.fail"]);
    let given = enqueue(&machine, &["tools.fail", "--constraint", ">=3.11"]);
    for id in [&own, &given] {
        assert_eq!(becomes(&machine, id, "failed")["selected_version"], "3.12.1");
    }
    tools().action("fail.sh", "runtime: tool\nruntime_version: \"<3.12\"", "echo by now").install(&machine);
    for (id, constraint, version) in [(&own, "<3.12", "3.11.4"), (&given, ">=3.11", "3.12.1")] {
        machine.runs(0, &["execution", "retry", id]);
        let row = becomes(&machine, id, "succeeded");
        assert_eq!((&row["constraint"], &row["selected_version"]), (&json!(constraint), &json!(version)));
    }
    // One that is tried again by itself goes by that as well.
    machine.write("gate", "");
    let first = format!("{}; exit 1", gated(&machine, "began"));
    tools()
        .action("fail.sh", "runtime: tool\nretries: 1\nruntime_version: \">=3.12\"", &first)
        .install(&machine);
    let id = enqueue(&machine, &["tools.fail"]);
    process(&machine, "began");
    tools().action("fail.sh", "runtime: tool\nruntime_version: \"<3.12\"", "echo by now").install(&machine);
    fs::remove_file(machine.at("gate")).expect("removed");
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!((&row["attempt"], &row["constraint"]), (&json!(2), &json!("<3.12")));
    assert_eq!(row["selected_version"], "3.11.4");

    // One that nobody can run any more waits for who can, and takes nobody's word for what it needed before.
    let id = enqueue(&machine, &["tools.fail"]);
    becomes(&machine, &id, "succeeded");
    tools().action("fail.sh", "runtime: tool\nruntime_version: \">=4\"", "echo late").install(&machine);
    machine.runs(0, &["execution", "retry", &id]);
    let row = wait_for("the judgement", || {
        Some(show(&machine, &id)).filter(|row| row["waiting"]["workers"][0]["satisfied"] == false)
    });
    assert_eq!((&row["constraint"], &row["result"]), (&json!(">=4"), &Json::Null));
    assert_eq!(service.stop(), 0);
}
