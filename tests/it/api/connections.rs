//! Connections: encrypted or not, and of callers who take their time or ask too much.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value as Json, json};

use super::streams::Events;
use super::{ANSWERED_IN, Api};
use crate::support::cli::Machine;

const CERTIFICATE: &str = include_str!("tls/certificate.pem");
const KEY: &str = include_str!("tls/key.pem");
const OTHER_KEY: &str = include_str!("tls/other.pem");

#[test]
fn with_a_certificate_it_is_encrypted_and_who_is_silent_keeps_nobody_waiting() {
    let machine = Machine::new();
    let certificate = machine.write("certificate.pem", CERTIFICATE);
    let key = machine.write("key.pem", KEY);
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("text"));
    // Beyond loopback, since it is encrypted.
    let api = Api::start_with(&machine, "0.0.0.0:0", &["--tls-cert", certificate, "--tls-key", key]);
    assert!(api.url.starts_with("https://0.0.0.0:"), "{}", api.url);
    let address = api.address.replace("0.0.0.0", "127.0.0.1");
    let begun = Instant::now();
    let mut silent = TcpStream::connect(&address).expect("it listens");

    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate"))
        .expect("one to trust");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connect = || {
        let name = "127.0.0.1".try_into().expect("a name");
        let connection = ClientConnection::new(Arc::new(config.clone()), name).expect("a connection");
        StreamOwned::new(connection, TcpStream::connect(&address).expect("it listens"))
    };
    let mut stream = connect();
    let bearer = format!("Authorization: Bearer {}", api.token);
    write!(stream, "GET /api/v1/packs HTTP/1.1\r\nHost: {address}\r\n{bearer}\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // Headers that never end, and a connection that never begins.
    let mut slow = connect();
    write!(slow, "GET / HTTP/1.1\r\nHost: {address}\r\n").expect("sent");
    slow.flush().expect("sent");
    silent.set_read_timeout(Some(ANSWERED_IN)).expect("a limit");
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or_default(), 0, "it is closed");
    slow.sock.set_read_timeout(Some(ANSWERED_IN)).expect("a limit");
    let mut text = Vec::new();
    let _ = slow.read_to_end(&mut text);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    let mut plain = TcpStream::connect(&address).expect("it listens");
    // It need not take all of it.
    let _ = write!(plain, "GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut text = Vec::new();
    let _ = plain.read_to_end(&mut text);
    assert!(!text.starts_with(b"HTTP/"), "it says nothing that is not encrypted");
}

#[test]
fn a_certificate_that_can_not_be_used_is_said_with_the_file() {
    let machine = Machine::new();
    let files = [
        ("certificate.pem", CERTIFICATE),
        ("key.pem", KEY),
        ("other.pem", OTHER_KEY),
        ("damaged.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
    ];
    for (name, text) in files {
        machine.write(name, text);
    }
    for (certificate, key, said) in [
        ("none.pem", "key.pem", ["can't read", "none.pem", "No such file"]),
        ("key.pem", "key.pem", ["no certificate in", "key.pem", "has to be PEM"]),
        ("certificate.pem", "certificate.pem", ["no private key in", "certificate.pem", "openssl pkey"]),
        ("damaged.pem", "key.pem", ["can't be read as PEM", "damaged.pem", "write it again"]),
        ("certificate.pem", "other.pem", ["can't be used together", "other.pem", "was made for"]),
    ] {
        let output = machine.run(&["serve", "--tls-cert", certificate, "--tls-key", key]);
        assert_eq!(output.code, 2, "{output}");
        output.says(&said);
    }
    assert_eq!(machine.run(&["serve", "--tls-cert", "certificate.pem"]).code, 2, "and no key");
}

#[test]
fn headers_are_few_and_short() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let many = (0..80).map(|number| format!("X-{number}")).collect::<Vec<_>>();
    let many = many.iter().map(|name| (name.as_str(), "x")).collect::<Vec<_>>();
    assert_eq!(api.send("GET", "/api/v1/packs", &many, "").status, 431);
    // It need not read all of that, so not all may be sent, nor the answer arrive.
    let mut stream = TcpStream::connect(&api.address).expect("it listens");
    let _ = write!(stream, "GET /api/v1/packs HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(60_000));
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    assert!(text.is_empty() || text.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&text));
    api.get("/packs").is(200);
}

