//! `attune pack show`: what a pack ships, and what its actions run under on this machine now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value as Json;

use super::{no_pack, short};
use crate::cli::failure::Failed;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::table::table;
use crate::execution::choice::{Asked, ChoiceError, choose};
use crate::pack::{Action, Program, Sensor, embedded};
use crate::printable::printable;
use crate::reference::{PackRef, RuntimeRef};
use crate::store::pack::{PackRow, PluginRow};
use crate::worker::Worker;

#[derive(Serialize)]
struct PackView {
    #[serde(flatten)]
    pack: PackRow,
    runtimes: Vec<RuntimeRef>,
    /// What was approved for them and the settings of this worker withhold.
    withheld: BTreeMap<RuntimeRef, Vec<String>>,
    actions: Vec<ActionView>,
    sensors: Vec<ProgramView>,
    components: Vec<PluginRow>,
}

/// An action or a sensor.
#[derive(Serialize)]
struct ProgramView {
    #[serde(rename = "ref")]
    reference: String,
    label: String,
    description: Option<String>,
    /// As it is written.
    runtime: String,
    /// By its reference, for people.
    #[serde(skip)]
    runtime_reference: String,
    runtime_version_constraint: Option<String>,
    runtime_variant: Option<String>,
    /// Relative to the pack.
    entry_point: String,
    enabled: bool,
}

#[derive(Serialize)]
struct ActionView {
    #[serde(flatten)]
    program: ProgramView,
    /// JSON Schema.
    parameters: Option<Json>,
    /// Seconds.
    timeout: Option<f64>,
    retries: u32,
    concurrency: Option<u32>,
    idempotent: bool,
    /// None where the entry point is itself the program.
    runs_under: Option<RunsUnder>,
}

impl ProgramView {
    /// A program, and what else is said of what is started with it.
    async fn new(
        worker: &Worker,
        pack: &PackRef,
        program: Program,
        of: (String, String, Option<String>, bool),
    ) -> Self {
        let (reference, label, description, enabled) = of;
        Self {
            runtime_reference: runtime_reference(worker, &program, pack).await,
            runtime: program.runtime,
            reference,
            label,
            description,
            runtime_version_constraint: program.constraint.as_ref().map(ToString::to_string),
            runtime_variant: program.variant,
            entry_point: program.entry_point,
            enabled,
        }
    }

    fn row(&self) -> [String; 4] {
        let constraint = given(self.runtime_version_constraint.clone());
        [self.reference.clone(), self.runtime_reference.clone(), constraint, self.label.clone()]
    }
}

/// What an action would be started with now.
#[derive(Serialize)]
struct RunsUnder {
    /// Exact.
    version: Option<String>,
    path: Option<PathBuf>,
    /// Why nothing can be.
    problem: Option<String>,
}

impl RunsUnder {
    fn nothing(problem: &impl ToString) -> Self {
        Self { version: None, path: None, problem: Some(problem.to_string()) }
    }

    fn text(&self) -> String {
        match (&self.version, &self.path, &self.problem) {
            (Some(version), Some(path), _) => format!("{version} at {}", path.display()),
            (_, _, Some(problem)) => format!("nothing: {problem}"),
            (_, _, None) => String::new(),
        }
    }
}

pub(super) async fn show(worker: &Worker, reference: &PackRef, output: &Output) -> Result<(), Failed> {
    let store = &worker.store;
    let pack = store.pack(reference).await?.ok_or_else(|| no_pack(reference))?;
    let mut actions = Vec::new();
    let progress = Progress::begin(output);
    for row in store.actions(Some(reference)).await? {
        progress.say(format!("looking for what {} runs under", row.declared.reference));
        let runs_under = runs_under(worker, &row.declared).await;
        let Action { reference: name, label, description, enabled, program, .. } = row.declared;
        let of = (name.to_string(), label, description, enabled);
        actions.push(ActionView {
            program: ProgramView::new(worker, reference, program, of).await,
            parameters: row.declared.parameters.schema,
            timeout: row.declared.timeout.map(|timeout| timeout.as_secs_f64()),
            retries: row.declared.retries,
            concurrency: row.declared.concurrency,
            idempotent: row.declared.idempotent,
            runs_under,
        });
    }
    let mut sensors = Vec::new();
    for row in store.sensors(Some(reference)).await? {
        let Sensor { reference: name, label, description, enabled, program, .. } = row.declared;
        let of = (name.to_string(), label, description, enabled);
        sensors.push(ProgramView::new(worker, reference, program, of).await);
    }
    progress.end();
    let runtimes = store.runtimes_of(reference).await?;
    let mut withheld = BTreeMap::new();
    for name in &runtimes {
        if let Some(row) = store.runtime(name).await? {
            withheld.insert(name.clone(), super::withheld(worker, &row));
        }
    }
    withheld.retain(|_, withheld| !withheld.is_empty());
    let view = PackView {
        runtimes,
        withheld,
        actions,
        sensors,
        components: store.plugins_of(reference).await?,
        pack,
    };
    output.data(&view, || describe(&view))?;
    Ok(())
}

