use std::fmt::Write as _;

use super::*;

#[test]
fn of_a_pack() {
    for (text, expected) in [
        ("ref: demo\n", &["pack.yaml:1:1: a pack needs `version`, which is missing"] as &[&str]),
        ("ref: demo\nversion:\n", &["pack.yaml:2:1: `version` has no value"]),
        (
            "ref: demo\nversion: 1.0\n",
            &["pack.yaml:2:10: `1.0` is not the version of a pack, which is three numbers with dots between"],
        ),
        (
            "ref: demo\nversion: \"1.0\"\n",
            &["pack.yaml:2:10: `1.0` is not the version of a pack, which is three numbers with dots between"],
        ),
        ("ref: demo\nversion: 1.0.0\nlable: x\n", &["pack.yaml:3:1: a pack has no key `lable`"]),
        (
            "ref: demo\nversion: 1.0.0\ntags: one\n",
            &["pack.yaml:3:7: a list is expected here, and this is text"],
        ),
        (
            "ref: demo\nversion: 1.0.0\ntags: [a, 1]\n",
            &["pack.yaml:3:11: text is expected here, and `1` is a number"],
        ),
        ("ref: demo\nversion: 1.0.0\nlabel: \" \"\n", &["pack.yaml:3:8: the text is empty"]),
        ("- ref: demo\n", &["pack.yaml:1:1: a pack is expected here, and this is a list"]),
        ("", &["pack.yaml: the file is empty"]),
        ("# only a comment\n", &["pack.yaml: the file is empty"]),
        ("ref: demo\nversion: 1.0.0\n---\nref: x\n", &["pack.yaml:3:1: a second document starts here"]),
        (
            "ref: demo\nref: demo\nversion: 1.0.0\n",
            &["pack.yaml:2:1: `ref` is written twice, first on line 1"],
        ),
        (
            "ref: demo\nversion: 1.0.0\nconfig: {type: array}\n",
            &["pack.yaml:3:16: the JSON Schema has to be that of an object"],
        ),
    ] {
        check(&[("pack.yaml", text)], expected);
    }
    // A pack without a usable name: nothing more is said about the names of what is in it.
    check(
        &[("pack.yaml", "ref: Demo\nversion: 1.0.0\n")],
        &[
            "pack.yaml:1:6: `Demo` is not a name: use a lower-case letter, then up to 63 lower-case letters, digits, `_` or `-`",
        ],
    );
}

#[test]
fn of_the_files() {
    let missing = Bundle::from_files([("README", b"x".as_slice(), false)]).expect("a bundle");
    let problems = load(&missing, &Known::default()).into_pack().expect_err("problems");
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the file is missing, and without it the files are no pack",
            "the pack is empty: it has no actions, sensors, runtimes or components",
        ]
    );
    let large = format!("# {}\n{PACK}", "x".repeat(512 * 1024));
    for (path, bytes, expected) in [
        (
            "pack.yaml",
            b"ref: demo\nlabel: \xff\n".as_slice(),
            "pack.yaml:2:8: the file is not UTF-8: byte 8 of line 2 is 0xff",
        ),
        (
            "pack.yaml",
            large.as_bytes(),
            "pack.yaml: the file has 524318 bytes; a file of YAML may have 524288",
        ),
        (
            "action/b.yaml",
            ACTION.as_bytes(),
            "action/b.yaml: only the files right in the folder `actions` are read",
        ),
        (
            "sensors/sub/b.yaml",
            ACTION.as_bytes(),
            "sensors/sub/b.yaml: only the files right in the folder `sensors` are read",
        ),
        ("actions/other.yml", b"x", "actions/other.yml: files that end in `.yml` are not read"),
        (
            "components/lua.wasm",
            b"\0asm\x01\0\0\0",
            "components/lua.wasm: the file is a WebAssembly module, not a component",
        ),
        (
            "components/lua.wasm",
            b"\0asm\x02\0\0\0",
            "components/lua.wasm: the file is WebAssembly of a version that is not known",
        ),
        ("components/lua.wasm", b"\0as", "components/lua.wasm: the file is not WebAssembly"),
        (
            "components/Lua2.wasm",
            COMPONENT,
            "components/Lua2.wasm: `Lua2` is not a name: use a lower-case letter, then up to 63 lower-case letters, digits, `_` or `-`",
        ),
    ] {
        assert_eq!(lines(&[(path, bytes)]), [expected]);
    }
}

