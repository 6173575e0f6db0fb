//! From the files of a pack to its model: all of it, or everything that is wrong.
//!
//! Decides which file is what and in which order they are read: names first, then what refers to them.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::alias::AliasUse;
use super::bundle::{Bundle, BundleEntry, Unfit};
use super::manifest::Manifest;
use super::names::{Known, KnownRuntime, Taken};
use super::problem::{Problems, Report, Source, nearest};
use super::yaml::{self, Element};
use super::{Action, COMPONENTS, Component, MANIFEST, Pack, Runtime, Sensor};
use super::{action, lock, manifest, program, runtime, sensor};
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

/// What came of reading a pack.
#[derive(Debug)]
pub struct Loaded<'b> {
    pub(crate) problems: Problems,
    /// Aliases that are asked for. Whether there are such is known to components, and not checked yet.
    pub(crate) aliases: Vec<AliasUse>,
    pub(crate) reference: Option<PackRef>,
    /// None for those that could not be read; so with actions and sensors.
    pub(crate) runtimes: Vec<Option<Runtime>>,
    pub(crate) components: BTreeMap<String, Component>,
    bundle: &'b Bundle,
    manifest: Option<Manifest>,
    actions: Vec<Option<Action>>,
    sensors: Vec<Option<Sensor>>,
}

impl Loaded<'_> {
    /// Whether its lock names the digests of its components, and they have them.
    pub(crate) fn is_locked(&self) -> bool {
        self.bundle.get(lock::LOCK).is_some()
            && self.problems.iter().all(|problem| problem.path != lock::LOCK)
    }

    /// The pack, or everything that is wrong with it.
    pub fn into_pack(self) -> Result<Pack, Problems> {
        let Self { problems, reference, runtimes, components, bundle, manifest, actions, sensors, .. } = self;
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
                concurrency: manifest.concurrency,
                runtimes: runtimes.into_iter().collect::<Option<_>>()?,
                actions: actions.into_iter().collect::<Option<_>>()?,
                sensors: sensors.into_iter().collect::<Option<_>>()?,
                components,
                locked: bundle.get(lock::LOCK).is_some(),
                digest: bundle.digest(),
            })
        };
        match complete() {
            Some(pack) if problems.is_empty() => Ok(pack),
            _ => Err(problems),
        }
    }
}

/// Reads a pack. `known` is what installed packs have, which this one may refer to as well as to its own; what
/// an older version of the same pack has is ignored.
#[must_use]
pub fn load<'b>(bundle: &'b Bundle, known: &Known) -> Loaded<'b> {
    let mut problems = unfit(bundle);
    let (reference, manifest) = read_manifest(bundle, &mut problems);
    let others: Vec<_> = known
        .runtimes
        .iter()
        .filter(|known| Some(known.reference.pack()) != reference.as_ref())
        .cloned()
        .collect();
    let mut taken = Taken::default();
    let mut found = Vec::new();
    let mut surroundings = runtime::Surroundings {
        pack: reference.as_ref(),
        bundle,
        others: &others,
        components: &known.components,
        taken: &mut taken,
        found: &mut found,
    };
    let runtimes = each(bundle, RUNTIMES, &mut problems, |element, report| {
        runtime::read(element, &mut surroundings, report)
    });
    let unread = unread_runtimes(reference.as_ref(), &found, &problems);
    let runtimes_known: Vec<_> = found.into_iter().chain(unread).chain(others).collect();
    let mut aliases = Vec::new();
    let mut surroundings = program::Surroundings {
        pack: reference.as_ref(),
        bundle,
        runtimes: &runtimes_known,
        taken: &mut taken,
        aliases: &mut aliases,
    };
    let actions = each(bundle, ACTIONS, &mut problems, |element, report| {
        action::read(element, &mut surroundings, report)
    });
    let sensors = each(bundle, SENSORS, &mut problems, |element, report| {
        sensor::read(element, &mut surroundings, report)
    });
    misplaced(bundle, &mut problems);
    let components = components(bundle, &mut problems);
    lock::check(bundle, &components, &mut problems);
    let nothing = runtimes.is_empty() && actions.is_empty() && sensors.is_empty() && components.is_empty();
    // Where something is wrong below the pack's folder, something is there.
    let hidden = problems.iter().any(|problem| problem.path.contains('/')) || !bundle.unfit().is_empty();
    if nothing && !hidden {
        problems.add_file(
            MANIFEST,
            "the pack is empty: it has no actions, sensors, runtimes or components",
            misnamed_folder(bundle).unwrap_or_else(|| {
                "add an action: `actions/name.yaml`, and the file that it starts".to_owned()
            }),
        );
    }
    Loaded { problems, aliases, reference, runtimes, components, bundle, manifest, actions, sensors }
}

