//! Settings, and what every command has in common.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::cli::Machine;
use crate::support::fixture::{Pack, tools};

/// A setting as `attune config show` has it.
fn setting(machine: &Machine, arguments: &[&str], name: &str) -> (Json, Json) {
    let shown = machine.json(&[&["config", "show"], arguments].concat());
    let mut all = shown.as_array().expect("a list").iter();
    let setting = all.find(|setting| setting["name"] == name).expect("the setting");
    (setting["value"].clone(), setting["origin"].clone())
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let machine = Machine::fresh();
    let default = (json!("10s"), json!("default"));
    assert_eq!(setting(&machine, &[], "kill_grace"), default);
    let file = machine.write("home/.config/attune/attune.toml", "# mine\nkill_grace = \"3s\"\n");
    let from_file = (json!("3s"), json!(format!("{}:2", file.display())));
    assert_eq!(setting(&machine, &[], "kill_grace"), from_file);
    let machine = machine.and("ATTUNE_KILL_GRACE", "2s");
    assert_eq!(setting(&machine, &[], "kill_grace"), (json!("2s"), json!("$ATTUNE_KILL_GRACE")));
    let flag = ["--set", "kill_grace=1s"];
    assert_eq!(setting(&machine, &flag, "kill_grace"), (json!("1s"), json!("flag")));
    assert_eq!(setting(&machine, &["--data-dir", "here"], "data_dir").0, json!(machine.at("here")));
    let other = machine.write("other.toml", "kill_grace = 7\noutput_limit = \"1MiB\"\n");
    let other = other.to_string_lossy();
    assert_eq!(setting(&machine, &["--config", &other], "output_limit").0, "1MiB");
    machine.runs(0, &["config", "show"]).prints(&["kill_grace", "$ATTUNE_KILL_GRACE", "data_dir"]);
    assert!(!machine.at("data").exists(), "looking at settings makes nothing");
}

#[test]
fn how_the_log_is_written_is_a_setting() {
    let machine = Machine::new();
    Pack::new("log").shell("say", "", "echo hello").install(&machine);
    assert_eq!(setting(&machine, &[], "log_format"), (json!("text"), json!("default")));
    let run = ["run", "log.say", "-vv"];
    let lines = |arguments: &[&str]| machine.runs(0, &[&run, arguments].concat()).stderr;
    let is_json = |line: &str| serde_json::from_str::<Json>(line).is_ok_and(|line| line.is_object());
    assert!(lines(&["--set", "log_format=json"]).lines().any(is_json));
    assert!(!lines(&[]).lines().any(is_json));
    let file = machine.write("attune.toml", "log_format = \"json\"\n");
    assert!(lines(&["--config", &file.to_string_lossy()]).lines().any(is_json));
    let machine = machine.and("ATTUNE_LOG_FORMAT", "yaml");
    machine.runs(2, &["config", "show"]).says(&["`log_format` can't be `yaml`: write `text` or `json`"]);
}

#[test]
fn mistakes_in_settings_say_where_they_are() {
    let machine = Machine::fresh();
    machine.runs(2, &["config", "show", "--set", "kil_grace=1s"]).says(&["did you mean `kill_grace`?"]);
    machine.runs(2, &["config", "show", "--set", "kill_grace=soon"]).says(&["`kill_grace` can't be `soon`"]);
    machine.runs(2, &["config", "show", "--set", "kill_grace"]).says(&["--set NAME=VALUE"]);
    machine.runs(2, &["config", "show", "--config", "/nowhere.toml"]).says(&["/nowhere.toml"]);
    let file = machine.write("broken.toml", "a = 1\nkill_grace = \n").display().to_string();
    machine.runs(2, &["config", "show", "--config", &file]).says(&[&format!("{file}:2:")]);
    for (text, said) in [
        ("a = 1\n", "bad.toml:1:1: there is no setting `a`; `attune config show` lists them all"),
        (
            "# é\n  kil_grace = 1\n",
            "bad.toml:2:3: there is no setting `kil_grace`; did you mean `kill_grace`?",
        ),
        (
            "\n  [kill]\nx = 1\n",
            "bad.toml:2:4: there is no table `kill`; write `[variables]`, `[grants]` or `[trusted_keys]`",
        ),
        ("kill_grace = \"soon\"\n", "bad.toml:1:14: `kill_grace` can't be `soon`"),
    ] {
        machine.write("bad.toml", text);
        machine.runs(2, &["config", "show", "--config", "bad.toml"]).says(&[said]);
    }
    let two = machine.runs(2, &["config", "show", "--set", "slots=1", "--set", "kill_grace=soon"]);
    two.says(&["`--set slots`: there is no", "`--set kill_grace`: `kill_grace` can't be", "have 2 mistakes"]);
    let set = |text: &str| machine.runs(2, &["config", "show", "--set", text]);
    set("nosuch=1").says(&["there is no setting `nosuch`; `attune config show` lists them all"]);
    set("slots=1").says(&["there is no setting `slots`; did you mean `worker_slots`?"]);
    // It is part of several.
    set("timeout=1").says(&["there is no setting `timeout`; `attune config show` lists them all"]);
    let machine = machine.and("ATTUNE_DATA_DIR", "relative");
    machine.runs(2, &["run", "examples.greet"]).says(&["$ATTUNE_DATA_DIR", "absolute path"]);
}

