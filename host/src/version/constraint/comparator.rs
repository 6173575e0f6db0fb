//! What operators mean, in comparators of complete versions.
//!
//! The `semver` crate gives a meaning to comparators of partial versions too, but compares their
//! prerelease as if it were given: `>=3.12, >=3.12.5-rc.0` would not match 3.12.5-rc.1. Complete
//! bounds leave no room for that.

use semver::{Comparator, Op, Prerelease};

use crate::version::series::Series;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

pub(super) fn tilde(series: &Series) -> Vec<Comparator> {
    let end = match series.minor {
        None => semver::Version::new(series.major + 1, 0, 0),
        Some(minor) => semver::Version::new(series.major, minor + 1, 0),
    };
    between(series.floor(), end)
}

pub(super) fn caret(series: &Series) -> Vec<Comparator> {
    let end = match (series.major, series.minor, series.patch) {
        (0, Some(0), Some(patch)) => semver::Version::new(0, 0, patch + 1),
        (0, Some(minor), _) => semver::Version::new(0, minor + 1, 0),
        (major, _, _) => semver::Version::new(major + 1, 0, 0),
    };
    between(series.floor(), end)
}

pub(super) fn equal(series: &Series) -> Vec<Comparator> {
    if series.is_complete() {
        vec![comparator(Op::Exact, series.floor())]
    } else {
        between(series.floor(), series.ceiling())
    }
}

pub(super) fn greater(series: &Series) -> Vec<Comparator> {
    if series.is_complete() {
        vec![comparator(Op::Greater, series.floor())]
    } else {
        at_least(series.ceiling())
    }
}

pub(super) fn greater_equal(series: &Series) -> Vec<Comparator> {
    at_least(series.floor())
}

pub(super) fn less(series: &Series) -> Vec<Comparator> {
    if series.is_complete() {
        vec![comparator(Op::Less, series.floor())]
    } else {
        vec![before(series.floor())]
    }
}

pub(super) fn less_equal(series: &Series) -> Vec<Comparator> {
    if series.is_complete() {
        vec![comparator(Op::LessEq, series.floor())]
    } else {
        vec![before(series.ceiling())]
    }
}

fn between(start: semver::Version, end: semver::Version) -> Vec<Comparator> {
    let mut comparators = at_least(start);
    comparators.push(before(end));
    comparators
}

/// Nothing for 0.0.0, the lowest release, so that another comparator can ask for a prerelease of 0.0.0: the
/// grammar that this one agrees with (see the tests) leaves the bound out as well.
fn at_least(start: semver::Version) -> Vec<Comparator> {
    if start == semver::Version::new(0, 0, 0) { Vec::new() } else { vec![comparator(Op::GreaterEq, start)] }
}

/// Below `end` and its prereleases: `-0` is the lowest prerelease there is.
fn before(end: semver::Version) -> Comparator {
    // `0` is a prerelease, so there is always one.
    let lowest = Prerelease::new("0").unwrap_or_default();
    comparator(Op::Less, semver::Version { pre: lowest, ..end })
}

fn comparator(op: Op, bound: semver::Version) -> Comparator {
    Comparator { op, major: bound.major, minor: Some(bound.minor), patch: Some(bound.patch), pre: bound.pre }
}
