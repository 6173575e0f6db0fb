//! Uses everything that the contract offers, as it is meant to be used: finds tools named `tool-*`, believes
//! what they print by the YAML's pattern, and plans an environment around them.
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
    use super::Obliging;
    export!(Obliging with_types_in self);
}

use bindings::attune::runtime::tools::{self, Completion, Executable, ExitStatus, Format, Invocation};
use bindings::attune::runtime::types::{Failure, FailureClass, Installation, Version};
use bindings::attune::runtime::{files, log, patterns};
use bindings::exports::attune::runtime::detection::{
    Alias, Candidate, Command as Declared, DeclaredVersion, Request,
};
use bindings::exports::attune::runtime::environment::{
    Action, BuildPlan, Change, CheckRequest, Command, FileStep, LaunchRequest, LinkStep, PlanRequest,
    Program, RunStep, Stage, Step,
};
use bindings::exports::attune::runtime::verification::{Check, Outcome, Request as VerifyRequest, Verdict};
use bindings::exports::attune::runtime::{detection, environment, verification};

struct Obliging;

fn failure(class: FailureClass, message: impl Into<String>) -> Failure {
    Failure { class, message: message.into() }
}

fn probe(declared: &Declared, variables: &[(String, String)]) -> Invocation {
    Invocation {
        arguments: declared.arguments.clone(),
        variables: variables.to_vec(),
        stdin: b"from the component".to_vec(),
        timeout: Some(5_000),
        memoize: true,
        extra: Vec::new(),
    }
}

fn version(declared: &Declared, outcome: Result<Completion, Failure>) -> Result<Version, Failure> {
    let done = outcome?;
    match done.status {
        ExitStatus::Exited(code) if code == declared.exit_code => {}
        ExitStatus::Exited(code) => return Err(failure(FailureClass::NonzeroExit(code), "it failed")),
        ExitStatus::Signalled(signal) => {
            return Err(failure(FailureClass::KilledBySignal(signal), "it was killed"));
        }
        ExitStatus::Other(other) => return Err(failure(FailureClass::Other(other), "it ended")),
    }
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let pattern = declared.pattern.as_deref().unwrap_or_default();
    let groups = patterns::captures(pattern, &text)?
        .ok_or_else(|| failure(FailureClass::PatternMismatch, format!("it printed {text}")))?;
    let number = groups.into_iter().nth(1).flatten().unwrap_or_default();
    Ok(Version { semver: number.clone(), native: number, variant: None })
}

fn installation(program: &Executable, version: Version) -> Installation {
    let format = match program.format() {
        Format::Native => "native".to_owned(),
        Format::Script(line) => format!("script {line}"),
        Format::Other(other) => other,
    };
    Installation {
        path: program.path(),
        version,
        source: program.source(),
        aliases: program.names(),
        attributes: vec![("format".to_owned(), format)],
    }
}

impl detection::Guest for Obliging {
    fn detect(request: Request) -> Result<Vec<Candidate>, Failure> {
        let declared = request
            .commands
            .first()
            .ok_or_else(|| failure(FailureClass::InvalidDeclaration, "no command is declared"))?;
        log::write(log::Level::Debug, "looking", &[("binaries".to_owned(), request.binaries.join(","))]);
        let mut candidates = Vec::new();
        let mut programs = Vec::new();
        for found in tools::find(&request.binaries) {
            match found.outcome {
                Ok(program) => programs.push((found.path, program)),
                Err(failure) => candidates.push(Candidate { path: found.path, outcome: Err(failure) }),
            }
        }
        let handles: Vec<&Executable> = programs.iter().map(|(_, program)| program).collect();
        let outcomes = tools::run_all(&handles, &probe(declared, &request.variables));
        for ((path, program), outcome) in programs.iter().zip(outcomes) {
            let outcome = version(declared, outcome).map(|version| installation(program, version));
            candidates.push(Candidate { path: path.clone(), outcome });
        }
        log::write(log::Level::Info, &format!("{} candidates", candidates.len()), &[]);
        Ok(candidates)
    }

