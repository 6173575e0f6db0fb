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
use bindings::attune::runtime::types::{
    DeclaredVersion, Failure, FailureClass, Installation, Version,
};
use bindings::exports::attune::runtime::detection::{self, Alias, Candidate, Command, Request};
use bindings::exports::attune::runtime::environment::{
    self, BuildPlan, CheckRequest, LaunchRequest, PlanRequest,
};
use bindings::exports::attune::runtime::verification::{self, Check, Outcome, Verdict};

use crate::logic;

struct Component;

impl detection::Guest for Component {
    /// Everything that goes by a name that the YAML declares. What turns out to be something else is a candidate
    /// with its failure, so that people can see why it is not used.
    fn detect(request: Request) -> Result<Vec<Candidate>, Failure> {
        let (mut candidates, mut known) = (Vec::new(), Vec::new());
        for command in request
            .commands
            .iter()
            .filter(|command| command.pattern.is_some())
        {
            let mut programs = Vec::new();
            for found in tools::find(std::slice::from_ref(&command.binary)) {
                match found.outcome {
                    // No two candidates may be the same installation, whatever names it goes by.
                    Ok(program) if known.contains(&program.path()) => {}
                    Ok(program) => {
                        known.push(program.path());
                        programs.push((found.path, program));
                    }
                    Err(failure) => candidates.push(rejected(found.path, failure)),
                }
            }
            // All at once: one that is slow keeps no other waiting.
            let asked: Vec<&Executable> = programs.iter().map(|(_, program)| program).collect();
            let answers = tools::run_all(&asked, &invocation(command));
            for ((path, program), answer) in programs.iter().zip(answers) {
                match answer.and_then(|completion| version(command, &completion)) {
                    Ok(Some(version)) => candidates.push(candidate(path, program, version)),
                    Ok(None) => {}
                    Err(failure) => candidates.push(rejected(path.clone(), failure)),
                }
            }
        }
        Ok(candidates)
    }

    /// Words that can be asked for instead of a version. Each stands for a constraint.
    fn aliases(_versions: Vec<DeclaredVersion>) -> Vec<Alias> {
        vec![Alias {
            name: "latest".to_owned(),
            constraint: "*".to_owned(),
        }]
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
        for (number, command) in (1..).zip(&request.commands) {
            let asked = Invocation {
                memoize: false,
                ..invocation(command)
            };
            let mut check = Check {
                name: format!("command-{number}"),
                outcome: Outcome::Passed,
                detail: String::new(),
            };
            match program
                .run(&asked)
                .and_then(|completion| version(command, &completion))
            {
                Ok(Some(version)) => {
                    check.name = "version".to_owned();
                    check.detail = version.native.clone();
                    verdict.version = version;
                }
                Ok(None) => {}
                Err(failure) if command.optional => check.outcome = Outcome::Warned(failure),
                Err(failure) => check.outcome = Outcome::Failed(failure),
            }
            verdict.checks.push(check);
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
        Ok(BuildPlan {
            steps: Vec::new(),
            stage: None,
            inputs: Vec::new(),
            extra: Vec::new(),
        })
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

/// The version that a command printed, if it ended as the YAML says; none if it has no pattern that tells it.
fn version(command: &Command, completion: &Completion) -> Result<Option<Version>, Failure> {
    match completion.status {
        ExitStatus::Exited(code) if code == command.exit_code => {}
        ExitStatus::Exited(code) => {
            return Err(failure(
                FailureClass::NonzeroExit(code),
                format!("ended with exit code {code}"),
            ));
        }
        ExitStatus::Signalled(signal) => {
            return Err(failure(
                FailureClass::KilledBySignal(signal),
                format!("was ended by signal {signal}"),
            ));
        }
        ExitStatus::Other(_) => {
            return Err(failure(
                FailureClass::Other("unknown-exit".to_owned()),
                "ended in an unknown way",
            ));
        }
    }
    let output = [completion.stdout.as_slice(), completion.stderr.as_slice()].concat();
    let output = String::from_utf8_lossy(&output);
    let Some(pattern) = &command.pattern else {
        return Ok(None);
    };
    // The groups of the match: the whole of it, then those in parentheses.
    let groups = patterns::captures(pattern, &output)?.ok_or_else(|| {
        failure(
            FailureClass::PatternMismatch,
            format!("did not print what `{pattern}` expects"),
        )
    })?;
    let native = groups.into_iter().nth(1).flatten().unwrap_or_default();
    let semver = logic::semver(&native).ok_or_else(|| {
        failure(
            FailureClass::UnparsableOutput,
            format!("printed `{native}` where a version was expected"),
        )
    })?;
    Ok(Some(Version {
        semver,
        native,
        variant: None,
    }))
}

fn candidate(path: &str, program: &Executable, version: Version) -> Candidate {
    let canonical = program.path();
    let installation = Installation {
        aliases: program
            .names()
            .into_iter()
            .filter(|name| *name != canonical)
            .collect(),
        path: canonical,
        version,
        source: program.source(),
        attributes: Vec::new(),
    };
    Candidate {
        path: path.to_owned(),
        outcome: Ok(installation),
    }
}

fn rejected(path: String, failure: Failure) -> Candidate {
    Candidate {
        path,
        outcome: Err(failure),
    }
}

fn failure(class: FailureClass, message: impl Into<String>) -> Failure {
    Failure {
        class,
        message: message.into(),
    }
}
