//! What operators do on a server, by the same commands as here.

use serde_json::Value as Json;

use super::client::url;
use super::{Api, pack};
use crate::support::cli::{Machine, Output, wait_for};
use crate::support::fixture::{Pack, TOOL, tool};

/// A command, here and on a server.
struct Both<'a> {
    machine: &'a Machine,
    server: String,
}

impl Both<'_> {
    #[track_caller]
    fn there(&self, code: i32, arguments: &[&str]) -> Output {
        self.machine.runs(code, &[arguments, &["--server", &self.server]].concat())
    }

    /// What both print is the same.
    #[track_caller]
    fn alike(&self, arguments: &[&str]) -> String {
        let here = self.machine.runs(0, arguments).stdout;
        assert_eq!(here, self.there(0, arguments).stdout, "{arguments:?}");
        here
    }
}

#[test]
fn workers_are_cordoned_and_drained() {
    let machine = Machine::new().and("ATTUNE_WORKER_NAME", "one");
    pack(&machine);
    let api = Api::start(&machine);
    let both = Both { machine: &machine, server: url(&api) };
    let status = || both.there(0, &["worker", "show", "one", "--json"]).json();
    wait_for("a worker that has looked around", || {
        let worker = &machine.json(&["worker", "list"])[0];
        (worker["status"] == "active" && worker.to_string().contains("core.shell")).then_some(())
    });
    both.there(0, &["worker", "show", "one"]).prints(&["one", "active", "core.shell"]);
    both.there(0, &["worker", "cordon", "one"]).prints(&["one takes nothing more", "it runs nothing"]);
    machine.runs(0, &["worker", "list"]).prints(&["active, cordoned"]);
    machine.runs(0, &["worker", "show", "one"]).prints(&["active, cordoned"]);
    machine.runs(0, &["worker", "uncordon", "one"]).prints(&["one takes executions again"]);
    assert_eq!(status()["wanted"], Json::Null);
    machine.runs(0, &["worker", "cordon", "one"]);
    assert_eq!(status()["wanted"], "cordoned");
    both.there(0, &["worker", "uncordon", "one"]);
    for code in [machine.run(&["worker", "drain", "two"]), both.there(4, &["worker", "drain", "two"])] {
        assert_eq!(code.code, 4);
        code.says(&["there is no worker `two`", "there are: one"]);
    }
    both.there(0, &["worker", "drain", "one"]).prints(&["ends when it runs nothing"]);
    wait_for("its end", || (status()["status"] == "stopped").then_some(()));
    machine.runs(0, &["worker", "drain", "one"]).prints(&["it has nothing to end"]);
}

#[test]
fn grants_are_listed_allowed_and_taken_back() {
    let machine = Machine::bare();
    tool(&machine, "3.11.4");
    Pack::new("tools")
        .file("runtimes/tool.yaml", TOOL)
        .action("say.sh", "runtime: tool", "x")
        .install(&machine);
    let api = Api::start(&machine);
    let both = Both { machine: &machine, server: url(&api) };
    let listed = both.alike(&["grant", "list"]);
    assert!(listed.contains("tools.tool") && listed.contains("by "), "{listed}");
    both.alike(&["grant", "list", "--json"]);
    let shown = both.alike(&["grant", "show", "tools.tool"]);
    assert!(shown.contains("tools.tool asks to") && shown.contains("allowed by"), "{shown}");

    both.there(0, &["grant", "revoke", "tools.tool"]).prints(&["may do nothing any more"]);
    both.there(0, &["grant", "list"]).prints(&["no"]);
    machine
        .runs(0, &["grant", "show", "tools.tool"])
        .prints(&["not allowed: attune grant approve tools.tool"]);
    machine.runs(6, &["run", "tools.say"]);
    let approved = both.there(0, &["grant", "approve", "tools.tool", "--json"]).json();
    assert_eq!(approved["asked"], approved["approved"], "{approved}");
    assert!(approved["approved_by"].as_str().is_some_and(|by| by.starts_with("admin")), "{approved}");
    machine.runs(0, &["grant", "revoke", "tools.tool"]);
    machine.runs(0, &["grant", "approve", "tools.tool"]).prints(&["tools.tool asks to", "allowed by"]);
    both.there(4, &["grant", "approve", "tools.nothing"]);
    both.there(4, &["grant", "show", "core.native"]).says(&["needs no component"]);
    machine.runs(4, &["grant", "show", "core.native"]).says(&["needs no component"]);

    let components = both.alike(&["plugin", "list"]);
    assert!(components.contains("core.") && components.contains("tools.tool"), "{components}");
    let component = approved["component"].as_str().expect("a component");
    both.there(0, &["plugin", "inspect", component]).prints(&[component, "exports", "tools.tool"]);
    both.there(4, &["plugin", "inspect", "tools.nothing"]);
}

