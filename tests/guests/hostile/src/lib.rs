//! Does what no component should. Which of it, the setting `do` says; the setting `with` is what to do it
//! with. What came of it is reported as a candidate that failed with a message.
//!
//! Only for WebAssembly: an exported function can't be linked into a native library.
#![cfg(target_family = "wasm")]

mod bindings {
    #![allow(
        clippy::pedantic,
        unreachable_pub,
        reason = "generated code follows the generator's conventions"
    )]
    wit_bindgen::generate!({ path: "../../../wit", world: "runtime" });
    use super::Hostile;
    export!(Hostile with_types_in self);
}

use std::fmt::Debug;
use std::hint::black_box;
use std::io::Write;

use bindings::attune::runtime::tools::{self, Executable, Invocation};
use bindings::attune::runtime::types::{Failure, FailureClass, Installation, Version};
use bindings::attune::runtime::{files, log, patterns};
use bindings::exports::attune::runtime::detection::{Alias, Candidate, DeclaredVersion, Request};
use bindings::exports::attune::runtime::environment::{
    Action, BuildPlan, CheckRequest, Command, FileStep, LaunchRequest, LinkStep, PlanRequest, Program,
    RunStep, Step,
};
use bindings::exports::attune::runtime::verification::{Check, Outcome, Request as VerifyRequest, Verdict};
use bindings::exports::attune::runtime::{detection, environment, verification};

struct Hostile;

/// The value of a setting; empty if there is none.
fn setting<'a>(settings: &'a [(String, String)], name: &str) -> &'a str {
    settings.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { class: FailureClass::Other("report".to_owned()), message: message.into() }
}

fn report(what: impl Debug) -> Vec<Candidate> {
    vec![Candidate { path: "/report".to_owned(), outcome: Err(failure(format!("{what:?}"))) }]
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

fn allocate() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// With next to nothing in the component's own memory, so that it is the host's stack that runs out.
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { recurse(black_box(depth) + 1).wrapping_mul(3) ^ depth }
}

fn installation(path: &str, semver: &str) -> Candidate {
    let version = Version { semver: semver.to_owned(), native: semver.to_owned(), variant: None };
    let installation = Installation {
        path: path.to_owned(),
        version,
        source: String::new(),
        aliases: Vec::new(),
        attributes: Vec::new(),
    };
    Candidate { path: "/found".to_owned(), outcome: Ok(installation) }
}

fn invocation(script: &str) -> Invocation {
    Invocation {
        arguments: vec!["-c".to_owned(), script.to_owned()],
        variables: Vec::new(),
        stdin: Vec::new(),
        timeout: None,
        memoize: false,
        extra: Vec::new(),
    }
}

/// Runs a script by the shell that is to be found in the granted folders.
fn run(invocation: &Invocation) -> Vec<Candidate> {
    let Some(shell) = tools::find(&["sh".to_owned()]).into_iter().find_map(|found| found.outcome.ok()) else {
        return report("no shell");
    };
    match shell.run(invocation) {
        Ok(done) => report((
            done.status,
            done.stdout.len(),
            done.truncated,
            String::from_utf8_lossy(&done.stdout[..done.stdout.len().min(1000)]),
        )),
        Err(failure) => report(failure),
    }
}

/// What WASI gives away: a program has asked for all of it by the time it says no.
fn look_around() -> Vec<Candidate> {
    let mut input = String::new();
    report((
        std::env::vars().count(),
        std::env::args().count(),
        std::fs::read_dir("/").is_ok(),
        std::fs::read("/etc/passwd").is_ok(),
        std::fs::write("/tmp/smuggled", "x").is_ok(),
        std::net::TcpStream::connect("127.0.0.1:80").is_ok(),
        std::net::UdpSocket::bind("127.0.0.1:0").is_ok(),
        std::io::stdin().read_line(&mut input).unwrap_or_default(),
    ))
}

