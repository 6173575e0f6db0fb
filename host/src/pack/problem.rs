//! What is wrong with a pack: where, what was read, and what would be right.
//!
//! Owns collecting, ordering and showing problems. What counts as one is decided where it is read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// Characters of a message or a help.
const MESSAGE_MAX: usize = 1_000;

/// Problems of one file that are shown; a file with more was not meant to be what it is read as.
const SHOWN_MAX: usize = 100;

/// Bytes of a file.
pub(crate) type Span = Range<usize>;

/// A file of the pack, as far as problems can point into it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Relative to the pack.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
    /// First bytes of the lines: a file may have thousands of problems.
    lines: Arc<[usize]>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(newline, _)| newline + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { path: path.to_owned(), text: text.into(), lines }
    }

    /// Where `span` is, for people; a span that is not within the text is moved into it.
    pub(crate) fn position(&self, span: &Span) -> Position {
        let start = floor_char_boundary(&self.text, span.start);
        let end = floor_char_boundary(&self.text, span.end).max(start);
        let line = self.lines.partition_point(|first| *first <= start);
        let first = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        Position {
            line,
            column: self.text.get(first..start).unwrap_or_default().chars().count() + 1,
            start,
            end,
        }
    }
}

fn floor_char_boundary(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// First byte, counted from 0.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the pack.
    pub path: String,
    /// None if it is not about a place in a file: the file is missing, or is not text.
    pub position: Option<Position>,
    /// What was read, and why it is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// Every key is always there: a problem of a whole file has no line, and says so.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { path, position, message, help } = self;
        let mut fields = serializer.serialize_struct("Problem", 7)?;
        fields.serialize_field("file", path)?;
        fields.serialize_field("line", &position.map(|position| position.line))?;
        fields.serialize_field("column", &position.map(|position| position.column))?;
        fields.serialize_field("start", &position.map(|position| position.start))?;
        fields.serialize_field("end", &position.map(|position| position.end))?;
        fields.serialize_field("message", message)?;
        fields.serialize_field("help", help)?;
        fields.end()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, position, message, help } = self;
        match position {
            Some(Position { line, column, .. }) => {
                write!(formatter, "{path}:{line}:{column}: {message}; {help}")
            }
            None => write!(formatter, "{path}: {message}; {help}"),
        }
    }
}

/// Everything that is wrong with a pack, by file and position, each thing once.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    problems: BTreeSet<Problem>,
    /// Texts of the files that problems point into.
    texts: BTreeMap<String, Arc<str>>,
}

impl Problems {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many things are wrong.
    #[must_use]
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// In the order of files and positions.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// Adds a problem of a whole file.
    pub(crate) fn add_file(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.insert(Problem {
            path: path.to_owned(),
            position: None,
            message: one_line(&message.into()),
            help: one_line(&help.into()),
        });
    }

    /// Adds a problem at a place in a file.
    pub(crate) fn add(
        &mut self,
        source: &Source,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.texts.entry(source.path.clone()).or_insert_with(|| Arc::clone(&source.text));
        self.problems.insert(Problem {
            path: source.path.clone(),
            position: Some(source.position(span)),
            message: one_line(&message.into()),
            help: one_line(&help.into()),
        });
    }

    /// All problems for people, with the lines they are in; `coloured` for terminals.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for problem in &self.problems {
            let count = counts.entry(&problem.path).or_default();
            *count += 1;
            if *count <= SHOWN_MAX {
                text.push_str(&self.render_one(&renderer, problem));
                text.push_str("\n\n");
            }
        }
        for (path, count) in counts.into_iter().filter(|(_, count)| *count > SHOWN_MAX) {
            // Writing to a string can't fail.
            let _ = write!(text, "{} more in {path}\n\n", count - SHOWN_MAX);
        }
        text
    }

    fn render_one(&self, renderer: &Renderer, problem: &Problem) -> String {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        let help = Level::HELP.message(problem.help.as_str());
        let path = problem.path.as_str();
        let text = self.texts.get(path);
        let Some((position, text)) = problem.position.zip(text) else {
            return renderer.render(&[title.element(Origin::path(path)).element(help)]);
        };
        let place = AnnotationKind::Primary.span(position.start..position.end);
        let snippet = Snippet::source(shown(text)).path(path).annotation(place);
        renderer.render(&[title.element(snippet).element(help)])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: BTreeSet<_> = self.problems.iter().map(|problem| &problem.path).collect();
        write!(formatter, "{} in {}", counted(self.len(), "mistake"), counted(files.len(), "file"))
    }
}

/// So many of a thing.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

impl std::error::Error for Problems {}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.problems)
    }
}

/// Messages quote what was read, which may hold line breaks and codes that steer a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' => line.push(' '),
            _ if is_unseen(character) => line.extend(character.escape_unicode()),
            _ => line.push(character),
        }
    }
    normalize_untrusted_str(&without_middle(&line))
}

/// Characters that show as nothing, or change what is shown around them, and that the renderer lets pass.
pub(crate) fn is_unseen(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}' | '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What is wrong with a text is told by its start and its end, however long it is.
fn without_middle(text: &str) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= MESSAGE_MAX {
        return text.into();
    }
    let kept = MESSAGE_MAX / 2;
    let start = text.chars().take(kept).collect::<String>();
    let end = text.chars().skip(length - kept).collect::<String>();
    format!("{start}…{end}").into()
}

