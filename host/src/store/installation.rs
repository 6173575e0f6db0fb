//! What each worker found installed, and which versions are therefore available.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cache::Key;
use super::database::{Engine, Row, Transaction};
use super::row::{json, optional_json, to_json};
use super::runtime::RuntimeRow;
use super::worker::WorkerId;
use super::{Durability, Result, Store, now};
use crate::installation::{Check, Failure, FailureClass, Identity};
use crate::version::Version;

/// Something that a worker found when it looked for a runtime's installations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundInstallation {
    /// Canonical if it is an installation; otherwise where it was found.
    pub path: PathBuf,
    /// None where it could not be told.
    pub version: Option<Version>,
    pub source: String,
    pub aliases: Vec<PathBuf>,
    pub attributes: Vec<(String, String)>,
    pub identity: Option<Identity>,
    pub status: InstallationStatus,
    pub checks: Vec<Check>,
    /// What the verdict depends on besides the file.
    pub verified_against: Option<String>,
    /// Label of the version of the runtime that covers it, or its own if nothing declared does.
    pub runtime_version: Option<String>,
    pub verified_at: DateTime<Utc>,
}

impl FoundInstallation {
    /// Whether it did not answer in time.
    #[must_use]
    pub fn has_hung(&self) -> bool {
        self.status.failure().is_some_and(|failure| failure.class == FailureClass::Timeout)
    }
}

/// Whether an installation can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallationStatus {
    /// It was proved to work.
    Verified,
    /// It is an installation that does not work.
    Failed {
        /// The check that failed.
        failure: Failure,
    },
    /// It only looked like an installation.
    Rejected {
        /// What it is.
        failure: Failure,
    },
}

impl InstallationStatus {
    /// As it is called in the database and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Failed { .. } => "failed",
            Self::Rejected { .. } => "rejected",
        }
    }

    /// Why it can't be used.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Verified => None,
            Self::Failed { failure } | Self::Rejected { failure } => Some(failure),
        }
    }
}

/// What a detection looked at, to know later whether looking again is worth it.
#[derive(Clone, Debug)]
pub struct ScanRow<T> {
    /// Digest of what was asked: component, grants, declarations.
    pub detected_against: String,
    pub folders: T,
    pub scanned_at: DateTime<Utc>,
}

/// What is known of a runtime's installations on a worker.
#[derive(Debug)]
pub struct LastDetection<T> {
    /// None before the first detection, and where something that it found was deleted since.
    pub scan: Option<ScanRow<T>>,
    /// In order of path; no older than the scan.
    pub found: Vec<FoundInstallation>,
}

impl Store {
    /// What a worker found of a runtime, in order of path.
    pub async fn installations(&self, worker: WorkerId, runtime: i64) -> Result<Vec<FoundInstallation>> {
        let rows = self
            .database
            .query(
                "select runtime_installation.*, runtime_version.version as label from runtime_installation
             left join runtime_version on runtime_version.id = runtime_installation.runtime_version
             where runtime_installation.worker = $1 and runtime_installation.runtime = $2
             order by runtime_installation.path",
            )
            .bind(worker.0)
            .bind(runtime)
            .fetch_all()
            .await?;
        rows.iter().map(found_installation).collect()
    }

    /// What every worker found of a runtime, by worker and path.
    pub async fn installations_everywhere(&self, runtime: i64) -> Result<Vec<(String, FoundInstallation)>> {
        let rows = self
            .database
            .query(
                "select runtime_installation.*, runtime_version.version as label, worker.name as worker_name
             from runtime_installation
             join worker on worker.id = runtime_installation.worker
             left join runtime_version on runtime_version.id = runtime_installation.runtime_version
             where runtime_installation.runtime = $1
             order by worker.name, runtime_installation.path",
            )
            .bind(runtime)
            .fetch_all()
            .await?;
        rows.iter().map(|row| Ok((row.try_get("worker_name")?, found_installation(row)?))).collect()
    }

    /// The last detection of a runtime on a worker.
    pub async fn scan<T: DeserializeOwned>(
        &self,
        worker: WorkerId,
        runtime: i64,
    ) -> Result<Option<ScanRow<T>>> {
        let row = self
            .database
            .query("select * from detection_scan where worker = $1 and runtime = $2")
            .bind(worker.0)
            .bind(runtime)
            .fetch_optional()
            .await?;
        let scan = row.map(|row| {
            Ok(ScanRow {
                detected_against: row.try_get("detected_against")?,
                folders: json(&row, "folders")?,
                scanned_at: row.try_get("scanned_at")?,
            })
        });
        scan.transpose()
    }

