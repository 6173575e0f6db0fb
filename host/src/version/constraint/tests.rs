mod errors;

use proptest::prelude::*;

use super::*;

fn range(text: &str) -> Range {
    match Constraint::parse(text) {
        Ok(constraint) => constraint.resolve(&[]).expect("a range"),
        Err(error) => panic!("{text}\n{}", error.rendered()),
    }
}

fn version(text: &str) -> semver::Version {
    semver::Version::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Versions are separated by spaces.
#[track_caller]
fn check(constraint: &str, covered: &str, not_covered: &str) {
    let range = range(constraint);
    for text in covered.split(' ').filter(|text| !text.is_empty()) {
        assert!(range.matches(&version(text)), "`{constraint}` should cover {text}");
        assert_eq!(range.judge(&version(text)), Judgement::Matches, "`{constraint}` and {text}");
    }
    for text in not_covered.split(' ').filter(|text| !text.is_empty()) {
        assert!(!range.matches(&version(text)), "`{constraint}` should not cover {text}");
        assert_ne!(range.judge(&version(text)), Judgement::Matches, "`{constraint}` and {text}");
    }
}

#[test]
fn what_contradicts_itself() {
    for text in
        [">=3.12,<3.10", "3.11, 3.12", ">3.12.1,<=3.12.1", ">=4 <3 || ~3.11 >3.12", "=3.1.0,!=3,=3.2.0"]
    {
        assert!(range(text).is_contradictory(), "{text}");
    }
    for text in
        ["", "*", "<3.12", "3.12", "=3.12.1", ">=3.12.1,<=3.12.1", ">=4,<3 || 3.11", ">=3.12,<3.13", "!=3"]
    {
        assert!(!range(text).is_contradictory(), "{text}");
    }
}

#[test]
fn any() {
    for text in ["", "  ", "*", " * ", "*, *"] {
        check(text, "0.0.0 3.12.1 99.0.0 17.0.9+9", "3.14.0-rc.1");
        assert_eq!(range(text).prefers_default(), text.trim().is_empty(), "{text}");
    }
}

#[test]
fn bare_versions() {
    check("3.12", "3.12.0 3.12.9 3.12.1+7", "3.11.9 3.13.0 3.13.0-rc.1 3.12.0-rc.1 4.12.0");
    check("3.12.1", "3.12.1 3.12.9", "3.12.0 3.13.0");
    check("3", "3.0.0 3.99.0", "2.9.9 4.0.0 4.0.0-rc.1");
    check("18", "18.0.0 18.20.8", "17.9.9 19.0.0");
    check("0", "0.0.0 0.9.9", "1.0.0");
    for text in
        ["v3.12", "V3.12", " 3.12 ", "3.12.*", "3.12.x", "3.12.X", "=3.12", "==3.12", "== 3.12.*", "= v3.12"]
    {
        assert_eq!(range(text), range("3.12"), "{text}");
    }
    for text in ["3.x", "3.X", "3.*", "=3.x", "=3"] {
        assert_eq!(range(text), range("3"), "{text}");
    }
}

#[test]
fn operators() {
    check("~18.0", "18.0.0 18.0.9", "18.1.0 17.9.9");
    check("~18", "18.0.0 18.9.9", "19.0.0");
    check("~3.12.4", "3.12.4 3.12.9", "3.12.3 3.13.0");
    check("^3.10", "3.10.0 3.99.0", "3.9.9 4.0.0");
    check("^0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0");
    check("^0", "0.0.0 0.9.0", "1.0.0");
    check("^0.0", "0.0.0 0.0.9", "0.1.0");
    check("^0.0.3", "0.0.3", "0.0.2 0.0.4");
    check("=3.12.1", "3.12.1 3.12.1+7", "3.12.0 3.12.2 3.12.1-rc.1");
    check(">3.12", "3.13.0 4.0.0", "3.12.0 3.12.9 3.13.0-rc.1");
    check(">3.12.1", "3.12.2", "3.12.1 3.12.1+7");
    check(">3", "4.0.0", "3.99.0");
    check(">=3.12", "3.12.0 4.0.0", "3.11.9 3.14.0-rc.1");
    check("<=3.12", "3.12.0 3.12.9 2.0.0", "3.13.0 3.13.0-rc.1");
    check("<=3.12.1", "3.12.1", "3.12.2");
    check("<3.12", "3.11.9", "3.12.0 3.12.0-rc.1");
    check("<4", "3.99.0", "4.0.0 4.0.0-rc.1");
    check("!=3.12.1", "3.12.0 3.12.2", "3.12.1 3.12.1+7 3.14.0-rc.1");
    check("!=3.12", "3.11.0 3.13.0", "3.12.0 3.12.9");
    assert_eq!(range("!= 3.12.*"), range("!=3.12"));
}

#[test]
fn and_or() {
    for text in [">=3.12,<4.0", ">=3.12 <4.0", ">= 3.12 , < 4", ">=v3.12,<V4"] {
        check(text, "3.12.0 3.99.0", "3.11.9 4.0.0");
    }
    check(">=3.9, !=3.10, !=3.11.2", "3.9.0 3.11.1", "3.10.1 3.11.2 3.8.0");
    check("3.9 || >=3.12,<3.14||18", "3.9.1 3.12.0 3.13.9 18.1.0", "3.10.0 3.14.0 19.0.0");
    check(">4 <3", "", "2.0.0 3.5.0 5.0.0");
}

#[test]
fn hyphen_ranges() {
    check("3.9 - 3.11", "3.9.0 3.11.9", "3.8.9 3.12.0 3.12.0-rc.1");
    check("3.9.1 - 3.11.2", "3.9.1 3.11.2", "3.9.0 3.11.3");
    check("v3 - 4", "3.0.0 4.9.9", "5.0.0");
    check("3.9 - 3.11, !=3.10 || 3.14", "3.9.0 3.11.0 3.14.1", "3.10.0 3.12.0");
}

#[test]
fn prereleases() {
    check(
        ">=3.14.0-rc.1",
        "3.14.0-rc.1 3.14.0-rc.2 3.14.0-rc.10 3.14.0 3.15.0",
        "3.14.0-beta.1 3.14.1-rc.1 3.15.0-rc.1",
    );
    check("3.14.0-rc.2", "3.14.0-rc.2 3.14.0-rc.10 3.14.1", "3.14.0-rc.1 3.15.0");
    check("^3.14.0-rc.2", "3.14.0-rc.3 3.99.0", "3.15.0-rc.1 4.0.0-rc.1");
    check("=3.14.0-rc.1", "3.14.0-rc.1", "3.14.0 3.14.0-rc.2");
    check(">=3.14.0-rc.1, <3.14.0", "3.14.0-rc.1 3.14.0-rc.9", "3.14.0");
    check(">=3.12, >=3.12.5-rc.0", "3.12.5-rc.1", "3.12.4 3.12.6-rc.1");
    check(">=3.13 || 3.9.0-rc.1", "3.9.0-rc.2 3.13.0", "3.13.0-rc.1");
    check("!=3.14.0-rc.1", "3.14.0", "3.14.0-rc.1 3.14.0-rc.2");
    check(">=3.14.0-rc.1 !=3.14.0-rc.2", "3.14.0-rc.1 3.14.0-rc.3", "3.14.0-rc.2");
}

#[test]
fn variants() {
    for (text, variant) in [
        ("3.13", None),
        ("3.13+freethreaded", Some("freethreaded")),
        (">=3.13+freethreaded, <3.15", Some("freethreaded")),
        (">=3.13+freethreaded, <3.15+freethreaded", Some("freethreaded")),
        ("3.13+pypy || 3.11+pypy", Some("pypy")),
        ("3.13.*+debug", Some("debug")),
        ("*+debug", Some("debug")),
        ("lts", None),
    ] {
        let constraint = Constraint::parse(text).unwrap_or_else(|error| panic!("{}", error.rendered()));
        assert_eq!(constraint.variant(), variant, "{text}");
    }
    check("3.13+freethreaded", "3.13.0", "3.14.0");
}

#[test]
fn judgements() {
    use Judgement::{Above, Below, Excluded, NotCovered, PrereleaseNotAsked};
    for (constraint, text, judgement) in [
        (">=3.12,<4.0", "3.11.9", Below),
        (">=3.12,<4.0", "4.0.0", Above),
        ("=3.12.1", "3.12.2", Above),
        ("=3.12.1", "3.12.0", Below),
        ("3.9 || 3.12", "3.8.0", Below),
        ("3.9 || 3.12", "3.10.0", NotCovered),
        ("3.9 || 3.12", "3.13.0", Above),
        (">4 <3", "3.5.0", NotCovered),
        (">=3.12 !=3.12.1", "3.12.1", Excluded),
        (">=3.12 !=3.11", "3.11.1", Below),
        ("<3.9 || >=3.12 !=3.13", "3.13.1", Excluded),
        (">=3.14", "3.14.0-rc.1", PrereleaseNotAsked),
        (">=3.12", "3.14.0-rc.1", PrereleaseNotAsked),
        ("*", "3.14.0-rc.1", PrereleaseNotAsked),
        ("<3.14.0", "3.14.0-rc.1", PrereleaseNotAsked),
        ("<3.14", "3.14.0-rc.1", Above),
        (">=3.15", "3.14.0-rc.1", Below),
        (">=3.14.0-rc.2", "3.14.0-rc.1", Below),
        (">=3.12 !=3.14", "3.14.0-rc.1", Excluded),
    ] {
        assert_eq!(range(constraint).judge(&version(text)), judgement, "`{constraint}` and {text}");
    }
}

#[test]
fn aliases() {
    let aliases =
        [("lts", "20"), ("lts/iron", "20"), ("lts/jod", ">=22,<23"), ("odd", "lts"), ("bad", "=>3")]
            .map(|(name, constraint)| (name.to_owned(), constraint.to_owned()));
    let resolve = |text: &str| Constraint::parse(text).expect("an alias").resolve(&aliases);

    assert_eq!(resolve("lts"), Ok(range("20")));
    assert_eq!(resolve(" lts/jod "), Ok(range(">=22,<23")));
    assert_eq!(Constraint::parse(" lts/jod ").expect("an alias").alias(), Some("lts/jod"));

    let unknown = resolve("lts/irn").expect_err("unknown");
    assert_eq!(unknown.to_string(), "`lts/irn` stands for no version of this runtime");
    assert_eq!(
        unknown.hint().as_deref(),
        Some("did you mean `lts/iron`? known aliases: lts, lts/iron, lts/jod, odd, bad")
    );
    let unknown = resolve("zz").expect_err("unknown");
    assert_eq!(unknown.hint().as_deref(), Some("known aliases: lts, lts/iron, lts/jod, odd, bad"));
    let without = Constraint::parse("latest").expect("an alias").resolve(&[]).expect_err("unknown");
    assert_eq!(
        without.to_string(),
        "`latest` is neither a version nor an alias, this runtime has no aliases"
    );
    assert_eq!(
        resolve("odd").expect_err("a chain").to_string(),
        "the runtime resolves `odd` to `lts`, but `lts` is an alias itself"
    );
    assert_eq!(
        resolve("bad").expect_err("no range").to_string(),
        "the runtime resolves `bad` to `=>3`, but `=>` is not an operator"
    );
}

#[test]
fn text_is_kept() {
    let constraint: Constraint = serde_json::from_str(r#"" >= 3.12 , < 4""#).expect("a constraint");
    assert_eq!(constraint.to_string(), " >= 3.12 , < 4");
    assert_eq!(serde_json::to_string(&constraint).expect("JSON"), r#"" >= 3.12 , < 4""#);
    assert!(serde_json::from_str::<Constraint>(r#""=>3""#).is_err());
}

fn any_version() -> impl Strategy<Value = semver::Version> {
    let pre = prop::sample::select(vec!["", "", "", "0", "alpha", "rc.1", "rc.2", "rc.10"]);
    (0..4u64, 0..4u64, 0..4u64, pre).prop_map(|(major, minor, patch, pre)| semver::Version {
        pre: semver::Prerelease::new(pre).expect("a prerelease"),
        ..semver::Version::new(major, minor, patch)
    })
}

/// Texts that are often constraints.
fn likely_constraint() -> impl Strategy<Value = String> {
    let operator = "(|=|==|!=|>|>=|<|<=|~|\\^)";
    let term = format!("{operator} ?[0-3](\\.[0-3](\\.[0-3](-rc\\.[0-3])?|\\.x)?)?");
    proptest::string::string_regex(&format!("{term}((, ?| | \\|\\| | - ){term}){{0,3}}")).expect("a pattern")
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC{0,40}", version in any_version()) {
        match Constraint::parse(&text) {
            Ok(constraint) => { constraint.resolve(&[]).map(|range| range.matches(&version)).ok(); }
            Err(error) => { prop_assert!(error.rendered().contains(&error.message)); }
        }
    }

    #[test]
    fn nothing_panics_near_the_grammar(text in "[-0-9.x*<>=!~^|&, v+a-]{0,24}") {
        if let Err(error) = Constraint::parse(&text) {
            prop_assert!(error.span.end <= text.len());
            prop_assert!(error.column() <= text.chars().count() + 1);
            prop_assert!(error.hint.is_some(), "{}", error.rendered());
        }
    }

    #[test]
    fn judging_agrees_with_matching(text in likely_constraint(), version in any_version()) {
        if let Ok(constraint) = Constraint::parse(&text) {
            let range = constraint.resolve(&[]).expect("a range");
            prop_assert_eq!(range.judge(&version) == Judgement::Matches, range.matches(&version));
            prop_assert!(!(range.is_contradictory() && range.matches(&version)));
        }
    }

    #[test]
    fn build_metadata_never_matters(text in likely_constraint(), version in any_version()) {
        if let Ok(constraint) = Constraint::parse(&text) {
            let range = constraint.resolve(&[]).expect("a range");
            let mut built = version.clone();
            built.build = semver::BuildMetadata::new("9").expect("build metadata");
            prop_assert_eq!(range.judge(&built), range.judge(&version));
        }
    }
}
