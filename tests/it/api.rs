//! The API, asked over HTTP as anybody would.

mod access;
mod changes;
mod client;
mod connections;
mod description;
mod executions;
mod fleet;
mod lists;
mod packs;
mod remote;
mod requests;
mod streams;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value as Json;

use crate::support::cli::Machine;
use crate::support::fixture::Pack;

/// How long an answer may take.
const ANSWERED_IN: Duration = Duration::from_secs(30);

/// How long an execution may take to come to where it is expected.
const BECOMES_IN: Duration = Duration::from_mins(1);

/// A server of the API, and a token for it.
struct Api {
    child: Child,
    address: String,
    url: String,
    token: String,
}

/// What a server says to a request.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    /// A header's value.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The problem of a kind.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) -> Json {
        self.is(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:attune:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }
}

impl Api {
    fn start(machine: &Machine) -> Self {
        Self::start_with(machine, "127.0.0.1:0", &["--worker"])
    }

    fn start_with(machine: &Machine, listen: &str, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", listen, "--json"], more].concat();
        Self::started(machine, machine.command(&arguments))
    }

    /// By a command that ends in `serve`, with `--json`.
    fn started(machine: &Machine, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let event: Json = serde_json::from_str(&line).expect("an event");
        let address = event["address"].as_str().expect("an address").to_owned();
        let url = event["url"].as_str().expect("a URL").to_owned();
        let token =
            fs::read_to_string(machine.at("data/admin.token")).expect("a token").trim_end().to_owned();
        Self { child, address, url, token }
    }

    /// Asks with headers of its own alone.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send_bytes(method, path, headers, body.as_bytes())
    }

    fn send_bytes(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(ANSWERED_IN)).expect("a limit");
        let headers =
            headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect::<String>();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        // What is refused by its length is not read to its end.
        let _ = stream.write_all(body);
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Asks with a token, and more headers.
    fn ask(&self, token: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &Json) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("Host", self.address.as_str()), ("Authorization", &bearer)];
        all.extend(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            all.push(("Content-Type", "application/json"));
        }
        self.send(method, &format!("/api/v1{path}"), &all, &body)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&self.token, "GET", path, &[], &Json::Null)
    }

    fn post(&self, path: &str, body: &Json) -> Answer {
        self.ask(&self.token, "POST", path, &[], body)
    }

    /// Changes something, whatever state it is in.
    fn patch(&self, path: &str, body: &Json) -> Answer {
        self.ask(&self.token, "PATCH", path, &[("If-Match", "*")], body)
    }

    /// Sends an archive.
    fn upload(&self, token: &str, path: &str, archive: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("Host", self.address.as_str()), ("Authorization", bearer.as_str())];
        self.send_bytes("POST", &format!("/api/v1{path}"), &headers, archive)
    }

    /// Waits for an execution to come to a state.
    #[track_caller]
    fn becomes(&self, id: &str, status: &str) -> Json {
        let began = Instant::now();
        loop {
            let shown = self.get(&format!("/executions/{id}")).json();
            if shown["status"] == status {
                return shown;
            }
            let may_become = shown["finished_at"].is_null() && began.elapsed() < BECOMES_IN;
            assert!(may_become, "it never was {status}: {shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn pack(machine: &Machine) {
    Pack::new("served")
        .shell(
            "say",
            "parameters: { type: object, properties: { word: { type: string } }, required: [word] }\n",
            "echo \"said $1\"",
        )
        .shell("slow", "", "sleep 60")
        .install(machine);
}
