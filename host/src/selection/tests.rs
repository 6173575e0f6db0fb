use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::installation::{Failure, FailureClass};
use crate::version::constraint::Constraint;

fn range(text: &str) -> Range {
    Constraint::parse(text)
        .unwrap_or_else(|error| panic!("{}", error.rendered()))
        .resolve(&[])
        .expect("a range")
}

fn candidate(text: &str) -> Candidate {
    text.parse().unwrap_or_else(|invalid| panic!("{invalid}"))
}

fn candidates(texts: &str) -> Vec<Candidate> {
    texts.split(' ').map(candidate).collect()
}

/// `constraint` is None for an absent one. What is expected is each candidate with the name of its reason, in
/// order, and then the warnings' names.
#[track_caller]
fn check(constraint: Option<&str>, texts: &str, expected: &[(&str, &str)], warnings: &[&str]) {
    let range = constraint.map(range);
    let selection = select(&candidates(texts), Wanted { range: range.as_ref(), variant: None });
    let judged: Vec<(String, &str)> = selection
        .judged
        .iter()
        .map(|judged| (judged.candidate.version.to_string(), judged.reason.name()))
        .collect();
    let judged: Vec<(&str, &str)> =
        judged.iter().map(|(version, reason)| (version.as_str(), *reason)).collect();
    assert_eq!(judged, expected, "{constraint:?} of {texts}");
    let found: Vec<&str> = selection.warnings.iter().map(Warning::name).collect();
    assert_eq!(found, warnings, "{constraint:?} of {texts}");
}

#[test]
fn nothing_asked() {
    for constraint in [None, Some(""), Some("  ")] {
        check(
            constraint,
            "3.13.1 3.12.1=default 3.12.9=default 3.15.0-rc.1 3.13.0+freethreaded",
            &[
                ("3.12.9", "selected"),
                ("3.12.1", "lower_precedence"),
                ("3.13.1", "not_default"),
                ("3.15.0-rc.1", "not_default"),
                ("3.13.0+freethreaded", "variant_not_asked"),
            ],
            &[],
        );
    }
}

#[test]
fn nothing_asked_without_default() {
    check(
        None,
        "3.15.0-rc.1 3.12.9 3.14.0",
        &[("3.14.0", "selected"), ("3.12.9", "lower_precedence"), ("3.15.0-rc.1", "prerelease_not_asked")],
        &[],
    );
    check(
        None,
        "3.15.0-rc.1 3.15.0-rc.10",
        &[("3.15.0-rc.10", "selected"), ("3.15.0-rc.1", "lower_precedence")],
        &["prerelease"],
    );
    check(
        None,
        "3.11.7=default,unavailable 3.12.1 3.13.0=unavailable",
        &[("3.12.1", "selected"), ("3.13.0", "unavailable"), ("3.11.7", "unavailable")],
        &["default_unavailable"],
    );
    check(
        None,
        "3.15.0-rc.1=default 3.14.0",
        &[("3.15.0-rc.1", "selected"), ("3.14.0", "not_default")],
        &["prerelease"],
    );
    check(
        None,
        "3.15.0-rc.2=default 3.15.0-beta.1=default 3.14.1=default",
        &[
            ("3.14.1", "selected"),
            ("3.15.0-rc.2", "prerelease_not_asked"),
            ("3.15.0-beta.1", "prerelease_not_asked"),
        ],
        &[],
    );
}

#[test]
fn highest_match() {
    check(
        Some(">=3.12,<4.0"),
        "3.11.7=default 3.12.1 3.14.0=unavailable 4.0.0 3.13.2 3.14.0-rc.1",
        &[
            ("3.13.2", "selected"),
            ("3.12.1", "lower_precedence"),
            ("4.0.0", "above"),
            ("3.14.0", "unavailable"),
            ("3.14.0-rc.1", "prerelease_not_asked"),
            ("3.11.7", "below"),
        ],
        &[],
    );
    check(Some("*"), "3.11.7=default 3.12.1", &[("3.12.1", "selected"), ("3.11.7", "lower_precedence")], &[]);
    check(
        Some(">=3.14.0-rc.1"),
        "3.14.0-rc.2 3.14.0-rc.10 3.13.0",
        &[("3.14.0-rc.10", "selected"), ("3.14.0-rc.2", "lower_precedence"), ("3.13.0", "below")],
        &[],
    );
    check(
        Some("17"),
        "17.0.9+9 17.0.9+11",
        &[("17.0.9+11", "selected"), ("17.0.9+9", "lower_precedence")],
        &[],
    );
}

