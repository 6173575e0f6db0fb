//! The command line, over the network.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::{Api, pack};
use crate::support::cli::{Machine, Output};

/// A machine of somebody who has nothing of Attune's but the program.
fn desk() -> Machine {
    let machine = Machine::fresh();
    let config = machine.make("config");
    machine.and("XDG_CONFIG_HOME", config)
}

fn url(api: &Api) -> String {
    format!("http://{}", api.address)
}

fn log_in(desk: &Machine, api: &Api, token: &str, more: &[&str]) -> Output {
    desk.run_reading(
        &[&["login", &url(api), "--token-stdin"], more].concat(),
        format!("{token}\n").as_bytes(),
    )
}

#[test]
fn whoever_logs_in_is_known_until_he_logs_out() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let desk = desk();
    let profiles = desk.at("config/attune/profiles.toml");

    // What does not work is not kept.
    let refused = log_in(&desk, &api, &format!("attune_{}", "0".repeat(64)), &[]);
    assert_eq!(refused.code, 1, "{refused}");
    refused.says(&["the token is not known", "attune token create"]);
    let refused = log_in(&desk, &api, "attune_1", &[]);
    assert_eq!(refused.code, 2, "{refused}");
    assert!(!profiles.exists());
    desk.runs(2, &["login", &url(&api)]).says(&["--token-stdin"]);
    desk.runs(2, &["login", "localhost:1"]).says(&["is no address of a server"]);
    desk.runs(2, &["login", "http://example.org", "--token-stdin"])
        .says(&["can be read on the way", "--plain-http"]);

    let entered = log_in(&desk, &api, &api.token, &["--profile", "work"]);
    assert_eq!(entered.code, 0, "{entered}");
    let mode = fs::metadata(&profiles).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read it");
    let listed = desk.runs(0, &["profile", "list"]).stdout;
    assert!(
        listed.contains("work") && listed.contains(&url(&api)) && !listed.contains(&api.token),
        "{listed}"
    );

    // By name, by address, by variables; and the command is done there.
    for arguments in [&["--profile", "work"][..], &["--server", &url(&api)]] {
        desk.runs(0, &[&["pack", "list"], arguments].concat()).prints(&["core"]);
    }
    assert!(!desk.at("data").exists(), "nothing is made here");
    let named = |name: &str, value: &str, arguments: &[&str]| {
        Output::new(&desk.command(arguments).env(name, value).output().expect("it starts"))
    };
    named("ATTUNE_PROFILE", "work", &["pack", "list"]).prints(&["core"]);
    named("ATTUNE_SERVER", &url(&api), &["pack", "list"]).prints(&["core"]);
    let both =
        named("ATTUNE_TOKEN", &format!("attune_{}", "0".repeat(64)), &["pack", "list", "--profile", "work"]);
    assert_eq!(both.code, 1, "the variable wins: {both}");
    desk.runs(4, &["pack", "list", "--profile", "home"]).says(&["no profile `home`", "attune profile list"]);

    // What can't be asked of a server is not done here instead.
    for arguments in [&["doctor"][..], &["worker"], &["env", "prune"], &["runtime", "detect"], &["serve"]] {
        desk.runs(2, &[arguments, &["--profile", "work"]].concat()).says(&["`--server`"]);
    }
    assert!(!desk.at("data").exists(), "nothing is made here");

    fs::set_permissions(&profiles, fs::Permissions::from_mode(0o644)).expect("a mode");
    desk.runs(2, &["pack", "list", "--profile", "work"]).says(&["others may read", "chmod 600"]);
    fs::set_permissions(&profiles, fs::Permissions::from_mode(0o600)).expect("a mode");
    desk.runs(0, &["logout", "--profile", "work"]);
    desk.runs(4, &["logout", "--profile", "work"]);
    desk.runs(2, &["pack", "list", "--server", &url(&api)]).says(&["there is no token", "attune login"]);

    // On the machine itself, nobody has to log in.
    machine.runs(0, &["pack", "list", "--server", &url(&api)]).prints(&["core"]);
    machine.runs(0, &["token", "create", "looks", "--server", &url(&api)]);
    machine.runs(0, &["token", "list", "--server", &url(&api)]).prints(&["looks", "viewer"]);
    machine.runs(0, &["token", "revoke", "looks", "--server", &url(&api)]);
    machine.runs(4, &["token", "revoke", "nobody", "--server", &url(&api)]);
}

