//! Packs that are at hand without being installed: one in a folder, and those that it builds on.

use std::path::Path;

use super::super::failure::Failed;
use super::super::pack::{problems_failed, read};
use crate::pack::bundle::Bundle;
use crate::pack::problem::Problems;
use crate::pack::{self, Known, KnownRuntime, Pack, Runtime, Voucher, embedded};
use crate::plugin::{ComponentSource, Wasm};
use crate::reference::PackRef;

/// Packs, the later building on the earlier.
#[derive(Debug, Default)]
pub(super) struct Library {
    packs: Vec<(Pack, Voucher)>,
}

impl Library {
    /// The packs that come with Attune.
    pub(super) fn embedded() -> Result<Self, Problems> {
        let mut library = Self::default();
        for embedded in embedded::embedded() {
            if let Ok(bundle) = embedded.bundle() {
                library.add(&bundle, Some(Voucher::Program))?;
            }
        }
        Ok(library)
    }

    /// Adds the pack in a folder, in place of one of the same name.
    pub(super) fn open(&mut self, folder: &Path, colour: bool) -> Result<&Pack, Failed> {
        let bundle = read(folder)?;
        self.add(&bundle, None).map_err(|problems| problems_failed(&problems, colour))
    }

    fn add(&mut self, bundle: &Bundle, vouched: Option<Voucher>) -> Result<&Pack, Problems> {
        let pack = pack::load(bundle, &self.known()).into_pack()?;
        self.packs.retain(|(known, _)| known.reference != pack.reference);
        let vouched = vouched.or_else(|| Voucher::of("", None, pack.locked)).unwrap_or(Voucher::Nothing);
        self.packs.push((pack, vouched));
        // It was pushed just now.
        Ok(&self.packs[self.packs.len() - 1].0)
    }

    /// What a further pack may refer to.
    pub(super) fn known(&self) -> Known {
        let components = self
            .packs
            .iter()
            .flat_map(|(pack, _)| pack.components.keys().map(|name| format!("{}.{name}", pack.reference)));
        let runtimes = self.packs.iter().flat_map(|(pack, _)| &pack.runtimes);
        Known { components: components.collect(), runtimes: runtimes.map(KnownRuntime::from).collect() }
    }

    pub(super) fn pack(&self, reference: &PackRef) -> Option<&Pack> {
        self.find(reference).map(|(pack, _)| pack)
    }

    fn find(&self, reference: &PackRef) -> Option<&(Pack, Voucher)> {
        self.packs.iter().find(|(pack, _)| pack.reference == *reference)
    }

    /// The component that serves a runtime.
    pub(super) fn component(&self, runtime: &Runtime) -> Option<ComponentSource> {
        let declared = &runtime.plugin.as_ref()?.component;
        let (pack, name) = match declared.split_once('.') {
            Some((pack, name)) => (pack.parse().ok()?, name),
            None => (runtime.reference.pack().clone(), declared.as_str()),
        };
        let (shipped, vouched) = self.find(&pack)?;
        let component = shipped.components.get(name)?;
        Some(ComponentSource {
            pack,
            name: name.to_owned(),
            sha256: component.sha256.clone(),
            vouched: vouched.clone(),
            wasm: Wasm::Bytes(component.wasm.as_slice().into()),
        })
    }
}

/// The runtime of a pack that is called `name`, or the only one with a component.
pub(super) fn runtime_of<'p>(pack: &'p Pack, name: Option<&str>) -> Result<&'p Runtime, String> {
    let served = || pack.runtimes.iter().filter(|runtime| runtime.plugin.is_some());
    let names = || served().map(|runtime| format!("`{}`", runtime.reference)).collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        let is_called = |runtime: &&Runtime| {
            name == runtime.reference.to_string() || name == runtime.reference.name().as_str()
        };
        return served()
            .find(is_called)
            .ok_or_else(|| format!("the pack has no runtime `{name}` with a component: it has {}", names()));
    }
    let mut all = served();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err("the pack has no runtime with a component".to_owned()),
        (Some(_), Some(_)) => {
            Err(format!("`runtime: …` has to say which of the pack's runtimes it is about: {}", names()))
        }
    }
}
