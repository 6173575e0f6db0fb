//! Server-sent events: bytes in pieces of any size become events.

use std::collections::VecDeque;

/// More bytes of one event than this are nothing that a server of Attune's sends.
const EVENT_MAX: usize = 32 << 20;

/// Something that a server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// `message` has none.
    pub(crate) name: String,
    pub(crate) data: String,
    /// What the stream can be resumed after.
    pub(crate) id: Option<String>,
}

/// That an event has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_MAX} bytes")]
pub(crate) struct TooLarge;

/// Events that were not complete yet, and those that are.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    /// Whether the last byte ended a line, and a line feed still belongs to that.
    returned: bool,
    event: Event,
    ready: VecDeque<Event>,
}

impl Events {
    /// Reads what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        for byte in bytes {
            let is_second = std::mem::replace(&mut self.returned, *byte == b'\r') && *byte == b'\n';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => self.end_line(),
                other => self.line.push(*other),
            }
            if self.line.len() + self.event.data.len() > EVENT_MAX {
                return Err(TooLarge);
            }
        }
        Ok(())
    }

    /// The next event that is complete.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            // Every line of data ends with one.
            event.data.pop();
            if !event.name.is_empty() || !event.data.is_empty() {
                self.ready.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                self.event.data.push_str(value);
                self.event.data.push('\n');
            }
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            // A comment keeps the connection alive; others may come to be.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event { name: name.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) }
    }

    #[test]
    fn pieces_of_any_size_come_to_the_same() {
        let text = "\u{feff}: hello\n\nevent: log\nid: 1.2\ndata: {\"text\": \"é\"}\n\n:\r\n\r\ndata: a\r\ndata:b\r\n\r\n\
                    id: 7\nretry: 10\n\nevent: status\rid\rdata: c: d\r\revent: end\n\nevent: never\n";
        let expected = [
            event("log", "{\"text\": \"é\"}", Some("1.2")),
            event("", "a\nb", None),
            event("status", "c: d", Some("")),
            event("end", "", None),
        ];
        for size in 1..text.len() {
            let mut events = Events::default();
            for piece in text.as_bytes().chunks(size) {
                events.push(piece).unwrap();
            }
            let found = std::iter::from_fn(|| events.next()).collect::<Vec<_>>();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_never_ends_is_not_kept() {
        let mut events = Events::default();
        let piece = vec![b'x'; 1 << 20];
        let outcome = (0..64).try_for_each(|_| events.push(&piece));
        assert_eq!(outcome, Err(TooLarge));
    }
}
