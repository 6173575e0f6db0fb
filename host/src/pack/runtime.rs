//! `runtimes/*.yaml`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::NaiveDate;

use super::bundle::Bundle;
use super::decode::{
    Fields, argument, boolean, duration, integer, items, list, nonempty, pairs, text, version_text,
};
use super::grants::plugin;
use super::names::{KnownRuntime, Taken, alias, own_name};
use super::pattern::pattern;
use super::place::{program_name, relative, relative_glob};
use super::problem::{Report, Span};
use super::yaml::Element;
use super::{
    DeclaredCommand, DeclaredVersion, DependenciesConfig, Distributions, EnvironmentConfig, ExecutionConfig,
    Interpreter, Runtime, VerificationCommand, variable,
};
use crate::reference::{PackRef, RuntimeRef};
use crate::version::Series;

/// What a program can exit with.
const EXIT_CODES: RangeInclusive<i64> = 0..=255;
const PRIORITIES: RangeInclusive<i64> = -2_147_483_648..=2_147_483_647;

/// What the reading of one runtime needs to know of the rest.
pub(crate) struct Surroundings<'a> {
    pub(crate) pack: Option<&'a PackRef>,
    pub(crate) bundle: &'a Bundle,
    /// Runtimes of other packs.
    pub(crate) others: &'a [KnownRuntime],
    /// Components of other packs, as `pack.component`.
    pub(crate) components: &'a [String],
    pub(crate) taken: &'a mut Taken,
    /// Runtimes of this pack, complete or not: what asks for one that has problems of its own asks for
    /// one that exists.
    pub(crate) found: &'a mut Vec<KnownRuntime>,
}

