//! A selection as a table for people: one line for each candidate, best first, with its reason.

use super::{Candidate, Selection};
use crate::printable::one_line;

/// Columns of the table, of which each but these is always there.
const SERIES: usize = 2;
const PATH: usize = 3;

/// Columns are two spaces apart, lines have no trailing spaces. Colours and warnings are the caller's.
#[must_use]
pub fn table(selection: &Selection) -> String {
    rows_table(selection.judged.iter().enumerate().map(|(position, judged)| {
        let candidate = &judged.candidate;
        let chosen = position == 0 && selection.chosen().is_some();
        [
            if chosen { "*" } else { "" }.to_owned(),
            candidate.version.to_string(),
            series(candidate),
            candidate.path.display().to_string(),
            judged.reason.to_string(),
        ]
    }))
}

/// The same of candidates that were judged elsewhere: a mark, version, series, path and reason of each.
#[must_use]
pub fn rows_table(candidates: impl Iterator<Item = [String; 5]>) -> String {
    let header = ["", "VERSION", "SERIES", "PATH", "REASON"].map(str::to_owned);
    // Paths and the words of failing tools may hold anything.
    let candidates = candidates.map(|row| row.map(|cell| one_line(&cell).into_owned()));
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(candidates).collect();
    let with_paths = rows[1..].iter().any(|row| !row[PATH].is_empty());
    let shown: Vec<usize> = (0..rows[0].len())
        .filter(|&column| match column {
            SERIES => rows[1..].iter().any(|row| !row[SERIES].is_empty()),
            PATH => with_paths,
            _ => true,
        })
        .collect();

    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default().max(1);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            shown.iter().map(|&column| format!("{:<width$}", row[column], width = width(column))).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The declared version of the runtime that covers it, unless that is no more than its own version.
fn series(candidate: &Candidate) -> String {
    let Some(declared) = &candidate.declared else { return String::new() };
    let own = declared.version == candidate.version.to_string();
    match (own, declared.is_default) {
        (true, true) => "default".to_owned(),
        (true, false) => String::new(),
        (false, true) => format!("{} (default)", declared.version),
        (false, false) => declared.version.clone(),
    }
}