#[test]
fn what_would_be_done_there_is_shown_and_not_done() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let both = Both { machine: &machine, server: url(&api) };
    let alike = |arguments: &[&str]| both.alike(arguments);
    both.there(0, &["run", "served.say", "-p", "word=7", "--dry-run"])
        .prints(&["nothing was done", "served.say"]);
    let plan = both.there(
        0,
        &[
            "execution",
            "enqueue",
            "served.say",
            "-p",
            "word=7",
            "--idempotency-key",
            "k",
            "--dry-run",
            "--json",
        ],
    );
    let plan = plan.json();
    assert_eq!((&plan["parameters"]["word"], &plan["known"]), (&"7".into(), &Json::Null), "{plan}");
    both.there(2, &["execution", "enqueue", "served.say", "--dry-run"]).says(&["word"]);
    let listed = api.get("/executions").is(200).json();
    assert_eq!(listed["items"], Json::Array(Vec::new()), "nothing was queued");

    let key = ["execution", "enqueue", "served.say", "-p", "word=7", "--idempotency-key", "k", "--json"];
    assert_eq!(both.there(0, &key).json()["known"], false, "the key was not used");

    let plan = alike(&["pack", "remove", "served", "--dry-run"]);
    assert!(plan.contains("would remove served"), "{plan}");
    alike(&["pack", "remove", "served", "--dry-run", "--json"]);
    let stale = [("If-Match", "\"00000000000000000000000000000000\"")];
    api.ask(&api.token, "DELETE", "/packs/served?dry_run=true", &stale, &Json::Null)
        .problem(412, "changed-since");
    both.there(0, &["pack", "show", "served"]);
    both.there(2, &["pack", "remove", "core", "--dry-run"]).says(&["comes with Attune"]);
    both.there(0, &["pack", "remove", "served"]);
    both.there(4, &["pack", "remove", "served", "--dry-run"]);
}

#[test]
fn installations_are_looked_for_there() {
    let machine = Machine::bare().and("ATTUNE_WORKER_NAME", "one");
    tool(&machine, "3.11.4");
    Pack::new("tools").file("runtimes/tool.yaml", TOOL).install(&machine);
    let api = Api::start(&machine);
    let both = Both { machine: &machine, server: url(&api) };
    both.there(0, &["runtime", "detect", "tools.tool"]).prints(&["on one", "3.11.4", "checks: "]);
    tool(&machine, "3.12.1");
    let verified = both.there(0, &["runtime", "verify", "tools.tool"]);
    verified.prints(&["tools.tool", "on one", "3.12.1", "3.11.4"]);
    let found = both.there(0, &["runtime", "detect", "--again", "--json"]).json();
    let found = found.as_array().expect("a list");
    let tools = found.iter().find(|looked| looked["runtime"] == "tools.tool").expect("it is there");
    assert_eq!(tools["installations"].as_array().map(Vec::len), Some(2), "{tools}");
    both.there(4, &["runtime", "verify", "tools.nothing"]);
    both.there(0, &["runtime", "detect", "core.native"]).says(&["nothing is looked for"]);
    both.there(0, &["resolve", "--runtime", "tools.tool", "3.12"]).prints(&["3.12.1"]);
    both.there(4, &["resolve", "--runtime", "nothing", ">=1"])
        .says(&["there is no runtime called `nothing`"]);
    both.there(3, &["resolve", "--runtime", "tools.tool", ">=4"]);
}

#[test]
fn what_both_know_is_called_the_same() {
    let machine = Machine::bare().and("ATTUNE_WORKER_NAME", "one");
    tool(&machine, "3.12.1");
    let pack = Pack::new("tools").file("runtimes/tool.yaml", TOOL);
    let pack = pack.action("say.sh", "runtime: tool\nruntime_version: \">=3\"", "exit 3");
    pack.install(&machine);
    let api = Api::start(&machine);
    let both = Both { machine: &machine, server: url(&api) };
    both.there(3, &["run", "tools.say"]);
    machine.runs(3, &["run", "tools.say"]);
    let folder = pack.write(&machine.path).to_string_lossy().into_owned();
    for (arguments, names) in [
        (
            &["pack", "show", "tools"][..],
            &[
                "/ref",
                "/digest",
                "/actions/0/ref",
                "/actions/0/runtime",
                "/actions/0/runtime_version_constraint",
            ][..],
        ),
        (
            &["runtime", "detect", "tools.tool"],
            &[
                "/0/runtime",
                "/0/installations/0/version",
                "/0/installations/0/native",
                "/0/installations/0/path",
            ],
        ),
        (&["resolve", "tools.say"], &["/selected", "/candidates/0/reason", "/candidates/0/declared"]),
        (&["runtime", "show", "tools.tool"], &["/ref", "/aliases", "/plugin", "/versions"]),
        (&["execution", "list"], &["/0/id", "/0/status", "/0/selected_version", "/1/action"]),
        (&["execution", "show", "last"], &["/id", "/exit_code", "/error/class", "/selection/selected"]),
        (
            &["pack", "install", &folder, "--dry-run"],
            &["/ref", "/digest", "/dry_run", "/grants", "/replaces_version"],
        ),
    ] {
        let arguments = [arguments, &["--json"]].concat();
        let (here, there) = (machine.runs(0, &arguments).json(), both.there(0, &arguments).json());
        for name in names {
            let [here, there] = [&here, &there].map(|document| document.pointer(name));
            assert!(here.is_some(), "{arguments:?}: {name} of {here:?}");
            assert_eq!(here, there, "{arguments:?}: {name}");
        }
    }
}
