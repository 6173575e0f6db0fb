//! `attune plugin new`: what it writes builds, passes its tests, installs and finds something.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cli::{Machine, Output, skip};

/// A new pack for the program `lark`, which there is on the machine.
fn scaffold(machine: &Machine, language: &str) -> PathBuf {
    machine.script(
        "bin/lark1.2",
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'lark 1.2 (sings)'; exit; fi\nexec /bin/sh \"$@\"\n",
    );
    let _ = fs::remove_file(machine.at("bin/lark"));
    symlink("lark1.2", machine.at("bin/lark")).expect("a link");
    let parent = machine.make("packs");
    let made =
        machine.json(&["plugin", "new", "lark", "--lang", language, "--path", &parent.to_string_lossy()]);
    let folder = parent.join("lark");
    assert_eq!(made["path"].as_str().map(Path::new), Some(folder.as_path()));
    folder
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = Output::new(&command.output().expect("it starts"));
    assert_eq!(output.code, 0, "{command:?}\n{output}");
}

#[test]
fn a_new_component_builds_installs_and_finds() {
    let machine = Machine::bare();
    let folder = scaffold(&machine, "rust");
    // What is locked and fetched for the workspace is enough, and what was built the last time still is.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    fs::copy(workspace.join("Cargo.lock"), folder.join("plugin/Cargo.lock")).expect("copied");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
    fs::create_dir_all(&target).expect("a folder");
    symlink(&target, folder.join("plugin/target")).expect("a link");
    let offline = |command: &mut Command| {
        command
            .env("CARGO_NET_OFFLINE", "true")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        succeeds(command);
    };
    offline(
        Command::new("cargo").args(["test", "--target-dir", "target"]).current_dir(folder.join("plugin")),
    );
    offline(Command::new("sh").arg(folder.join("plugin/build.sh")));

    // What else proves an installation is a line of YAML.
    let runtime = fs::read_to_string(folder.join("runtimes/lark.yaml")).expect("a runtime");
    let more = "    commands:\n      - { binary: lark, args: [\"-c\", \"exit 3\"], exit_code: 3 }\n";
    fs::write(folder.join("runtimes/lark.yaml"), runtime.replace("    commands:\n", more)).expect("written");

    let folder = folder.to_string_lossy();
    machine.runs(0, &["pack", "validate", &folder]).prints(&["lark 0.1.0 is a valid pack"]);
    machine.runs(6, &["pack", "install", &folder]).says(&["lark.lark asks to", "run           lark"]);
    let installed = machine.json(&["pack", "install", "--approve", &folder]);
    let found = &installed["runtimes"][0]["installations"][0];
    assert_eq!((&found["version"], &found["status"]), (&"1.2.0".into(), &"verified".into()), "{installed}");
    assert_eq!(found["path"], machine.at("bin/lark1.2").to_string_lossy().as_ref());
    assert_eq!(found["aliases"][0], machine.at("bin/lark").to_string_lossy().as_ref());
    assert_eq!(
        (&found["checks"][0]["name"], &found["checks"][1]["name"]),
        (&"command-1".into(), &"version".into())
    );

    // The example is for a language that says hello like many do; this one does not.
    machine.write("packs/lark/actions/hello.lark", "echo hello");
    machine.runs(0, &["pack", "install", "--approve", &folder]);
    assert_eq!(machine.json(&["run", "lark.hello"])["result"], "hello");

    // What proves the component and what it is made of is no part of the pack.
    let archived = machine.json(&["pack", "show", "lark"]);
    let kept = machine.at(format!("data/packs/lark/{}", archived["digest"].as_str().expect("a digest")));
    assert!(kept.join("runtimes/lark.yaml").is_file());
    assert!(!kept.join("plugin").exists() && !kept.join("tests").exists());
}

#[test]
fn in_other_languages_the_logic_is_tested_without_the_host_too() {
    let machine = Machine::bare();
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("packs");
    for (language, shipped, program, arguments) in [
        ("python", "tcl", "python3", ["-m", "unittest"].as_slice()),
        ("js", "awk", "node", ["--test"].as_slice()),
    ] {
        let folder = scaffold(&machine, language);
        for folder in [&folder, &packs.join(shipped)] {
            match Command::new(program).arg("--version").output() {
                Ok(_) => succeeds(Command::new(program).args(arguments).current_dir(folder.join("plugin"))),
                Err(_) => skip(&format!("{program} is not there")),
            }
        }
        fs::remove_dir_all(folder).expect("removed");
    }
}

#[test]
fn nothing_is_replaced() {
    let machine = Machine::bare();
    scaffold(&machine, "rust");
    let parent = machine.at("packs");
    let parent = parent.to_string_lossy();
    let new = |name| ["plugin", "new", name, "--path", &*parent];
    machine.runs(2, &new("lark")).says(&["packs/lark exists already"]);
    machine.runs(2, &new("core")).says(&["there is a pack `core` already", "comes with Attune"]);
    machine.runs(2, &new("Lark")).says(&["`Lark` is not a name"]);
    machine.runs(0, &new("shell")).says(&["`core.shell` is called `shell` too"]);
    machine
        .runs(2, &["plugin", "new", "wren", "--lang", "cobol"])
        .says(&["possible values: js, python, rust"]);
}
