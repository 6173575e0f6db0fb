//! `tests/*.yaml`: a machine, and what the component of a runtime is to answer on it.
//!
//! Here they are read; [`crate::scenario`] has components answer, and compares.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::decode::{
    Fields, argument, boolean, duration, entries, integer, items, list, nonempty, pairs, verbatim,
};
use super::load::compose;
use super::problem::{Problems, Report, Source, Span, alternatives, nearest};
use super::variable::check_name;
use super::yaml::{Element, Entry, Value};
use crate::environment::Manifest;
use crate::installation::{Failure, FailureClass};
use crate::plugin::{Ending, Reply, Scripted, Thing};

/// Where a pack has its scenarios.
pub(crate) const FOLDER: &str = "tests/";

/// What is taken for granted unless the file says otherwise.
const HOME: &str = "/home/user";
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// A machine, and calls of one component on it.
#[derive(Debug)]
pub struct Scenario {
    /// For people.
    pub description: Option<String>,
    /// The runtime whose component is called, by its name or its reference; the pack's only one if there is none.
    pub(crate) runtime: Option<(String, Span)>,
    /// What the component finds.
    pub(crate) machine: Ground,
    /// In order.
    pub(crate) calls: Vec<Call>,
    /// Where all of it is written.
    pub(crate) source: Source,
}

/// A described machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    /// What `~` is.
    pub(crate) home: PathBuf,
    /// What `$PATH` is.
    pub(crate) path: Vec<PathBuf>,
    /// What the operator has set.
    pub(crate) variables: BTreeMap<String, String>,
    /// What is on it.
    pub(crate) things: BTreeMap<PathBuf, Thing>,
}

impl Default for Ground {
    fn default() -> Self {
        Self {
            home: HOME.into(),
            path: PATH.map(PathBuf::from).to_vec(),
            variables: BTreeMap::new(),
            things: BTreeMap::new(),
        }
    }
}

/// A call, and what is to come of it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    pub(crate) span: Span,
    /// Nothing is compared without it.
    pub(crate) expected: Option<Expected>,
}

/// What a component is asked. Installations are those that it detects on the machine, by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Detect,
    Aliases,
    Verify {
        installation: PathBuf,
    },
    Plan {
        installation: PathBuf,
        manifests: Vec<Manifest>,
    },
    Check {
        installation: PathBuf,
        environment: PathBuf,
        thorough: bool,
    },
    Launch {
        installation: PathBuf,
        environment: Option<PathBuf>,
        entry_point: PathBuf,
        arguments: Vec<String>,
    },
}

impl Asked {
    /// As it is written.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Aliases => "aliases",
            Self::Verify { .. } => "verify",
            Self::Plan { .. } => "plan",
            Self::Check { .. } => "check",
            Self::Launch { .. } => "launch",
        }
    }
}

const CALLS: [&str; 6] = ["detect", "aliases", "verify", "plan", "check", "launch"];

/// A part of an answer as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) span: Span,
    pub(crate) value: ExpectedValue,
}

/// Scalars keep their text: a version `3.10` is not the number 3.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedValue {
    Nothing,
    Scalar(String),
    List(Vec<Expected>),
    Mapping(Vec<(String, Expected)>),
}

/// Reads a file of scenarios; what is wrong goes to `problems`.
pub fn read(path: &str, bytes: &[u8], problems: &mut Problems) -> Option<Scenario> {
    let (source, element) = compose(path, bytes, problems)?;
    scenario(&element, source.clone(), &mut Report::new(&source, problems))
}

fn scenario(element: &Element, source: Source, report: &mut Report<'_>) -> Option<Scenario> {
    let mut fields = Fields::of("a scenario", element, report)?;
    let description = fields.optional("description", report, nonempty);
    let runtime = fields.optional("runtime", report, |element, report| {
        Some((nonempty(element, report)?, element.span.clone()))
    });
    let machine = match fields.element("machine") {
        Some(element) => machine(element, report),
        None => Some(Ground::default()),
    };
    let calls = fields.required("calls", report, |element, report| {
        let calls: Vec<_> = items(element, report)?.iter().map(|item| call(item, report)).collect();
        if calls.is_empty() {
            report.add(&element.span, "there are no calls", "write at least one: `- detect: {}`");
            return None;
        }
        calls.into_iter().collect::<Option<Vec<_>>>()
    });
    fields.finish(report);
    Some(Scenario { description, runtime, machine: machine?, calls: calls?, source })
}

/// A machine that stands in a file of its own, as the test runner reads it.
pub(crate) fn read_machine(path: &str, bytes: &[u8], problems: &mut Problems) -> Option<Ground> {
    let (source, element) = compose(path, bytes, problems)?;
    machine(&element, &mut Report::new(&source, problems))
}

