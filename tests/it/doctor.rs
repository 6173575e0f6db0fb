//! `attune doctor`: what is amiss, each with how to mend it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

use attune::plugin::Wasm;
use serde_json::{Value as Json, json};
use sqlx::Connection as _;

use crate::support::cli::{Machine, Output};
use crate::support::fixture::{Pack, tool, tools};
use crate::support::guests;

/// What is said of something.
fn of(findings: &Json, what: &str) -> Vec<Json> {
    let all = findings.as_array().expect("a list").iter();
    all.filter(|finding| finding["what"] == what).cloned().collect()
}

#[track_caller]
fn is_noted(findings: &[Json], seen: &str, mend: &str) {
    let says = |finding: &&Json, name: &str, words: &str| {
        finding[name].as_str().is_some_and(|text| text.contains(words))
    };
    let found = findings.iter().find(|finding| says(finding, "seen", seen));
    let found = found.unwrap_or_else(|| panic!("nothing says `{seen}`: {findings:#?}"));
    assert_eq!(found["state"], "warning");
    assert!(says(&found, "mend", mend), "{found}");
}

#[test]
fn programs_that_are_broken_and_versions_that_have_ended() {
    let machine = Machine::bare();
    tool(&machine, "3.11.7");
    tool(&machine, "3.12.1");
    machine.write("home/tools/plain/bin/tool", "#!/bin/sh\n");
    machine.script("home/tools/orphan/bin/tool", "#!/nowhere/sh\n");
    let yaml = |eol: &str| {
        let text = crate::support::fixture::TOOL;
        text.replacen(
            "version: \"3.11\"\n",
            &format!("version: \"3.11\"\n    meta: {{ eol: \"{eol}\" }}\n"),
            1,
        )
    };
    tools().file("runtimes/tool.yaml", yaml("2024-10-31")).install(&machine);
    let found = of(&machine.json(&["doctor"]), "tools.tool");
    is_noted(&found, "Tool 3.11 reached its end of life on 2024-10-31", "a later version");
    let plain = machine.at("home/tools/plain/bin/tool").display().to_string();
    is_noted(&found, &format!("{plain} (not_executable)"), "attune runtime detect tools.tool");
    is_noted(&found, "orphan/bin/tool (bad_shebang)", "remove or mend them");
    machine.runs(0, &["doctor"]).prints(&["found, but broken", "reached its end of life"]);

    tools().file("runtimes/tool.yaml", yaml("9999-10-31")).install(&machine);
    let found = of(&machine.json(&["doctor"]), "tools.tool");
    assert!(!json!(found).to_string().contains("end of life"), "{found:#?}");
}

#[test]
fn what_a_component_misses_of_an_installation_that_works() {
    let machine = Machine::bare();
    let path = tool(&machine, "3.12.1");
    let command = "      - { binary: tool, args: [\"--version\"]";
    let helper = "      - { binary: tool, args: [\"--helper\"], optional: true }\n";
    let yaml = crate::support::fixture::TOOL.replacen(command, &format!("{helper}{command}"), 1);
    tools().file("runtimes/tool.yaml", yaml).install(&machine);
    let detected = machine.json(&["runtime", "detect", "tool"]);
    assert_eq!(detected[0]["installations"][0]["status"], "verified", "{detected:#}");
    let found = of(&machine.json(&["doctor"]), "tools.tool");
    is_noted(&found, &format!("3.12.1 at {}: command-", path.display()), "attune runtime verify tools.tool");

    // One that lacks nothing.
    tools().install(&machine);
    let found = of(&machine.json(&["doctor"]), "tools.tool");
    assert!(found.iter().all(|finding| finding["state"] == "good"), "{found:#?}");
}

#[test]
fn actions_that_nothing_here_can_run() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let mut pack = tools()
        .action("fits.sh", "runtime: tool\nruntime_version: \">=3.12\"", "true")
        .action("falls.sh", "runtime: tool\nruntime_version: \"4\"\nversion_policy: fallback", "true")
        .action("off.sh", "runtime: tool\nruntime_version: \"4\"\nenabled: false", "true")
        .action("late.sh", "runtime: tool\nruntime_version: \">=4\"", "true");
    pack.install(&machine);
    let noted = |what: &str| of(&machine.json(&["doctor"]), what);
    let seen = "can't run here: no installation of `tools.tool` on this machine satisfies `>=4`";
    is_noted(&noted("tools.late"), seen, "`attune resolve tools.late`");
    for action in ["tools.fits", "tools.falls", "tools.off", "actions"] {
        assert_eq!(noted(action), [Json::Null; 0], "{action}");
    }

    for number in 0..11 {
        let file = format!("a{number}.sh");
        pack = pack.action(&file, "runtime: tool\nruntime_version: \"5\"", "true");
    }
    pack.install(&machine);
    is_noted(&noted("actions"), "2 actions more can't run here", "attune pack show");
}