/// The text of a file as it can be shown; every character stays where it is.
fn shown(text: &str) -> Cow<'_, str> {
    if text.contains(is_steering) { text.replace(is_steering, "\u{b7}").into() } else { text.into() }
}

/// Controls of two bytes, as many as the dot has that stands for them.
fn is_steering(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}')
}

/// Where problems of one file go.
pub(crate) struct Report<'a> {
    source: &'a Source,
    problems: &'a mut Problems,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: &'a Source, problems: &'a mut Problems) -> Self {
        Self { source, problems }
    }

    /// The file that is being read.
    pub(crate) fn source(&self) -> &'a Source {
        self.source
    }

    /// Where they go, for what knows its file by itself.
    pub(crate) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// Adds a problem at a place.
    pub(crate) fn add(&mut self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.problems.add(self.source, span, message, help);
    }

    /// Adds a problem of the whole file.
    pub(crate) fn add_file(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.problems.add_file(&self.source.path, message, help);
    }
}

/// Letters from which the start of a word is taken for the word.
const START_MIN: usize = 3;

/// The known word that `read` was probably meant to be.
pub(crate) fn nearest<'a>(read: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<_> = known.into_iter().collect();
    let read = read.to_lowercase();
    let allowed = (read.chars().count() / 3).max(1);
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&read, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| *word)
        .or_else(|| {
            // The start of a word, such as `env` of `env_vars`, is further from it than typing mistakes are.
            let started = known.iter().filter(|word| word.to_lowercase().starts_with(&read));
            started.filter(|_| read.chars().count() >= START_MIN).min_by_key(|word| word.len()).copied()
        })
}

/// `` `a`, `b` or `c` ``
pub(crate) fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let source = Source::new("pack.yaml", "ä: 1\nöö: x\n");
        let at = source.text.find('x').expect("an x");
        let Position { line, column, .. } = source.position(&(at..at + 1));
        assert_eq!((line, column), (2, 5));
        // Beyond the end, and within a character.
        assert_eq!(source.position(&(900..901)).line, 3);
        assert_eq!(source.position(&(1..2)).start, 0);
    }

    #[test]
    fn nearest_words() {
        let known = ["label", "entry_point", "runtime", "runtime_variant", "aliases"];
        for (read, expected) in [
            ("lable", Some("label")),
            ("entrypoint", Some("entry_point")),
            ("Runtime", Some("runtime")),
            ("runtmie", Some("runtime")),
            ("alias", Some("aliases")),
            ("entry", Some("entry_point")),
            ("run", Some("runtime")),
            ("ru", None),
            ("", None),
            ("xyz", None),
        ] {
            assert_eq!(nearest(read, known), expected, "{read}");
        }
    }

    #[test]
    fn problems_are_ordered_and_said_once() {
        let source = Source::new("b.yaml", "one\ntwo\n");
        let mut problems = Problems::default();
        problems.add(&source, &(4..7), "second", "help");
        problems.add(&source, &(0..3), "first", "help");
        problems.add(&source, &(0..3), "first", "help");
        problems.add_file("a.yaml", "of a file", "help");
        let order: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(order, ["of a file", "first", "second"]);
        assert_eq!(problems.to_string(), "3 mistakes in 2 files");
    }

    #[test]
    fn terminal_codes_are_made_visible() {
        let source = Source::new("a.yaml", "x\n");
        let mut problems = Problems::default();
        problems.add(&source, &(0..1), "read `\u{1b}[31m\nred`", "\u{7}");
        let rendered = problems.render(false);
        assert!(!rendered.contains(['\u{1b}', '\u{7}']), "{rendered:?}");
        assert!(rendered.contains("[31m red"), "{rendered:?}");
    }

    #[test]
    fn what_is_not_seen_is_made_visible() {
        let source = Source::new("a.yaml", "\u{9b}31m\u{85}x\n");
        let mut problems = Problems::default();
        problems.add(&source, &(0..1), "read `\u{85}a\u{202e}b\u{feff}`", "\u{9b}31m");
        let rendered = problems.render(false);
        assert!(!rendered.contains(is_unseen), "{rendered:?}");
        assert!(rendered.contains(r"`\u{85}a\u{202e}b\u{feff}`"), "{rendered}");
    }

    #[test]
    fn too_much_is_cut() {
        let source = Source::new("a.yaml", &"x\n".repeat(200));
        let mut problems = Problems::default();
        for line in 0..150 {
            problems.add(&source, &(2 * line..2 * line + 1), format!("`{}` is wrong", "x".repeat(5_000)), "");
        }
        let rendered = problems.render(false);
        assert_eq!(rendered.matches("` is wrong").count(), SHOWN_MAX);
        assert!(rendered.ends_with("\n\n50 more in a.yaml\n\n"), "{rendered}");
        assert_eq!(problems.to_string(), "150 mistakes in 1 file");
        assert!(problems.iter().all(|problem| problem.message.chars().count() == MESSAGE_MAX + 1));
    }

    #[test]
    fn as_data() {
        let source = Source::new("a.yaml", "x: y\n");
        let mut problems = Problems::default();
        problems.add(&source, &(3..4), "message", "help");
        problems.add_file("b.yaml", "message", "help");
        insta::assert_snapshot!(serde_json::to_string(&problems).expect("serialisable"), @r#"
            [{"file":"a.yaml","line":1,"column":4,"start":3,"end":4,"message":"message","help":"help"},{"file":"b.yaml","line":null,"column":null,"start":null,"end":null,"message":"message","help":"help"}]
            "#);
    }
}