#[test]
fn times_and_sizes_that_make_no_sense() {
    let machine = Machine::fresh();
    let unit = "write a number and a unit, such as";
    let flags = [
        ("--timeout", "-1", unit),
        ("--timeout", "NaN", unit),
        ("--timeout", "1.5s", unit),
        ("--timeout", "0", "nothing can be done in no time"),
        ("--timeout", "99999999999999999999", "write a time of at most `36500d`"),
        ("--delay", "-1s", unit),
        ("--deadline", "36501d", "write a time of at most `36500d`"),
    ];
    for (flag, value, said) in flags {
        let output = machine.runs(2, &["run", "core.echo", flag, value]);
        output.says(&[&format!("invalid value '{value}' for '{flag} <TIME>': {said}")]);
    }
    let prune = machine.runs(2, &["env", "prune", "--quota", "-1"]);
    prune.says(&["invalid value '-1' for '--quota <BYTES>': write a number and a unit"]);
    for (setting, said) in [
        ("action_timeout=-1", unit),
        ("verification_timeout=0", "no time at all: write more"),
        ("detection_timeout=0s", "no time at all: write more"),
        ("step_timeout=0", "no time at all: write more"),
        ("kill_grace=1e3", unit),
        ("poll_interval=1000000d", "write a time of at most `36500d`"),
        ("worker_slots=18446744073709551615", "write a number from 1 to 100000"),
        ("plugin_memory=1", "write at least `1MiB`"),
        ("output_limit=9999999TiB", "write at most `1048576TiB`"),
    ] {
        let output = machine.runs(2, &["config", "show", "--set", setting]);
        output.says(&["can't be ", said]);
        assert_eq!(output.stderr.matches("error:").count(), 1, "{output}");
    }
}

#[test]
fn a_worker_can_be_limited_to_some_runtimes() {
    for names in ["bash", "core.shell", "shell,nothing"] {
        let machine = Machine::bare().and("ATTUNE_WORKER_RUNTIMES", names);
        let looked = machine.json(&["runtime", "detect"]);
        for looked in looked.as_array().expect("a list") {
            let found = looked["installations"].as_array().expect("a list");
            assert_eq!(!found.is_empty(), looked["runtime"] == "core.shell", "{names}: {looked}");
        }
        let left_out =
            format!("left out: the setting `worker_runtimes` ($ATTUNE_WORKER_RUNTIMES: `{names}`)");
        let listed = machine.runs(0, &["runtime", "list"]);
        listed.says(&[&left_out]).prints(&["left out"]);
        for runtime in machine.json(&["runtime", "list"]).as_array().expect("a list") {
            assert_eq!(runtime["used"], runtime["ref"] == "core.shell", "{runtime}");
        }
        machine.runs(0, &["runtime", "detect", "python"]).prints(&[&left_out]);
        machine.runs(0, &["runtime", "show", "python"]).says(&[&left_out]);
        machine.runs(0, &["run", "core.echo"]);
        let folder = tools().write(&machine.make("packs"));
        let install = ["pack", "install", "--approve", &folder.to_string_lossy()];
        machine.runs(0, &install).prints(&[&left_out]);
        let installed = machine.json(&install);
        assert_eq!(installed["runtimes"][0]["used"], false, "{installed}");
        Pack::new("alone").action("say.sh", "runtime: core.native", "#!/bin/sh\n").install(&machine);
        machine.runs(2, &["run", "alone.say"]).says(&["this worker does not use `core.native`"]);
        machine.runs(2, &["run", "alone.say", "--dry-run"]).says(&["this worker does not use `core.native`"]);
        machine.runs(2, &["run", "examples.greet"]).says(&["this worker does not use `core.python`"]);
        machine.runs(0, &["doctor"]).prints(&["`worker_runtimes` names only others"]);
    }
}

