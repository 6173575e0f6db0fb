//! One trace from the request to the result, however many processes have a part in it, and nothing in it that is not
//! everybody's business.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::support::collector::{Collector, Span};

const SECRET: &str = "correct-horse-battery";
const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced(machine: Machine, collector: &Collector) -> Machine {
    machine.and("ATTUNE_OTLP_ENDPOINT", &collector.url)
}

/// Checks that these attributes are there.
#[track_caller]
fn says(span: &Span, attributes: &[(&str, &str)]) {
    for (name, value) in attributes {
        assert_eq!(span.attributes.get(*name).map(String::as_str), Some(*value), "{name}: {span:?}");
    }
}

/// Names of the spans right below one.
fn below<'a>(spans: &'a [Span], span: &Span) -> BTreeSet<&'a str> {
    spans.iter().filter(|other| other.parent == span.id).map(|other| other.name.as_str()).collect()
}

#[test]
fn one_trace_from_the_request_to_the_result() {
    let collector = Collector::start();
    let machine = traced(Machine::new(), &collector);
    Pack::new("queued").shell("say", "", "echo \"$TRACEPARENT\"").install(&machine);
    let id = enqueue(&machine, &["queued.say"]);
    let asked = collector.span("enqueue", |_| true);
    let far = machine.other("far").and("OTEL_SERVICE_NAME", "attune-far");
    let service = Service::start(&far);
    let row = becomes(&machine, &id, "succeeded");
    assert_eq!(service.stop(), 0);

    let spans = collector.spans();
    let spans = spans.into_iter().filter(|span| span.trace_id == asked.trace_id).collect::<Vec<_>>();
    let find = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let span = found.next().unwrap_or_else(|| panic!("{name}: {spans:#?}"));
        assert!(found.next().is_none(), "{name}: {spans:#?}");
        span
    };
    assert_eq!(asked.parent, "");
    assert_eq!(below(&spans, &asked), BTreeSet::from(["claim", "execution", "queue"]));
    let execution = find("execution");
    let stages = ["ask", "environment", "launch", "process", "result", "selection"];
    assert!(below(&spans, execution).is_superset(&stages.into()), "{spans:#?}");
    // The program is told of the span that it runs in.
    let process = find("process");
    assert_eq!(row["result"], format!("00-{}-{}-01", process.trace_id, process.id));
    assert_eq!(row["trace_id"], asked.trace_id);

    says(&asked, &[("execution.id", &id), ("action.ref", "queued.say"), ("pack.ref", "queued")]);
    let attributes = [
        ("execution.id", id.as_str()),
        ("execution.attempt", "1"),
        ("execution.status", "succeeded"),
        ("action.ref", "queued.say"),
        ("pack.ref", "queued"),
        ("runtime.ref", "core.shell"),
        ("runtime.version", row["selected_version"].as_str().expect("a version")),
        ("worker.name", "far"),
    ];
    says(execution, &attributes);
    assert!(!execution.is_error && !execution.attributes.contains_key("error.type"), "{execution:?}");
    for name in ["queue", "claim"] {
        says(find(name), &[("execution.id", &id), ("execution.attempt", "1")]);
    }
    // It waited from when it was asked for until somebody claimed it, and ran after that.
    let (queue, claim) = (find("queue"), find("claim"));
    assert!(queue.times.0 >= asked.times.0 && queue.times.1 <= claim.times.1, "{spans:#?}");
    assert!(process.times.0 >= queue.times.1 && process.times.1 <= execution.times.1, "{spans:#?}");
    assert_eq!(asked.resource["service.name"], "attune");
    assert_eq!(execution.resource["service.name"], "attune-far");
    assert!(spans.iter().all(|span| span.events == 0), "messages are for the log: {spans:#?}");
}