pub(crate) fn read(
    element: &Element,
    surroundings: &mut Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Runtime> {
    let mut fields = Fields::of("a runtime", element, report)?;
    let name = fields.required("ref", report, |element, report| {
        let name = own_name(element, surroundings.pack, report)?;
        surroundings.taken.take("runtime", name.as_str(), &element.span, report);
        Some(name)
    });
    if let Some(name) = &name {
        fields.optional("name", report, |element, report| {
            let read = text(element, report)?;
            if read != name.as_str() {
                report.add(
                    &element.span,
                    format!("`{read}` is not the name that `ref` gives the runtime, `{name}`"),
                    "leave `name` out; what people are to read goes into `label`",
                );
            }
            Some(())
        });
    } else {
        fields.element("name");
    }
    let label = fields.optional("label", report, nonempty);
    let description = fields.optional("description", report, text);
    let aliases =
        fields.optional("aliases", report, |element, report| aliases(element, surroundings, report));
    let plugin = fields.element("plugin").map(|element| plugin(element, surroundings, report));
    let distributions = fields.optional("distributions", report, distributions).unwrap_or_default();
    let execution_config = fields.optional("execution_config", report, execution_config).unwrap_or_default();
    let versions = match fields.element("versions") {
        None => Some(Vec::new()),
        Some(element) => versions(element, &distributions, report),
    };
    if let Some(span) = fields.key_span("versions").filter(|_| plugin.is_none()) {
        report.add(
            span,
            "versions are declared, and there is no `plugin` to find installations of them",
            "add `plugin` with a `component`, such as `core.declarative`",
        );
    }
    fields.finish(report);

    let aliases = aliases.unwrap_or_default();
    let reference = surroundings.pack.zip(name).map(|(pack, name)| RuntimeRef::new(pack.clone(), name));
    if let Some(reference) = &reference {
        surroundings.found.push(KnownRuntime {
            reference: reference.clone(),
            aliases: aliases.clone(),
            has_versions: plugin.is_some(),
        });
    }
    let plugin = match plugin {
        None => None,
        Some(read) => Some(read?),
    };
    let reference = reference?;
    Some(Runtime {
        label: label.unwrap_or_else(|| reference.name().to_string()),
        reference,
        description,
        aliases,
        distributions,
        execution_config,
        versions: versions?,
        plugin,
    })
}

fn aliases(
    element: &Element,
    surroundings: &mut Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<String>> {
    let read: Vec<_> = items(element, report)?
        .iter()
        .map(|item| {
            let alias = alias(item, report)?;
            // Without the name of the pack, the others may be the pack itself as it was installed before.
            let others = surroundings.pack.map_or(&[] as &[_], |_| surroundings.others);
            let other = others.iter().find(|other| other.aliases.contains(&alias));
            match other {
                Some(KnownRuntime { reference, .. }) => report.add(
                    &item.span,
                    format!("`{alias}` is an alias of `{reference}` already"),
                    "use another alias, or none: the name of the runtime works too",
                ),
                None => surroundings.taken.take("alias", &alias, &item.span, report),
            }
            Some(alias)
        })
        .collect();
    read.into_iter().collect()
}

fn versions(
    element: &Element,
    inherited: &Distributions,
    report: &mut Report<'_>,
) -> Option<Vec<DeclaredVersion>> {
    let mut taken = Taken::default();
    let mut default: Option<Span> = None;
    let read: Vec<_> = items(element, report)?
        .iter()
        .map(|item| version(item, inherited, &mut taken, &mut default, report))
        .collect();
    read.into_iter().collect()
}

fn version(
    element: &Element,
    inherited: &Distributions,
    taken: &mut Taken,
    default: &mut Option<Span>,
    report: &mut Report<'_>,
) -> Option<DeclaredVersion> {
    let mut fields = Fields::of("a version", element, report)?;
    let version = fields.required("version", report, |element, report| declared(element, taken, report));
    let is_default = fields.optional("is_default", report, |element, report| {
        let is_default = boolean(element, report)?;
        match default {
            Some(first) if is_default => {
                let line = report.source().position(first).line;
                report.add(
                    &element.span,
                    format!("a second version is the default, after that of line {line}"),
                    "keep `is_default: true` at one version",
                );
            }
            _ if is_default => *default = Some(element.span.clone()),
            _ => {}
        }
        Some(is_default)
    });
    let config = fields.element("execution_config").map(|element| execution_config(element, report));
    if config.is_none() {
        report.add(
            &element.span,
            "the version needs an `execution_config` of its own, complete, which is missing",
            "mark the runtime's with `execution_config: &name`, and write `execution_config: *name` here",
        );
    }
    let distributions = fields.optional("distributions", report, distributions);
    let meta = fields.optional("meta", report, meta).unwrap_or_default();
    fields.finish(report);
    Some(DeclaredVersion {
        version: version?,
        is_default: is_default.unwrap_or_default(),
        execution_config: config??,
        distributions: distributions.unwrap_or_else(|| inherited.clone()),
        meta: meta.into_iter().collect::<BTreeMap<_, _>>(),
    })
}

/// What else is said of a version. Only when it ends is understood.
fn meta(element: &Element, report: &mut Report<'_>) -> Option<Vec<(String, String)>> {
    let read = pairs(element, report)?;
    if let Some((_, date)) = read.iter().find(|(key, _)| key == "eol")
        && date.parse::<NaiveDate>().is_err()
    {
        let message = format!("`{date}` is not the date on which a version reaches its end of life");
        report.add(&element.at_pointer("/eol").span, message, "write a date such as `2030-10-31`");
    }
    Some(read)
}

/// It is what a version covers that may not be declared twice: `3.12` and `v3.12` are the same.
fn declared(element: &Element, taken: &mut Taken, report: &mut Report<'_>) -> Option<String> {
    let read = version_text(element, report)?;
    match read.parse::<Series>() {
        Ok(series) => {
            taken.take("version", &series.to_string(), &element.span, report);
            Some(read.trim().to_owned())
        }
        Err(error) => {
            let help =
                error.hint.unwrap_or_else(|| "write one to three numbers, such as `\"3.12\"`".to_owned());
            report.add(&element.span, format!("the version `{read}` can't be read: {}", error.message), help);
            None
        }
    }
}

fn distributions(element: &Element, report: &mut Report<'_>) -> Option<Distributions> {
    let mut fields = Fields::of("a distribution", element, report)?;
    let verification = fields.optional("verification", report, |element, report| {
        let mut fields = Fields::of("a verification", element, report)?;
        let commands = fields.optional("commands", report, list(verification_command));
        fields.finish(report);
        commands
    });
    fields.finish(report);
    let mut verification = verification.unwrap_or_default();
    // Among equals the order of the file stays.
    verification.sort_by_key(|command| command.priority);
    Some(Distributions { verification })
}

fn verification_command(element: &Element, report: &mut Report<'_>) -> Option<VerificationCommand> {
    let mut fields = Fields::of("a verification command", element, report)?;
    let binary = fields.required("binary", report, program_name(false));
    let args = fields.optional("args", report, list(argument)).unwrap_or_default();
    let exit_code = fields.optional("exit_code", report, integer(EXIT_CODES)).unwrap_or_default();
    let pattern = fields.optional("pattern", report, pattern);
    let priority = fields.optional("priority", report, integer(PRIORITIES)).unwrap_or_default();
    let optional = fields.optional("optional", report, boolean).unwrap_or_default();
    fields.finish(report);
    Some(VerificationCommand { binary: binary?, args, exit_code, pattern, priority, optional })
}

fn execution_config(element: &Element, report: &mut Report<'_>) -> Option<ExecutionConfig> {
    let mut fields = Fields::of("an execution config", element, report)?;
    let interpreter = fields.optional("interpreter", report, interpreter).unwrap_or_default();
    let environment = fields.optional("environment", report, environment).unwrap_or_default();
    let dependencies = fields.optional("dependencies", report, dependencies).unwrap_or_default();
    let env_vars = fields.optional("env_vars", report, variable::changes).unwrap_or_default();
    fields.finish(report);
    Some(ExecutionConfig { interpreter, environment, dependencies, env_vars })
}

fn interpreter(element: &Element, report: &mut Report<'_>) -> Option<Interpreter> {
    let mut fields = Fields::of("an interpreter", element, report)?;
    let binary = fields.optional("binary", report, program_name(false));
    let args = fields.optional("args", report, list(argument)).unwrap_or_default();
    fields.finish(report);
    Some(Interpreter { binary, args })
}

fn environment(element: &Element, report: &mut Report<'_>) -> Option<EnvironmentConfig> {
    let mut fields = Fields::of("an environment", element, report)?;
    let create = fields.optional("create", report, list(command)).unwrap_or_default();
    let interpreter = fields.optional("interpreter", report, relative);
    fields.finish(report);
    Some(EnvironmentConfig { create, interpreter })
}

fn dependencies(element: &Element, report: &mut Report<'_>) -> Option<DependenciesConfig> {
    let mut fields = Fields::of("a list of dependencies", element, report)?;
    let manifests = fields.optional("manifests", report, list(relative_glob)).unwrap_or_default();
    let install = fields.optional("install", report, list(command)).unwrap_or_default();
    fields.finish(report);
    Some(DependenciesConfig { manifests, install })
}

fn command(element: &Element, report: &mut Report<'_>) -> Option<DeclaredCommand> {
    let mut fields = Fields::of("a command", element, report)?;
    let run = fields.required("run", report, |element, report| {
        let run = list(argument)(element, report)?;
        if run.first().is_none_or(|program| program.trim().is_empty()) {
            report.add(&element.span, "the command has no program", "write `run: [program, argument, …]`");
            return None;
        }
        Some(run)
    });
    let network = fields.optional("network", report, boolean).unwrap_or_default();
    let timeout = fields.optional("timeout", report, duration);
    fields.finish(report);
    Some(DeclaredCommand { run: run?, network, timeout })
}
