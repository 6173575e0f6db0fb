//! Components that are built for the tests, from `tests/guests` and `packs`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use attune::pack::Voucher;
use attune::plugin::{ComponentSource, Wasm};
use sha2::{Digest, Sha256};

const GUESTS: [&str; 3] = ["detector", "hostile", "obliging"];

/// A guest, as if a pack shipped it.
pub(crate) fn source(name: &str) -> ComponentSource {
    source_of(name, wasm(name))
}

/// Any bytes, as if a pack shipped them as a component.
pub(crate) fn source_of(name: &str, wasm: Arc<[u8]>) -> ComponentSource {
    let mut sha256 = String::new();
    for byte in Sha256::digest(&wasm) {
        write!(sha256, "{byte:02x}").expect("a string takes everything");
    }
    let pack = "tests".parse().expect("a name");
    let vouched = Voucher::Nothing;
    ComponentSource { pack, name: name.to_owned(), sha256, vouched, wasm: Wasm::Bytes(wasm) }
}

/// The bytes of a guest; all guests are built when the first is asked for.
fn wasm(name: &str) -> Arc<[u8]> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| build(&GUESTS.map(|name| format!("guest-{name}"))));
    let path = folder.join(format!("guest_{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// The component that a pack of `packs` ships, built from its `plugin`.
pub(crate) fn component_of(pack: &str) -> Vec<u8> {
    let path = build(&[format!("attune-plugin-{pack}")]).join(format!("attune_plugin_{pack}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn build(packages: &[String]) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is in a workspace");
    let target = workspace.join("target/guests");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(workspace)
        .args(["build", "--quiet", "--target", "wasm32-wasip2", "--profile", "plugin", "--target-dir"])
        .arg(&target);
    for package in packages {
        cargo.args(["--package", package]);
    }
    // What the outer build was told is not meant for the inner one.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if (text.starts_with("CARGO_") && text != "CARGO_HOME") || text == "RUSTFLAGS" {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status().expect("cargo starts");
    assert!(
        status.success(),
        "{packages:?} don't build; `rustup target add wasm32-wasip2` if the target is missing"
    );
    target.join("wasm32-wasip2/plugin")
}
