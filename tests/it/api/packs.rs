//! Packs that are uploaded, and archives of those who mean no good.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};
use tar::{Builder, EntryType, Header};

use super::Api;
use crate::support::cli::Machine;
use crate::support::fixture::{Pack, TOOL, tool};

/// An archive with one entry more than a pack that is fine.
fn with_entry(path: &str, kind: EntryType, contents: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let mut entry = |path: &str, kind: EntryType, contents: &[u8]| {
        let mut header = Header::new_gnu();
        // `append_data` refuses what is no path within the archive.
        header.as_gnu_mut().expect("a header").name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("/etc/passwd").expect("a target");
        }
        header.set_cksum();
        builder.append(&header, contents).expect("an entry");
    };
    entry("pack.yaml", EntryType::Regular, b"ref: evil\nversion: \"1.0.0\"\n");
    entry("actions/a.yaml", EntryType::Regular, b"ref: evil.a\nruntime: core.shell\nentry_point: a.sh\n");
    entry("a.sh", EntryType::Regular, b"true\n");
    entry(path, kind, contents);
    builder.into_inner().expect("an archive")
}

#[test]
fn what_is_uploaded_can_be_run_and_removed() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let api = Api::start(&machine);
    let pack = Pack::new("tools").file("runtimes/tool.yaml", TOOL).action(
        "say.sh",
        "runtime: tool\nruntime_version: \">=3.12\"",
        "echo \"said by $SERIES\"",
    );
    let archive = pack.archive();

    let valid = api.upload(&api.token, "/packs/validate", &archive);
    assert_eq!(valid.is(200).json()["valid"], true);
    api.get("/packs/tools").problem(404, "not-found");
    let refused = api.upload(&api.token, "/packs", &archive).problem(403, "not-approved");
    assert_eq!(refused["asked"][0]["runtime"], "tools.tool", "{refused}");
    assert_eq!(refused["asked"][0]["grants"]["tools"], json!(["tool"]));
    api.get("/packs/tools").problem(404, "not-found");
    let planned = api.upload(&api.token, "/packs?approve=true&dry_run=true", &archive);
    assert_eq!(planned.is(200).json()["dry_run"], true);
    api.get("/packs/tools").problem(404, "not-found");
    let installed = api.upload(&api.token, "/packs?approve=true", &archive);
    let installed = installed.is(201).json();
    assert_eq!(installed["actions"], json!(["tools.say"]));
    assert_eq!(installed["asked"][0]["approved"], true);
    let shown = api.get("/packs/tools");
    let source = shown.is(200).json()["source"].as_str().expect("a source").to_owned();
    let admin = source.strip_prefix("uploaded by ").expect("a token's name");

    // What was approved before need not be approved again, and what was there is said.
    let newer = pack.file("pack.yaml", "ref: tools\nversion: \"1.1.0\"\n").archive();
    let replaced = api.upload(&api.token, "/packs", &newer).is(201).json();
    assert_eq!(replaced["replaced_version"], "1.0.0");

    let id = api.post("/executions", &json!({ "action": "tools.say" })).is(201).json()["id"].clone();
    let id = id.as_str().expect("an id");
    let ended = api.becomes(id, "succeeded");
    assert_eq!(ended["selected_version"], "3.12.1");
    let resolved = api.post("/resolve", &json!({ "action": "tools.say" })).is(200).json();
    assert_eq!(resolved["selected"]["version"], "3.12.1", "{resolved}");
    let nothing = json!({ "runtime": "tool", "runtime_version_constraint": ">=4" });
    let nothing = api.post("/resolve", &nothing).is(200).json();
    assert_eq!(nothing["selected"], Json::Null);
    assert_eq!(nothing["candidates"][0]["chosen"], false, "{nothing}");

    // Nothing is run by a component that is not allowed what it needs.
    let grants = "/runtimes/tools.tool/grants";
    assert_eq!(api.get(grants).is(200).json()["approved_by"], "approved before");
    let consent = |approved: bool| {
        api.ask(&api.token, "PUT", grants, &[], &json!({ "approved": approved })).is(200).json()
    };
    assert_eq!(consent(false)["approved"], Json::Null);
    api.post("/resolve", &json!({ "action": "tools.say" })).problem(409, "not-approved");
    assert_eq!(consent(true)["approved_by"], admin);
    api.post("/resolve", &json!({ "action": "tools.say" })).is(200);

    let tag = shown.header("etag").expect("a tag").to_owned();
    let remove = |tag: &str| api.ask(&api.token, "DELETE", "/packs/tools", &[("If-Match", tag)], &Json::Null);
    remove(&tag).problem(412, "changed-since");
    remove("*").is(204);
    api.get("/packs/tools").problem(404, "not-found");
    api.get("/actions/tools.say").problem(404, "not-found");
    assert!(!machine.at("data/packs/tools").exists());
    let kept = api.ask(&api.token, "DELETE", "/packs/core", &[], &Json::Null);
    kept.problem(409, "comes-with-attune");
}

