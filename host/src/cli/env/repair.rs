//! `attune env repair`: what became of each environment that some action needs.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::failure::{Exit, Failed};
use crate::cli::options::DryRun;
use crate::cli::output::{Output, Tone};
use crate::cli::preview::step_lines;
use crate::cli::progress::Progress;
use crate::cli::run::environment_failed;
use crate::cli::runtime::detection_failed;
use crate::cli::table::table;
use crate::environment::prepare::{self, Need, Repaired};
use crate::execution::choice::{Asked, ChoiceError, choose};
use crate::printable::one_line;
use crate::store::action::ActionRow;
use crate::worker::{RuntimeError, Worker};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Healthy,
    Repaired,
    ToBeRepaired,
    Failed,
}

impl Outcome {
    fn shown(self) -> (Tone, &'static str) {
        match self {
            Self::Healthy => (Tone::Good, "healthy"),
            Self::Repaired => (Tone::Good, "repaired"),
            Self::ToBeRepaired => (Tone::Warning, "to be repaired"),
            Self::Failed => (Tone::Bad, "failed"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Looked {
    /// None if it could not even be told which one it is.
    path: Option<PathBuf>,
    /// The interpreter that it is built with: the same path may lead to one that is built with another.
    installation: Option<PathBuf>,
    /// The first action that needs it.
    action: String,
    outcome: Outcome,
    reason: Option<String>,
    /// How it would be built again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<String>,
}

impl Looked {
    /// What people know it by.
    fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => format!("that of {}", self.action),
        }
    }
}

/// Looks at one after the other. One that can't be repaired does not keep the others from it.
pub(super) async fn repair(worker: &Worker, dry: DryRun, output: &Output) -> Result<(), Failed> {
    let progress = Progress::begin(output);
    let mut looked: Vec<Looked> = Vec::new();
    for row in worker.store.actions(None).await? {
        progress.say(format!("checking the environment of {}", row.declared.reference));
        let (place, outcome, reason, steps) = match look(worker, &row, dry, &looked).await {
            Ok(None) => continue,
            Ok(Some(((place, outcome, reason), steps))) => (Some(place), outcome, reason, steps),
            Err((place, failed)) => (place, Outcome::Failed, Some(failed.text()), Vec::new()),
        };
        let (path, installation) = place.unzip();
        let action = row.declared.reference.to_string();
        looked.push(Looked { path, installation, action, outcome, reason, steps });
    }
    progress.end();
    if dry.dry_run {
        output.plan(&Plan { environments: &looked }, || text(&looked, output))?;
    } else {
        output.data(&looked, || text(&looked, output))?;
    }
    let failed = looked.iter().filter(|looked| looked.outcome == Outcome::Failed);
    let failed = failed.map(|looked| format!("`{}`", looked.name())).collect::<Vec<_>>();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failed::message(Exit::Environment, format!("can't repair {}", failed.join(", ")))
        .hint("`attune env show ENVIRONMENT` shows what its steps printed"))
}

#[derive(Serialize)]
struct Plan<'a> {
    environments: &'a [Looked],
}

fn text(looked: &[Looked], output: &Output) -> String {
    if looked.is_empty() {
        return "no environments yet".to_owned();
    }
    let mut text = table(
        ["ENVIRONMENT", "OUTCOME", "WHY"],
        looked.iter().map(|looked| {
            let (tone, outcome) = looked.outcome.shown();
            let reason = looked.reason.clone().unwrap_or_default();
            [looked.name(), output.data_tone(tone, outcome), reason]
        }),
    );
    for looked in looked.iter().filter(|looked| !looked.steps.is_empty()) {
        text.extend(["\n", &looked.name(), "\n"]);
        text.extend(looked.steps.iter().map(|step| format!("  {}\n", one_line(step))));
    }
    text
}

/// The stable path and the interpreter.
type Place = (PathBuf, PathBuf);
type Found = (Place, Outcome, Option<String>);

/// The environment that an action needs; none if there is none, or if it was looked at already. A failure comes with
/// the path, as far as it is known.
async fn look(
    worker: &Worker,
    row: &ActionRow,
    dry: DryRun,
    looked: &[Looked],
) -> Result<Option<(Found, Vec<String>)>, (Option<Place>, Failed)> {
    let unknown = |failed: Failed| (None, failed);
    let program = &row.declared.program;
    let pack = row.declared.reference.pack();
    let runtime = match worker.runtime(&program.runtime, Some(pack)).await {
        Ok(runtime) => runtime,
        Err(RuntimeError::Unknown { .. } | RuntimeError::Ambiguous { .. }) => return Ok(None),
        Err(RuntimeError::Store(error)) => return Err(unknown(error.into())),
    };
    let asked = Asked {
        constraint: program.constraint.as_ref(),
        variant: program.variant.as_deref(),
        policy: program.version_policy,
    };
    // An action that nothing can run has no environment to repair.
    let choice = match choose(worker, &runtime, asked).await {
        Ok(choice) => choice,
        Err(ChoiceError::Detection(error)) => return Err(unknown(detection_failed(error))),
        Err(_) => return Ok(None),
    };
    let folder = worker.pack_folder(pack, &row.pack_digest);
    let need = Need {
        pack,
        pack_digest: &row.pack_digest,
        pack_folder: &folder,
        entry_point: &program.entry_point,
        runtime: &runtime,
        choice: &choice,
    };
    let path = prepare::place(worker, need).map_err(|error| unknown(environment_failed(worker, error)))?;
    let place = (path, choice.installation.path.clone());
    let is_its = |looked: &Looked| {
        (looked.path.as_ref(), looked.installation.as_ref()) == (Some(&place.0), Some(&place.1))
    };
    if looked.iter().any(is_its) {
        return Ok(None);
    }
    match prepare::repair(worker, need, dry.dry_run, |_| {}).await {
        Ok(None | Some(Repaired::NotBuilt)) => Ok(None),
        Ok(Some(Repaired::Healthy)) => Ok(Some(((place, Outcome::Healthy, None), Vec::new()))),
        Ok(Some(Repaired::Rebuilt { reason })) => {
            Ok(Some(((place, Outcome::Repaired, Some(reason.to_string())), Vec::new())))
        }
        Ok(Some(Repaired::ToBeBuilt { reason, plan })) => {
            let steps = step_lines(&plan).collect();
            Ok(Some(((place, Outcome::ToBeRepaired, Some(reason.to_string())), steps)))
        }
        Err(error) => Err((Some(place), environment_failed(worker, error))),
    }
}
