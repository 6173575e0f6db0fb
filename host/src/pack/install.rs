//! Installing a pack: checked, its components inspected, its grants approved, its files unpacked, and all
//! of it recorded at once.
//!
//! Until the transaction at the end commits, nothing that was installed before is touched: files and
//! components are kept by digest, beside those of other versions.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::alias::AliasUse;
use super::bundle::{Bundle, BundleError};
use super::bundles::{Bundles, BundlesError};
use super::grants::component_file;
use super::problem::Problems;
use super::{
    Component, DeclaredVersion, Grants, Known, KnownRuntime, Loaded, Pack, PluginDeclaration, Runtime,
    Voucher,
};
use crate::plugin::{Cause, ComponentSource, Function, PluginError, RuntimePlugin, Wasm};
use crate::reference::{PackRef, RuntimeRef};
use crate::store::StoreError;
use crate::store::pack::{Approval, PackInstall, PackRow, PluginRow, RuntimeInstall};
use crate::store::runtime::RuntimeRow;
use crate::worker::{Worker, keep_component};

/// Why a pack can't be installed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The folder or archive can't be read as a pack's.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The pack has mistakes.
    #[error("the pack has {0}")]
    Problems(Problems),
    /// A component can't be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A runtime names a component of a pack that isn't installed.
    #[error(
        "the runtime `{runtime}` uses the component `{component}`, which is not installed: install its pack first"
    )]
    NoComponent {
        /// The runtime.
        runtime: String,
        /// The component.
        component: String,
    },
    /// The operator has not agreed to what the pack's components ask for.
    #[error("what the pack's components ask for is not approved")]
    NotApproved {
        /// What they ask for.
        asked: Vec<Asked>,
        /// Whether another version of the pack is installed, which stays.
        is_update: bool,
    },
    /// The pack can't be kept for other workers.
    #[error(transparent)]
    Bundles(#[from] BundlesError),
    /// The pack's files can't be kept.
    #[error("can't write `{}`: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a component asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub runtime: RuntimeRef,
    pub grants: Grants,
    /// What was approved before.
    pub before: Option<Grants>,
    /// Whether it may have what it asks for, now or from before.
    pub approved: bool,
    /// What the operator's settings withhold of that, whoever approves it.
    pub withheld: Vec<String>,
}

/// Who agrees to what components ask for.
#[derive(Clone, Copy, Debug)]
pub enum Approve<'a> {
    /// Everything is agreed to.
    All {
        /// By whom.
        by: &'a str,
    },
    /// Only what was agreed to before.
    Known,
}

/// What was installed.
#[derive(Debug)]
pub struct Installed {
    pub pack: Pack,
    /// What was installed under the reference before, if it was another.
    pub replaced: Option<Replaced>,
}

/// What was installed before.
#[derive(Debug)]
pub struct Replaced {
    pub version: String,
    pub digest: String,
    /// Versions that its runtimes declared and no longer do, with the runtime: `core.shell 5`.
    pub versions: Vec<String>,
}

/// Where a pack comes from, and the name of the trusted key that it is signed with.
pub type Origin<'o> = (&'o str, Option<&'o str>);

/// Reads and checks a pack, knowing what is installed.
pub async fn check(worker: &Worker, bundle: &Bundle, origin: Origin<'_>) -> Result<Pack, InstallError> {
    let installed = worker.store.runtimes().await?;
    let known = Known {
        runtimes: installed.iter().map(|row| KnownRuntime::from(&row.runtime)).collect(),
        components: worker.store.component_names().await?,
    };
    let mut loaded = super::load(bundle, &known);
    check_components(worker, &mut loaded, origin).await?;
    check_aliases(worker, &mut loaded, &installed).await?;
    loaded.into_pack().map_err(InstallError::Problems)
}

/// A function of each interface that a component may export.
const INTERFACES: [Function; 3] = [Function::Detect, Function::Verify, Function::Plan];

/// Says which of the pack's components can't be used.
async fn check_components(
    worker: &Worker,
    loaded: &mut Loaded<'_>,
    (source, verified_by): Origin<'_>,
) -> Result<(), PluginError> {
    let Some(pack) = &loaded.reference else { return Ok(()) };
    let vouched = Voucher::of(source, verified_by, loaded.is_locked()).unwrap_or(Voucher::Nothing);
    for component in loaded.components.values() {
        let file = component_file(&component.name);
        if loaded.problems.iter().any(|problem| problem.path == file) {
            continue;
        }
        let source = ComponentSource { vouched: vouched.clone(), ..in_memory(worker, pack, component) };
        match worker.plugins.load(&source).await {
            Ok(plugin) if INTERFACES.iter().any(|function| plugin.exports(*function)) => {}
            Ok(_) => {
                let interfaces = INTERFACES.iter().filter_map(|function| function.interface());
                let interfaces = interfaces.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                loaded.problems.add_file(
                    &file,
                    format!("it exports none of the interfaces of a component: {interfaces}"),
                    "export at least one of them from `attune:runtime`, in the version of this Attune",
                );
            }
            // That is this machine's fault, not the component's.
            Err(error) if matches!(*error.cause, Cause::Engine { .. }) => return Err(error),
            Err(error) => {
                loaded.problems.add_file(&file, error.cause.to_string(), error.cause.remedy());
            }
        }
    }
    Ok(())
}

