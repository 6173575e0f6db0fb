//! Proof that a toolchain is the Go that it claims to be.

use attune_plugin::declared;
use attune_plugin::interpreter::equal;
use attune_plugin::machine::{Machine, Run, invocation};
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::verification::{Request, Verdict};

use crate::probe;

/// Asks the toolchain, compares with what was claimed, and runs what the YAML declares.
pub fn verify(machine: &impl Machine, request: Request, run: &Run) -> Result<Verdict, Failure> {
    let claim = &request.installation;
    let report = probe::report(&run(&invocation(&probe::identity(), false))?)?;
    let version = report.version();
    let mut checks = vec![
        equal("path", FailureClass::ShimUnresolved, &claim.path, &report.executable),
        equal("version", FailureClass::VersionMismatch, &claim.version.semver, &version.semver),
    ];
    checks.extend(declared::checks(machine, &declared::by_priority(request.commands), run));
    Ok(Verdict { version, checks, attributes: report.attributes })
}
