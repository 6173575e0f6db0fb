//! What actions and sensors share: something to start, under a version of a runtime.

use std::collections::BTreeSet;

use super::alias::AliasUse;
use super::bundle::Bundle;
use super::decode::{self, Fields, boolean, choice, nonempty, text, version_text};
use super::names::{KnownRuntime, Lookup, Taken, find_runtime, nearest_runtime};
use super::pattern::locate;
use super::place::pack_file;
use super::problem::{Report, Span, alternatives};
use super::yaml::{Element, Value};
use super::{Program, SecretDeclaration, VersionPolicy, variable};
use crate::reference::{InvalidReference, Name, PackRef};
use crate::version::constraint::Constraint;

const POLICIES: &[(&str, VersionPolicy)] =
    &[("strict", VersionPolicy::Strict), ("fallback", VersionPolicy::Fallback)];

/// The two names of one key.
const CONSTRAINT_KEYS: [&str; 2] = ["runtime_version", "runtime_version_constraint"];

/// What the reading of an action or a sensor needs to know of the rest.
pub(crate) struct Surroundings<'a> {
    pub(crate) pack: Option<&'a PackRef>,
    pub(crate) bundle: &'a Bundle,
    pub(crate) runtimes: &'a [KnownRuntime],
    pub(crate) taken: &'a mut Taken,
    /// Aliases that are asked for, to be checked later.
    pub(crate) aliases: &'a mut Vec<AliasUse>,
}

pub(crate) fn read(
    fields: &mut Fields<'_>,
    surroundings: &mut Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Program> {
    let runtime = fields.required("runtime", report, |element, report| {
        let text = nonempty(element, report)?;
        Some((runtime(&text, element, surroundings, report), text))
    });
    let known = runtime.as_ref().and_then(|(known, _)| *known);
    let constraint = constraint(fields, report);
    if let Some(known) = known.filter(|known| known.has_versions)
        && let Some((constraint, element)) = &constraint
        && constraint.alias().is_some()
    {
        let span = locate(element, &written(constraint), report);
        let (runtime, source) = (known.reference.clone(), report.source().clone());
        surroundings.aliases.push(AliasUse { runtime, constraint: constraint.clone(), source, span });
    }
    let constraint = constraint.map(|(constraint, _)| constraint);
    let variant = fields.optional("runtime_variant", report, |element, report| {
        let variant = nonempty(element, report)?;
        let constrained = constraint.as_ref().and_then(Constraint::variant);
        if let Some(other) = constrained.filter(|other| *other != variant) {
            report.add(
                &element.span,
                format!("the variant `{variant}` is asked for, and the constraint asks for `{other}`"),
                "keep one of the two",
            );
        }
        Some(variant)
    });
    if let Some(known) = known {
        for key in CONSTRAINT_KEYS.into_iter().chain(["runtime_variant", "version_policy"]) {
            refuse_choice(fields, key, known, report);
        }
    }
    let version_policy = fields.optional("version_policy", report, choice(POLICIES)).unwrap_or_default();
    let entry_point = fields.required("entry_point", report, |element, report| {
        let path = pack_file(element, surroundings.bundle, report)?;
        let executable = surroundings.bundle.get(&path).is_some_and(|entry| entry.executable);
        if known.is_some_and(|known| !known.has_versions)
            && !executable
            && !surroundings.bundle.is_unfit(&path)
        {
            report.add(
                &element.span,
                format!("`{path}` is itself the program, and is not executable"),
                format!("run `chmod +x {path}`, or choose the runtime that reads it"),
            );
        }
        Some(path)
    });
    let env_vars = fields.optional("env_vars", report, variable::changes).unwrap_or_default();
    let secrets = fields.optional("secrets", report, secrets).unwrap_or_default();
    Some(Program {
        runtime: runtime?.1,
        constraint,
        variant,
        version_policy,
        entry_point: entry_point?,
        env_vars,
        secrets,
    })
}

fn runtime<'a>(
    text: &str,
    element: &Element,
    surroundings: &Surroundings<'a>,
    report: &mut Report<'_>,
) -> Option<&'a KnownRuntime> {
    match find_runtime(text, surroundings.pack, surroundings.runtimes) {
        Lookup::Found(known) => return Some(known),
        Lookup::Ambiguous(matching) => {
            let references: Vec<_> = matching.iter().map(|known| known.reference.to_string()).collect();
            report.add(
                &element.span,
                format!("`{text}` is the name of a runtime in several packs"),
                format!("write {}", alternatives(references.iter().map(String::as_str))),
            );
        }
        // Which runtimes are the pack's own is not known then.
        Lookup::Unknown if surroundings.pack.is_none() => {}
        Lookup::Unknown => {
            let help = match nearest_runtime(text, surroundings.runtimes) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if surroundings.runtimes.is_empty() => "install the pack that ships it first".to_owned(),
                None => {
                    let known: Vec<_> =
                        surroundings.runtimes.iter().map(|known| known.reference.to_string()).collect();
                    let known = alternatives(known.iter().map(String::as_str));
                    format!("install the pack that ships it first, or write {known}")
                }
            };
            report.add(&element.span, format!("there is no runtime `{text}`"), help);
        }
    }
    None
}

