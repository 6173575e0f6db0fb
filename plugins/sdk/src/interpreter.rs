//! Detection of language interpreters: which of the programs that are called like one are installations.
//!
//! An installation is machine code that answers a probe and says that it is the very file that was
//! started. Everything else (scripts, launchers, copies inside environments) is followed to an
//! installation, whose alias it becomes, or is a candidate with its failure.

use crate::detection::Candidate;
use crate::failure::{failure, with_excerpt};
use crate::machine::{Found, Machine, Program, file_name, invocation};
use crate::shim::{self, Shim};
use crate::tools::{Completion, Format, Invocation};
use crate::types::{Failure, FailureClass, Installation, Version};
use crate::verification::{Check, Outcome};
use crate::version;

/// How one language's interpreters are recognised.
#[derive(Clone, Debug)]
pub struct Probe {
    /// File names that are looked for.
    pub patterns: Vec<String>,
    /// What the file name of a real interpreter begins with, links resolved.
    pub stems: &'static [&'static str],
    /// What an interpreter is asked.
    pub arguments: Vec<String>,
    /// Reads the answer.
    pub read: fn(&Completion) -> Result<Report, Failure>,
}

/// What an interpreter says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its canonical path.
    pub executable: String,
    /// Semantic version, native text, variant.
    pub version: (String, String, Option<String>),
    /// The base of the isolated environment that it belongs to, if it belongs to one.
    pub environment_of: Option<String>,
    /// What else is known.
    pub attributes: Vec<(String, String)>,
}

impl Report {
    /// The version as the contract has it.
    #[must_use]
    pub fn version(&self) -> Version {
        let (semver, native, variant) = self.version.clone();
        Version { semver, native, variant }
    }
}

/// What became of one found entry before other entries are considered.
enum Lead {
    Done(Result<Installation, Failure>),
    /// It starts this program, which may be an installation.
    Starts {
        target: String,
        otherwise: Failure,
    },
}

/// Everything that looks like an installation, in the order in which it was found.
pub fn detect(machine: &impl Machine, probe: &Probe) -> Vec<Candidate> {
    let found = machine.find(&probe.patterns);
    let programs: Vec<&Program> = found.iter().filter_map(|found| found.outcome.as_ref().ok()).collect();
    let (natives, others): (Vec<&Program>, Vec<&Program>) =
        programs.into_iter().partition(|program| is_interpreter(program, probe));

    let question = invocation(&probe.arguments, true);
    let mut leads: Vec<(&str, Lead)> = Vec::new();
    for (program, answer) in natives.iter().zip(machine.run_all(&natives, &question)) {
        let lead = match answer.and_then(|completion| (probe.read)(&completion)) {
            Ok(report) => native_lead(program, report),
            Err(failure) => Lead::Done(Err(failure)),
        };
        leads.push((&program.path, lead));
    }
    leads.extend(script_leads(machine, probe, &question, &others));
    candidates(&found, &leads)
}

/// Whether a program is machine code under an interpreter's own name. A launcher that finds out from
/// the name of a link what to start can't be asked: it is started by its canonical path.
fn is_interpreter(program: &Program, probe: &Probe) -> bool {
    let name = file_name(&program.path);
    matches!(program.format, Format::Native) && probe.stems.iter().any(|stem| name.starts_with(stem))
}

fn native_lead(program: &Program, report: Report) -> Lead {
    if let Some(base) = &report.environment_of {
        return Lead::Done(Err(failure(
            FailureClass::NotBaseInstallation,
            format!("belongs to an isolated environment whose base is `{base}`"),
        )));
    }
    if report.executable != program.path {
        let otherwise = unresolved(&report);
        return Lead::Starts { target: report.executable, otherwise };
    }
    let aliases = program.names.iter().filter(|name| **name != program.path).cloned().collect();
    Lead::Done(Ok(Installation {
        path: program.path.clone(),
        version: report.version(),
        source: program.source.clone(),
        aliases,
        attributes: report.attributes,
    }))
}

fn unresolved(report: &Report) -> Failure {
    failure(
        FailureClass::ShimUnresolved,
        format!(
            "starts `{}` ({}), which is no installation in the folders that are searched",
            report.executable, report.version.1
        ),
    )
}