#[test]
fn less_time_is_no_help_for_a_component_that_crashes() {
    let machine = Machine::bare();
    tool(&machine, "3.12.1");
    let Wasm::Bytes(component) = guests::source("hostile").wasm else { panic!("it is in memory") };
    let machine = machine.and("ATTUNE_DETECTION_TIMEOUT", "500ms");
    let yaml = |name: &str, what: &str| {
        let yaml = format!("ref: bad.{name}\nplugin: {{component: hostile, settings: {{do: {what}}}}}\n");
        yaml + "versions: [{version: \"1\", execution_config: {}}]\n"
    };
    Pack::new("bad")
        .file("components/hostile.wasm", &*component)
        .file("runtimes/hangs.yaml", yaml("hangs", "loop"))
        .file("runtimes/crashes.yaml", yaml("crashes", "panic"))
        .install_failing(&machine);
    let findings = machine.runs(1, &["doctor", "--json"]).json();
    for (runtime, is_hint) in [("bad.hangs", true), ("bad.crashes", false)] {
        let found = of(&findings, runtime);
        let mend = found[0]["mend"].as_str().expect("a hint");
        assert!(mend.contains("attune -vv runtime detect"), "{runtime}: {mend}");
        assert_eq!(mend.contains("verification_timeout"), is_hint, "{runtime}: {mend}");
    }
    // That it hung is known, and nobody waits for it again who has not asked for it.
    let listed = machine.runs(0, &["runtime", "list"]);
    listed.prints(&["bad.hangs"]).says(&["not looked for bad.hangs", "`attune runtime detect bad.hangs`"]);
    let failed = machine.runs(1, &["runtime", "detect", "bad.hangs"]);
    failed.says(&["did not answer within 500 ms"]);
}

#[tokio::test]
async fn a_database_that_is_newer() {
    let machine = Machine::bare();
    if !machine.keeps_a_file() {
        return crate::support::cli::skip("the database is on a server");
    }
    let url = format!("sqlite://{}", machine.at("data/attune.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.expect("a database");
    let later = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'later', true, x'00', 0)";
    sqlx::query(later).execute(&mut database).await.expect("inserted");
    database.close().await.expect("closed");
    let findings = machine.runs(1, &["doctor", "--json"]).json();
    let says = |name: &str, words: &str| findings[0][name].as_str().is_some_and(|text| text.contains(words));
    assert_eq!(findings[0]["state"], "bad");
    assert!(says("seen", "newer Attune") && says("mend", "run the newer Attune"), "{findings:#}");
}

/// Runs the program as a user who is not almighty, whom the machine then belongs to.
fn as_somebody(machine: &Machine, arguments: &[&str]) -> Output {
    const NOBODY: u32 = 65534;
    fn give(path: &Path) {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("given");
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            // What is behind a link is not of the machine.
            if !entry.file_type().expect("a kind").is_symlink() {
                give(&entry.path());
            }
        }
    }
    let mut command = machine.command(arguments);
    if rustix::process::geteuid().is_root() {
        give(&machine.path);
        command.uid(NOBODY).gid(NOBODY);
    }
    Output::new(&command.output().expect("it starts"))
}

#[test]
fn who_may_not_use_a_file_or_folder_is_told_so() {
    let machine = Machine::bare();
    let allow = |name: &str, mode: u32| {
        fs::set_permissions(machine.at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let hint = "give this user the right to read and write";
    let mut refused = vec![("data/packs", 0o000, 0o755), ("data/runs", 0o500, 0o700)];
    if machine.keeps_a_file() {
        refused.push(("data/attune.db", 0o400, 0o600));
    }
    for (name, mode, before) in refused {
        allow(name, mode);
        let output = as_somebody(&machine, &["run", "core.echo"]);
        assert_eq!(output.code, 1, "{name}: {output}");
        output.says(&[&machine.at(name).display().to_string(), &format!("hint: {hint}")]);
        let findings = as_somebody(&machine, &["doctor", "--json"]).json();
        // Looking makes no folder for an execution.
        assert!(name == "data/runs" || findings.to_string().contains(hint), "{name}: {findings:#}");
        assert!(!findings.to_string().contains("damaged"), "{name}: {findings:#}");
        allow(name, before);
    }
    assert_eq!(as_somebody(&machine, &["run", "core.echo"]).code, 0);
}

#[test]
fn a_database_that_is_damaged() {
    let machine = Machine::bare();
    if !machine.keeps_a_file() {
        return crate::support::cli::skip("the database is on a server");
    }
    let path =
        machine.write("data/attune.db", "this is no database, and never was one").display().to_string();
    let hint = format!("if `{path}` is damaged, put a copy in its place");
    machine.runs(1, &["run", "core.echo"]).says(&[&format!("hint: {hint}")]);
    let findings = machine.runs(1, &["doctor", "--json"]).json();
    assert!(findings[0]["mend"].as_str().is_some_and(|mend| mend.starts_with(&hint)), "{findings:#}");
}
