//! From tokens to a range or an alias, by recursive descent: one function for each rule of the grammar.

use std::ops::Range as Span;

use super::comparator::{self, Operator};
use super::lexer::{self, Symbol, Token};
use super::range::{Alternative, Range};
use crate::version::fault::Fault;
use crate::version::series::Series;
use crate::version::written::Written;

/// The most versions that one constraint may compare with.
const COMPARATORS_MAX: usize = 32;

/// What a constraint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Range(Range),
    Alias(String),
}

pub(super) fn parse(text: &str) -> Result<Meaning, Fault> {
    let tokens = lexer::tokens(text)?;
    match tokens.as_slice() {
        [] => Ok(Meaning::Range(Range::unconstrained())),
        [Token { symbol: Symbol::Word(word), span }] if is_name(word) => {
            read_alias(word, span).map(Meaning::Alias)
        }
        tokens => {
            let parser = Parser { text, tokens, next: 0, comparators: 0, variant: None };
            parser.range().map(Meaning::Range)
        }
    }
}

/// Whether a word begins like an alias, not like a version or a wildcard.
fn is_name(word: &str) -> bool {
    let rest = word.strip_prefix(['v', 'V']).unwrap_or(word);
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && !rest.starts_with(|first: char| first.is_ascii_digit())
        && !matches!(word.split(['.', '+']).next(), Some("x" | "X"))
}

fn read_alias(word: &str, span: &Span<usize>) -> Result<String, Fault> {
    let is_alias = |text: &str| {
        text.split('/').all(|name| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
    };
    if is_alias(word) {
        return Ok(word.to_owned());
    }
    let lower = word.to_ascii_lowercase();
    if is_alias(&lower) {
        return Err(Fault::new(span.clone(), format!("the alias `{word}` has capital letters"))
            .hint(format!("write `{lower}`")));
    }
    match lower.strip_suffix("/*") {
        Some(alias) if is_alias(alias) => {
            Err(Fault::new(span.clone(), format!("the alias `{word}` has a wildcard"))
                .hint(format!("write `{alias}`")))
        }
        _ => Err(Written::read(word, span.start).err().unwrap_or_else(|| {
            Fault::new(span.clone(), format!("`{word}` is neither a version nor an alias"))
        })),
    }
}

/// A version where the grammar has one.
struct Operand<'t> {
    word: &'t str,
    span: Span<usize>,
    /// None for `*`.
    series: Option<Series>,
    wildcard: bool,
}

struct Parser<'t, 's> {
    text: &'t str,
    tokens: &'s [Token<'t>],
    next: usize,
    /// How many versions were read.
    comparators: usize,
    /// The variant that was read first.
    variant: Option<&'t str>,
}

