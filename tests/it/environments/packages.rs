//! Environments with packages from the registries; without a network these tests say that they did nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
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
    let hint = "if something could not be reached: steps see none of your variables";
    output.says(&[hint]);
    let file = machine.write("attune.toml", "[variables]\nno_proxy = \"localhost\"\n").display().to_string();
    let told = machine.runs(5, &["run", "wanting.it", "--config", &file]);
    assert!(!told.stderr.contains(hint), "a proxy is set: {told}");
    let row = machine.last();
    assert_eq!((&row["status"], &row["error"]["class"]), (&json!("failed"), &json!("environment_failed")));
}

#[test]
fn a_mistake_in_a_manifest_says_in_which_folder() {
    let machine = Machine::new();
    Pack::new("wrong")
        .action("it.py", "runtime: core.python\nruntime_version: \">=3.9\"", "print('ran')\n")
        .file("actions/requirements.txt", "-r ../../../etc/passwd\n")
        .install(&machine);
    machine.runs(5, &["run", "wrong.it"]).says(&[
        "error: can't build the environment: actions/requirements.txt:1: `../../../etc/passwd` has to lie",
        "(invalid_declaration); component `python` of pack `core`",
    ]);
}

/// Makes the wheel of a package that consists of one file, in a folder of its own.
const WHEEL: &str = r#"
import sys, zipfile
about = "whole-1.0.dist-info/"
files = {
    "whole.py": "word = 'whole'\n",
    about + "METADATA": "Metadata-Version: 2.1\nName: whole\nVersion: 1.0\n",
    about + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = "".join(name + ",,\n" for name in list(files) + [about + "RECORD"])
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, text in [*files.items(), (about + "RECORD", record)]:
        wheel.writestr(name, text)
"#;

/// Serves one file, and the page that names it; the address. Whoever installs from there needs no registry.
fn serve(name: &'static str, file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let page = format!("<!DOCTYPE html><html><body><a href=\"{name}\">{name}</a></body></html>");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let asked = lines.next().unwrap_or_default();
            lines.find(String::is_empty);
            let (kind, body) = if asked.contains(name) {
                ("application/octet-stream", file.as_slice())
            } else {
                ("text/html", page.as_bytes())
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let body = if asked.starts_with("HEAD") { &[] } else { body };
            // A client that wants no more is none of its concerns.
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    format!("http://{address}/")
}

#[test]
fn packages_that_were_taken_away_are_installed_again() {
    const NAME: &str = "whole-1.0-py3-none-any.whl";
    let machine = Machine::new();
    let python = machine.json(&["resolve", "--runtime", "python", ">=3.9"])["selected"]["path"].clone();
    let wheel = machine.at(NAME);
    let made = std::process::Command::new(python.as_str().expect("a path"))
        .args(["-I", "-c", WHEEL])
        .arg(&wheel)
        .status();
    assert!(made.expect("it starts").success());
    let address = serve(NAME, std::fs::read(wheel).expect("a wheel"));
    let script = "import json, sys, whole\nprint(json.dumps([whole.word, whole.__file__]))\n";
    Pack::new("packed")
        .action("it.py", "runtime: core.python\nruntime_version: \">=3.9\"\noutput_format: json", script)
        .file("actions/requirements.txt", format!("--no-index\n--find-links {address}\nwhole==1.0\n"))
        .install(&machine);
    let run = machine.json(&["run", "packed.it"]);
    assert_eq!((&run["result"][0], &run["environment_built"]), (&json!("whole"), &json!(true)));
    assert_eq!(machine.json(&["run", "packed.it"])["environment_built"], false);

    let file = std::path::PathBuf::from(run["result"][1].as_str().expect("a path"));
    let empty = || {
        let packages = file.parent().expect("a folder");
        std::fs::remove_dir_all(packages).expect("removed");
        std::fs::create_dir(packages).expect("a folder");
    };
    empty();
    let again = machine.runs(0, &["run", "packed.it", "--json", "-v"]);
    again.says(&["no longer works, and is built anew", "installed and are gone"]);
    let again = again.json();
    assert_eq!((&again["result"], &again["environment_built"]), (&run["result"], &json!(true)));

    empty();
    let repaired = machine.json(&["env", "repair"]);
    assert_eq!(repaired[0]["outcome"], "repaired");
    assert!(repaired[0]["reason"].as_str().is_some_and(|reason| reason.contains("are gone")), "{repaired}");
    assert_eq!(machine.json(&["run", "packed.it"])["environment_built"], false);

    // Damage that no component would notice is found when somebody looks thoroughly.
    std::fs::write(&file, "").expect("emptied");
    let repaired = machine.json(&["env", "repair"]);
    assert_eq!(repaired[0]["outcome"], "repaired");
    assert!(
        repaired[0]["reason"].as_str().is_some_and(|reason| reason.contains("was changed")),
        "{repaired}"
    );
    assert_eq!(machine.json(&["run", "packed.it"])["result"], run["result"]);
    assert_eq!(machine.json(&["env", "repair"])[0]["outcome"], "healthy");
}
