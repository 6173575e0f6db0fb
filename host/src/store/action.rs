//! Actions and sensors.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::database::{Row, Transaction};
use super::row::{json, optional_json, parsed, to_json};
use super::{Result, Store};
use crate::pack::{Action, Output, Parameters, Program, Sensor};
use crate::reference::{ActionRef, PackRef};

/// An installed action.
#[derive(Clone, Debug)]
pub struct ActionRow {
    pub action: Action,
    /// Digest of the pack that ships it.
    pub pack_digest: String,
}

impl Store {
    /// The action with this reference.
    pub async fn action(&self, reference: &ActionRef) -> Result<Option<ActionRow>> {
        let row = self
            .database
            .query(
                "select action.*, pack.digest as pack_digest from action
             join pack on pack.id = action.pack where action.ref = $1",
            )
            .bind(reference.to_string())
            .fetch_optional()
            .await?;
        row.as_ref().map(action_row).transpose()
    }

    /// All actions, or those of one pack, by reference.
    pub async fn actions(&self, pack: Option<&PackRef>) -> Result<Vec<ActionRow>> {
        let rows = self
            .database
            .query(
                "select action.*, pack.digest as pack_digest from action
             join pack on pack.id = action.pack
             where $1 is null or pack.ref = $1
             order by action.ref",
            )
            .bind(pack.map(PackRef::as_str))
            .fetch_all()
            .await?;
        rows.iter().map(action_row).collect()
    }

    /// All sensors, or those of one pack, by reference.
    pub async fn sensors(&self, pack: Option<&PackRef>) -> Result<Vec<Sensor>> {
        let rows = self
            .database
            .query(
                "select sensor.* from sensor join pack on pack.id = sensor.pack
             where $1 is null or pack.ref = $1
             order by sensor.ref",
            )
            .bind(pack.map(PackRef::as_str))
            .fetch_all()
            .await?;
        rows.iter().map(sensor_row).collect()
    }
}

pub(super) async fn upsert_action(transaction: &mut Transaction, pack: i64, action: &Action) -> Result<()> {
    let program = &action.program;
    transaction.query(
        "insert into action
             (pack, ref, label, description, runtime, entry_point, parameters, output_schema,
              runtime_version_constraint, runtime_variant, version_policy, parameter_delivery,
              parameter_format, output_format, timeout_ms, retries, concurrency, idempotent, env_vars,
              secrets, enabled)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
         on conflict (ref) do update set
             label = excluded.label, description = excluded.description, runtime = excluded.runtime,
             entry_point = excluded.entry_point, parameters = excluded.parameters,
             output_schema = excluded.output_schema,
             runtime_version_constraint = excluded.runtime_version_constraint,
             runtime_variant = excluded.runtime_variant, version_policy = excluded.version_policy,
             parameter_delivery = excluded.parameter_delivery, parameter_format = excluded.parameter_format,
             output_format = excluded.output_format, timeout_ms = excluded.timeout_ms,
             retries = excluded.retries, concurrency = excluded.concurrency,
             idempotent = excluded.idempotent, env_vars = excluded.env_vars, secrets = excluded.secrets,
             enabled = excluded.enabled",
    )
    .bind(pack)
    .bind(action.reference.to_string())
    .bind(&action.label)
    .bind(&action.description)
    .bind(&program.runtime)
    .bind(&program.entry_point)
    .bind(action.parameters.schema.as_ref().map(to_json))
    .bind(action.output.schema.as_ref().map(to_json))
    .bind(program.constraint.as_ref().map(ToString::to_string))
    .bind(&program.variant)
    .bind(name(&program.version_policy))
    .bind(name(&action.parameters.delivery))
    .bind(name(&action.parameters.format))
    .bind(name(&action.output.format))
    .bind(action.timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)))
    .bind(i64::from(action.retries))
    .bind(action.concurrency.map(i64::from))
    .bind(action.idempotent)
    .bind(to_json(&program.env_vars))
    .bind(to_json(&program.secrets))
    .bind(action.enabled)
    .execute()
    .await?;
    Ok(())
}

pub(super) async fn upsert_sensor(transaction: &mut Transaction, pack: i64, sensor: &Sensor) -> Result<()> {
    let program = &sensor.program;
    transaction
        .query(
            "insert into sensor
             (pack, ref, label, description, runtime, entry_point, event_schema,
              runtime_version_constraint, runtime_variant, version_policy, env_vars, secrets, enabled)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (ref) do update set
             label = excluded.label, description = excluded.description, runtime = excluded.runtime,
             entry_point = excluded.entry_point, event_schema = excluded.event_schema,
             runtime_version_constraint = excluded.runtime_version_constraint,
             runtime_variant = excluded.runtime_variant, version_policy = excluded.version_policy,
             env_vars = excluded.env_vars, secrets = excluded.secrets, enabled = excluded.enabled",
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
        .execute()
        .await?;
    Ok(())
}

fn action_row(row: &Row) -> Result<ActionRow> {
    let timeout: Option<i64> = row.try_get("timeout_ms")?;
    let retries: i64 = row.try_get("retries")?;
    let concurrency: Option<i64> = row.try_get("concurrency")?;
    Ok(ActionRow {
        action: Action {
            reference: parsed(row, "ref")?,
            label: row.try_get("label")?,
            description: row.try_get("description")?,
            program: program(row)?,
            parameters: Parameters {
                schema: optional_json(row, "parameters")?,
                delivery: named(row, "parameter_delivery")?,
                format: named(row, "parameter_format")?,
            },
            output: Output {
                format: named(row, "output_format")?,
                schema: optional_json(row, "output_schema")?,
            },
            timeout: timeout.map(|milliseconds| Duration::from_millis(milliseconds.unsigned_abs())),
            retries: u32::try_from(retries).unwrap_or(u32::MAX),
            concurrency: concurrency.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            idempotent: row.try_get("idempotent")?,
            enabled: row.try_get("enabled")?,
        },
        pack_digest: row.try_get("pack_digest")?,
    })
}

fn sensor_row(row: &Row) -> Result<Sensor> {
    Ok(Sensor {
        reference: parsed(row, "ref")?,
        label: row.try_get("label")?,
        description: row.try_get("description")?,
        program: program(row)?,
        event_schema: optional_json(row, "event_schema")?,
        enabled: row.try_get("enabled")?,
    })
}

fn program(row: &Row) -> Result<Program> {
    let constraint: Option<String> = row.try_get("runtime_version_constraint")?;
    let decode = |source| sqlx::Error::ColumnDecode {
        index: "runtime_version_constraint".to_owned(),
        source: Box::new(source),
    };
    Ok(Program {
        runtime: row.try_get("runtime")?,
        constraint: constraint.map(|text| text.try_into().map_err(decode)).transpose()?,
        variant: row.try_get("runtime_variant")?,
        version_policy: named(row, "version_policy")?,
        entry_point: row.try_get("entry_point")?,
        env_vars: json(row, "env_vars")?,
        secrets: json(row, "secrets")?,
    })
}

/// The name of an enum's case, as serde writes it.
fn name<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// The case of an enum that a column names.
fn named<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    let name: String = row.try_get(column)?;
    Ok(serde_json::from_value(serde_json::Value::String(name))
        .map_err(|source| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) })?)
}
