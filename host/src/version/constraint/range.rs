//! The versions that a constraint covers, and why one is not among them.

use std::cmp::Ordering;

use semver::{Comparator, Op, Version, VersionReq};

use crate::version::series::Series;

/// Alternatives, of which a version has to satisfy one. What was asked is a
/// [`Constraint`](super::Constraint); this is what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    alternatives: Vec<Alternative>,
    prefers_default: bool,
    variant: Option<String>,
}

/// How a version stands to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// Covered.
    Matches,
    /// Lower than everything that is covered.
    Below,
    /// Higher than everything that is covered.
    Above,
    /// In a gap of the range.
    NotCovered,
    /// Left out by name: `!=3.12.1`.
    Excluded,
    /// A prerelease of a release that nothing names a prerelease of.
    PrereleaseNotAsked,
}

impl Range {
    /// What an absent or empty constraint means.
    pub(super) fn unconstrained() -> Self {
        Self { alternatives: vec![Alternative::default()], prefers_default: true, variant: None }
    }

    pub(super) fn new(mut alternatives: Vec<Alternative>, variant: Option<String>) -> Self {
        // `*` stands for the whole range when it is one of the alternatives, even if another one asks for
        // a prerelease: an oddity of the grammar that this one has to agree with (see the tests).
        if let Some(any) = alternatives.iter().position(Alternative::is_any) {
            alternatives = vec![alternatives.swap_remove(any)];
        }
        Self { alternatives, prefers_default: false, variant }
    }

    /// Whether nothing was asked, so that the default version comes before the highest one.
    #[must_use]
    pub fn prefers_default(&self) -> bool {
        self.prefers_default
    }

    /// The build variant that is asked for.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether `version` is covered. Build metadata does not matter.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(version))
    }

    /// Whether the bounds of every alternative leave no room for any version, as those of `>=3.12,<3.10`.
    #[must_use]
    pub fn is_contradictory(&self) -> bool {
        self.alternatives.iter().all(Alternative::is_contradictory)
    }

    /// Whether `version` is covered, and if not, why.
    #[must_use]
    pub fn judge(&self, version: &Version) -> Judgement {
        let judged = self.alternatives.iter().map(|alternative| alternative.judge(version));
        judged.reduce(nearer).unwrap_or(Judgement::NotCovered)
    }
}

/// Of two alternatives' judgements, the one that says more about the range as a whole.
fn nearer(one: Judgement, other: Judgement) -> Judgement {
    let closeness = |judgement| match judgement {
        Judgement::Matches => 3,
        Judgement::Excluded => 2,
        Judgement::PrereleaseNotAsked => 1,
        Judgement::Below | Judgement::Above | Judgement::NotCovered => 0,
    };
    match closeness(one).cmp(&closeness(other)) {
        Ordering::Greater => one,
        Ordering::Less => other,
        Ordering::Equal if one == other => one,
        Ordering::Equal => Judgement::NotCovered,
    }
}

/// What has to hold all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Alternative {
    required: VersionReq,
    exclusions: Vec<Series>,
}

impl Alternative {
    pub(super) fn require(&mut self, comparators: Vec<Comparator>) {
        self.required.comparators.extend(comparators);
    }

    pub(super) fn exclude(&mut self, series: Series) {
        self.exclusions.push(series);
    }

    fn is_any(&self) -> bool {
        self.required.comparators.is_empty() && self.exclusions.is_empty()
    }

    /// Whether one bound from below lies above one from above.
    fn is_contradictory(&self) -> bool {
        let comparators = &self.required.comparators;
        let is_lower = |comparator: &&Comparator| !matches!(comparator.op, Op::Less | Op::LessEq);
        let is_upper = |comparator: &&Comparator| !matches!(comparator.op, Op::Greater | Op::GreaterEq);
        comparators.iter().filter(is_lower).any(|lower| {
            comparators.iter().filter(is_upper).any(|upper| {
                match bound(lower).cmp_precedence(&bound(upper)) {
                    Ordering::Less => false,
                    Ordering::Equal => lower.op == Op::Greater || upper.op == Op::Less,
                    Ordering::Greater => true,
                }
            })
        })
    }

    fn excludes(&self, version: &Version) -> bool {
        self.exclusions.iter().any(|series| series.covers(version))
    }

    fn matches(&self, version: &Version) -> bool {
        self.required.matches(version) && !self.excludes(version)
    }

    fn judge(&self, version: &Version) -> Judgement {
        let place = self.place(version);
        if !version.pre.is_empty() && !self.names_a_prerelease_of(version) {
            // Whether the release would do decides what to tell: 3.14.0-rc.1 is strictly below `>=3.14`, but
            // what keeps it out is that it is a prerelease.
            let release = Version::new(version.major, version.minor, version.patch);
            let place_of_release = self.place(&release);
            return match (place, place_of_release) {
                _ if self.excludes(version) => Judgement::Excluded,
                (Judgement::Matches, _) | (_, Judgement::Matches) => Judgement::PrereleaseNotAsked,
                (_, elsewhere) => elsewhere,
            };
        }
        if place == Judgement::Matches && self.excludes(version) { Judgement::Excluded } else { place }
    }

    /// Where `version` lies by precedence alone.
    fn place(&self, version: &Version) -> Judgement {
        let mut below = false;
        let mut above = false;
        for comparator in &self.required.comparators {
            let ordering = version.cmp_precedence(&bound(comparator));
            match comparator.op {
                Op::Greater => below |= ordering.is_le(),
                Op::GreaterEq => below |= ordering.is_lt(),
                Op::Less => above |= ordering.is_ge(),
                Op::LessEq => above |= ordering.is_gt(),
                _ => {
                    below |= ordering.is_lt();
                    above |= ordering.is_gt();
                }
            }
        }
        match (below, above) {
            (false, false) => Judgement::Matches,
            (true, false) => Judgement::Below,
            (false, true) => Judgement::Above,
            (true, true) => Judgement::NotCovered,
        }
    }

    fn names_a_prerelease_of(&self, version: &Version) -> bool {
        self.required.comparators.iter().any(|comparator| {
            let bound = bound(comparator);
            !bound.pre.is_empty()
                && (bound.major, bound.minor, bound.patch) == (version.major, version.minor, version.patch)
        })
    }
}

/// The version that a comparator, all of whose parts are given, compares with.
fn bound(comparator: &Comparator) -> Version {
    Version {
        pre: comparator.pre.clone(),
        ..Version::new(
            comparator.major,
            comparator.minor.unwrap_or_default(),
            comparator.patch.unwrap_or_default(),
        )
    }
}