#[test]
fn of_yaml() {
    let bomb = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}", level - 1);
            let items = [alias.as_str(); 10].join(", ");
            writeln!(text, "a{level}: &a{level} [{items}]").expect("written");
        }
        text
    };
    let nested = {
        let mut text = "a0: &a0 [x]\n".to_owned();
        for level in 1..100 {
            writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).expect("written");
        }
        text
    };
    let deep = format!("a: {}\n", "[".repeat(100));
    for (text, expected) in [
        ("ref: \"demo\n", "pack.yaml:2:1: this is not YAML"),
        ("ref: demo\n\tversion: 1\n", "pack.yaml:2:1: this is not YAML: a tab is where only spaces may be"),
        ("ref: demo\nversion: >=1\n", "pack.yaml:2:10: this is not YAML"),
        ("ref: [demo\n", "pack.yaml:1:6: this is not YAML"),
        ("ref: demo\n  version: 1\n", "pack.yaml:2:10: this is not YAML"),
        (
            "ref: demo\nversion: *missing\n",
            "pack.yaml:2:10: `*missing` is an alias, and nothing before it is marked `&missing`",
        ),
        (
            "ref: demo\nversion: !=3.12\n",
            "pack.yaml:2:10: `!=3.12` is read as a tag of YAML, which means nothing here",
        ),
        ("ref: demo\nversion: 1.0.0\n<<: text\n", "pack.yaml:3:5: `<<` merges mappings, and this is text"),
        (
            "ref: demo\nversion: 1.0.0\n<<: [text]\n",
            "pack.yaml:3:5: `<<` merges mappings, and this is a list",
        ),
        ("ref: demo\nversion: 1.0.0\n[a]: b\n", "pack.yaml:3:1: a key is a list or a mapping"),
        ("ref: demo\nversion: 1.0.0\n? &a [a]\n: b\n", "pack.yaml:3:6: a key is a list or a mapping"),
        ("tags: &a [*a]\n", "pack.yaml:1:11: the alias stands for what it is in"),
        ("tags: &a [b]\n*a : b\n", "pack.yaml:1:10: a key is a list or a mapping"),
        (&bomb, "pack.yaml:5:15: with its aliases written out the file has more than 20000 values"),
        (&nested, "pack.yaml:64:12: lists and mappings are nested more than 64 deep"),
        (&deep, "pack.yaml:1:68: lists and mappings are nested more than 64 deep"),
    ] {
        let found = lines(&[("pack.yaml", text.as_bytes())]);
        assert!(found.iter().any(|line| line.starts_with(expected)), "{text}: {found:#?}");
    }
}

