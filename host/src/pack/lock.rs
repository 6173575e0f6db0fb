//! `attune.lock`: the digests that the components of a pack have to have.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use super::bundle::Bundle;
use super::problem::{Problems, Source, Span};
use super::{Component, component_name};
use crate::digest;

/// Where it is.
pub const LOCK: &str = "attune.lock";

const TABLE: &str = "components";
const LOCK_ANEW: &str = "if it is as it should be, lock it anew: `attune pack lock DIR`";

/// What pins the components of a pack as they are; none if there are none.
#[must_use]
pub fn of(bundle: &Bundle) -> Option<String> {
    let components = bundle.iter().filter_map(|(path, entry)| {
        let name = component_name(path)?;
        Some((name, digest::of_bytes(&entry.bytes)))
    });
    let components = components.collect::<Vec<_>>();
    if components.is_empty() {
        return None;
    }
    let mut text =
        format!("# SHA-256 of this pack's components, written by `attune pack lock`.\n[{TABLE}]\n");
    for (name, digest) in components {
        // Writing to a string can't fail.
        let _ = writeln!(text, "\"{name}\" = \"{digest}\"");
    }
    Some(text)
}

/// Says which components are not those that were locked. A pack without a lock has nothing to compare them with.
pub(super) fn check(bundle: &Bundle, components: &BTreeMap<String, Component>, problems: &mut Problems) {
    let Some(entry) = bundle.get(LOCK) else { return };
    let text = String::from_utf8_lossy(&entry.bytes);
    let source = Source::new(LOCK, &text);
    let locked = match read(&text) {
        Ok(locked) => locked,
        Err((span, message)) => {
            return problems.add(&source, &span, message, "write it anew: `attune pack lock DIR`");
        }
    };
    for (name, (span, locked)) in &locked {
        match components.get(name) {
            Some(component) if component.sha256 == *locked => {}
            Some(component) => problems.add(
                &source,
                span,
                format!(
                    "the component `{name}` is not the one that was locked: its digest is {}",
                    component.sha256
                ),
                LOCK_ANEW,
            ),
            None => {
                problems.add(&source, span, format!("the component `{name}` is not in the pack"), LOCK_ANEW);
            }
        }
    }
    for name in components.keys().filter(|name| !locked.contains_key(*name)) {
        problems.add_file(LOCK, format!("the component `{name}` was not locked"), LOCK_ANEW);
    }
}

/// The digest of each component, and where it is written.
fn read(text: &str) -> Result<BTreeMap<String, (Span, String)>, (Span, String)> {
    let table = DeTable::parse(text)
        .map_err(|error| (error.span().unwrap_or_default(), error.message().to_owned()))?;
    let mut locked = BTreeMap::new();
    for (name, value) in table.into_inner() {
        let span = name.span();
        match (name.get_ref().as_ref(), value.into_inner()) {
            (TABLE, DeValue::Table(components)) => {
                for (name, value) in components {
                    let span = value.span();
                    let DeValue::String(digest) = value.into_inner() else {
                        return Err((span, "a digest is a text".to_owned()));
                    };
                    locked.insert(name.into_inner().into_owned(), (span, digest.into_owned()));
                }
            }
            (name, _) => return Err((span, format!("there is no `{name}` in a lock"))),
        }
    }
    Ok(locked)
}
