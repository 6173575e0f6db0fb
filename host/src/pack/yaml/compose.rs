//! From the parser's events to elements: anchors, merge keys, duplicate keys and bounds.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::{Element, Entry, Scalar, Style, Value, syntax};
use crate::pack::MANIFEST;
use crate::pack::problem::{Report, Span};

/// A page of YAML is 3 KB; what is larger than this was generated, or is not meant to be read.
pub(crate) const BYTES_MAX: usize = 512 * 1024;

/// Elements, those behind aliases counted as often as they are used. A long runtime has about a thousand;
/// nine lines of aliases of aliases can have billions.
const ELEMENTS_MAX: usize = 20_000;

/// Collections within collections, those behind aliases counted too: readers recurse.
pub(super) const DEPTH_MAX: usize = 64;

/// The text as one element. None, and problems said, if it can't be read as one.
pub(crate) fn compose(report: &mut Report<'_>) -> Option<Rc<Element>> {
    let text = Rc::from(&*report.source().text);
    if report.source().text.len() > BYTES_MAX {
        let message =
            format!("the file has {} bytes; a file of YAML may have {BYTES_MAX}", report.source().text.len());
        report.add_file(message, "split it, or move data into a file that the entry point reads");
        return None;
    }
    Composer { text, open: Vec::new(), anchors: HashMap::new(), root: None }.run(report)
}

/// A finished element with what bounds need to know.
#[derive(Clone)]
struct Composed {
    element: Rc<Element>,
    /// Elements in it, aliases expanded.
    size: usize,
    depth: usize,
}

/// A collection whose end has not been seen.
struct Open {
    span: Span,
    anchor: usize,
    size: usize,
    depth: usize,
    contents: Contents,
}

enum Contents {
    Sequence(Vec<Rc<Element>>),
    Mapping { entries: Vec<Entry>, merges: Vec<Rc<Element>>, key: Option<Key> },
}

/// A key that waits for its value.
struct Key {
    text: Rc<str>,
    span: Span,
    merge: bool,
    /// Said to be wrong already; its value is dropped.
    wrong: bool,
}

struct Composer {
    text: Rc<str>,
    open: Vec<Open>,
    anchors: HashMap<usize, Composed>,
    root: Option<Rc<Element>>,
}

/// The rest of the file can't be read; the problem has been said.
struct GivenUp;

impl Composer {
    fn run(mut self, report: &mut Report<'_>) -> Option<Rc<Element>> {
        let text = Rc::clone(&self.text);
        let mut options = granit_parser::options! {
            emit_unresolved_aliases: true,
            flow_nesting_limit: DEPTH_MAX,
            block_nesting_limit: DEPTH_MAX,
        };
        options.set_emit_comments(false);
        for event in Parser::new_from_str_with_options(&text, options) {
            let followed = match event {
                Ok((event, span)) => self.follow(event, &span, report),
                Err(error) => {
                    syntax::explain(&error, report);
                    Err(GivenUp)
                }
            };
            if followed.is_err() {
                return None;
            }
        }
        if self.root.is_none() {
            let help = if report.source().path == MANIFEST {
                "write at least `ref: name` and `version: \"1.0.0\"`"
            } else {
                "write what it declares, or remove it"
            };
            report.add_file("the file is empty", help);
        }
        self.root
    }

    fn follow(
        &mut self,
        event: Event<'_>,
        span: &granit_parser::Span,
        report: &mut Report<'_>,
    ) -> Result<(), GivenUp> {
        let bytes = byte_span(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                report.add(&bytes, "a second document starts here", "write one document a file");
                Err(GivenUp)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar {
                    text: text.into_owned(),
                    style: match style {
                        ScalarStyle::Plain => Style::Plain,
                        ScalarStyle::SingleQuoted => Style::SingleQuoted,
                        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                    },
                    tagged_text: check_tag(tag.as_ref(), span, report),
                };
                let element = Element { span: bytes, value: Value::Scalar(scalar) };
                self.finish(Composed { element: Rc::new(element), size: 1, depth: 0 }, anchor, report)
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_ref(), span, report);
                self.start(bytes, anchor, Contents::Sequence(Vec::new()), report)
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_ref(), span, report);
                let contents = Contents::Mapping { entries: Vec::new(), merges: Vec::new(), key: None };
                self.start(bytes, anchor, contents, report)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(report),
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).cloned() else {
                    report.add(&bytes, "the alias stands for what it is in", "write out what is meant");
                    return Err(GivenUp);
                };
                self.attach(target, &bytes, report)
            }
            Event::UnresolvedAlias(name) => {
                report.add(
                    &bytes,
                    format!("`*{name}` is an alias, and nothing before it is marked `&{name}`"),
                    format!(
                        "mark what is meant with `&{name}`, or put quotes around text that starts with `*`"
                    ),
                );
                let value =
                    Value::Scalar(Scalar { text: String::new(), style: Style::Plain, tagged_text: false });
                let element = Element { span: bytes, value };
                self.finish(Composed { element: Rc::new(element), size: 1, depth: 0 }, 0, report)
            }
            // Streams, comments, and whatever a later version of the parser adds that is not an element.
            _ => Ok(()),
        }
    }

    fn start(
        &mut self,
        mut span: Span,
        anchor: usize,
        contents: Contents,
        report: &mut Report<'_>,
    ) -> Result<(), GivenUp> {
        if let Some(Open { contents: Contents::Mapping { key: None, .. }, .. }) = self.open.last() {
            report.add(&span, "a key is a list or a mapping", "write text as the key");
            return Err(GivenUp);
        }
        span.end = span.end.max(span.start + 1);
        self.open.push(Open { span, anchor, size: 1, depth: 1, contents });
        Ok(())
    }

    fn end(&mut self, report: &mut Report<'_>) -> Result<(), GivenUp> {
        let Some(Open { mut span, anchor, size, depth, contents }) = self.open.pop() else { return Ok(()) };
        let value = match contents {
            Contents::Sequence(items) => Value::Sequence(items),
            Contents::Mapping { mut entries, merges, .. } => {
                if let Some(first) = entries.first() {
                    span = first.key_span.clone();
                }
                for merge in &merges {
                    merge_into(&mut entries, merge, report);
                }
                Value::Mapping(entries)
            }
        };
        self.finish(Composed { element: Rc::new(Element { span, value }), size, depth }, anchor, report)
    }

    fn finish(&mut self, composed: Composed, anchor: usize, report: &mut Report<'_>) -> Result<(), GivenUp> {
        if anchor != 0 {
            self.anchors.insert(anchor, composed.clone());
        }
        let span = composed.element.span.clone();
        self.attach(composed, &span, report)
    }

    /// Puts an element where it belongs: into the innermost open collection, or at the root. `span` is where
    /// it is used, which for an alias is not where it was written.
    fn attach(&mut self, composed: Composed, span: &Span, report: &mut Report<'_>) -> Result<(), GivenUp> {
        let total = self.open.last().map_or(0, |open| open.size).saturating_add(composed.size);
        if total > ELEMENTS_MAX {
            report.add(
                span,
                format!("with its aliases written out the file has more than {ELEMENTS_MAX} values"),
                "use fewer aliases of aliases",
            );
            return Err(GivenUp);
        }
        if self.open.len() + composed.depth > DEPTH_MAX {
            report.add(
                span,
                format!("lists and mappings are nested more than {DEPTH_MAX} deep"),
                "nest less deep",
            );
            return Err(GivenUp);
        }
        match self.open.last_mut() {
            None => {
                self.root = Some(composed.element);
                Ok(())
            }
            Some(open) => {
                open.size = total;
                open.depth = open.depth.max(composed.depth + 1);
                open.contents.put(composed.element, report)
            }
        }
    }
}

