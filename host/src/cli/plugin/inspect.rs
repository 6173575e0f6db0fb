//! `attune plugin inspect`: what a component is made of, and what it may do.

use std::fmt::Write as _;

use super::subject::{Subject, Use};
use crate::cli::failure::Failed;
use crate::cli::grants::items;
use crate::cli::output::{Output, Tone};
use crate::cli::runtime::denial_text;
use crate::cli::table::table;
use crate::pack::problem::counted;
use crate::plugin::Required;
use crate::worker::Worker;

pub(super) async fn inspect(worker: &Worker, component: &str, output: &Output) -> Result<(), Failed> {
    let subject = Subject::find(worker, component, output).await?;
    output.data(&subject, || describe(&subject, output))?;
    Ok(())
}

fn describe(subject: &Subject, output: &Output) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    line("component", &subject.component);
    line("sha256", &subject.sha256);
    line("vouched for", &subject.vouched.to_string());
    line("size", &size(subject.size));
    line("contract", subject.contract.as_deref().unwrap_or("none"));
    line("needs", &subject.needs.map(needs).unwrap_or_default());
    let how =
        if subject.loading.compiled { "compiled now, and kept for the next time" } else { "compiled before" };
    line("loaded", &format!("in {:.1} ms, {how}", subject.loading.milliseconds));
    for name in &subject.exports {
        line("exports", name);
    }
    for name in &subject.imports.attune {
        line("imports", name);
    }
    for name in &subject.imports.other {
        line("imports", &output.data_tone(Tone::Warning, name));
    }
    if !subject.imports.wasi.is_empty() {
        line("and of WASI", &subject.imports.wasi.join(" "));
    }
    if !subject.runtimes.is_empty() {
        text.push('\n');
        text.push_str(&grants(&subject.runtimes, output));
        for used in &subject.runtimes {
            for denial in &used.denials {
                let _ = writeln!(text, "{} was denied {}", used.runtime, denial_text(&denial.clone().into()));
            }
        }
    }
    text
}

/// Bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let parts = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        MIB.. => format!("{} MiB ({bytes} bytes)", parts(MIB)),
        KIB.. => format!("{} KiB ({bytes} bytes)", parts(KIB)),
        _ => format!("{bytes} bytes"),
    }
}

pub(super) fn needs(required: Required) -> String {
    let Required { memories, memory_bytes, tables, table_elements } = required;
    let count = |count: u32, singular: &str, plural: &str| {
        if count == 1 { format!("1 {singular}") } else { format!("{count} {plural}") }
    };
    format!(
        "{} of at most {} to start with, {} of at most {}",
        count(memories, "memory", "memories"),
        size(memory_bytes),
        count(tables, "table", "tables"),
        counted(usize::try_from(table_elements).unwrap_or(usize::MAX), "element"),
    )
}

/// What is asked, a row for each, and what of it is not approved.
fn grants(runtimes: &[Use], output: &Output) -> String {
    let mut rows = Vec::new();
    for used in runtimes {
        let asked = items(&used.asked);
        let approved = used.approved.as_ref().map(items).unwrap_or_default();
        if asked.is_empty() {
            rows.push([used.runtime.clone(), "nothing".to_owned(), String::new(), String::new()]);
        }
        for item in asked {
            let remark = match used.installed {
                true if approved.contains(&item) => "yes".to_owned(),
                true => output.data_tone(Tone::Bad, "NO"),
                false => "not installed".to_owned(),
            };
            rows.push([used.runtime.clone(), item.verb.to_owned(), item.object, remark]);
        }
    }
    table(["RUNTIME", "ASKS TO", "WHAT", "APPROVED"], rows)
}
