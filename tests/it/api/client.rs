//! The command line, over the network.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Api, pack};
use crate::support::cli::{Machine, Output, skip, wait_for};
use crate::support::fixture::{Pack, TOOL, tool};

const CERTIFICATE: &str = include_str!("tls/certificate.pem");
const KEY: &str = include_str!("tls/key.pem");

/// A machine of somebody who has nothing of Attune's but the program.
fn desk() -> Machine {
    let machine = Machine::fresh();
    let config = machine.make("config");
    machine.and("XDG_CONFIG_HOME", config)
}

pub(super) fn url(api: &Api) -> String {
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
    for arguments in
        [&["doctor"][..], &["worker"], &["env", "prune"], &["plugin", "diff", "a", "b"], &["serve"]]
    {
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
fn a_certificate_of_an_authority_of_ones_own_is_trusted_when_it_is_named() {
    let machine = Machine::new();
    let [certificate, key] =
        [("certificate.pem", CERTIFICATE), ("key.pem", KEY)].map(|(name, text)| machine.write(name, text));
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("text"));
    let api = Api::start_with(&machine, "127.0.0.1:0", &["--tls-cert", certificate, "--tls-key", key]);
    let server = format!("https://{}", api.address);
    let desk = desk();
    let log_in = |more: &[&str]| {
        let token = format!("{}\n", api.token);
        desk.run_reading(&[&["login", &server, "--token-stdin"], more].concat(), token.as_bytes())
    };
    let refused = log_in(&[]);
    assert_eq!(refused.code, 1, "{refused}");
    refused.says(&["can't prove that it is the one that is meant", "--ca FILE"]);
    let refused = log_in(&["--ca", key]);
    assert_eq!(refused.code, 2, "{refused}");
    refused.says(&["can't read certificates from"]);
    let entered = log_in(&["--ca", certificate]);
    assert_eq!(entered.code, 0, "{entered}");
    desk.runs(0, &["pack", "list", "--profile", "default"]).prints(&["core"]);
    desk.runs(0, &["profile", "list"]).prints(&["certificate.pem"]);
}

#[test]
fn a_token_that_is_typed_is_not_shown() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let desk = desk();
    // On a terminal of its own, where `script` copies what is typed and shown.
    let login = desk.command(&["login", &url(&api)]);
    let line = format!("{} login {}", login.get_program().to_string_lossy(), url(&api));
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-c", &line, "/dev/null"]).env_clear();
    terminal.envs(login.get_envs().filter_map(|(name, value)| Some((name, value?))));
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = terminal.spawn() else { return skip("there is no `script`") };
    let (mut typed, mut shown) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"(it is not shown): ") {
        assert_eq!(shown.read(&mut byte).expect("text"), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    typed.write_all(format!("{}\n", api.token).as_bytes()).expect("typed");
    shown.read_to_end(&mut text).expect("the rest");
    let text = String::from_utf8_lossy(&text);
    assert!(child.wait().expect("its end").success(), "{text}");
    assert!(text.contains("logged in to") && !text.contains(&api.token), "{text}");
    desk.runs(0, &["pack", "list", "--profile", "default"]).prints(&["core"]);
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

#[test]
fn what_runs_there_looks_as_if_it_ran_here() {
    let machine = Machine::new();
    pack(&machine);
    Pack::new("ends")
        .shell("well", "output_format: json\n", "echo '{\"a\": 1}'; echo heard >&2")
        .shell("badly", "", "echo out; echo err >&2; exit 7")
        .shell("late", "timeout: 1\n", "sleep 60")
        .shell("picky", "runtime_version: \">=99\"\n", "true")
        .install(&machine);
    let api = Api::start(&machine);
    let server = url(&api);
    let runs = |code: i32, arguments: &[&str]| {
        machine.runs(code, &[&["run"], arguments, &["--server", &server]].concat())
    };
    let well = runs(0, &["ends.well"]);
    assert_eq!(well.stdout, "{\"a\": 1}\n");
    well.says(&["heard", "ends.well succeeded", "ran by", "took"]);
    let shown = runs(0, &["ends.well", "--json"]).json();
    assert_eq!((&shown["result"]["a"], &shown["status"]), (&1.into(), &"succeeded".into()), "{shown}");
    let badly = runs(7, &["ends.badly"]);
    assert_eq!(badly.stdout, "out\n");
    badly.says(&["err", "ends.badly failed"]);
    runs(124, &["ends.late"]).says(&["timed_out"]);
    let id = machine.last()["id"].as_str().expect("an id").to_owned();
    machine.runs(124, &["execution", "watch", &id, "--server", &server]);
    runs(4, &["ends.missing"]);
    runs(2, &["ends.well", "--secrets", "x"]).says(&["--secrets"]);

    // Why it waits is said; an interruption ends it there, and so does one while it runs.
    for (action, status) in [("ends.picky", "queued"), ("served.slow", "running")] {
        let told = machine.at(action);
        let file = File::create(&told).expect("a file");
        let mut child =
            machine.command(&["run", action, "--server", &server]).stderr(file).spawn().expect("it starts");
        let id = wait_for("an execution", || {
            let last = machine.json(&["execution", "list", "-n", "1", "--action", action]);
            last[0]["id"].as_str().map(str::to_owned)
        });
        api.becomes(&id, status);
        if status == "queued" {
            wait_for("a reason", || {
                fs::read_to_string(&told).expect("text").contains("waiting").then_some(())
            });
        }
        assert_eq!(end(&mut child, Signal::INT), Some(130));
        api.becomes(&id, "cancelled");
    }
}

fn end(child: &mut Child, signal: Signal) -> Option<i32> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it runs");
    child.wait().expect("it ends").code()
}

#[test]
fn a_server_that_is_killed_and_comes_back_costs_no_line() {
    let machine = Machine::new();
    let script = "n=0; while [ $n -lt 40 ]; do n=$((n + 1)); echo \"é $n\"; echo \"x $n\" >&2; sleep 0.1; done; exit 3";
    Pack::new("long").shell("count", "", script).install(&machine);
    let there = machine.other("there");
    let _worker = Api::start(&there);
    let mut api = Api::start_with(&machine, "127.0.0.1:0", &[]);
    let [out, told] = ["out", "told"].map(|name| machine.at(name));
    let mut child = machine
        .command(&["run", "long.count", "--server", &url(&api)])
        .stdout(File::create(&out).expect("a file"))
        .stderr(File::create(&told).expect("a file"))
        .spawn()
        .expect("it starts");
    let reads = |path, text: &str| fs::read_to_string(path).expect("text").contains(text).then_some(());
    wait_for("a few lines", || reads(&out, "é 5\n"));
    let address = api.address.clone();
    end(&mut api.child, Signal::KILL);
    wait_for("the loss to be noticed", || reads(&told, "for the server to be back"));
    let _api = Api::start_with(&machine, &address, &[]);
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
    let expected = |mark: &str| (1..=40).map(|n| format!("{mark} {n}\n")).collect::<Vec<_>>().concat();
    assert_eq!(fs::read_to_string(&out).expect("text"), expected("é"));
    let told = fs::read_to_string(&told).expect("text");
    let printed = told.lines().filter(|line| line.starts_with("x ")).map(|line| format!("{line}\n"));
    assert_eq!(printed.collect::<String>(), expected("x"), "{told}");
    assert!(told.contains("long.count failed"), "{told}");
}

#[test]
fn packs_are_sent_checked_and_removed() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let api = Api::start(&machine);
    let desk = desk();
    assert_eq!(log_in(&desk, &api, &api.token, &[]).code, 0);
    let does =
        |code: i32, arguments: &[&str]| desk.runs(code, &[arguments, &["--profile", "default"]].concat());
    let good = Pack::new("tools")
        .file("runtimes/tool.yaml", TOOL)
        .file(".attuneignore", "secret.txt\n")
        .file("secret.txt", "not for others")
        .action("say.sh", "runtime: tool\nruntime_version: \">=3.12\"", "echo \"said by $SERIES\"");
    let folder = good.write(&desk.make("packs"));
    let folder = folder.to_str().expect("text");

    // What can't be sent is not left out.
    std::os::unix::fs::symlink("say.sh", good.write(&desk.make("linked")).join("actions/link.sh"))
        .expect("a link");
    let linked = desk.at("linked/tools");
    for verb in ["validate", "install"] {
        does(2, &["pack", verb, linked.to_str().expect("text")]).says(&["actions/link.sh", "is a link"]);
    }
    does(4, &["pack", "show", "tools"]);

    does(0, &["pack", "validate", folder]).prints(&["tools 1.0.0 is a valid pack"]);
    does(6, &["pack", "install", folder]).says(&["tools.tool asks to", "--approve"]);
    does(0, &["pack", "install", folder, "--approve", "--dry-run"])
        .prints(&["nothing was done", "would install tools"]);
    does(4, &["pack", "show", "tools"]);
    does(0, &["pack", "install", folder, "--approve"])
        .prints(&["installed tools 1.0.0", "actions: tools.say"]);
    does(0, &["pack", "show", "tools"]).prints(&["tools.say", "tools.tool", ">=3.12"]);
    does(0, &["resolve", "tools.say"]).prints(&["*", "3.12.1"]);
    does(3, &["resolve", "tools.say", "-c", ">=4"]).says(&["nothing"]);
    does(4, &["resolve", "tools.missing"]);
    does(2, &["resolve", "tools.say", "-c", ">=x"]);
    let ran = does(0, &["run", "tools.say"]);
    assert!(ran.stdout.starts_with("said by"), "{ran}");
    does(0, &["env", "list"]);
    does(0, &["pack", "remove", "tools"]);
    does(4, &["pack", "remove", "tools"]);

    let bad = Pack::new("tools").action("say.sh", "runtime: tool\nruntime_version: \">=é x\"", "true");
    bad.write(&desk.make("packs"));
    for verb in ["validate", "install"] {
        let refused = does(2, &["pack", verb, folder]);
        refused.says(&["actions/say.yaml:4:", "the pack has"]);
        let listed = does(2, &["pack", verb, folder, "--json"]).json();
        assert_eq!(
            (&listed["valid"], &listed["problems"][1]["line"]),
            (&false.into(), &4.into()),
            "{listed}"
        );
    }
    does(4, &["pack", "install", "missing"]);
}