fn machine(element: &Element, report: &mut Report<'_>) -> Option<Ground> {
    let default = Ground::default();
    let mut fields = Fields::of("a machine", element, report)?;
    let home = fields.optional("home", report, place).unwrap_or(default.home);
    let path = fields.optional("path", report, list(place)).unwrap_or(default.path);
    let variables = fields.optional("variables", report, |element, report| {
        for Entry { key, key_span, .. } in entries(element, report)? {
            check_name(key, key_span, report);
        }
        pairs(element, report)
    });
    let mut things = Things::default();
    for (key, read) in [
        ("programs", program as ReadThing),
        ("links", |element, report| Some(Thing::Link(verbatim(element, report)?.into()))),
        ("files", file),
    ] {
        fields.optional(key, report, |element, report| {
            for Entry { key, key_span, value } in entries(element, report)? {
                let path = absolute(key, key_span, report);
                if let (Some(path), Some(thing)) = (path, read(value, report)) {
                    things.add(path, thing, key_span, report);
                }
            }
            Some(())
        });
    }
    fields.optional("folders", report, |element, report| {
        for item in items(element, report)? {
            if let Some(path) = place(item, report) {
                things.add(path, Thing::Folder, &item.span, report);
            }
        }
        Some(())
    });
    fields.finish(report);
    let variables = variables.unwrap_or_default().into_iter().collect();
    Some(Ground { home, path, variables, things: things.0 })
}

type ReadThing = fn(&Element, &mut Report<'_>) -> Option<Thing>;

/// What is on a machine, each path once.
#[derive(Default)]
struct Things(BTreeMap<PathBuf, Thing>);

impl Things {
    fn add(&mut self, path: PathBuf, thing: Thing, span: &Span, report: &mut Report<'_>) {
        let shown = path.display().to_string();
        let above = path
            .ancestors()
            .skip(1)
            .find(|above| self.0.get(*above).is_some_and(|thing| !matches!(thing, Thing::Folder)));
        if let Some(above) = above {
            let message = format!("`{shown}` can't be there: `{}` is no folder", above.display());
            report.add(span, message, "describe it where the link leads, or leave one of the two out");
        } else if self.0.insert(path, thing).is_some() {
            report.add(span, format!("`{shown}` is described twice"), "leave one of the two out");
        }
    }
}

/// What a program answers, and its text if it is a script.
fn program(element: &Element, report: &mut Report<'_>) -> Option<Thing> {
    if matches!(element.value, Value::Sequence(_)) {
        return Some(Thing::Program { contents: None, answers: list(answer)(element, report)? });
    }
    let mut fields = Fields::of("a program", element, report)?;
    let contents = fields.optional("contents", report, verbatim).map(String::into_bytes);
    let answers = fields.optional("answers", report, list(answer)).unwrap_or_default();
    fields.finish(report);
    Some(Thing::Program { contents, answers })
}

fn answer(element: &Element, report: &mut Report<'_>) -> Option<Scripted> {
    let mut fields = Fields::of("an answer", element, report)?;
    let arguments = fields.required("arguments", report, list(argument_text));
    let variables = fields.optional("variables", report, pairs).unwrap_or_default();
    let stdout = fields.optional("stdout", report, verbatim).unwrap_or_default().into_bytes();
    let stderr = fields.optional("stderr", report, verbatim).unwrap_or_default().into_bytes();
    let code = fields.optional("exit_code", report, integer(0..=255));
    let signal = fields.optional("signal", report, integer(1..=64));
    let delay = fields.optional("delay", report, duration).unwrap_or(Duration::ZERO);
    let failure = fields.optional("failure", report, failure);
    if let (Some(_), Some(span)) = (code, fields.key_span("signal")) {
        report.add(span, "a program ends with a code or by a signal", "leave one of the two out");
    }
    fields.finish(report);
    let ending = signal.map_or(Ending::Exited(code.unwrap_or(0)), Ending::Signalled);
    let reply = failure.map_or(Reply::Ends { ending, stdout, stderr }, Reply::Fails);
    Some(Scripted { arguments: arguments?, variables, delay, reply })
}

/// Arguments are written as they are, numbers too.
fn argument_text(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let read = verbatim(element, report)?;
    if read.contains('\0') { argument(element, report) } else { Some(read) }
}

fn failure(element: &Element, report: &mut Report<'_>) -> Option<Failure> {
    let mut fields = Fields::of("a failure", element, report)?;
    let class = fields.required("class", report, nonempty);
    let message = fields.optional("message", report, verbatim).unwrap_or_default();
    fields.finish(report);
    Some(Failure::new(FailureClass::from(class?), message))
}

/// What is in a file, and whether it may be executed.
fn file(element: &Element, report: &mut Report<'_>) -> Option<Thing> {
    if matches!(element.value, Value::Scalar(_)) {
        let contents = verbatim(element, report)?.into_bytes();
        return Some(Thing::File { contents, executable: false });
    }
    let mut fields = Fields::of("a file", element, report)?;
    let text = fields.optional("contents", report, verbatim).map(String::into_bytes);
    let bytes = fields.optional("base64", report, |element, report| {
        let read = verbatim(element, report)?;
        let bytes = BASE64.decode(read.split_whitespace().collect::<String>());
        bytes.map_err(|error| report.add(&element.span, error.to_string(), "write base64, with padding")).ok()
    });
    let executable = fields.optional("executable", report, boolean).unwrap_or_default();
    fields.finish(report);
    Some(Thing::File { contents: text.or(bytes).unwrap_or_default(), executable })
}

fn call(element: &Rc<Element>, report: &mut Report<'_>) -> Option<Call> {
    let Value::Mapping(keys) = &element.value else {
        let help = "write what is called: `- detect: {}`";
        report.add(&element.span, format!("a call is expected here, and this is {}", element.kind()), help);
        return None;
    };
    let mut asked = None;
    let mut expected = None;
    for Entry { key, key_span, value } in keys {
        let read = match &**key {
            "expect" => {
                expected = Some(expectation(value));
                continue;
            }
            "detect" => nothing("detect", value, Asked::Detect, report),
            "aliases" => nothing("aliases", value, Asked::Aliases, report),
            "verify" => verify(value, report),
            "plan" => plan(value, report),
            "check" => check(value, report),
            "launch" => launch(value, report),
            _ => {
                let help = match nearest(key, CALLS.into_iter().chain(["expect"])) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("write {} or `expect`", alternatives(CALLS)),
                };
                report.add(key_span, format!("`{key}` can't be called"), help);
                None
            }
        };
        if asked.replace((read, key_span.clone())).is_some() {
            report.add(
                key_span,
                "there is another call in the same place",
                "begin a line of its own with `- `",
            );
            return None;
        }
    }
    let Some((asked, span)) = asked else {
        report.add(&element.span, "it is not said what is called", format!("write {}", alternatives(CALLS)));
        return None;
    };
    Some(Call { asked: asked?, span, expected })
}