#[test]
fn variables_for_builds_are_shown_without_their_credentials() {
    let machine = Machine::fresh();
    let text = "[variables]\nINDEX = \"https://me:precious@host/simple\"\nPROXY = \"http://proxy:1\"\nMY_TOKEN = \"abc\"\n";
    let file = machine.write("home/.config/attune/attune.toml", text);
    let origin = |line: u32| json!(format!("{}:{line}", file.display()));
    let shown = |name: &str| setting(&machine, &[], name);
    assert_eq!(shown("variables.INDEX"), (json!("https://***@host/simple"), origin(2)));
    assert_eq!(shown("variables.PROXY"), (json!("http://proxy:1"), origin(3)));
    assert_eq!(shown("variables.MY_TOKEN"), (json!("***"), origin(4)));
    machine.runs(0, &["config", "show"]).prints(&["variables.INDEX", "https://***@host/simple"]);
}

#[test]
fn what_was_meant_to_set_something_is_pointed_out() {
    let machine = Machine::bare()
        .and("ATTUNE_KILL_GRCE", "1s")
        .and("ATTUNE_ZZZ", "1")
        .and("ATTUNE_ACTION", "given.to_an_action")
        .and("ATTUNE_WORKER_RUNTIMES", "bash,shll");
    let warnings = |arguments: &[&str]| {
        let output = machine.runs(0, arguments);
        output
            .stderr
            .lines()
            .filter(|line| line.starts_with("warning:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let variables = [
        "warning: the variable `ATTUNE_KILL_GRCE` sets nothing; did you mean `ATTUNE_KILL_GRACE`?",
        "warning: the variable `ATTUNE_ZZZ` sets nothing; `attune config show` lists those that do",
    ];
    assert_eq!(warnings(&["config", "show"]), variables);
    assert_eq!(warnings(&["execution", "list"]), variables);
    let said = warnings(&["run", "core.echo"]);
    assert_eq!(said[..2], variables);
    let runtime = "warning: the setting `worker_runtimes` names `shll`, which no runtime is called; did you mean `shell`?";
    assert_eq!(said[2..], [runtime]);
    assert!(warnings(&["run", "core.echo", "--quiet"]).is_empty());
}

#[test]
fn folders_can_be_put_elsewhere() {
    let machine = Machine::fresh();
    let elsewhere = |name: &str| machine.at("elsewhere").join(name);
    let (packs, envs, cache) = (elsewhere("packs"), elsewhere("envs"), elsewhere("cache"));
    let machine = machine
        .and("ATTUNE_PACKS_DIR", packs)
        .and("ATTUNE_RUNTIME_ENVS_DIR", envs)
        .and("ATTUNE_CACHE_DIR", cache);
    machine.runs(0, &["run", "examples.greet"]);
    for name in ["packs/examples", "envs/examples", "cache/components"] {
        assert!(machine.at("elsewhere").join(name).is_dir(), "{name}");
    }
    for name in ["packs", "envs", "cache"] {
        assert!(!machine.at("data").join(name).exists(), "{name}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_used() {
    let machine = Machine::fresh();
    let file = machine.write("file", "");
    let machine = machine.and("ATTUNE_DATA_DIR", file.join("below"));
    let output = machine.runs(1, &["doctor"]);
    assert!(output.stdout.contains("bad ") && output.stdout.contains("file/below"), "{output}");
    let list = machine.keeps_a_file().then_some(&["execution", "list"][..]);
    for arguments in [&["run", "examples.greet"][..]].into_iter().chain(list) {
        let output = machine.runs(1, arguments);
        output.says(&["file/below", "error: can't"]);
        assert!(!output.stderr.contains("panicked"), "{output}");
    }
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let machine = Machine::new();
    if !machine.keeps_a_file() {
        return;
    }
    let database = machine.at("data/attune.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
        let pool = sqlx::sqlite::SqlitePool::connect_with(options).await.expect("a database");
        let statement =
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                         values (9999, 'later', true, x'00', 0)";
        sqlx::query(statement).execute(&pool).await.expect("a row");
        pool.close().await;
    });
    let before = fs::read(&database).expect("a database");
    for arguments in [&["run", "core.echo"][..], &["execution", "list"]] {
        machine.runs(1, arguments).says(&["is of a newer Attune (schema 9999", "another database"]);
    }
    assert_eq!(fs::read(&database).expect("a database"), before);
    machine.write("data/attune.db", "this is no database at all, but long enough to look like one");
    machine.runs(1, &["execution", "list"]).says(&["attune.db"]);
}

#[test]
fn colour_only_where_it_is_asked_for() {
    let machine = Machine::new();
    let colour = |arguments: &[&str]| machine.run(arguments).stdout.contains('\x1b');
    assert!(!colour(&["doctor"]), "not into a pipe");
    assert!(colour(&["doctor", "--color", "always"]));
    assert!(!colour(&["doctor", "--color", "never"]));
    let machine = machine.and("NO_COLOR", "1");
    assert!(!machine.run(&["doctor"]).to_string().contains('\x1b'));
}

#[test]
fn help_and_completions() {
    let machine = Machine::fresh();
    let help = machine.runs(0, &["--help"]);
    help.prints(&["Exit codes:", "  3    nothing matches", "  124  the action ran longer"]);
    assert_eq!(help.stderr, "");
    machine.runs(0, &["run", "--help"]).prints(&["--dry-run", "--constraint", "--params"]);
    machine.runs(0, &["--version"]).prints(&[env!("CARGO_PKG_VERSION")]);
    machine.runs(2, &["resolv"]).says(&["'resolve'"]);
    for shell in ["bash", "zsh", "fish"] {
        machine.runs(0, &["completions", shell]).prints(&["attune", "resolve"]);
    }
    assert!(!machine.at("data").exists());
}

#[test]
fn the_doctor_says_what_is_there() {
    let machine = Machine::bare();
    let findings = machine.json(&["doctor"]);
    let findings = findings.as_array().expect("a list");
    let finding = |what: &str| {
        findings.iter().find(|finding| finding["what"] == what).unwrap_or_else(|| panic!("no {what}"))
    };
    assert_eq!(finding("data folder")["state"], "good");
    assert_eq!(finding("core.shell")["state"], "good");
    assert_eq!(finding("core.native")["state"], "good");
    for finding in findings {
        assert_eq!(
            finding["state"] == "good",
            finding.get("mend").is_none(),
            "what is not good can be mended"
        );
    }
    // Where nothing is installed, it says what to install.
    let machine = Machine::bare().and("PATH", "/nowhere").and("ATTUNE_WORKER_RUNTIMES", "tool");
    crate::support::fixture::tools().install(&machine);
    let output = machine.runs(0, &["doctor"]);
    output.prints(&["tools.tool", "no working installation", "install Tool (known versions: 3.11, 3.12)"]);
}

#[test]
fn a_mistyped_folder_makes_no_new_database() {
    let machine = Machine::bare();
    let missing = machine.at("typo/attune.db");
    let url = format!("sqlite://{}", missing.display());
    for command in [&["pack", "list"][..], &["execution", "list"], &["worker", "list"]] {
        let folder = machine.at("typo").display().to_string();
        machine.runs(1, &[command, &["--database", &url]].concat()).says(&["can't use the folder", &folder]);
    }
    assert!(!machine.at("typo").exists());
    machine.make("typo");
    let output = machine.runs(0, &["execution", "list", "--database", &url, "-v"]);
    output.says(&["makes a new database", &missing.display().to_string()]);
    let output = machine.runs(0, &["execution", "list", "--database", &url, "-v"]);
    assert!(!output.stderr.contains("makes a new database"), "{output}");
}
