//! Why a text is not a constraint, and how to show it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range as Span;

use crate::version::fault::Fault;

/// Characters of the text that are shown at once.
const SHOWN_MAX: usize = 72;

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

    /// The text, cut off if it is long.
    #[must_use]
    pub fn beginning(&self) -> Cow<'_, str> {
        match self.text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}…", &self.text[..end]).into(),
            None => self.text.as_str().into(),
        }
    }

    /// The text around the mistake with carets below it, and the hint, for a terminal.
    ///
    /// Whatever could move the cursor or take another width than one column is shown by its number.
    #[must_use]
    pub fn rendered(&self) -> String {
        let length = self.text.chars().count();
        let first = if length > SHOWN_MAX { (self.column() - 1).saturating_sub(SHOWN_MAX / 2) } else { 0 };
        let cut = if first > 0 { "…" } else { "" };
        let mut shown = cut.to_owned();
        let mut carets = " ".repeat(cut.chars().count());
        for (start, character) in self.text.char_indices().skip(first).take(SHOWN_MAX) {
            let before = shown.len();
            if character.is_ascii() && !character.is_ascii_control() {
                shown.push(character);
            } else {
                shown.extend(character.escape_unicode());
            }
            let mark = if self.span.contains(&start) { "^" } else { " " };
            carets.push_str(&mark.repeat(shown.len() - before));
        }
        if length > first + SHOWN_MAX {
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
