//! Who gets which of the executions that wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::clock::interval;
use super::database::{Database, Query, Row, Transaction};
use super::execution::{Attempt, attempt_row, trace_context};
use super::lease::Lessee;
use super::row::{json, parsed, to_json};
use super::worker::WorkerId;
use super::{Result, Store};
use crate::reference::ActionRef;
use crate::trace::TraceContext;

/// An execution that a worker has claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub attempt: Attempt,
    pub action: ActionRef,
    pub parameters: Json,
    /// Instead of the action's own.
    pub constraint: Option<String>,
    /// Instead of the action's own.
    pub timeout: Option<Duration>,
    /// Up to which attempt a failure is followed by another one; those that a lost worker took with it do not count.
    pub retries: i64,
    pub run_at: DateTime<Utc>,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// What its spans belong to.
    pub trace: Option<TraceContext>,
}

/// Whether one of the `queued` may be started now. One whose deadline has passed is not. One that was not told to wait does
/// not, even if the clock has been set back since.
macro_rules! due {
    () => {
        "(queued.run_at <= queued.created_at or queued.run_at <= coalesce($2, current_timestamp))
         and (queued.deadline_at is null or queued.deadline_at > coalesce($2, current_timestamp))"
    };
}

/// Whether the worker may start what has a requirement that it satisfies. Who would have to fall back leaves it to whoever takes
/// executions and need not, or has not judged yet whether he need.
macro_rules! may {
    () => {
        // One term: with more of them, SQLite takes it for so rare that it begins with all that the worker satisfies.
        "case when not worker_requirement.satisfied then false
              when not worker_requirement.fallback then true
              else (
                  select true from worker
                  left join worker_requirement as other
                      on other.worker = worker.id and other.requirement = worker_requirement.requirement
                  where worker.status = 'active'
                      and (other.requirement is null or (other.satisfied and not other.fallback))
                  limit 1) is null
         end"
    };
}

