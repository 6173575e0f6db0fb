//! Tables without borders that fit the terminal, and in which no word is broken: what is read there is copied to the next
//! command.

use std::io::{self, IsTerminal};

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};

/// Columns between two cells.
const GAP: u16 = 2;

/// A table for `headings` and rows of cells. Where there is no room for a line of each row, texts are wrapped; where
/// there is none for the longest words either, each row is a block with a line for each cell.
pub(super) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    narrowed(N, headings, rows)
}

/// The same for what is looked over, a line each: what comes after the first `essential` columns is left out where there is
/// no room for it.
pub(super) fn narrowed<const N: usize>(
    essential: usize,
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows = rows.into_iter().collect::<Vec<_>>();
    // What is read by a program is never wrapped.
    let width = if io::stdout().is_terminal() { Table::new().width() } else { None };
    arranged(essential, headings, &rows, width.unwrap_or(u16::MAX))
}

fn arranged<const N: usize>(
    essential: usize,
    headings: [&str; N],
    rows: &[[String; N]],
    width: u16,
) -> String {
    let full = widths(headings.map(str::to_owned), rows.iter().cloned());
    let words = |cell: &str| cell.split_whitespace().collect::<Vec<_>>().join("\n");
    let least = widths(headings.map(words), rows.iter().map(|row| row.each_ref().map(|cell| words(cell))));
    let shown = (essential..=N).rev().find(|shown| sum(&full[..*shown]) <= width).unwrap_or(essential);
    if shown > 1 && sum(&least[..shown]) > width {
        return blocks(headings, rows);
    }
    let mut table = filled(headings.map(str::to_owned), rows.iter().cloned());
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
    let fit = shrunk(&full[..shown], &least[..shown], width);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP)).set_constraint(match fit.get(index) {
            Some(content) => ColumnConstraint::Absolute(Width::Fixed(content.saturating_add(GAP))),
            None => ColumnConstraint::Hidden,
        });
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn filled<const N: usize>(headings: [String; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings).add_rows(rows);
    table
}

/// How wide the widest line of each column is, colours apart.
fn widths<const N: usize>(headings: [String; N], rows: impl Iterator<Item = [String; N]>) -> Vec<u16> {
    filled(headings, rows).column_max_content_widths()
}

/// How wide columns are together.
fn sum(widths: &[u16]) -> u16 {
    widths.iter().copied().reduce(|sum, width| sum.saturating_add(GAP).saturating_add(width)).unwrap_or(0)
}

/// Takes from the widest columns what is too much for `width`, and from none more than leaves `least`.
fn shrunk(full: &[u16], least: &[u16], width: u16) -> Vec<u16> {
    let mut fit = full.to_vec();
    while sum(&fit) > width {
        let shrinkable = fit.iter_mut().zip(least).filter(|(fit, least)| **fit > **least);
        let Some((widest, _)) = shrinkable.max_by_key(|(fit, _)| **fit) else { break };
        *widest -= 1;
    }
    fit
}

/// Each row as a block of lines, with a heading and a cell each.
fn blocks<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let column = headings.iter().map(|heading| heading.len()).max().unwrap_or_default();
    let block = |row: &[String; N]| {
        let cells = headings.iter().zip(row);
        let lines =
            cells.map(|(heading, cell)| format!("{heading:<column$}  {cell}").trim_end().to_owned() + "\n");
        lines.collect::<String>()
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::arranged;

    const HEADINGS: [&str; 4] = ["NAME", "STATUS", "ENQUEUED (UTC)", "REASON"];

    fn row(cells: [&str; 4]) -> [String; 4] {
        cells.map(str::to_owned)
    }

    fn rows() -> Vec<[String; 4]> {
        vec![
            row(["core.echo", "\x1b[32msucceeded\x1b[0m", "2026-01-02 03:04", "it did what it should"]),
            row(["core.fail", "failed", "-", "-"]),
        ]
    }

    #[test]
    fn with_room_each_row_is_a_line() {
        let expected = "\
NAME       STATUS     ENQUEUED (UTC)    REASON
core.echo  \x1b[32msucceeded\x1b[0m  2026-01-02 03:04  it did what it should
core.fail  failed     -                 -
";
        for width in [61, u16::MAX] {
            assert_eq!(arranged(4, HEADINGS, &rows(), width), expected);
        }
    }

    #[test]
    fn texts_are_wrapped_and_columns_left_out() {
        let wrapped = "\
NAME       STATUS     ENQUEUED     REASON
                      (UTC)
core.echo  \x1b[32msucceeded\x1b[0m  2026-01-02   it did what
                      03:04        it should
core.fail  failed     -            -
";
        assert_eq!(arranged(4, HEADINGS, &rows(), 46), wrapped);
        let short = "\
NAME       STATUS
core.echo  \x1b[32msucceeded\x1b[0m
core.fail  failed
";
        assert_eq!(arranged(2, HEADINGS, &rows(), 37), short);
    }

    #[test]
    fn where_words_have_no_room_each_row_is_a_block() {
        let expected = "\
NAME            core.echo
STATUS          \x1b[32msucceeded\x1b[0m
ENQUEUED (UTC)  2026-01-02 03:04
REASON          it did what it should

NAME            core.fail
STATUS          failed
ENQUEUED (UTC)  -
REASON          -
";
        for essential in [2, 4] {
            assert_eq!(arranged(essential, HEADINGS, &rows(), 19), expected);
        }
    }

    proptest! {
        #[test]
        fn no_word_is_ever_broken(
            rows in prop::collection::vec(prop::array::uniform4("[a-z/.é]{1,20}( [a-z]{1,12}){0,4}"), 1..6),
            essential in 1usize..=4,
            width in 1u16..200,
        ) {
            let text = arranged(essential, ["A", "B", "C", "D"], &rows, width);
            let is_block = text.starts_with("A  ") && text.lines().nth(1).is_some_and(|line| line.starts_with("B  "));
            for cell in rows.iter().flat_map(|row| &row[..essential]) {
                for word in cell.split(' ') {
                    prop_assert!(text.split_whitespace().any(|there| there == word), "{word} of\n{text}");
                }
            }
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
            prop_assert!(is_block || essential == 1 || widest <= usize::from(width), "{widest} of {width}:\n{text}");
        }
    }
}
