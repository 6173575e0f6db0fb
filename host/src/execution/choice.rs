//! Which installation runs an action: what is installed, put before the pure [`selection`](crate::selection).

use chrono::NaiveDate;

use crate::detection::{self, DetectionError, Freshness};
use crate::installation::{Identity, Installation};
use crate::pack::{ExecutionConfig, VersionPolicy};
use crate::selection::{Candidate, Declared, Selection, SelectionView, Wanted, select};
use crate::store::installation::FoundInstallation;
use crate::store::runtime::RuntimeRow;
use crate::store::runtime_version::RuntimeVersionRow;
use crate::version::Version;
use crate::version::constraint::{Constraint, Range, UnknownAlias};
use crate::worker::Worker;

/// What is asked of a runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    pub constraint: Option<&'a Constraint>,
    /// A build variant, beside what the constraint asks for.
    pub variant: Option<&'a str>,
    pub policy: VersionPolicy,
}

/// The installation that was chosen, and what follows from it.
#[derive(Clone, Debug)]
pub struct Choice {
    pub installation: FoundInstallation,
    /// Exact version of the installation.
    pub version: Version,
    /// Of the installation's file when it was verified.
    pub identity: Identity,
    /// What was asked for, as far as anything was.
    pub asked: Option<Constraint>,
    /// Label of the version of the runtime that covers it; none for the base runtime.
    pub label: Option<String>,
    /// The version's own, or the runtime's.
    pub config: ExecutionConfig,
    pub selection: Selection,
    /// Whether nothing satisfies what was asked, and the action allows the base runtime then.
    pub is_fallback: bool,
    pub warnings: Vec<String>,
    /// Whether installations had to be looked for.
    pub looked: bool,
}

impl Choice {
    /// The installation as components know it, and its identity when it was verified.
    #[must_use]
    pub fn installed(&self) -> (Installation, Identity) {
        let found = &self.installation;
        let installation = Installation {
            path: found.path.clone(),
            version: self.version.clone(),
            source: found.source.clone(),
            aliases: found.aliases.clone(),
            attributes: found.attributes.clone(),
        };
        (installation, self.identity.clone())
    }

    /// As it is recorded and shown.
    #[must_use]
    pub fn view(&self) -> SelectionView<'_> {
        SelectionView { fallback: self.is_fallback, ..SelectionView::from(&self.selection) }
    }
}

