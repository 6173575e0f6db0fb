//! `actions/*.yaml`.

use super::decode::{Fields, at_least_one, boolean, choice, duration, integer, nonempty, text};
use super::names::own_name;
use super::problem::Report;
use super::program::{self, Surroundings};
use super::schema::{parameters_schema, schema};
use super::yaml::Element;
use super::{Action, Output, OutputFormat, ParameterDelivery, ParameterFormat, Parameters};
use crate::reference::ActionRef;

const DELIVERIES: &[(&str, ParameterDelivery)] =
    &[("stdin", ParameterDelivery::Stdin), ("file", ParameterDelivery::File)];

const PARAMETER_FORMATS: &[(&str, ParameterFormat)] =
    &[("json", ParameterFormat::Json), ("dotenv", ParameterFormat::Dotenv), ("yaml", ParameterFormat::Yaml)];

const OUTPUT_FORMATS: &[(&str, OutputFormat)] = &[
    ("text", OutputFormat::Text),
    ("json", OutputFormat::Json),
    ("jsonl", OutputFormat::Jsonl),
    ("yaml", OutputFormat::Yaml),
];

pub(crate) fn read(
    element: &Element,
    surroundings: &mut Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Action> {
    let mut fields = Fields::of("an action", element, report)?;
    let name = fields.required("ref", report, |element, report| {
        let name = own_name(element, surroundings.pack, report)?;
        surroundings.taken.take("action", name.as_str(), &element.span, report);
        Some(name)
    });
    let label = fields.optional("label", report, nonempty);
    let description = fields.optional("description", report, text);
    let program = program::read(&mut fields, surroundings, report);
    let parameters = Parameters {
        schema: fields.optional("parameters", report, parameters_schema),
        delivery: fields.optional("parameter_delivery", report, choice(DELIVERIES)).unwrap_or_default(),
        format: fields.optional("parameter_format", report, choice(PARAMETER_FORMATS)).unwrap_or_default(),
    };
    let output = Output {
        format: fields.optional("output_format", report, choice(OUTPUT_FORMATS)).unwrap_or_default(),
        schema: fields.optional("output_schema", report, schema),
    };
    let timeout = fields.optional("timeout", report, duration);
    let retries = fields.optional("retries", report, integer(0..=u32::MAX.into())).unwrap_or_default();
    let help = "write at least 1, leave it out for no limit, or turn it off by `enabled: false`";
    let concurrency = fields.optional("concurrency", report, at_least_one(help));
    let idempotent = fields.optional("idempotent", report, boolean).unwrap_or_default();
    let enabled = fields.optional("enabled", report, boolean).unwrap_or(true);
    fields.finish(report);

    let reference = ActionRef::new(surroundings.pack?.clone(), name?);
    Some(Action {
        label: label.unwrap_or_else(|| reference.name().to_string()),
        reference,
        description,
        program: program?,
        parameters,
        output,
        timeout,
        retries,
        concurrency,
        idempotent,
        enabled,
    })
}
