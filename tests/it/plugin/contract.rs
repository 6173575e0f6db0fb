//! The contract may only grow: what was built for a release of it has to be served for ever.

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{Resolve, WorldId};

use crate::support::cli::Machine;

/// Releases of the contract, oldest first; each has its text in the museum, and components that were built for it.
const RELEASES: [&str; 1] = ["0.1.0"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is in a workspace").to_owned()
}

fn museum() -> PathBuf {
    workspace().join("tests/museum")
}

/// The worlds of a contract as it was, and as it is in `now`. A component that lacks an interface that came later is
/// served without it, so later exports do not count.
fn worlds(before: &Path, now: &Path, name: &str) -> (Resolve, WorldId, WorldId) {
    // Two packages of one name have to differ in their versions.
    let renamed = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(before).expect("the contract as it was") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path)
            .expect("text")
            .replace("package attune:runtime@", "package attune:runtime@0.0.0-");
        fs::write(renamed.path().join(path.file_name().expect("a name")), text).expect("written");
    }
    let mut resolve = Resolve::default();
    let (before, _) = resolve.push_dir(renamed.path()).expect("the contract as it was");
    let (now, _) = resolve.push_dir(now).expect("the contract");
    let world = |resolve: &Resolve, package| resolve.packages[package].worlds[name];
    let (before, now) = (world(&resolve, before), world(&resolve, now));
    let names = |resolve: &Resolve, world: WorldId| {
        let exports = resolve.worlds[world].exports.keys();
        exports.map(|key| (key.clone(), interface(resolve, key))).collect::<Vec<_>>()
    };
    let known: Vec<_> = names(&resolve, before).into_iter().map(|(_, name)| name).collect();
    for (key, name) in names(&resolve, now) {
        if !known.contains(&name) {
            resolve.worlds[now].exports.shift_remove(&key);
        }
    }
    (resolve, before, now)
}

/// An interface's name without its package.
fn interface(resolve: &Resolve, key: &wit_parser::WorldKey) -> String {
    let name = resolve.name_world_key(key);
    name.rsplit('/').next().unwrap_or_default().split('@').next().unwrap_or_default().to_owned()
}

fn compatible(before: &Path, now: &Path, world: &str) -> Result<(), String> {
    let (resolve, before, now) = worlds(before, now, world);
    wit_component::semver_check(resolve, before, now).map_err(|error| format!("{error:?}"))
}

#[test]
fn the_contract_still_serves_what_was_built_for_its_releases() {
    for release in RELEASES {
        for world in ["runtime", "detector"] {
            let before = museum().join("wit").join(release);
            compatible(&before, &workspace().join("wit"), world).unwrap_or_else(|error| {
                panic!("the world `{world}` of {release} is no longer served: {error}")
            });
        }
    }
}

/// That the check can fail.
#[test]
fn changes_that_break_components_are_seen() {
    let before = museum().join("wit/0.1.0");
    for (file, old, new, is_compatible) in [
        ("world.wit", "    export detection;\n", "    export detection;\n    export extras;\n", true),
        ("log.wit", "    write: func(", "    flush: func();\n    write: func(", true),
        ("tools.wit", "        truncated: bool,", "        truncated: bool,\n        seconds: u32,", false),
        ("types.wit", "        not-found,", "        not-found,\n        lost,", false),
        (
            "files.wit",
            "    read-link: func(path: string)",
            "    read-link: func(path: string, deep: bool)",
            false,
        ),
        ("patterns.wit", "    captures: func(", "    matches: func(", false),
    ] {
        let changed = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir(&before).expect("the contract").flatten() {
            let name = entry.file_name();
            let mut text = fs::read_to_string(entry.path()).expect("text");
            if name == file {
                assert!(text.contains(old), "{file}: {old}");
                text = text.replacen(old, new, 1);
                if new.contains("extras") {
                    text += "\ninterface extras { more: func(); }\n";
                }
            }
            fs::write(changed.path().join(name), text).expect("written");
        }
        let outcome = compatible(&before, changed.path(), "runtime");
        assert_eq!(outcome.is_ok(), is_compatible, "{file}: {new}: {outcome:?}");
    }
}

/// Components that were built for each release answer as they did then.
#[test]
fn the_components_of_the_museum_still_answer() {
    let museum = museum();
    for release in RELEASES {
        let name = format!("obliging_{}", release.replace('.', "_"));
        assert!(
            museum.join(format!("components/{name}.wasm")).is_file(),
            "no component of {release} is kept"
        );
        assert!(
            museum.join(format!("tests/{name}.yaml")).is_file(),
            "nothing is expected of the one of {release}"
        );
    }
    Machine::fresh().runs(0, &["plugin", "test", &museum.to_string_lossy()]);
}
