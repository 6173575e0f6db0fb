//! `[grants]`: the most that components get of what packs ask for.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::scalar;
use crate::nearest::did_you_mean;
use crate::pack::ceiling::{Ceiling, Ceilings};
use crate::plugin::NamePatterns;

/// What can be narrowed.
const NAMES: [&str; 6] = ["tools", "deny_tools", "search", "read", "variables", "network"];

/// A mistake, and where it is.
type Mistake = (usize, String);

/// Reads the table. `note` is told of each entry: its name, its value as text, and where both are.
pub(super) fn ceilings(
    table: DeTable<'_>,
    note: &mut dyn FnMut(String, String, usize, usize),
) -> Result<Ceilings, Mistake> {
    let mut ceilings = Ceilings::default();
    for (name, value) in table {
        let at = name.span().start;
        let text = name.get_ref().to_string();
        if let DeValue::Table(_) = value.get_ref() {
            let pack = text.parse().map_err(|_| (at, format!("`{text}` is no name of a pack")))?;
            let ceiling = ceilings.packs.entry(pack).or_default();
            let DeValue::Table(table) = value.into_inner() else { continue };
            for (name, value) in table {
                let prefix = format!("grants.{text}");
                narrow(ceiling, &prefix, (name.span().start, name.get_ref()), value, note)?;
            }
        } else {
            narrow(&mut ceilings.all, "grants", (at, &text), value, note)?;
        }
    }
    Ok(ceilings)
}

fn narrow(
    ceiling: &mut Ceiling,
    prefix: &str,
    (at, name): (usize, &str),
    value: Spanned<DeValue<'_>>,
    note: &mut dyn FnMut(String, String, usize, usize),
) -> Result<(), Mistake> {
    let offset = value.span().start;
    let value = value.into_inner();
    if !NAMES.contains(&name) {
        let nearest = crate::nearest::nearest(NAMES.map(|name| (name, name)), name)
            .map_or_else(|| format!("; it can be {}", NAMES.join(", ")), did_you_mean);
        return Err((at, format!("there is no grant `{name}`{nearest}")));
    }
    let text = if name == "network" {
        let DeValue::Boolean(network) = value else {
            return Err((offset, "`network` is true or false".to_owned()));
        };
        ceiling.network = Some(network);
        network.to_string()
    } else {
        let items = match value {
            DeValue::Array(items) => {
                items.into_iter().map(|item| scalar(item.into_inner())).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        let items = items.ok_or_else(|| (offset, format!("`{name}` is a list of texts")))?;
        let text = if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        if name.ends_with("tools") {
            NamePatterns::compile(&items)
                .map_err(|(pattern, reason)| (offset, format!("`{pattern}` can't be a tool: {reason}")))?;
        }
        match name {
            "tools" => ceiling.tools = Some(items),
            "deny_tools" => ceiling.deny_tools = items,
            "search" => ceiling.search = Some(items),
            "read" => ceiling.read = Some(items),
            _ => ceiling.variables = Some(items),
        }
        text
    };
    note(format!("{prefix}.{name}"), text, at, offset);
    Ok(())
}