#[test]
fn who_is_not_there_or_is_somebody_else_is_said() {
    let desk = desk().and("ATTUNE_TOKEN", format!("attune_{}", "0".repeat(64)));
    // A port that nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asks = |scheme: &str| desk.run(&["pack", "list", "--server", &format!("{scheme}://{address}")]);
    let answers = |answer: &'static str| {
        let listener = listener.try_clone().expect("a listener");
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().expect("a connection");
            let read = stream.read(&mut [0; 4096]).expect("a request");
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).expect("an answer");
        })
    };
    for (answer, words) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
            "does not answer as an Attune does",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "sends whoever asks to `http://example.org/`",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "can't reach"),
    ] {
        let answering = answers(answer);
        let output = asks("http");
        assert_eq!(output.code, 1, "{output}");
        output.says(&[words]);
        answering.join().expect("it answered");
    }
    drop(listener);
    let output = asks("http");
    assert_eq!(output.code, 1, "{output}");
    output.says(&["can't reach", "refused", "attune serve"]);
}

#[test]
fn what_is_there_is_shown_as_it_is_here() {
    let machine = Machine::new();
    pack(&machine);
    let api = Api::start(&machine);
    let server = url(&api);
    let both = |arguments: &[&str]| {
        let there = machine.runs(0, &[arguments, &["--server", &server]].concat()).stdout;
        (machine.runs(0, arguments).stdout, there)
    };
    let id =
        machine.runs(0, &["execution", "enqueue", "served.say", "-p", "word=7", "--server", &server]).stdout;
    let id = id.trim_end();
    api.becomes(id, "succeeded");
    for arguments in [
        &["pack", "list"][..],
        &["pack", "list", "--json"],
        &["execution", "list"],
        &["execution", "show", id],
        &["execution", "show", id, "--json"],
        &["execution", "show", "last"],
        &["execution", "show", &id[..13]],
        &["execution", "logs", id],
        &["execution", "logs", id, "--json"],
        &["token", "list"],
        &["token", "list", "--json"],
    ] {
        let (here, there) = both(arguments);
        // Spans are not told of.
        let plain = |text: &str| {
            let lines = text.lines().filter(|line| !line.contains("trace"));
            lines.map(|line| line.trim_end_matches(',')).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(plain(&here), plain(&there), "{arguments:?}");
    }
    for (arguments, words) in [
        (&["runtime", "list"][..], "core.shell"),
        (&["runtime", "show", "core.shell"], "available"),
        (&["worker", "list"], "active"),
        (&["pack", "show", "served"], "served.slow"),
    ] {
        let (here, there) = both(arguments);
        assert!(here.contains(words) && there.contains(words), "{here}\n{there}");
    }
    let asks =
        |code: i32, arguments: &[&str]| machine.runs(code, &[arguments, &["--server", &server]].concat());
    asks(4, &["execution", "enqueue", "served.missing"]).says(&["there is no action `served.missing`"]);
    asks(2, &["execution", "enqueue", "served.say", "-p", "words"]);
    asks(2, &["execution", "enqueue", "served.say"]).says(&["word"]);
    asks(2, &["execution", "enqueue", "served.say", "-c", ">=x"]);
    asks(4, &["execution", "show", "0197"]);
    asks(4, &["runtime", "show", "core.missing"]);
    asks(2, &["execution", "cancel", id]).says(&["it has ended before"]);
    asks(0, &["execution", "retry", id]);
    api.becomes(id, "succeeded");
    let slow = asks(0, &["execution", "enqueue", "served.slow"]).stdout;
    api.becomes(slow.trim_end(), "running");
    asks(0, &["execution", "cancel", slow.trim_end()]).prints(&["is asked to end it"]);
    api.becomes(slow.trim_end(), "cancelled");
}
