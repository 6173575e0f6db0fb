//! A mistake in a text: where it is, what was read, what would be right.

use std::ops::Range as Span;

/// What readers report; whoever owns the whole text makes an error of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The bytes that are wrong.
    pub(super) span: Span<usize>,
    /// What was read, and why it is wrong.
    pub(super) message: String,
    /// What would be right.
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Span<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}