/// Leads of everything that is no interpreter itself. Scripts that can't be followed by reading are
/// asked twice: what they claim to be, and what they are.
fn script_leads<'a>(
    machine: &impl Machine,
    probe: &Probe,
    question: &Invocation,
    programs: &[&'a Program],
) -> Vec<(&'a str, Lead)> {
    let mut leads = Vec::new();
    let mut unknown: Vec<&Program> = Vec::new();
    for &program in programs {
        let path = program.names.first().unwrap_or(&program.path);
        match (&program.format, shim::follow(machine, program, path)) {
            (Format::Script(_), Shim::Target(target)) => {
                let otherwise = failure(
                    FailureClass::ShimUnresolved,
                    format!("a shim that starts `{target}`, which is no installation"),
                );
                leads.push((program.path.as_str(), Lead::Starts { target, otherwise }));
            }
            (Format::Script(_), Shim::Unresolved(failure)) => {
                leads.push((program.path.as_str(), Lead::Done(Err(failure))));
            }
            (Format::Script(_), Shim::Unknown) => unknown.push(program),
            (Format::Native, _) => {
                let message = format!("`{path}` leads to `{}`, a launcher of other programs", program.path);
                let failure = failure(FailureClass::ShimUnresolved, message);
                leads.push((program.path.as_str(), Lead::Done(Err(failure))));
            }
            (Format::Other(text), _) => {
                leads.push((
                    program.path.as_str(),
                    Lead::Done(Err(failure(FailureClass::ExecFormat, text.clone()))),
                ));
            }
        }
    }
    // What such a script starts may change without the script. The answers are remembered all the same:
    // they decide under which heading it is listed, and it is never what runs.
    let mut starting: Vec<(&Program, Report)> = Vec::new();
    for (&program, answer) in unknown.iter().zip(machine.run_all(&unknown, question)) {
        match started(probe, answer) {
            Ok(report) => starting.push((program, report)),
            Err(failure) => leads.push((&program.path, Lead::Done(Err(failure)))),
        }
    }
    // Only those: one that hangs would do it once more.
    let programs: Vec<&Program> = starting.iter().map(|(program, _)| *program).collect();
    let claims = machine.run_all(&programs, &invocation(&["--version"], true));
    for ((program, report), claim) in starting.into_iter().zip(claims) {
        leads.push((&program.path, wrapper_lead(report, claim.ok().as_ref())));
    }
    leads
}

/// What a script started when it was asked.
fn started(probe: &Probe, answer: Result<Completion, Failure>) -> Result<Report, Failure> {
    let completion = answer?;
    (probe.read)(&completion).map_err(|reason| match reason.class {
        FailureClass::KilledBySignal(_) => reason,
        _ => failure(
            FailureClass::ShimUnresolved,
            with_excerpt("a script that started no interpreter when asked".to_owned(), &completion),
        ),
    })
}

fn wrapper_lead(report: Report, claim: Option<&Completion>) -> Lead {
    if let Some(claimed) = claim.and_then(claimed_version)
        && claimed.semver != report.version.0
    {
        return Lead::Done(Err(failure(
            FailureClass::VersionMismatch,
            format!(
                "a script that says it is {} and starts {} (`{}`)",
                claimed.native, report.version.1, report.executable
            ),
        )));
    }
    if let Some(base) = &report.environment_of {
        return Lead::Done(Err(failure(
            FailureClass::NotBaseInstallation,
            format!("starts `{}` of an isolated environment whose base is `{base}`", report.executable),
        )));
    }
    let otherwise = unresolved(&report);
    Lead::Starts { target: report.executable, otherwise }
}

fn claimed_version(completion: &Completion) -> Option<Version> {
    version::search(&String::from_utf8_lossy(&completion.stdout))
        .or_else(|| version::search(&String::from_utf8_lossy(&completion.stderr)))
}

/// Turns leads into candidates: what starts an installation becomes an alias of it.
fn candidates(found: &[Found], leads: &[(&str, Lead)]) -> Vec<Candidate> {
    let mut installations: Vec<Installation> = leads
        .iter()
        .filter_map(|(_, lead)| match lead {
            Lead::Done(Ok(installation)) => Some(installation.clone()),
            Lead::Done(Err(_)) | Lead::Starts { .. } => None,
        })
        .collect();
    let mut outcomes: Vec<(&str, Result<String, Failure>)> = Vec::new();
    for found in found {
        let Ok(program) = &found.outcome else { continue };
        let Some((_, lead)) = leads.iter().find(|(path, _)| *path == program.path) else { continue };
        match lead {
            Lead::Done(Ok(installation)) => outcomes.push((&found.path, Ok(installation.path.clone()))),
            Lead::Done(Err(failure)) => outcomes.push((&found.path, Err(failure.clone()))),
            Lead::Starts { target, otherwise } => {
                match installations.iter_mut().find(|installation| installation.path == *target) {
                    Some(installation) => installation.aliases.extend(program.names.iter().cloned()),
                    None => outcomes.push((&found.path, Err(otherwise.clone()))),
                }
            }
        }
    }
    found
        .iter()
        .filter_map(|found| {
            let outcome = match &found.outcome {
                Err(failure) => Err(failure.clone()),
                Ok(_) => match &outcomes.iter().find(|(path, _)| *path == found.path)?.1 {
                    Err(failure) => Err(failure.clone()),
                    Ok(path) => {
                        Ok(installations.iter().find(|installation| installation.path == *path)?.clone())
                    }
                },
            };
            Some(Candidate { path: found.path.clone(), outcome })
        })
        .collect()
}

/// The check that something is as it was claimed; a failure of `class` if it is not.
#[must_use]
pub fn equal(name: &str, class: FailureClass, claimed: &str, seen: &str) -> Check {
    let outcome = if claimed == seen {
        Outcome::Passed
    } else {
        Outcome::Failed(failure(class, format!("the {name} was `{claimed}` and is `{seen}`")))
    };
    Check { name: name.to_owned(), outcome, detail: seen.to_owned() }
}
