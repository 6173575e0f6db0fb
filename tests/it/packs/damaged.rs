//! What an installed pack put on this machine, damaged or deleted there: mended by itself, or said with what mends it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::support::cli::Machine;
use crate::support::fixture::Pack;

fn say(text: &str) -> Pack {
    Pack::new("frail")
        .shell("say", "", &format!("set -e; . \"${{0%/*}}/words\"; echo \"$WORDS {text}\""))
        .file("actions/words", "WORDS='I say'\n")
}

/// A file of the pack as it is installed.
fn installed(machine: &Machine, file: &str) -> PathBuf {
    let versions = fs::read_dir(machine.at("data/packs/frail")).expect("a folder").flatten();
    versions
        .map(|version| version.path().join(file))
        .find(|path| path.parent().is_some_and(Path::is_dir))
        .expect("installed")
}

fn components(machine: &Machine) -> Vec<PathBuf> {
    let mut files = fs::read_dir(machine.at("data/components")).expect("a folder").flatten();
    let files = files.by_ref().map(|entry| entry.path()).collect::<Vec<_>>();
    assert_eq!(files.len(), 3, "those of the core pack");
    files
}

/// Writes something else, also into a file that is read-only.
fn overwrite(path: &Path, contents: &[u8]) {
    fs::remove_file(path).expect("removed");
    fs::write(path, contents).expect("written");
}

/// Nobody has the answers of components any more, nor their code.
fn forget(machine: &Machine) {
    fs::remove_dir_all(machine.at("data/cache")).expect("removed");
}

fn lose_bundles(machine: &Machine) {
    fs::remove_dir_all(machine.at("data/bundles")).expect("removed");
}

fn finding(machine: &Machine, code: i32, what: &str) -> Json {
    let findings = machine.runs(code, &["doctor", "--json"]).json();
    let found = findings.as_array().expect("a list").iter().find(|finding| finding["what"] == what).cloned();
    found.unwrap_or(Json::Null)
}

#[test]
fn an_entry_point_that_is_gone_is_fetched_before_it_is_needed() {
    let machine = Machine::new();
    say("hello").install(&machine);
    fs::remove_file(installed(&machine, "actions/say.sh")).expect("removed");
    let output = machine.runs(0, &["run", "frail.say"]);
    assert_eq!(output.stdout, "I say hello\n");
    output.says(&["mended what was damaged or gone of the pack `frail`: actions/say.sh"]);
    assert!(!machine.runs(0, &["run", "frail.say"]).stderr.contains("mended"));

    // Nor is its folder there.
    fs::remove_dir_all(installed(&machine, "actions")).expect("removed");
    machine.runs(0, &["run", "frail.say"]).says(&["actions/say.sh, actions/say.yaml, actions/words"]);
}

#[test]
fn any_other_file_is_mended_once_its_lack_has_made_something_fail() {
    let machine = Machine::new();
    say("hello").install(&machine);
    let words = installed(&machine, "actions/words");
    for (code, damage) in [(1, None), (3, Some(&b"WORDS=\nexit 3\n"[..]))] {
        match damage {
            None => fs::remove_file(&words).expect("removed"),
            Some(contents) => overwrite(&words, contents),
        }
        machine
            .runs(code, &["run", "frail.say"])
            .says(&["gone while it ran, and are mended now: actions/words"]);
        assert!(machine.last()["warnings"].to_string().contains("actions/words"), "{}", machine.last());
        assert_eq!(machine.runs(0, &["run", "frail.say"]).stdout, "I say hello\n");
    }
    // What fails without any damage has no such warning, whatever was put beside the files.
    fs::write(installed(&machine, "actions/more"), "").expect("written");
    Pack::new("sound").shell("fail", "", "exit 1").install(&machine);
    machine.runs(1, &["run", "sound.fail"]);
    assert_eq!(machine.last()["warnings"], json!([]));
    assert_eq!(finding(&machine, 0, "pack frail"), Json::Null);
}

#[test]
fn a_component_that_is_damaged_is_fetched_again() {
    let machine = Machine::new();
    let core = core_folder(&machine);
    for (damage, source) in
        [("flipped", "bundles"), ("cut", "bundles"), ("gone", "pack"), ("flipped", "binary")]
    {
        for path in components(&machine) {
            let mut bytes = fs::read(&path).expect("a component");
            match damage {
                "flipped" => bytes[1000] ^= 1,
                "cut" => bytes.truncate(1000),
                _ => bytes.clear(),
            }
            overwrite(&path, &bytes);
        }
        if source != "bundles" {
            // The first time round they are there.
            drop(fs::remove_dir_all(machine.at("data/bundles")));
        }
        if source != "pack" {
            fs::remove_dir_all(&core).expect("removed");
            // A folder that is not there has the pack installed anew at once.
            fs::create_dir(&core).expect("a folder");
        }
        forget(&machine);
        let output = machine.runs(0, &["runtime", "verify", "core.shell"]);
        output.says(&["mended what was damaged or gone of the pack `core`", "components/declarative.wasm"]);
        output.prints(&["  ok  "]);
        assert!(components(&machine).iter().all(|path| fs::metadata(path).expect("there").len() > 1000));
        machine.runs(0, &["run", "core.echo"]);
    }
}

/// Where the core pack belongs.
fn core_folder(machine: &Machine) -> PathBuf {
    let packs = machine.json(&["pack", "list"]);
    let core =
        packs.as_array().expect("a list").iter().find(|pack| pack["ref"] == "core").expect("core").clone();
    machine.at("data/packs/core").join(core["digest"].as_str().expect("a digest"))
}

#[test]
fn what_can_not_be_had_again_is_said_with_what_mends_it() {
    let machine = Machine::new();
    let pack = say("hello");
    pack.install(&machine);
    let source = machine.at("packs/frail").display().to_string();
    lose_bundles(&machine);
    fs::remove_file(installed(&machine, "actions/say.sh")).expect("removed");
    let lost = "the file `actions/say.sh` of the pack `frail` is not on this machine as it was installed";
    machine.runs(1, &["run", "frail.say"]).says(&[lost, "attune pack install PATH"]);
    let found = finding(&machine, 1, "pack frail");
    assert_eq!(
        (&found["state"], &found["mend"]),
        (&json!("bad"), &json!(format!("attune pack install {source}")))
    );

    machine.runs(0, &["pack", "install", &source]);
    assert_eq!(machine.runs(0, &["run", "frail.say"]).stdout, "I say hello\n");
    assert_eq!(finding(&machine, 0, "pack frail"), Json::Null);
}

#[test]
fn the_doctor_looks_at_every_file_and_mends_what_it_can() {
    let machine = Machine::new();
    say("hello").install(&machine);
    overwrite(&installed(&machine, "actions/words"), b"WORDS=wrong\n");
    overwrite(&components(&machine)[0], b"\0asm");
    let found = finding(&machine, 0, "pack frail");
    assert_eq!(
        (&found["state"], &found["seen"]),
        (&json!("warning"), &json!("damaged or gone: actions/words"))
    );
    assert_eq!(finding(&machine, 0, "pack core"), Json::Null, "mended by the first look");
    assert!(components(&machine).iter().all(|path| fs::metadata(path).expect("there").len() > 1000));
    assert_eq!(machine.runs(0, &["run", "frail.say"]).stdout, "I say hello\n");
}
