//! How an execution ended, for people: the same lines, whoever ran it.

use std::fmt;
use std::path::Path;

use serde_json::Value as Json;

use super::output::{Output, Tone};
use super::table::table;
use crate::execution::choice::Choice;
use crate::execution::{ExecutionId, Status};
use crate::printable::printable;
use crate::reference::ActionRef;
use crate::store::execution::ExecutionRow;
use crate::version::constraint::Constraint;

/// An execution that has ended.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub id: ExecutionId,
    pub action: &'a ActionRef,
    pub status: Status,
    /// Class and sentence, unless whoever asked is told in another way.
    pub error: Option<(&'a str, &'a str)>,
    pub ran_by: Option<RanBy<'a>>,
    /// Why that.
    pub because: Option<String>,
    /// Which worker had it, and in which attempt, if it came from the queue.
    pub worker: Option<(&'a str, i64)>,
    /// Stage and milliseconds.
    pub timings: &'a [(String, f64)],
    pub output_incomplete: bool,
    pub warnings: &'a [String],
    /// What was considered, if nothing was chosen.
    pub considered: Option<String>,
}

/// The installation that ran it, or the program that it is itself.
#[derive(Debug)]
pub(super) struct RanBy<'a> {
    /// Label of the runtime.
    pub runtime: &'a str,
    /// Exact; none of a program that starts by itself.
    pub version: Option<String>,
    /// Absolute.
    pub path: String,
    pub source: Option<&'a str>,
}

impl<'a> RanBy<'a> {
    /// What a choice of `runtime` runs.
    pub(super) fn chosen(runtime: &'a str, choice: &'a Choice) -> Self {
        Self {
            runtime,
            version: Some(choice.version.to_string()),
            path: choice.installation.path.display().to_string(),
            source: Some(choice.installation.source.as_str()).filter(|source| !source.is_empty()),
        }
    }

    /// What is on record; none while nothing is decided.
    pub(super) fn recorded(row: &'a ExecutionRow) -> Option<Self> {
        Some(Self {
            runtime: row.runtime_label.as_deref().or(row.runtime.as_deref()).unwrap_or_default(),
            version: row.selected_version.clone(),
            path: row.installation_path.clone()?,
            source: row.installation_source.as_deref(),
        })
    }

    /// A program that starts by itself.
    pub(super) fn itself(runtime: &'a str, program: &Path) -> Self {
        Self { runtime, version: None, path: program.display().to_string(), source: None }
    }
}

impl fmt::Display for RanBy<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.runtime)?;
        if let Some(version) = &self.version {
            write!(formatter, " {version}")?;
        }
        write!(formatter, " at {}", self.path)?;
        self.source.map_or(Ok(()), |source| write!(formatter, " ({source})"))
    }
}

impl<'a> From<&'a ExecutionRow> for Ending<'a> {
    fn from(row: &'a ExecutionRow) -> Self {
        let because = row.selection.as_ref().and_then(|view| because(row.constraint.as_deref(), view));
        Self {
            id: row.id,
            action: &row.action,
            status: row.status,
            error: row.error(),
            ran_by: RanBy::recorded(row),
            because,
            worker: row.worker.as_deref().filter(|_| row.queued && row.attempt > 0).zip(Some(row.attempt)),
            timings: &row.timings,
            output_incomplete: row.output_incomplete,
            warnings: &row.warnings,
            considered: considered(row),
        }
    }
}

impl Ending<'_> {
    /// Says how it ended, what ran it, why that, and how long it took.
    pub(super) fn say(&self, output: &Output) {
        for warning in self.warnings {
            output.warn(warning);
        }
        if self.output_incomplete {
            output.warn("the output may be incomplete: a process of the action's outlived it");
        }
        if let Some(considered) = &self.considered {
            output.say(considered.trim_end());
        }
        headline(output, self.action, self.status, self.id);
        if let Some((class, message)) = self.error {
            line(output, "error", &format!("{class}: {message}"));
        }
        // What failed before is told as an error.
        let was_started =
            self.status != Status::Failed || self.timings.iter().any(|(stage, _)| stage == "run");
        if let Some(ran_by) = self.ran_by.as_ref().filter(|_| was_started) {
            line(output, "ran by", &ran_by.to_string());
        }
        if let Some(because) = self.because.as_ref().filter(|_| was_started) {
            line(output, "because", because);
        }
        if let Some((worker, attempt)) = self.worker {
            let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            line(output, "worker", &format!("{worker}{again}"));
        }
        if !self.timings.is_empty() {
            line(output, "took", &timing_line(self.timings));
        }
    }
}

