//! A selection as `--json` and the API show it. Field names are a promise to programs.

use std::path::Path;

use serde::Serialize;

use super::{Candidate, Declared, Judged, Selection};
use crate::installation::Failure;

/// `{"selected": {…} | null, "candidates": […], "warnings": […]}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SelectionView<'s> {
    /// Whether nothing satisfies what was asked for, and this is the base runtime, which the action allows then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// None if nothing matches.
    pub selected: Option<SelectedView<'s>>,
    /// Best first.
    pub candidates: Vec<CandidateView<'s>>,
    /// Sentences.
    pub warnings: Vec<String>,
}

/// What was selected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SelectedView<'s> {
    /// Semantic version.
    pub version: String,
    /// As the tool reports it.
    pub native: &'s str,
    /// Build variant.
    pub variant: Option<&'s str>,
    /// None for a candidate that exists only on the command line.
    pub path: Option<&'s Path>,
    /// The declared series that covers it.
    pub declared: Option<&'s Declared>,
}

/// A candidate and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CandidateView<'s> {
    /// What it is.
    #[serde(flatten)]
    pub candidate: SelectedView<'s>,
    /// Whether it is the one that was selected.
    pub chosen: bool,
    /// One of the names of [`Reason`](super::Reason).
    pub reason: &'static str,
    /// The reason as a sentence.
    pub message: String,
    /// Why it is unavailable, whatever the reason was.
    pub failure: Option<FailureView<'s>>,
}

/// Why something could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureView<'s> {
    /// The name that is used everywhere: `missing_capability(ssl)`.
    pub class: String,
    /// What was seen.
    pub message: &'s str,
}

impl<'s> From<&'s Failure> for FailureView<'s> {
    fn from(failure: &'s Failure) -> Self {
        Self { class: failure.class.to_string(), message: &failure.message }
    }
}

impl<'s> From<&'s Selection> for SelectionView<'s> {
    fn from(selection: &'s Selection) -> Self {
        Self {
            fallback: false,
            selected: selection.chosen().map(SelectedView::from),
            candidates: selection.judged.iter().map(CandidateView::from).collect(),
            warnings: selection.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<'s> From<&'s Candidate> for SelectedView<'s> {
    fn from(candidate: &'s Candidate) -> Self {
        Self {
            version: candidate.version.semver.to_string(),
            native: &candidate.version.native,
            variant: candidate.version.variant.as_deref(),
            path: Some(candidate.path.as_path()).filter(|path| !path.as_os_str().is_empty()),
            declared: candidate.declared.as_ref(),
        }
    }
}

impl<'s> From<&'s Judged> for CandidateView<'s> {
    fn from(judged: &'s Judged) -> Self {
        Self {
            candidate: SelectedView::from(&judged.candidate),
            chosen: judged.reason == super::Reason::Selected,
            reason: judged.reason.name(),
            message: judged.reason.to_string(),
            failure: judged.candidate.unavailable.as_ref().map(FailureView::from),
        }
    }
}
