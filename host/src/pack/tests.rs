//! Loading, as a table: one mistake in an otherwise good pack, and where it is seen.

use super::bundle::Bundle;
use super::problem::Problems;
use super::*;

mod helps;
mod mistakes;
mod rendering;

const PACK: &str = "ref: demo\nversion: \"1.0.0\"\n";

const RUNTIME: &str = "\
ref: demo.lua
aliases: [lua5]
plugin:
  component: lua
execution_config: &config
  interpreter: {binary: lua}
versions:
  - version: \"5.4\"
    execution_config: *config
";

const ACTION: &str = "\
ref: demo.greet
runtime: lua
runtime_version: \">=5.3,<6\"
entry_point: actions/greet.lua
";

const SENSOR: &str = "\
ref: clock
runtime: demo.lua
entry_point: actions/greet.lua
";

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Files of a good pack, with some replaced or added.
fn files<'a>(changes: &[(&'a str, &'a [u8])]) -> Bundle {
    let mut files = BTreeMap::from([
        ("pack.yaml", PACK.as_bytes()),
        ("runtimes/lua.yaml", RUNTIME.as_bytes()),
        ("actions/greet.yaml", ACTION.as_bytes()),
        ("actions/greet.lua", b"print('hello')"),
        ("sensors/clock.yaml", SENSOR.as_bytes()),
        ("components/lua.wasm", COMPONENT),
    ]);
    files.extend(changes.iter().copied());
    let files = files.into_iter().map(|(path, bytes)| (path, bytes.to_vec(), false));
    Bundle::from_files(files).expect("a bundle")
}

/// What other packs ship.
fn known() -> Known {
    let known = |reference: &str, aliases: &[&str], has_versions| KnownRuntime {
        reference: reference.parse().expect("a reference"),
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        has_versions,
    };
    let runtimes = vec![
        known("core.shell", &["sh"], true),
        known("core.native", &[], false),
        known("other.awk", &[], true),
        known("third.awk", &[], true),
        // The pack itself, as it was installed before.
        known("demo.old", &["lua5"], true),
    ];
    Known { runtimes, components: ["core.declarative", "core.shell", "demo.gone"].map(str::to_owned).into() }
}

fn problems(changes: &[(&str, &[u8])]) -> Problems {
    load(&files(changes), &known()).into_pack().expect_err("problems")
}

/// `file:line:column: message` of every problem.
fn lines(changes: &[(&str, &[u8])]) -> Vec<String> {
    problems(changes)
        .iter()
        .map(|problem| {
            let help = format!("; {}", problem.help);
            let line = problem.to_string();
            line.strip_suffix(&help).expect("help at the end").to_owned()
        })
        .collect()
}

fn check(changes: &[(&str, &str)], expected: &[&str]) {
    let bytes: Vec<_> = changes.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    assert_eq!(lines(&bytes), expected, "{changes:#?}");
}

fn good(changes: &[(&str, &str)]) -> Pack {
    let bytes: Vec<_> = changes.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    load(&files(&bytes), &known())
        .into_pack()
        .map_err(|problems| problems.render(false))
        .expect("a good pack")
}

#[test]
fn a_good_pack() {
    let pack = good(&[]);
    assert_eq!(pack.reference.as_str(), "demo");
    assert_eq!(pack.label, "demo");
    assert_eq!(pack.runtimes[0].reference.to_string(), "demo.lua");
    assert_eq!(pack.runtimes[0].versions[0].execution_config.interpreter.binary.as_deref(), Some("lua"));
    assert_eq!(pack.actions[0].program.constraint.as_ref().map(ToString::to_string), Some(">=5.3,<6".into()));
    assert_eq!(pack.sensors[0].reference.to_string(), "demo.clock");
    assert_eq!(pack.components["lua"].wasm, COMPONENT);
    assert_eq!(pack.components["lua"].sha256.len(), 64);
    assert_eq!(pack.digest, files(&[]).digest());
}

