//! Progress on standard error, for what takes long enough to wonder about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;
use crate::printable::one_line;

/// What is done faster than this is not worth a word.
const DELAY: Duration = Duration::from_millis(500);

/// A line on a terminal that says what is being done. Without a terminal it is silent.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bar: Option<Arc<Mutex<Shown>>>,
}

#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    began: Instant,
    message: String,
}

impl Progress {
    /// Begins, silently at first.
    pub(super) fn begin(output: &Output) -> Self {
        if output.quiet || !output.watched {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        // The message comes last and takes what is left of the line: one that is longer is cut, since a line that
        // wraps can't be taken back.
        if let Ok(style) = ProgressStyle::with_template("{spinner} ({elapsed}) {wide_msg}") {
            bar.set_style(style);
        }
        let shown = Arc::new(Mutex::new(Shown { bar, began: Instant::now(), message: String::new() }));
        let weak = Arc::downgrade(&shown);
        tokio::spawn(async move {
            tokio::time::sleep(DELAY).await;
            if let Some(shown) = weak.upgrade() {
                shown.lock().unwrap_or_else(PoisonError::into_inner).show();
            }
        });
        Self { bar: Some(shown) }
    }

    /// Says what is being done now, in as much of a line as the terminal has.
    pub(super) fn say(&self, message: impl AsRef<str>) {
        let Some(shown) = &self.bar else { return };
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.message = one_line(message.as_ref()).into_owned();
        shown.bar.set_message(shown.message.clone());
    }

    /// Says something that stays, above the line.
    pub(super) fn note(&self, output: &Output, text: &str) {
        match &self.bar {
            Some(shown) => {
                let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.bar.suspend(|| output.say(text));
            }
            None => output.say(text),
        }
    }

    /// Ends and leaves nothing on the screen.
    pub(super) fn end(self) {
        if let Some(shown) = &self.bar {
            shown.lock().unwrap_or_else(PoisonError::into_inner).bar.finish_and_clear();
        }
    }
}

impl Shown {
    fn show(&self) {
        if self.bar.is_finished() {
            return;
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        self.bar.set_message(self.message.clone());
        self.bar.set_elapsed(self.began.elapsed());
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }
}
