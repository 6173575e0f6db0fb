//! From the files of a pack to its model: all of it, or everything that is wrong.
//!
//! Decides which file is what and in which order they are read: names first, then what refers to them.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::bundle::{Bundle, BundleEntry};
use super::manifest::Manifest;
use super::names::{KnownRuntime, Taken};
use super::problem::{Problems, Report, Source};
use super::yaml::{self, Element};
use super::{Action, COMPONENTS, Component, MANIFEST, Pack, Runtime, Sensor};
use super::{action, manifest, program, runtime, sensor};
use crate::digest;
use crate::reference::{Name, PackRef, RuntimeRef};

const RUNTIMES: &str = "runtimes/";
const ACTIONS: &str = "actions/";
const SENSORS: &str = "sensors/";

/// What WebAssembly starts with, before four bytes for version and layer.
const WASM_MAGIC: &[u8] = b"\0asm";
/// A component: version 13, layer 1.
const COMPONENT_VERSION: &[u8] = &[0x0d, 0x00, 0x01, 0x00];
/// A module: version 1, layer 0.
const MODULE_VERSION: &[u8] = &[0x01, 0x00, 0x00, 0x00];

/// Reads a pack. `known_runtimes` are those of installed packs, which actions may ask for as well as for
/// the pack's own; those of an older version of the same pack are ignored.
pub fn load(bundle: &Bundle, known_runtimes: &[KnownRuntime]) -> Result<Pack, Problems> {
    let mut problems = Problems::default();
    let (reference, manifest) = read_manifest(bundle, &mut problems);
    let others: Vec<_> = known_runtimes
        .iter()
        .filter(|known| Some(known.reference.pack()) != reference.as_ref())
        .cloned()
        .collect();
    let mut taken = Taken::default();
    let (runtimes, found) = read_runtimes(bundle, reference.as_ref(), &others, &mut taken, &mut problems);
    let known: Vec<_> = found.into_iter().chain(others).collect();
    let surroundings = program::Surroundings { pack: reference.as_ref(), bundle, runtimes: &known };
    let actions: Vec<Option<Action>> = each(bundle, ACTIONS, &mut problems, |_, element, report| {
        action::read(element, surroundings, &mut taken, report)
    });
    let sensors: Vec<Option<Sensor>> = each(bundle, SENSORS, &mut problems, |_, element, report| {
        sensor::read(element, surroundings, &mut taken, report)
    });
    let components = components(bundle, &mut problems);
    if runtimes.is_empty() && actions.is_empty() && sensors.is_empty() && components.is_empty() {
        problems.add_file(
            MANIFEST,
            "the pack is empty: it has no actions, sensors, runtimes or components",
            "add an action: `actions/name.yaml`, and the file that it starts",
        );
    }
    let complete = || {
        let (reference, manifest) = (reference?, manifest?);
        Some(Pack {
            label: manifest.label.unwrap_or_else(|| reference.to_string()),
            reference,
            description: manifest.description,
            version: manifest.version,
            author: manifest.author,
            config_schema: manifest.config_schema,
            tags: manifest.tags,
            runtimes: runtimes.into_iter().collect::<Option<_>>()?,
            actions: actions.into_iter().collect::<Option<_>>()?,
            sensors: sensors.into_iter().collect::<Option<_>>()?,
            components,
            digest: bundle.digest(),
        })
    };
    match complete() {
        Some(pack) if problems.is_empty() => Ok(pack),
        _ => Err(problems),
    }
}

fn read_manifest(bundle: &Bundle, problems: &mut Problems) -> (Option<PackRef>, Option<Manifest>) {
    let Some(entry) = bundle.get(MANIFEST) else {
        problems.add_file(
            MANIFEST,
            "the file is missing, and without it the files are no pack",
            "write at least `ref: name` and `version: \"1.0.0\"`",
        );
        return (None, None);
    };
    let Some((source, element)) = compose(MANIFEST, entry, problems) else { return (None, None) };
    manifest::read(&element, &mut Report::new(&source, problems))
}

