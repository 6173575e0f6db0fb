//! What is said to be right, and what is found besides the mistakes of the files themselves.

use super::*;

/// `file:line:column: message; help`, or `file: message; help`.
fn said(bundle: &Bundle) -> Vec<String> {
    let problems = load(bundle, &known()).into_pack().expect_err("problems");
    problems.iter().map(ToString::to_string).collect()
}

fn only(changes: &[(&str, &[u8])]) -> String {
    let mut said = said(&files(changes));
    assert_eq!(said.len(), 1, "{said:#?}");
    said.remove(0)
}

#[test]
fn of_an_action() {
    for (line, expected) in [
        ("retries: -1", "write a whole number from 0 to 4294967295"),
        ("retries: \"3\"", "leave the quotes out: `3`"),
        ("enabled: \"false\"", "leave the quotes out: `false`"),
        ("enabled: yes", "write `true`"),
        ("env: {A: b}", "did you mean `env_vars`?"),
        ("label: 3", "put quotes around it: `\"3\"`"),
        ("label: a: b", "put quotes around it: `\"a: b\"`"),
        ("output_schema: {type: string, default: 3}", "put quotes around it: `\"3\"`"),
        (
            "output_schema: {type: string, enum: [a], default: b}",
            "write a value that the schema allows, or correct the schema",
        ),
        (
            "output_schema: {type: integer, default: many}",
            "write a value that the schema allows, or correct the schema",
        ),
        ("label: @a", "put quotes around it: `\"@a\"`"),
        ("label: @a\"b", "put quotes around it: `'@a\"b'`"),
        ("label: \"a", "close the quote that opens here or on a line before"),
        ("label: [a", "close it with `]`"),
        ("label:a", "write a space behind the colon: `label: a`"),
        ("label", "write a key, a colon and a value: `label: …`"),
        ("label: a\0", "take it out"),
        ("label: !a b", "leave it out, or put quotes around text that starts with `!`"),
        ("retries: !!str 3", "leave the tag out: `3`"),
        ("label: \"a\\u202eb\"", "take it out"),
        ("description: |\n  a\n \tb", "indent with spaces, here and on the next lines"),
        (
            "output_schema: {type: string, pattern: \"(a{1000}){1000}\"}",
            "write a valid regular expression, with smaller numbers if it repeats with `{…}`",
        ),
        ("\tlabel: a", "indent with spaces, here and on the next lines"),
    ] {
        let said = only(&[("actions/greet.yaml", format!("{ACTION}{line}\n").as_bytes())]);
        assert!(said.ends_with(&format!("; {expected}")), "{line}: {said}");
    }
}

#[test]
fn of_a_runtime() {
    for (from, to, expected) in [
        ("aliases:", "alias:", "did you mean `aliases`?"),
        ("component: lua", "component: lau", "did you mean `lua`?"),
        ("component: lua", "component: declarative", "did you mean `core.declarative`?"),
        ("component: lua", "component: core.declarativ", "did you mean `core.declarative`?"),
        (
            "component: lua",
            "component: far.away",
            "install the pack that ships it first, or write `core.declarative`, `core.shell` or `demo.gone`",
        ),
        ("{binary: lua}", "{binary: lua, args: [3]}", "put quotes around it: `\"3\"`"),
    ] {
        let said = only(&[("runtimes/lua.yaml", RUNTIME.replace(from, to).as_bytes())]);
        assert!(said.ends_with(&format!("; {expected}")), "{to}: {said}");
    }
}

#[test]
fn of_a_pack() {
    for (version, expected) in [
        ("1.0", "write `\"1.0.0\"`"),
        ("\"1.0\"", "write `\"1.0.0\"`"),
        ("2", "write `\"2.0.0\"`"),
        ("v1.2.3", "write `\"1.2.3\"`"),
        ("x.y", "write three numbers, as in `version: \"1.0.0\"`"),
        ("1.2.3.4", "write three numbers, as in `version: \"1.0.0\"`"),
    ] {
        let said = only(&[("pack.yaml", format!("ref: demo\nversion: {version}\n").as_bytes())]);
        assert!(said.ends_with(&format!("; {expected}")), "{version}: {said}");
    }
    let said = only(&[("pack.yaml", b"\xff\xfer\0e\0f\0")]);
    assert_eq!(said, "pack.yaml:1:1: the file is UTF-16, not UTF-8; save it as UTF-8");
    let said = only(&[("pack.yaml", b"ref: demo\nversion: 1.0.0\n\xc2\x85label: x\n")]);
    assert_eq!(said, r"pack.yaml:3:1: a pack has no key `\u{85}label`; did you mean `label`?");
    let said = only(&[("pack.yaml", b"# only a comment\n")]);
    assert!(said.ends_with("; write at least `ref: name` and `version: \"1.0.0\"`"), "{said}");
}

fn bundle(files: &[(&str, &str)]) -> Bundle {
    Bundle::from_files(files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec(), false)))
        .expect("a bundle")
}