/// A call that is given nothing.
fn nothing(what: &'static str, element: &Element, asked: Asked, report: &mut Report<'_>) -> Option<Asked> {
    if !element.is_null() {
        Fields::of(what, element, report)?.finish(report);
    }
    Some(asked)
}

fn verify(element: &Element, report: &mut Report<'_>) -> Option<Asked> {
    let mut fields = Fields::of("`verify`", element, report)?;
    let installation = fields.required("installation", report, place);
    fields.finish(report);
    Some(Asked::Verify { installation: installation? })
}

fn plan(element: &Element, report: &mut Report<'_>) -> Option<Asked> {
    let mut fields = Fields::of("`plan`", element, report)?;
    let installation = fields.required("installation", report, place);
    let manifests = fields.optional("manifests", report, pairs).unwrap_or_default();
    fields.finish(report);
    let manifest = |(name, text): (String, String)| Manifest { name, contents: text.into_bytes() };
    Some(Asked::Plan {
        installation: installation?,
        manifests: manifests.into_iter().map(manifest).collect(),
    })
}

fn check(element: &Element, report: &mut Report<'_>) -> Option<Asked> {
    let mut fields = Fields::of("`check`", element, report)?;
    let installation = fields.required("installation", report, place);
    let environment = fields.required("environment", report, place);
    let thorough = fields.optional("thorough", report, boolean).unwrap_or_default();
    fields.finish(report);
    Some(Asked::Check { installation: installation?, environment: environment?, thorough })
}

fn launch(element: &Element, report: &mut Report<'_>) -> Option<Asked> {
    let mut fields = Fields::of("`launch`", element, report)?;
    let installation = fields.required("installation", report, place);
    let environment = fields.optional("environment", report, place);
    let entry_point = fields.required("entry_point", report, place);
    let arguments = fields.optional("arguments", report, list(argument_text)).unwrap_or_default();
    fields.finish(report);
    Some(Asked::Launch { installation: installation?, environment, entry_point: entry_point?, arguments })
}

fn expectation(element: &Element) -> Expected {
    let value = match &element.value {
        _ if element.is_null() => ExpectedValue::Nothing,
        Value::Scalar(scalar) => ExpectedValue::Scalar(scalar.text.clone()),
        Value::Sequence(items) => ExpectedValue::List(items.iter().map(|item| expectation(item)).collect()),
        Value::Mapping(entries) => {
            let entry = |entry: &Entry| (entry.key.to_string(), expectation(&entry.value));
            ExpectedValue::Mapping(entries.iter().map(entry).collect())
        }
    };
    Expected { span: element.span.clone(), value }
}

/// An absolute path.
fn place(element: &Element, report: &mut Report<'_>) -> Option<PathBuf> {
    absolute(&verbatim(element, report)?, &element.span, report)
}

fn absolute(text: &str, span: &Span, report: &mut Report<'_>) -> Option<PathBuf> {
    let path = Path::new(text);
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && is_plain {
        return Some(path.components().collect());
    }
    report.add(
        span,
        format!("`{text}` is not an absolute path"),
        "write the whole path, from `/`, without `..`",
    );
    None
}
