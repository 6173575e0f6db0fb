//! What the host calls. Nothing is kept from one call to the next: each has an instance of its own.
//!
//! What there is on the machine can only be seen through the host: `tools` finds and runs programs, `files` reads,
//! `patterns` matches the expressions of the runtime's YAML. What is not granted there is answered with a failure of
//! the class `denied`.

mod bindings {
    #![allow(clippy::all, reason = "generated code")]
    wit_bindgen::generate!({ path: "wit", world: "runtime" });
    use super::Component;
    export!(Component with_types_in self);
}

use bindings::attune::runtime::patterns;
use bindings::attune::runtime::tools::{self, Completion, Executable, ExitStatus, Invocation};
use bindings::attune::runtime::types::{DeclaredVersion, Failure, FailureClass, Installation, Version};
use bindings::exports::attune::runtime::detection::{Alias, Candidate, Command, Request};
use bindings::exports::attune::runtime::environment::{self, BuildPlan, CheckRequest, LaunchRequest, PlanRequest};
use bindings::exports::attune::runtime::verification::{self, Check, Outcome, Verdict};
use bindings::exports::attune::runtime::detection;

use crate::logic;

struct Component;

impl detection::Guest for Component {
    /// Everything that goes by a name that the YAML declares. What turns out to be something else is a candidate
    /// with its failure, so that people can see why it is not used.
    fn detect(request: Request) -> Result<Vec<Candidate>, Failure> {
        let mut candidates = Vec::new();
        for command in &request.commands {
            let mut programs = Vec::new();
            for found in tools::find(&[command.binary.clone()]) {
                match found.outcome {
                    Ok(program) => programs.push((found.path, program)),
                    Err(failure) => candidates.push(Candidate { path: found.path, outcome: Err(failure) }),
                }
            }
            // All at once: one that is slow keeps no other waiting.
            let asked = programs.iter().map(|(_, program)| program).collect::<Vec<_>>();
            let answers = tools::run_all(&asked, &invocation(command));
            for ((path, program), answer) in programs.iter().zip(answers) {
                let version = answer.and_then(|completion| version(command, &completion));
                let outcome = version.map(|version| installation(program, version));
                candidates.push(Candidate { path: path.clone(), outcome });
            }
        }
        Ok(candidates)
    }

    /// Words that can be asked for instead of a version. Each stands for a constraint.
    fn aliases(_versions: Vec<DeclaredVersion>) -> Vec<Alias> {
        vec![Alias { name: "latest".to_owned(), constraint: "*".to_owned() }]
    }
}

impl verification::Guest for Component {
    /// Proves that an installation works. Printing a version proves little: think of what an action needs, and
    /// add a check for it.
    fn verify(request: verification::Request, program: &Executable) -> Result<Verdict, Failure> {
        let mut verdict = Verdict {
            version: request.installation.version,
            checks: Vec::new(),
            attributes: request.installation.attributes,
        };
        for command in &request.commands {
            let answer = program.run(&Invocation { memoize: false, ..invocation(command) });
            let (outcome, detail) = match answer.and_then(|completion| version(command, &completion)) {
                Ok(version) => {
                    let detail = version.native.clone();
                    verdict.version = version;
                    (Outcome::Passed, detail)
                }
                Err(failure) if command.optional => (Outcome::Warned(failure), String::new()),
                Err(failure) => (Outcome::Failed(failure), String::new()),
            };
            verdict.checks.push(Check { name: "version".to_owned(), outcome, detail });
        }
        Ok(verdict)
    }
}

impl environment::Guest for Component {
    /// How to make an environment with an action's dependencies. No step: none is needed.
    ///
    /// A plan is data: the host shows it, executes it and undoes it. A step that installs might be
    ///
    /// ```text
    /// Step {
    ///     title: "install the packages".to_owned(),
    ///     action: Action::Run(RunStep {
    ///         program: Program::Installation,
    ///         arguments: vec!["-m".to_owned(), "install".to_owned(), "${environment}".to_owned()],
    ///         network: true, // needs `network: true` among the grants
    ///         …
    ///     }),
    /// }
    /// ```
    fn plan(_request: PlanRequest) -> Result<BuildPlan, Failure> {
        Ok(BuildPlan { steps: Vec::new(), stage: None, inputs: Vec::new(), extra: Vec::new() })
    }

    /// Whether an environment that was built still works.
    fn check(_request: CheckRequest) -> Result<(), Failure> {
        Ok(())
    }

    /// How to start an entry point.
    fn launch(request: LaunchRequest) -> Result<environment::Command, Failure> {
        Ok(environment::Command {
            program: environment::Program::Installation,
            arguments: logic::start(
                request.config.interpreter_arguments,
                request.entry_point,
                request.arguments,
            ),
            variables: Vec::new(),
            extra: Vec::new(),
        })
    }
}

/// A command of the YAML, as it is run.
fn invocation(command: &Command) -> Invocation {
    Invocation {
        arguments: command.arguments.clone(),
        variables: Vec::new(),
        stdin: Vec::new(),
        timeout: None,
        // The answer depends on the program alone, so the host may remember it for as long as that is the same file.
        memoize: true,
        extra: Vec::new(),
    }
}

/// The version that a command printed, if it ended as the YAML says.
fn version(command: &Command, completion: &Completion) -> Result<Version, Failure> {
    match completion.status {
        ExitStatus::Exited(code) if code == command.exit_code => {}
        ExitStatus::Exited(code) => {
            return Err(failure(FailureClass::NonzeroExit(code), format!("ended with exit code {code}")));
        }
        ExitStatus::Signalled(signal) => {
            return Err(failure(FailureClass::KilledBySignal(signal), format!("was ended by signal {signal}")));
        }
        ExitStatus::Other(_) => {
            return Err(failure(FailureClass::Other("unknown-exit".to_owned()), "ended in an unknown way"));
        }
    }
    let output = [completion.stdout.as_slice(), completion.stderr.as_slice()].concat();
    let output = String::from_utf8_lossy(&output);
    let pattern = command.pattern.as_deref().ok_or_else(|| {
        failure(FailureClass::InvalidDeclaration, "the command has no `pattern` that tells the version")
    })?;
    // The groups of the match: the whole of it, then those in parentheses.
    let groups = patterns::captures(pattern, &output)?.ok_or_else(|| {
        failure(FailureClass::PatternMismatch, format!("did not print what `{pattern}` expects"))
    })?;
    let native = groups.into_iter().nth(1).flatten().unwrap_or_default();
    let semver = logic::semver(&native).ok_or_else(|| {
        failure(FailureClass::UnparsableOutput, format!("printed `{native}` where a version was expected"))
    })?;
    Ok(Version { semver, native, variant: None })
}

fn installation(program: &Executable, version: Version) -> Installation {
    let path = program.path();
    let aliases = program.names().into_iter().filter(|name| *name != path).collect();
    Installation { path, version, source: program.source(), aliases, attributes: Vec::new() }
}

fn failure(class: FailureClass, message: impl Into<String>) -> Failure {
    Failure { class, message: message.into() }
}
