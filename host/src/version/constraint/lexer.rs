//! Cutting a constraint into operators, separators and words, with their places.

use std::ops::Range as Span;

use super::comparator::Operator;
use crate::version::fault::Fault;
use crate::version::written::{Written, is_part_of_word};

/// The longest constraint, in characters.
const CHARACTERS_MAX: usize = 256;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol<'t> {
    Operator(Operator),
    Comma,
    /// `||`
    Or,
    /// A version, an alias, the hyphen of a range, or something that will turn out to be none of them.
    Word(&'t str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) symbol: Symbol<'t>,
    pub(super) span: Span<usize>,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Fault> {
    let length = text.chars().count();
    if length > CHARACTERS_MAX {
        let cut = text.char_indices().nth(CHARACTERS_MAX).map_or(text.len(), |(start, _)| start);
        return Err(Fault::new(
            cut..text.len(),
            format!("the text has {length} characters, a constraint has at most {CHARACTERS_MAX}"),
        )
        .hint("join neighbouring versions into ranges"));
    }
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let length = match first {
            ' ' => 1,
            ',' => push(&mut tokens, Symbol::Comma, start, 1),
            '|' => {
                let run = run_length(&text[start..], |character| character == '|');
                if run != 2 {
                    return Err(Fault::new(
                        start..start + run,
                        format!("`{}` means nothing", &text[start..start + run]),
                    )
                    .hint("write `||` for “or”"));
                }
                push(&mut tokens, Symbol::Or, start, 2)
            }
            '&' => {
                let run = run_length(&text[start..], |character| character == '&');
                return Err(Fault::new(
                    start..start + run,
                    format!("`{}` means nothing", &text[start..start + run]),
                )
                .hint("write a comma or a space for “and”"));
            }
            '<' | '>' | '=' | '!' | '~' | '^' => {
                let run = run_length(&text[start..], is_operator);
                let operator = operator(&text[start..start + run], &text[start + run..])
                    .map_err(|(message, hint)| Fault::new(start..start + run, message).hint(hint))?;
                push(&mut tokens, Symbol::Operator(operator), start, run)
            }
            first if is_part_of_word(first) => {
                let run = run_length(&text[start..], is_part_of_word);
                push(&mut tokens, Symbol::Word(&text[start..start + run]), start, run)
            }
            other => return Err(foreign(other, start)),
        };
        start += length;
    }
    Ok(tokens)
}

fn push<'t>(tokens: &mut Vec<Token<'t>>, symbol: Symbol<'t>, start: usize, length: usize) -> usize {
    tokens.push(Token { symbol, span: start..start + length });
    length
}

/// Bytes of `text` up to the first character that is not `wanted`.
fn run_length(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|character| !wanted(character)).unwrap_or(text.len())
}

fn is_operator(character: char) -> bool {
    matches!(character, '<' | '>' | '=' | '!' | '~' | '^')
}

/// The operator that is written `read`, or what is wrong with it and what would be right. `rest` is what follows.
fn operator(read: &str, rest: &str) -> Result<Operator, (String, String)> {
    let instead = match read {
        "=" | "==" => return Ok(Operator::Equal),
        "!=" => return Ok(Operator::NotEqual),
        ">" => return Ok(Operator::Greater),
        ">=" => return Ok(Operator::GreaterEqual),
        "<" => return Ok(Operator::Less),
        "<=" => return Ok(Operator::LessEqual),
        "~" => return Ok(Operator::Tilde),
        "^" => return Ok(Operator::Caret),
        "~=" | "~>" => {
            return Err((format!("`{read}` is not an operator here"), compatible_release(rest)));
        }
        "=>" | ">==" => ">=",
        "=<" | "<==" => "<=",
        "===" => "=",
        "!" | "=!" | "<>" | "!==" => "!=",
        ">>" => ">",
        "<<" => "<",
        "~~" => "~",
        "^^" => "^",
        _ => {
            return Err((
                format!("`{read}` is not an operator"),
                "operators are `=`, `!=`, `>`, `>=`, `<`, `<=`, `~` and `^`".to_owned(),
            ));
        }
    };
    Err((format!("`{read}` is not an operator"), format!("write `{instead}`")))
}

/// What other grammars mean by `~=` or `~>`: the last part that is given may grow.
fn compatible_release(rest: &str) -> String {
    let operand = rest.trim_start_matches(' ');
    let operand = &operand[..run_length(operand, is_part_of_word)];
    let series = Written::read(operand, 0).ok().and_then(|written| written.series);
    match series {
        Some(series) if series.is_complete() => format!("write `~{series}`"),
        Some(series) if series.minor.is_none() => format!("write `{series}`"),
        Some(series) if series.major == 0 => format!("write `>={series}, <1`"),
        Some(series) => format!("write `^{series}`"),
        None => "write `~3.12.1` to let the last number grow, `^3.12` to let the last but one".to_owned(),
    }
}

/// What is wrong with a character that belongs to no token.
fn foreign(character: char, start: usize) -> Fault {
    let code = format!("U+{:04X}", u32::from(character));
    let message = if character.is_control() {
        format!("the control character {code} is not allowed")
    } else if character.is_ascii() {
        format!("`{character}` means nothing in a constraint")
    } else if character.is_numeric() {
        format!("`{character}` ({code}) is not an ASCII digit")
    } else {
        format!("`{}` ({code}) is not an ASCII character", character.escape_debug())
    };
    let hint = match character {
        '"' | '\'' | '`' | '“' | '”' | '‘' | '’' => "leave out the quotation marks",
        '(' | ')' => "leave out the parentheses: `||` separates alternatives, commas bind closer",
        ';' => "write a comma for “and”, `||` for “or”",
        '≥' => "write `>=`",
        '≤' => "write `<=`",
        '≠' => "write `!=`",
        '‐' | '‑' | '‒' | '–' | '—' | '−' => "write `-`, with spaces on both sides for a range",
        other if other.is_whitespace() || other.is_control() => "write an ordinary space, or nothing",
        other if other.is_numeric() => "write the digits `0` to `9`",
        _ => "a constraint is made of versions, operators, commas, spaces and `||`",
    };
    Fault::new(start..start + character.len_utf8(), message).hint(hint)
}
