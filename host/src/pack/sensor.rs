//! `sensors/*.yaml`.

use super::Sensor;
use super::decode::{Fields, boolean, nonempty, text};
use super::names::own_name;
use super::problem::Report;
use super::program::{self, Surroundings};
use super::schema::schema;
use super::yaml::Element;
use crate::reference::SensorRef;

pub(crate) fn read(
    element: &Element,
    surroundings: &mut Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Sensor> {
    let mut fields = Fields::of("a sensor", element, report)?;
    let name = fields.required("ref", report, |element, report| {
        let name = own_name(element, surroundings.pack, report)?;
        surroundings.taken.take("sensor", name.as_str(), &element.span, report);
        Some(name)
    });
    let label = fields.optional("label", report, nonempty);
    let description = fields.optional("description", report, text);
    let program = program::read(&mut fields, surroundings, report);
    let event_schema = fields.optional("event_schema", report, schema);
    let enabled = fields.optional("enabled", report, boolean).unwrap_or(true);
    fields.finish(report);

    let reference = SensorRef::new(surroundings.pack?.clone(), name?);
    Some(Sensor {
        label: label.unwrap_or_else(|| reference.name().to_string()),
        reference,
        description,
        program: program?,
        event_schema,
        enabled,
    })
}