/// A component that is not kept yet.
fn in_memory(worker: &Worker, pack: &PackRef, component: &Component) -> ComponentSource {
    let wasm = Wasm::Bytes(component.wasm.as_slice().into());
    ComponentSource { wasm, ..worker.component(pack, &component.name, &component.sha256) }
}

/// Says which of the aliases that are asked for there are not, as far as components can be asked.
async fn check_aliases(
    worker: &Worker,
    loaded: &mut Loaded<'_>,
    installed: &[RuntimeRow],
) -> Result<(), StoreError> {
    let mut uses: BTreeMap<RuntimeRef, Vec<AliasUse>> = BTreeMap::new();
    for used in std::mem::take(&mut loaded.aliases) {
        uses.entry(used.runtime.clone()).or_default().push(used);
    }
    for (reference, uses) in uses {
        let is_own = Some(reference.pack()) == loaded.reference.as_ref();
        let known = if is_own {
            own_aliases(worker, loaded, &reference).await?
        } else {
            let row = installed.iter().find(|row| row.runtime.reference == reference);
            row.map(|row| Ok(row.constraint_aliases.clone()))
        };
        for used in uses {
            match &known {
                Some(Ok(aliases)) => used.check(aliases, &mut loaded.problems),
                Some(Err(error)) => used.unanswered(&error.cause.to_string(), &mut loaded.problems),
                None => {}
            }
        }
    }
    Ok(())
}

/// The aliases of a runtime that is not installed yet; None if its files are too wrong for the component to be
/// asked. It is asked without any grant: nothing was approved, and aliases follow from versions alone.
async fn own_aliases(
    worker: &Worker,
    loaded: &Loaded<'_>,
    reference: &RuntimeRef,
) -> Result<Option<Result<Vec<(String, String)>, PluginError>>, StoreError> {
    let mut runtimes = loaded.runtimes.iter().flatten();
    let Some(runtime) = runtimes.find(|runtime| runtime.reference == *reference) else { return Ok(None) };
    let Some(PluginDeclaration { component: name, .. }) = &runtime.plugin else { return Ok(None) };
    let pack = reference.pack();
    let source = match loaded.components.get(name) {
        Some(component) => {
            let file = component_file(name);
            if loaded.problems.iter().any(|problem| problem.path == file) {
                return Ok(None);
            }
            in_memory(worker, pack, component)
        }
        None => match other_digest(worker, name).await? {
            Some(digest) => worker.installed_component(pack, name, &digest).await?,
            None => return Ok(None),
        },
    };
    let asked = async { aliases(&worker.bind(&source, runtime, Grants::default()).await?, runtime).await };
    Ok(Some(asked.await))
}

/// What installing a pack would do. Nothing was done yet.
#[derive(Debug)]
pub struct Plan {
    pub pack: Pack,
    /// What each runtime with a component asks for.
    pub asked: Vec<Asked>,
    /// What is installed under the reference, if it is another.
    pub replaces: Option<PackRow>,
    /// Runtimes, actions and sensors of that which the pack no longer has.
    pub gone: Vec<String>,
    plugins: Vec<PluginRow>,
    runtimes: BTreeMap<RuntimeRef, RuntimeInstall>,
}

/// Checks a pack, and finds out what installing it would do.
pub async fn plan(
    worker: &Worker,
    bundle: &Bundle,
    origin: Origin<'_>,
    approve: &Approve<'_>,
) -> Result<Plan, InstallError> {
    let pack = check(worker, bundle, origin).await?;
    let mut plugins = Vec::new();
    for component in pack.components.values() {
        plugins.push(inspect(worker, &pack, component).await?);
    }
    let (mut runtimes, mut asked) = (BTreeMap::new(), Vec::new());
    for runtime in &pack.runtimes {
        let Some(declaration) = &runtime.plugin else { continue };
        let own = pack.components.get(&declaration.component).map(|component| component.sha256.as_str());
        let (own_asked, install) = serving(worker, runtime, declaration, own, approve).await?;
        asked.push(own_asked);
        runtimes.extend(install.map(|install| (runtime.reference.clone(), install)));
    }
    let replaces = worker.store.pack(&pack.reference).await?.filter(|before| before.digest != pack.digest);
    let gone = gone(worker, &pack).await?;
    Ok(Plan { pack, asked, replaces, gone, plugins, runtimes })
}

