//! The packs of `packs` that ship a language: each is installed from its folder, and greets where its language is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cli::{Machine, skip};
use crate::support::guests;

/// How many languages have a pack.
const LANGUAGES: usize = 10;

/// The folders of the packs that have an action `hello`.
fn languages() -> Vec<PathBuf> {
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("packs");
    let entries = fs::read_dir(packs).expect("a folder").flatten();
    let mut packs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    packs.retain(|pack| pack.join("actions/hello.yaml").is_file());
    packs.sort();
    assert_eq!(packs.len(), LANGUAGES, "{packs:?}");
    packs
}

fn name(pack: &Path) -> String {
    pack.file_name().expect("a name").to_string_lossy().into_owned()
}

/// A copy of a pack's folder, with its component if it has one of its own.
fn shipped(machine: &Machine, pack: &Path) -> PathBuf {
    let status = Command::new("cp").arg("-a").arg(pack).arg(machine.make("packs")).status();
    assert!(status.expect("it starts").success());
    let folder = machine.at("packs").join(name(pack));
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
        let output = machine.run(&["run", &format!("{name}.hello"), "-p", "name=Ada", "--json"]);
        if output.code == 3 {
            skip(&format!("no {name} on this machine is new enough"));
            continue;
        }
        assert_eq!(output.code, 0, "{name}\n{output}");
        let run = output.json();
        assert_eq!(run["result"]["greeting"], "Hello, Ada!", "{name}\n{output}");
        // What ran is what was chosen.
        let said = run["result"]["version"].as_str().expect("a version");
        let chosen = run["installation"]["version"].as_str().expect("a version");
        assert!(chosen.starts_with(&series(said)), "{name} says that it is {said}\n{output}");
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
