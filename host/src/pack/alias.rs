//! Words that stand for constraints, such as `lts`, where actions and sensors ask for them.
//!
//! Which words there are is known to the runtime's component alone: they are noted when a file is read, and
//! checked when the component has been asked.

use super::problem::{Problems, Source, Span};
use crate::reference::RuntimeRef;
use crate::version::constraint::Constraint;

/// A constraint that is an alias, and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct AliasUse {
    /// Of which runtime it is asked.
    pub(crate) runtime: RuntimeRef,
    pub(crate) constraint: Constraint,
    pub(crate) source: Source,
    pub(crate) span: Span,
}

impl AliasUse {
    /// A problem if it is none of `aliases`, or one that stands for nothing.
    pub(crate) fn check(&self, aliases: &[(String, String)], problems: &mut Problems) {
        let Err(unknown) = self.constraint.resolve(aliases) else { return };
        let message = format!("`{}` can't resolve the constraint: {unknown}", self.runtime);
        let help = unknown.hint().unwrap_or_else(|| "write a range instead".to_owned());
        problems.add(&self.source, &self.span, message, help);
    }

    /// A problem, since the component can't be asked.
    pub(crate) fn unanswered(&self, reason: &str, problems: &mut Problems) {
        let Self { runtime, constraint, source, span } = self;
        let alias = constraint.as_str().trim();
        let message = format!("whether `{runtime}` has the alias `{alias}` can't be told: {reason}");
        problems.add(source, span, message, "mend the runtime's component, or write a range instead");
    }
}
