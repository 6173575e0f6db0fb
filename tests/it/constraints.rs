//! On everything that both grammars accept, the answers are those of npm's `semver` package.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use attune::version::constraint::Constraint;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};

const CASES: usize = 1500;

const SCRIPT: &str = r"
const semver = require(process.argv[1]);
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(cases.map(({ theirs, versions }) => ({
  valid: semver.validRange(theirs) !== null,
  satisfied: versions.map((version) => semver.satisfies(version, theirs)),
  highest: semver.maxSatisfying(versions, theirs),
}))));
";

/// The same constraint in both grammars.
#[derive(Clone, Debug, Serialize)]
struct Case {
    ours: String,
    theirs: String,
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    valid: bool,
    satisfied: Vec<bool>,
    highest: Option<String>,
}

type Pair = (String, String);

fn operand() -> impl Strategy<Value = String> {
    let number = || (0..4u64).prop_map(|number| number.to_string());
    let pre = proptest::sample::select(vec!["-rc.1", "-rc.2", "-alpha", "-0"]);
    (proptest::sample::select(vec!["", "", "v"]), proptest::collection::vec(number(), 1..=3), pre, 0..3u8)
        .prop_map(|(v, numbers, pre, chance)| {
            let pre = if numbers.len() == 3 && chance == 0 { pre } else { "" };
            format!("{v}{}{pre}", numbers.join("."))
        })
}

fn term() -> impl Strategy<Value = Pair> {
    let operators = vec!["", "", "=", "==", ">", ">=", "<", "<=", "~", "^", ">= ", "~ "];
    let compared = (proptest::sample::select(operators), operand()).prop_map(|(operator, operand)| {
        let theirs = match operator {
            "" => "~",
            "==" => "=",
            other => other,
        };
        (format!("{operator}{operand}"), format!("{theirs}{operand}"))
    });
    let open = proptest::sample::select(vec!["*", "0.x", "1.*", "2.1.X", "=3.x", "0.0.*"]);
    proptest::prop_oneof![9 => compared, 1 => open.prop_map(|text| (text.to_owned(), text.to_owned()))]
}

fn alternative() -> impl Strategy<Value = Pair> {
    let separator = proptest::sample::select(vec![",", " ", ", ", " , "]);
    let terms = (proptest::collection::vec(term(), 1..4), separator).prop_map(|(terms, separator)| {
        let (ours, theirs): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
        (ours.join(separator), theirs.join(" "))
    });
    let hyphen = (operand(), operand()).prop_map(|(low, high)| format!("{low} - {high}"));
    proptest::prop_oneof![4 => terms, 1 => hyphen.prop_map(|text| (text.clone(), text))]
}

fn version() -> impl Strategy<Value = String> {
    let pre = proptest::sample::select(vec!["", "", "", "-0", "-alpha", "-rc.1", "-rc.2", "-rc.10"]);
    (0..4u64, 0..4u64, 0..4u64, pre)
        .prop_map(|(major, minor, patch, pre)| format!("{major}.{minor}.{patch}{pre}"))
}

fn case() -> impl Strategy<Value = Case> {
    let alternatives = proptest::collection::vec(alternative(), 1..4);
    let versions = proptest::collection::vec(version(), 1..40);
    (alternatives, versions).prop_map(|(alternatives, versions)| {
        let (ours, theirs): (Vec<_>, Vec<_>) = alternatives.into_iter().unzip();
        Case { ours: ours.join(" || "), theirs: theirs.join(" || "), versions }
    })
}

/// What random texts seldom hit.
fn corners() -> impl Iterator<Item = Case> {
    let bound = || [0u64, 1, 3].into_iter();
    let versions: Vec<String> = bound()
        .flat_map(|major| bound().flat_map(move |minor| bound().map(move |patch| (major, minor, patch))))
        .flat_map(|(major, minor, patch)| {
            ["", "-0", "-rc.1", "-rc.2"].map(|pre| format!("{major}.{minor}.{patch}{pre}"))
        })
        .collect();
    [
        "* || >=1.0.0-rc.1",
        ">=0.0.0 || =1.0.0-rc.1",
        ">=0.0.0 >=0.0.0-rc.1",
        "^0 >=0.0.0-rc.1",
        "<0 || >=1",
        "* >=1.0.0-rc.1",
        "<1.0.0 >=1.0.0-rc.1",
        "<1 >=1.0.0-rc.1",
        "<=1 >=1.3.0-rc.1",
        ">=1 >=1.3.3-rc.1",
        "=1.x >=1.3.3-rc.1",
        ">0 <1.0.0-rc.2",
        "^0.0.0-rc.1",
        "0 - 0.0.1",
        "0.0.0-rc.1 - 3",
    ]
    .into_iter()
    .map(move |text| Case { ours: text.to_owned(), theirs: text.to_owned(), versions: versions.clone() })
}

/// Where npm keeps its own copy of the package.
fn package() -> Option<PathBuf> {
    let output = Command::new("npm").args(["root", "-g"]).stderr(Stdio::null()).output().ok()?;
    let root = String::from_utf8(output.stdout).ok()?;
    let package = PathBuf::from(root.trim()).join("npm/node_modules/semver");
    package.is_dir().then_some(package)
}

fn answers(package: PathBuf, cases: &[Case]) -> Option<Vec<Answer>> {
    let mut node = Command::new("node")
        .arg("-e")
        .arg(SCRIPT)
        .arg(package)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    // Node reads all of its input before it writes, so neither side waits for the other.
    let mut stdin = node.stdin.take().expect("a pipe");
    stdin.write_all(&serde_json::to_vec(cases).expect("JSON")).expect("node reads its input");
    drop(stdin);
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success(), "node failed");
    Some(serde_json::from_slice(&output.stdout).expect("answers"))
}

#[test]
fn agreement() {
    let mut runner = TestRunner::deterministic();
    let random = (0..CASES).map(|_| case().new_tree(&mut runner).expect("a case").current());
    let cases: Vec<Case> = random.chain(corners()).collect();
    let Some(answers) = package().and_then(|package| answers(package, &cases)) else {
        println!("skipped: node, or npm's own `semver` package, was not found");
        return;
    };
    assert_eq!(answers.len(), cases.len());

    let mut covered = 0;
    for (case, answer) in cases.iter().zip(answers) {
        let Case { ours, theirs, versions } = case;
        assert!(answer.valid, "npm does not accept `{theirs}`");
        let range = Constraint::parse(ours).expect("a constraint").resolve(&[]).expect("a range");
        let parsed: Vec<semver::Version> =
            versions.iter().map(|text| text.parse().expect("a version")).collect();
        for ((text, version), theirs_covers) in versions.iter().zip(&parsed).zip(answer.satisfied) {
            assert_eq!(range.matches(version), theirs_covers, "`{ours}` (npm: `{theirs}`) and {text}");
            covered += usize::from(theirs_covers);
        }
        let highest = parsed.iter().filter(|version| range.matches(version)).max();
        assert_eq!(highest.map(ToString::to_string), answer.highest, "the highest of `{ours}`");
    }
    // The comparison means something only if both answers occur.
    assert!(covered > CASES, "too few versions were covered");
}
