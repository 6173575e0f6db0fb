//! What is on record of an execution: at acceptance, before the process starts, and at the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use crate::environment::prepare::Prepared;
use crate::metrics;
use crate::store::StoreError;
use crate::store::claim::Claimed;
use crate::store::execution::{Attempt, Decided, End, Ended, LogChunk, NewExecution};
use crate::token::Token;
use crate::trace;
use crate::worker::Worker;

use super::choice::{Choice, ChoiceError};
use super::outcome::{Ending, ExecutionError, Outcome};
use super::{AskError, Asked, Ran, Status};

/// The sandbox tier that every execution has.
const SANDBOX: &str = "T0";

/// How long an execution that failed waits before it is tried again: twice as long each time.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_mins(5);

/// Time between two tries to record an end.
const AGAIN: Duration = Duration::from_millis(500);

/// The record of one attempt.
#[derive(Debug)]
pub(super) struct Record {
    attempt: Attempt,
    /// How often it is tried again if it fails; none if it did not come from the queue.
    retries: Option<i64>,
    decided: Decided,
    /// Whether `decided` is in the database.
    is_decided: bool,
    choice: Option<Choice>,
    /// The entry point, if it is itself the program.
    program: Option<PathBuf>,
    built: bool,
    /// The rest of the log, from this number on.
    rest: (i64, Vec<LogChunk>),
}

impl Record {
    /// Records an execution that this worker runs at once.
    pub(super) async fn accept(worker: &Worker, asked: &Asked) -> Result<Self, StoreError> {
        let constraint = asked.constraint.as_ref().map(ToString::to_string).unwrap_or_default();
        worker
            .store
            .start_execution(&NewExecution {
                id: asked.attempt.id,
                action: &asked.action.reference,
                pack_digest: &asked.pack_digest,
                requirement: asked.requirement(&constraint),
                parameters: &asked.masker.mask_json(&serde_json::Value::Object(asked.parameters.clone())),
                worker: worker.id,
                trace: trace::below(&tracing::Span::current()),
            })
            .await?;
        // Whoever waits for it tries again if he wants to.
        Ok(Self::new(asked, None))
    }

    /// Of an attempt whose beginning was recorded when it was claimed.
    pub(super) fn claimed(asked: &Asked, claimed: &Claimed) -> Self {
        Self::new(asked, Some(claimed.retries))
    }

    fn new(asked: &Asked, retries: Option<i64>) -> Self {
        Self {
            attempt: asked.attempt,
            retries,
            decided: Decided {
                runtime: asked.runtime.runtime.reference.to_string(),
                plugin_digest: asked.runtime.plugin.as_ref().map(|plugin| plugin.sha256.clone()),
                warnings: asked.warnings.clone(),
                token_hash: asked.token.as_ref().map(Token::hash),
                ..Decided::default()
            },
            is_decided: false,
            choice: None,
            program: None,
            built: false,
            rest: (0, Vec::new()),
        }
    }

    /// Whether a worker claimed it from the queue.
    pub(super) fn is_from_queue(&self) -> bool {
        self.retries.is_some()
    }

    /// Whether nothing was started for it, and the queue can have it back.
    pub(super) fn can_begin_again(&self) -> bool {
        self.retries.is_some() && !self.is_decided
    }

    pub(super) fn chosen(&mut self, choice: &Choice) {
        let found = &choice.installation;
        self.decided.selected_version = Some(choice.version.to_string());
        self.decided.runtime_version.clone_from(&choice.label);
        self.decided.installation_path = Some(found.path.clone());
        self.decided.installation_identity = Some(choice.identity.clone());
        self.decided.selection = serde_json::to_value(choice.view()).ok();
        self.decided.warnings.extend(choice.warnings.iter().cloned());
        tracing::Span::current().record("runtime.version", tracing::field::display(&choice.version));
        tracing::info!(installation.path = %found.path.display(), "selected an installation");
        self.choice = Some(choice.clone());
    }

    /// Nothing is to be chosen: the entry point is itself the program, at this absolute path.
    pub(super) fn starts_by_itself(&mut self, program: &Path) {
        self.decided.installation_path = Some(program.to_owned());
        self.program = Some(program.to_owned());
    }