#[test]
fn every_attempt_belongs_to_the_trace() {
    let collector = Collector::start();
    let machine = Machine::new();
    let script = format!("cd {}; [ -e again ] || {{ : > again; exit 3; }}", machine.path.display());
    Pack::new("queued").shell("second", "retries: 1", &script).install(&machine);
    // Once with a trace that begins with the request, and once with one that the worker begins.
    let worker = traced(machine.other("worker"), &collector);
    let service = Service::start(&worker);
    for asking in [worker.other("asking"), machine.other("silent")] {
        let _ = fs::remove_file(machine.at("again"));
        let id = enqueue(&asking, &["queued.second"]);
        let row = becomes(&machine, &id, "succeeded");
        let attempt = |number: &str| {
            collector.span("execution", |span| {
                span.attributes["execution.id"] == id && span.attributes["execution.attempt"] == number
            })
        };
        let (first, second) = (attempt("1"), attempt("2"));
        assert_eq!(first.trace_id, second.trace_id);
        assert_eq!(row["trace_id"], first.trace_id);
        says(&first, &[("execution.status", "failed"), ("error.type", "nonzero_exit")]);
        says(&second, &[("execution.status", "succeeded")]);
        assert!(first.is_error && !second.is_error);
    }
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_trace_that_is_given_is_gone_on_with() {
    let collector = Collector::start();
    let machine = Machine::new().and("TRACEPARENT", GIVEN);
    Pack::new("queued").shell("say", "", "echo \"trace:$TRACEPARENT\"").install(&machine);
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let run = machine.json(&["run", "queued.say"]);
    assert_eq!(run["result"], "trace:", "nobody traces, so there is no span to be told of");
    let silent = enqueue(&machine, &["queued.say"]);
    assert_eq!(show(&machine, &silent)["trace_id"], trace);

    let machine = traced(machine, &collector);
    let run = machine.json(&["run", "queued.say"]);
    let at_once = collector
        .span("execution", |span| span.attributes["execution.id"] == *run["id"].as_str().expect("text"));
    let asked = enqueue(&machine, &["queued.say"]);
    let enqueued = collector.span("enqueue", |span| span.attributes["execution.id"] == asked);
    let service = Service::start(&machine);
    becomes(&machine, &silent, "succeeded");
    let later = collector.span("execution", |span| span.attributes["execution.id"] == silent);
    for span in [&at_once, &enqueued, &later] {
        assert_eq!((span.trace_id.as_str(), span.parent.as_str()), (trace, parent), "{span:?}");
    }
    let last = collector.span("execution", |span| span.attributes["execution.id"] == asked);
    assert_eq!((last.trace_id.as_str(), &last.parent), (trace, &enqueued.id));
    assert_eq!(service.stop(), 0);
}

#[test]
fn what_is_looked_for_and_built_on_the_way_is_part_of_it() {
    let collector = Collector::start();
    let machine = traced(Machine::bare(), &collector);
    for version in ["3.11.7", "3.12.1"] {
        tool(&machine, version);
    }
    tools()
        .action("say.sh", "runtime: tool", "echo hello")
        .action("none.sh", "runtime: tool\nruntime_version: \">=99\"", "")
        .install(&machine);
    // An installation looks for what there is, outside of any execution.
    tool(&machine, "3.12.2");
    machine.runs(0, &["run", "tools.say"]);
    let spans = collector.spans();
    let find = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"))
    };
    let (execution, selection, detection) = (find("execution"), find("selection"), find("detection"));
    assert_eq!((&selection.parent, &detection.parent), (&execution.id, &selection.id));
    says(detection, &[("runtime.ref", "tools.tool")]);
    let verified = spans.iter().find(|span| span.name == "verification" && span.parent == detection.id);
    says(verified.expect("a verification"), &[("runtime.version", "3.12.2")]);
    assert!(below(&spans, detection).contains("plugin"), "{spans:#?}");
    assert_eq!(execution.attributes["runtime.version"], "3.12.2");

    let yaml = r#"
ref: boxes.box
plugin:
  component: core.declarative
  grants: { tools: [tool], search: [{ source: home, folders: ["~/tools/*/bin"] }] }
distributions:
  verification: { commands: [{ binary: tool, args: ["--version"], pattern: '^tool (?P<version>\S+)' }] }
execution_config: &config
  interpreter: { binary: tool }
  environment:
    create:
      - run: ["${interpreter}", "-c", "mkdir -p bin; cp /bin/sh bin/box"]
    interpreter: bin/box
versions:
  - { version: "3.12", execution_config: *config }
"#;
    let boxes = Pack::new("boxes").file("runtimes/box.yaml", yaml);
    boxes.action("say.sh", "runtime: box", "echo hello").install(&machine);
    machine.runs(0, &["run", "boxes.say"]);
    let execution = collector.span("execution", |span| span.attributes["action.ref"] == "boxes.say");
    let below = |name: &str, parent: &Span| collector.span(name, |span| span.parent == parent.id);
    let environment = below("environment", &execution);
    below("plan", &environment);
    let step = below("step", &below("build", &environment));
    says(&step, &[("step.number", "1")]);
    assert_eq!(step.trace_id, execution.trace_id);

    machine.runs(3, &["run", "tools.none"]);
    let failed = collector.span("execution", |span| span.attributes["action.ref"] == "tools.none");
    says(&failed, &[("execution.status", "failed"), ("error.type", "no_match")]);
    assert!(failed.is_error);
    let stage = collector.span("selection", |span| span.parent == failed.id);
    assert!(stage.is_error);
}