impl<'t> Parser<'t, '_> {
    fn range(mut self) -> Result<Range, Fault> {
        let mut alternatives = Vec::new();
        loop {
            let start = self.next;
            let asked_before = self.variant.is_some();
            let mut asked_here = false;
            alternatives.push(self.alternative(&mut asked_here)?);
            if start > 0 && asked_before != asked_here {
                return Err(self.variant_in_some_alternatives(start));
            }
            match self.advance() {
                Some(_) => {}
                None => return Ok(Range::new(alternatives, self.variant.map(str::to_owned))),
            }
        }
    }

    /// One alternative, up to `||` or the end; `asked` becomes true if it asks for a variant.
    fn alternative(&mut self, asked: &mut bool) -> Result<Alternative, Fault> {
        let mut alternative = Alternative::default();
        if self.at_end_of_alternative() {
            return Err(self.empty_alternative());
        }
        if let Some(Token { symbol: Symbol::Comma, span }) = self.peek() {
            return Err(Fault::new(span.clone(), "there is nothing before the comma").hint("leave it out"));
        }
        loop {
            self.term(&mut alternative, asked)?;
            let end = self.previous_end();
            match self.peek() {
                None | Some(Token { symbol: Symbol::Or, .. }) => return Ok(alternative),
                Some(Token { symbol: Symbol::Comma, span }) => {
                    let comma = span.clone();
                    self.next += 1;
                    self.after_comma(comma)?;
                }
                Some(token) if token.span.start == end => {
                    let rest = &self.text[token.span.clone()];
                    return Err(Fault::new(
                        token.span.clone(),
                        format!("nothing separates `{rest}` from what is before it"),
                    )
                    .hint(format!("write a comma or a space before `{rest}`")));
                }
                Some(_) => {}
            }
        }
    }

    fn after_comma(&self, comma: Span<usize>) -> Result<(), Fault> {
        match self.peek() {
            None | Some(Token { symbol: Symbol::Or, .. }) => {
                Err(Fault::new(comma, "there is nothing after the comma").hint("leave it out"))
            }
            Some(Token { symbol: Symbol::Comma, span }) => {
                Err(Fault::new(span.clone(), "there is nothing between two commas").hint("leave one out"))
            }
            Some(_) => Ok(()),
        }
    }

    fn term(&mut self, alternative: &mut Alternative, asked: &mut bool) -> Result<(), Fault> {
        let operator = match self.peek() {
            Some(Token { symbol: Symbol::Operator(operator), span }) => {
                let operator = (*operator, span.clone());
                self.next += 1;
                Some(operator)
            }
            _ => None,
        };
        let operand = self.operand(operator.as_ref(), asked)?;
        if let Some(Token { symbol: Symbol::Word("-"), span }) = self.peek() {
            let hyphen = span.clone();
            self.next += 1;
            return match operator {
                Some((_, span)) => {
                    let read = &self.text[span.clone()];
                    Err(Fault::new(span, format!("`{read}` begins a range with a hyphen"))
                        .hint(format!("write the range without operators: `{} - …`", operand.word)))
                }
                None => self.hyphen_range(&operand, &hyphen, alternative, asked),
            };
        }
        compare(self.text, operator, operand, alternative)
    }

    fn hyphen_range(
        &mut self,
        start: &Operand<'t>,
        hyphen: &Span<usize>,
        alternative: &mut Alternative,
        asked: &mut bool,
    ) -> Result<(), Fault> {
        let end = match self.peek() {
            Some(Token { symbol: Symbol::Word(_), .. }) => self.operand(None, asked)?,
            Some(Token { symbol: Symbol::Operator(_), span }) => {
                return Err(Fault::new(span.clone(), "a range with a hyphen has no operators")
                    .hint(format!("write `{} - …` with a plain version, or two comparisons", start.word)));
            }
            _ => {
                return Err(Fault::new(hyphen.clone(), "the range has no upper end")
                    .hint(format!("write `>={}` for a range without an upper end", start.word)));
            }
        };
        alternative.require(comparator::greater_equal(&end_of_range(start)?));
        alternative.require(comparator::less_equal(&end_of_range(&end)?));
        Ok(())
    }

    fn operand(
        &mut self,
        operator: Option<&(Operator, Span<usize>)>,
        asked: &mut bool,
    ) -> Result<Operand<'t>, Fault> {
        let (word, span) = match self.peek() {
            Some(Token { symbol: Symbol::Word(word), span }) => (*word, span.clone()),
            other => return Err(without_version(self.text, operator, other)),
        };
        self.next += 1;
        if word == "-" {
            return Err(Fault::new(span, "the range has no lower end")
                .hint("write a version before the hyphen, or `<=` instead of it"));
        }
        if let Some(end) = word.strip_prefix('-') {
            return Err(Fault::new(span, format!("`{word}` begins with a hyphen"))
                .hint(format!("write a range with a space on both sides of the hyphen: `… - {end}`")));
        }
        if is_name(word) {
            return Err(name_in_range(word, &span));
        }
        self.comparators += 1;
        if self.comparators > COMPARATORS_MAX {
            return Err(Fault::new(
                span,
                format!("a constraint compares with at most {COMPARATORS_MAX} versions"),
            )
            .hint("join neighbouring versions into ranges"));
        }
        let Written { series, wildcard, suffix } = Written::read(word, span.start)?;
        if let Some(suffix) = suffix {
            let variant = suffix.variant()?;
            *asked = true;
            match self.variant {
                Some(first) if first != variant => {
                    return Err(Fault::new(
                        suffix.span,
                        format!("`+{variant}` differs from `+{first}` before it"),
                    )
                    .hint("a constraint asks for one variant; write another action for the other"));
                }
                _ => self.variant = Some(variant),
            }
        }
        Ok(Operand { word, span, series, wildcard })
    }

    fn peek(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.next)
    }

    fn advance(&mut self) -> Option<&Token<'t>> {
        let token = self.tokens.get(self.next);
        self.next += 1;
        token
    }

    /// Where the token before the next one ends.
    fn previous_end(&self) -> usize {
        self.next
            .checked_sub(1)
            .and_then(|previous| self.tokens.get(previous))
            .map_or(0, |token| token.span.end)
    }

    fn at_end_of_alternative(&self) -> bool {
        matches!(self.peek(), None | Some(Token { symbol: Symbol::Or, .. }))
    }

    /// At an `||` or at the end, after an `||`.
    fn empty_alternative(&self) -> Fault {
        let (token, side) = match self.next.checked_sub(1).and_then(|previous| self.tokens.get(previous)) {
            Some(before) => (Some(before), "after"),
            None => (self.peek(), "before"),
        };
        let span = token.map_or(0..0, |token| token.span.clone());
        Fault::new(span, format!("there is nothing {side} `||`"))
            .hint("leave the `||` out, or write `*` if any version will do")
    }

    /// For the alternative that begins with the token at `start`.
    fn variant_in_some_alternatives(&self, start: usize) -> Fault {
        let span = match (self.tokens.get(start), self.previous_end()) {
            (Some(first), end) => first.span.start..end,
            (None, end) => end..end,
        };
        Fault::new(span, "some alternatives ask for a variant and some don't")
            .hint(format!("write `+{}` in each of them", self.variant.unwrap_or_default()))
    }
}

