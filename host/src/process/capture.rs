//! Keeping the beginning and the end of a stream that may be arbitrarily long.

use std::borrow::Cow;
use std::collections::VecDeque;

/// A stream while it is being written.
#[derive(Debug)]
pub struct Capture {
    head: Vec<u8>,
    head_limit: usize,
    tail: VecDeque<u8>,
    tail_limit: usize,
    total: u64,
}

impl Capture {
    /// Keeps `limit` bytes: the first half, and the last.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let tail_limit = limit / 2;
        Self { head: Vec::new(), head_limit: limit - tail_limit, tail: VecDeque::new(), tail_limit, total: 0 }
    }

    /// Takes in the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let (to_head, rest) = bytes.split_at(bytes.len().min(self.head_limit - self.head.len()));
        self.head.extend_from_slice(to_head);
        let rest = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let too_many = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..too_many);
        self.tail.extend(rest);
    }

    /// What was kept.
    #[must_use]
    pub fn finish(mut self) -> Captured {
        let kept = (self.head.len() + self.tail.len()) as u64;
        if kept == self.total {
            self.head.extend(&self.tail);
            self.tail.clear();
        }
        Captured { head: self.head, tail: self.tail.into(), missing: self.total - kept }
    }
}

/// What was kept of a stream, as the bytes that were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    head: Vec<u8>,
    tail: Vec<u8>,
    missing: u64,
}

impl Captured {
    /// How many bytes were written between those kept of the beginning and those of the end.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// How many bytes were written.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.missing + (self.head.len() + self.tail.len()) as u64
    }

    /// The same with at most `limit` bytes kept, the first half and the last.
    #[must_use]
    pub fn shortened(&self, limit: usize) -> Cow<'_, Self> {
        if self.head.len() + self.tail.len() <= limit {
            return Cow::Borrowed(self);
        }
        let mut kept = Capture::new(limit);
        kept.push(&self.head);
        kept.push(&self.tail);
        let mut kept = kept.finish();
        kept.missing += self.missing;
        Cow::Owned(kept)
    }

    /// All that was written, if all of it was kept.
    #[must_use]
    pub fn complete(&self) -> Option<&[u8]> {
        (self.missing == 0).then_some(&self.head)
    }

    /// All that was kept, with a line in the gap that says how much is missing.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        if self.missing == 0 {
            return Cow::Borrowed(&self.head);
        }
        let marker = format!("\n[… {} bytes are missing here …]\n", self.missing);
        Cow::Owned([&self.head, marker.as_bytes(), &self.tail].concat())
    }

    /// [`Self::bytes`] for people: invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture(limit: usize, chunks: &[&[u8]]) -> Captured {
        let mut capture = Capture::new(limit);
        for chunk in chunks {
            capture.push(chunk);
        }
        capture.finish()
    }

    fn check(limit: usize, chunks: &[&[u8]], text: &str, missing: u64) {
        let captured = capture(limit, chunks);
        assert_eq!(captured.text(), text, "{limit} of {chunks:?}");
        assert_eq!(captured.missing(), missing, "{limit} of {chunks:?}");
    }

    #[test]
    fn keeps_head_and_tail() {
        check(4, &[], "", 0);
        check(4, &[b"abcd"], "abcd", 0);
        check(4, &[b"ab", b"", b"c"], "abc", 0);
        check(4, &[b"abcde"], "ab\n[… 1 bytes are missing here …]\nde", 1);
        check(4, &[b"a", b"bcdefg", b"h"], "ab\n[… 4 bytes are missing here …]\ngh", 4);
        check(0, &[b"abc"], "\n[… 3 bytes are missing here …]\n", 3);
    }

    #[test]
    fn what_was_kept_can_be_shortened() {
        for (written, limit, text) in [
            (&b"abcdef"[..], 6, "abcdef"),
            (b"abcdef", 4, "ab\n[… 2 bytes are missing here …]\nef"),
            (b"abcdefghijk", 8, "abcd\n[… 3 bytes are missing here …]\nhijk"),
            (b"abcdefghijk", 4, "ab\n[… 7 bytes are missing here …]\njk"),
        ] {
            assert_eq!(capture(8, &[written]).shortened(limit).text(), text);
        }
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20),
            limit in 0_usize..100,
        ) {
            let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let whole = chunks.concat();
            let captured = capture(limit, &slices);
            prop_assert_eq!(&captured, &capture(limit, &[&whole]));
            prop_assert_eq!(captured.total(), whole.len() as u64);
            prop_assert_eq!(captured.complete().is_some(), whole.len() <= limit);
            if let Some(bytes) = captured.complete() {
                prop_assert_eq!(bytes, &whole[..]);
            } else {
                prop_assert!(whole.starts_with(&captured.head) && whole.ends_with(&captured.tail));
            }
        }
    }
}