    /// What was judged is as telling when none of it was chosen.
    pub(super) fn not_chosen(&mut self, error: &ChoiceError) {
        if let Some(selection) = error.selection() {
            self.decided.selection = serde_json::to_value(selection).ok();
        }
    }

    pub(super) fn prepared(&mut self, prepared: &Prepared) {
        self.built = prepared.fresh;
        if let Some(ready) = &prepared.environment {
            self.decided.environment_key = Some(ready.key.as_str().to_owned());
            self.decided.environment_path = Some(ready.link.clone());
        }
    }

    /// While what it runs in is being prepared, for whoever asks meanwhile, or after its worker was killed. It is no failure
    /// if that can't be said.
    pub(super) async fn note_choice(&self, worker: &Worker) {
        if let Err(error) = worker.store.decide_execution(self.attempt, &self.decided).await {
            tracing::debug!("can't say what was chosen: {error}");
        }
    }

    /// Before the process starts: from here on, what runs with what is on the disk.
    pub(super) async fn decided(&mut self, worker: &Worker) -> Result<(), ExecutionError> {
        self.decided.sandbox = Some(SANDBOX.to_owned());
        if !worker.store.decide_execution(self.attempt, &self.decided).await? {
            return Err(ExecutionError::NotRunning { id: self.attempt.id });
        }
        self.is_decided = true;
        Ok(())
    }

    /// The exact version that was selected, for messages.
    pub(super) fn version(&self) -> Option<&str> {
        self.decided.selected_version.as_deref()
    }

    pub(super) fn log_rest(&mut self, rest: (i64, Vec<LogChunk>)) {
        self.rest = rest;
    }

    pub(super) async fn end(
        mut self,
        worker: &Worker,
        asked: &Asked,
        ending: Ending,
        timings: Vec<(String, f64)>,
    ) -> Result<Outcome, ExecutionError> {
        if ending.status == Status::Cancelled && self.was_forfeited(worker).await? {
            let reason = "the worker that ran it was stopped or could not renew its lease, and ended it";
            self.patience(worker).wait_for(|| worker.give_up(self.attempt, reason)).await?;
            return Err(ExecutionError::NotRunning { id: self.attempt.id });
        }
        let retry_at = self.retry_at(worker, &ending).await?;
        self.decided.warnings.extend(ending.warnings);
        self.decided.warnings.extend(self.not_tried_again(asked, ending.status));
        let (class, message) = ending.error.clone().unzip();
        let ended = Ended {
            status: ending.status,
            reason: class.clone(),
            result: ending.result.clone(),
            error_class: class,
            error_message: message,
            exit_code: ending.exit_code,
            output_incomplete: ending.output_incomplete,
            warnings: self.decided.warnings.clone(),
            timings: timings.clone(),
            retry_at,
        };
        let (sequence, rest) = std::mem::take(&mut self.rest);
        let end = End { attempt: self.attempt, ended, sequence, rest };
        let patience = self.patience(worker);
        let record = || async {
            if !self.is_decided {
                // It ended before there was a process: what was decided so far is not on record yet.
                worker.store.decide_execution(self.attempt, &self.decided).await?;
            }
            worker.store.finish_execution(&end).await
        };
        if !patience.wait_for(record).await? {
            return Err(ExecutionError::NotRunning { id: self.attempt.id });
        }
        let reason = end.ended.reason.as_deref();
        metrics::ended(&asked.action.reference.to_string(), ending.status.name(), reason, &timings);
        tracing::info!(
            execution.status = %ending.status,
            runtime.r#ref = %self.decided.runtime,
            error.class = reason,
            "an execution ended"
        );
        Ok(Outcome {
            id: self.attempt.id,
            status: ending.status,
            result: ending.result,
            exit_code: ending.exit_code,
            output_incomplete: ending.output_incomplete,
            error: ending.error,
            cause: ending.cause,
            runtime: asked.runtime.runtime.label.clone(),
            choice: self.choice,
            program: self.program,
            built: self.built,
            warnings: self.decided.warnings,
            timings,
        })
    }

    fn patience(&self, worker: &Worker) -> Patience {
        // Nobody takes over what is run at once, and whoever asked for it waits.
        Patience { limit: worker.settings.lease, through_outages: self.is_from_queue() }
    }