/// What is installed of a pack, was not added by somebody, and is not in it any more.
async fn gone(worker: &Worker, pack: &Pack) -> Result<Vec<String>, StoreError> {
    let mut gone = Vec::new();
    for reference in worker.store.runtimes_of(&pack.reference).await? {
        let is_in = pack.runtimes.iter().any(|runtime| runtime.reference == reference);
        if !is_in && worker.store.runtime(&reference).await?.is_some_and(|row| !row.ad_hoc) {
            gone.push(format!("runtime {reference}"));
        }
    }
    for row in worker.store.actions(Some(&pack.reference)).await? {
        let reference = row.declared.reference;
        if !row.ad_hoc && pack.actions.iter().all(|action| action.reference != reference) {
            gone.push(format!("action {reference}"));
        }
    }
    for row in worker.store.sensors(Some(&pack.reference)).await? {
        let reference = row.declared.reference;
        if !row.ad_hoc && pack.sensors.iter().all(|sensor| sensor.reference != reference) {
            gone.push(format!("sensor {reference}"));
        }
    }
    Ok(gone)
}

/// Installs a pack in place of what was installed under its reference, all or nothing.
pub async fn install(
    worker: &Worker,
    bundle: &Bundle,
    origin: Origin<'_>,
    approve: &Approve<'_>,
) -> Result<Installed, InstallError> {
    plan(worker, bundle, origin, approve).await?.carry_out(worker, bundle, origin).await
}

impl Plan {
    /// That what is asked is not approved, if it is not.
    pub async fn refusal(&self, worker: &Worker) -> Result<(), InstallError> {
        let refused = self.asked.iter().filter(|asked| !asked.approved).cloned().collect::<Vec<_>>();
        if refused.is_empty() {
            return Ok(());
        }
        let is_update = worker.store.pack(&self.pack.reference).await?.is_some();
        Err(InstallError::NotApproved { asked: refused, is_update })
    }

