//! Actions.

use std::time::Duration;

use super::cache::Key;
use super::change::{Kind, Revision};
use super::database::{Engine, Row, Transaction};
use super::program::{Declared, ProgramFilter, ProgramRow, meant_runtime, name, named, program_row};
use super::requirement::require_anew;
use super::row::{optional_json, parsed, to_json};
use super::slice::{Slice, sliced};
use super::{Result, Store};
use crate::pack::{Action, Output, Parameters, Program};
use crate::reference::{ActionRef, PackRef};

/// An installed action.
pub type ActionRow = ProgramRow<Action>;

macro_rules! select_action {
    ($which:literal) => {
        concat!(
            "select action.*, pack.digest as pack_digest from action join pack on pack.id = action.pack ",
            $which
        )
    };
}

impl Declared for Action {
    type Reference = ActionRef;

    const SELECT: &'static str = select_action!("where action.ref = $1");
    const SELECT_SLICE: [&'static str; 2] = sliced!(
        select_action!(
            "where ($1 is null or pack.ref = $1) and ($2 is null or action.enabled = $2)
                 and ($3 is null or action.runtime = $3)"
        ),
        "action.ref" after "$4", limit "$5"
    );
    const DELETE: &'static str = "delete from action where id = $1";
    const KIND: Kind = Kind::Action;

    fn reference(&self) -> &ActionRef {
        &self.reference
    }

    fn pack_of(reference: &ActionRef) -> &PackRef {
        reference.pack()
    }

    fn program(&self) -> &Program {
        &self.program
    }

    fn of(row: &Row) -> Result<Self> {
        let timeout: Option<i64> = row.try_get("timeout_ms")?;
        let retries: i64 = row.try_get("retries")?;
        let concurrency: Option<i64> = row.try_get("concurrency")?;
        Ok(Self {
            reference: parsed(row, "ref")?,
            label: row.try_get("label")?,
            description: row.try_get("description")?,
            program: program_row(row)?,
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
        })
    }

    /// What waits in the queue needs from now on what the action does.
    async fn put(&self, transaction: &mut Transaction, pack: i64, ad_hoc: bool) -> Result<Revision> {
        let revision = Revision::new();
        let needed = needed(transaction, &self.reference).await?;
        let program = &self.program;
        transaction.query(
            "insert into action
                 (pack, ref, label, description, runtime, entry_point, parameters, output_schema,
                  runtime_version_constraint, runtime_variant, version_policy, parameter_delivery,
                  parameter_format, output_format, timeout_ms, retries, concurrency, idempotent, env_vars,
                  secrets, enabled, revision, ad_hoc)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                  $22, $23)
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
                 enabled = excluded.enabled, revision = excluded.revision, ad_hoc = excluded.ad_hoc",
        )
        .bind(pack)
        .bind(self.reference.to_string())
        .bind(&self.label)
        .bind(&self.description)
        .bind(&program.runtime)
        .bind(&program.entry_point)
        .bind(self.parameters.schema.as_ref().map(to_json))
        .bind(self.output.schema.as_ref().map(to_json))
        .bind(program.constraint.as_ref().map(ToString::to_string))
        .bind(&program.variant)
        .bind(name(&program.version_policy))
        .bind(name(&self.parameters.delivery))
        .bind(name(&self.parameters.format))
        .bind(name(&self.output.format))
        .bind(self.timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)))
        .bind(i64::from(self.retries))
        .bind(self.concurrency.map(i64::from))
        .bind(self.idempotent)
        .bind(to_json(&program.env_vars))
        .bind(to_json(&program.secrets))
        .bind(self.enabled)
        .bind(revision.value())
        .bind(ad_hoc)
        .execute()
        .await?;
        if needed != Some(Needed::by(self))
            && let Some(runtime) = meant_runtime(transaction, self.reference.pack(), &program.runtime).await?
        {
            require_anew(transaction, self, &runtime).await?;
        }
        Ok(revision)
    }
}

impl Store {
    /// The action with this reference.
    pub async fn action(&self, reference: &ActionRef) -> Result<Option<ActionRow>> {
        self.cached(|| Key::Action(reference.to_string()), self.program(reference)).await
    }

    /// All actions, or those of one pack, by reference.
    pub async fn actions(&self, pack: Option<&PackRef>) -> Result<Vec<ActionRow>> {
        self.programs(&ProgramFilter { pack, ..ProgramFilter::default() }, &Slice::default()).await
    }
}

/// What of an action its executions need to be started.
#[derive(PartialEq, Eq)]
struct Needed {
    runtime: String,
    constraint: Option<String>,
    variant: Option<String>,
    policy: String,
    concurrency: Option<i64>,
}

impl Needed {
    fn by(action: &Action) -> Self {
        let program = &action.program;
        Self {
            runtime: program.runtime.clone(),
            constraint: program.constraint.as_ref().map(ToString::to_string),
            variant: program.variant.clone(),
            policy: name(&program.version_policy),
            concurrency: action.concurrency.map(i64::from),
        }
    }
}

/// What the executions of the action under a reference need, if there is one.
async fn needed(transaction: &mut Transaction, reference: &ActionRef) -> Result<Option<Needed>> {
    let row = transaction
        .query(
            "select runtime, runtime_version_constraint, runtime_variant, version_policy, concurrency
         from action where ref = $1",
        )
        .bind(reference.to_string())
        .fetch_optional()
        .await?;
    row.map(|row| {
        Ok(Needed {
            runtime: row.try_get("runtime")?,
            constraint: row.try_get("runtime_version_constraint")?,
            variant: row.try_get("runtime_variant")?,
            policy: row.try_get("version_policy")?,
            concurrency: row.try_get("concurrency")?,
        })
    })
    .transpose()
}

/// Has what waits in the queue for an action need what the action does: to be called where something comes back into the
/// queue, since the action may have been changed while it was not in there.
pub(super) async fn require_as_now(transaction: &mut Transaction, reference: &ActionRef) -> Result<()> {
    // Whoever changes the action meanwhile finds it in the queue, or has ended before it is read. Not the lock of a change:
    // it would count as one.
    let row = transaction
        .query(match transaction.engine() {
            Engine::Sqlite => Action::SELECT,
            Engine::Postgres => select_action!("where action.ref = $1 for update of action"),
        })
        .bind(reference.to_string())
        .fetch_optional()
        .await?;
    let Some(action) = row.as_ref().map(Action::of).transpose()? else { return Ok(()) };
    let runtime = meant_runtime(transaction, reference.pack(), &action.program.runtime).await?;
    match runtime {
        Some(runtime) => require_anew(transaction, &action, &runtime).await,
        None => Ok(()),
    }
}

/// Locks the actions of a pack, always in the same order: before what they need is changed, as it is for one of them.
pub(super) async fn lock_actions(transaction: &mut Transaction, pack: i64) -> Result<()> {
    match transaction.engine() {
        // Nobody else writes.
        Engine::Sqlite => {}
        Engine::Postgres => {
            let lock = transaction.query("select id from action where pack = $1 order by ref for update");
            lock.bind(pack).fetch_all().await?;
        }
    }
    Ok(())
}
