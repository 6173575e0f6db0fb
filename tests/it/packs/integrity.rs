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
    let vouched = || machine.json(&["plugin", "inspect", "mine.own"])["vouched"].clone();
    assert_eq!(vouched(), json!({"by": "lock"}));
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

#[test]
fn each_load_says_what_vouches_for_the_component() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let public = machine.runs(0, &["key", "new", "release.key"]).stdout;
    let keys = format!("[trusted_keys]\nrelease = \"{}\"\n", public.trim());
    machine.write("home/.config/attune/attune.toml", keys);
    let shown = machine.json(&["config", "show"]);
    let is_key = |setting: &&Json| setting["name"] == "trusted_keys.release";
    let key = shown.as_array().expect("a list").iter().find(is_key).expect("the key").clone();
    assert_eq!(key["value"], public.trim());

    let Wasm::Bytes(component) = guests::source("detector").wasm else { panic!("it is in memory") };
    let runtime = "ref: mine.own\nplugin:\n  component: own\n  grants: { tools: [tool] }\n\
                   versions: [{ version: \"1\", execution_config: {} }]\n";
    let pack = Pack::new("mine").file("runtimes/own.yaml", runtime).file("components/own.wasm", &*component);
    let path = pack.write(&machine.make("packs")).display().to_string();
    let install = || machine.runs(0, &["pack", "install", "--approve", &path, "-v"]);
    let sha256 =
        machine.json(&["plugin", "inspect", &format!("{path}/components/own.wasm")])["sha256"].clone();
    let sha256 = sha256.as_str().expect("text");
    let loads = |output: &Output, what: &str| {
        let is_it = |line: &&str| {
            ["loaded a component", "plugin.component=\"own\"", sha256].iter().all(|word| line.contains(word))
        };
        let line = output.stderr.lines().find(is_it).unwrap_or_else(|| panic!("it is loaded: {output}"));
        assert!(line.contains(&format!("plugin.vouched={what} ")), "{line}");
    };
    let check = |what: &str, vouched: &Json| {
        let called = machine.runs(0, &["plugin", "call", "own", "detect", "-v"]);
        loads(&called, what);
        called.prints(&[&format!("vouched for: {what}")]);
        assert_eq!(&machine.json(&["plugin", "call", "own", "detect"])["vouched"], vouched);
        machine.runs(0, &["runtime", "show", "own"]).prints(&[&format!("vouched for   {what}")]);
        assert_eq!(&machine.json(&["runtime", "show", "own"])["vouched"], vouched);
        machine.runs(0, &["plugin", "inspect", "own"]).prints(&[&format!("vouched for   {what}")]);
    };
    loads(&install(), "nothing");
    check("only the digest that was installed", &json!({"by": "digest"}));
    machine.runs(0, &["pack", "lock", &path]);
    loads(&install(), "pinned by attune.lock");
    check("pinned by attune.lock", &json!({"by": "lock"}));
    machine.runs(0, &["pack", "sign", &path, "--key", "release.key"]);
    loads(&install(), "signed by `release`");
    check("signed by `release`", &json!({"by": "signature", "key": "release"}));
    machine.runs(0, &["plugin", "inspect", "core.declarative"]).prints(&["it comes with Attune"]);
    let file = format!("{path}/components/own.wasm");
    machine.runs(0, &["plugin", "inspect", &file]).prints(&["vouched for   nothing"]);
}
