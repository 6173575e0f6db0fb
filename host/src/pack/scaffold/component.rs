//! A new pack with a runtime and the source of the component that serves it.
//!
//! What is written are the folders of `host/scaffold`: `common`, and one for the language that the component is to be
//! written in. Names in braces stand for what is different from pack to pack, `dot-` for the dot of a hidden file.

use std::path::{Path, PathBuf};

use super::{NewFile, ScaffoldError, write};
use crate::plugin::CONTRACT;
use crate::reference::PackRef;

/// A file to be written.
struct Template {
    path: &'static str,
    text: &'static str,
    executable: bool,
}

include!(concat!(env!("OUT_DIR"), "/scaffolds.rs"));

/// What every such pack has, and the contract: no languages.
const COMMON: &str = "common";
const CONTRACT_FILES: &str = "wit";

/// The languages that a component can be started in.
pub fn languages() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name).filter(|name| ![COMMON, CONTRACT_FILES].contains(name))
}

/// Writes a new pack with a component in one of the [`languages`] into a folder of its name in `parent`, and says where
/// it is.
pub fn scaffold_component(parent: &Path, name: &PackRef, language: &str) -> Result<PathBuf, ScaffoldError> {
    let filled =
        |text: &str| text.replace("{{name}}", name.as_str()).replace("{{contract}}", &CONTRACT.to_string());
    let of = |wanted: &str, below: &'static str| {
        let found = TEMPLATES.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, files)| *files).unwrap_or_default().iter().map(move |file| (below, file))
    };
    let files = of(COMMON, "").chain(of(language, "")).chain(of(CONTRACT_FILES, "plugin/wit/"));
    let files = files.map(|(below, Template { path, text, executable })| NewFile {
        path: format!("{below}{}", filled(&path.replace("dot-", "."))),
        text: filled(text),
        executable: *executable,
    });
    write(parent, name, files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_language_has_what_a_pack_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(languages().count() >= 3);
        for language in languages() {
            let name: PackRef = format!("lang-{language}").parse().expect("a name");
            let root = scaffold_component(folder.path(), &name, language).expect("a pack");
            for file in [
                "pack.yaml",
                &format!("runtimes/{name}.yaml"),
                "actions/hello.yaml",
                &format!("actions/hello.{name}"),
                "tests/detect.yaml",
                "plugin/build.sh",
                "plugin/wit/world.wit",
                ".attuneignore",
                ".gitignore",
                "README.md",
            ] {
                let text = fs::read_to_string(root.join(file));
                let text = text.unwrap_or_else(|error| panic!("{language}: {file}: {error}"));
                assert!(!text.contains("{{"), "{language}: {file} has a name that nothing was put for");
            }
        }
    }

    #[test]
    fn a_component_is_built_with_the_bindings_that_the_host_has_been_tested_with() {
        let version = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("wit-bindgen = ")).expect("a line");
            line.split('"').nth(1).expect("a version").to_owned()
        };
        let own = include_str!("../../../../Cargo.toml");
        let template = include_str!("../../../scaffold/rust/plugin/Cargo.toml");
        assert_eq!(version(template), version(own));
    }
}
