//! Steps of plans, made without repeating what is the same for all of them.

use crate::environment::{Action, FileStep, LinkStep, Program, RunStep, Step};
use crate::failure::invalid_declaration;
use crate::types::Failure;

/// A step that makes a folder.
#[must_use]
pub fn make_dir(path: &str) -> Step {
    Step { title: format!("make the folder {path}"), action: Action::MakeDir(path.to_owned()) }
}

/// A step that writes a file.
#[must_use]
pub fn write_file(path: &str, contents: &[u8]) -> Step {
    let file = FileStep { path: path.to_owned(), contents: contents.to_vec(), executable: false };
    Step { title: format!("write {path}"), action: Action::WriteFile(file) }
}

/// A step that makes a link.
#[must_use]
pub fn link(path: &str, target: &str) -> Step {
    let link = LinkStep { path: path.to_owned(), target: target.to_owned() };
    Step { title: format!("link {path} to {target}"), action: Action::Link(link) }
}

/// A step that makes sure that a file is there.
#[must_use]
pub fn verify(path: &str) -> Step {
    Step { title: format!("make sure that {path} is there"), action: Action::Verify(path.to_owned()) }
}

/// A program with arguments, to be run in the environment without the network.
#[must_use]
pub fn command<T: AsRef<str>>(program: Program, arguments: &[T]) -> RunStep {
    RunStep {
        program,
        arguments: arguments.iter().map(|argument| argument.as_ref().to_owned()).collect(),
        variables: Vec::new(),
        folder: String::new(),
        network: false,
        timeout: None,
        extra: Vec::new(),
    }
}

/// A step that runs `command`.
#[must_use]
pub fn run(title: impl Into<String>, command: RunStep) -> Step {
    Step { title: title.into(), action: Action::Run(command) }
}

/// Steps that write files below `folder`, and make the folders that they need.
pub fn write_files<'a>(
    folder: &str,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<Step>, Failure> {
    let mut folders = vec![folder.to_owned()];
    let mut writes = Vec::new();
    for (name, contents) in files {
        let parts: Vec<&str> = name.split('/').collect();
        if name.starts_with('/') || parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(invalid_declaration(format!("`{name}` does not lie below the manifests' folder")));
        }
        for depth in 1..parts.len() {
            let parent = format!("{folder}/{}", parts[..depth].join("/"));
            if !folders.contains(&parent) {
                folders.push(parent);
            }
        }
        writes.push(write_file(&format!("{folder}/{name}"), contents));
    }
    Ok(folders.iter().map(|folder| make_dir(folder)).chain(writes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_bring_their_folders() {
        let steps = write_files("m", [("a/b/c.txt", &b"1"[..]), ("a/d.txt", b"2")]).expect("steps");
        let titles: Vec<&str> = steps.iter().map(|step| step.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "make the folder m",
                "make the folder m/a",
                "make the folder m/a/b",
                "write m/a/b/c.txt",
                "write m/a/d.txt"
            ]
        );
        for outside in ["/etc/passwd", "../x", "a/../../x", "a//b", "."] {
            assert!(write_files("m", [(outside, &b""[..])]).is_err(), "{outside}");
        }
    }
}
