//! `attune resolve`: which installation a constraint selects, and why.

use clap::Args;
use serde::Serialize;

use super::failure::{Exit, Failed};
use super::options::Options;
use super::output::Output;
use super::runtime::{detection_failed, open_worker};
use crate::execution::choice::{Asked, ChoiceError, choose};
use crate::pack::problem::counted;
use crate::reference::ActionRef;
use crate::selection::{Selection, SelectionView, Wanted, candidates, select, table};
use crate::store::runtime::RuntimeRow;
use crate::version::constraint::{Constraint, ConstraintError, UnknownAlias};
use crate::worker::{RuntimeError, Worker};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  attune resolve examples.greet
  attune resolve examples.greet --constraint '>=3.12'
  attune resolve --runtime core.shell '>=5,<6'
  attune resolve '>=3.10' --candidate 3.12.1 --candidate '3.11.7=default' --candidate '3.14=unavailable'")]
pub(super) struct Resolve {
    /// An action; with --runtime or --candidate, a constraint
    #[arg(value_name = "ACTION|CONSTRAINT")]
    pub what: Option<String>,
    /// Choose among this machine's installations of a runtime, by reference or alias
    #[arg(long, value_name = "RUNTIME", conflicts_with = "candidate")]
    pub runtime: Option<String>,
    /// Choose among these instead: VERSION, or VERSION=FLAGS with `default`, `unavailable` or both by a comma
    #[arg(long, value_name = "VERSION[=FLAGS]")]
    pub candidate: Vec<String>,
    /// Of an action, ask for this instead of what it asks for
    #[arg(long, short, value_name = "CONSTRAINT", conflicts_with_all = ["runtime", "candidate"])]
    pub constraint: Option<String>,
    /// Ask for a build variant
    #[arg(long)]
    pub variant: Option<String>,
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

    pub(super) fn among_given(&self, output: &Output) -> Result<Exit, Failed> {
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
        show(&Resolved { selection: SelectionView::from(&selection), stands_for: None }, &selection, output)?;
        match selection.chosen() {
            Some(_) => Ok(Exit::Success),
            None if output.json => Ok(Exit::NoMatch),
            None => Err(Failed::message(Exit::NoMatch, "nothing matches")),
        }
    }

    async fn for_action(&self, worker: &Worker, output: &Output) -> Result<Exit, Failed> {
        let Some(text) = &self.what else {
            return Err(Failed::message(Exit::Input, "name an action, or use --runtime or --candidate"));
        };
        let reference = reference(text)?;
        let constraint = self.constraint.as_deref().map(parse).transpose()?;
        let Some(row) = worker.store.action(&reference).await? else {
            return Err(super::run::unknown_action(worker, &reference).await);
        };
        let program = &row.declared.program;
        let runtime =
            worker.runtime(&program.runtime, Some(reference.pack())).await.map_err(unknown_runtime)?;
        let asked = Asked {
            constraint: constraint.as_ref().or(program.constraint.as_ref()),
            variant: self.variant.as_deref().or(program.variant.as_deref()),
            policy: program.version_policy,
        };
        among_installed(worker, &runtime, asked, output).await
    }
}

/// The action that is named.
pub(super) fn reference(text: &str) -> Result<ActionRef, Failed> {
    text.parse::<ActionRef>().map_err(|error| {
        Failed::new(Exit::Input, error)
            .hint("for a constraint, say of what: --runtime RUNTIME, or --candidate VERSION")
    })
}

async fn among_installed(
    worker: &Worker,
    runtime: &RuntimeRow,
    asked: Asked<'_>,
    output: &Output,
) -> Result<Exit, Failed> {
    let stands_for = asked.constraint.and_then(|asked| asked.stands_for(&runtime.constraint_aliases));
    match choose(worker, runtime, asked).await {
        Ok(choice) => {
            if let (Some(asked), Some(meaning), false) = (asked.constraint, stands_for, output.json) {
                output.say(&format!("`{asked}` stands for `{meaning}` here"));
            }
            show(&Resolved { selection: choice.view(), stands_for }, &choice.selection, output)?;
            Ok(Exit::Success)
        }
        Err(error) => {
            if let (ChoiceError::NoMatch { selection, hung, .. }, Some(mut view)) =
                (&error, error.selection())
            {
                // Part of the error for people.
                view.warnings
                    .extend((output.json && !hung.is_empty()).then(|| hung.trim_start_matches("; ").into()));
                show(&Resolved { selection: view, stands_for }, selection, output)?;
                if output.json {
                    return Ok(Exit::NoMatch);
                }
            }
            // What there is to choose from was shown.
            Err(Failed { report: None, ..choice_failed(error) })
        }
    }
}

/// A selection as `--json` shows it.
#[derive(Serialize)]
struct Resolved<'a> {
    #[serde(flatten)]
    selection: SelectionView<'a>,
    /// What the constraint stands for, if it is an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    stands_for: Option<&'a str>,
}

fn show(resolved: &Resolved<'_>, selection: &Selection, output: &Output) -> Result<(), Failed> {
    for warning in resolved.selection.warnings.iter().filter(|_| !output.json) {
        output.warn(warning);
    }
    output.data(resolved, || if selection.judged.is_empty() { String::new() } else { table(selection) })?;
    Ok(())
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
        ChoiceError::NoMatch { ref selection, ref runtime, rejected, .. } => {
            let report = table(selection);
            let detect = format!("`attune runtime detect {runtime}`");
            let left_out = (rejected > 0).then(|| {
                let programs = counted(rejected, "program");
                format!("not in the table: {programs} that turned out to be broken or something else; {detect} says why")
            });
            let installed = !selection.judged.is_empty();
            let failed = Failed::new(Exit::NoMatch, error);
            if installed {
                let failed = failed.report(report).hint(
                    "install a version that matches, or ask for another (of an action, with --constraint)",
                );
                with_hint(failed, left_out)
            } else {
                failed
                    .hint(format!("{detect} shows what was looked at; `attune doctor` says what is missing"))
            }
        }
        ChoiceError::Alias(unknown) => alias_failed(unknown),
        ChoiceError::Direct { .. } | ChoiceError::NotServed { .. } => Failed::new(Exit::Input, error),
        ChoiceError::Detection(error) => detection_failed(error),
    }
}