    /// The last detection of a runtime on a worker, with what it found.
    pub async fn last_detection<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        worker: WorkerId,
        runtime: i64,
    ) -> Result<Arc<LastDetection<T>>> {
        let read = async {
            // In this order: while somebody records a detection, what is read may be newer than the scan, and never the
            // other way round. What is older would be taken for all that there is for as long as nothing changes.
            let scan = self.scan(worker, runtime).await?;
            let found = self.installations(worker, runtime).await?;
            Ok(Arc::new(LastDetection { scan, found }))
        };
        self.cached(|| Key::Detection(worker, runtime), read).await
    }

    /// Puts what a detection found in place of what the one before it found, and rolls availability up.
    pub async fn record_detection<T: Serialize>(
        &self,
        worker: WorkerId,
        runtime: &RuntimeRow,
        scan: &ScanRow<T>,
        found: &[FoundInstallation],
    ) -> Result<()> {
        let mut transaction = self.begin(Durability::Process).await?;
        lock_versions(&mut transaction, self.engine()).await?;
        transaction
            .query("delete from runtime_installation where worker = $1 and runtime = $2")
            .bind(worker.0)
            .bind(runtime.id)
            .execute()
            .await?;
        for installation in found {
            insert(&mut transaction, worker, runtime, installation).await?;
        }
        insert_scan(&mut transaction, worker, runtime, scan).await?;
        roll_up(&mut transaction, Some(runtime.id)).await?;
        transaction.commit().await?;
        self.has_changed();
        Ok(())
    }

    /// Records that a detection came to nothing. What was found before stays.
    pub async fn record_scan<T: Serialize>(
        &self,
        worker: WorkerId,
        runtime: &RuntimeRow,
        scan: &ScanRow<T>,
    ) -> Result<()> {
        let mut transaction = self.begin(Durability::Process).await?;
        insert_scan(&mut transaction, worker, runtime, scan).await?;
        transaction.commit().await?;
        self.has_changed();
        Ok(())
    }
}

async fn insert_scan<T: Serialize>(
    transaction: &mut Transaction,
    worker: WorkerId,
    runtime: &RuntimeRow,
    scan: &ScanRow<T>,
) -> Result<()> {
    transaction
        .query(
            "insert into detection_scan (worker, runtime, detected_against, folders, scanned_at)
             values ($1, $2, $3, $4, $5)
             on conflict (worker, runtime) do update set
                 detected_against = excluded.detected_against, folders = excluded.folders,
                 scanned_at = excluded.scanned_at",
        )
        .bind(worker.0)
        .bind(runtime.id)
        .bind(&scan.detected_against)
        .bind(to_json(&scan.folders))
        .bind(scan.scanned_at)
        .execute()
        .await?;
    Ok(())
}

async fn insert(
    transaction: &mut Transaction,
    worker: WorkerId,
    runtime: &RuntimeRow,
    found: &FoundInstallation,
) -> Result<()> {
    let runtime_version = match (&found.runtime_version, &found.version) {
        (Some(label), Some(version)) => Some(version_row(transaction, runtime, label, version).await?),
        _ => None,
    };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let version = found.version.as_ref();
    let failure = found.status.failure();
    transaction
        .query(
            "insert into runtime_installation
             (worker, runtime, runtime_version, version, version_major, version_minor, version_patch,
              native_version, variant, path, source, aliases, attributes, identity, status,
              failure_class, failure_message, checks, verified_against, verified_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
         on conflict (worker, runtime, path) do nothing",
        )
        .bind(worker.0)
        .bind(runtime.id)
        .bind(runtime_version)
        .bind(version.map(|version| version.semver.to_string()))
        .bind(version.map(|version| number(version.semver.major)))
        .bind(version.map(|version| number(version.semver.minor)))
        .bind(version.map(|version| number(version.semver.patch)))
        .bind(version.map(|version| version.native.as_str()))
        .bind(version.and_then(|version| version.variant.as_deref()))
        .bind(found.path.to_string_lossy())
        .bind(&found.source)
        .bind(to_json(&found.aliases))
        .bind(to_json(&found.attributes))
        .bind(found.identity.as_ref().map(to_json))
        .bind(found.status.name())
        .bind(failure.map(|failure| to_json(&failure.class)))
        .bind(failure.map(|failure| failure.message.as_str()))
        .bind(to_json(&found.checks))
        .bind(&found.verified_against)
        .bind(found.verified_at)
        .execute()
        .await?;
    Ok(())
}

/// The row of a version. One that nobody declared is made, with the runtime's own configuration.
async fn version_row(
    transaction: &mut Transaction,
    runtime: &RuntimeRow,
    label: &str,
    version: &Version,
) -> Result<i64> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let row = transaction
        .query(
            "insert into runtime_version
             (runtime, runtime_ref, version, version_major, version_minor, version_patch, position,
              execution_config, distributions, is_default, source, meta)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, false, 'detected', '{}')
         on conflict (runtime, version) do update set runtime_ref = excluded.runtime_ref
         returning id",
        )
        .bind(runtime.id)
        .bind(runtime.runtime.reference.to_string())
        .bind(label)
        .bind(number(version.semver.major))
        .bind(number(version.semver.minor))
        .bind(number(version.semver.patch))
        .bind(i64::MAX)
        .bind(to_json(&runtime.runtime.execution_config))
        .bind(to_json(&runtime.runtime.distributions))
        .fetch_one()
        .await?;
    row.try_get("id")
}