#[test]
fn no_match() {
    check(
        Some("3.9 || >=3.12, !=3.12.1, <4 "),
        "3.8.0 3.10.0 3.12.1 4.0.0 3.12.2=unavailable 3.12.0+debug",
        &[
            ("4.0.0", "above"),
            ("3.12.2", "unavailable"),
            ("3.12.1", "excluded"),
            ("3.12.0+debug", "variant_not_asked"),
            ("3.10.0", "not_covered"),
            ("3.8.0", "below"),
        ],
        &[],
    );
    let range = range(">=99");
    let wanted = Wanted { range: Some(&range), variant: None };
    let none = select(&candidates("3.12.1 3.13=unavailable"), wanted).into_chosen().expect_err("no match");
    assert_eq!(
        none.to_string(),
        "no installation matches (3.13.0: below the range; 3.12.1: below the range)"
    );
    let none = select(&[], wanted).into_chosen().expect_err("no match");
    assert_eq!(none.to_string(), "there is nothing to select from");
}

#[test]
fn variants() {
    let texts = "3.13.1 3.13.0+freethreaded 3.12.0+freethreaded 3.14.0+debug";
    for (text, variant, chosen, reasons) in [
        ("3.13+freethreaded", None, Some("3.13.0+freethreaded"), "selected above variant_differs below"),
        ("3.13", Some("freethreaded"), Some("3.13.0+freethreaded"), "selected above variant_differs below"),
        (
            "",
            Some("freethreaded"),
            Some("3.13.0+freethreaded"),
            "selected lower_precedence variant_differs variant_differs",
        ),
        ("3", None, Some("3.13.1"), "selected variant_not_asked variant_not_asked variant_not_asked"),
        (
            "3+debug",
            Some("freethreaded"),
            None,
            "variant_differs variant_differs variant_differs variant_differs",
        ),
    ] {
        let range = range(text);
        let selection = select(&candidates(texts), Wanted { range: Some(&range), variant });
        assert_eq!(selection.chosen().map(|chosen| chosen.version.to_string()).as_deref(), chosen, "{text}");
        let names: Vec<&str> = selection.judged.iter().map(|judged| judged.reason.name()).collect();
        assert_eq!(names.join(" "), reasons, "{text}");
    }
}

#[test]
fn equal_versions() {
    let installed =
        |path: &str, source_rank| Candidate { path: PathBuf::from(path), source_rank, ..candidate("3.12.1") };
    let range = range("3.12");
    let all = [installed("/b", 1), installed("/c", 0), installed("/a", 1)];
    let selection = select(&all, Wanted { range: Some(&range), variant: None });
    let order: Vec<_> = selection
        .judged
        .iter()
        .map(|judged| (judged.candidate.path.to_str(), judged.reason.to_string()))
        .collect();
    let later = "the same version as /c, which comes first".to_owned();
    assert_eq!(
        order,
        [(Some("/c"), "selected".to_owned()), (Some("/a"), later.clone()), (Some("/b"), later)]
    );
}

#[test]
fn the_order_is_total() {
    // All alike but for one property each.
    let plain = candidate("3.12.1");
    let mut native = plain.clone();
    native.version.native = "3.12.1+".to_owned();
    let variants = candidates("3.12.1+debug 3.12.1=default 3.12.1=unavailable");
    let declared = Candidate {
        declared: Some(Declared { version: "3.12".to_owned(), is_default: false }),
        ..plain.clone()
    };
    let all: Vec<Candidate> = [plain, native, declared].into_iter().chain(variants).collect();
    for one in &all {
        for other in &all {
            let forth = select(&[one.clone(), other.clone()], Wanted::default());
            let back = select(&[other.clone(), one.clone()], Wanted::default());
            assert_eq!(forth, back);
        }
    }
}

#[test]
fn candidate_texts() {
    let read = candidate("v3.11=default, unavailable");
    assert_eq!(read.version.to_string(), "3.11.0");
    assert!(read.is_default() && read.unavailable.is_some());
    for (text, message, hint) in [
        (
            "=default",
            "`=default` does not begin with a version: there is no version",
            "write one, such as `3.12`",
        ),
        (
            "3.x",
            "`3.x` does not begin with a version: `3.x` has a wildcard where one exact version is expected",
            "write `3`",
        ),
        (
            "3.12=",
            "`` in `3.12=` is not a flag of candidates",
            "flags are `default` and `unavailable`, joined by commas: `3.12.1=default,unavailable`",
        ),
        (
            "3.12=defualt",
            "`defualt` in `3.12=defualt` is not a flag of candidates",
            "flags are `default` and `unavailable`, joined by commas: `3.12.1=default,unavailable`",
        ),
        ("3.12=default,default", "`3.12=default,default` says `default` twice", "write `default` once"),
        (
            "3.12=unavailable,unavailable",
            "`3.12=unavailable,unavailable` says `unavailable` twice",
            "write `unavailable` once",
        ),
    ] {
        let invalid = text.parse::<Candidate>().expect_err(text);
        assert_eq!((invalid.to_string().as_str(), invalid.hint().as_str()), (message, hint));
    }
}