impl Contents {
    fn put(&mut self, element: Rc<Element>, report: &mut Report<'_>) -> Result<(), GivenUp> {
        match self {
            Self::Sequence(items) => items.push(element),
            Self::Mapping { entries, merges, key } => match key.take() {
                None => *key = Some(Key::of(&element, entries, report)?),
                Some(Key { wrong: true, .. }) => {}
                Some(Key { merge: true, .. }) => merges.push(element),
                Some(Key { text, span, .. }) => {
                    entries.push(Entry { key: text, key_span: span, value: element });
                }
            },
        }
        Ok(())
    }
}

impl Key {
    fn of(element: &Element, entries: &[Entry], report: &mut Report<'_>) -> Result<Self, GivenUp> {
        let Value::Scalar(scalar) = &element.value else {
            report.add(&element.span, "a key is a list or a mapping", "write text as the key");
            return Err(GivenUp);
        };
        let first = entries.iter().find(|entry| *entry.key == *scalar.text);
        if let Some(first) = first {
            let line = report.source().position(&first.key_span).line;
            report.add(
                &element.span,
                format!("`{}` is written twice, first on line {line}", scalar.text),
                "keep one of the two",
            );
        }
        Ok(Self {
            text: scalar.text.as_str().into(),
            span: element.span.clone(),
            merge: scalar.text == "<<" && scalar.style == Style::Plain,
            wrong: first.is_some(),
        })
    }
}

/// Keys that are there already win, whether they were written or merged before.
fn merge_into(entries: &mut Vec<Entry>, merge: &Element, report: &mut Report<'_>) {
    match &merge.value {
        Value::Mapping(merged) => {
            for entry in merged {
                if !entries.iter().any(|known| known.key == entry.key) {
                    entries.push(entry.clone());
                }
            }
        }
        Value::Sequence(merges) if merges.iter().all(|each| matches!(each.value, Value::Mapping(_))) => {
            for each in merges {
                merge_into(entries, each, report);
            }
        }
        Value::Sequence(_) | Value::Scalar(_) => report.add(
            &merge.span,
            format!("`<<` merges mappings, and this is {}", merge.kind()),
            "write an alias of a mapping, such as `<<: *base`",
        ),
    }
}

/// Whether the tag makes the scalar text. Tags that would make it something of a program's are problems,
/// since they mean nothing here, and are mostly a value like `!=3.12` without quotes.
fn check_tag(tag: Option<&Cow<'_, Tag>>, span: &granit_parser::Span, report: &mut Report<'_>) -> bool {
    let Some(tag) = tag else { return false };
    if tag.is_yaml_core_schema() {
        return tag.suffix() == "str";
    }
    let place = span.tag_span().map_or_else(|| byte_span(span), |tag| byte_span(&tag));
    let written = report.source().text.get(place.clone()).unwrap_or_default().to_owned();
    report.add(
        &place,
        format!("`{written}` is read as a tag of YAML, which means nothing here"),
        "leave it out, or put quotes around text that starts with `!`",
    );
    false
}

fn byte_span(span: &granit_parser::Span) -> Span {
    // A parser over a text always knows bytes; characters are the nearest other thing.
    let start = span.start.byte_offset().unwrap_or_else(|| span.start.index());
    let end = span.end.byte_offset().unwrap_or_else(|| span.end.index());
    start..end.max(start)
}
