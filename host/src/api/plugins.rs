//! Components of installed packs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::Api;
use super::access::Caller;
use super::page::{Listed, Page, SortKey, Wanted};
use super::problem::{self, Problem};
use super::query::Query;
use crate::pack::components::InstalledComponent;

impl Listed for InstalledComponent {
    const KEYS: &'static [SortKey<Self>] =
        &[("ref", |component| (&component.r#ref).into()), ("size", |component| (&component.size).into())];

    fn identity(&self) -> String {
        self.r#ref.clone()
    }
}

/// List the components of the installed packs
#[utoipa::path(get, path = "/plugins", tag = "plugins", operation_id = "list_plugins", params(Wanted<InstalledComponent>),
    responses((status = 200, body = Page<InstalledComponent>), problem::Every))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    _: Caller,
    Query(page): Query<Wanted<InstalledComponent>>,
) -> Result<Json<Page<InstalledComponent>>, Problem> {
    let cut = page.read()?;
    Ok(Json(cut.page_of(InstalledComponent::all(&api.worker).await?)))
}

/// Show a component
#[utoipa::path(get, path = "/plugins/{ref}", tag = "plugins", operation_id = "show_plugin",
    params(("ref" = String, Path, description = "Pack and name")),
    responses((status = 200, body = InstalledComponent), problem::Every, problem::NotFound))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(reference): Path<String>,
) -> Result<Json<InstalledComponent>, Problem> {
    let none = || Problem::not_found(format!("there is no component `{reference}`"));
    Ok(Json(InstalledComponent::find(&api.worker, &reference).await?.ok_or_else(none)?))
}