#[test]
fn json() {
    let range = range(">=3.12");
    let selection =
        select(&candidates("3.12.1 3.14=unavailable"), Wanted { range: Some(&range), variant: None });
    insta::assert_snapshot!(serde_json::to_string_pretty(&SelectionView::from(&selection)).expect("JSON"), @r#"
    {
      "selected": {
        "version": "3.12.1",
        "native": "3.12.1",
        "variant": null,
        "path": null,
        "declared": null
      },
      "candidates": [
        {
          "version": "3.12.1",
          "native": "3.12.1",
          "variant": null,
          "path": null,
          "declared": null,
          "chosen": true,
          "reason": "selected",
          "message": "selected",
          "failure": null
        },
        {
          "version": "3.14.0",
          "native": "3.14",
          "variant": null,
          "path": null,
          "declared": null,
          "chosen": false,
          "reason": "unavailable",
          "message": "unavailable: given as unavailable",
          "failure": {
            "class": "unavailable",
            "message": "given as unavailable"
          }
        }
      ],
      "warnings": []
    }
    "#);
    let none = select(&[], Wanted { range: Some(&range), variant: None });
    assert_eq!(
        serde_json::to_string(&SelectionView::from(&none)).expect("JSON"),
        r#"{"selected":null,"candidates":[],"warnings":[]}"#
    );
}

#[test]
fn tables() {
    let range = range(">=3.12,<3.15");
    let all =
        candidates("3.9.2 3.12.1=default 3.14.0=unavailable 3.13.1+freethreaded 3.13.0 3.12.9 3.15.0-rc.1");
    insta::assert_snapshot!(table(&select(&all, Wanted { range: Some(&range), variant: None })), @r"
       VERSION              SERIES   REASON
    *  3.13.0                        selected
       3.12.9                        3.13.0 is higher
       3.12.1               default  3.13.0 is higher
       3.15.0-rc.1                   above the range
       3.14.0                        unavailable: given as unavailable
       3.13.1+freethreaded           the variant freethreaded was not asked for
       3.9.2                         below the range
    ");
    let installed = Candidate { path: PathBuf::from("/opt/\u{1b}[2J/interpreter"), ..candidate("3.9.2") };
    insta::assert_snapshot!(table(&select(&[installed], Wanted::default())), @r"
       VERSION  PATH                      REASON
    *  3.9.2    /opt/\x1b[2J/interpreter  selected
    ");
    let declared = Declared { version: "3.9".to_owned(), is_default: true };
    let covered = Candidate { declared: Some(declared), ..candidate("3.9.2") };
    insta::assert_snapshot!(table(&select(&[covered], Wanted::default())), @r"
       VERSION  SERIES         REASON
    *  3.9.2    3.9 (default)  selected
    ");
    assert_eq!(table(&select(&[], Wanted::default())), "   VERSION  REASON\n");
    let failure =
        Failure::new(FailureClass::MissingCapability("isolation".to_owned()), "it has no environments");
    let broken = Candidate { unavailable: Some(failure), ..candidate("3.9.2") };
    insta::assert_snapshot!(table(&select(&[broken], Wanted::default())), @r"
       VERSION  REASON
       3.9.2    missing_capability(isolation): it has no environments
    ");
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let pre = prop::sample::select(vec!["", "", "", "-rc.1", "-rc.2"]);
    let suffix = prop::sample::select(vec!["", "", "", "+7", "+freethreaded"]);
    let flags = prop::sample::select(vec!["", "", "", "=default", "=unavailable", "=default,unavailable"]);
    let path = prop::sample::select(vec!["/a", "/b", "/c"]);
    let native = prop::sample::select(vec!["one", "other"]);
    let version = (0..3u64, 0..3u64, 0..3u64);
    (version, pre, suffix, flags, (path, native, 0..3u32)).prop_map(
        |((major, minor, patch), pre, suffix, flags, (path, native, source_rank))| {
            let mut candidate = candidate(&format!("{major}.{minor}.{patch}{pre}{suffix}{flags}"));
            candidate.version.native = native.to_owned();
            Candidate { path: PathBuf::from(path), source_rank, ..candidate }
        },
    )
}

fn any_range() -> impl Strategy<Value = Option<Range>> {
    let texts = vec![
        "",
        "*",
        "1",
        "1.1",
        "~1.1.1",
        "^0.1",
        ">=1",
        "<=1.1",
        "!=1.1",
        "!=1.1.1, >0",
        "0.1 || 1.2",
        "0 - 1.1",
        ">=1.1.1-rc.1",
        "=2.0.0-rc.2",
        "1+freethreaded",
        ">2 <1",
    ];
    prop::option::of(prop::sample::select(texts).prop_map(range))
}

proptest! {
    #[test]
    fn order_does_not_matter(
        (all, shuffled) in prop::collection::vec(any_candidate(), 0..12)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        range in any_range(),
    ) {
        let wanted = Wanted { range: range.as_ref(), variant: None };
        prop_assert_eq!(select(&all, wanted), select(&shuffled, wanted));
    }

    #[test]
    fn every_candidate_is_judged_once(all in prop::collection::vec(any_candidate(), 0..12), range in any_range()) {
        let selection = select(&all, Wanted { range: range.as_ref(), variant: None });
        let mut left = all;
        for judged in &selection.judged {
            let position = left.iter().position(|candidate| *candidate == judged.candidate);
            left.swap_remove(position.expect("a candidate that was given"));
        }
        prop_assert!(left.is_empty());
        let selected = selection.judged.iter().filter(|judged| judged.reason == Reason::Selected).count();
        prop_assert_eq!(selected, usize::from(selection.chosen().is_some()));
    }

    #[test]
    fn the_choice_is_the_best_that_matches(
        all in prop::collection::vec(any_candidate(), 0..12),
        range in any_range(),
    ) {
        let wanted_variant = range.as_ref().and_then(Range::variant);
        let usable: Vec<&Candidate> = all
            .iter()
            .filter(|candidate| candidate.unavailable.is_none())
            .filter(|candidate| candidate.version.variant.as_deref() == wanted_variant)
            .collect();
        let selection = select(&all, Wanted { range: range.as_ref(), variant: None });
        let chosen = selection.chosen();
        let highest = |eligible: &dyn Fn(&Candidate) -> bool| {
            usable.iter().filter(|candidate| eligible(candidate)).map(|candidate| &candidate.version.semver).max()
        };
        let expected = match range.as_ref().filter(|range| !range.prefers_default()) {
            Some(range) => highest(&|candidate| range.matches(&candidate.version.semver)),
            None => highest(&|candidate| candidate.is_default() && !candidate.version.is_prerelease())
                .or_else(|| highest(&Candidate::is_default))
                .or_else(|| highest(&|candidate| !candidate.version.is_prerelease()))
                .or_else(|| highest(&|_| true)),
        };
        prop_assert_eq!(chosen.map(|chosen| &chosen.version.semver), expected);
        if let Some(chosen) = chosen {
            prop_assert!(usable.contains(&chosen));
            let first_source = usable
                .iter()
                .filter(|candidate| candidate.version.semver == chosen.version.semver)
                .filter(|candidate| range.as_ref().is_some_and(|range| !range.prefers_default()) || candidate.is_default() == chosen.is_default())
                .map(|candidate| (candidate.source_rank, &candidate.path))
                .min();
            prop_assert_eq!(first_source, Some((chosen.source_rank, &chosen.path)));
        }
    }

    #[test]
    fn reasons_say_the_truth(all in prop::collection::vec(any_candidate(), 0..12), range in any_range()) {
        let selection = select(&all, Wanted { range: range.as_ref(), variant: None });
        for Judged { candidate, reason } in &selection.judged {
            match reason {
                Reason::LowerPrecedence { higher } => {
                    prop_assert!(higher.semver > candidate.version.semver);
                }
                Reason::LaterSource { chosen } => {
                    let selected = selection.chosen().expect("a choice");
                    prop_assert_eq!(chosen, &selected.path);
                    prop_assert_eq!(&selected.version.semver, &candidate.version.semver);
                }
                Reason::NotDefault { .. } => prop_assert!(!candidate.is_default()),
                Reason::PrereleaseNotAsked => prop_assert!(candidate.version.is_prerelease()),
                Reason::VariantNotAsked { .. } => prop_assert!(candidate.version.variant.is_some()),
                Reason::Unavailable { .. } => prop_assert!(candidate.unavailable.is_some()),
                Reason::Selected | Reason::VariantDiffers { .. } => {}
                Reason::Below | Reason::Above | Reason::NotCovered | Reason::Excluded => {
                    prop_assert!(!range.as_ref().expect("a range").matches(&candidate.version.semver));
                }
            }
        }
    }
}
