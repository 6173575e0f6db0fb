//! Names within a pack and the runtimes they can mean.

use std::collections::BTreeMap;

use super::Runtime;
use super::decode::nonempty;
use super::problem::{Report, Span, nearest};
use super::yaml::Element;
use crate::reference::{InvalidReference, Name, PackRef, RuntimeRef};

/// A runtime that actions can ask for: of an installed pack, or of the pack that is being loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRuntime {
    /// Pack and name.
    pub reference: RuntimeRef,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Whether there are versions to choose from: not if the entry point is itself the program.
    pub has_versions: bool,
}

impl KnownRuntime {
    /// Whether `text` is its reference, its name without the pack, or an alias.
    #[must_use]
    pub fn answers_to(&self, text: &str) -> bool {
        self.is_reference(text)
            || self.reference.name().as_str() == text
            || self.aliases.iter().any(|alias| alias == text)
    }

    fn is_reference(&self, text: &str) -> bool {
        text.split_once('.').is_some_and(|(pack, name)| {
            self.reference.pack().as_str() == pack && self.reference.name().as_str() == name
        })
    }
}

impl From<&Runtime> for KnownRuntime {
    fn from(runtime: &Runtime) -> Self {
        Self {
            reference: runtime.reference.clone(),
            aliases: runtime.aliases.clone(),
            has_versions: runtime.plugin.is_some(),
        }
    }
}

/// What installed packs have for others.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Runtimes that actions can ask for.
    pub runtimes: Vec<KnownRuntime>,
    /// Components that can serve runtimes, as `pack.component`.
    pub components: Vec<String>,
}

/// What came of looking for a runtime by what an action wrote.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// It is this one.
    Found(&'a KnownRuntime),
    /// Several packs have a runtime of that name.
    Ambiguous(Vec<&'a KnownRuntime>),
    /// None is called so.
    Unknown,
}

/// The runtime that `text` means to something of the pack `own`: a reference first, then what `own` itself
/// calls so, then what any other pack does.
#[must_use]
pub fn find_runtime<'a>(text: &str, own: Option<&PackRef>, known: &'a [KnownRuntime]) -> Lookup<'a> {
    if let Some(found) = known.iter().find(|runtime| runtime.is_reference(text)) {
        return Lookup::Found(found);
    }
    let matching: Vec<_> = known.iter().filter(|runtime| runtime.answers_to(text)).collect();
    if let Some(found) = matching.iter().find(|runtime| Some(runtime.reference.pack()) == own) {
        return Lookup::Found(found);
    }
    match matching.as_slice() {
        [] => Lookup::Unknown,
        [only] => Lookup::Found(only),
        _ => Lookup::Ambiguous(matching),
    }
}

/// The known runtime that was probably meant.
pub(crate) fn nearest_runtime(text: &str, known: &[KnownRuntime]) -> Option<String> {
    let references: Vec<_> = known.iter().map(|runtime| runtime.reference.to_string()).collect();
    let names = known.iter().map(|runtime| runtime.reference.name().as_str());
    let aliases = known.iter().flat_map(|runtime| &runtime.aliases).map(String::as_str);
    nearest(text, references.iter().map(String::as_str).chain(aliases).chain(names)).map(str::to_owned)
}

/// Names that are taken, with where.
#[derive(Debug, Default)]
pub(crate) struct Taken(BTreeMap<(&'static str, String), String>);

impl Taken {
    /// Takes a name for something of one kind; a problem if it is taken.
    pub(crate) fn take(&mut self, kind: &'static str, name: &str, span: &Span, report: &mut Report<'_>) {
        let source = report.source();
        let place = format!("{}:{}", source.path, source.position(span).line);
        let key = (kind, name.to_owned());
        if let Some(first) = self.0.get(&key) {
            report.add(span, format!("the {kind} `{name}` is there already, at {first}"), "use another name");
        } else {
            self.0.insert(key, place);
        }
    }
}

/// A `ref` of something that the pack ships: its name, or pack and name.
pub(crate) fn own_name(element: &Element, pack: Option<&PackRef>, report: &mut Report<'_>) -> Option<Name> {
    let read = nonempty(element, report)?;
    let (prefix, name) = match read.split_once('.') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, read.as_str()),
    };
    let name = name.parse::<Name>().map_err(|error: InvalidReference| {
        report.add(&element.span, error.to_string(), "write a name such as `greet`");
    });
    if let (Some(prefix), Some(pack)) = (prefix, pack)
        && prefix != pack.as_str()
    {
        report.add(
            &element.span,
            format!("`{read}` says that it belongs to the pack `{prefix}`, and this is `{pack}`"),
            match &name {
                Ok(name) => format!("write `{pack}.{name}`"),
                Err(()) => format!("write `{pack}.` and the name"),
            },
        );
        return None;
    }
    name.ok()
}

/// `element.js` and `c++` are aliases that people expect.
pub(crate) fn alias(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let read = nonempty(element, report)?;
    let starts_well = read.starts_with(|first: char| first.is_ascii_lowercase());
    let goes_on_well = read.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'#')
    });
    if starts_well && goes_on_well && read.len() <= 64 {
        return Some(read);
    }
    report.add(
        &element.span,
        format!("`{read}` can't be an alias"),
        "use a lower-case letter, then up to 63 lower-case letters, digits, `_`, `-`, `.`, `+` or `#`",
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(reference: &str, aliases: &[&str]) -> KnownRuntime {
        KnownRuntime {
            reference: reference.parse().expect("a reference"),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            has_versions: true,
        }
    }

    #[test]
    fn runtimes_are_found() {
        let known = [
            known("core.lua", &["lua5"]),
            known("core.awk", &["awk.gnu", "shared"]),
            known("mine.awk", &[]),
            known("other.awk", &["shared"]),
        ];
        for (own, text, expected) in [
            ("examples", "core.lua", "core.lua"),
            ("examples", "lua", "core.lua"),
            ("examples", "lua5", "core.lua"),
            ("examples", "awk.gnu", "core.awk"),
            ("examples", "other.awk", "other.awk"),
            ("mine", "awk", "mine.awk"),
            ("examples", "awk", "ambiguous"),
            ("examples", "shared", "ambiguous"),
            ("examples", "Lua", "unknown"),
            ("examples", "mine.lua", "unknown"),
            ("examples", "", "unknown"),
        ] {
            let own = own.parse().expect("a name");
            let found = match find_runtime(text, Some(&own), &known) {
                Lookup::Found(runtime) => runtime.reference.to_string(),
                Lookup::Ambiguous(_) => "ambiguous".to_owned(),
                Lookup::Unknown => "unknown".to_owned(),
            };
            assert_eq!(found, expected, "{text} in {own}");
        }
    }
}