/// Why nothing was chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// Installations can't be looked for.
    #[error(transparent)]
    Detection(#[from] DetectionError),
    /// The constraint is a word that the runtime does not know.
    #[error(transparent)]
    Alias(#[from] UnknownAlias),
    /// No installation satisfies the constraint.
    #[error("no installation of `{runtime}` on this machine satisfies {asked}{hung}")]
    NoMatch {
        /// The runtime.
        runtime: String,
        /// What was asked for.
        asked: String,
        /// Every candidate, with its reason.
        selection: Box<Selection>,
        /// What may be one and did not answer in time, from `hung_text`.
        hung: String,
    },
    /// This worker is told to leave the runtime alone.
    #[error("this worker does not use `{runtime}`: `worker_runtimes` names only others")]
    NotServed {
        /// The runtime.
        runtime: String,
    },
    /// There is nothing to choose: the entry point is itself the program.
    #[error("`{runtime}` has no versions to choose from: the entry point is itself the program")]
    Direct {
        /// The runtime.
        runtime: String,
    },
}

/// An error if the worker is told to leave the runtime alone.
pub(crate) fn served(worker: &Worker, runtime: &RuntimeRow) -> Result<(), ChoiceError> {
    if worker.serves(runtime) {
        return Ok(());
    }
    Err(ChoiceError::NotServed { runtime: runtime.runtime.reference.to_string() })
}

/// Chooses an installation of `runtime`.
pub async fn choose(worker: &Worker, runtime: &RuntimeRow, asked: Asked<'_>) -> Result<Choice, ChoiceError> {
    let name = runtime.runtime.reference.to_string();
    if runtime.plugin.is_none() {
        return Err(ChoiceError::Direct { runtime: name });
    }
    served(worker, runtime)?;
    let range =
        asked.constraint.map(|constraint| constraint.resolve(&runtime.constraint_aliases)).transpose()?;
    let mut freshness = Freshness::IfChanged;
    loop {
        let detected = detection::detect(worker, runtime, freshness).await?;
        // Looking has made rows for versions that nobody declared.
        let reloaded = if detected.looked {
            let row = worker.store.runtime(&runtime.runtime.reference).await.map_err(DetectionError::from)?;
            Some(row.ok_or_else(|| ChoiceError::NotServed { runtime: name.clone() })?)
        } else {
            None
        };
        match judge(reloaded.as_ref().unwrap_or(runtime), &detected.installations, range.as_ref(), asked) {
            Ok(choice) => {
                return Ok(Choice { looked: detected.looked, asked: asked.constraint.cloned(), ..choice });
            }
            // Something may have changed that leaves no trace in what a detection looks at, such as a
            // library that an interpreter needs.
            Err(_) if !detected.looked && freshness == Freshness::IfChanged => {
                freshness = Freshness::Patiently;
            }
            Err(selection) => {
                return Err(ChoiceError::NoMatch {
                    runtime: name,
                    asked: asked_text(asked),
                    selection: Box::new(selection),
                    hung: hung_text(&detected.installations),
                });
            }
        }
    }
}

pub(crate) fn asked_text(asked: Asked<'_>) -> String {
    let constraint = asked.constraint.map(ToString::to_string).filter(|text| !text.is_empty());
    let what =
        constraint.map_or_else(|| "no constraint at all: none works".to_owned(), |text| format!("`{text}`"));
    match asked.variant {
        Some(variant) => format!("{what}, variant `{variant}`"),
        None => what,
    }
}

/// What can't be told from an installation since it does not answer, to follow a sentence; empty if all of them do.
pub(crate) fn hung_text(installations: &[FoundInstallation]) -> String {
    let hung = installations.iter().filter(|found| found.has_hung());
    hung.filter_map(|found| {
        let failure = found.status.failure()?;
        Some(format!("; `{}` is no candidate: {}", found.path.display(), failure.message))
    })
    .collect()
}

/// The choice among what is installed, or what was judged if there is none.
pub(crate) fn judge(
    runtime: &RuntimeRow,
    installations: &[FoundInstallation],
    range: Option<&Range>,
    asked: Asked<'_>,
) -> Result<Choice, Selection> {
    let candidates = candidates(runtime, installations);
    let wanted = Wanted { range, variant: asked.variant };
    let selection = select(&candidates, wanted);
    if let Some(chosen) = selection.chosen().cloned() {
        let version = chosen.declared.as_ref().map(|declared| &declared.version);
        let row =
            version.and_then(|version| runtime.versions.iter().find(|row| row.declared.version == *version));
        let warnings = selection.warnings.iter().map(ToString::to_string).collect();
        return choice(runtime, installations, (&chosen, row), selection, warnings);
    }
    if asked.policy == VersionPolicy::Fallback {
        let fallback = select(&candidates, Wanted { range: None, variant: asked.variant });
        if let Some(chosen) = fallback.chosen().cloned() {
            let warning = format!(
                "no installation satisfies {}: fell back to the base runtime, {}, as `version_policy: fallback` allows",
                asked_text(asked),
                chosen.version
            );
            let choice = choice(runtime, installations, (&chosen, None), fallback, vec![warning])?;
            return Ok(Choice { is_fallback: true, ..choice });
        }
    }
    Err(selection)
}

fn choice(
    runtime: &RuntimeRow,
    installations: &[FoundInstallation],
    (chosen, row): (&Candidate, Option<&RuntimeVersionRow>),
    selection: Selection,
    mut warnings: Vec<String>,
) -> Result<Choice, Selection> {
    let found = installations.iter().find(|found| found.path == chosen.path);
    let Some((installation, identity)) = found.and_then(|found| Some((found, found.identity.clone()?)))
    else {
        return Err(selection);
    };
    warnings.extend(row.and_then(|row| end_of_life(runtime, row, chrono::Utc::now().date_naive())));
    Ok(Choice {
        installation: installation.clone(),
        version: chosen.version.clone(),
        identity,
        asked: None,
        label: row.map(|row| row.declared.version.clone()),
        config: row.map_or(&runtime.runtime.execution_config, |row| &row.declared.execution_config).clone(),
        selection,
        is_fallback: false,
        warnings,
        looked: false,
    })
}

/// A warning if the version's `meta` says that nobody maintains it any more.
pub(crate) fn end_of_life(runtime: &RuntimeRow, row: &RuntimeVersionRow, today: NaiveDate) -> Option<String> {
    let date = row.declared.meta.get("eol")?.parse::<NaiveDate>().ok()?;
    (date < today).then(|| {
        format!("{} {} reached its end of life on {date}", runtime.runtime.label, row.declared.version)
    })
}

/// What is installed, as selection sees it. What only looked like an installation has no version and is
/// no candidate.
fn candidates(runtime: &RuntimeRow, installations: &[FoundInstallation]) -> Vec<Candidate> {
    let sources =
        runtime.runtime.plugin.as_ref().map(|plugin| plugin.grants.search.as_slice()).unwrap_or_default();
    installations
        .iter()
        .filter_map(|found| {
            let row = runtime
                .versions
                .iter()
                .find(|row| found.runtime_version.as_deref() == Some(&row.declared.version));
            let rank = sources.iter().position(|root| root.source == found.source).unwrap_or(sources.len());
            Some(Candidate {
                version: found.version.clone()?,
                path: found.path.clone(),
                declared: row.map(|row| Declared {
                    version: row.declared.version.clone(),
                    is_default: row.declared.is_default,
                }),
                source_rank: u32::try_from(rank).unwrap_or(u32::MAX),
                unavailable: found.status.failure().cloned(),
            })
        })
        .collect()
}
