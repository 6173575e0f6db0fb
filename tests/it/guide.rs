//! The guide for authors of packs: every command in it is run, and has to print what the guide says.
//!
//! A block of `console` begins each command with `$ `, and goes on with `> `. The rest is what it prints, standard output
//! before standard error. `…` stands for any text within a line, and alone on a line for any lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cli::{Machine, skip};

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// The commands of a document, with what they are to print.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { line: number, command: command.to_owned(), expected: Vec::new() });
            } else {
                let step = steps.last_mut().unwrap_or_else(|| panic!("line {number}: no command before it"));
                match line.strip_prefix("> ").or_else(|| line.strip_prefix('>')) {
                    Some(more) if step.expected.is_empty() => step.command.extend(["\n", more]),
                    _ => step.expected.push(line.to_owned()),
                }
            }
        }
    }
    steps
}

/// Whether a line is what is expected, where `…` stands for anything.
fn is_line(expected: &str, printed: &str) -> bool {
    match expected.split_once('…') {
        None => expected == printed,
        Some((before, after)) => printed.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(start, _)| start).chain([rest.len()]);
            ends.into_iter().any(|start| is_line(after, &rest[start..]))
        }),
    }
}

fn is_printed(expected: &[String], printed: &[&str]) -> bool {
    match (expected, printed) {
        ([], []) => true,
        ([any, rest @ ..], _) if any == "…" => {
            (0..=printed.len()).any(|skipped| is_printed(rest, &printed[skipped..]))
        }
        ([line, expected @ ..], [first, printed @ ..]) => {
            is_line(line, first) && is_printed(expected, printed)
        }
        (_, _) => false,
    }
}

#[test]
fn what_matches() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (expected, printed, matches) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a … c", "a b c", true),
        ("a … c", "a b d", false),
        ("a…", "a", true),
        ("…\nc", "a\nb\nc", true),
        ("…", "", true),
        ("a\n…\nc", "a\nc", true),
        ("a\n…", "b\nc", false),
        ("", "a", false),
    ] {
        assert_eq!(is_printed(&lines(expected), &printed.lines().collect::<Vec<_>>()), matches, "{expected}");
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is in a workspace").to_owned()
}

/// Follows the guide on a machine of its own, with the toolchain of this one.
#[test]
fn the_guide_does_what_it_says() {
    if !Path::new("/usr/bin/perl").exists() {
        return skip("there is no Perl, which the guide adds");
    }
    let guide = std::fs::read_to_string(workspace().join("docs/pack-authors.md")).expect("the guide");
    let machine = Machine::fresh();
    let here = machine.make("author");
    let program = machine.make("program");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_attune"), program.join("attune")).expect("a link");
    let inherited = |name: &str| std::env::var_os(name);
    let home = inherited("HOME").map(PathBuf::from).expect("a home folder");
    let cargo = inherited("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let rustup = inherited("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let toolchain = PathBuf::from(env!("CARGO")).parent().expect("a folder").to_owned();
    let path = format!("{}:{}:/usr/bin:/bin", program.display(), toolchain.display());
    for Step { line, command, expected } in steps(&guide) {
        let template = machine.command(&[]);
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(&command).current_dir(&here).env_clear();
        shell.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
            .env("PATH", &path)
            .env("CARGO_HOME", &cargo)
            .env("RUSTUP_HOME", &rustup)
            .env("CARGO_TERM_QUIET", "true")
            // What is compiled once serves the next time.
            .env("CARGO_TARGET_DIR", workspace().join("target/guide"));
        for name in ["RUSTUP_TOOLCHAIN", "SSL_CERT_FILE", "CARGO_HTTP_CAINFO", "HTTPS_PROXY", "https_proxy"] {
            if let Some(value) = inherited(name) {
                shell.env(name, value);
            }
        }
        let output = shell.output().expect("bash");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).replace(&*here.to_string_lossy(), "~/author");
        let printed: Vec<_> = printed.lines().map(str::trim_end).collect();
        assert!(
            is_printed(&expected, &printed),
            "docs/pack-authors.md:{line}: {command}\nprints\n\n{}\n\nand not\n\n{}",
            printed.join("\n"),
            expected.join("\n")
        );
    }
}