/// Also all runtimes that there are, even those with problems, for what asks for one.
fn read_runtimes(
    bundle: &Bundle,
    pack: Option<&PackRef>,
    others: &[KnownRuntime],
    taken: &mut Taken,
    problems: &mut Problems,
) -> (Vec<Option<Runtime>>, Vec<KnownRuntime>) {
    let mut found = Vec::new();
    let runtimes = each(bundle, RUNTIMES, problems, |_, element, report| {
        let mut surroundings =
            runtime::Surroundings { pack, bundle, others, taken: &mut *taken, found: &mut found };
        runtime::read(element, &mut surroundings, report)
    });
    // A file that can't be read is most likely the runtime that it is named after.
    for (path, _) in definitions(bundle, RUNTIMES) {
        let name = path.strip_prefix(RUNTIMES).and_then(|path| path.strip_suffix(".yaml"));
        let Some((pack, name)) = pack.zip(name.and_then(|name| name.parse::<Name>().ok())) else { continue };
        let reference = RuntimeRef::new(pack.clone(), name);
        let unread = problems.iter().any(|problem| problem.path == path);
        if unread && found.iter().all(|known| known.reference != reference) {
            found.push(KnownRuntime { reference, aliases: Vec::new(), has_versions: true });
        }
    }
    (runtimes, found)
}

/// Reads every file of one kind.
fn each<T>(
    bundle: &Bundle,
    folder: &str,
    problems: &mut Problems,
    mut read: impl FnMut(&str, &Element, &mut Report<'_>) -> Option<T>,
) -> Vec<Option<T>> {
    for (path, _) in bundle.iter() {
        let Some(name) = path.strip_prefix(folder).filter(|name| !name.contains('/')) else { continue };
        if let Some(stem) = name.strip_suffix(".yml") {
            problems.add_file(
                path,
                "files that end in `.yml` are not read",
                format!("call it `{folder}{stem}.yaml`"),
            );
        }
    }
    definitions(bundle, folder)
        .map(|(path, entry)| {
            let (source, element) = compose(path, entry, problems)?;
            read(path, &element, &mut Report::new(&source, problems))
        })
        .collect()
}

/// The YAML files of a folder; in folders below it they are the authors' own.
fn definitions<'a>(bundle: &'a Bundle, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a BundleEntry)> {
    bundle.iter().filter(move |(path, _)| {
        path.strip_prefix(folder)
            .and_then(|name| name.strip_suffix(".yaml"))
            .is_some_and(|stem| !stem.contains('/'))
    })
}

fn compose(path: &str, entry: &BundleEntry, problems: &mut Problems) -> Option<(Source, Rc<Element>)> {
    let text = match std::str::from_utf8(&entry.bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = entry.bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            problems.add_file(
                path,
                format!("the file is not UTF-8: see line {line}, byte {} of the file", before.len() + 1),
                "save it as UTF-8",
            );
            return None;
        }
    };
    // Some editors mark a file as UTF-8 with this; positions are counted without it.
    let source = Source::new(path, text.strip_prefix('\u{feff}').unwrap_or(text));
    let element = yaml::compose(&mut Report::new(&source, problems))?;
    Some((source, element))
}

fn components(bundle: &Bundle, problems: &mut Problems) -> BTreeMap<String, Component> {
    let mut components = BTreeMap::new();
    for (path, BundleEntry { bytes, .. }) in bundle.iter() {
        let Some(name) = path.strip_prefix(COMPONENTS).and_then(|name| name.strip_suffix(".wasm")) else {
            continue;
        };
        if let Err(error) = name.parse::<Name>() {
            problems.add_file(path, error.to_string(), "rename the file");
        }
        let fault = match (bytes.strip_prefix(WASM_MAGIC), bytes.get(4..8)) {
            (Some(_), Some(COMPONENT_VERSION)) => None,
            (Some(_), Some(MODULE_VERSION)) => Some("the file is a WebAssembly module, not a component"),
            (Some(_), _) => Some("the file is WebAssembly of a version that is not known"),
            (None, _) => Some("the file is not WebAssembly"),
        };
        if let Some(fault) = fault {
            problems.add_file(path, fault, "build it with `cargo build --target wasm32-wasip2`");
        }
        components.insert(
            name.to_owned(),
            Component { name: name.to_owned(), sha256: digest::of_bytes(bytes), wasm: bytes.to_vec() },
        );
    }
    components
}