/// Which execution something is about, and where it stands.
pub(super) fn headline(output: &Output, action: &ActionRef, status: Status, id: ExecutionId) {
    let tone = match status {
        Status::Succeeded => Tone::Good,
        Status::Queued | Status::Running | Status::Cancelled => Tone::Warning,
        Status::Failed | Status::TimedOut | Status::Abandoned => Tone::Bad,
    };
    let (dash, status) = (output.tone(Tone::Dim, "--"), output.tone(tone, status.name()));
    output.say(&format!("{dash} {action} {status} ({id})"));
}

fn line(output: &Output, name: &str, text: &str) {
    output.say(&named(output, name, text));
}

/// A line below a headline.
pub(super) fn named(output: &Output, name: &str, text: &str) -> String {
    format!("   {} {}", output.tone(Tone::Dim, &format!("{name:<7}")), printable(text))
}

/// Why this installation, for a choice that was just made.
pub(super) fn because_chosen(constraint: Option<&Constraint>, choice: &Choice) -> Option<String> {
    let constraint = constraint.or(choice.asked.as_ref()).map(ToString::to_string);
    because(constraint.as_deref(), &serde_json::to_value(choice.view()).ok()?)
}

/// Names of the reasons of candidates that satisfy what was asked, selected or not.
const WOULD_DO: [&str; 4] = ["selected", "lower_precedence", "later_source", "not_default"];

/// Why this installation, for a selection as it is recorded; none if nothing was selected.
pub(super) fn because(constraint: Option<&str>, selection: &Json) -> Option<String> {
    let selected = selection["selected"].as_object()?;
    let candidates = selection["candidates"].as_array()?;
    let all = candidates.iter().filter(|candidate| candidate["failure"].is_null()).count();
    if selection["fallback"] == true {
        return Some(format!(
            "nothing satisfies what was asked for: it is the base runtime, of {all} installed"
        ));
    }
    let reasons = candidates.iter().filter_map(|candidate| candidate["reason"].as_str());
    let matching = reasons.filter(|reason| WOULD_DO.contains(reason)).count();
    let is_default = selected.get("declared").is_some_and(|declared| declared["is_default"] == true);
    Some(match constraint.filter(|text| !text.is_empty()) {
        Some(text) => {
            let place = if matching == 1 {
                "it is the only one that matches".to_owned()
            } else {
                format!("it is the highest of the {matching} that match")
            };
            format!("`{text}` was asked for: {place}, of {all} installed")
        }
        None if is_default => format!("no version was asked for: it is the default, of {all} installed"),
        None if all == 1 => "no version was asked for, and it is the only one installed".to_owned(),
        None => format!("no version was asked for, and no default is installed: it is the highest of {all}"),
    })
}

/// The candidates of an execution that ended since none of them would do.
pub(super) fn considered(row: &ExecutionRow) -> Option<String> {
    let rows = candidates(row.selection.as_ref().filter(|selection| selection["selected"].is_null())?);
    let rows = rows.collect::<Vec<_>>();
    (!rows.is_empty()).then(|| table(["VERSION", "PATH", "REASON"], rows))
}

/// Version, path and reason of each candidate of a selection as it is recorded.
pub(super) fn candidates(selection: &Json) -> impl Iterator<Item = [String; 3]> {
    selection["candidates"].as_array().into_iter().flatten().map(|candidate| {
        ["version", "path", "message"]
            .map(|name| printable(candidate[name].as_str().unwrap_or_default()).into_owned())
    })
}

/// Stages with their times, and their sum.
pub(super) fn timing_line(timings: &[(String, f64)]) -> String {
    let show = |milliseconds: f64| {
        if milliseconds >= 1000.0 {
            format!("{:.2} s", milliseconds / 1000.0)
        } else {
            format!("{milliseconds:.1} ms")
        }
    };
    if timings.is_empty() {
        return String::new();
    }
    let stages = timings.iter().map(|(stage, milliseconds)| format!("{stage} {}", show(*milliseconds)));
    let sum = timings.iter().map(|(_, milliseconds)| milliseconds).sum();
    format!("{}; {} in all", stages.collect::<Vec<_>>().join(", "), show(sum))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_does_not_work_is_not_counted_as_installed() {
        let candidate = |reason: &str, failure| json!({"reason": reason, "failure": failure});
        let selection = json!({
            "selected": {"declared": null},
            "candidates": [
                candidate("selected", json!(null)),
                candidate("lower_precedence", json!(null)),
                candidate("unavailable", json!({"class": "timeout"})),
                candidate("below", json!({"class": "timeout"})),
            ],
        });
        let because = super::because(Some(">=3"), &selection);
        let expected = "`>=3` was asked for: it is the highest of the 2 that match, of 2 installed";
        assert_eq!(because.as_deref(), Some(expected));
    }
}
