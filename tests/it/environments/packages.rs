//! Environments with packages from the registries; without a network these tests say that they did nothing.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::json;

use crate::support::cli::{Machine, skip};
use crate::support::fixture::Pack;

/// Whether a registry can be reached.
fn reaches(host: &str) -> bool {
    let Ok(mut addresses) = (host, 443).to_socket_addrs() else { return false };
    addresses.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok())
}

/// A machine whose steps may use what this one needs to reach a registry: a certificate, a proxy, a mirror.
fn connected() -> Machine {
    let machine = Machine::new();
    let names =
        ["SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "https_proxy", "PIP_INDEX_URL"];
    let mut file = "[variables]\n".to_owned();
    for (name, value) in names.iter().filter_map(|name| Some((name, std::env::var(name).ok()?))) {
        file.extend([name, " = ", &json!(value).to_string(), "\n"]);
    }
    let file = machine.write("attune.toml", file).display().to_string();
    machine.and("ATTUNE_CONFIG", file)
}

#[test]
fn a_python_action_with_requirements() {
    if !reaches("pypi.org") {
        return skip("pypi.org can't be reached");
    }
    let machine = connected();
    let arguments = ["run", "examples.slugify", "-p", "text=Grüße aus Köln"];
    let run = machine.json(&arguments);
    assert_eq!(run["result"]["slug"], "grusse-aus-koln");
    assert_eq!(run["environment_built"], true);
    let again = machine.json(&arguments);
    assert_eq!((&again["result"], &again["environment_built"]), (&run["result"], &json!(false)));
    machine.runs(0, &["env", "show", machine.last()["environment_key"].as_str().expect("a key")]);
}

#[test]
fn node_actions_in_both_kinds_of_modules() {
    if !reaches("registry.npmjs.org") {
        return skip("registry.npmjs.org can't be reached");
    }
    let machine = connected();
    if machine.run(&["resolve", "examples.bytes"]).code == 3 {
        return skip("there is no Node.js from 18 on");
    }
    let run = machine.json(&["run", "examples.duration", "-p", "text=2 hours"]);
    assert_eq!(run["environment_built"], true);
    let text = run["result"].to_string();
    assert!(text.contains("7200000"), "{text}");
    let run = machine.json(&["run", "examples.bytes", "-p", "bytes=1337"]);
    assert!(run["result"].to_string().contains("1.34 kB"), "{run}");
    assert_eq!(machine.json(&["run", "examples.bytes"])["environment_built"], false);
}

#[test]
fn a_requirement_that_does_not_exist() {
    if !reaches("pypi.org") {
        return skip("pypi.org can't be reached");
    }
    let machine = connected();
    Pack::new("wanting")
        .action("it.py", "runtime: core.python\nruntime_version: \">=3.9\"", "print('ran')\n")
        .file("actions/requirements.txt", "attune-there-is-no-such-package==99.99\n")
        .install(&machine);
    let output = machine.runs(5, &["run", "wanting.it"]);
    output.says(&["attune-there-is-no-such-package", "can't build the environment"]);
    assert!(!output.stdout.contains("ran"), "{output}");
    let row = machine.last();
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("failed"), &json!("environment_failed")));
}