#[test]
fn of_a_runtime() {
    let config = "execution_config: {}";
    for (text, expected) in [
        ("ref: other.lua\n", "runtimes/lua.yaml:1:6: `other.lua` says that it belongs to the pack `other`, and this is `demo`".to_owned()),
        ("ref: demo.Lua\n", "runtimes/lua.yaml:1:6: `Lua` is not a name: use a lower-case letter, then up to 63 lower-case letters, digits, `_` or `-`".to_owned()),
        ("label: Lua\n", "runtimes/lua.yaml:1:1: a runtime needs `ref`, which is missing".to_owned()),
        ("ref: lua\nname: Lua\n", "runtimes/lua.yaml:2:7: `Lua` is not the name that `ref` gives the runtime, `lua`".to_owned()),
        ("ref: lua\naliases: [a, B]\n", "runtimes/lua.yaml:2:14: `B` can't be an alias".to_owned()),
        ("ref: lua\naliases: [a, a]\n", "runtimes/lua.yaml:2:14: the alias `a` is there already, at runtimes/lua.yaml:2".to_owned()),
        ("ref: lua\naliases: [sh]\n", "runtimes/lua.yaml:2:11: `sh` is an alias of `core.shell` already".to_owned()),
        ("ref: lua\nplugin: {}\n", "runtimes/lua.yaml:2:9: a plugin needs `component`, which is missing".to_owned()),
        ("ref: lua\nplugin: {component: lau}\n", "runtimes/lua.yaml:2:21: there is no component `components/lau.wasm` in the pack".to_owned()),
        ("ref: lua\nplugin: {component: core.nope}\n", "runtimes/lua.yaml:2:21: there is no component `core.nope`: no installed pack has it".to_owned()),
        ("ref: lua\nplugin: {component: demo.gone}\n", "runtimes/lua.yaml:2:21: there is no component `components/gone.wasm` in the pack".to_owned()),
        ("ref: lua\ndistributions: {verification: {commands: [{binary: lua, exit_code: 256}]}}\n", "runtimes/lua.yaml:2:68: `256` is not in the range from 0 to 255".to_owned()),
        ("ref: lua\ndistributions: {verification: {commands: [{binary: lua, args: [3]}]}}\n", "runtimes/lua.yaml:2:64: text is expected here, and `3` is a number".to_owned()),
        ("ref: lua\nexecution_config: {interpreter: {args: [\"\\0\"]}}\n", "runtimes/lua.yaml:2:41: the text has a zero byte, which no argument can hold".to_owned()),
        ("ref: lua\nplugin: {component: ../lua}\n", "runtimes/lua.yaml:2:21: `../lua` is not the name of a component".to_owned()),
        (&format!("ref: lua\nversions: [{{version: 5.4, {config}}}]\n"), "runtimes/lua.yaml:2:22: `5.4` without quotes is the number 5.4, not a version".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: {1A: x}}\n", "runtimes/lua.yaml:2:31: `1A` can't be the name of a variable".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: {ATTUNE_X: x}}\n", "runtimes/lua.yaml:2:31: `ATTUNE_X` is Attune's own: names with `ATTUNE_` are set by the host".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: {A: {set: a, append: b}}}\n", "runtimes/lua.yaml:2:35: a variable is changed in exactly one way, and here are 2".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: {A: {}}}\n", "runtimes/lua.yaml:2:34: a variable is changed in exactly one way, and here are 0".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: {A: {unset: false}}}\n", "runtimes/lua.yaml:2:42: `unset: false` does nothing".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: {A: \"\\0\"}}\n", "runtimes/lua.yaml:2:34: the value has a zero byte, which no variable can hold".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: {A: }}\n", "runtimes/lua.yaml:2:32: there is no value here".to_owned()),
        ("ref: lua\nexecution_config: {env_vars: [A]}\n", "runtimes/lua.yaml:2:30: a mapping is expected here, and this is a list".to_owned()),
        ("ref: lua\nexecution_config: {environment: {interpreter: /bin/lua}}\n", "runtimes/lua.yaml:2:47: `/bin/lua` is absolute".to_owned()),
        ("ref: lua\nexecution_config: {environment: {create: [{run: []}]}}\n", "runtimes/lua.yaml:2:49: the command has no program".to_owned()),
        ("ref: lua\nexecution_config: {environment: {create: [{run: [x], timeout: never}]}}\n", "runtimes/lua.yaml:2:63: `never` is not a time from a millisecond to a year".to_owned()),
        ("ref: lua\nexecution_config: {dependencies: {manifests: [\"../x\"]}}\n", "runtimes/lua.yaml:2:47: `../x` leads out of its folder".to_owned()),
        ("ref: lua\nexecution_config: {dependencies: {manifests: [\"[\"]}}\n", "runtimes/lua.yaml:2:47: `[` is not a pattern of names: unclosed character class; missing ']'".to_owned()),
        ("ref: lua\nexecution_config: {interpreter: {binary: /bin/lua}}\n", "runtimes/lua.yaml:2:42: `/bin/lua` is a path, and a program is named without its folder".to_owned()),
    ] {
        let found = lines(&[("runtimes/lua.yaml", text.as_bytes())]);
        assert!(found.contains(&expected), "{text}: {found:#?}");
    }
}

