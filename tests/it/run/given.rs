//! Parameters: from flags, files and standard input, by every delivery and format.

use serde_json::{Value as Json, json};

use crate::support::cli::Machine;
use crate::support::fixture::Pack;

const TYPED: &str = r"
output_format: json
parameters:
  type: object
  properties:
    text: { type: string, default: none }
    whole: { type: integer, minimum: 0 }
    number: { type: number }
    flag: { type: boolean }
    list: { type: array }
    object: { type: object }
  additionalProperties: false
";

/// An action that gives back what it is given.
fn typed() -> Pack {
    Pack::new("given").shell("typed", TYPED, "exec cat")
}

#[test]
fn flags_are_read_by_the_types_of_the_schema() {
    let machine = Machine::new();
    typed().install(&machine);
    let check = |given: &[&str], expected: Json| {
        let given = given.iter().flat_map(|text| ["-p", text]);
        let arguments = ["run", "given.typed"].into_iter().chain(given).collect::<Vec<_>>();
        assert_eq!(machine.json(&arguments)["result"], expected, "{arguments:?}");
    };
    check(&[], json!({"text": "none"}));
    check(&["text=5"], json!({"text": "5"}));
    check(&["text=a=b", "whole=5"], json!({"text": "a=b", "whole": 5}));
    check(&["number=2.5", "flag=true"], json!({"number": 2.5, "flag": true, "text": "none"}));
    check(
        &["list=[1, \"x\"]", "object={\"a\": null}"],
        json!({"list": [1, "x"], "object": {"a": null}, "text": "none"}),
    );
}

#[test]
fn mistakes_are_refused_before_anything_runs() {
    let machine = Machine::new();
    typed().install(&machine);
    for (given, words) in [
        (&["whole=five"][..], "`whole` has to be"),
        (&["whole=-1"], "-1"),
        (&["flag=maybe"], "`flag` has to be"),
        (&["txt=x"], "did you mean `text`?"),
        (&["list=[1"], "no JSON"),
        (&["text=a", "text=b"], "`text` is given twice"),
    ] {
        let given = given.iter().flat_map(|text| ["-p", text]);
        let arguments = ["run", "given.typed"].into_iter().chain(given).collect::<Vec<_>>();
        machine.runs(2, &arguments).says(&[words]);
    }
    // All of them at once.
    machine
        .runs(2, &["run", "given.typed", "-p", "txt=x", "-p", "flag=maybe"])
        .says(&["did you mean `text`?", "`flag` has to be"]);
    assert_eq!(machine.json(&["execution", "list"]), json!([]));
}