    fn aliases(versions: Vec<DeclaredVersion>) -> Vec<Alias> {
        let default = versions.into_iter().find(|version| version.is_default);
        default
            .map(|version| Alias { name: "default".to_owned(), constraint: version.version })
            .into_iter()
            .collect()
    }
}

impl verification::Guest for Obliging {
    fn verify(request: VerifyRequest, program: &Executable) -> Result<Verdict, Failure> {
        let mut checks = Vec::new();
        let mut proved = request.installation.version.clone();
        for declared in &request.commands {
            let outcome = match version(declared, program.run(&probe(declared, &[]))) {
                Ok(found) if found.semver == proved.semver => Outcome::Passed,
                Ok(found) => {
                    let text = format!("it says {} now", found.semver);
                    proved = found;
                    Outcome::Failed(failure(FailureClass::VersionMismatch, text))
                }
                Err(failure) if declared.optional => Outcome::Warned(failure),
                Err(failure) => Outcome::Failed(failure),
            };
            checks.push(Check { name: "version".to_owned(), outcome, detail: program.path() });
        }
        checks.push(Check {
            name: "extras".to_owned(),
            outcome: Outcome::Skipped("there are none".to_owned()),
            detail: String::new(),
        });
        Ok(Verdict { version: proved, checks, attributes: vec![("proved".to_owned(), "yes".to_owned())] })
    }
}

impl environment::Guest for Obliging {
    fn plan(request: PlanRequest) -> Result<BuildPlan, Failure> {
        let installer = tools::find(&["tool-*".to_owned()])
            .into_iter()
            .find_map(|found| found.outcome.ok())
            .ok_or_else(|| failure(FailureClass::NotFound, "no installer was found"))?;
        let manifests = request.manifests.iter().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>();
        let actions = [
            Action::MakeDir("bin".to_owned()),
            Action::WriteFile(FileStep {
                path: "settings".to_owned(),
                contents: request.installation.version.semver.clone().into_bytes(),
                executable: false,
            }),
            Action::Link(LinkStep { path: "bin/lang".to_owned(), target: request.installation.path.clone() }),
            Action::Run(RunStep {
                program: Program::Tool(installer.path()),
                arguments: vec!["${environment}".to_owned(), manifests.join(",")],
                variables: vec![("CACHE".to_owned(), "${cache}".to_owned())],
                folder: String::new(),
                network: true,
                timeout: Some(1_000),
                extra: Vec::new(),
            }),
            Action::Verify("bin/lang".to_owned()),
        ];
        let steps = actions.map(|action| Step { title: "a step".to_owned(), action }).to_vec();
        let stage = Stage { links: vec![("packages".to_owned(), "lib/packages".to_owned())] };
        let inputs = vec![("abi".to_owned(), "1".to_owned())];
        Ok(BuildPlan { steps, stage: Some(stage), inputs, extra: Vec::new() })
    }

    fn check(request: CheckRequest) -> Result<(), Failure> {
        let at = |name: &str| format!("{}/{name}", request.environment);
        let written = files::read(&at("settings"), 100)?;
        if written != request.installation.version.semver.as_bytes() {
            return Err(failure(FailureClass::VersionMismatch, "it was built for another version"));
        }
        let link = files::read_link(&at("bin/lang"))?;
        let status = files::stat(&at("settings"))?;
        let entries = files::list(&request.environment)?;
        let canonical = files::canonicalize(&at("bin/../settings"))?;
        if link != request.installation.path || status.size == 0 || entries.len() < 2 || canonical.is_empty()
        {
            return Err(failure(FailureClass::Other("damaged".to_owned()), "something is missing"));
        }
        Ok(())
    }

    fn launch(request: LaunchRequest) -> Result<Command, Failure> {
        let mut arguments = request.config.interpreter_arguments;
        arguments.push(request.entry_point);
        arguments.extend(request.arguments);
        let program = match request.environment {
            Some(_) => Program::Environment("bin/lang".to_owned()),
            None => Program::Installation,
        };
        let variables = vec![
            ("PATH".to_owned(), Change::Prepend("${environment}/bin".to_owned())),
            ("LANG_HOME".to_owned(), Change::Unset),
        ];
        Ok(Command { program, arguments, variables, extra: Vec::new() })
    }
}
