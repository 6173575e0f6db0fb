//! What is on record of an execution: at acceptance, before the process starts, and at the end.

use crate::environment::prepare::Prepared;
use crate::selection::SelectionView;
use crate::store::StoreError;
use crate::store::execution::{Decided, Ended, LogChunk, NewExecution};
use crate::worker::Worker;

use super::choice::{Choice, ChoiceError};
use super::outcome::{Ending, ExecutionError, Outcome};
use super::{Asked, ExecutionId};

/// The sandbox tier that every execution has.
const SANDBOX: &str = "T0";

/// The record of one execution.
#[derive(Debug)]
pub(super) struct Record {
    id: ExecutionId,
    decided: Decided,
    /// Whether `decided` is in the database.
    is_decided: bool,
    choice: Option<Choice>,
    built: bool,
    /// The rest of the log, from this number on.
    rest: (i64, Vec<LogChunk>),
}

impl Record {
    pub(super) async fn accept(worker: &Worker, asked: &Asked) -> Result<Self, StoreError> {
        let constraint = asked.constraint.as_ref().map(ToString::to_string).unwrap_or_default();
        let variant = asked.action.program.variant.as_deref().unwrap_or_default();
        worker
            .store
            .start_execution(&NewExecution {
                id: asked.id,
                action: &asked.action.reference,
                pack_digest: &asked.pack_digest,
                requirement: (&asked.runtime.runtime.reference, &constraint, variant),
                parameters: &asked.masker.mask_json(&serde_json::Value::Object(asked.parameters.clone())),
                worker: worker.id,
            })
            .await?;
        let decided = Decided {
            runtime: asked.runtime.runtime.reference.to_string(),
            plugin_digest: asked.runtime.plugin.as_ref().map(|plugin| plugin.sha256.clone()),
            sandbox: SANDBOX.to_owned(),
            warnings: asked.warnings.clone(),
            ..Decided::default()
        };
        Ok(Self {
            id: asked.id,
            decided,
            is_decided: false,
            choice: None,
            built: false,
            rest: (0, Vec::new()),
        })
    }

    pub(super) fn chosen(&mut self, choice: &Choice) {
        let found = &choice.installation;
        self.decided.selected_version = Some(choice.version.to_string());
        self.decided.runtime_version.clone_from(&choice.label);
        self.decided.installation_path = Some(found.path.clone());
        self.decided.installation_identity = Some(choice.identity.clone());
        self.decided.selection = serde_json::to_value(SelectionView::from(&choice.selection)).ok();
        self.decided.warnings.extend(choice.warnings.iter().cloned());
        tracing::Span::current().record("runtime.version", tracing::field::display(&choice.version));
        tracing::info!(installation.path = %found.path.display(), "selected an installation");
        self.choice = Some(choice.clone());
    }

    /// What was judged is as telling when none of it was chosen.
    pub(super) fn not_chosen(&mut self, error: &ChoiceError) {
        if let ChoiceError::NoMatch { selection, .. } = error {
            self.decided.selection = serde_json::to_value(SelectionView::from(&**selection)).ok();
        }
    }

    pub(super) fn prepared(&mut self, prepared: &Prepared) {
        self.built = prepared.fresh;
        if let Some(ready) = &prepared.environment {
            self.decided.environment_key = Some(ready.key.as_str().to_owned());
            self.decided.environment_path = Some(ready.link.clone());
        }
    }

    /// Before the process starts: from here on, what runs with what is on the disk.
    pub(super) async fn decided(&mut self, worker: &Worker) -> Result<(), ExecutionError> {
        worker.store.decide_execution(self.id, &self.decided).await?;
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
        self.decided.warnings.extend(ending.warnings);
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
        };
        let (sequence, rest) = std::mem::take(&mut self.rest);
        if !self.is_decided {
            // It ended before there was a process: what was decided so far is not on record yet.
            worker.store.decide_execution(self.id, &self.decided).await?;
        }
        if !worker.store.finish_execution(self.id, &ended, sequence, &rest).await? {
            return Err(ExecutionError::NotRunning { id: self.id });
        }
        tracing::info!(execution.status = %ending.status, "an execution ended");
        Ok(Outcome {
            id: self.id,
            status: ending.status,
            result: ending.result,
            exit_code: ending.exit_code,
            output_incomplete: ending.output_incomplete,
            error: ending.error,
            cause: ending.cause,
            runtime: asked.runtime.runtime.label.clone(),
            choice: self.choice,
            built: self.built,
            warnings: self.decided.warnings,
            timings,
        })
    }
}