/// The reference of the runtime that a program names; as written if there is none.
async fn runtime_reference(worker: &Worker, program: &Program, pack: &PackRef) -> String {
    let runtime = worker.runtime(&program.runtime, Some(pack)).await;
    runtime.map_or_else(|_| program.runtime.clone(), |runtime| runtime.runtime.reference.to_string())
}

/// What an action would be started with now. That it can't be is not this command's failure.
async fn runs_under(worker: &Worker, action: &Action) -> Option<RunsUnder> {
    let program = &action.program;
    let runtime = match worker.runtime(&program.runtime, Some(action.reference.pack())).await {
        Ok(runtime) => runtime,
        Err(error) => return Some(RunsUnder::nothing(&error)),
    };
    let asked = Asked {
        constraint: program.constraint.as_ref(),
        variant: program.variant.as_deref(),
        policy: program.version_policy,
    };
    match choose(worker, &runtime, asked).await {
        Ok(choice) => Some(RunsUnder {
            version: Some(choice.version.to_string()),
            path: Some(choice.installation.path),
            problem: None,
        }),
        Err(ChoiceError::Direct { .. }) => None,
        Err(error) => Some(RunsUnder::nothing(&error)),
    }
}

/// What is known of a pack itself, a line each.
pub(in crate::cli) fn head(pack: &PackRow) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.trim().is_empty() {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name:<14}{}", printable(value.trim()));
        }
    };
    line("pack", pack.reference.as_str());
    line("label", &pack.label);
    line("description", pack.description.as_deref().unwrap_or_default());
    line("version", &pack.version);
    line("author", pack.author.as_deref().unwrap_or_default());
    line("tags", &pack.tags.join(", "));
    line("concurrency", &pack.concurrency.map(|limit| limit.to_string()).unwrap_or_default());
    line("digest", &pack.digest);
    line("from", &pack.source);
    line("installed", &pack.installed_at.to_rfc3339());
    let verified = match &pack.verified_by {
        Some(name) => format!("signed by `{name}`"),
        None if embedded::is_embedded(&pack.source) => "it comes with Attune".to_owned(),
        None => "no".to_owned(),
    };
    line("verified", &verified);
    text
}

fn describe(view: &PackView) -> String {
    let mut text = head(&view.pack);
    let mut line = |name: &str, value: &str| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name:<14}{}", value.trim());
    };
    for runtime in &view.runtimes {
        line("runtime", &runtime.to_string());
        for withheld in view.withheld.get(runtime).into_iter().flatten() {
            line("  may not", &format!("{withheld} (`[grants]` of the settings)"));
        }
    }
    for component in &view.components {
        line(
            "component",
            &format!("{:<14}{} bytes, sha256 {}", component.name, component.size, short(&component.sha256)),
        );
    }
    if !view.actions.is_empty() {
        text.push('\n');
        text.push_str(&actions(&view.actions));
    }
    if !view.sensors.is_empty() {
        text.push('\n');
        text.push_str(&programs("SENSOR", view.sensors.iter().map(ProgramView::row)));
    }
    text
}

pub(in crate::cli) fn given(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Reference, runtime, constraint and label of actions or sensors.
pub(in crate::cli) fn programs(heading: &str, rows: impl Iterator<Item = [String; 4]>) -> String {
    table([heading, "RUNTIME", "ASKS FOR", "LABEL"], rows)
}

fn actions(actions: &[ActionView]) -> String {
    table(
        ["ACTION", "RUNTIME", "ASKS FOR", "CONCURRENCY", "LABEL", "RUNS UNDER NOW"],
        actions.iter().map(|action| {
            let [reference, runtime, constraint, label] = action.program.row();
            let concurrency = given(action.concurrency.map(|limit| limit.to_string()));
            let runs_under = given(action.runs_under.as_ref().map(RunsUnder::text));
            [reference, runtime, constraint, concurrency, label, runs_under]
        }),
    )
}