#[test]
fn mistakes_of_a_pack_are_said_with_their_places() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let pack = Pack::new("wrong").shell("say", "runtime_version: \">=3.12 <\"\nlabl: x\n", "true");
    let problem = api.upload(&api.token, "/packs", &pack.archive()).problem(422, "invalid-pack");
    let problems = problem["problems"].as_array().expect("problems");
    assert!(problems.len() >= 2, "{problem}");
    assert!(
        problems.iter().all(|one| one["path"] == "actions/say.yaml" && one["line"].is_u64()),
        "{problem}"
    );
    let valid = api.upload(&api.token, "/packs/validate", &pack.archive()).is(200).json();
    assert_eq!(valid["valid"], false);
    assert_eq!(valid["problems"], problem["problems"]);
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&with_entry("zeros", EntryType::Regular, &vec![0; 60 << 20])).expect("written");
    let bomb = bomb.finish().expect("an archive");
    let too_many = {
        let mut builder = Builder::new(Vec::new());
        for number in 0..10_001 {
            let mut header = Header::new_gnu();
            header.set_size(0);
            builder.append_data(&mut header, format!("f{number}"), &b""[..]).expect("an entry");
        }
        builder.into_inner().expect("an archive")
    };
    let mut cut = Pack::new("evil").shell("a", "", "true").archive();
    cut.truncate(cut.len() / 2);
    let regular = |path: &str| with_entry(path, EntryType::Regular, b"x");
    for (name, archive) in [
        ("leads out", regular("../../escaped")),
        ("is absolute", regular("/escaped")),
        ("a symbolic link", with_entry("link", EntryType::Symlink, b"")),
        ("a hard link", with_entry("link", EntryType::Link, b"")),
        ("a device", with_entry("null", EntryType::Char, b"")),
        ("a pipe", with_entry("pipe", EntryType::Fifo, b"")),
        ("twice", regular("a.sh")),
        ("in another case", regular("A.sh")),
        ("a bomb", bomb),
        ("an entry too large", with_entry("large", EntryType::Regular, &vec![7; (64 << 20) + 1])),
        ("too many", too_many),
        ("cut off", cut),
        ("nothing", Vec::new()),
        ("rubbish", b"GIF89a".to_vec()),
    ] {
        for path in ["/packs?approve=true", "/packs/validate"] {
            let answer = api.upload(&api.token, path, &archive);
            if path == "/packs/validate" && answer.status == 200 {
                assert_eq!(answer.json()["valid"], false, "{name}");
                continue;
            }
            assert_eq!(answer.status, 422, "{name}: {}", answer.body);
            let kind = answer.json()["type"].as_str().expect("a type").to_owned();
            assert!(kind.ends_with("invalid-archive") || kind.ends_with("invalid-pack"), "{name}: {kind}");
        }
    }
    api.get("/packs/evil").problem(404, "not-found");
    let left = |folder: &str| {
        let found = std::fs::read_dir(machine.at(folder)).into_iter().flatten().flatten();
        found.map(|entry| entry.file_name().into_string().expect("a name")).collect::<Vec<_>>()
    };
    assert!(!left("data/packs").contains(&"evil".to_owned()), "{:?}", left("data/packs"));
    assert!(!machine.at("data/escaped").exists() && !machine.at("escaped").exists());
    // More than is read at all.
    api.upload(&api.token, "/packs", &vec![0; 129 << 20]).problem(413, "too-large");
    api.get("/packs").is(200);
}

#[test]
fn whoever_may_not_install_does_not() {
    let machine = Machine::new();
    let api = Api::start(&machine);
    let token = |arguments: &[&str]| {
        machine.runs(0, &[&["token", "create"], arguments].concat()).stdout.trim_end().to_owned()
    };
    let operator = token(&["operates", "--role", "operator"]);
    let author = token(&["writes", "--role", "author"]);
    let other = token(&["other", "--role", "author", "--pack", "other"]);
    let archive = Pack::new("plain").shell("say", "", "true").archive();
    api.upload(&operator, "/packs", &archive).problem(403, "forbidden");
    api.upload(&other, "/packs", &archive).problem(403, "forbidden");
    api.get("/packs/plain").problem(404, "not-found");
    // What components may do is up to the administrator.
    api.upload(&author, "/packs?approve=true", &archive).problem(403, "forbidden");
    api.upload(&author, "/packs", &archive).is(201);
    api.ask(&author, "PUT", "/runtimes/core.shell/grants", &[], &json!({ "approved": false }))
        .problem(403, "forbidden");
}
