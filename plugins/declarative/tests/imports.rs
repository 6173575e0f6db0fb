//! The contract's imports as the host provides them, on the machine that `machine.yaml` describes.
#![cfg(target_family = "wasm")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use attune_plugin::host::Host;
use attune_plugin::machine::{Machine, invocation};
use attune_plugin::types::FailureClass;

#[test]
fn what_is_granted_is_found_and_runs() {
    let host = Host::default();
    let found = host.find(&["bash".to_owned(), "secret".to_owned()]);
    let [found] = &found[..] else { panic!("{found:?}") };
    let program = found.outcome.as_ref().expect("a program");
    assert_eq!(program.path, "/usr/bin/bash");
    assert_eq!(program.names, ["/usr/local/bin/bash", "/usr/bin/bash"]);
    let answers = host.run_all(&[program], &invocation(&["--version"], true));
    let answer = answers.into_iter().next().expect("an answer").expect("it ran");
    assert!(answer.stdout.starts_with(b"GNU bash, version 5.2.15"), "{answer:?}");
}

#[test]
fn what_is_not_granted_is_denied() {
    let host = Host::default();
    let denied = |class: FailureClass| matches!(class, FailureClass::Denied);
    assert!(denied(host.open("/usr/bin/secret").expect_err("not granted").class));
    assert!(denied(host.read("/etc/passwd", 100).expect_err("not granted").class));
    assert!(denied(host.read("/usr/bin/../../etc/passwd", 100).expect_err("not granted").class));
    assert!(denied(host.captures("no such pattern", "text").expect_err("not declared").class));
}
