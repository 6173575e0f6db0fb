//! A component's messages, as events of the host's log. Bounded, since a component may talk for ever.

use serde::Serialize;

use super::bindings::attune::runtime::log::{Host, Level};
use super::bindings::attune::runtime::types::Extra;
use super::call::Call;
use super::convert::cut;

/// Messages that one call may write.
const MESSAGES_MAX: u32 = 100;

/// Bytes of one message, and of its fields together.
const MESSAGE_MAX: usize = 4 << 10;

/// How much a call has written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    messages: u32,
    log: Vec<Message>,
}

/// A message that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What it says.
    pub text: String,
    /// Further names and values, as `name=value`.
    pub fields: String,
}

/// What becomes of one more message.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Written,
    /// The last that is heard of it.
    Cut,
    Dropped,
}

impl Written {
    fn admit(&mut self) -> Admission {
        self.messages = self.messages.saturating_add(1);
        match self.messages.cmp(&(MESSAGES_MAX + 1)) {
            std::cmp::Ordering::Less => Admission::Written,
            std::cmp::Ordering::Equal => Admission::Cut,
            std::cmp::Ordering::Greater => Admission::Dropped,
        }
    }

    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    /// What was written, which is not known any more afterwards.
    pub(crate) fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.log)
    }
}

/// A text that is cut, without control characters, which would let a component forge lines of the log.
fn bounded(text: &str, limit: usize) -> String {
    let kept = cut(text, limit);
    kept.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

impl Host for Call {
    async fn write(&mut self, level: Level, message: String, fields: Extra) -> wasmtime::Result<()> {
        let _entered = self.meter.enter(super::error::Part::Host);
        let (pack, component) = (self.scope.pack.as_str(), self.scope.component.as_str());
        match self.written.admit() {
            Admission::Dropped => return Ok(()),
            Admission::Cut => {
                tracing::warn!(
                    plugin.pack = pack,
                    plugin.component = component,
                    "the component writes more than {MESSAGES_MAX} messages; the rest is dropped"
                );
                return Ok(());
            }
            Admission::Written => {}
        }
        let message = bounded(&message, MESSAGE_MAX);
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let fields = bounded(&fields.join(" "), MESSAGE_MAX);
        macro_rules! write_event {
            ($level:ident) => {
                tracing::$level!(
                    plugin.pack = pack,
                    plugin.component = component,
                    plugin.fields = fields,
                    "{message}"
                )
            };
        }
        let level = match level {
            Level::Debug => {
                write_event!(debug);
                "debug"
            }
            Level::Info => {
                write_event!(info);
                "info"
            }
            Level::Warn => {
                write_event!(warn);
                "warn"
            }
            Level::Error => {
                write_event!(error);
                "error"
            }
        };
        self.written.log.push(Message { level, text: message, fields });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, limit, expected) in [
            ("short", 10, "short"),
            ("exactly", 7, "exactly"),
            ("longer", 4, "long…"),
            ("aé", 2, "a…"),
            ("a\nb\u{1b}[31m", 20, "a b [31m"),
            ("", 0, ""),
        ] {
            assert_eq!(bounded(text, limit), expected);
        }
    }

    #[test]
    fn a_flood_is_cut_once() {
        let mut written = Written::default();
        let admissions: Vec<_> = (0..200).map(|_| written.admit()).collect();
        assert_eq!(admissions.iter().filter(|admission| **admission == Admission::Written).count(), 100);
        assert_eq!(admissions[100], Admission::Cut);
        assert!(admissions[101..].iter().all(|admission| *admission == Admission::Dropped));
    }
}
