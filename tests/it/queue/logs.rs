//! What a service logs: each line about an execution says for which, of what, and under which version.

use super::*;

/// Has a service with this format run what succeeds, what fails and what can't begin; its log, and what ran.
fn logged(format: &str) -> (String, [(String, &'static str); 3]) {
    let machine = Machine::bare().and("ATTUNE_LOG_FORMAT", format);
    tool(&machine, "3.12.1");
    tools()
        .action("say.sh", "runtime: tool", "echo hello")
        .action("fail.sh", "runtime: tool\nretries: 1", "exit 3")
        .action("gone.sh", "runtime: tool\nsecrets: [{ name: token, required: true }]", "")
        .install(&machine);
    let service = Service::start_with(&machine, &["-vv"]);
    let ran = ["tools.say", "tools.fail", "tools.gone"].map(|action| (enqueue(&machine, &[action]), action));
    for ((id, _), status) in ran.iter().zip(["succeeded", "failed", "failed"]) {
        becomes(&machine, id, status);
    }
    assert_eq!(service.stop(), 0);
    (fs::read_to_string(machine.at("worker.err")).expect("a file"), ran)
}

/// What is only ever said of an execution.
const SAID: [&str; 4] = ["selected an installation", "started", "an execution ended", "can't begin"];

#[test]
fn as_json() {
    let (log, ran) = logged("json");
    let lines = log.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON")).collect::<Vec<_>>();
    let mut chosen = std::collections::HashSet::new();
    let mut counts = [0; SAID.len()];
    for line in &lines {
        let message = line["fields"]["message"].as_str().expect("text");
        let said = SAID.iter().position(|said| message.starts_with(said));
        let spans = line["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(span) = spans.iter().find(|span| span["name"] == "execution") else {
            let names = ran.iter().any(|(id, _)| line.to_string().contains(id));
            assert!(said.is_none() && !names, "it does not say all of its execution: {line}");
            continue;
        };
        let (_, action) = ran.iter().find(|(id, _)| span["execution.id"] == **id).expect("one that ran");
        assert_eq!(span["action.ref"], *action, "{line}");
        let attempt =
            (span["execution.id"].to_string(), span["execution.attempt"].as_i64().expect("a number"));
        if let Some(said) = said {
            counts[said] += 1;
        }
        if message == SAID[0] {
            chosen.insert(attempt.clone());
        }
        if chosen.contains(&attempt) {
            assert_eq!(span["runtime.version"], "3.12.1", "{line}");
        }
    }
    assert_eq!(counts, [3, 3, 3, 1], "one attempt, two attempts, none\n{log}");
}

#[test]
fn what_the_worker_itself_says_of_an_end() {
    for (json, said) in [(true, ""), (false, "run by tools.tool 3.12.1")] {
        let machine = Machine::bare();
        tool(&machine, "3.12.1");
        tools()
            .action("say.sh", "runtime: tool", "echo hello")
            .action("fail.sh", "runtime: tool", "exit 3")
            .install(&machine);
        let ids = ["tools.say", "tools.fail"].map(|action| enqueue(&machine, &[action]));
        let mut command = machine.command(if json { &["worker", "--json"] } else { &["worker"] });
        let (out, err) = (machine.at("worker.log"), machine.at("worker.err"));
        command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
        let service = Service { child: command.spawn().expect("it starts"), errors: err.clone() };
        becomes(&machine, &ids[0], "succeeded");
        becomes(&machine, &ids[1], "failed");
        assert_eq!(service.stop(), 0);
        let log = fs::read_to_string(if json { out } else { err }).expect("a file");
        let lines = log.lines().collect::<Vec<_>>();
        for (id, status, error) in [(&ids[0], "succeeded", None), (&ids[1], "failed", Some("nonzero_exit"))] {
            let is_its = |line: &&&str| line.contains(id.as_str()) && line.contains(status);
            let line = lines.iter().find(is_its).unwrap_or_else(|| panic!("{id} {status}: {log}"));
            if json {
                let line: Json = serde_json::from_str(line).expect("JSON");
                assert_eq!((&line["event"], &line["runtime"]), (&json!("ended"), &json!("tools.tool")));
                assert_eq!((&line["selected_version"], &line["error"]), (&json!("3.12.1"), &json!(error)));
            } else {
                assert!(line.contains(said) && error.is_none_or(|error| line.contains(error)), "{line}");
            }
        }
    }
}

#[test]
fn as_text() {
    let (log, ran) = logged("text");
    for said in SAID {
        let lines = log.lines().filter(|line| line.contains(said)).collect::<Vec<_>>();
        assert!(!lines.is_empty(), "{said}: {log}");
        for line in lines {
            let (id, action) = ran.iter().find(|(id, _)| line.contains(id)).expect("one that ran");
            let attempt = line.contains("execution.attempt=1") || line.contains("execution.attempt=2");
            assert!(line.contains(&format!("execution.id={id}")) && attempt, "{line}");
            assert!(line.contains(&format!("action.ref={action}")), "{line}");
            assert!(said == "can't begin" || line.contains("runtime.version=3.12.1"), "{line}");
        }
    }
}
