//! `attune resolve`: which installation a constraint selects, and why.

use clap::Args;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::{Output, Tone};
use super::runtime::{detection_failed, open_worker};
use crate::execution::choice::{Asked, ChoiceError, choose};
use crate::reference::ActionRef;
use crate::selection::{Selection, SelectionView, Wanted, candidates, select, table};
use crate::store::runtime::RuntimeRow;
use crate::version::constraint::{Constraint, ConstraintError, UnknownAlias};
use crate::worker::{RuntimeError, Worker};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  attune resolve examples.greet
  attune resolve --runtime core.shell '>=5,<6'
  attune resolve '>=3.10' --candidate 3.12.1 --candidate '3.11.7=default' --candidate '3.14=unavailable'")]
pub(super) struct Resolve {
    /// An action; with --runtime or --candidate, a constraint
    #[arg(value_name = "ACTION|CONSTRAINT")]
    what: Option<String>,
    /// Choose among this machine's installations of a runtime, by reference or alias
    #[arg(long, value_name = "RUNTIME", conflicts_with = "candidate")]
    runtime: Option<String>,
    /// Choose among these instead: VERSION, or VERSION=FLAGS with `default`, `unavailable` or both by a comma
    #[arg(long, value_name = "VERSION[=FLAGS]")]
    candidate: Vec<String>,
    /// Ask for a build variant
    #[arg(long)]
    variant: Option<String>,
}

impl Resolve {
    pub(super) async fn execute(self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        if !self.candidate.is_empty() {
            return self.among_given(output);
        }
        let worker = open_worker(options, output).await?;
        let outcome = match &self.runtime {
            Some(runtime) => {
                let constraint = self.what.as_deref().map(parse).transpose()?;
                let runtime = worker.runtime(runtime, None).await.map_err(unknown_runtime)?;
                let asked = Asked {
                    constraint: constraint.as_ref(),
                    variant: self.variant.as_deref(),
                    ..Asked::default()
                };
                among_installed(&worker, &runtime, asked, output).await
            }
            None => self.for_action(&worker, output).await,
        };
        worker.close().await;
        outcome
    }

    fn among_given(&self, output: &Output) -> Result<Exit, Failed> {
        let constraint = self.what.as_deref().map(parse).transpose()?;
        let range =
            constraint.as_ref().map(|constraint| constraint.resolve(&[])).transpose().map_err(|unknown| {
                let message = format!("only a runtime knows what `{}` stands for", unknown.alias);
                Failed::message(Exit::Input, message)
                    .hint("choose among what is installed of one: --runtime RUNTIME instead of --candidate")
            })?;
        let candidates = candidates(&self.candidate).map_err(|error| {
            let hint = error.hint();
            Failed::new(Exit::Input, error).hint(hint)
        })?;
        let variant = self.variant.as_deref();
        let selection = select(&candidates, Wanted { range: range.as_ref(), variant });
        show(&selection, output)
    }

    async fn for_action(&self, worker: &Worker, output: &Output) -> Result<Exit, Failed> {
        let Some(text) = &self.what else {
            return Err(Failed::message(Exit::Input, "name an action, or use --runtime or --candidate"));
        };
        let reference = text.parse::<ActionRef>().map_err(|error| {
            Failed::new(Exit::Input, error)
                .hint("for a constraint, say of what: --runtime RUNTIME, or --candidate VERSION")
        })?;
        let Some(row) = worker.store.action(&reference).await? else {
            return Err(super::run::unknown_action(worker, &reference).await);
        };
        let program = &row.action.program;
        let runtime =
            worker.runtime(&program.runtime, Some(reference.pack())).await.map_err(unknown_runtime)?;
        let asked = Asked {
            constraint: program.constraint.as_ref(),
            variant: self.variant.as_deref().or(program.variant.as_deref()),
            policy: program.version_policy,
        };
        among_installed(worker, &runtime, asked, output).await
    }
}

async fn among_installed(
    worker: &Worker,
    runtime: &RuntimeRow,
    asked: Asked<'_>,
    output: &Output,
) -> Result<Exit, Failed> {
    match choose(worker, runtime, asked).await {
        Ok(choice) => {
            for warning in choice.warnings.iter().filter(|_| !output.json) {
                output.warn(warning);
            }
            show(&choice.selection, output)
        }
        Err(ChoiceError::NoMatch { selection, hung, .. }) => {
            if !hung.is_empty() {
                output.warn(hung.trim_start_matches("; "));
            }
            show(&selection, output)
        }
        Err(error) => Err(choice_failed(error)),
    }
}

fn show(selection: &Selection, output: &Output) -> Result<Exit, Failed> {
    let view = SelectionView::from(selection);
    output.data(&view, || if view.candidates.is_empty() { String::new() } else { table(selection) })?;
    if selection.chosen().is_some() {
        return Ok(Exit::Success);
    }
    if !output.json {
        output.say(&format!("{} nothing matches", output.tone(Tone::Bad, "error:")));
    }
    Ok(Exit::NoMatch)
}

/// Reads a constraint of the command line; a mistake is shown with a caret below it.
pub(super) fn parse(text: &str) -> Result<Constraint, Failed> {
    Constraint::parse(text).map_err(|error| constraint_failed(&error))
}

fn constraint_failed(error: &ConstraintError) -> Failed {
    let hint = error.hint.clone();
    let failed = Failed::message(Exit::Input, format!("`{}` is not a constraint", error.beginning()))
        .report(error.rendered());
    with_hint(failed, hint.filter(|hint| !failed_says(error, hint)))
}

/// Whether the rendered error already says what a hint says.
fn failed_says(error: &ConstraintError, hint: &str) -> bool {
    error.rendered().contains(hint)
}

fn with_hint(failed: Failed, hint: Option<String>) -> Failed {
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Why no runtime is meant, as a failed command.
pub(super) fn unknown_runtime(error: RuntimeError) -> Failed {
    match error {
        RuntimeError::Unknown { .. } => {
            Failed::new(Exit::NotFound, error).hint("`attune runtime list` shows the runtimes")
        }
        RuntimeError::Ambiguous { .. } => Failed::new(Exit::Input, error),
        RuntimeError::Store(_) => Failed::new(Exit::Failure, error),
    }
}

/// Why a word stands for no constraint, as a failed command.
pub(super) fn alias_failed(unknown: UnknownAlias) -> Failed {
    let hint = unknown.hint();
    with_hint(Failed::new(Exit::Input, unknown), hint)
}

/// Why nothing was chosen, as a failed command.
pub(super) fn choice_failed(error: ChoiceError) -> Failed {
    match error {
        ChoiceError::NoMatch { ref selection, .. } => {
            let report = table(selection);
            let installed = !selection.judged.is_empty();
            let failed = Failed::new(Exit::NoMatch, error);
            if installed {
                failed
                    .report(report)
                    .hint("install a version that matches, or ask for another with --constraint")
            } else {
                failed.hint(
                    "`attune runtime detect` shows what was looked at; `attune doctor` says what is missing",
                )
            }
        }
        ChoiceError::Alias(unknown) => alias_failed(unknown),
        ChoiceError::Direct { .. } | ChoiceError::NotServed { .. } => Failed::new(Exit::Input, error),
        ChoiceError::Detection(error) => detection_failed(error),
    }
}
