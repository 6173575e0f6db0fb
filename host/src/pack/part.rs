//! A part of a pack that somebody adds or changes by itself: an action, a sensor or a runtime, written as a JSON document.
//!
//! It is read by what reads the files of packs, so that the same is right and the same is wrong, and nothing else.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::alias::AliasUse;
use super::bundle::Bundle;
use super::names::{KnownRuntime, Taken};
use super::problem::{Problem, Problems, Report, Source};
use super::yaml::{self, Element, Value};
use super::{Action, Runtime, Sensor};
use super::{action, program, runtime, sensor};
use crate::reference::PackRef;
use crate::store::StoreError;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

/// What the document is called where it is taken for a file.
const NAME: &str = "document";

/// The installed pack that a part is of, and what it may refer to.
#[derive(Debug)]
pub struct Surroundings {
    pack: PackRef,
    /// Where its files are on this machine.
    folder: PathBuf,
    runtimes: Vec<RuntimeRow>,
    /// Components that can serve runtimes, as `pack.component`.
    components: Vec<String>,
}

/// Something that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as a JSON pointer; empty for the whole document.
    pub pointer: String,
    /// In the text of that field, in characters from 1.
    pub position: Option<usize>,
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl Surroundings {
    /// Those of an installed pack, whose files have this digest.
    pub async fn of(worker: &Worker, pack: &PackRef, digest: &str) -> Result<Self, StoreError> {
        let folder = match worker.pack_files(pack, digest).await {
            Ok(folder) => folder,
            Err(error) => {
                tracing::warn!("an entry point can't be looked for: {error}");
                worker.pack_folder(pack, digest)
            }
        };
        Ok(Self {
            pack: pack.clone(),
            folder,
            runtimes: worker.store.runtimes().await?,
            components: worker.store.component_names().await?,
        })
    }

    /// Reads an action.
    pub fn action(&self, document: &Json) -> Result<Action, Vec<Fault>> {
        self.program(document, action::read)
    }

    /// Reads a sensor.
    pub fn sensor(&self, document: &Json) -> Result<Sensor, Vec<Fault>> {
        self.program(document, sensor::read)
    }

    /// Reads a runtime.
    pub fn runtime(&self, document: &Json) -> Result<Runtime, Vec<Fault>> {
        let own = document.get("ref").and_then(Json::as_str).unwrap_or_default();
        let is_other = |known: &KnownRuntime| {
            let reference = &known.reference;
            reference.to_string() != own
                && !(reference.pack() == &self.pack && reference.name().as_str() == own)
        };
        let others = self.known().filter(is_other).collect::<Vec<_>>();
        let (mut taken, mut found) = (Taken::default(), Vec::new());
        read(document, |element, report| {
            let mut surroundings = runtime::Surroundings {
                pack: Some(&self.pack),
                bundle: &Bundle::default(),
                others: &others,
                components: &self.components,
                taken: &mut taken,
                found: &mut found,
            };
            runtime::read(element, &mut surroundings, report)
        })
    }

    fn known(&self) -> impl Iterator<Item = KnownRuntime> {
        self.runtimes.iter().map(|row| KnownRuntime::from(&row.runtime))
    }

    fn program<T>(
        &self,
        document: &Json,
        reader: impl FnOnce(&Element, &mut program::Surroundings<'_>, &mut Report<'_>) -> Option<T>,
    ) -> Result<T, Vec<Fault>> {
        let (mut taken, mut aliases) = (Taken::default(), Vec::new());
        let known = self.known().collect::<Vec<_>>();
        let bundle = self.with_entry_point(document);
        let mut reader = Some(reader);
        read(document, |element, report| {
            let mut surroundings = program::Surroundings {
                pack: Some(&self.pack),
                bundle: &bundle,
                runtimes: &known,
                taken: &mut taken,
                aliases: &mut aliases,
            };
            let program = reader.take()?(element, &mut surroundings, report);
            self.check_aliases(&aliases, report);
            program
        })
    }

    fn check_aliases(&self, uses: &[AliasUse], report: &mut Report<'_>) {
        for used in uses {
            let runtime = self.runtimes.iter().find(|row| row.runtime.reference == used.runtime);
            let known = runtime.map(|row| row.constraint_aliases.as_slice()).unwrap_or_default();
            used.check(known, report.problems());
        }
    }

    /// Of the pack's files, the one that is to be started, if there is such a file.
    fn with_entry_point(&self, document: &Json) -> Bundle {
        let path = document.get("entry_point").and_then(Json::as_str).unwrap_or_default();
        let file = |executable| Bundle::from_files([(path, &b""[..], executable)]);
        // A path that can't be in a bundle is not looked for.
        if file(false).is_err() {
            return Bundle::default();
        }
        match std::fs::metadata(self.folder.join(path)) {
            Ok(found) if found.is_file() => file(found.permissions().mode() & 0o111 != 0).unwrap_or_default(),
            Ok(_) | Err(_) => Bundle::default(),
        }
    }
}

