//! What the components of runtimes ask for, may do, and were denied: as the API and the command line show it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::pack::Grants;
use crate::reference::RuntimeRef;
use crate::store::Result;
use crate::store::denial::DenialRow;
use crate::store::runtime::RuntimeRow;
use crate::worker::Worker;

/// What the component of a runtime asks for, may do, and was denied.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GrantsOf {
    #[schema(value_type = String)]
    pub runtime: RuntimeRef,
    /// As the runtime names it.
    pub component: String,
    pub sha256: String,
    #[schema(value_type = Object)]
    pub asked: Grants,
    /// None if nobody approved it: then the component is not used.
    #[schema(value_type = Option<Object>)]
    pub approved: Option<Grants>,
    pub approved_by: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    /// What the settings withhold of it, whoever approves it.
    pub withheld: Vec<String>,
    /// What it asked for and was denied, the last first.
    pub denials: Vec<Denial>,
}

/// Something that a component was denied.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Denial {
    pub what: String,
    /// How many times.
    pub count: i64,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

impl From<DenialRow> for Denial {
    fn from(DenialRow { what, count, first_at, last_at, .. }: DenialRow) -> Self {
        Self { what, count, first_at, last_at }
    }
}

impl GrantsOf {
    /// Those of a runtime; none if it needs no component.
    pub async fn runtime(worker: &Worker, row: &RuntimeRow) -> Result<Option<Self>> {
        let Some((declared, used)) = row.runtime.plugin.as_ref().zip(row.plugin.as_ref()) else {
            return Ok(None);
        };
        let consent = worker.store.consent(row.id).await?;
        let left = worker.settings.ceilings.narrow(row.runtime.reference.pack(), &declared.grants);
        Ok(Some(Self {
            runtime: row.runtime.reference.clone(),
            component: declared.component.clone(),
            sha256: used.sha256.clone(),
            asked: declared.grants.clone(),
            approved: used.approved.clone(),
            approved_by: consent.as_ref().map(|(by, _)| by.clone()),
            approved_at: consent.map(|(_, at)| at),
            withheld: declared.grants.withheld(&left),
            denials: worker.store.denials(row.id).await?.into_iter().map(Denial::from).collect(),
        }))
    }

    /// Those of all runtimes that need a component, by reference.
    pub async fn all(worker: &Worker) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for row in worker.store.runtimes().await? {
            all.extend(Self::runtime(worker, &row).await?);
        }
        Ok(all)
    }
}
