//! The component that an argument names, and what is known of it.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::milliseconds;
use crate::cli::failure::{Exit, Failed};
use crate::cli::grants::{items, without};
use crate::cli::output::Output;
use crate::cli::pack::{install_failed, read, signer};
use crate::cli::progress::Progress;
use crate::cli::resolve::unknown_runtime;
use crate::digest::hexadecimal;
use crate::nearest::{did_you_mean, nearest_name};
use crate::pack::{Component, Grants, Voucher, install};
use crate::plugin::{ComponentSource, Plugin, Required, Wasm};
use crate::reference::PackRef;
use crate::store::denial::DenialRow;
use crate::store::runtime::RuntimeRow;
use crate::worker::{RuntimeError, Worker};

/// What a component begins with.
const MAGIC: &[u8] = b"\0asm";

/// A component that was loaded.
#[derive(Serialize)]
pub(super) struct Subject {
    /// As it was asked for, if that is a file; otherwise `pack.component`.
    pub component: String,
    pub sha256: String,
    /// What says that it is the one that is meant.
    pub vouched: Voucher,
    /// Bytes.
    pub size: u64,
    /// Which version of the contract it was built for; none if it has no part in it.
    pub contract: Option<String>,
    pub exports: Vec<String>,
    pub imports: Imports,
    pub needs: Option<Required>,
    pub loading: Loading,
    pub runtimes: Vec<Use>,
}

/// What it imports, by who defines it.
#[derive(Serialize)]
pub(super) struct Imports {
    pub attune: Vec<String>,
    pub wasi: Vec<String>,
    pub other: Vec<String>,
}

impl Imports {
    fn of(names: Vec<String>) -> Self {
        let (attune, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.starts_with("attune:"));
        let (wasi, other) = others.into_iter().partition(|name| name.starts_with("wasi:"));
        Self { attune, wasi, other }
    }

    pub(super) fn all(&self) -> Vec<String> {
        [&self.attune, &self.wasi, &self.other].into_iter().flatten().cloned().collect()
    }
}

/// What loading it took.
#[derive(Serialize)]
pub(super) struct Loading {
    /// Whether it was compiled for this; otherwise that had been done before, and kept.
    pub compiled: bool,
    pub milliseconds: f64,
}

/// A runtime that uses it.
#[derive(Serialize)]
pub(super) struct Use {
    pub runtime: String,
    pub asked: Grants,
    /// None if it is not installed, or the operator has approved nothing.
    pub approved: Option<Grants>,
    /// What is asked and was not approved.
    pub missing: Vec<String>,
    /// What it asked for and was denied.
    pub denials: Vec<DenialRow>,
    #[serde(skip)]
    pub installed: bool,
}

impl Use {
    fn new(runtime: String, asked: Grants, approved: Option<Grants>, installed: bool) -> Self {
        let missing = without(&items(&asked), &approved.as_ref().map(items).unwrap_or_default());
        let missing = missing.iter().filter(|_| installed).map(ToString::to_string).collect();
        Self { runtime, asked, approved, missing, denials: Vec::new(), installed }
    }
}

/// Where a component is, and who uses it.
struct Place {
    component: String,
    source: ComponentSource,
    size: u64,
    runtimes: Vec<Use>,
}

impl Subject {
    /// The component that `text` names.
    pub(super) async fn find(worker: &Worker, text: &str, output: &Output) -> Result<Self, Failed> {
        let path = Path::new(text);
        let place = if path.is_file() && is_component(path) {
            file(path)?
        } else if path.exists() {
            packed(worker, path).await?
        } else if text.contains('/') {
            return Err(Failed::message(Exit::NotFound, format!("there is no file or folder `{text}`")));
        } else {
            installed(worker, text).await?
        };
        let progress = Progress::begin(output);
        progress.say(format!("loading {}", place.component));
        let loaded = worker.plugins.load(&place.source).await;
        progress.end();
        match loaded {
            Ok(plugin) => Ok(Self::of(place, &plugin)),
            Err(error) => {
                let failed = anyhow::anyhow!("can't load `{}`: {}", place.component, error.cause);
                Err(Failed::new(Exit::Input, failed).hint(error.cause.remedy()))
            }
        }
    }

    fn of(place: Place, plugin: &Arc<Plugin>) -> Self {
        Self {
            component: place.component,
            sha256: plugin.sha256().to_owned(),
            vouched: place.source.vouched,
            size: place.size,
            contract: plugin.contract_version(),
            exports: plugin.exported(),
            imports: Imports::of(plugin.imports()),
            needs: plugin.required(),
            loading: Loading {
                compiled: plugin.was_compiled(),
                milliseconds: milliseconds(plugin.loading()),
            },
            runtimes: place.runtimes,
        }
    }
}

fn is_component(path: &Path) -> bool {
    use std::io::Read;
    let mut first = [0; MAGIC.len()];
    let is_named = path.extension().is_some_and(|extension| extension == "wasm");
    is_named
        || std::fs::File::open(path)
            .is_ok_and(|mut file| file.read_exact(&mut first).is_ok() && first == MAGIC)
}

