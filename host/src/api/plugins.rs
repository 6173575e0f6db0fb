//! Components of installed packs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::access::Caller;
use super::page::{Listed, Page, Query, SortKey, Wanted};
use super::problem::{self, Problem};
use crate::reference::PackRef;
use crate::store::pack::PluginRow;
use crate::store::runtime::RuntimeRow;

/// A component of an installed pack.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plugin {
    /// Pack and name.
    r#ref: String,
    sha256: String,
    /// Bytes.
    size: i64,
    /// The contract's version that it is built for, if it can be told.
    contract_version: Option<String>,
    imports: Vec<String>,
    exports: Vec<String>,
    /// What says that it is the one that is meant.
    vouched: String,
    /// The runtimes that it serves.
    runtimes: Vec<String>,
}

impl Listed for Plugin {
    const KEYS: &'static [SortKey<Self>] =
        &[("ref", |plugin| (&plugin.r#ref).into()), ("size", |plugin| (&plugin.size).into())];

    fn identity(&self) -> String {
        self.r#ref.clone()
    }
}

async fn of_pack(api: &Api, pack: &PackRef, runtimes: &[RuntimeRow]) -> Result<Vec<Plugin>, Problem> {
    let mut plugins = Vec::new();
    for PluginRow { sha256, name, size, contract_version, imports, exports } in
        api.worker.store.plugins_of(pack).await?
    {
        let serves = |row: &&RuntimeRow| row.plugin.as_ref().is_some_and(|plugin| plugin.sha256 == sha256);
        plugins.push(Plugin {
            r#ref: format!("{pack}.{name}"),
            runtimes: runtimes.iter().filter(serves).map(|row| row.runtime.reference.to_string()).collect(),
            vouched: api.worker.store.voucher(pack, &name, &sha256).await?.to_string(),
            sha256,
            size,
            contract_version,
            imports,
            exports,
        });
    }
    Ok(plugins)
}

/// List the components of the installed packs
#[utoipa::path(get, path = "/plugins", tag = "plugins", operation_id = "list_plugins", params(Wanted<Plugin>),
    responses((status = 200, body = Page<Plugin>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(page): Query<Wanted<Plugin>>,
) -> Result<Json<Page<Plugin>>, Problem> {
    let cut = page.read()?;
    let runtimes = api.worker.store.runtimes().await?;
    let mut plugins = Vec::new();
    for pack in api.worker.store.packs().await? {
        plugins.extend(of_pack(&api, &pack.reference, &runtimes).await?);
    }
    Ok(Json(cut.page_of(plugins)))
}

/// Show a component
#[utoipa::path(get, path = "/plugins/{ref}", tag = "plugins", operation_id = "show_plugin",
    params(("ref" = String, Path, description = "Pack and name")),
    responses((status = 200, body = Plugin), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Json<Plugin>, Problem> {
    let none = || Problem::not_found(format!("there is no component `{reference}`"));
    let pack =
        reference.split_once('.').and_then(|(pack, _)| pack.parse::<PackRef>().ok()).ok_or_else(none)?;
    let runtimes = api.worker.store.runtimes().await?;
    let plugins = of_pack(&api, &pack, &runtimes).await?;
    Ok(Json(plugins.into_iter().find(|plugin| plugin.r#ref == reference).ok_or_else(none)?))
}
