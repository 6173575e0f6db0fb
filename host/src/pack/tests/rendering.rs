use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "the length is that of the snapshot")]
fn a_pack_with_twenty_mistakes() {
    let problems = problems(&[
        ("pack.yaml", b"ref: demo\nversion: 1.0\nauthr: Ada\n".as_slice()),
        (
            "runtimes/lua.yaml",
            br#"ref: lua
aliases: [lua5, sh]
plugin:
  component: lau
  grants:
    tools: [bin/lua]
    search:
      - {source: path, folders: []}
    variables: [LD_PRELOAD]
distributions:
  verification:
    commands:
      - {binary: lua, pattern: "Lua (\\d+"}
execution_config: &config
  interpretr: {binary: lua}
versions:
  - version: 5.4
    is_default: true
    execution_config: *config
  - version: "5.3"
    is_default: true
"#,
        ),
        (
            "actions/greet.yaml",
            br#"ref: demo.greet
runtime: Lua
runtime_version: ">=5.4, =>6"
entry_point: greet.lua
timeout: soon
parameters:
  type: object
  properties:
    name: {type: strng}
retries: 1
retries: 2
"#,
        ),
        ("actions/second.yaml", b"ref: demo.second\nruntime: lua\nruntime_version: >=5\nentry_point: ../x\n"),
        ("sensors/clock.yml", b""),
        ("components/old.wasm", b"\0asm\x01\0\0\0"),
    ]);
    insta::assert_snapshot!(problems.render(false), @r#"
    error: there is no runtime `Lua`
     --> actions/greet.yaml:2:10
      |
    2 | runtime: Lua
      |          ^^^
      |
      = help: did you mean `lua`?

    error: the constraint `>=5.4, =>6` can't be read: `=>` is not an operator
     --> actions/greet.yaml:3:26
      |
    3 | runtime_version: ">=5.4, =>6"
      |                          ^^
      |
      = help: write `>=`

    error: there is no file `greet.lua` in the pack
     --> actions/greet.yaml:4:14
      |
    4 | entry_point: greet.lua
      |              ^^^^^^^^^
      |
      = help: write `actions/greet.lua`: paths are relative to the pack

    error: `soon` is not a time from a millisecond to a year
     --> actions/greet.yaml:5:10
      |
    5 | timeout: soon
      |          ^^^^
      |
      = help: write seconds as a number, or a number with `ms`, `s`, `m`, `h` or `d`: `90`, `90s`, `5m`

    error: `strng` is not a type of JSON Schema
     --> actions/greet.yaml:9:18
      |
    9 |     name: {type: strng}
      |                  ^^^^^
      |
      = help: did you mean `string`?

    error: `retries` is written twice, first on line 10
      --> actions/greet.yaml:11:1
       |
    11 | retries: 2
       | ^^^^^^^
       |
       = help: keep one of the two

    error: this is not YAML: while scanning a block scalar, did not find expected comment or line break
     --> actions/second.yaml:3:18
      |
    3 | runtime_version: >=5
      |                  ^
      |
      = help: put quotes around it: `">=5"`

    error: the file is a WebAssembly module, not a component
    --> components/old.wasm
     = help: build it with `cargo build --target wasm32-wasip2`

    error: `1.0` is not the version of a pack, which is three numbers with dots between
     --> pack.yaml:2:10
      |
    2 | version: 1.0
      |          ^^^
      |
      = help: write `"1.0.0"`

    error: a pack has no key `authr`
     --> pack.yaml:3:1
      |
    3 | authr: Ada
      | ^^^^^
      |
      = help: did you mean `author`?

    error: `sh` is an alias of `core.shell` already
     --> runtimes/lua.yaml:2:17
      |
    2 | aliases: [lua5, sh]
      |                 ^^
      |
      = help: use another alias, or none: the name of the runtime works too

    error: there is no component `components/lau.wasm` in the pack
     --> runtimes/lua.yaml:4:14
      |
    4 |   component: lau
      |              ^^^
      |
      = help: did you mean `lua`?

    error: `bin/lua` is a path, and a program is named without its folder
     --> runtimes/lua.yaml:6:13
      |
    6 |     tools: [bin/lua]
      |             ^^^^^^^
      |
      = help: write the name alone, and the folder under `plugin.grants.search`

    error: the search root has no folders
     --> runtimes/lua.yaml:8:33
      |
    8 |       - {source: path, folders: []}
      |                                 ^
      |
      = help: name at least one, such as `$PATH` or `~/.versions/*/bin`

    error: `LD_PRELOAD` decides what a program loads or starts, and is never granted
     --> runtimes/lua.yaml:9:17
      |
    9 |     variables: [LD_PRELOAD]
      |                 ^^^^^^^^^^
      |
      = help: leave it out; to look through the search path, use `$PATH` as a folder of `search`

    error: `Lua (\d+` is not a regular expression: unclosed group
      --> runtimes/lua.yaml:13:37
       |
    13 |       - {binary: lua, pattern: "Lua (\\d+"}
       |                                     ^
       |
       = help: write it in the syntax of the Rust crate `regex`: no look-around, no back-references

    error: an execution config has no key `interpretr`
      --> runtimes/lua.yaml:15:3
       |
    15 |   interpretr: {binary: lua}
       |   ^^^^^^^^^^
       |
       = help: did you mean `interpreter`?

    error: `5.4` without quotes is the number 5.4, not a version
      --> runtimes/lua.yaml:17:14
       |
    17 |   - version: 5.4
       |              ^^^
       |
       = help: put quotes around it: `"5.4"`

    error: the version needs an `execution_config` of its own, complete, which is missing
      --> runtimes/lua.yaml:20:5
       |
    20 |   - version: "5.3"
       |     ^^^^^^^
       |
       = help: mark the runtime's with `execution_config: &name`, and write `execution_config: *name` here

    error: a second version is the default, after that of line 18
      --> runtimes/lua.yaml:21:17
       |
    21 |     is_default: true
       |                 ^^^^
       |
       = help: keep `is_default: true` at one version

    error: files that end in `.yml` are not read
    --> sensors/clock.yml
     = help: call it `sensors/clock.yaml`
    "#);
    assert_eq!(problems.to_string(), "21 mistakes in 6 files");
}

#[test]
fn colours() {
    let problems = problems(&[("pack.yaml", b"ref: demo\n")]);
    assert!(problems.render(true).contains("\u{1b}["));
    assert!(!problems.render(false).contains('\u{1b}'));
}