/// What of the folder or archive can't be in a pack.
#[must_use]
pub fn unfit(bundle: &Bundle) -> Problems {
    let mut problems = Problems::default();
    for Unfit { path, line, message, help } in bundle.unfit() {
        let text = bundle.get(path).and_then(|entry| std::str::from_utf8(&entry.bytes).ok());
        match line.zip(text) {
            Some((line, text)) => {
                let before = text.split_inclusive('\n').take(line.saturating_sub(1));
                let start = before.map(str::len).sum();
                let length = text.get(start..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
                problems.add(&Source::new(path, text), &(start..start + length), message, *help);
            }
            None => problems.add_file(path, message, *help),
        }
    }
    problems
}

/// A folder whose name is nearly one of those that are read.
fn misnamed_folder(bundle: &Bundle) -> Option<String> {
    let folders = [RUNTIMES, ACTIONS, SENSORS, COMPONENTS].map(|folder| folder.trim_end_matches('/'));
    bundle.iter().find_map(|(path, _)| {
        let (folder, _) = path.split_once('/')?;
        let meant = nearest(folder, folders)?;
        Some(format!("call the folder `{meant}`: `{folder}` is not read"))
    })
}

/// Definitions where none are read: below a folder of definitions, or in one whose name is nearly that of one.
fn misplaced(bundle: &Bundle, problems: &mut Problems) {
    let folders = [RUNTIMES, ACTIONS, SENSORS].map(|folder| folder.trim_end_matches('/'));
    for (path, entry) in bundle.iter() {
        let Some((folder, name)) = path.split_once('/') else { continue };
        let Some(meant) = nearest(folder, folders).filter(|_| is_definition(name, entry)) else { continue };
        let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
        let right = format!("{meant}/{file}");
        if path != right {
            problems.add_file(
                path,
                format!("only the files right in the folder `{meant}` are read"),
                format!("move it to `{right}`"),
            );
        }
    }
}

/// Whether a file defines an action, a sensor or a runtime, as far as its keys tell.
fn is_definition(name: &str, entry: &BundleEntry) -> bool {
    let Some(text) = name.strip_suffix(".yaml").and_then(|_| std::str::from_utf8(&entry.bytes).ok()) else {
        return false;
    };
    let has =
        |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    has("ref") && ["entry_point", "plugin", "execution_config"].into_iter().any(has)
}

fn read_manifest(bundle: &Bundle, problems: &mut Problems) -> (Option<PackRef>, Option<Manifest>) {
    let misnamed = || bundle.iter().find(|(path, _)| misnamed(path).is_some_and(|stem| stem == "pack"));
    let (path, entry) = match bundle.get(MANIFEST).map(|entry| (MANIFEST, entry)).or_else(misnamed) {
        Some(found) => found,
        None if bundle.is_unfit(MANIFEST) => return (None, None),
        None if bundle.has_folder(MANIFEST) => {
            problems.add_file(
                MANIFEST,
                "it is a folder",
                "make it a file, with at least `ref` and `version`",
            );
            return (None, None);
        }
        None => {
            let within = bundle.iter().find_map(|(path, _)| {
                path.strip_suffix(MANIFEST)?.strip_suffix('/').filter(|folder| !folder.contains('/'))
            });
            let help = within.map_or_else(
                || "write at least `ref: name` and `version: \"1.0.0\"`".to_owned(),
                |folder| format!("if the folder `{folder}` is the pack, name that one"),
            );
            problems.add_file(MANIFEST, "the file is missing, and without it the files are no pack", help);
            return (None, None);
        }
    };
    if path != MANIFEST {
        problems.add_file(path, format!("`{path}` is not read"), format!("rename it to `{MANIFEST}`"));
    }
    let Some((source, element)) = compose(path, &entry.bytes, problems) else { return (None, None) };
    manifest::read(&element, &mut Report::new(&source, problems))
}

/// The runtimes of files that can't be read: most likely they are those that the files are named after.
fn unread_runtimes(pack: Option<&PackRef>, found: &[KnownRuntime], problems: &Problems) -> Vec<KnownRuntime> {
    let wrong = problems.iter().map(|problem| problem.path.as_str());
    let names =
        wrong.filter_map(|path| path.strip_prefix(RUNTIMES)?.rsplit_once('.')?.0.parse::<Name>().ok());
    let references = names.filter_map(|name| Some(RuntimeRef::new(pack?.clone(), name)));
    references
        .filter(|reference| found.iter().all(|known| known.reference != *reference))
        .map(|reference| KnownRuntime { reference, aliases: Vec::new(), has_versions: true })
        .collect()
}

/// Reads every file of one kind.
fn each<T>(
    bundle: &Bundle,
    folder: &str,
    problems: &mut Problems,
    mut read: impl FnMut(&Element, &mut Report<'_>) -> Option<T>,
) -> Vec<Option<T>> {
    for (path, _) in bundle.iter() {
        let name = path.strip_prefix(folder).filter(|name| !name.contains('/'));
        if let Some((stem, extension)) =
            name.and_then(|name| Some((misnamed(name)?, name.rsplit_once('.')?.1)))
        {
            problems.add_file(
                path,
                format!("files that end in `.{extension}` are not read"),
                format!("call it `{folder}{stem}.yaml`"),
            );
        }
    }
    definitions(bundle, folder)
        .map(|(path, entry)| {
            let (source, element) = compose(path, &entry.bytes, problems)?;
            read(&element, &mut Report::new(&source, problems))
        })
        .collect()
}

/// The name without extension of what is meant to be a file of YAML, and does not end in `.yaml`.
fn misnamed(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    let misnamed = extension != "yaml" && matches!(extension.to_ascii_lowercase().as_str(), "yaml" | "yml");
    misnamed.then_some(stem)
}

/// The YAML files of a folder; in folders below it they are the authors' own.
fn definitions<'a>(bundle: &'a Bundle, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a BundleEntry)> {
    bundle.iter().filter(move |(path, _)| {
        path.strip_prefix(folder)
            .and_then(|name| name.strip_suffix(".yaml"))
            .is_some_and(|stem| !stem.contains('/'))
    })
}

/// A file of YAML as a tree.
pub(super) fn compose(path: &str, bytes: &[u8], problems: &mut Problems) -> Option<(Source, Rc<Element>)> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            not_text(path, bytes, error.valid_up_to(), problems);
            return None;
        }
    };
    // Some editors mark a file as UTF-8 with this; positions are counted without it.
    let source = Source::new(path, text.strip_prefix('\u{feff}').unwrap_or(text));
    let element = yaml::compose(&mut Report::new(&source, problems))?;
    Some((source, element))
}

/// Says where the first byte is that is not UTF-8.
fn not_text(path: &str, bytes: &[u8], at: usize, problems: &mut Problems) {
    let before = bytes.get(..at).unwrap_or_default();
    let line = before.split(|byte| *byte == b'\n').count();
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    let byte = bytes.get(at).copied().unwrap_or_default();
    let (message, help) = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        ("the file is UTF-16, not UTF-8".to_owned(), "save it as UTF-8")
    } else {
        let message = format!("the file is not UTF-8: byte {column} of line {line} is 0x{byte:02x}");
        (message, "write the character anew, and save the file as UTF-8")
    };
    // What is before the byte stays where it is when the bytes are replaced by what can be shown.
    let source = Source::new(path, &String::from_utf8_lossy(bytes));
    problems.add(&source, &(at..at + 1), message, help);
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