#[test]
fn of_names_that_are_not_read() {
    for (files, expected) in [
        // What is in the manifest is read nevertheless.
        (
            &[
                ("pack.yml", "ref: demo\nversion: 1.0.0\nlable: x\n"),
                ("components/a.wasm", "\0asm\r\0\u{1}\0"),
            ] as &[_],
            &[
                "pack.yml: `pack.yml` is not read; rename it to `pack.yaml`",
                "pack.yml:3:1: a pack has no key `lable`; did you mean `label`?",
            ] as &[&str],
        ),
        (
            &[("demo/pack.yaml", PACK), ("README", "")],
            &[
                "pack.yaml: the file is missing, and without it the files are no pack; if the folder `demo` is the pack, name that one",
                "pack.yaml: the pack is empty: it has no actions, sensors, runtimes or components; add an action: `actions/name.yaml`, and the file that it starts",
            ],
        ),
        (
            &[("pack.yaml/x", ""), ("components/a.wasm", "\0asm\r\0\u{1}\0")],
            &["pack.yaml: it is a folder; make it a file, with at least `ref` and `version`"],
        ),
        (
            &[("pack.yaml", PACK), ("action/greet.yml", "")],
            &[
                "pack.yaml: the pack is empty: it has no actions, sensors, runtimes or components; call the folder `actions`: `action` is not read",
            ],
        ),
        (
            &[("pack.yaml", PACK), ("action/greet.yaml", ACTION), ("actions/data/a.yaml", "ref: x\n")],
            &[
                "action/greet.yaml: only the files right in the folder `actions` are read; move it to `actions/greet.yaml`",
            ],
        ),
        (
            &[("pack.yaml", PACK), ("actions/greet.YAML", ACTION)],
            &["actions/greet.YAML: files that end in `.YAML` are not read; call it `actions/greet.yaml`"],
        ),
    ] {
        assert_eq!(said(&bundle(files)), expected, "{files:?}");
    }
}

/// Each is said once, and nothing of what refers to it.
#[test]
fn of_what_cannot_be_in_a_pack() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, entry) in files(&[("actions/greet.yaml", format!("{ACTION}lable: x\n").as_bytes())]).iter() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, &entry.bytes).expect("a file");
    }
    for path in ["actions/greet.lua", "components/lua.wasm", "sensors/clock.yaml", "runtimes/old.yaml"] {
        let path = folder.path().join(path);
        if path.exists() {
            std::fs::remove_file(&path).expect("removed");
        }
        std::os::unix::fs::symlink("/nowhere", path).expect("a link");
    }
    for (path, text) in [("README", ""), ("readme", ""), (".attuneignore", "x\n[z-a]\n")] {
        std::fs::write(folder.path().join(path), text).expect("a file");
    }
    let second = ACTION.replace("greet\n", "second\n").replace("runtime: lua", "runtime: demo.old");
    std::fs::write(folder.path().join("actions/second.yaml"), second).expect("a file");
    let said = said(&Bundle::from_dir(folder.path()).expect("a bundle"));
    let link = |path: &str| {
        format!(
            "{path}: `{path}` is a link; packs hold files only; put the file itself in its place, or leave it out by a line of `.attuneignore`"
        )
    };
    assert_eq!(
        said,
        [
            ".attuneignore:2:1: the ignore rules can't be read: error parsing glob '[z-a]': invalid range; 'z' > 'a'; write rules like those of `.gitignore`".to_owned(),
            link("actions/greet.lua"),
            "actions/greet.yaml:5:1: an action has no key `lable`; did you mean `label`?".to_owned(),
            link("components/lua.wasm"),
            "readme: `readme` and `README` differ only in case; rename one of the two".to_owned(),
            link("runtimes/old.yaml"),
            link("sensors/clock.yaml"),
        ]
    );
}

#[test]
fn of_aliases() {
    let action = ACTION.replace("\">=5.3,<6\"", "\" lts/irn \"");
    let sensor = format!("{SENSOR}runtime_version: latest\n");
    let native = "ref: n\nruntime: core.native\nruntime_version: lts\nentry_point: actions/greet.lua\n";
    let files = files(&[
        ("actions/greet.yaml", action.as_bytes()),
        ("sensors/clock.yaml", sensor.as_bytes()),
        ("actions/n.yaml", native.as_bytes()),
    ]);
    let loaded = load(&files, &known());
    let aliases = [("lts/iron".to_owned(), "20".to_owned()), ("odd".to_owned(), "newest".to_owned())];
    let mut problems = Problems::default();
    assert_eq!(loaded.aliases.len(), 2, "what has no versions is asked for none");
    for used in &loaded.aliases {
        used.check(&aliases, &mut problems);
        used.unanswered("it crashed", &mut problems);
    }
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "actions/greet.yaml:3:20: `demo.lua` can't resolve the constraint: `lts/irn` stands for no version of this runtime; did you mean `lts/iron`? known aliases: lts/iron, odd",
            "actions/greet.yaml:3:20: whether `demo.lua` has the alias `lts/irn` can't be told: it crashed; mend the runtime's component, or write a range instead",
            "sensors/clock.yaml:4:18: `demo.lua` can't resolve the constraint: `latest` stands for no version of this runtime; known aliases: lts/iron, odd",
            "sensors/clock.yaml:4:18: whether `demo.lua` has the alias `latest` can't be told: it crashed; mend the runtime's component, or write a range instead",
        ]
    );
}
