//! Proving that an installation is what it claims and works.

use crate::installation::{Check, Failure, FailureClass, Identity, Installation};
use crate::pack::{Distributions, Runtime};
use crate::plugin::{Cause, RuntimePlugin, VerificationRequest};
use crate::store::installation::InstallationStatus;
use crate::store::runtime::RuntimeRow;
use crate::version::Version;

/// What verification came to.
#[derive(Clone, Debug)]
pub struct Verified {
    pub status: InstallationStatus,
    /// As the runtime itself reports it; as claimed, if it could not be asked.
    pub version: Version,
    pub checks: Vec<Check>,
    pub attributes: Vec<(String, String)>,
}

impl Verified {
    fn failed(installation: &Installation, failure: Failure) -> Self {
        Self {
            status: InstallationStatus::Failed { failure },
            version: installation.version.clone(),
            checks: Vec::new(),
            attributes: installation.attributes.clone(),
        }
    }
}

/// Whether two texts of a version mean the same one.
fn is_same(one: &Version, other: &Version) -> bool {
    one.semver == other.semver && one.variant == other.variant
}

/// What the component of a runtime is asked about an installation.
pub(crate) fn request(
    runtime: &Runtime,
    installation: &Installation,
    identity: Identity,
    distributions: &Distributions,
) -> VerificationRequest {
    let mut commands = distributions.verification.clone();
    commands.sort_by_key(|command| command.priority);
    let (installation, settings) = (installation.clone(), runtime.settings().to_vec());
    VerificationRequest { installation, identity, commands, settings }
}

/// Has the runtime's component verify an installation. A component that fails is a failed
/// verification, not an error: other installations and runtimes go on.
pub async fn verify(
    plugin: &RuntimePlugin,
    runtime: &RuntimeRow,
    installation: &Installation,
    distributions: &Distributions,
) -> Verified {
    let identity = match Identity::of(&installation.path) {
        Ok(identity) => identity,
        Err(error) => {
            return Verified::failed(installation, Failure::new(FailureClass::NotFound, error.to_string()));
        }
    };
    match plugin.verify(request(&runtime.runtime, installation, identity, distributions)).await {
        Ok(answer) => {
            let verdict = answer.value;
            if verdict.failure().is_none() && !is_same(&verdict.version, &installation.version) {
                let message = format!("detected as {}, but it is {}", installation.version, verdict.version);
                let failure = Failure::new(FailureClass::VersionMismatch, message);
                return Verified { checks: verdict.checks, ..Verified::failed(installation, failure) };
            }
            Verified {
                status: verdict.failure().map_or(InstallationStatus::Verified, |failure| {
                    InstallationStatus::Failed { failure: failure.clone() }
                }),
                version: verdict.version,
                checks: verdict.checks,
                attributes: verdict.attributes,
            }
        }
        Err(error) => {
            tracing::warn!(
                runtime.r#ref = %runtime.runtime.reference,
                installation.path = %installation.path.display(),
                "can't verify an installation: {error}"
            );
            let failure = match error.cause.as_ref() {
                Cause::Refused { failure } | Cause::Installation { failure } => failure.clone(),
                _ => Failure::new(FailureClass::PluginFailed, error.to_string()),
            };
            Verified::failed(installation, failure)
        }
    }
}