/// What asks for a version has none to choose from.
fn refuse_choice(fields: &mut Fields<'_>, key: &'static str, known: &KnownRuntime, report: &mut Report<'_>) {
    if !known.has_versions
        && fields.element(key).is_some()
        && let Some(span) = fields.key_span(key)
    {
        report.add(
            span,
            format!("the runtime `{}` has no versions to choose from", known.reference),
            format!("leave `{key}` out"),
        );
    }
}

fn constraint<'n>(fields: &mut Fields<'n>, report: &mut Report<'_>) -> Option<(Constraint, &'n Element)> {
    let written: Vec<(&'static str, &'n Element)> =
        CONSTRAINT_KEYS.into_iter().filter_map(|key| Some((key, fields.element(key)?))).collect();
    if let [(first, _), (second, _)] = written.as_slice()
        && let Some(span) = fields.key_span(second)
    {
        report.add(span, format!("`{second}` means the same as `{first}`, and both are here"), "keep one");
    }
    let constraints: Vec<_> =
        written.into_iter().map(|(_, element)| Some((read_constraint(element, report)?, element))).collect();
    constraints.into_iter().flatten().next()
}

fn read_constraint(element: &Element, report: &mut Report<'_>) -> Option<Constraint> {
    let text = version_text(element, report)?;
    if text.trim().is_empty() {
        return None;
    }
    match Constraint::parse(&text) {
        Ok(constraint) => {
            if constraint.resolve(&[]).is_ok_and(|range| range.is_contradictory()) {
                report.add(
                    &locate(element, &written(&constraint), report),
                    format!(
                        "no version can satisfy `{}`: its bounds leave nothing between them",
                        text.trim()
                    ),
                    "write the lower bound first, such as `>=3.10,<3.12`",
                );
            }
            Some(constraint)
        }
        Err(error) => {
            let span = locate(element, &visible(&error.span, &text), report);
            let help = error.hint.clone().unwrap_or_else(|| {
                "write a version such as `\"3.12\"`, or a range such as `\">=3.12,<4\"`".to_owned()
            });
            report.add(&span, format!("the constraint `{text}` can't be read: {}", error.message), help);
            None
        }
    }
}

/// Where in its text a constraint is, without the blanks around it.
fn written(constraint: &Constraint) -> Span {
    let text = constraint.as_str();
    let start = text.len() - text.trim_start().len();
    start..start + text.trim().len()
}

/// An empty place, such as the end of the text, is shown as the last character before it.
fn visible(span: &Span, text: &str) -> Span {
    if span.start < span.end {
        return span.clone();
    }
    let start = text.get(..span.start).and_then(|before| before.char_indices().next_back());
    start.map_or(span.clone(), |(start, _)| start..span.start)
}

fn secrets(element: &Element, report: &mut Report<'_>) -> Option<Vec<SecretDeclaration>> {
    let mut names = BTreeSet::new();
    let read: Vec<_> = decode::items(element, report)?
        .iter()
        .map(|item| {
            let secret = secret(item, report)?;
            if !names.insert(secret.name.clone()) {
                report.add(
                    &item.span,
                    format!("the secret `{}` is declared twice", secret.name),
                    "keep one of the two",
                );
            }
            Some(secret)
        })
        .collect();
    read.into_iter().collect()
}

fn secret(element: &Element, report: &mut Report<'_>) -> Option<SecretDeclaration> {
    if let Value::Scalar(_) = element.value {
        let name = secret_name(element, report)?;
        return Some(SecretDeclaration { name, description: None, required: true, env: None });
    }
    let mut fields = Fields::of("a secret", element, report)?;
    let name = fields.required("name", report, secret_name);
    let description = fields.optional("description", report, text);
    let required = fields.optional("required", report, boolean).unwrap_or(true);
    let env = fields.optional("env", report, |element, report| {
        let name = nonempty(element, report)?;
        variable::check_name(&name, &element.span, report).then_some(name)
    });
    fields.finish(report);
    Some(SecretDeclaration { name: name?, description, required, env })
}

fn secret_name(element: &Element, report: &mut Report<'_>) -> Option<Name> {
    let read = nonempty(element, report)?;
    read.parse()
        .map_err(|error: InvalidReference| {
            report.add(&element.span, error.to_string(), "write a name such as `api_token`");
        })
        .ok()
}