#[test]
fn a_document_from_a_file_or_from_standard_input() {
    let machine = Machine::new();
    typed().install(&machine);
    machine.write("given.json", r#"{"text": "file", "whole": 3}"#);
    machine.write("given.yaml", "text: file\nlist: [no, off]\n");
    machine.write("broken.yaml", "text: [");
    let run = |file: &str, more: &[&str]| {
        let arguments = [&["run", "given.typed", "--params", file], more].concat();
        machine.json(&arguments)["result"].clone()
    };
    assert_eq!(run("given.json", &[]), json!({"text": "file", "whole": 3}));
    assert_eq!(run("given.json", &["-p", "text=flag"]), json!({"text": "flag", "whole": 3}), "flags win");
    assert_eq!(run("given.yaml", &[])["text"], "file");
    machine
        .runs(2, &["run", "given.typed", "--params", "broken.yaml"])
        .says(&["broken.yaml", "nor YAML: line 1"]);

    let arguments = ["run", "given.typed", "--params", "-", "--json"];
    let output = machine.run_reading(&arguments, br#"{"text": "stdin"}"#);
    assert_eq!(output.json()["result"], json!({"text": "stdin"}));
    assert_eq!(machine.run_reading(&arguments, b"").json()["result"], json!({"text": "none"}));
    let output = machine.run_reading(&arguments, b"[1]");
    assert_eq!(output.code, 2, "{output}");
    let output = machine.run_reading(&arguments, br#"{"textt": "x"}"#);
    assert_eq!(output.code, 2, "{output}");
    output.says(&["textt"]);
}

#[test]
fn by_file_and_in_every_format() {
    let machine = Machine::new();
    let parameters = "parameters: {type: object, properties: {text: {type: string}, n: {type: integer}}}\n";
    let show = r#"stat -c %a "$ATTUNE_PARAMETERS_FILE"; cat "$ATTUNE_PARAMETERS_FILE""#;
    let action = |how: &str| format!("{parameters}{how}");
    Pack::new("given")
        .shell("json", &action("parameter_delivery: file"), show)
        .shell("yaml", &action("parameter_delivery: file\nparameter_format: yaml"), show)
        .shell("dotenv", &action("parameter_delivery: file\nparameter_format: dotenv"), show)
        .shell("lines", &action("parameter_format: dotenv"), r#"eval "$(cat)"; printf '%s|%s' "$n" "$text""#)
        .install(&machine);
    let run = |name: &str| machine.json(&["run", name, "-p", "text=it's no: \"x\"", "-p", "n=5"]);
    let text = |run: Json| run["result"].as_str().expect("text").to_owned();
    let read = |run: Json| {
        let text = text(run);
        let (mode, rest) = text.split_once('\n').expect("lines");
        assert_eq!(mode, "400", "nobody else may read it, and nobody change it");
        rest.to_owned()
    };
    let expected = json!({"text": "it's no: \"x\"", "n": 5});
    assert_eq!(serde_json::from_str::<Json>(&read(run("given.json"))).expect("JSON"), expected);
    let yaml = read(run("given.yaml"));
    assert_eq!(yaml, "text: \"it's no: \\\"x\\\"\"\n\"n\": 5");
    let dotenv = read(run("given.dotenv"));
    assert!(dotenv.starts_with("n='5'\ntext='it'\\''s no: \"x\"'"), "{dotenv}");
    assert_eq!(text(run("given.lines")), "5|it's no: \"x\"");
}

#[test]
fn what_the_format_has_no_place_for_is_refused_before_anything_runs() {
    let machine = Machine::new();
    let read = |format: &str| format!("parameter_format: {format}\nparameters: {{ type: object }}");
    Pack::new("given")
        .shell("lines", &read("dotenv"), "cat")
        .shell("json", &read("json"), "cat")
        .install(&machine);
    let output = machine.runs(2, &["run", "given.lines", "-p", "x y=1"]);
    output.says(&["error: the parameter `x y` has no place in the format `dotenv`"]);
    machine.runs(2, &["run", "given.lines", "-p", "x y=1", "--dry-run"]);
    assert_eq!(machine.json(&["execution", "list"]), json!([]));
    machine.runs(0, &["run", "given.json", "-p", "x y=1"]);
}

#[test]
fn the_run_folder_is_gone_afterwards() {
    let machine = Machine::new();
    Pack::new("given").shell("where", "", r#"echo x > file; echo "$PWD $TMPDIR $HOME""#).install(&machine);
    let run = machine.json(&["run", "given.where"]);
    let places = run["result"].as_str().expect("text").split(' ').collect::<Vec<_>>();
    assert_eq!(places.len(), 3);
    for place in places {
        let below = place.starts_with(&*machine.at("data/runs").to_string_lossy());
        assert!(below && !std::path::Path::new(place).exists(), "{place}");
    }
}

#[test]
fn an_action_that_starts_the_program_is_not_told_that_its_own_variables_set_nothing() {
    let machine = Machine::new();
    let script = format!("cat > /dev/null; '{}' config show 2>&1 > /dev/null", env!("CARGO_BIN_EXE_attune"));
    Pack::new("given").shell("again", "parameter_delivery: file", &script).install(&machine);
    assert_eq!(machine.json(&["run", "given.again"])["result"], "");
}
