//! Variables: which names there are, and what YAML may do to them.

use super::VariableChange;
use super::decode::{self, Fields};
use super::problem::{Report, Span};
use super::yaml::{Element, Entry, Value};
use crate::variable;

/// The host's own variables.
const RESERVED_PREFIX: &str = "ATTUNE_";

/// The name of a variable that a pack may set.
pub(crate) fn check_name(name: &str, span: &Span, report: &mut Report<'_>) -> bool {
    if !variable::is_name(name) {
        report.add(
            span,
            format!("`{name}` can't be the name of a variable"),
            "use letters, digits and `_`, without a digit at the start",
        );
        return false;
    }
    if name.starts_with(RESERVED_PREFIX) {
        report.add(
            span,
            format!("`{name}` is Attune's own: names with `{RESERVED_PREFIX}` are set by the host"),
            "use another name",
        );
        return false;
    }
    true
}

/// `env_vars`: a value, or a mapping that says what to do.
pub(crate) fn changes(element: &Element, report: &mut Report<'_>) -> Option<Vec<(String, VariableChange)>> {
    let read: Vec<_> = decode::entries(element, report)?
        .iter()
        .map(|Entry { key, key_span, value }| {
            let named = check_name(key, key_span, report);
            let change = change(value, report)?;
            named.then(|| (key.to_string(), change))
        })
        .collect();
    read.into_iter().collect()
}

fn change(element: &Element, report: &mut Report<'_>) -> Option<VariableChange> {
    if !matches!(element.value, Value::Mapping(_)) {
        return variable_value(element, report).map(VariableChange::Set);
    }
    let mut fields = Fields::of("a variable", element, report)?;
    let changes = [
        fields.optional("set", report, variable_value).map(VariableChange::Set),
        fields.optional("prepend", report, variable_value).map(VariableChange::Prepend),
        fields.optional("append", report, variable_value).map(VariableChange::Append),
        fields.optional("unset", report, unset),
    ];
    let written =
        ["set", "prepend", "append", "unset"].into_iter().filter(|key| fields.element(key).is_some()).count();
    fields.finish(report);
    if written != 1 {
        report.add(
            &element.span,
            format!("a variable is changed in exactly one way, and here are {written}"),
            "write one of `set`, `prepend`, `append` or `unset: true`",
        );
        return None;
    }
    changes.into_iter().flatten().next()
}

fn variable_value(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let value = decode::verbatim(element, report)?;
    if value.contains('\0') {
        report.add(&element.span, "the value has a zero byte, which no variable can hold", "leave it out");
        return None;
    }
    Some(value)
}

fn unset(element: &Element, report: &mut Report<'_>) -> Option<VariableChange> {
    if decode::boolean(element, report)? {
        return Some(VariableChange::Unset);
    }
    report.add(
        &element.span,
        "`unset: false` does nothing",
        "write `unset: true`, or leave the variable out",
    );
    None
}
