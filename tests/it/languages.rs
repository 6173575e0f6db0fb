//! The packs of `packs` that ship a language: each is installed from its folder, and greets where its language is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::support::cli::{Machine, skip};
use crate::support::guests;

/// How many languages have a pack.
const LANGUAGES: usize = 12;

/// The folders of the packs that have an action `hello` and can be built here.
fn languages() -> Vec<PathBuf> {
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("packs");
    let entries = fs::read_dir(packs).expect("a folder").flatten();
    let mut packs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    packs.retain(|pack| pack.join("actions/hello.yaml").is_file());
    packs.sort();
    assert_eq!(packs.len(), LANGUAGES, "{packs:?}");
    if std::env::var_os("ATTUNE_TEST_COMPONENT_LANGUAGES").is_none() {
        packs.retain(|pack| {
            let is_other = script(pack).is_file();
            if is_other {
                let name = name(pack);
                skip(&format!("ATTUNE_TEST_COMPONENT_LANGUAGES is not set: {name}'s tools would be fetched"));
            }
            !is_other
        });
    }
    packs
}

fn name(pack: &Path) -> String {
    pack.file_name().expect("a name").to_string_lossy().into_owned()
}

/// What builds the component of a pack that is not written in Rust.
fn script(pack: &Path) -> PathBuf {
    pack.join("plugin/build.sh")
}

/// Builds a component with the tools of its own language, once.
fn build(pack: &Path) {
    static BUILT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().expect("nobody panicked");
    if !built.iter().any(|other| other == pack) {
        let output = Command::new("sh").arg(script(pack)).output().expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built.push(pack.to_owned());
    }
}

/// A copy of a pack's folder, with its component if it has one of its own.
fn shipped(machine: &Machine, pack: &Path) -> PathBuf {
    let folder = machine.make(&format!("packs/{}", name(pack)));
    if script(pack).is_file() {
        build(pack);
    }
    for entry in fs::read_dir(pack).expect("a folder").flatten() {
        // Its source is not shipped, and may have its tools beside it.
        if entry.file_name() != "plugin" {
            let status = Command::new("cp").arg("-a").arg(entry.path()).arg(&folder).status();
            assert!(status.expect("it starts").success());
        }
    }
    if pack.join("plugin/Cargo.toml").is_file() {
        fs::create_dir_all(folder.join("components")).expect("a folder");
        let file = folder.join("components").join(name(pack)).with_extension("wasm");
        fs::write(file, guests::component_of(&name(pack))).expect("a file");
    }
    folder
}

/// Major and minor of a version, as far as it has them.
fn series(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Runs an action, unless nothing that is installed can run it.
fn greets(machine: &Machine, action: &str) {
    let output = machine.run(&["run", action, "-p", "name=Ada", "--json"]);
    if output.code == 3 {
        return skip(&format!("nothing on this machine satisfies {action}"));
    }
    assert_eq!(output.code, 0, "{action}\n{output}");
    let run = output.json();
    assert_eq!(run["result"]["greeting"], "Hello, Ada!", "{action}\n{output}");
    // What ran is what was chosen, where a language knows.
    if let Some(said) = run["result"]["version"].as_str() {
        let chosen = run["installation"]["version"].as_str().expect("a version");
        assert!(chosen.starts_with(&series(said)), "{action} says that it is {said}\n{output}");
    }
}

#[test]
fn each_greets_where_its_language_is_there() {
    let machine = Machine::new();
    for pack in languages() {
        let (folder, name) = (shipped(&machine, &pack), name(&pack));
        let installed = machine.json(&["pack", "install", "--approve", &folder.to_string_lossy()]);
        let found = installed["runtimes"][0]["installations"].as_array().expect("a list");
        if found.iter().all(|installation| installation["status"] != "verified") {
            skip(&format!("there is no {name} on this machine"));
            continue;
        }
        for action in installed["actions"].as_array().expect("a list") {
            greets(&machine, action.as_str().expect("a name"));
        }
    }
}

#[test]
fn each_answers_on_described_machines_as_expected() {
    let machine = Machine::fresh();
    for pack in languages() {
        let folder = shipped(&machine, &pack);
        machine.runs(0, &["plugin", "test", &folder.to_string_lossy()]);
    }
}

#[test]
fn each_has_scenarios_and_leaves_them_out_of_the_bundle() {
    for pack in languages() {
        let scenarios = fs::read_dir(pack.join("tests")).expect("a folder").count();
        assert!(scenarios >= 2, "{} has {scenarios}", pack.display());
        let left_out = fs::read_to_string(pack.join(".attuneignore")).expect("a file");
        for folder in ["/tests/", "/plugin/"] {
            assert!(left_out.lines().any(|line| line == folder), "{}: {folder}", pack.display());
        }
    }
}
