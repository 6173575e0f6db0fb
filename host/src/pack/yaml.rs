//! YAML as a tree of elements that remember where and how they were written.
//!
//! Owns the step from text to elements: anchors and merge keys are resolved, bounds are kept. What the elements
//! mean is up to the readers in [`decode`](super::decode). A scalar keeps its text, because what YAML makes
//! of `3.10` is 3.1.

mod compose;
mod scalar;
mod syntax;

use std::rc::Rc;

pub(crate) use compose::compose;
pub(crate) use scalar::{Reading, Scalar, Style};

use super::problem::Span;

/// A value, and where it is.
#[derive(Debug)]
pub(crate) struct Element {
    /// A scalar: all of it. A collection: what it starts with, since problems of a whole collection would
    /// otherwise underline half a file.
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What an element is.
#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Rc<Element>>),
    /// In the order of the file, merged entries last; no key twice.
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Rc<str>,
    pub(crate) key_span: Span,
    pub(crate) value: Rc<Element>,
}

impl Element {
    /// Whether nothing was written, or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.reading() == Reading::Null)
    }

    /// For messages: what kind of thing it is.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) => scalar.reading().kind(),
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The element at a JSON pointer, or the deepest one on the way to it.
    pub(crate) fn at_pointer(&self, pointer: &str) -> &Self {
        let mut element = self;
        for segment in pointer.split('/').skip(1) {
            let segment = segment.replace("~1", "/").replace("~0", "~");
            let next = match &element.value {
                Value::Scalar(_) => None,
                Value::Sequence(items) => segment.parse::<usize>().ok().and_then(|index| items.get(index)),
                Value::Mapping(entries) => {
                    entries.iter().find(|entry| *entry.key == *segment).map(|entry| &entry.value)
                }
            };
            match next {
                Some(next) => element = next,
                None => break,
            }
        }
        element
    }
}
