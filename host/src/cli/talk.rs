//! Log events as remarks of the command, for those who did not ask for a log.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::output::{Output, Tone};
use crate::environment::prepare::PLAIN;

/// A line for each event: its message, and its fields in brackets. Time and place are left out.
#[derive(Debug)]
pub(super) struct Talk(Output);

impl Talk {
    pub(super) fn new(output: &Output) -> Self {
        Self(output.clone())
    }
}

impl<S, N> FormatEvent<S, N> for Talk
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        let Sentence { mut message, fields } = sentence;
        if !fields.is_empty() && event.metadata().target() != PLAIN {
            write!(message, " ({fields})")?;
        }
        let level = *event.metadata().level();
        let (tone, heading) = match level {
            Level::ERROR => (Tone::Bad, "error:"),
            Level::WARN => (Tone::Warning, "warning:"),
            _ => (Tone::Dim, "note:"),
        };
        writeln!(writer, "{}", self.0.remark(tone, heading, &message))
    }
}

#[derive(Default)]
struct Sentence {
    message: String,
    fields: String,
}

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string can't fail.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
            return;
        }
        let comma = if self.fields.is_empty() { "" } else { ", " };
        let name = field.name().replace('.', " ");
        let _ = write!(self.fields, "{comma}{name} {value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
