//! What the log says of builds.

use std::time::Duration;

use super::Question;
use crate::environment::build::{BuildError, Built};
use crate::environment::key::Key;
use crate::installation::Failure;

/// The target of events that whoever waits for the environment is told of in another way.
pub(crate) const TOLD: &str = "attune::told";
/// The target of events whose message says all that people need.
pub(crate) const PLAIN: &str = "attune::plain";

impl Question<'_> {
    pub(super) fn log_broken(&self, key: &Key, reason: &Failure) {
        tracing::warn!(
            target: PLAIN,
            { pack.r#ref = %self.need.pack,
            runtime.r#ref = %self.need.runtime.runtime.reference,
            runtime.version = %self.installation.version,
            environment.key = key.as_str(),
            environment.path = %self.link.display() },
            "the environment `{}` no longer works, and is built anew: {}",
            self.link.display(),
            reason.message
        );
    }

    pub(super) fn log(&self, key: &Key, took: Duration, outcome: Result<&Built, &BuildError>) {
        if outcome.is_ok_and(|built| !built.fresh) {
            return;
        }
        let duration = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        macro_rules! say {
            ($level:ident, $($message:tt)+) => {
                tracing::$level!(
                    target: TOLD,
                    { pack.r#ref = %self.need.pack,
                    runtime.r#ref = %self.need.runtime.runtime.reference,
                    runtime.version = %self.installation.version,
                    environment.key = key.as_str(),
                    environment.path = %self.link.display(),
                    duration_ms = duration },
                    $($message)+
                )
            };
        }
        match outcome {
            Ok(_) => say!(info, "built an environment"),
            Err(error) => say!(warn, "can't build an environment: {error}"),
        }
    }
}