fn file(path: &Path) -> Result<Place, Failed> {
    let wasm = std::fs::read(path)
        .map_err(|error| Failed::message(Exit::Input, format!("can't read `{}`: {error}", path.display())))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let pack: PackRef = "file".parse().map_err(anyhow::Error::from)?;
    let sha256 = hexadecimal(&Sha256::digest(&wasm));
    Ok(Place {
        component: path.display().to_string(),
        size: wasm.len() as u64,
        source: ComponentSource {
            pack,
            name,
            sha256,
            vouched: Voucher::Nothing,
            wasm: Wasm::Bytes(wasm.into()),
        },
        runtimes: Vec::new(),
    })
}

/// The only component of a pack that need not be installed.
async fn packed(worker: &Worker, path: &Path) -> Result<Place, Failed> {
    let bundle = read(path)?;
    let (origin, signer) = (path.to_string_lossy(), signer(worker, path, &bundle).ok());
    let pack = install::check(worker, &bundle, (&origin, signer.as_deref())).await.map_err(install_failed)?;
    let [component] = &pack.components.values().collect::<Vec<_>>()[..] else {
        let files = pack.components.keys().map(|name| format!("{}/components/{name}.wasm", path.display()));
        let files = files.collect::<Vec<_>>().join(", ");
        let message = format!("the pack `{}` has {} components", pack.reference, pack.components.len());
        let failed = Failed::message(Exit::Input, message);
        return Err(if files.is_empty() { failed } else { failed.hint(format!("name one: {files}")) });
    };
    let Component { name, sha256, wasm } = *component;
    let used = pack.runtimes.iter().filter_map(|runtime| {
        let declaration = runtime.plugin.as_ref().filter(|plugin| plugin.component == *name)?;
        Some(Use::new(runtime.reference.to_string(), declaration.grants.clone(), None, false))
    });
    Ok(Place {
        component: format!("{}.{name} in {}", pack.reference, path.display()),
        size: wasm.len() as u64,
        runtimes: used.collect(),
        source: ComponentSource {
            wasm: Wasm::Bytes(wasm.as_slice().into()),
            vouched: Voucher::of(&origin, signer.as_deref(), pack.locked).unwrap_or(Voucher::Nothing),
            ..worker.component(&pack.reference, name, sha256)
        },
    })
}

/// The component `pack.component` of an installed pack, or else the one that serves the runtime of that name.
async fn installed(worker: &Worker, text: &str) -> Result<Place, Failed> {
    let (pack, name) = match component_called(worker, text).await? {
        Some(found) => found,
        None => component_of(worker, text).await?,
    };
    let reference = format!("{pack}.{name}");
    let row = worker.store.plugins_of(&pack).await?.into_iter().find(|row| row.name == name);
    let row = row.ok_or_else(|| {
        Failed::message(Exit::NotFound, format!("there is no component `{reference}`: its pack was removed"))
    })?;
    let source = worker.installed_component(&pack, &name, &row.sha256).await?;
    worker.component_files(&source).await.map_err(anyhow::Error::from)?;
    let mut runtimes = Vec::new();
    for runtime in worker.store.runtimes().await? {
        let (Some(declaration), Some(used)) = (&runtime.runtime.plugin, &runtime.plugin) else { continue };
        if component_name(&runtime) == Some((pack.clone(), name.clone())) {
            let (asked, approved) = (declaration.grants.clone(), used.approved.clone());
            let used = Use::new(runtime.runtime.reference.to_string(), asked, approved, true);
            let mut denials = worker.store.denials(runtime.id).await?;
            denials.retain(|denial| denial.component == reference);
            runtimes.push(Use { denials, ..used });
        }
    }
    Ok(Place { component: reference, source, size: row.size.unsigned_abs(), runtimes })
}

async fn component_called(worker: &Worker, text: &str) -> Result<Option<(PackRef, String)>, Failed> {
    let Some((pack, name)) = text.split_once('.') else { return Ok(None) };
    let Ok(pack) = pack.parse::<PackRef>() else { return Ok(None) };
    Ok(worker.store.plugin_digest(&pack, name).await?.map(|_| (pack, name.to_owned())))
}

async fn component_of(worker: &Worker, text: &str) -> Result<(PackRef, String), Failed> {
    let runtime = match worker.runtime(text, None).await {
        Ok(runtime) => runtime,
        Err(RuntimeError::Unknown { nearest, .. }) => {
            let components = worker.store.component_names().await?;
            let nearest = nearest_name(components, text).or(nearest);
            let nearest = nearest.as_deref().map(did_you_mean).unwrap_or_default();
            let message = format!("there is no file, component or runtime `{text}`{nearest}");
            return Err(Failed::message(Exit::NotFound, message).hint(
                "`attune pack show PACK` shows the components of a pack, `attune runtime list` the runtimes",
            ));
        }
        Err(error) => return Err(unknown_runtime(error)),
    };
    component_name(&runtime).ok_or_else(|| {
        let reference = &runtime.runtime.reference;
        Failed::message(
            Exit::Input,
            format!("`{reference}` has no component: its entry points start by themselves"),
        )
    })
}

/// The pack and the name of the component that serves a runtime.
fn component_name(runtime: &RuntimeRow) -> Option<(PackRef, String)> {
    let declared = &runtime.runtime.plugin.as_ref()?.component;
    let own = runtime.runtime.reference.pack();
    Some(match declared.split_once('.') {
        Some((pack, name)) => (pack.parse().ok()?, name.to_owned()),
        None => (own.clone(), declared.clone()),
    })
}