#[test]
#[expect(clippy::too_many_lines, reason = "the length is that of the snapshot")]
fn everything_an_action_can_say() {
    let pack = good(&[(
        "actions/greet.yaml",
        r#"
ref: greet
label: Greet
description: >
  Says hello,
  politely.
runtime: lua5
runtime_version_constraint: 5
runtime_variant: jit
version_policy: fallback
entry_point: ./actions/greet.lua
parameters:
  type: object
  properties:
    name: {type: string, default: World}
    country: {enum: [no, se]}
parameter_delivery: file
parameter_format: yaml
output_format: jsonl
output_schema: true_or_false
timeout: 1.5m
retries: 2
concurrency: 3
idempotent: true
enabled: false
env_vars:
  PLAIN: 3.10
  PATH: {prepend: /opt/bin}
  LUA_PATH: {append: "./?.lua"}
  LANG: {set: C}
  HOME: {unset: true}
secrets:
  - token
  - {name: key, description: Optional., required: false, env: API_KEY}
"#
        .replace("true_or_false", "{type: object}")
        .as_str(),
    )]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&pack.actions[0]).expect("JSON"), @r#"
        {
          "reference": "demo.greet",
          "label": "Greet",
          "description": "Says hello, politely.\n",
          "program": {
            "runtime": "lua5",
            "constraint": "5",
            "variant": "jit",
            "version_policy": "fallback",
            "entry_point": "actions/greet.lua",
            "env_vars": [
              [
                "PLAIN",
                {
                  "set": "3.10"
                }
              ],
              [
                "PATH",
                {
                  "prepend": "/opt/bin"
                }
              ],
              [
                "LUA_PATH",
                {
                  "append": "./?.lua"
                }
              ],
              [
                "LANG",
                {
                  "set": "C"
                }
              ],
              [
                "HOME",
                "unset"
              ]
            ],
            "secrets": [
              {
                "name": "token",
                "description": null,
                "required": true,
                "env": null
              },
              {
                "name": "key",
                "description": "Optional.",
                "required": false,
                "env": "API_KEY"
              }
            ]
          },
          "parameters": {
            "schema": {
              "type": "object",
              "properties": {
                "name": {
                  "type": "string",
                  "default": "World"
                },
                "country": {
                  "enum": [
                    "no",
                    "se"
                  ]
                }
              }
            },
            "delivery": "file",
            "format": "yaml"
          },
          "output": {
            "format": "jsonl",
            "schema": {
              "type": "object"
            }
          },
          "timeout": {
            "secs": 90,
            "nanos": 0
          },
          "retries": 2,
          "concurrency": 3,
          "idempotent": true,
          "enabled": false
        }
        "#);
}

