//! Builds the components of `plugins/` and embeds the packs of `packs/`, so that the program alone is
//! enough to run; embeds what new packs with components are made from, too.
//!
//! Every crate of `plugins/` except the SDK is a component of the core pack. A build script must not write
//! into the source tree: in the embedded pack the components are where `packs/core/components/` would be.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crate of `plugins/` that is no component.
const SDK: &str = "sdk";
/// The pack that ships the components.
const COMPONENTS_PACK: &str = "core";
/// Packs that are embedded, in the order in which they are installed.
const PACKS: [&str; 2] = [COMPONENTS_PACK, "examples"];
/// What new packs are made from: a folder for each language that components are written in, and `common`.
const SCAFFOLDS: &str = "scaffold";
/// What components are compiled for, and with which profile.
const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "plugin";
/// A folder of components that are built already, for editors and offline builds.
const PREBUILT: &str = "ATTUNE_PLUGINS_DIR";

fn main() {
    if let Err(error) = run() {
        // Cargo shows these lines as errors of its own, without the rest of what a build script says.
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().ok_or("the host is not in a workspace")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let names = component_names(workspace)?;
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    let built = match env::var_os(PREBUILT) {
        Some(folder) => PathBuf::from(folder),
        None => build(workspace, &out, &names)?,
    };
    let mut components = BTreeMap::new();
    for name in names {
        let file = built.join(format!("{}.wasm", package(&name).replace('-', "_")));
        if !file.is_file() {
            return Err(format!("the component {} is missing", file.display()).into());
        }
        if env::var_os(PREBUILT).is_some() {
            rerun_if_changed(&file);
        }
        components.insert(name, file);
    }
    write_if_changed(&out.join("embedded_packs.rs"), &embed(workspace, &components)?)?;
    write_if_changed(&out.join("scaffolds.rs"), &embed_scaffolds(workspace)?)?;
    Ok(())
}

/// The components' names, which are those of their folders.
fn component_names(workspace: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace.join("plugins"))? {
        let entry = entry?;
        let name =
            entry.file_name().into_string().map_err(|name| format!("{} is not UTF-8", name.display()))?;
        if name != SDK && entry.path().join("Cargo.toml").is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn package(component: &str) -> String {
    format!("attune-plugin-{component}")
}

/// Builds the components, and says in which folder they are.
fn build(workspace: &Path, out: &Path, names: &[String]) -> Result<PathBuf, Box<dyn Error>> {
    for path in ["Cargo.toml", "Cargo.lock", "wit", "plugins"] {
        rerun_if_changed(&workspace.join(path));
    }
    // The build that runs this script holds the lock of its target folder, so the inner one has its own.
    // It is shared by the host's profiles: `target/PROFILE/build/PACKAGE/out` is four levels down.
    let target = out.ancestors().nth(4).ok_or("the output folder is not in a target folder")?.join("plugins");
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("cargo did not say where it is")?);
    cargo.current_dir(workspace).args(["build", "--locked", "--target", TARGET, "--profile", PROFILE]);
    cargo.arg("--target-dir").arg(&target);
    for name in names {
        cargo.args(["--package", &package(name)]);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_outer_build) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(target.join(TARGET).join(PROFILE));
    }
    if stderr.contains("E0463") || stderr.contains(&format!("`{TARGET}` target may not be installed")) {
        return Err(format!("the target {TARGET} is not installed: run `rustup target add {TARGET}`").into());
    }
    Err(format!("the components of plugins/ do not build\n{stderr}").into())
}

/// Variables that describe the build of the host and would change that of the components. Cargo's own
/// settings stay: the network, the home folder, the job server.
fn is_of_outer_build(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC",
        "RUSTC_LINKER",
        "RUSTDOC",
        "RUSTFLAGS",
        "TARGET",
    ];
    const PREFIXES: [&str; 9] = [
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_LLVM_COV",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CLIPPY_",
        "LLVM_PROFILE_",
    ];
    NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (name.starts_with("RUSTC_") && name.ends_with("WRAPPER"))
        || (name.starts_with("CARGO_BUILD_") && name.ends_with("WRAPPER"))
}

