//! That what is installed is what was meant: locks and signatures.

use super::*;

#[test]
fn a_component_that_was_not_locked_is_refused() {
    let machine = Machine::bare();
    let Wasm::Bytes(component) = guests::source("obliging").wasm else { panic!("it is in memory") };
    let pack = Pack::new("mine").shell("say", "", "echo hi").file("components/own.wasm", &*component);
    let folder = pack.write(&machine.make("packs"));
    let path = folder.display().to_string();
    let written = machine.json(&["pack", "lock", &path]);
    assert_eq!(written["path"], json!(folder.join("attune.lock")));
    machine.runs(0, &["pack", "install", &path]);
    let digest = machine.json(&["pack", "show", "mine"])["components"][0]["sha256"].clone();
    let lock = fs::read_to_string(folder.join("attune.lock")).expect("a lock");
    assert!(lock.contains(digest.as_str().expect("text")), "{lock}");

    let Wasm::Bytes(other) = guests::source("hostile").wasm else { panic!("it is in memory") };
    fs::write(folder.join("components/own.wasm"), &*other).expect("written");
    for command in ["validate", "install"] {
        machine.runs(2, &["pack", command, &path]).says(&[
            "attune.lock:3:",
            "the component `own` is not the one that was locked",
            "attune pack lock DIR",
        ]);
    }
    assert_eq!(machine.json(&["pack", "show", "mine"])["components"][0]["sha256"], digest, "it stays");
    fs::write(folder.join("attune.lock"), "[components]\nother = \"x\"\n").expect("written");
    machine
        .runs(2, &["pack", "validate", &path])
        .says(&["`other` is not in the pack", "the component `own` was not locked"]);
    fs::write(folder.join("attune.lock"), "[component]\n").expect("written");
    machine.runs(2, &["pack", "validate", &path]).says(&["there is no `component` in a lock"]);
    machine.runs(0, &["pack", "lock", &path]);
    machine.runs(0, &["pack", "install", &path]);
    machine
        .runs(
            2,
            &[
                "pack",
                "lock",
                &Pack::new("plain").shell("say", "", "").write(&machine.make("packs")).to_string_lossy(),
            ],
        )
        .says(&["the pack has no components"]);
}

#[test]
fn who_vouches_for_a_pack_is_said_and_can_be_required() {
    let machine = Machine::bare();
    let folder = Pack::new("mine").shell("say", "", "echo hi").write(&machine.make("packs"));
    let path = folder.display().to_string();
    let public = machine.runs(0, &["key", "new", "release.key"]).stdout;
    let public = public.trim();
    machine.runs(2, &["key", "new", "release.key"]).says(&["release.key", "exists"]);
    let settings = |policy: &str, keys: &str| {
        let text = format!("signatures = \"{policy}\"\n[trusted_keys]\n{keys}\n");
        machine.write("home/.config/attune/attune.toml", text);
    };
    let trusted = format!("release = \"{public}\"");

    machine.runs(0, &["pack", "install", &path]).prints(&["not verified: it has no signature", "mine.sig"]);
    settings("warn", &trusted);
    machine.runs(0, &["pack", "install", &path]).says(&["warning: ", "not verified: it has no signature"]);
    settings("require", &trusted);
    machine.runs(6, &["pack", "install", &path]).says(&["not verified", "requires", "attune pack sign"]);

    machine.runs(0, &["pack", "sign", &path, "--key", "release.key"]).prints(&["packs/mine.sig"]);
    machine.runs(0, &["pack", "install", &path]).prints(&["verified: signed by `release`"]);
    machine.runs(0, &["pack", "show", "mine"]).prints(&["signed by `release`"]);
    assert_eq!(machine.json(&["pack", "show", "mine"])["verified_by"], "release");
    machine.runs(0, &["pack", "show", "core"]).prints(&["it comes with Attune"]);

    // An archive of it is the same pack.
    let archive = machine.at("other.tar.gz");
    let tar =
        Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(machine.at("packs")).arg("mine").status();
    assert!(tar.expect("tar").success());
    fs::copy(machine.at("packs/mine.sig"), machine.at("other.tar.gz.sig")).expect("copied");
    machine.runs(0, &["pack", "install", "other.tar.gz"]).prints(&["signed by `release`"]);

    settings("require", "");
    machine.runs(6, &["pack", "install", &path]).says(&[public, "does not name"]);
    settings("require", &trusted);
    fs::write(folder.join("more"), "more").expect("written");
    machine.runs(6, &["pack", "install", &path]).says(&["signature by `release` is not of what is in it"]);
    machine.write("packs/mine.sig", "nonsense");
    machine.runs(6, &["pack", "install", &path]).says(&["is no signature"]);
    assert_eq!(machine.json(&["pack", "show", "mine"])["verified_by"], "release", "it stays");

    settings("require", "release = \"ed25519:12\"");
    machine.runs(2, &["pack", "list"]).says(&["attune.toml:3:11: it is no public key"]);
    let open = machine.write("open.key", "x");
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("a mode");
    machine.write("home/.config/attune/attune.toml", "");
    machine.runs(2, &["pack", "list", "--set", "signatures=yes"]).says(&["write `require`, `warn` or `off`"]);
    machine.runs(2, &["pack", "sign", &path, "--key", "open.key"]).says(&["chmod 600"]);
}
