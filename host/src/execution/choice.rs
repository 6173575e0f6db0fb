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
        SelectionView {
            fallback: self.is_fallback,
            warnings: self.warnings.clone(),
            ..SelectionView::from(&self.selection)
        }
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
    #[error("no installation of `{runtime}` on this machine {asked}{hung}")]
    NoMatch {
        /// The runtime.
        runtime: String,
        /// What was asked for, from `asked_text`.
        asked: String,
        /// Every candidate, with its reason.
        selection: Box<Selection>,
        /// What may be one and did not answer in time, from `hung_text`.
        hung: String,
        /// How many programs answered and are no candidates.
        rejected: usize,
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

impl ChoiceError {
    /// Nothing that is installed satisfies what was asked.
    pub(crate) fn no_match(
        runtime: &RuntimeRow,
        installations: &[FoundInstallation],
        asked: Asked<'_>,
        selection: Selection,
    ) -> Self {
        Self::NoMatch {
            runtime: runtime.runtime.reference.to_string(),
            asked: asked_text(runtime, asked),
            hung: hung_text(installations),
            rejected: installations
                .iter()
                .filter(|found| found.version.is_none() && !found.has_hung())
                .count(),
            selection: Box::new(selection),
        }
    }

    /// What was judged, if nothing of it would do.
    #[must_use]
    pub fn selection(&self) -> Option<SelectionView<'_>> {
        match self {
            Self::NoMatch { selection, .. } => Some(SelectionView::from(&**selection)),
            Self::Detection(_) | Self::Alias(_) | Self::NotServed { .. } | Self::Direct { .. } => None,
        }
    }
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
        let runtime = reloaded.as_ref().unwrap_or(runtime);
        match judge(runtime, &detected.installations, range.as_ref(), asked) {
            Ok(choice) => {
                return Ok(Choice { looked: detected.looked, asked: asked.constraint.cloned(), ..choice });
            }
            // Something may have changed that leaves no trace in what a detection looks at, such as a
            // library that an interpreter needs.
            Err(_) if !detected.looked && freshness == Freshness::IfChanged => {
                freshness = Freshness::Patiently;
            }
            Err(selection) => {
                return Err(ChoiceError::no_match(runtime, &detected.installations, asked, selection));
            }
        }
    }
}

/// What no installation does that was asked for, to follow "no installation".
pub(crate) fn asked_text(runtime: &RuntimeRow, asked: Asked<'_>) -> String {
    let constraint =
        asked.constraint.filter(|constraint| !constraint.as_str().is_empty()).map(|constraint| {
            let meaning = constraint.stands_for(&runtime.constraint_aliases);
            let meaning = meaning.map(|meaning| format!(", which is `{meaning}`")).unwrap_or_default();
            format!("satisfies `{constraint}`{meaning}")
        });
    let variant = asked.variant.map(|variant| format!("has the variant `{variant}`"));
    let asked = constraint.into_iter().chain(variant).collect::<Vec<_>>();
    if asked.is_empty() { "can be used".to_owned() } else { asked.join(" and ") }
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
    if selection.chosen().is_some() {
        return choice(runtime, installations, selection, None);
    }
    if asked.policy == VersionPolicy::Fallback {
        let fallback = select(&candidates, Wanted { range: None, variant: asked.variant });
        if let Some(chosen) = fallback.chosen() {
            let warning = format!(
                "no installation {}: fell back to the base runtime, {}, as `version_policy: fallback` allows",
                asked_text(runtime, asked),
                chosen.version
            );
            return choice(runtime, installations, fallback, Some(warning));
        }
    }
    Err(selection)
}

/// What was selected, with what the runtime has for its version. As the base runtime, of which `fallback` warns, it
/// has no version of the runtime.
fn choice(
    runtime: &RuntimeRow,
    installations: &[FoundInstallation],
    selection: Selection,
    fallback: Option<String>,
) -> Result<Choice, Selection> {
    let chosen = selection.chosen();
    let found = chosen.and_then(|chosen| installations.iter().find(|found| found.path == chosen.path));
    let Some((installation, version, identity)) =
        found.and_then(|found| Some((found, found.version.clone()?, found.identity.clone()?)))
    else {
        return Err(selection);
    };
    let is_fallback = fallback.is_some();
    let row = version_row(runtime, installation).filter(|_| !is_fallback);
    let ended = row.and_then(|row| end_of_life(runtime, row, chrono::Utc::now().date_naive()));
    let warnings = selection.warnings.iter().map(ToString::to_string).chain(fallback).chain(ended).collect();
    Ok(Choice {
        installation: installation.clone(),
        version,
        identity,
        asked: None,
        label: row.map(|row| row.declared.version.clone()),
        config: row.map_or(&runtime.runtime.execution_config, |row| &row.declared.execution_config).clone(),
        selection,
        is_fallback,
        warnings,
        looked: false,
    })
}

/// The version of the runtime that covers an installation, declared or made when it was found.
pub(crate) fn version_row<'r>(
    runtime: &'r RuntimeRow,
    found: &FoundInstallation,
) -> Option<&'r RuntimeVersionRow> {
    runtime.versions.iter().find(|row| found.runtime_version.as_deref() == Some(&row.declared.version))
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
            let row = version_row(runtime, found).filter(|row| row.is_declared);
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