/// The source of the table of embedded packs.
fn embed(workspace: &Path, components: &BTreeMap<String, PathBuf>) -> Result<String, Box<dyn Error>> {
    let mut source = String::from("static PACKS: &[EmbeddedPack] = &[\n");
    for pack in PACKS {
        let folder = workspace.join("packs").join(pack);
        let mut files = BTreeMap::new();
        collect(&folder, &folder, &mut files)?;
        // Scenarios are for who changes the pack.
        files.retain(|path, _| !path.starts_with("tests/"));
        if pack == COMPONENTS_PACK {
            files.extend(
                components.iter().map(|(name, file)| (format!("components/{name}.wasm"), file.clone())),
            );
        }
        writeln!(
            source,
            "    EmbeddedPack {{ name: {pack:?}, stamp: \"{:016x}\", files: &[",
            stamp(&files)?
        )?;
        for (path, file) in files {
            let executable =
                !path.starts_with("components/") && fs::metadata(&file)?.permissions().mode() & 0o111 != 0;
            writeln!(
                source,
                "        EmbeddedFile {{ path: {path:?}, contents: include_bytes!({:?}), executable: {executable} }},",
                file.to_str().ok_or_else(|| format!("{} is not UTF-8", file.display()))?
            )?;
        }
        writeln!(source, "    ] }},")?;
    }
    source.push_str("];\n");
    Ok(source)
}

/// The source of the table of what new packs are made from: the folders of `host/scaffold`, and the contract.
fn embed_scaffolds(workspace: &Path) -> Result<String, Box<dyn Error>> {
    let root = workspace.join("host").join(SCAFFOLDS);
    let mut source = String::from("static TEMPLATES: &[(&str, &[Template])] = &[\n");
    let mut folders = vec![("wit".to_owned(), workspace.join("wit"))];
    for entry in fs::read_dir(&root)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        folders.push((name.map_err(|name| format!("{} is not UTF-8", name.display()))?, entry.path()));
    }
    folders.sort();
    rerun_if_changed(&root);
    for (name, folder) in folders {
        let mut files = BTreeMap::new();
        collect(&folder, &folder, &mut files)?;
        writeln!(source, "    ({name:?}, &[")?;
        for (path, file) in files {
            let executable = fs::metadata(&file)?.permissions().mode() & 0o111 != 0;
            let file = file.to_str().ok_or_else(|| format!("{} is not UTF-8", file.display()))?;
            writeln!(
                source,
                "        Template {{ path: {path:?}, text: include_str!({file:?}), executable: {executable} }},"
            )?;
        }
        writeln!(source, "    ]),")?;
    }
    source.push_str("];\n");
    Ok(source)
}

/// Changes whenever a file of the pack does: a start can tell without reading them whether it has this pack.
fn stamp(files: &BTreeMap<String, PathBuf>) -> std::io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    for (path, file) in files {
        (path, fs::read(file)?, fs::metadata(file)?.permissions().mode() & 0o111).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// The files below `folder` by their path relative to `root`, without copies of components and without
/// what tools leave behind.
fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), Box<dyn Error>> {
    rerun_if_changed(folder);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let relative = path.strip_prefix(root)?.to_str().ok_or("a path is not UTF-8")?.to_owned();
        let is_left_out = relative == "components"
            || matches!(
                path.file_name().and_then(|name| name.to_str()),
                Some(".gitignore" | ".attuneignore" | ".DS_Store" | "node_modules" | "__pycache__")
            );
        if is_left_out {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            rerun_if_changed(&path);
            files.insert(relative, path);
        }
    }
    Ok(())
}

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn write_if_changed(path: &Path, contents: &str) -> std::io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == contents) {
        return Ok(());
    }
    fs::write(path, contents)
}