    /// Whether this worker ended it though nobody has asked for that: it was not sure to have it any more.
    async fn was_forfeited(&self, worker: &Worker) -> Result<bool, StoreError> {
        if self.retries.is_none() {
            return Ok(false);
        }
        let row = self.patience(worker).wait_for(|| worker.store.execution(self.attempt.id)).await?;
        Ok(row.is_some_and(|row| !row.cancel_requested))
    }

    /// What whoever runs it at once has to know if it fails: the action's retries are not made.
    fn not_tried_again(&self, asked: &Asked, status: Status) -> Option<String> {
        let retries = asked.action.retries;
        let failed = matches!(status, Status::Failed | Status::TimedOut);
        (failed && self.retries.is_none() && retries > 0).then(|| {
            format!(
                "it is not tried again: `retries: {retries}` of the action counts for what is queued (`attune run --queue`)"
            )
        })
    }

    /// When it is to be tried again: not before what it needs is.
    async fn retry_at(&self, worker: &Worker, ending: &Ending) -> Result<Option<DateTime<Utc>>, StoreError> {
        let failed = matches!(ending.status, Status::Failed | Status::TimedOut);
        if !failed || self.retries.is_none_or(|retries| self.attempt.number > retries) {
            return Ok(None);
        }
        let time = self.patience(worker).wait_for(|| worker.store.time()).await?;
        // By this machine's clock, while the queue goes by the database's.
        let again_at = match &ending.cause {
            Some(ExecutionError::Environment(error)) => error.again_at(),
            Some(_) | None => None,
        };
        let wait = again_at.and_then(|again_at| (again_at - Utc::now()).to_std().ok()).unwrap_or_default();
        Ok(Some(time + backoff(self.attempt.number).max(wait)))
    }
}

/// How long to try what the database has to do.
#[derive(Clone, Copy)]
struct Patience {
    limit: Duration,
    /// Whether to wait until a database that is out of reach is back, however long that takes. It does no harm where
    /// somebody else may take the attempt meanwhile, and makes a late record do nothing.
    through_outages: bool,
}

impl Patience {
    /// Does what the database has to do, again and again: what has ended can't be done again, and a server that is started
    /// anew is back after some seconds.
    async fn wait_for<T, F>(self, attempt: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let began = Instant::now();
        let goes_on =
            |error: &StoreError| began.elapsed() < self.limit || (self.through_outages && error.is_outage());
        let mut is_said = false;
        loop {
            match attempt().await {
                Err(error) if goes_on(&error) => {
                    if !std::mem::replace(&mut is_said, true) {
                        tracing::warn!("can't record the end of an execution, trying again: {error}");
                    }
                    sleep(AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// How long to wait after this attempt.
fn backoff(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or_default().min(u32::BITS - 1);
    BACKOFF.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

/// Ends an attempt that can't be begun, since what was asked is wrong by now.
pub(super) async fn refuse(
    worker: &Worker,
    claimed: &Claimed,
    error: AskError,
) -> Result<Ran, ExecutionError> {
    let attempt = claimed.attempt;
    let error = ExecutionError::from(error);
    let ended = Ended {
        status: Status::Failed,
        reason: Some(error.class().to_owned()),
        result: None,
        error_class: Some(error.class().to_owned()),
        error_message: Some(error.to_string()),
        exit_code: None,
        output_incomplete: false,
        warnings: Vec::new(),
        timings: Vec::new(),
        retry_at: None,
    };
    let end = End { attempt, ended, sequence: 0, rest: Vec::new() };
    if !worker.store.finish_execution(&end).await? {
        return Err(ExecutionError::NotRunning { id: attempt.id });
    }
    metrics::ended(&claimed.action.to_string(), Status::Failed.name(), Some(error.class()), &[]);
    trace::ended(&tracing::Span::current(), Status::Failed.name(), Some(error.class()));
    tracing::info!(execution.status = %Status::Failed, "can't begin: {error}");
    let class = Some(error.class().to_owned());
    Ok(Ran { status: Status::Failed, runtime: None, version: None, error: class })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_waits_twice_as_long_up_to_a_limit() {
        let seconds = [1, 2, 3, 4, 9, 10, 1000].map(|attempt| backoff(attempt).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 256, 300, 300]);
    }
}
