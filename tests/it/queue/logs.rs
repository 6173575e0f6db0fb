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