#[test]
fn everything_a_runtime_can_say() {
    let pack = good(&[(
        "runtimes/lua.yaml",
        r#"
ref: lua
name: lua
label: Lua
description: A small language.
aliases: [lua5, lua.c]
plugin:
  component: demo.lua
  grants:
    tools: ["lua*", luarocks]
    search:
      - source: path
        folders: [$PATH]
      - source: manager
        folders: ["~/.versions/*/bin", "${LUA_ROOT:-/opt/lua}/bin", /usr/bin]
    read: ["~/.luarc"]
    variables: [LUA_ROOT]
    network: true
  settings:
    registry: https://example.org
    level: 3.10
distributions: &distributions
  verification:
    commands:
      - {binary: lua, args: [-v], pattern: 'Lua (?<version>\d+\.\d+\.\d+)', priority: 2}
      - {binary: luac, exit_code: 1, optional: true, priority: 1}
execution_config: &config
  interpreter: {binary: lua, args: [-E]}
  environment:
    create:
      - {run: [luarocks, init, "${environment}"], timeout: 60}
    interpreter: bin/lua
  dependencies:
    manifests: ["*.rockspec"]
    install:
      - {run: [luarocks, install], network: true}
  env_vars: {LUA_INIT: ""}
versions:
  - version: "5.4"
    is_default: true
    execution_config: *config
    meta: {eol: 2030-01-01, lts: true}
  - version: "5.3"
    execution_config:
      <<: *config
      interpreter: {binary: lua5.3}
    distributions: {}
  - version: 4
    execution_config: {}
"#,
    )]);
    let runtime = &pack.runtimes[0];
    assert_eq!(runtime.label, "Lua");
    assert_eq!(runtime.aliases, ["lua5", "lua.c"]);
    let [latest, merged, empty] = runtime.versions.as_slice() else { panic!("three versions") };
    assert!(latest.is_default && !merged.is_default);
    assert_eq!(latest.execution_config, runtime.execution_config);
    assert_eq!(latest.distributions, runtime.distributions);
    assert_eq!(merged.distributions, Distributions::default());
    assert_eq!((empty.version.as_str(), &empty.execution_config), ("4", &ExecutionConfig::default()));
    let binaries: Vec<_> = latest.distributions.verification.iter().map(|command| &command.binary).collect();
    assert_eq!(binaries, ["luac", "lua"]);
    assert_eq!(latest.meta["eol"], "2030-01-01");
    insta::assert_snapshot!(serde_json::to_string_pretty(&runtime.plugin).expect("JSON"), @r#"
        {
          "component": "lua",
          "grants": {
            "tools": [
              "lua*",
              "luarocks"
            ],
            "search": [
              {
                "source": "path",
                "folders": [
                  "$PATH"
                ]
              },
              {
                "source": "manager",
                "folders": [
                  "~/.versions/*/bin",
                  "${LUA_ROOT:-/opt/lua}/bin",
                  "/usr/bin"
                ]
              }
            ],
            "read": [
              "~/.luarc"
            ],
            "variables": [
              "LUA_ROOT"
            ],
            "network": true
          },
          "settings": [
            [
              "registry",
              "https://example.org"
            ],
            [
              "level",
              "3.10"
            ]
          ]
        }
        "#);
    insta::assert_snapshot!(serde_json::to_string_pretty(&merged.execution_config).expect("JSON"), @r#"
        {
          "interpreter": {
            "binary": "lua5.3",
            "args": []
          },
          "environment": {
            "create": [
              {
                "run": [
                  "luarocks",
                  "init",
                  "${environment}"
                ],
                "network": false,
                "timeout": {
                  "secs": 60,
                  "nanos": 0
                }
              }
            ],
            "interpreter": "bin/lua"
          },
          "dependencies": {
            "manifests": [
              "*.rockspec"
            ],
            "install": [
              {
                "run": [
                  "luarocks",
                  "install"
                ],
                "network": true,
                "timeout": null
              }
            ]
          },
          "env_vars": [
            [
              "LUA_INIT",
              {
                "set": ""
              }
            ]
          ]
        }
        "#);
}

#[test]
fn aliases_of_another_version_of_the_pack_do_not_count() {
    // `known` has the alias `lua5` for `demo.old`.
    assert_eq!(good(&[]).runtimes[0].aliases, ["lua5"]);
    check(
        &[("actions/greet.yaml", &ACTION.replace("runtime: lua", "runtime: old"))],
        &["actions/greet.yaml:2:10: there is no runtime `old`"],
    );
}

#[test]
fn files_that_are_not_read() {
    let pack = good(&[
        ("actions/data/names.yaml", "- not\n- an action\n"),
        ("actions/data.json", "{}"),
        ("docs/x.yaml", "::"),
        ("components/README", "x"),
    ]);
    assert_eq!(pack.actions.len(), 1);
    assert_eq!(pack.components.len(), 1);
}

#[test]
fn a_byte_order_mark() {
    assert_eq!(good(&[("pack.yaml", &format!("\u{feff}{PACK}"))]).reference.as_str(), "demo");
}

mod never_silent {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Whatever is in a file, there is a pack or there are problems, and every problem is in its file.
        #[test]
        fn mangled_text(cut in 0_usize..600, insert in "[ -~\n\u{e4}]{0,6}", file in 0_usize..4) {
            let (path, text) = [
                ("pack.yaml", PACK),
                ("runtimes/lua.yaml", RUNTIME),
                ("actions/greet.yaml", ACTION),
                ("sensors/clock.yaml", SENSOR),
            ][file];
            let cut = cut % text.len();
            let mangled = format!("{}{insert}{}", &text[..cut], &text[cut..]);
            if let Err(problems) = load(&files(&[(path, mangled.as_bytes())]), &known()).into_pack() {
                prop_assert!(!problems.is_empty());
                prop_assert!(!problems.render(false).is_empty());
                for problem in problems.iter() {
                    if let Some(position) = problem.position.filter(|_| problem.path == path) {
                        prop_assert!(position.start <= position.end && position.end <= mangled.len());
                        prop_assert!(position.line <= mangled.split('\n').count());
                    }
                }
            }
        }
    }
}