#[test]
fn of_versions() {
    for (versions, expected) in [
        (
            "[{version: \"5.4\"}]",
            &["2:13: the version needs an `execution_config` of its own, complete, which is missing"]
                as &[&str],
        ),
        (
            "[{version: \"5\", is_default: true, execution_config: {}}, {version: \"4\", is_default: true, execution_config: {}}]",
            &["2:95: a second version is the default, after that of line 2"],
        ),
        (
            "[{version: \"5.4\", execution_config: {}}, {version: v5.4, execution_config: {}}]",
            &["2:62: the version `5.4` is there already, at runtimes/lua.yaml:2"],
        ),
        (
            "[{version: newest, execution_config: {}}]",
            &["2:22: the version `newest` can't be read: `newest` is not a version"],
        ),
        (
            "[{version: \"5.*\", execution_config: {}}]",
            &[
                "2:22: the version `5.*` can't be read: `5.*` has a wildcard where one exact version is expected",
            ],
        ),
        (
            "[{version: true, execution_config: {}}]",
            &["2:22: a version is expected here, and `true` is a boolean"],
        ),
        (
            "[{version: \"5\", execution_config: {}, meta: {lts: soon, eol: tomorrow}}]",
            &["2:72: `tomorrow` is not the date on which a version reaches its end of life"],
        ),
        (
            "[{version: \"5\", execution_config: {}, meta: {eol: [x]}}]",
            &["2:61: text is expected here, and this is a list"],
        ),
        ("{version: \"5\"}", &["2:12: a list is expected here, and this is a mapping"]),
    ] {
        let text = format!("ref: lua\nversions: {versions}\nplugin: {{component: lua}}\naliases: [lua5]\n");
        let expected: Vec<_> = expected.iter().map(|line| format!("runtimes/lua.yaml:{line}")).collect();
        check(&[("runtimes/lua.yaml", &text)], &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let without_plugin = "ref: lua\nversions: [{version: \"5\", execution_config: {}}]\n";
    let found = lines(&[("runtimes/lua.yaml", without_plugin.as_bytes())]);
    let expected = "runtimes/lua.yaml:2:1: versions are declared, and there is no `plugin` to find installations of them";
    assert!(found.iter().any(|line| line == expected), "{found:#?}");
}

#[test]
fn of_grants() {
    for (grants, expected) in [
        ("tools: [bin/lua]", "3:20: `bin/lua` is a path, and a program is named without its folder"),
        (
            "tools: [\"lua[\"]",
            "3:20: `lua[` is not a pattern of names: unclosed character class; missing ']'",
        ),
        ("search: [{source: path, folders: []}]", "3:45: the search root has no folders"),
        ("search: [{source: \"\", folders: [/usr/bin]}]", "3:30: the text is empty"),
        ("search: [{source: path, folders: [\"\"]}]", "3:46: the text is empty"),
        ("search: [{source: path, folders: [bin]}]", "3:46: `bin` does not say where it starts"),
        ("search: [{source: path, folders: [/usr/../bin]}]", "3:46: `/usr/../bin` has a `..` in it"),
        ("search: [{folders: [/bin]}]", "3:22: a search root needs `source`, which is missing"),
        ("read: [$PATH]", "3:19: `$PATH` does not say where it starts"),
        ("variables: [PATH]", "3:24: `PATH` decides what a program loads or starts, and is never granted"),
        (
            "variables: [LD_PRELOAD]",
            "3:24: `LD_PRELOAD` decides what a program loads or starts, and is never granted",
        ),
        (
            "variables: [DYLD_INSERT_LIBRARIES]",
            "3:24: `DYLD_INSERT_LIBRARIES` decides what a program loads or starts, and is never granted",
        ),
        ("variables: [A-B]", "3:24: `A-B` can't be the name of a variable"),
        ("network: yes", "3:21: `yes` is neither `true` nor `false`"),
        ("files: []", "3:12: a grant has no key `files`"),
    ] {
        let text = format!("ref: lua\nplugin:\n  grants: {{{grants}}}\n  component: lua\naliases: [lua5]\n");
        check(&[("runtimes/lua.yaml", &text)], &[&format!("runtimes/lua.yaml:{expected}")]);
    }
}

#[test]
fn of_patterns() {
    for (pattern, expected) in [
        ("'Lua (\\d+'", "6:23: `Lua (\\d+` is not a regular expression: unclosed group"),
        ("\"Lua \\\\y\"", "6:23: `Lua \\y` is not a regular expression: unrecognized escape sequence"),
        ("(?P<versoin>.+)", "6:22: the version is not read from a group called `versoin`"),
        ("'(?<Version>.+) (?<build>.+)'", "6:22: the version is not read from a group called `Version`"),
        (
            "a{2,1}",
            "6:19: `a{2,1}` is not a regular expression: invalid repetition count range, the start must be <= the end",
        ),
        (
            "(?=a)",
            "6:18: `(?=a)` is not a regular expression: look-around, including look-ahead and look-behind, is not supported",
        ),
        (
            "(\\w{900}){900}",
            "6:18: `(\\w{900}){900}` is not a regular expression: the pattern needs more than 1048576 bytes when it is compiled",
        ),
    ] {
        let text = format!(
            "ref: lua\ndistributions:\n  verification:\n    commands:\n      - binary: lua\n        pattern: {pattern}\naliases: [lua5]\nplugin: {{component: lua}}\n"
        );
        check(&[("runtimes/lua.yaml", &text)], &[&format!("runtimes/lua.yaml:{expected}")]);
    }
}

#[test]
fn of_an_action() {
    for (line, expected) in [
        ("entrypoint: x", "5:1: an action has no key `entrypoint`"),
        ("something: x", "5:1: an action has no key `something`"),
        ("timeout: 0", "5:10: `0` is not a time from a millisecond to a year"),
        ("timeout: [1]", "5:10: a time is expected here, and this is a list"),
        ("retries: -1", "5:10: `-1` is not in the range from 0 to 4294967295"),
        (
            "retries: 99999999999999999999",
            "5:10: `99999999999999999999` is not in the range from 0 to 4294967295",
        ),
        ("retries: many", "5:10: `many` is not a whole number"),
        ("retries: 1.5", "5:10: `1.5` is not a whole number"),
        ("retries: \"3\"", "5:10: a whole number is expected here, and `3` in quotes is text"),
        ("concurrency: -2", "5:14: `-2` is not in the range from 1 to 4294967295"),
        ("label: \"\\e[31m\"", "5:8: the text has the character U+001B, which can't be shown"),
        ("concurrency: 0", "5:14: with a concurrency of 0 it would never run"),
        ("idempotent: \"true\"", "5:13: `true` or `false` is expected here, and `true` in quotes is text"),
        ("version_policy: fallbck", "5:17: `fallbck` is not `strict` or `fallback`"),
        ("parameter_delivery: argv", "5:21: `argv` is not `stdin` or `file`"),
        ("parameter_format: xml", "5:19: `xml` is not `json`, `dotenv` or `yaml`"),
        ("output_format: JSON", "5:16: `JSON` is not `text`, `json`, `jsonl` or `yaml`"),
        (
            "runtime_version_constraint: \"5\"",
            "5:1: `runtime_version_constraint` means the same as `runtime_version`, and both are here",
        ),
        (
            "secrets: [Token]",
            "5:11: `Token` is not a name: use a lower-case letter, then up to 63 lower-case letters, digits, `_` or `-`",
        ),
        ("secrets: [a, {name: a}]", "5:15: the secret `a` is declared twice"),
        ("secrets: [{env: X}]", "5:12: a secret needs `name`, which is missing"),
        ("secrets: [{name: a, env: 1X}]", "5:26: `1X` can't be the name of a variable"),
        ("secrets: [[a]]", "5:11: a secret is expected here, and this is a list"),
        ("env_vars: {A B: c}", "5:12: `A B` can't be the name of a variable"),
        ("label: 3.10", "5:8: text is expected here, and `3.10` is a number"),
        ("description: {a: b}", "5:15: text is expected here, and this is a mapping"),
    ] {
        let text = format!("{ACTION}{line}\n");
        check(&[("actions/greet.yaml", &text)], &[&format!("actions/greet.yaml:{expected}")]);
    }
}

#[test]
fn of_what_an_action_refers_to() {
    for (from, to, expected) in [
        (
            "ref: demo.greet",
            "ref: demo.Greet",
            "1:6: `Greet` is not a name: use a lower-case letter, then up to 63 lower-case letters, digits, `_` or `-`",
        ),
        (
            "ref: demo.greet",
            "ref: other.greet",
            "1:6: `other.greet` says that it belongs to the pack `other`, and this is `demo`",
        ),
        ("runtime: lua", "runtime: luaa", "2:10: there is no runtime `luaa`"),
        ("runtime: lua", "runtime: demo.shell", "2:10: there is no runtime `demo.shell`"),
        ("runtime: lua", "runtime: core.lua", "2:10: there is no runtime `core.lua`"),
        ("runtime: lua", "runtime: awk", "2:10: `awk` is the name of a runtime in several packs"),
        (
            "runtime_version: \">=5.3,<6\"",
            "runtime_version: 3.10",
            "3:18: `3.10` without quotes is the number 3.1, not a version",
        ),
        (
            "entry_point: actions/greet.lua",
            "entry_point: actions/gret.lua",
            "4:14: there is no file `actions/gret.lua` in the pack",
        ),
        (
            "entry_point: actions/greet.lua",
            "entry_point: greet.lua",
            "4:14: there is no file `greet.lua` in the pack",
        ),
        ("entry_point: actions/greet.lua", "entry_point: actions", "4:14: `actions` is a folder"),
        ("entry_point: actions/greet.lua", "entry_point: /bin/sh", "4:14: `/bin/sh` is absolute"),
        (
            "entry_point: actions/greet.lua",
            "entry_point: ../greet.lua",
            "4:14: `../greet.lua` leads out of its folder",
        ),
        (
            "entry_point: actions/greet.lua",
            "entry_point: actions//greet.lua",
            "4:14: `actions//greet.lua` has an empty name or a `.` in it",
        ),
        (
            "entry_point: actions/greet.lua",
            "entry_point: actions\\greet.lua",
            "4:14: `actions\\greet.lua` has characters that paths of a pack can't have",
        ),
        (
            "runtime: lua",
            "runtime: core.native",
            "3:1: the runtime `core.native` has no versions to choose from",
        ),
        (
            "runtime: lua\nruntime_version: \">=5.3,<6\"",
            "runtime: core.native\n",
            "4:14: `actions/greet.lua` is itself the program, and is not executable",
        ),
    ] {
        let text = ACTION.replace(from, to);
        let found = lines(&[("actions/greet.yaml", text.as_bytes())]);
        let expected = format!("actions/greet.yaml:{expected}");
        assert!(found.contains(&expected), "{to}: {found:#?}");
    }
}

#[test]
fn of_constraints() {
    for (constraint, expected) in [
        ("\">=3.012\"", "3:23: the constraint `>=3.012` can't be read: `012` begins with a zero"),
        ("'3.12, =>4'", "3:25: the constraint `3.12, =>4` can't be read: `=>`"),
        ("\"3.12 && <4\"", "3:24: the constraint `3.12 && <4` can't be read: `&&`"),
        ("3.*.1", "3:22: the constraint `3.*.1` can't be read: `3.*.1` goes on after a wildcard"),
        ("3.9 || 3.a", "3:27: the constraint `3.9 || 3.a` can't be read: `a` is not a number"),
        ("\"\\u003e=3.a\"", "3:28: the constraint `>=3.a` can't be read: `a` is not a number"),
        ("3.12,", "3:22: the constraint `3.12,` can't be read"),
        ("\"3.12 ||\"", "3:24: the constraint `3.12 ||` can't be read"),
        (
            "\" >=3.12, <3.10\"",
            "3:20: no version can satisfy `>=3.12, <3.10`: its bounds leave nothing between them",
        ),
        (">-\n  3.a", "4:3: the constraint `3.a` can't be read: `a` is not a number"),
        ("012", "3:18: a version is expected here, and `012` is a number"),
        ("[3]", "3:18: a version is expected here, and this is a list"),
        (
            "3.13+jit\nruntime_variant: other",
            "4:18: the variant `other` is asked for, and the constraint asks for `jit`",
        ),
    ] {
        let text = ACTION.replace(" \">=5.3,<6\"", &format!(" {constraint}"));
        let found = lines(&[("actions/greet.yaml", text.as_bytes())]);
        let expected = format!("actions/greet.yaml:{expected}");
        assert!(
            matches!(found.as_slice(), [only] if only.starts_with(&expected)),
            "{constraint}: {found:#?}"
        );
    }
    for constraint in ["\"\"", "", "~", "\" \""] {
        let text = ACTION.replace("\">=5.3,<6\"", constraint);
        let pack = good(&[("actions/greet.yaml", &text)]);
        assert_eq!(pack.actions[0].program.constraint, None, "{constraint}");
    }
}

#[test]
fn of_names() {
    check(
        &[("actions/second.yaml", ACTION), ("sensors/second.yaml", SENSOR)],
        &[
            "actions/second.yaml:1:6: the action `greet` is there already, at actions/greet.yaml:1",
            "sensors/second.yaml:1:6: the sensor `clock` is there already, at sensors/clock.yaml:1",
        ],
    );
    check(
        &[("runtimes/second.yaml", "ref: lua\naliases: [lua5]\n")],
        &[
            "runtimes/second.yaml:1:6: the runtime `lua` is there already, at runtimes/lua.yaml:1",
            "runtimes/second.yaml:2:11: the alias `lua5` is there already, at runtimes/lua.yaml:2",
        ],
    );
}

#[test]
fn of_schemas() {
    for (line, expected) in [
        ("parameters: text", "5:13: a JSON Schema is expected here, and this is text"),
        ("parameters: {properties: {}}", "5:14: the JSON Schema has to be that of an object"),
        ("parameters: {type: objct}", "5:20: `objct` is not a type of JSON Schema"),
        (
            "parameters: {type: object, properties: {a: {type: strng}}}",
            "5:51: `strng` is not a type of JSON Schema",
        ),
        (
            "parameters: {type: object, properties: {a: {type: string, required: true}}}",
            "5:69: `required` of a JSON Schema is a list of names, and this is a boolean",
        ),
        (
            "parameters: {type: object, properties: {secrets: {type: object}}}",
            "5:51: a parameter can't be called `secrets`: declared secrets arrive under that name",
        ),
        (
            "parameters: {type: object, minProperties: .inf}",
            "5:43: `.inf` is a number that JSON does not have",
        ),
        (
            "output_schema: {$schema: \"https://example.org/x\"}",
            "5:26: the dialect of the JSON Schema is not known",
        ),
        ("output_schema: {$ref: \"#/$defs/x\"}", "5:17: the JSON Schema can't be used"),
        (
            "output_schema: {properties: {a: {$ref: \"file:///etc/passwd\"}}}",
            "5:40: `file:///etc/passwd` is not in this JSON Schema, and nothing is read from elsewhere",
        ),
        ("output_schema: {type: string, pattern: \"(\"}", "5:40: the JSON Schema can't be used"),
        // A back-reference needs more than linear time, and is refused when the action runs.
        ("output_schema: {type: string, pattern: '(a)\\1'}", "5:40: the JSON Schema can't be used"),
    ] {
        let text = format!("{ACTION}{line}\n");
        let found = lines(&[("actions/greet.yaml", text.as_bytes())]);
        let expected = format!("actions/greet.yaml:{expected}");
        assert!(matches!(found.as_slice(), [only] if only.starts_with(&expected)), "{line}: {found:#?}");
    }
}

#[test]
fn of_defaults() {
    let parameters = |properties: &str| format!("parameters: {{type: object, properties: {{{properties}}}}}");
    for (line, expected) in [
        (
            parameters("a: {type: integer, default: many}"),
            "5:69: the default is not what its JSON Schema allows: \"many\" is not of type \"integer\"",
        ),
        (
            parameters("a: {type: string, default: 3}"),
            "5:68: the default is not what its JSON Schema allows: 3 is not of type \"string\"",
        ),
        // The value within the default that is wrong.
        (
            parameters("a: {default: [1, x], items: {type: integer}}"),
            "5:58: the default is not what its JSON Schema allows: \"x\" is not of type \"integer\"",
        ),
        // Beside a reference, and where another part of the schema is referred to.
        (
            "output_schema: {properties: {\"a/~b\": {$ref: \"#/$defs/s\", default: 3}}, $defs: {s: {type: string}}}"
                .to_owned(),
            "5:67: the default is not what its JSON Schema allows: 3 is not of type \"string\"",
        ),
        (
            "output_schema: {$defs: {s: {type: string, default: true}}}".to_owned(),
            "5:52: the default is not what its JSON Schema allows: true is not of type \"string\"",
        ),
        (
            "output_schema: {items: {anyOf: [{type: object, properties: {c: {enum: [x, y], default: z}}}]}}"
                .to_owned(),
            "5:88: the default is not what its JSON Schema allows: \"z\" is not one of \"x\" or \"y\"",
        ),
        // What it lacks has no place of its own.
        (
            parameters("a: {type: object, required: [b], default: {}}"),
            "5:83: the default is not what its JSON Schema allows: \"b\" is a required property",
        ),
    ] {
        let text = format!("{ACTION}{line}\n");
        let found = lines(&[("actions/greet.yaml", text.as_bytes())]);
        assert_eq!(found, [format!("actions/greet.yaml:{expected}")], "{line}");
    }
    for line in [
        // It is completed before it is checked, as when the action runs.
        parameters(
            "a: {type: object, required: [b], default: {}, properties: {b: {type: integer, default: 1}}}",
        ),
        // Names of parameters and values that look like keywords.
        parameters("default: {type: integer, default: 1}, properties: {type: array, default: []}"),
        parameters("a: {enum: [{default: 1, type: string}], default: {default: 1, type: string}}"),
        parameters("a: {type: [string, \"null\"], default: null}"),
        parameters("a: {$ref: \"#\", default: {}}"),
    ] {
        let text = format!("{ACTION}{line}\n");
        good(&[("actions/greet.yaml", &text)]);
    }
}

#[test]
fn of_a_sensor() {
    for (line, expected) in [
        ("event_schema: [a]", "4:15: a JSON Schema is expected here, and this is a list"),
        ("event_schma: {}", "4:1: a sensor has no key `event_schma`"),
        ("enabled: on", "4:10: `on` is neither `true` nor `false`"),
    ] {
        let text = format!("{SENSOR}{line}\n");
        check(&[("sensors/clock.yaml", &text)], &[&format!("sensors/clock.yaml:{expected}")]);
    }
}

#[test]
fn of_a_runtime_are_not_said_again_of_its_actions() {
    // The runtime has a problem, or can't be read at all; the action that asks for it has none.
    for text in [RUNTIME.replace("binary", "binry"), format!("{RUNTIME}\t x")] {
        let found = lines(&[("runtimes/lua.yaml", text.as_bytes())]);
        assert!(!found.is_empty());
        assert!(found.iter().all(|line| line.starts_with("runtimes/lua.yaml:")), "{found:#?}");
    }
}
