//! Choosing an installation: pure, the same answer for every order of the candidates.
//!
//! What a constraint means is [`version::constraint`](crate::version::constraint)'s; what is installed and
//! works, and what the pack declares for it, is in the candidates.

mod candidate;
mod reason;
mod report;
#[cfg(test)]
mod tests;
mod view;

use std::cmp::Ordering;

pub use candidate::{Candidate, Declared, InvalidCandidate, candidates};
pub use reason::{Reason, Warning};
pub use report::{rows_table, table};
pub use view::{CandidateView, FailureView, SelectedView, SelectionView};

use crate::version::constraint::{Judgement, Range};

/// What is wanted of an installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'r> {
    /// None: nothing was asked, as with an empty constraint.
    pub range: Option<&'r Range>,
    /// A build variant that is wanted beside what the range asks for.
    pub variant: Option<&'r str>,
}

/// The choice, and the reason for every candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Best first: what was selected, what could have been, then the others from the highest version down.
    pub judged: Vec<Judged>,
    /// What should be known about the choice.
    pub warnings: Vec<Warning>,
}

/// A candidate and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// As it was given.
    pub candidate: Candidate,
    /// Why it was selected or not.
    pub reason: Reason,
}

/// Nothing could be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct NoMatch {
    /// Every candidate with its reason, the highest version first.
    pub judged: Vec<Judged>,
}

impl Selection {
    /// What was selected.
    #[must_use]
    pub fn chosen(&self) -> Option<&Candidate> {
        self.judged.first().filter(|judged| judged.reason == Reason::Selected).map(|judged| &judged.candidate)
    }

    /// What was selected, with the warnings.
    pub fn into_chosen(self) -> Result<(Candidate, Vec<Warning>), NoMatch> {
        let mut judged = self.judged;
        if judged.first().is_some_and(|first| first.reason == Reason::Selected) {
            Ok((judged.swap_remove(0).candidate, self.warnings))
        } else {
            Err(NoMatch { judged })
        }
    }
}

impl NoMatch {
    fn message(&self) -> String {
        if self.judged.is_empty() {
            return "there is nothing to select from".to_owned();
        }
        let reasons: Vec<String> = self
            .judged
            .iter()
            .map(|judged| format!("{}: {}", judged.candidate.version, judged.reason))
            .collect();
        format!("no installation matches ({})", reasons.join("; "))
    }
}

/// Chooses from `candidates`.
#[must_use]
pub fn select(candidates: &[Candidate], wanted: Wanted<'_>) -> Selection {
    let range = wanted.range.filter(|range| !range.prefers_default());
    let mut eligible: Vec<&Candidate> = Vec::new();
    let mut rejected: Vec<Judged> = Vec::new();
    for candidate in candidates {
        match obstacle(candidate, wanted, range) {
            Some(reason) => rejected.push(Judged { candidate: candidate.clone(), reason }),
            None => eligible.push(candidate),
        }
    }
    rejected.sort_by(|one, other| by_version(&one.candidate, &other.candidate));
    match range {
        Some(_) => eligible.sort_by(|one, other| by_version(one, other)),
        None => eligible.sort_by(|one, other| by_preference(one, other)),
    }
    let chosen = eligible.first().copied();

    let mut warnings = Vec::new();
    if let (None, Some(chosen)) = (range, chosen) {
        warnings.extend(unavailable_default(candidates, wanted, chosen));
        if chosen.version.is_prerelease() {
            warnings.push(Warning::Prerelease { version: chosen.version.clone() });
        }
    }

    let mut judged: Vec<Judged> = eligible
        .into_iter()
        .map(|candidate| {
            let reason = match chosen {
                Some(chosen) if !std::ptr::eq(chosen, candidate) => {
                    yields_to(chosen, candidate, range.is_none())
                }
                _ => Reason::Selected,
            };
            Judged { candidate: candidate.clone(), reason }
        })
        .collect();
    judged.append(&mut rejected);
    Selection { judged, warnings }
}