impl detection::Guest for Hostile {
    fn detect(request: Request) -> Result<Vec<Candidate>, Failure> {
        let with = setting(&request.settings, "with");
        let set = |name: &str| Invocation {
            variables: vec![(name.to_owned(), "/tmp".to_owned())],
            ..invocation("true")
        };
        Ok(match setting(&request.settings, "do") {
            "loop" => spin(),
            "allocate" => allocate(),
            "recurse" => report(recurse(0)),
            "panic" => panic!("the guest gives up"),
            "exit" => std::process::exit(7),
            "refuse" => return Err(failure("it would rather not")),
            "relative-path" => vec![installation("bin/x", "1.2.3")],
            "bad-version" => vec![installation("/x", "three")],
            "twice" => vec![installation("/x", "1.2.3"), installation("/x", "1.2.3")],
            "look-around" => look_around(),
            "variables" => report(&request.variables),
            "open" => report(tools::open(with).map(|program| program.path())),
            "fail-to-verify" => {
                let found = tools::find(&["tool".to_owned()]);
                found.into_iter().map(|found| installation(&found.path, "1.2.3")).collect()
            }
            "find" => {
                let found = tools::find(&[with.to_owned()]);
                report(found.iter().map(|found| &found.path).collect::<Vec<_>>())
            }
            "hoard" => {
                let mut held: Vec<Executable> = Vec::new();
                loop {
                    held.extend(
                        tools::find(&["*".to_owned()]).into_iter().filter_map(|one| one.outcome.ok()),
                    );
                }
            }
            "run" => run(&invocation(with)),
            "run-briefly" => run(&Invocation { timeout: Some(200), ..invocation(with) }),
            "run-on-and-on" => loop {
                run(&invocation("sleep 600"));
            },
            "set-variable" => run(&set(with)),
            "zero-byte" => run(&invocation("true\0")),
            "read" => report(files::read(with, u32::MAX).map(|bytes| bytes.len())),
            "list" => report(files::list(with).map(|entries| entries.len())),
            "stat" => report(files::stat(with).map(|status| status.size)),
            "read-link" => report(files::read_link(with)),
            "canonicalize" => report(files::canonicalize(with)),
            "match" => report(patterns::captures(with, "text")),
            "talk" => {
                for number in 0..100_000 {
                    log::write(log::Level::Info, &format!("message {number}"), &[]);
                }
                report("talked")
            }
            "print" => {
                for _ in 0..1000 {
                    // What becomes of it is the host's business.
                    let _ = std::io::stderr().write_all(&[b'x'; 10_000]);
                }
                panic!("after much talk")
            }
            _ => report("idle"),
        })
    }

    /// Nonsense, unless there are versions to be asked about.
    fn aliases(versions: Vec<DeclaredVersion>) -> Vec<Alias> {
        let nonsense = Alias { name: String::new(), constraint: "1".to_owned() };
        versions.is_empty().then_some(nonsense).into_iter().collect()
    }
}

impl verification::Guest for Hostile {
    fn verify(request: VerifyRequest, _: &Executable) -> Result<Verdict, Failure> {
        let outcome = match setting(&request.settings, "do") {
            "fail-to-verify" => panic!("the guest gives up"),
            "unknown-outcome" => Outcome::Other("fine".to_owned()),
            _ => Outcome::Passed,
        };
        let check = Check { name: "x".to_owned(), outcome, detail: String::new() };
        Ok(Verdict { version: request.installation.version, checks: vec![check], attributes: Vec::new() })
    }
}

fn environment_step(action: &str, with: &str) -> Action {
    let with = with.to_owned();
    match action {
        "make-dir" | "many-steps" => Action::MakeDir(with),
        "write-file" => Action::WriteFile(FileStep { path: with, contents: Vec::new(), executable: true }),
        "link" => Action::Link(LinkStep { path: "bin/x".to_owned(), target: with }),
        _ => Action::Run(RunStep {
            program: Program::Tool(with),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: String::new(),
            network: false,
            timeout: None,
            extra: Vec::new(),
        }),
    }
}

impl environment::Guest for Hostile {
    fn plan(request: PlanRequest) -> Result<BuildPlan, Failure> {
        let settings = &request.config.settings;
        let action = environment_step(setting(settings, "do"), setting(settings, "with"));
        let count = if setting(settings, "do") == "many-steps" { 10_000 } else { 1 };
        let steps = vec![Step { title: "a step".to_owned(), action }; count];
        Ok(BuildPlan { steps, stage: None, inputs: Vec::new(), extra: Vec::new() })
    }

    fn check(_: CheckRequest) -> Result<(), Failure> {
        Err(failure("it never works"))
    }

    fn launch(request: LaunchRequest) -> Result<Command, Failure> {
        Ok(Command {
            program: Program::Tool(setting(&request.config.settings, "with").to_owned()),
            arguments: Vec::new(),
            variables: Vec::new(),
            extra: Vec::new(),
        })
    }
}
