//! Why a text is not a constraint, and how to show it.

use std::fmt::Write as _;
use std::ops::Range as Span;

use crate::version::fault::Fault;

/// Characters of the text that a rendering shows; what is longer is an error for its length alone.
const SHOWN_MAX: usize = 256;

/// Why a text is not a constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConstraintError {
    /// The whole text.
    pub text: String,
    /// The bytes that are wrong.
    pub span: Span<usize>,
    /// What was read, and why it is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl ConstraintError {
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        Self { text: text.to_owned(), span: fault.span, message: fault.message, hint: fault.hint }
    }

    /// What was read where the mistake is.
    #[must_use]
    pub fn read(&self) -> &str {
        self.text.get(self.span.clone()).unwrap_or_default()
    }

    /// The position of the mistake in the text, in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.text.char_indices().take_while(|(start, _)| *start < self.span.start).count() + 1
    }

    /// The text with carets below the mistake, and the hint, for a terminal.
    ///
    /// Whatever could move the cursor or take another width than one column is shown by its number.
    #[must_use]
    pub fn rendered(&self) -> String {
        let mut shown = String::new();
        let mut carets = String::new();
        for (start, character) in self.text.char_indices().take(SHOWN_MAX) {
            let before = shown.len();
            if character.is_ascii() && !character.is_ascii_control() {
                shown.push(character);
            } else {
                shown.extend(character.escape_unicode());
            }
            let mark = if self.span.contains(&start) { "^" } else { " " };
            carets.push_str(&mark.repeat(shown.len() - before));
        }
        if self.text.chars().nth(SHOWN_MAX).is_some() {
            shown.push('…');
        } else if self.span.start >= self.text.len() {
            carets.push('^');
        }
        let mut rendered =
            format!("column {}: {}\n    {shown}\n    {}", self.column(), self.message, carets.trim_end());
        if let Some(hint) = &self.hint {
            // Writing to a string can't fail.
            let _ = write!(rendered, "\n    {hint}");
        }
        rendered
    }
}