/// Adds what `operator` and `operand` mean to `alternative`.
fn compare(
    text: &str,
    operator: Option<(Operator, Span<usize>)>,
    operand: Operand<'_>,
    alternative: &mut Alternative,
) -> Result<(), Fault> {
    let Operand { word, span, series, wildcard } = operand;
    let Some((operator, operator_span)) = operator else {
        if let Some(series) = series {
            alternative.require(comparator::tilde(&series));
        }
        return Ok(());
    };
    let read = &text[operator_span.clone()];
    let Some(series) = series else {
        return Err(Fault::new(operator_span.start..span.end, format!("`{read}` compares with any version"))
            .hint("write `*` alone for any version"));
    };
    if wildcard && !matches!(operator, Operator::Equal | Operator::NotEqual) {
        return Err(Fault::new(span, format!("`{read}` does not go with the wildcard of `{word}`"))
            .hint(format!("write `{read}{series}`")));
    }
    match operator {
        Operator::Equal => alternative.require(comparator::equal(&series)),
        Operator::NotEqual => alternative.exclude(series),
        Operator::Greater => alternative.require(comparator::greater(&series)),
        Operator::GreaterEqual => alternative.require(comparator::greater_equal(&series)),
        Operator::Less => alternative.require(comparator::less(&series)),
        Operator::LessEqual => alternative.require(comparator::less_equal(&series)),
        Operator::Tilde => alternative.require(comparator::tilde(&series)),
        Operator::Caret => alternative.require(comparator::caret(&series)),
    }
    Ok(())
}

fn end_of_range(operand: &Operand<'_>) -> Result<Series, Fault> {
    match &operand.series {
        Some(series) if !operand.wildcard => Ok(series.clone()),
        series => {
            let fault =
                Fault::new(operand.span.clone(), format!("`{}` ends a range with a wildcard", operand.word));
            Err(match series {
                Some(series) => fault.hint(format!("write `{series}`, which takes the whole series")),
                None => fault.hint("write `>=` or `<=` for a range without one of its ends"),
            })
        }
    }
}

/// For an operator that something else than a version follows, or for nothing where a term should be.
fn without_version(
    text: &str,
    operator: Option<&(Operator, Span<usize>)>,
    next: Option<&Token<'_>>,
) -> Fault {
    let Some((operator, span)) = operator else {
        let span = next.map_or(0..0, |token| token.span.clone());
        return Fault::new(span, "there is no version").hint("write one, such as `3.12`");
    };
    let read = &text[span.clone()];
    match next {
        Some(Token { symbol: Symbol::Operator(second), span: end }) => {
            let fault = Fault::new(
                span.start..end.end,
                format!("`{}` follows the operator `{read}`", &text[end.clone()]),
            );
            match (operator, second) {
                (Operator::Greater, Operator::Equal) => fault.hint("write `>=`, without a space"),
                (Operator::Less, Operator::Equal) => fault.hint("write `<=`, without a space"),
                _ => fault.hint("write one operator before each version"),
            }
        }
        _ => Fault::new(span.clone(), format!("`{read}` has no version after it"))
            .hint(format!("write `{read}3.12`, or leave it out")),
    }
}

fn name_in_range(word: &str, span: &Span<usize>) -> Fault {
    match word.to_ascii_lowercase().as_str() {
        "and" => Fault::new(span.clone(), format!("`{word}` is not a word of constraints"))
            .hint("write a comma or a space"),
        "or" => Fault::new(span.clone(), format!("`{word}` is not a word of constraints")).hint("write `||`"),
        _ => match read_alias(word, span) {
            Ok(alias) => {
                Fault::new(span.clone(), format!("`{alias}` is not a version, and an alias stands alone"))
                    .hint(format!("write `{alias}` alone, or versions only"))
            }
            Err(fault) => fault,
        },
    }
}
