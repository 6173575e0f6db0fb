//! A selection as a table for people: one line for each candidate, best first, with its reason.

use super::{Candidate, Selection};
use crate::printable::one_line;

/// Columns are two spaces apart, lines have no trailing spaces. Colours and warnings are the caller's.
#[must_use]
pub fn table(selection: &Selection) -> String {
    let with_paths = selection.judged.iter().any(|judged| !judged.candidate.path.as_os_str().is_empty());
    let header = ["", "version", "declared", "path", "reason"].map(str::to_owned);
    let rows = selection.judged.iter().enumerate().map(|(position, judged)| {
        let candidate = &judged.candidate;
        let chosen = position == 0 && selection.chosen().is_some();
        [
            if chosen { "*" } else { "" }.to_owned(),
            candidate.version.to_string(),
            declared(candidate),
            candidate.path.display().to_string(),
            judged.reason.to_string(),
        ]
        // Paths and the words of failing tools may hold anything.
        .map(|cell| one_line(&cell).into_owned())
    });
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(rows).collect();
    let shown: &[usize] = if with_paths { &[0, 1, 2, 3, 4] } else { &[0, 1, 2, 4] };

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

fn declared(candidate: &Candidate) -> String {
    match &candidate.declared {
        Some(declared) if declared.is_default => format!("{} (default)", declared.version),
        Some(declared) => declared.version.clone(),
        None => String::new(),
    }
}