/// What keeps a candidate from being chosen whatever the others are. What can't be mended on this machine
/// comes first: a version out of range stays so when the installation is repaired.
fn obstacle(candidate: &Candidate, wanted: Wanted<'_>, range: Option<&Range>) -> Option<Reason> {
    let outside = range.and_then(|range| match range.judge(&candidate.version.semver) {
        Judgement::Matches => None,
        Judgement::Below => Some(Reason::Below),
        Judgement::Above => Some(Reason::Above),
        Judgement::NotCovered => Some(Reason::NotCovered),
        Judgement::Excluded => Some(Reason::Excluded),
        Judgement::PrereleaseNotAsked => Some(Reason::PrereleaseNotAsked),
    });
    outside.or_else(|| variant_obstacle(candidate, wanted)).or_else(|| {
        candidate.unavailable.as_ref().map(|failure| Reason::Unavailable { failure: failure.clone() })
    })
}

fn variant_obstacle(candidate: &Candidate, wanted: Wanted<'_>) -> Option<Reason> {
    let found = candidate.version.variant.as_deref();
    let of_range = wanted.range.and_then(Range::variant);
    // If the range and the action ask for different ones, no candidate can be both.
    let differs = [wanted.variant, of_range].into_iter().flatten().find(|variant| found != Some(variant));
    match (differs, found) {
        (Some(variant), _) => {
            Some(Reason::VariantDiffers { wanted: variant.to_owned(), found: found.map(str::to_owned) })
        }
        (None, Some(found)) if wanted.variant.or(of_range).is_none() => {
            Some(Reason::VariantNotAsked { variant: found.to_owned() })
        }
        (None, _) => None,
    }
}

/// Why an eligible candidate comes after the chosen one.
fn yields_to(chosen: &Candidate, candidate: &Candidate, prefers_default: bool) -> Reason {
    if prefers_default {
        match chosen.declared.as_ref().filter(|declared| declared.is_default) {
            Some(declared) if !candidate.is_default() => {
                return Reason::NotDefault { default: declared.version.clone() };
            }
            _ if candidate.version.is_prerelease() && !chosen.version.is_prerelease() => {
                return Reason::PrereleaseNotAsked;
            }
            _ => {}
        }
    }
    if candidate.version.semver == chosen.version.semver {
        Reason::LaterSource { chosen: chosen.path.clone() }
    } else {
        Reason::LowerPrecedence { higher: chosen.version.clone() }
    }
}

/// The warning that the default version is declared and installed, but can't be used.
fn unavailable_default(candidates: &[Candidate], wanted: Wanted<'_>, chosen: &Candidate) -> Option<Warning> {
    let best = candidates
        .iter()
        .filter(|candidate| candidate.is_default() && variant_obstacle(candidate, wanted).is_none())
        .min_by(|one, other| by_version(one, other))?;
    let declared = best.declared.as_ref()?;
    let failure = best.unavailable.as_ref()?;
    (!chosen.is_default())
        .then(|| Warning::DefaultUnavailable { default: declared.version.clone(), failure: failure.clone() })
}

/// The default before others, releases before prereleases, then as [`by_version`].
fn by_preference(one: &Candidate, other: &Candidate) -> Ordering {
    let rank = |candidate: &Candidate| (!candidate.is_default(), candidate.version.is_prerelease());
    rank(one).cmp(&rank(other)).then_with(|| by_version(one, other))
}

/// The highest first; among equals by source, then by path. The rest only makes the order total.
fn by_version(one: &Candidate, other: &Candidate) -> Ordering {
    let rest = |candidate: &Candidate| {
        let declared = candidate.declared.as_ref().map(|declared| declared.version.clone());
        let failure = candidate.unavailable.as_ref().map(ToString::to_string);
        (failure, !candidate.is_default(), declared)
    };
    other
        .version
        .semver
        .cmp(&one.version.semver)
        .then_with(|| one.source_rank.cmp(&other.source_rank))
        .then_with(|| one.path.cmp(&other.path))
        .then_with(|| one.version.cmp(&other.version))
        .then_with(|| rest(one).cmp(&rest(other)))
}