/// Makes others that roll availability up wait until the transaction ends; to be asked for before it changes anything. Each
/// changes all versions, in no order that two of them would keep to.
pub(super) async fn lock_versions(transaction: &mut Transaction, engine: Engine) -> Result<()> {
    if engine == Engine::Postgres {
        transaction.query("lock table runtime_version in share row exclusive mode").execute().await?;
    }
    Ok(())
}

/// Availability belongs to workers; what `runtime_version` says is derived from the installations of those that are not
/// lost. Of one runtime, or of all.
pub(super) async fn roll_up(transaction: &mut Transaction, runtime: Option<i64>) -> Result<()> {
    transaction
        .query(
            "update runtime_version set
             available = exists (
                 select 1 from runtime_installation
                 join worker on worker.id = runtime_installation.worker
                 where runtime_installation.runtime_version = runtime_version.id
                   and runtime_installation.status = 'verified'
                   and worker.status <> 'lost'),
             verified_at = coalesce((
                 select max(runtime_installation.verified_at) from runtime_installation
                 where runtime_installation.runtime_version = runtime_version.id
                   and runtime_installation.status = 'verified'), verified_at)
         where $1 is null or runtime = $1",
        )
        .bind(runtime)
        .execute()
        .await?;
    // A version that nobody declared is only worth keeping while somebody has it.
    transaction
        .query(
            "delete from runtime_version
         where ($1 is null or runtime = $1) and source = 'detected'
           and not exists (select 1 from runtime_installation
                           where runtime_installation.runtime_version = runtime_version.id)",
        )
        .bind(runtime)
        .execute()
        .await?;
    Ok(())
}

fn found_installation(row: &Row) -> Result<FoundInstallation> {
    let semver: Option<String> = row.try_get("version")?;
    let native: Option<String> = row.try_get("native_version")?;
    let variant: Option<String> = row.try_get("variant")?;
    let version = match semver.map(|semver| semver.parse()) {
        Some(Ok(semver)) => Some(Version { semver, native: native.unwrap_or_default(), variant }),
        Some(Err(source)) => {
            let source: Box<semver::Error> = Box::new(source);
            return Err(sqlx::Error::ColumnDecode { index: "version".to_owned(), source }.into());
        }
        None => None,
    };
    let path: String = row.try_get("path")?;
    let class: Option<FailureClass> = optional_json(row, "failure_class")?;
    let message: Option<String> = row.try_get("failure_message")?;
    let failure =
        Failure { class: class.unwrap_or(FailureClass::PluginFailed), message: message.unwrap_or_default() };
    let status: String = row.try_get("status")?;
    Ok(FoundInstallation {
        path: PathBuf::from(path),
        version,
        source: row.try_get("source")?,
        aliases: json(row, "aliases")?,
        attributes: json(row, "attributes")?,
        identity: optional_json(row, "identity")?,
        status: match status.as_str() {
            "verified" => InstallationStatus::Verified,
            "failed" => InstallationStatus::Failed { failure },
            _ => InstallationStatus::Rejected { failure },
        },
        checks: json(row, "checks")?,
        verified_against: row.try_get("verified_against")?,
        runtime_version: row.try_get("label")?,
        verified_at: row.try_get("verified_at")?,
    })
}

/// The time of a detection that is made now.
#[must_use]
pub fn scan_now<T>(detected_against: String, folders: T) -> ScanRow<T> {
    ScanRow { detected_against, folders, scanned_at: now() }
}