/// The statement that claims. It matters neither how many executions wait nor, as a rule, how many requirements there are:
///
/// - `front` is what the worker can run among the first 50 of each pack. If that is enough, what is needed by others
///   further back comes later anyway.
/// - A pack is `deep` if that is not enough: there, each requirement that the worker satisfies is asked for its first, and
///   those whose first come first are taken.
/// - `near` are these requirements, and those with a limit: who comes next behind one that may not start, only the first of
///   each tell.
/// - `waiting` are the first few of each of these, and of those the first are claimed.
///
/// What is ordered and limited is limited by a number that is written here, and only then by one that is bound: who
/// plans it without knowing that would sort all that waits. What is materialized and cross joined is in the order in which it
/// is to be looked at: SQLite might begin with all that the worker satisfies, where a few requirements are meant.
///
/// `$first` and `$them` join the first of something, `$ahead` times as many as are wanted; `$limited` leaves out what is
/// limited and not locked; `$picked` chooses among the `possible`.
macro_rules! claim {
    ($first:literal, $ahead:literal, $them:literal, $limited:literal, $picked:literal) => {
        concat!(
            "with recursive asking (pack) as (
                 select min(pack) from execution where status = 'queued'
                 union all
                 select (select min(queued.pack) from execution as queued
                         where queued.status = 'queued' and queued.pack > asking.pack)
                 from asking where asking.pack is not null),
             front as materialized (
                 select execution.pack, execution.requirement
                 from asking
                 ",
            $first,
            "(
                     select queued.id from (
                         select * from execution
                         where execution.pack = asking.pack and execution.status = 'queued'
                         order by execution.rank, execution.id limit 50) as queued
                     where ",
            due!(),
            " and (
                         select ",
            may!(),
            " and requirement.concurrency_limit is null
                         from worker_requirement join requirement on requirement.id = worker_requirement.requirement
                         where worker_requirement.worker = $1 and worker_requirement.requirement = queued.requirement)
                     limit $3 * ",
            $ahead,
            ") ",
            $them,
            "),
             deep as materialized (
                 select asking.pack from asking
                 where (select count(*) from front where front.pack = asking.pack) < $3 * ",
            $ahead,
            "
                     and exists (
                         select 1 from execution
                         where execution.pack = asking.pack and execution.status = 'queued'
                         order by execution.rank, execution.id limit 1 offset 50)),
             first_of_each as (
                 select execution.requirement,
                     row_number() over (partition by execution.pack order by execution.rank, execution.id) as place
                 from deep cross join requirement cross join worker_requirement
                 ",
            $first,
            "(
                     select queued.id from execution as queued
                     where queued.requirement = requirement.id and queued.status = 'queued' and ",
            due!(),
            "
                     order by queued.rank, queued.id limit 1) ",
            $them,
            "
                 where requirement.pack = deep.pack and worker_requirement.worker = $1
                     and worker_requirement.requirement = requirement.id and ",
            may!(),
            " and requirement.concurrency_limit is null),
             near as (
                 select requirement from front
                 union select requirement from first_of_each where place <= $3 * ",
            $ahead,
            "
                 union select id from requirement where concurrency_limit is not null),
             waiting as (
                 select execution.id, execution.rank, requirement.scope, requirement.pack,
                     requirement.concurrency_limit as allowed,
                     row_number() over (partition by requirement.scope order by execution.rank, execution.id) as place
                 from near cross join worker_requirement cross join requirement
                 ",
            $first,
            "(
                     select queued.id from (
                         select * from execution as queued
                         where queued.requirement = near.requirement and queued.status = 'queued' and ",
            due!(),
            "
                         order by queued.rank, queued.id limit 1000) as queued
                     limit $3 * ",
            $ahead,
            ") ",
            $them,
            "
                 where worker_requirement.worker = $1 and worker_requirement.requirement = near.requirement
                     and requirement.id = near.requirement and ",
            may!(),
            " ",
            $limited,
            "),
             served as (
                 select asking.pack, pack.concurrency as allowed,
                     (select count(*) from execution
                      where execution.pack = asking.pack and status = 'running' and lease_owner is not null) as running,
                     (select max(started_at) from execution
                      where execution.pack = asking.pack and started_at is not null) as started_at
                 from (select distinct pack from waiting) as asking
                 left join pack on pack.ref = asking.pack),
             startable as (
                 select waiting.id, waiting.rank, served.allowed, served.started_at,
                     served.running + row_number() over (partition by waiting.pack order by waiting.rank, waiting.id) as turn
                 from waiting join served on served.pack = waiting.pack
                 where waiting.allowed is null or waiting.allowed >= waiting.place + (
                     select count(*) from execution
                     where execution.action = waiting.scope and status = 'running' and lease_owner is not null)),
             possible as (select * from startable where allowed is null or turn <= allowed),
             picked as (",
            $picked,
            ")
             update execution set
                 status = 'running', attempt = attempt + 1, reason = null, worker = $1, lease_owner = $4,
                 lease_expires_at = coalesce($5, current_timestamp + cast($6 as interval)),
                 started_at = coalesce($2, current_timestamp), finished_at = null, runtime = null,
                 selected_version = null, runtime_version = null, installation_path = null, installation_identity = null,
                 selection = null, environment_key = null, environment_path = null, plugin_digest = null, sandbox = null,
                 exit_code = null, warnings = '[]', timings = '[]'
             where id in (select id from picked) and status = 'queued'
             returning id, attempt, action, parameters, constraint_override, timeout_ms, retries + rescues as retries, run_at, started_at, rank,
                 trace_context, (select number from generation) as generation"
        )
    };
}

const CLAIM_FROM_FILE: &str = claim!(
    "join execution on execution.id in",
    1,
    "",
    "",
    "select id from possible order by turn, started_at nulls first, rank, id limit $3"
);

/// It would look for the first once for each of all that wait. What another is about to claim is passed over, so there has
/// to be more to choose from.
const CLAIM_FROM_SERVER: &str = claim!(
    "cross join lateral",
    4,
    "as first join execution on execution.id = first.id",
    "and execution.status = 'queued' and (requirement.concurrency_limit is null or requirement.scope in
         (select json_array_elements_text(cast($7 as json))))
     and (requirement.pack in (select json_array_elements_text(cast($7 as json)))
         or not exists (select 1 from pack where ref = requirement.pack and concurrency is not null))",
    "select execution.id from possible join execution on execution.id = possible.id
     order by possible.turn, possible.started_at nulls first, possible.rank, possible.id limit $3
     for update of execution skip locked"
);

/// Planning and compiling the statements of a claim takes longer than running them, and what is bound does not tell which
/// plan is good.
const BEGIN: &str = "begin; set local jit = off; set local plan_cache_mode = force_generic_plan";

