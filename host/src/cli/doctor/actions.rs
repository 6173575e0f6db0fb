//! What `attune doctor` says of actions that nothing on this machine can run.

use super::{Finding, State};
use crate::cli::failure::Failed;
use crate::detection::{self, Freshness};
use crate::execution::choice::{Asked, ChoiceError, judge};
use crate::pack::Action;
use crate::pack::problem::counted;
use crate::worker::Worker;

/// Actions that are told of one by one.
const SHOWN_MAX: usize = 10;

/// What keeps an action from being run here; the worst comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    /// There is no such runtime, or more than one.
    Runtime(String),
    /// The constraint stands for nothing.
    Constraint(String),
    /// No installation satisfies what it asks.
    NoMatch(String),
}

/// The enabled actions for which there is nothing to start them with.
pub(super) async fn stranded(worker: &Worker) -> Result<Vec<Finding>, Failed> {
    let mut stranded = Vec::new();
    for row in worker.store.actions(None).await? {
        if row.declared.enabled
            && let Some(obstacle) = obstacle(worker, &row.declared).await
        {
            stranded.push((obstacle, row.declared.reference));
        }
    }
    stranded.sort();
    let more = stranded.len().saturating_sub(SHOWN_MAX);
    let mut findings = stranded
        .into_iter()
        .take(SHOWN_MAX)
        .map(|(obstacle, action)| {
            let (seen, mend) = match obstacle {
                Obstacle::Runtime(seen) => (seen, "`attune runtime list` shows the runtimes".to_owned()),
                Obstacle::Constraint(seen) => (seen, "mend what its pack asks for".to_owned()),
                Obstacle::NoMatch(seen) => {
                    (seen, format!("install what it asks for; `attune resolve {action}` says what there is"))
                }
            };
            Finding::new(State::Warning, action.to_string(), format!("can't run here: {seen}"), mend)
        })
        .collect::<Vec<_>>();
    if more > 0 {
        let seen = format!("{} more can't run here", counted(more, "action"));
        findings.push(Finding::new(
            State::Warning,
            "actions",
            seen,
            "`attune pack show PACK` says it of each action",
        ));
    }
    Ok(findings)
}

/// What is in the way, by what the runtimes' findings have just looked at: it is not looked for once more for
/// every action that finds nothing. What is said of its runtime already is not said again.
async fn obstacle(worker: &Worker, action: &Action) -> Option<Obstacle> {
    let program = &action.program;
    let runtime = match worker.runtime(&program.runtime, Some(action.reference.pack())).await {
        Ok(runtime) => runtime,
        Err(error) => return Some(Obstacle::Runtime(error.to_string())),
    };
    if runtime.plugin.is_none() || !worker.serves(&runtime) {
        return None;
    }
    let constraint = program.constraint.as_ref();
    let range = constraint.map(|constraint| constraint.resolve(&runtime.constraint_aliases)).transpose();
    let range = match range {
        Ok(range) => range,
        Err(error) => return Some(Obstacle::Constraint(error.to_string())),
    };
    let asked = Asked { constraint, variant: program.variant.as_deref(), policy: program.version_policy };
    let detected = detection::detect(worker, &runtime, Freshness::IfChanged).await.ok()?;
    let selection = judge(&runtime, &detected.installations, range.as_ref(), asked).err()?;
    let error = ChoiceError::no_match(&runtime, &detected.installations, asked, selection);
    Some(Obstacle::NoMatch(error.to_string()))
}
