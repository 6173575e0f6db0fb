//! `attune plugin diff`: in what two components differ.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::inspect::{needs, size};
use super::subject::{Subject, Use};
use crate::cli::failure::Failed;
use crate::cli::grants::{Item, items, without};
use crate::cli::output::{Output, Tone};
use crate::plugin::Required;
use crate::worker::Worker;

#[derive(Serialize)]
struct Difference<'a> {
    old: &'a str,
    new: &'a str,
    /// Byte for byte; what may be done with them may differ.
    same: bool,
    sha256: [&'a str; 2],
    size: [u64; 2],
    contract: [Option<&'a str>; 2],
    needs: [Option<Required>; 2],
    exports: Changes,
    imports: Changes,
    /// What runtimes ask for, where both components are used by any.
    grants: Vec<GrantsChange>,
}

/// What is only on one side.
#[derive(Serialize)]
struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
}

#[derive(Serialize)]
struct GrantsChange {
    runtime: String,
    #[serde(flatten)]
    changes: Changes,
}

impl Changes {
    fn between(old: &[String], new: &[String]) -> Self {
        let only = |one: &[String], other: &[String]| {
            one.iter().filter(|name| !other.contains(name)).cloned().collect()
        };
        Self { added: only(new, old), removed: only(old, new) }
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

pub(super) async fn diff(worker: &Worker, (old, new): (&str, &str), output: &Output) -> Result<(), Failed> {
    let old = Subject::find(worker, old, output).await?;
    let new = Subject::find(worker, new, output).await?;
    let difference = Difference {
        old: &old.component,
        new: &new.component,
        same: old.sha256 == new.sha256,
        sha256: [&old.sha256, &new.sha256],
        size: [old.size, new.size],
        contract: [old.contract.as_deref(), new.contract.as_deref()],
        needs: [old.needs, new.needs],
        exports: Changes::between(&old.exports, &new.exports),
        imports: Changes::between(&old.imports.all(), &new.imports.all()),
        grants: grants(&old.runtimes, &new.runtimes),
    };
    output.data(&difference, || describe(&difference, output))?;
    Ok(())
}

/// Runtimes are the same if they are called the same within their packs, or are the only ones.
fn grants(old: &[Use], new: &[Use]) -> Vec<GrantsChange> {
    if old.is_empty() || new.is_empty() {
        return Vec::new();
    }
    let name = |used: &Use| match (old, new, used.runtime.split_once('.')) {
        ([_], [only], _) => only.runtime.clone(),
        (_, _, Some((_, name))) => name.to_owned(),
        (_, _, None) => used.runtime.clone(),
    };
    let asked = |uses: &[Use], wanted: &str| {
        uses.iter().find(|used| name(used) == wanted).map(|used| items(&used.asked)).unwrap_or_default()
    };
    let written = |items: Vec<Item>| items.iter().map(ToString::to_string).collect();
    let names = old.iter().chain(new).map(name).collect::<BTreeSet<_>>();
    let changes = names.into_iter().map(|runtime| {
        let (old, new) = (asked(old, &runtime), asked(new, &runtime));
        let changes = Changes { added: written(without(&new, &old)), removed: written(without(&old, &new)) };
        GrantsChange { runtime, changes }
    });
    changes.filter(|change| !change.changes.is_empty()).collect()
}

fn describe(difference: &Difference<'_>, output: &Output) -> String {
    let mut text = format!("from {}\nto   {}\n", difference.old, difference.new);
    let before = text.len();
    // Writing to a string can't fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
    if !difference.same {
        let [old, new] = difference.sha256.map(short);
        line("sha256", &format!("{old} → {new}"));
    }
    if difference.size[0] != difference.size[1] {
        let [old, new] = difference.size;
        let sign = if new > old { '+' } else { '-' };
        line("size", &format!("{} → {}, {sign}{} bytes", size(old), size(new), old.abs_diff(new)));
    }
    if difference.contract[0] != difference.contract[1] {
        let [old, new] = difference.contract.map(|version| version.unwrap_or("none"));
        line("contract", &format!("{old} → {new}"));
    }
    if difference.needs[0] != difference.needs[1] {
        let [old, new] = difference.needs.map(|required| required.map(needs).unwrap_or_default());
        line("needs", &format!("{old} → {new}"));
    }
    let mut changes = |name: &str, changes: &Changes| {
        for removed in &changes.removed {
            line(name, &output.data_tone(Tone::Bad, &format!("- {removed}")));
        }
        for added in &changes.added {
            line(name, &output.data_tone(Tone::Good, &format!("+ {added}")));
        }
    };
    changes("exports", &difference.exports);
    changes("imports", &difference.imports);
    for change in &difference.grants {
        changes(&format!("{} asks", change.runtime), &change.changes);
    }
    if text.len() == before {
        text.push_str("no difference\n");
    }
    text
}
