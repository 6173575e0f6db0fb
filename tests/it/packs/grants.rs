//! What components may do: what packs ask for, less what the operator's settings withhold.

use super::*;

/// A component that looks at what it was asked to, and a folder that it was granted.
fn curious(machine: &Machine, what: &str, with: &Path) -> Pack {
    let Wasm::Bytes(component) = guests::source("hostile").wasm else { panic!("it is in memory") };
    let readable = machine.make("home/readable");
    let runtime = format!(
        "ref: bad.curious
plugin:
  component: hostile
  settings: {{ do: {what}, with: {} }}
  grants: {{ tools: [tool], search: [{{ source: home, folders: [\"~/tools/*/bin\"] }}], read: [{}], network: true }}
versions: [{{version: \"1\", is_default: true, execution_config: {{interpreter: {{binary: tool}}}}}}]
",
        with.display(),
        readable.display()
    );
    Pack::new("bad").file("runtimes/curious.yaml", runtime).file("components/hostile.wasm", &*component)
}

fn settings(machine: &Machine, text: &str) {
    machine.write("home/.config/attune/attune.toml", text);
}

#[test]
fn the_settings_narrow_what_was_approved_at_every_load() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    tools().action("say.sh", "runtime: tool", "echo hi").install(&machine);
    assert_eq!(result(&machine, "tools.say"), "hi");
    let denied = "[grants.tools]\ndeny_tools = [\"t*l\"]\n[grants.others]\ntools = []\n";
    for text in ["[grants]\ntools = [\"other*\"]\n", denied, "[grants]\nsearch = [\"/usr/bin\"]\n"] {
        settings(&machine, text);
        machine.runs(3, &["run", "tools.say"]);
        let shown = machine.json(&["runtime", "show", "tool"]);
        assert_eq!(shown["withheld"].as_array().map(Vec::len), Some(1), "{shown}");
        let withheld = shown["withheld"][0].as_str().expect("text");
        let shown = machine.runs(0, &["runtime", "show", "tool"]);
        shown.prints(&["may not", withheld, "`[grants]`"]);
        if text == denied {
            shown.prints(&["was denied", "is withheld by `[grants]` of the settings"]);
            shown.says(&["`[grants.others]` of the settings narrows nothing"]);
        }
        machine.runs(0, &["pack", "show", "tools"]).prints(&["may not", withheld]);
        let folder = machine.at("packs/tools").display().to_string();
        machine.runs(0, &["pack", "install", &folder]).prints(&["may not", withheld]);
    }
    // It is of another pack.
    settings(&machine, "[grants.others]\ntools = []\n[grants]\ntools = [\"tool\"]\n");
    assert_eq!(result(&machine, "tools.say"), "hi");
    let shown = machine.json(&["config", "show"]);
    let names = shown.as_array().expect("a list").iter().map(|setting| setting["name"].clone());
    let names = names.collect::<Vec<_>>();
    assert!(
        names.contains(&json!("grants.tools")) && names.contains(&json!("grants.others.tools")),
        "{names:?}"
    );
}

#[test]
fn mistakes_in_what_is_to_be_narrowed_are_told() {
    let machine = Machine::fresh();
    for (text, said) in [
        ("[grants]\nnetwrk = false\n", "bad.toml:2:1: there is no grant `netwrk`; did you mean `network`?"),
        ("[grants]\nnetwork = \"no\"\n", "bad.toml:2:11: `network` is true or false"),
        ("[grants.tools]\ntools = \"x\"\n", "bad.toml:2:9: `tools` is a list of texts"),
        ("[grants]\ntools = [\"/bin/sh\"]\n", "bad.toml:2:9: `/bin/sh` can't be a tool"),
        ("[grants.\"No Pack\"]\nnetwork = false\n", "bad.toml:1:9: `No Pack` is no name of a pack"),
    ] {
        machine.write("bad.toml", text);
        machine.runs(2, &["config", "show", "--config", "bad.toml"]).says(&[said]);
    }
}

#[test]
fn what_was_denied_is_on_record() {
    let machine = Machine::bare();
    let file = machine.write("home/readable/file", "text");
    let denials = || machine.json(&["runtime", "show", "curious"])["denials"].clone();
    curious(&machine, "read", &file).install(&machine);
    assert_eq!(denials(), json!([]), "it was granted");

    settings(&machine, "[grants.bad]\nread = []\n");
    machine.run(&["runtime", "detect", "curious", "--again"]);
    let denied = denials();
    let count = denied[0]["count"].as_i64().expect("a number");
    assert_eq!(denied[0]["component"], "bad.hostile", "{denied}");
    let what = denied[0]["what"].as_str().expect("text");
    assert!(what.contains("home/readable/file is not below a granted folder"), "{what}");
    machine.run(&["runtime", "detect", "curious", "--again"]);
    assert!(denials()[0]["count"].as_i64() > Some(count), "it is counted");
    assert_eq!(denials().as_array().map(Vec::len), Some(1));
    machine.runs(0, &["runtime", "show", "curious"]).prints(&["was denied", what, " times, last at "]);
    assert_eq!(machine.json(&["plugin", "inspect", "curious"])["runtimes"][0]["denials"], denials());
    machine.runs(0, &["plugin", "inspect", "curious"]).prints(&["bad.curious was denied", what]);
}

#[test]
fn the_network_can_be_withheld_from_environments() {
    let machine = Machine::new();
    let file = machine.write("attune.toml", "[grants.core]\nnetwork = false\n");
    let machine = machine.and("ATTUNE_CONFIG", file);
    Pack::new("mine")
        .action("say.py", "runtime: core.python", "print('hi')")
        .file("requirements.txt", "nothing-of-that-name==1.0\n")
        .install(&machine);
    machine.runs(5, &["run", "mine.say"]).says(&["it needs the network, which the runtime was not granted"]);
    let shown = machine.json(&["runtime", "show", "core.python"]);
    assert_eq!(shown["withheld"], json!(["use the network"]));
    assert_eq!(shown["grants"]["network"], false);
    let denials = shown["denials"].as_array().expect("a list");
    let is_it =
        |denial: &&Json| denial["what"].as_str().is_some_and(|what| what.contains("needs the network"));
    assert_eq!(denials.iter().filter(is_it).count(), 1, "{denials:?}");
}
