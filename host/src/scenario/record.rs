//! A scenario from a real machine: what a component asked, what it was told, and what it made of that.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};

use super::Stage;
use crate::installation::Candidate;
use crate::pack::scenario::{Asked, Ground};
use crate::pack::{Grants, Runtime};
use crate::plugin::{
    ANY, Ending, Machine, Plugin, PluginError, Plugins, Recording, Reply, RuntimeScope, Scripted,
    Surroundings, Thing,
};

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The component can't be bound.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// What was seen can't be written as YAML.
    #[error("can't write what was seen as YAML")]
    Yaml(#[source] serde_saphyr::ser_error::Error),
}

/// Has the component detect and verify what is in `surroundings`, within `grants`, and writes down as a scenario what it was
/// told and what it answered.
pub async fn record(
    plugins: &Plugins,
    plugin: &Arc<Plugin>,
    runtime: &Runtime,
    (grants, surroundings): (&Grants, &Surroundings),
) -> Result<String, RecordError> {
    let recording = Arc::new(Recording::default());
    let machine = Machine::Recorded(Arc::clone(&recording));
    let scope = RuntimeScope {
        runtime: runtime.reference.clone(),
        grants: grants.clone(),
        patterns: runtime.patterns(),
    };
    let seen = Surroundings { machine: machine.clone(), ..surroundings.clone() };
    let component = plugins.runtime_in(plugin, scope, seen)?;
    let mut stage = Stage { component, runtime, machine: &machine, detected: None };
    let mut calls = vec![json!({ "detect": {}, "expect": stage.ask(&Asked::Detect).await })];
    let found = stage.detect().await.map(<[Candidate]>::to_vec).unwrap_or_default();
    for installation in found.into_iter().filter_map(|candidate| candidate.outcome.ok()) {
        let asked = Asked::Verify { installation: installation.path.clone() };
        let expect = stage.ask(&asked).await;
        calls.push(json!({ "verify": { "installation": installation.path }, "expect": expect }));
    }
    let ground = Ground {
        home: surroundings.home.clone(),
        path: unique(std::env::split_paths(&surroundings.path).filter(|path| path.is_absolute())),
        variables: needed_variables(grants, &surroundings.variables),
        things: recording.things(),
    };
    let scenario = json!({
        "description": format!("recorded on {}", std::env::consts::OS),
        "runtime": runtime.reference.to_string(),
        "machine": machine_of(&ground),
        "calls": calls,
    });
    serde_saphyr::to_string(&scenario).map_err(RecordError::Yaml)
}

fn unique(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    paths.filter(|path| seen.insert(path.clone())).collect()
}

/// Variables that the grants name: those that components see, and those that say where to look.
fn needed_variables(grants: &Grants, all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let folders = grants.search.iter().flat_map(|root| &root.folders).chain(&grants.read);
    let folders: Vec<_> = folders.collect();
    let is_needed = |name: &String| {
        grants.variables.contains(name) || folders.iter().any(|folder| folder.contains(&format!("${{{name}")))
    };
    all.iter()
        .filter(|(name, _)| is_needed(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn machine_of(ground: &Ground) -> Json {
    let Ground { home, path, variables, things } = ground;
    let (mut programs, mut links, mut files, mut folders) = (Map::new(), Map::new(), Map::new(), Vec::new());
    for (path, thing) in things {
        let place = text(path);
        match thing {
            Thing::Folder => folders.push(Json::from(place)),
            Thing::Link(target) => {
                links.insert(place, Json::from(text(target)));
            }
            Thing::File { contents, executable } => {
                files.insert(place, file(contents, *executable));
            }
            Thing::Program { contents, answers } => {
                programs.insert(place, program(contents.as_deref(), answers));
            }
        }
    }
    let mut machine = json!({ "home": home, "path": path, "variables": variables });
    if let Json::Object(machine) = &mut machine {
        for (key, things) in [("programs", programs), ("links", links), ("files", files)] {
            if !things.is_empty() {
                machine.insert(key.to_owned(), Json::Object(things));
            }
        }
        if !folders.is_empty() {
            machine.insert("folders".to_owned(), Json::Array(folders));
        }
    }
    machine
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn file(contents: &[u8], executable: bool) -> Json {
    match (std::str::from_utf8(contents), executable) {
        (Ok(text), false) => json!(text),
        (Ok(text), true) => json!({ "contents": text, "executable": true }),
        (Err(_), _) => json!({ "base64": BASE64.encode(contents), "executable": executable }),
    }
}

fn program(contents: Option<&[u8]>, answers: &[Scripted]) -> Json {
    let patterns: Vec<_> = answers.iter().map(|answer| pattern(&answer.arguments)).collect();
    let is_alone = |pattern: &Vec<String>| patterns.iter().filter(|other| *other == pattern).count() == 1;
    let arguments = answers.iter().zip(&patterns);
    let arguments =
        arguments.map(|(answer, pattern)| if is_alone(pattern) { pattern } else { &answer.arguments });
    let answers: Vec<_> =
        answers.iter().zip(arguments).map(|(given, arguments)| answer(given, arguments)).collect();
    match contents {
        None => Json::Array(answers),
        Some(contents) => json!({ "contents": String::from_utf8_lossy(contents), "answers": answers }),
    }
}

/// The arguments without the scripts among them: those are the component's, and a scenario holds for the next version of it.
fn pattern(arguments: &[String]) -> Vec<String> {
    arguments.iter().map(|text| if text.contains('\n') { ANY.to_owned() } else { text.clone() }).collect()
}

fn answer(answer: &Scripted, arguments: &[String]) -> Json {
    let mut shown = Map::new();
    let mut add = |key: &str, value: Json| drop(shown.insert(key.to_owned(), value));
    add("arguments", json!(arguments));
    if !answer.variables.is_empty() {
        add(
            "variables",
            answer
                .variables
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect::<Map<_, _>>()
                .into(),
        );
    }
    if !answer.delay.is_zero() {
        add("delay", json!(format!("{}ms", answer.delay.as_millis())));
    }
    match &answer.reply {
        Reply::Fails(failure) => add("failure", json!(failure)),
        Reply::Ends { ending, stdout, stderr } => {
            match ending {
                Ending::Exited(0) => {}
                Ending::Exited(code) => add("exit_code", json!(code)),
                Ending::Signalled(signal) => add("signal", json!(signal)),
            }
            for (key, stream) in [("stdout", stdout), ("stderr", stderr)] {
                if !stream.is_empty() {
                    add(key, json!(String::from_utf8_lossy(stream)));
                }
            }
        }
    }
    Json::Object(shown)
}