impl Store {
    /// Lends at most `free` executions that this worker can run, for the time of `lease`; none if there is nothing
    /// to do.
    ///
    /// In a pack, the first in the queue come first. Between packs, the one of which the fewest run comes first, then the
    /// one that had to wait longest for a start: a pack that asks for much keeps none of the others waiting.
    pub async fn claim(&self, lessee: Lessee, free: usize, lease: Duration) -> Result<Vec<Claimed>> {
        let wanted = Wanted { lessee, free, lease, clock: self.clock() };
        let rows = match &self.database {
            // Nobody else claims meanwhile. It reaches the disk with what each execution is decided to run with; when a power
            // cut comes before that, nothing was started, and nobody is left who claimed it.
            Database::Sqlite(_) => wanted.bind(self.database.query(CLAIM_FROM_FILE)).fetch_all().await?,
            Database::Postgres(pool) => {
                let mut transaction = Transaction::Postgres(pool.begin_with(BEGIN).await?);
                let locked = lock_limits(&mut transaction, lessee.worker).await?;
                let claim = wanted.bind(transaction.query(CLAIM_FROM_SERVER)).bind(to_json(&locked));
                let rows = claim.fetch_all().await?;
                if !rows.is_empty() {
                    transaction.commit().await?;
                }
                rows
            }
        };
        if let (Some(cache), Some(row)) = (&self.cache, rows.first()) {
            cache.look(row.try_get("generation")?);
        }
        let mut rows = rows
            .iter()
            .map(|row| Ok((row.try_get::<i64>("rank")?, claimed_row(row)?)))
            .collect::<Result<Vec<_>>>()?;
        rows.sort_by_key(|(rank, claimed)| (*rank, claimed.attempt.id));
        Ok(rows.into_iter().map(|(_, claimed)| claimed).collect())
    }
}

/// On a server: has others wait who would claim what counts against the same limits, until this transaction ends. The packs and
/// actions whose limits these are: what comes into the queue only now is left to the next claim. Packs first and all in
/// order, as whoever changes them, so that no two wait for each other.
async fn lock_limits(transaction: &mut Transaction, worker: WorkerId) -> Result<Vec<String>> {
    let mut locked = Vec::new();
    // `exists` would be joined with all that waits before anybody looks whether there is a limit.
    for limits in [
        "select pack.ref as limited from pack where pack.concurrency is not null and (
             select true from worker_requirement
             join requirement on requirement.id = worker_requirement.requirement
             join execution on execution.requirement = requirement.id
             where worker_requirement.worker = $1 and worker_requirement.satisfied and requirement.pack = pack.ref
                 and execution.status = 'queued' limit 1)
         order by pack.id for no key update of pack",
        // Those who may run an action may be others at each of its constraints.
        "select requirement.scope as limited from requirement
         where requirement.concurrency_limit is not null and (
             select true from worker_requirement
             join requirement as asked on asked.id = worker_requirement.requirement
             join execution on execution.requirement = asked.id
             where worker_requirement.worker = $1 and worker_requirement.satisfied and asked.scope = requirement.scope
                 and execution.status = 'queued' limit 1)
         order by requirement.id for update of requirement",
    ] {
        for row in transaction.query(limits).bind(worker.0).fetch_all().await? {
            locked.push(row.try_get("limited")?);
        }
    }
    Ok(locked)
}

/// What is bound to a claim on either engine.
struct Wanted {
    lessee: Lessee,
    free: usize,
    lease: Duration,
    clock: Option<DateTime<Utc>>,
}

impl Wanted {
    fn bind<'e>(&self, claim: Query<'e>) -> Query<'e> {
        claim
            .bind(self.lessee.worker.0)
            .bind(self.clock)
            .bind(i64::try_from(self.free).unwrap_or(i64::MAX / 4))
            .bind(self.lessee.incarnation)
            .bind(self.clock.map(|time| time + self.lease))
            .bind(interval(self.lease))
    }
}

fn claimed_row(row: &Row) -> Result<Claimed> {
    let timeout: Option<i64> = row.try_get("timeout_ms")?;
    Ok(Claimed {
        attempt: attempt_row(row)?,
        action: parsed(row, "action")?,
        parameters: json(row, "parameters")?,
        constraint: row.try_get("constraint_override")?,
        timeout: timeout.map(|timeout| Duration::from_millis(timeout.unsigned_abs())),
        retries: row.try_get("retries")?,
        run_at: row.try_get("run_at")?,
        trace: trace_context(row)?,
        started_at: row.try_get("started_at")?,
    })
}
