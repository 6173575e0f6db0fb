use super::*;

#[test]
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
    insta::assert_snapshot!(problems.render(false), @"");
}

#[test]
fn colours() {
    let problems = problems(&[("pack.yaml", b"ref: demo\n")]);
    assert!(problems.render(true).contains("\u{1b}["));
    assert!(!problems.render(false).contains('\u{1b}'));
}