#[test]
fn nothing_is_told_that_is_secret_or_given_or_printed() {
    let collector = Collector::start();
    let machine = traced(Machine::new(), &collector);
    let file = machine.write("secrets.yaml", format!("api_token: {SECRET}\ntoken: {SECRET}\n"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let machine = machine.and("ATTUNE_SECRETS_FILE", file);
    let yaml = "parameters: {type: object}\nsecrets: [{ name: token, env: TOKEN, required: true }]";
    let script = "echo printed-by-it; printf '%s' \"$TOKEN\"; echo \"$TOKEN said-by-it\" >&2; exit 3";
    Pack::new("queued").shell("tell", yaml, script).install(&machine);
    let service = Service::start(&machine);
    machine.runs(0, &["run", "examples.secret"]);
    machine.runs(3, &["run", "queued.tell", "-p", "name=parameter-value"]);
    machine.runs(0, &["run", "--queue", "examples.secret"]);
    machine.runs(3, &["run", "--queue", "queued.tell", "-p", "name=parameter-value"]);
    assert_eq!(service.stop(), 0);
    let executions =
        collector.spans().into_iter().filter(|span| span.name == "execution").collect::<Vec<_>>();
    let of = |action: &str| executions.iter().filter(|span| span.attributes["action.ref"] == action).count();
    assert_eq!((of("examples.secret"), of("queued.tell")), (2, 2), "{executions:#?}");
    assert!(collector.has_received("queued.tell"), "what is looked for below would be found");
    for text in [SECRET, "parameter-value", "printed-by-it", "said-by-it"] {
        assert!(!collector.has_received(text), "{text}");
    }
}

#[test]
fn the_standard_variables_say_where_and_how() {
    let collector = Collector::start();
    let machine = Machine::new();
    Pack::new("queued").shell("say", "", "echo hello").install(&machine);
    let machine = machine
        .and("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .and("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k1")
        .and("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test");
    machine.runs(0, &["run", "queued.say", "--set", "otlp_endpoint=none"]);
    assert!(collector.spans().is_empty(), "the setting is stronger");
    machine.runs(0, &["run", "queued.say"]);
    let execution = collector.span("execution", |_| true);
    assert_eq!(execution.resource["deployment.environment"], "test");
    let head = &collector.heads()[0];
    assert!(head.starts_with("post /v1/traces http/1.1\r\n") && head.contains("x-key: k1\r\n"), "{head}");
    let output = machine.and("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317").runs(0, &["run", "queued.say"]);
    output.says(&["OTEL_EXPORTER_OTLP_ENDPOINT", "is no URL"]);
}

#[test]
fn a_collector_that_is_not_there_hinders_nobody() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    // Connections to this one are made, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addresses = [closed, silent.local_addr().expect("an address")];
    let machine = Machine::new();
    Pack::new("queued").shell("say", "", "echo hello").install(&machine);
    for address in addresses {
        // Whoever waited for an answer would wait for longer than the test does.
        let machine = machine
            .other("worker")
            .and("ATTUNE_OTLP_ENDPOINT", format!("http://{address}"))
            .and("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
        let output = machine.runs(0, &["run", "queued.say"]);
        assert_eq!(output.stdout, "hello\n");
        assert_eq!(output.stderr.matches("can't deliver traces").count(), 1, "{output}");
        let machine = machine.and("OTEL_BSP_SCHEDULE_DELAY", "50");
        let service = Service::start(&machine);
        for _ in 0..3 {
            let id = enqueue(&machine, &["queued.say"]);
            becomes(&machine, &id, "succeeded");
        }
        assert_eq!(service.stop(), 0);
        let errors = fs::read_to_string(machine.at("worker.err")).expect("a file");
        assert_eq!(errors.matches("can't deliver traces").count(), 1, "{errors}");
    }
}
