//! The workers that there are, for whoever wants to see them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::row::parsed;
use super::worker::Wanted;
use super::{Result, Store};
use crate::reference::RuntimeRef;

/// A worker that gave no sign of life for longer than this is not counted on, unless leases last longer.
const LIVE: TimeDelta = TimeDelta::seconds(30);

/// How long a worker's silence may be until it is not counted on, where leases last for `lease`.
#[must_use]
pub fn silence_max(lease: Duration) -> TimeDelta {
    TimeDelta::from_std(lease).map_or(TimeDelta::MAX, |lease| lease.max(LIVE))
}

/// A worker whose service takes executions or once did.
#[derive(Clone, Debug)]
pub struct WorkerRow {
    pub name: String,
    pub host: String,
    /// As it is on record: nobody may have noticed yet that it is gone.
    pub status: String,
    /// What somebody wants of it.
    pub wanted: Option<Wanted>,
    /// How many executions it runs at a time.
    pub slots: i64,
    /// How many it runs now.
    pub running: i64,
    /// Of its program.
    pub version: String,
    pub heartbeat_at: DateTime<Utc>,
    /// Whether that is so recent that it can be counted on.
    pub is_live: bool,
    /// What it has installed and verified: each runtime with its versions, newest first.
    pub installed: Vec<(RuntimeRef, Vec<String>)>,
}

impl WorkerRow {
    /// Whether it takes executions, as far as anybody can tell.
    #[must_use]
    pub fn takes_executions(&self) -> bool {
        self.is_live && self.status == "active" && self.wanted.is_none()
    }

    /// Whether it is to be there, and gave no sign of life of late.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        !self.is_live && (self.status == "active" || self.status == "draining")
    }
}

impl Store {
    /// All workers, by name; those are live that were heard of within `silence_max`.
    pub async fn workers(&self, silence_max: TimeDelta) -> Result<Vec<WorkerRow>> {
        let live_since = self.time().await? - silence_max;
        let rows = self
            .database
            .query(
                // A command is a worker as well; one that never was a service has no slots.
                "select name, host, status, wanted, capacity, version, heartbeat_at,
                     (select count(*) from execution where execution.worker = worker.id
                         and execution.status = 'running' and execution.lease_owner is not null) as running
                 from worker where capacity > 0 order by name",
            )
            .fetch_all()
            .await?;
        let mut workers = rows
            .iter()
            .map(|row| {
                let (status, heartbeat_at): (String, DateTime<Utc>) =
                    (row.try_get("status")?, row.try_get("heartbeat_at")?);
                Ok(WorkerRow {
                    name: row.try_get("name")?,
                    host: row.try_get("host")?,
                    is_live: heartbeat_at >= live_since,
                    status,
                    wanted: Wanted::of(row)?,
                    slots: row.try_get("capacity")?,
                    running: row.try_get("running")?,
                    version: row.try_get("version")?,
                    heartbeat_at,
                    installed: Vec::new(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = self
            .database
            .query(
                "select worker.name as worker, runtime.ref as runtime, max(installation.native_version) as shown,
                     installation.version as version
                 from runtime_installation as installation
                 join worker on worker.id = installation.worker
                 join runtime on runtime.id = installation.runtime
                 where installation.status = 'verified' and installation.version is not null
                 group by worker.name, runtime.ref, installation.version, installation.version_major,
                     installation.version_minor, installation.version_patch
                 order by worker.name, runtime.ref, installation.version_major desc, installation.version_minor desc,
                     installation.version_patch desc, installation.version desc",
            )
            .fetch_all()
            .await?;
        for row in &rows {
            let (name, runtime): (String, RuntimeRef) = (row.try_get("worker")?, parsed(row, "runtime")?);
            let Some(worker) = workers.iter_mut().find(|worker| worker.name == name) else { continue };
            let shown: Option<String> = row.try_get("shown")?;
            let version = match shown.filter(|shown| !shown.is_empty()) {
                Some(shown) => shown,
                None => row.try_get("version")?,
            };
            match worker.installed.last_mut() {
                Some((last, versions)) if *last == runtime => versions.push(version),
                Some(_) | None => worker.installed.push((runtime, vec![version])),
            }
        }
        Ok(workers)
    }
}
