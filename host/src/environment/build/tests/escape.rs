//! Plans that try to reach what lies outside of the environment.

use super::*;

#[tokio::test]
async fn nothing_leads_out_of_the_environment() {
    type Expected = fn(&StepError) -> bool;
    const RELATIVE: Expected = |error| matches!(error, StepError::Path(PathError::NotRelative { .. }));
    const THROUGH: Expected = |error| matches!(error, StepError::Path(PathError::NotFolder { .. }));
    const TARGET: Expected = |error| matches!(error, StepError::Path(PathError::Target { .. }));
    const OUTSIDE: Expected = |error| matches!(error, StepError::Outside { .. });

    let mut cases: Vec<(Vec<StepAction>, Expected)> = Vec::new();
    for path in ["../x", "/tmp/x", "a/../../x", "..", ""] {
        cases.push((vec![StepAction::MakeDir { path: path.to_owned() }], RELATIVE));
        cases.push((vec![file(path, "x")], RELATIVE));
        cases.push((vec![link(path, "x")], RELATIVE));
    }
    cases.push((vec![StepAction::Verify { path: "/etc/passwd".to_owned() }], RELATIVE));
    cases.push((vec![file(".attune-environment.json", "{}")], RELATIVE));
    cases.push((vec![link(".attune-environment.json", "x")], RELATIVE));
    cases.push((vec![run_with(|step| step.folder = "..".to_owned())], RELATIVE));
    for program in ["/bin/sh", "../../../../bin/sh"] {
        let program = PlannedProgram::Environment(program.to_owned());
        cases.push((vec![run_with(|step| step.program = program)], RELATIVE));
    }
    // What a program left is no way out either.
    cases.push((vec![run("ln -s .. out"), file("out/x", "x")], THROUGH));
    cases.push((vec![run("ln -s /tmp out"), link("out/x", "y")], THROUGH));
    cases.push((vec![run("ln -s /tmp out"), run_with(|step| step.folder = "out".to_owned())], THROUGH));
    let program = PlannedProgram::Environment("tool".to_owned());
    cases.push((vec![run("ln -s /bin/cat tool"), run_with(|step| step.program = program)], OUTSIDE));
    for target in ["..", "../x", "/etc/passwd", "/", "", "a/../../../x", "a/../x", "/no/such", "x\0y"] {
        cases.push((vec![link("tool", target)], TARGET));
    }
    cases.push((vec![link("a/b", "../../x")], TARGET));

    for (steps, expected) in cases {
        let what = format!("{steps:?}");
        let fixture = Fixture::new(steps);
        let before = fs::read_dir(&fixture.root).expect("listed").count();
        let error = fixture.build().await.expect_err(&what);
        let BuildError::Step { source, .. } = &error else { panic!("{what}: {error}") };
        assert!(expected(source), "{what}: {error}");
        fixture.assert_clean();
        // `envs` is new, and nothing else.
        assert_eq!(fs::read_dir(&fixture.root).expect("listed").count(), before + 1, "{what}");
        assert_eq!(fs::read_dir(fixture.layout.built_folder()).expect("listed").count(), 0, "{what}");
    }
}