/// Runs the program on a terminal of its own with so many columns; what was drawn, and its exit code.
fn on_terminal(machine: &Machine, columns: u16, arguments: &[&str]) -> Output {
    let quoted = arguments.iter().map(|argument| format!("'{argument}'")).collect::<Vec<_>>().join(" ");
    let program = env!("CARGO_BIN_EXE_attune");
    let text = format!("stty cols {columns} rows 12; exec {program} {quoted}");
    // Its variables, without the program.
    let template = machine.command(&[]);
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &text, "/dev/null"]).env_clear();
    for (name, value) in template.get_envs() {
        command.env(name, value.expect("a value"));
    }
    command.env("SHELL", "/bin/sh").env("TERM", "xterm").stdin(Stdio::null());
    Output::new(&command.output().expect("it starts"))
}

#[test]
fn what_is_watched_is_drawn_in_its_place_and_fits() {
    if Command::new("script").arg("--version").output().is_err() {
        return skip("there is no `script`, which makes terminals");
    }
    let machine = Machine::new();
    Pack::new("brief").shell("nap", "", "sleep 2").install(&machine);
    let api = Api::start(&machine);
    let server = url(&api);
    let enqueue = || machine.runs(0, &["execution", "enqueue", "brief.nap"]).stdout.trim_end().to_owned();
    let mut last = String::new();
    for more in [&["--server", server.as_str()][..], &[]] {
        last = enqueue();
        let watched = on_terminal(&machine, 100, &[&["execution", "show", &last, "--watch"], more].concat());
        assert_eq!(watched.code, 0, "{watched}");
        let drawn = watched.stdout.matches("\x1b[H").count();
        assert!(drawn >= 2, "{drawn} times: {watched}");
        let (before, after) = watched.stdout.split_once("\x1b[?1049l").expect("it goes back");
        assert!(before.contains("\x1b[?1049h"), "{watched}");
        assert!(after.contains("succeeded") && after.contains(&last), "the last of it stays: {watched}");
        machine.runs(2, &[&["execution", "list", "--watch"], more].concat()).says(&["draws on a terminal"]);
        machine.runs(2, &[&["worker", "list", "--watch"], more].concat()).says(&["draws on a terminal"]);
    }

    for columns in [80, 100, 200] {
        let listed = on_terminal(&machine, columns, &["execution", "list", "--color", "never"]);
        assert_eq!(listed.code, 0, "{listed}");
        let text = &listed.stdout;
        let widest = text.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(widest <= Some(columns.into()), "{widest:?} of {columns}: {text}");
        assert!(text.contains(&last), "what is copied stays in one piece: {text}");
    }
    let wide = machine.runs(0, &["execution", "list"]).stdout;
    assert_eq!(wide.lines().count(), 3, "never wrapped where nobody looks: {wide}");
}