#[test]
fn who_finds_no_room_waits_until_one_has_gone() {
    let machine = Machine::new();
    let serve = machine.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    let mut few = Command::new("/bin/sh");
    few.args(["-c", r#"ulimit -n 128 && exec "$@""#, "sh"]).arg(serve.get_program()).args(serve.get_args());
    few.env_clear().envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let api = Api::started(&machine, few);
    // Half of so few files may be connections, and these stay.
    let mut all = (0..64).map(|_| Events::open(&api, "/executions/stream", None)).collect::<Vec<_>>();
    let mut next = TcpStream::connect(&api.address).expect("it listens");
    let bearer = format!("Authorization: Bearer {}", api.token);
    write!(next, "GET /api/v1/packs HTTP/1.1\r\nHost: {}\r\n{bearer}\r\n\r\n", api.address).expect("sent");
    next.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
    let error = next.read(&mut [0; 1]).expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "it is not refused");
    all.pop();
    next.set_read_timeout(Some(ANSWERED_IN)).expect("a limit");
    let mut begin = [0; 12];
    next.read_exact(&mut begin).expect("an answer");
    assert_eq!(&begin, b"HTTP/1.1 200");
}

#[test]
fn who_asks_too_often_is_told_when_to_ask_again() {
    let machine = Machine::new().and("ATTUNE_API_RATE_LIMIT", "2");
    let api = Api::start(&machine);
    let created = api.post("/tokens", &json!({ "name": "busy", "role": "operator" })).is(201).json();
    let busy = created["token"].as_str().expect("a token");
    let ask = || api.ask(busy, "GET", "/packs", &[], &Json::Null);
    let refused = (0..30).map(|_| ask()).find(|answer| answer.status != 200).expect("too many");
    refused.problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for _ in 0..30 {
        // Of the data folder: whoever may read that can keep it busy anyhow.
        api.get("/packs").is(200);
    }
    std::thread::sleep(Duration::from_secs(1));
    ask().is(200);
    let output = machine.run(&["serve", "--set", "api_rate_limit=0"]);
    output.says(&["api_rate_limit", "or `none`"]);
}

#[test]
fn pages_may_ask_only_if_their_origins_were_named() {
    let origin = "https://pages.example.org";
    let machine = Machine::new().and("ATTUNE_API_ORIGINS", format!("{origin},http://localhost:3000"));
    let api = Api::start(&machine);
    let before = |origin: &str| {
        let wanted = ("Access-Control-Request-Method", "PATCH");
        let headers = [("Host", api.address.as_str()), ("Origin", origin), wanted];
        api.send("OPTIONS", "/api/v1/actions/core.echo", &headers, "")
    };
    let allowed = before(origin);
    allowed.is(200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
    assert!(allowed.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PATCH")));
    let headers = allowed.header("access-control-allow-headers").expect("headers").to_lowercase();
    assert!(headers.contains("authorization") && headers.contains("if-match"), "{headers}");
    assert_eq!(before("https://example.org").header("access-control-allow-origin"), None);
    let ask = |origin: &str| api.ask(&api.token, "GET", "/packs", &[("Origin", origin)], &Json::Null);
    let answer = ask(origin);
    assert_eq!(answer.is(200).header("access-control-allow-origin"), Some(origin));
    assert!(answer.header("vary").is_some_and(|vary| vary.to_lowercase().contains("origin")));
    ask("https://example.org").problem(403, "forbidden");
    for wrong in ["*", "example.org", "https://example.org/", "https://Example.org"] {
        let output = machine.run(&["serve", "--set", &format!("api_origins={wrong}")]);
        output.says(&["api_origins", "write origins such as"]);
    }
}
