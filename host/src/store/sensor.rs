//! Sensors.

use super::change::{ChangeError, Kind, Revision, lock_for_new};
use super::database::{Row, Transaction};
use super::program::{ProgramFilter, lock_runtime, name, program_row};
use super::row::{optional_json, parsed, to_json};
use super::{Durability, Result, Store};
use crate::pack::Sensor;
use crate::reference::{PackRef, SensorRef};

/// An installed sensor.
#[derive(Clone, Debug)]
pub struct SensorRow {
    pub sensor: Sensor,
    /// Digest of the pack that it belongs to.
    pub pack_digest: String,
    pub revision: Revision,
    /// Made by somebody, not by the pack: it stays when the pack is installed again.
    pub ad_hoc: bool,
}

macro_rules! select_sensor {
    ($which:literal) => {
        concat!(
            "select sensor.*, pack.digest as pack_digest from sensor join pack on pack.id = sensor.pack ",
            $which
        )
    };
}

impl Store {
    /// The sensor with this reference.
    pub async fn sensor(&self, reference: &SensorRef) -> Result<Option<SensorRow>> {
        let row = self
            .database
            .query(select_sensor!("where sensor.ref = $1"))
            .bind(reference.to_string())
            .fetch_optional()
            .await?;
        row.as_ref().map(sensor_row).transpose()
    }

    /// All sensors, or those of one pack, by reference.
    pub async fn sensors(&self, pack: Option<&PackRef>) -> Result<Vec<SensorRow>> {
        self.sensors_where(&ProgramFilter { pack, ..ProgramFilter::default() }).await
    }

    /// Some sensors, by reference.
    pub async fn sensors_where(&self, filter: &ProgramFilter<'_>) -> Result<Vec<SensorRow>> {
        let rows = self
            .database
            .query(select_sensor!(
                "where ($1 is null or pack.ref = $1) and ($2 is null or sensor.enabled = $2)
                 and ($3 is null or sensor.ref > $3)
             order by sensor.ref limit $4"
            ))
            .bind(filter.pack.map(PackRef::as_str))
            .bind(filter.enabled)
            .bind(filter.after)
            .bind(filter.limit())
            .fetch_all()
            .await?;
        rows.iter().map(sensor_row).collect()
    }

    /// Adds a sensor to a pack that is installed; it stays when the pack is installed again, unless that has one of its
    /// name.
    pub async fn create_sensor(&self, sensor: &Sensor) -> Result<Revision, ChangeError> {
        let (reference, pack) = (sensor.reference.to_string(), sensor.reference.pack());
        let mut transaction = self.begin(Durability::Disk).await?;
        let id = lock_for_new(&mut transaction, Kind::Sensor, pack.as_str(), &reference).await?;
        lock_runtime(&mut transaction, (&reference, pack), &sensor.program).await?;
        let revision = put_sensor(&mut transaction, id, sensor, true).await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Puts a sensor in place of what is under its reference; with `expected`, only if that is the last state. The next
    /// installation of the pack puts back what the pack ships.
    pub async fn update_sensor(
        &self,
        sensor: &Sensor,
        expected: Option<Revision>,
    ) -> Result<Revision, ChangeError> {
        let (reference, pack) = (sensor.reference.to_string(), sensor.reference.pack());
        let mut transaction = self.begin(Durability::Disk).await?;
        lock_runtime(&mut transaction, (&reference, pack), &sensor.program).await?;
        let locked = Kind::Sensor.lock_for_change(&mut transaction, &reference, expected).await?;
        let revision = put_sensor(&mut transaction, locked.pack, sensor, locked.ad_hoc).await?;
        self.commit_runnable(transaction).await?;
        Ok(revision)
    }

    /// Deletes a sensor; with `expected`, only in that state. What a pack ships comes back when that is installed again.
    pub async fn delete_sensor(
        &self,
        reference: &SensorRef,
        expected: Option<Revision>,
    ) -> Result<(), ChangeError> {
        let mut transaction = self.begin(Durability::Disk).await?;
        let locked = Kind::Sensor.lock_for_change(&mut transaction, &reference.to_string(), expected).await?;
        transaction.query("delete from sensor where id = $1").bind(locked.id).execute().await?;
        self.commit_runnable(transaction).await?;
        Ok(())
    }
}

/// Writes a sensor in place of what is under its reference.
pub(super) async fn put_sensor(
    transaction: &mut Transaction,
    pack: i64,
    sensor: &Sensor,
    ad_hoc: bool,
) -> Result<Revision> {
    let revision = Revision::new();
    let program = &sensor.program;
    transaction
        .query(
            "insert into sensor
             (pack, ref, label, description, runtime, entry_point, event_schema,
              runtime_version_constraint, runtime_variant, version_policy, env_vars, secrets, enabled,
              revision, ad_hoc)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         on conflict (ref) do update set
             label = excluded.label, description = excluded.description, runtime = excluded.runtime,
             entry_point = excluded.entry_point, event_schema = excluded.event_schema,
             runtime_version_constraint = excluded.runtime_version_constraint,
             runtime_variant = excluded.runtime_variant, version_policy = excluded.version_policy,
             env_vars = excluded.env_vars, secrets = excluded.secrets, enabled = excluded.enabled,
             revision = excluded.revision, ad_hoc = excluded.ad_hoc",
        )
        .bind(pack)
        .bind(sensor.reference.to_string())
        .bind(&sensor.label)
        .bind(&sensor.description)
        .bind(&program.runtime)
        .bind(&program.entry_point)
        .bind(sensor.event_schema.as_ref().map(to_json))
        .bind(program.constraint.as_ref().map(ToString::to_string))
        .bind(&program.variant)
        .bind(name(&program.version_policy))
        .bind(to_json(&program.env_vars))
        .bind(to_json(&program.secrets))
        .bind(sensor.enabled)
        .bind(revision.value())
        .bind(ad_hoc)
        .execute()
        .await?;
    Ok(revision)
}

fn sensor_row(row: &Row) -> Result<SensorRow> {
    Ok(SensorRow {
        sensor: Sensor {
            reference: parsed(row, "ref")?,
            label: row.try_get("label")?,
            description: row.try_get("description")?,
            program: program_row(row)?,
            event_schema: optional_json(row, "event_schema")?,
            enabled: row.try_get("enabled")?,
        },
        pack_digest: row.try_get("pack_digest")?,
        revision: Revision::of(row)?,
        ad_hoc: row.try_get("ad_hoc")?,
    })
}
