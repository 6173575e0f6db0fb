//! Sensors.

use super::change::{Kind, Revision};
use super::database::{Row, Transaction};
use super::program::{Declared, ProgramFilter, ProgramRow, name, program_row};
use super::row::{optional_json, parsed, to_json};
use super::slice::{Slice, sliced};
use super::{Result, Store};
use crate::pack::{Program, Sensor};
use crate::reference::{PackRef, SensorRef};

/// An installed sensor.
pub type SensorRow = ProgramRow<Sensor>;

macro_rules! select_sensor {
    ($which:literal) => {
        concat!(
            "select sensor.*, pack.digest as pack_digest from sensor join pack on pack.id = sensor.pack ",
            $which
        )
    };
}

impl Declared for Sensor {
    type Reference = SensorRef;

    const SELECT: &'static str = select_sensor!("where sensor.ref = $1");
    const SELECT_SLICE: [&'static str; 2] = sliced!(
        select_sensor!(
            "where ($1 is null or pack.ref = $1) and ($2 is null or sensor.enabled = $2)
                 and ($3 is null or sensor.runtime = $3)"
        ),
        "sensor.ref" after "$4", limit "$5"
    );
    const DELETE: &'static str = "delete from sensor where id = $1";
    const KIND: Kind = Kind::Sensor;

    fn reference(&self) -> &SensorRef {
        &self.reference
    }

    fn pack_of(reference: &SensorRef) -> &PackRef {
        reference.pack()
    }

    fn program(&self) -> &Program {
        &self.program
    }

    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            reference: parsed(row, "ref")?,
            label: row.try_get("label")?,
            description: row.try_get("description")?,
            program: program_row(row)?,
            event_schema: optional_json(row, "event_schema")?,
            enabled: row.try_get("enabled")?,
        })
    }

    async fn put(&self, transaction: &mut Transaction, pack: i64, ad_hoc: bool) -> Result<Revision> {
        let revision = Revision::new();
        let program = &self.program;
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
            .bind(self.reference.to_string())
            .bind(&self.label)
            .bind(&self.description)
            .bind(&program.runtime)
            .bind(&program.entry_point)
            .bind(self.event_schema.as_ref().map(to_json))
            .bind(program.constraint.as_ref().map(ToString::to_string))
            .bind(&program.variant)
            .bind(name(&program.version_policy))
            .bind(to_json(&program.env_vars))
            .bind(to_json(&program.secrets))
            .bind(self.enabled)
            .bind(revision.value())
            .bind(ad_hoc)
            .execute()
            .await?;
        Ok(revision)
    }
}

impl Store {
    /// The sensor with this reference.
    pub async fn sensor(&self, reference: &SensorRef) -> Result<Option<SensorRow>> {
        self.program(reference).await
    }

    /// All sensors, or those of one pack, by reference.
    pub async fn sensors(&self, pack: Option<&PackRef>) -> Result<Vec<SensorRow>> {
        self.programs(&ProgramFilter { pack, ..ProgramFilter::default() }, &Slice::default()).await
    }
}
