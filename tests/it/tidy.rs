//! Rules about the source itself that no compiler knows.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines that a file may have and still be read in one go.
const LINES_MAX: usize = 600;

/// Words that name a language or its tools: the host must do without.
const LANGUAGES: [&str; 22] = [
    "python",
    "pyenv",
    "venv",
    "virtualenv",
    "pip",
    "conda",
    "node",
    "nodejs",
    "npm",
    "npx",
    "nvm",
    "ruby",
    "gem",
    "bundler",
    "perl",
    "java",
    "golang",
    "php",
    "deno",
    "bun",
    "bash",
    "dotnet",
];

struct Source {
    /// Relative to the project, with `/`.
    name: String,
    /// Up to the tests at the end of the file.
    code: String,
    lines: usize,
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

fn sources(folders: &[&str]) -> Vec<Source> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    collect(&path, files);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for folder in folders {
        collect(&project().join(folder), &mut files);
    }
    files.sort();
    let sources: Vec<Source> = files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("text");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            let name = path.strip_prefix(project()).expect("below").to_str().expect("text").to_owned();
            Source { name, code, lines: text.lines().count() }
        })
        .collect();
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

fn is_test(source: &Source) -> bool {
    source.name.ends_with("/tests.rs") || source.name.contains("/tests/")
}

/// The words of a text, split where letters end and where an identifier's parts meet.
fn words(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split(|letter: char| !letter.is_ascii_alphabetic()).map(str::to_lowercase)
}

fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

/// Lines of the host's code, tests apart, that `offends` picks.
fn offences(allowed: &[&str], offends: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources(&["host/src"]) {
        if is_test(&source) || allowed.iter().any(|prefix| source.name.starts_with(prefix)) {
            continue;
        }
        for (number, line) in source.code.lines().enumerate() {
            if offends(line) {
                found.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn files_are_short_enough_to_read() {
    let long = sources(&["host", "plugins", "tests"])
        .into_iter()
        .filter(|source| source.lines > LINES_MAX)
        .map(|source| format!("{}: {} lines", source.name, source.lines))
        .collect::<Vec<_>>();
    assert_none(&long, "split these files by what they own");
}

#[test]
fn the_host_names_no_language() {
    let offending = |line: &str| {
        let comment = line.trim_start().starts_with("//");
        !comment && words(line).any(|word| LANGUAGES.contains(&word.as_str()))
    };
    // Variables with which a component could make a granted program run something else are refused there,
    // and are called what they are called.
    let allowed = ["host/src/variable.rs"];
    assert_none(&offences(&allowed, offending), "the host must not know a language by name");
}

#[test]
fn sql_is_in_the_store() {
    let offending = |line: &str| line.contains("sqlx::") || line.contains("sqlx::query");
    assert_none(&offences(&["host/src/store"], offending), "SQL belongs in host/src/store");
}

#[test]
fn processes_are_started_in_two_places() {
    let offending = |line: &str| line.contains("Command::new") && !line.contains("process::Command::new");
    let spawning = ["host/src/process", "host/src/plugin/child"];
    let mut found =
        offences(&spawning, |line| line.contains("tokio::process") || line.contains("std::process::Command"));
    found.extend(offences(&spawning, |line| offending(line) && line.contains("std::")));
    assert_none(&found, "processes are started in host/src/process and host/src/plugin/child");
}

#[test]
fn wasmtime_is_in_the_plugin_host() {
    assert_none(
        &offences(&["host/src/plugin"], |line| line.contains("wasmtime")),
        "wasmtime belongs in host/src/plugin",
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let offending = |line: &str| {
        // In two parts, so that this is not found itself.
        [("todo", "!("), ("unimplemented", "!("), ("FIX", "ME"), ("XX", "X")]
            .iter()
            .any(|(begin, end)| line.contains(&format!("{begin}{end}")))
    };
    assert_none(&offences(&[], offending), "finish these");
}

#[test]
fn comments_are_no_banners() {
    let banner = |line: &str| {
        let line = line.trim();
        line.starts_with("//") && ["====", "----", "####", "****"].iter().any(|rule| line.contains(rule))
    };
    assert_none(&offences(&[], banner), "a heading is a module's name, not a drawn line");
}

#[test]
fn migrations_are_the_ones_that_are_applied() {
    let source = fs::read_to_string(project().join("host/src/store/migration.rs")).unwrap();
    for engine in ["sqlite", "postgres"] {
        for entry in fs::read_dir(project().join("migrations").join(engine)).unwrap() {
            let name = format!("{engine}/{}", entry.unwrap().file_name().into_string().unwrap());
            assert!(source.contains(&name), "{name} is in the folder and is not applied");
        }
    }
}