    /// Does it, with the bundle and the origin that it was made of.
    pub async fn carry_out(
        self,
        worker: &Worker,
        bundle: &Bundle,
        (source, verified_by): Origin<'_>,
    ) -> Result<Installed, InstallError> {
        self.refusal(worker).await?;
        let Self { pack, plugins, runtimes, .. } = self;
        keep_components(worker, &pack)?;
        bundle.restore(&worker.pack_folder(&pack.reference, &pack.digest))?;
        Bundles::open(&worker.settings.bundles)?.keep(&pack.digest, bundle).await?;
        let before = worker.store.pack(&pack.reference).await?.filter(|before| before.digest != pack.digest);
        let versions = versions(worker, &pack.reference).await?;
        let install =
            PackInstall { pack: &pack, source, verified_by, plugins: &plugins, runtimes: &runtimes };
        worker.store.install_pack(&install).await?;
        tracing::info!(pack.r#ref = %pack.reference, pack.digest = %pack.digest, "installed a pack");
        let replaced = match before {
            Some(PackRow { version, digest, .. }) => {
                let after = self::versions(worker, &pack.reference).await?;
                let gone = versions.into_iter().filter(|version| !after.contains(version)).collect();
                Some(Replaced { version, digest, versions: gone })
            }
            None => None,
        };
        Ok(Installed { pack, replaced })
    }
}

/// The declared versions of a pack's runtimes as they are installed.
async fn versions(worker: &Worker, pack: &PackRef) -> Result<Vec<String>, InstallError> {
    let mut versions = Vec::new();
    for reference in worker.store.runtimes_of(pack).await? {
        let declared = worker.store.runtime(&reference).await?.map(|row| row.runtime.versions);
        let named = |version: &DeclaredVersion| format!("{reference} {}", version.version);
        versions.extend(declared.iter().flatten().map(named));
    }
    Ok(versions)
}

/// Keeps the pack's components by digest.
fn keep_components(worker: &Worker, pack: &Pack) -> Result<(), InstallError> {
    let folder = worker.settings.components_dir();
    let failed = |source| InstallError::Write { path: folder.clone(), source };
    pack.components.values().try_for_each(|component| {
        keep_component(&folder, &component.sha256, &component.wasm).map(drop).map_err(failed)
    })
}

async fn inspect(worker: &Worker, pack: &Pack, component: &Component) -> Result<PluginRow, InstallError> {
    let plugin = worker.plugins.load(&in_memory(worker, &pack.reference, component)).await?;
    Ok(PluginRow {
        sha256: component.sha256.clone(),
        name: component.name.clone(),
        size: i64::try_from(component.wasm.len()).unwrap_or(i64::MAX),
        contract_version: plugin.contract_version(),
        imports: plugin.imports(),
        exports: plugin.exported(),
    })
}

/// The words that stand for constraints, as the runtime's component says; none if it does not detect.
async fn aliases(plugin: &RuntimePlugin, runtime: &Runtime) -> Result<Vec<(String, String)>, PluginError> {
    if !plugin.plugin().exports(Function::Aliases) {
        return Ok(Vec::new());
    }
    let answer = plugin.aliases(&runtime.versions).await?;
    Ok(answer.value.into_iter().map(|alias| (alias.name, alias.constraint)).collect())
}

/// What serves a runtime that is added to an installed pack by itself: a component of an installed pack, if that needs none
/// or is approved.
pub async fn serve(
    worker: &Worker,
    runtime: &Runtime,
    approve: &Approve<'_>,
) -> Result<RuntimeInstall, InstallError> {
    let Some(declaration) = &runtime.plugin else { return Ok(RuntimeInstall::default()) };
    match serving(worker, runtime, declaration, None, approve).await? {
        (_, Some(install)) => Ok(install),
        (asked, None) => Err(InstallError::NotApproved { asked: vec![asked], is_update: false }),
    }
}

/// What the component of a runtime asks for, and how it serves that if it is approved. `own` is the digest of the
/// component, if the pack that is being installed has it; else it is `pack.component` of another.
async fn serving(
    worker: &Worker,
    runtime: &Runtime,
    declaration: &PluginDeclaration,
    own: Option<&str>,
    approve: &Approve<'_>,
) -> Result<(Asked, Option<RuntimeInstall>), InstallError> {
    let pack = runtime.reference.pack();
    let digest = match own {
        Some(digest) => digest.to_owned(),
        None => {
            other_digest(worker, &declaration.component).await?.ok_or_else(|| InstallError::NoComponent {
                runtime: runtime.reference.to_string(),
                component: declaration.component.clone(),
            })?
        }
    };
    let (before, approved) = approval(worker, runtime, declaration, approve).await?;
    let grants = worker.settings.ceilings.narrow(pack, &declaration.grants);
    let asked = Asked {
        runtime: runtime.reference.clone(),
        grants: declaration.grants.clone(),
        before,
        approved: approved.is_some(),
        withheld: declaration.grants.withheld(&grants),
    };
    if approved.is_none() {
        return Ok((asked, None));
    }
    let source = worker.installed_component(pack, &declaration.component, &digest).await?;
    let plugin = worker.bind(&source, runtime, grants).await?;
    let constraint_aliases = aliases(&plugin, runtime).await?;
    Ok((asked, Some(RuntimeInstall { plugin: Some(digest), constraint_aliases, approved })))
}

/// The digest of the component `pack.component` of an installed pack.
async fn other_digest(worker: &Worker, component: &str) -> Result<Option<String>, StoreError> {
    let Some((pack, name)) = component.split_once('.') else { return Ok(None) };
    let Ok(pack) = pack.parse::<PackRef>() else { return Ok(None) };
    worker.store.plugin_digest(&pack, name).await
}

/// What the operator approved before for a runtime, and his consent to what it asks for: given now, or before and to no less.
async fn approval(
    worker: &Worker,
    runtime: &Runtime,
    declaration: &PluginDeclaration,
    approve: &Approve<'_>,
) -> Result<(Option<Grants>, Option<Approval>), InstallError> {
    let before = worker.store.runtime(&runtime.reference).await?.and_then(|row| row.plugin?.approved);
    let by = match approve {
        Approve::All { by } => Some(*by),
        Approve::Known => {
            before.as_ref().filter(|before| before.covers(&declaration.grants)).map(|_| "approved before")
        }
    };
    let approval = by.map(|by| Approval { grants: declaration.grants.clone(), by: by.to_owned() });
    Ok((before, approval))
}

impl Grants {
    /// Whether `other` asks for nothing that is not in here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        fn all<T: PartialEq>(asked: &[T], approved: &[T]) -> bool {
            asked.iter().all(|item| approved.contains(item))
        }
        let folders =
            |grants: &Self| grants.search.iter().flat_map(|root| root.folders.clone()).collect::<Vec<_>>();
        all(&other.tools, &self.tools)
            && all(&folders(other), &folders(self))
            && all(&other.read, &self.read)
            && all(&other.variables, &self.variables)
            && (self.network || !other.network)
    }
}