fn read<T>(
    document: &Json,
    mut reader: impl FnMut(&Element, &mut Report<'_>) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let source = Source::new(NAME, &format!("{document:#}"));
    let mut problems = Problems::default();
    let element = yaml::compose(&mut Report::new(&source, &mut problems));
    let part = element.as_ref().and_then(|element| reader(element, &mut Report::new(&source, &mut problems)));
    match part {
        Some(part) if problems.is_empty() => Ok(part),
        _ => Err(problems.iter().map(|problem| fault(problem, element.as_deref(), &source)).collect()),
    }
}

/// A problem with the field that it is in, in place of its line.
fn fault(problem: &Problem, document: Option<&Element>, source: &Source) -> Fault {
    let Problem { position, message, help, .. } = problem;
    let place = position.zip(document).map(|(position, document)| place(document, position.start, source));
    let (pointer, position) = place.unwrap_or_default();
    Fault { pointer, position, message: message.clone(), help: help.clone() }
}

/// The innermost field that holds a place, as a JSON pointer from `element` on, and where in its text that is.
fn place(element: &Element, start: usize, source: &Source) -> (String, Option<usize>) {
    let within = |name: &str, value: &Element| {
        // A place before it is in the name.
        let (rest, position) =
            if value.span.start <= start { place(value, start, source) } else { (String::new(), None) };
        (format!("/{name}{rest}"), position)
    };
    let found = match &element.value {
        Value::Mapping(entries) => {
            let entry = entries.iter().rev().find(|entry| entry.key_span.start <= start);
            entry.map(|entry| within(&entry.key.replace('~', "~0").replace('/', "~1"), &entry.value))
        }
        Value::Sequence(items) => {
            let item = items.iter().enumerate().rev().find(|(_, item)| item.span.start <= start);
            item.map(|(index, item)| within(&index.to_string(), item))
        }
        Value::Scalar(_) => {
            // After the quote. Without it, the field as a whole is meant.
            let before = source.text.get(element.span.start + 1..start);
            return (String::new(), before.map(|before| before.chars().count() + 1));
        }
    };
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn surroundings() -> (tempfile::TempDir, Surroundings) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("run.sh"), "").expect("a file");
        let surroundings = Surroundings {
            pack: "tools".parse().expect("a pack"),
            folder: folder.path().to_owned(),
            runtimes: Vec::new(),
            components: vec!["core.declarative".to_owned()],
        };
        (folder, surroundings)
    }

    fn faults(document: &Json) -> Vec<(String, Option<usize>)> {
        let (_folder, surroundings) = surroundings();
        let faults = surroundings.action(document).expect_err("a fault");
        faults.into_iter().map(|fault| (fault.pointer, fault.position)).collect()
    }

    #[test]
    fn what_is_wrong_is_in_a_field() {
        let of = |key: &str, value: Json| {
            let mut document = json!({ "ref": "a", "runtime": "none", "entry_point": "run.sh" });
            document[key] = value;
            faults(&document)
        };
        let runtime = ("/runtime".to_owned(), None);
        assert_eq!(of("label", json!("A")), std::slice::from_ref(&runtime));
        for (key, value, position) in [
            ("timeout", json!(-1), None),
            ("entry_point", json!("../run.sh"), None),
            ("entry_point", json!("other.sh"), None),
            ("version_policy", json!("lax"), None),
            ("runtime_version_constraint", json!(">=3.12 <"), Some(8)),
        ] {
            let found = of(key, value.clone());
            assert!(found.contains(&runtime), "{key}: {found:?}");
            let own = found.iter().find(|(pointer, _)| *pointer == format!("/{key}"));
            let (_, found) = own.unwrap_or_else(|| panic!("{key}: {value} is fine: {found:?}"));
            assert!(position.is_none() || *found == position, "{key}: {value}: {found:?}");
        }
        assert!(of("no_such", json!("x")).iter().any(|(pointer, _)| pointer == "/no_such"));
    }

    #[test]
    fn a_runtime_is_read_with_the_components_that_there_are() {
        let (_folder, surroundings) = surroundings();
        let document = |component: &str| json!({ "ref": "tools.own", "label": "Own", "aliases": ["own"], "plugin": { "component": component } });
        let runtime = surroundings.runtime(&document("core.declarative")).expect("a runtime");
        assert_eq!(runtime.reference.to_string(), "tools.own");
        let faults = surroundings.runtime(&document("core.none")).expect_err("a fault");
        assert_eq!(
            faults.first().map(|fault| fault.pointer.as_str()),
            Some("/plugin/component"),
            "{faults:?}"
        );
    }
}
