//! Building an environment once, however many ask for it, and publishing it when it is whole.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Utc;

use super::beneath::Folder;
use super::contents;
use super::key::{Key, UnhashablePlan, plan_digest};
use super::layout::Layout;
use super::lock::{Lock, Note};
use super::publish::{swap_link, write_marker};
use super::ready::{Marker, State, StepTiming, inspect};
use super::rubbish::discard;
use super::step::Place;
use super::{PathError, Plan, StepAction};
use crate::installation::{Failure, Identity, Installation};
use crate::process::{Capture, Stream};
use crate::secret::Masker;
use crate::trace::{self, stage_span};

pub use super::step::StepError;

#[cfg(test)]
mod tests;

/// How much of the output of one step is kept.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// How long apart one that waits for another builder looks again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// What to build, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub layout: &'a Layout,
    pub key: &'a Key,
    /// The stable path, from [`Layout::link`].
    pub link: &'a Path,
    pub plan: &'a Plan,
    pub installation: &'a Installation,
    /// Of the installation's file when the key was made.
    pub identity: &'a Identity,
    /// Programs that steps may run besides.
    pub tools: &'a [Tool],
    /// Folders of the installation that links may lead into.
    pub link_roots: &'a [PathBuf],
    /// From [`Layout::cache`].
    pub cache: &'a Path,
    /// Whether the runtime was granted the network. Steps that ask for it are refused if not; those
    /// that don't ask are not hindered from using it.
    pub network: bool,
    /// The operator's, for steps that run something. Credentials in them are masked in what steps print.
    pub variables: &'a [(String, String)],
    /// For a step that says nothing about time.
    pub step_timeout: Duration,
    /// How long a step that ran out of time has to end by itself.
    pub grace: Duration,
}

/// A program as it was when a component was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Canonical absolute path.
    pub path: PathBuf,
    pub identity: Identity,
}

/// What a build is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Somebody else builds it; at which step, as far as known.
    Waiting { step: Option<(usize, usize, String)> },
    /// A step begins. They count from 1.
    Step { number: usize, of: usize, title: &'a str },
    /// A step's process wrote something.
    Output { number: usize, stream: Stream, bytes: &'a [u8] },
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { step: None } => {
                formatter.write_str("waiting for another process to build the environment")
            }
            Self::Waiting { step: Some((number, of, title)) } => {
                write!(formatter, "another process builds the environment: {title} ({number}/{of})")
            }
            Self::Step { number, of, title } => {
                write!(formatter, "building the environment: {title} ({number}/{of})")
            }
            Self::Output { number, bytes, .. } => {
                let text = String::from_utf8_lossy(bytes);
                let line = text.trim_end().lines().next_back().unwrap_or_default().trim();
                write!(formatter, "building the environment: step {number}: {line}")
            }
        }
    }
}

/// An environment that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The immutable folder, by which executions use it.
    pub path: PathBuf,
    pub marker: Marker,
    /// Whether it was built just now and here.
    pub fresh: bool,
    /// What the steps wrote, by step; empty unless it is fresh.
    pub log: String,
}

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("step {number} ({title}): {source}")]
    Step {
        number: usize,
        title: String,
        /// Whether it was allowed to use the network.
        network: bool,
        source: Box<StepError>,
        /// What it wrote, the middle left out if that was much.
        output: String,
    },
    /// A component's check of what was built.
    #[error("the environment was built, but can't be used: {failure}")]
    Unhealthy { failure: Failure, log: String },
    #[error("`{path}` is not the file any more that the environment was planned for")]
    InterpreterChanged { path: PathBuf },
    /// So nothing may run that knows them.
    #[error("the credentials in the operator's variables are too large to be masked in what steps print")]
    Unmaskable,
    #[error(transparent)]
    Plan(#[from] UnhashablePlan),
    #[error("`{path}`: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// Whether somebody on this machine is building the environment of `key`, a key as it is recorded.
#[must_use]
pub fn is_building(layout: &Layout, key: &str) -> bool {
    key.parse::<Key>().is_ok_and(|key| Lock::is_held(&layout.lock(key.as_str())))
}

/// The lock on the environment of `request.key`, for who is going to build it; waits for whoever is building it. None if it is
/// ready. To be held until what became of the build is on record: who gets it next has to find that.
pub async fn lock(
    request: &Request<'_>,
    progress: &(impl Fn(Progress<'_>) + Send + Sync),
) -> Result<Option<Lock>, BuildError> {
    let Request { layout, key, .. } = *request;
    for folder in [layout.built_folder(), layout.locks_folder()] {
        std::fs::create_dir_all(&folder).map_err(io_at(&folder))?;
    }
    let lock = lock_unless_ready(request, progress).await?;
    Ok(lock.filter(|_| !matches!(inspect(layout, key, request.identity), State::Ready(_))))
}

/// Builds the environment of `request.key`, whose lock the caller holds.
///
/// `check` asks the component whether the folder can be used, before anybody else sees it. Dropping the
/// future ends the build; what it leaves is taken for unfinished.
pub async fn build<F>(
    request: &Request<'_>,
    lock: &Lock,
    check: impl FnOnce(PathBuf) -> F + Send,
    progress: &(impl Fn(Progress<'_>) + Send + Sync),
) -> Result<Built, BuildError>
where
    F: Future<Output = Result<(), Failure>> + Send,
{
    let Request { layout, key, .. } = *request;
    let path = layout.built(key);
    if Identity::of(&request.installation.path).ok().as_ref() != Some(request.identity) {
        return Err(BuildError::InterpreterChanged { path: request.installation.path.clone() });
    }
    lock.end_predecessor().map_err(io_at(&path))?;
    let temporary = layout.temporary(key.as_str());
    clear(layout, &[&path, &temporary]).await?;

    let outcome = build_anew(request, lock, check, progress).await;
    let left: &[&Path] = if outcome.is_ok() { &[&temporary] } else { &[&path, &temporary] };
    clear(layout, left).await?;
    let (marker, log) = outcome?;
    publish_link(request)?;
    Ok(Built { path, marker, fresh: true, log })
}

/// The lock on the environment; None if it got ready in the meantime.
async fn lock_unless_ready(
    request: &Request<'_>,
    progress: &(impl Fn(Progress<'_>) + Send + Sync),
) -> Result<Option<Lock>, BuildError> {
    let Request { layout, key, identity, .. } = *request;
    let path = layout.lock(key.as_str());
    let mut pause = PAUSES.0;
    let mut shown = None;
    loop {
        if let State::Ready(_) = inspect(layout, key, identity) {
            return Ok(None);
        }
        if let Some(lock) = Lock::try_acquire(&path).map_err(io_at(&path))? {
            return Ok(Some(lock));
        }
        let step = Note::read(&path).map(|note| (note.step, note.steps, note.title));
        if shown.as_ref() != Some(&step) {
            progress(Progress::Waiting { step: step.clone() });
            shown = Some(step);
        }
        // Not a blocking lock on a thread: such a wait could not be given up.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn build_anew<F>(
    request: &Request<'_>,
    lock: &Lock,
    check: impl FnOnce(PathBuf) -> F + Send,
    progress: &(impl Fn(Progress<'_>) + Send + Sync),
) -> Result<(Marker, String), BuildError>
where
    F: Future<Output = Result<(), Failure>> + Send,
{
    let path = request.layout.built(request.key);
    let temporary = request.layout.temporary(request.key.as_str());
    let home = request.cache.join("home");
    for folder in [&path, &temporary, &home] {
        std::fs::create_dir_all(folder).map_err(io_at(folder))?;
    }
    let opened = Folder::open(&path).map_err(|error| match error {
        PathError::Io { source, .. } => BuildError::Io { path: path.clone(), source },
        other => BuildError::Io { path: path.clone(), source: std::io::Error::other(other.to_string()) },
    })?;
    let place = Place { request, folder: opened, temporary, home };
    let (steps, log) = execute(&place, lock, progress).await?;
    if let Err(failure) = check(path.clone()).await {
        return Err(BuildError::Unhealthy { failure, log });
    }
    let marker = Marker {
        key: request.key.clone(),
        plan: plan_digest(request.plan)?,
        installation: request.installation.path.clone(),
        identity: request.identity.clone(),
        version: request.installation.version.clone(),
        steps,
        created_at: Utc::now(),
    };
    let listed = path.clone();
    let record = tokio::task::spawn_blocking(move || contents::record(&listed));
    record.await.map_err(std::io::Error::other).flatten().map_err(io_at(&path))?;
    write_marker(&path, &marker).map_err(io_at(&path))?;
    Ok((marker, log))
}

async fn execute(
    place: &Place<'_>,
    lock: &Lock,
    progress: &(impl Fn(Progress<'_>) + Send + Sync),
) -> Result<(Vec<StepTiming>, String), BuildError> {
    let of = place.request.plan.steps.len();
    let variables = place.request.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let masker = Masker::for_variables(variables).map_err(|_| BuildError::Unmaskable)?;
    let mut timings = Vec::with_capacity(of);
    let mut log = String::new();
    for (number, step) in (1..).zip(&place.request.plan.steps) {
        progress(Progress::Step { number, of, title: &step.title });
        let started = Instant::now();
        let mut output = Capture::new(OUTPUT_LIMIT);
        let mut maskers = [masker.stream(), masker.stream()];
        let mut take_in = |stream: Stream, masked: &[u8]| {
            if !masked.is_empty() {
                output.push(masked);
                progress(Progress::Output { number, stream, bytes: masked });
            }
        };
        let executing = place.execute(
            &step.action,
            |process| {
                let process = Some(process.clone());
                lock.note(&Note { step: number, steps: of, title: step.title.clone(), process })
            },
            |stream, bytes| {
                let masker = match stream {
                    Stream::Stdout => &mut maskers[0],
                    Stream::Stderr => &mut maskers[1],
                };
                take_in(stream, &masker.push(bytes));
            },
        );
        // Its title may have in it what only a log of its own should say.
        let outcome = trace::stage(stage_span!("step", step.number = number), executing).await;
        let [stdout, stderr] = maskers;
        take_in(Stream::Stdout, &stdout.finish());
        take_in(Stream::Stderr, &stderr.finish());
        let output = output.finish().text();
        if let Err(source) = outcome {
            let network =
                matches!(&step.action, StepAction::Run(run) if run.network && place.request.network);
            let (title, source) = (step.title.clone(), Box::new(source));
            return Err(BuildError::Step { number, title, network, source, output });
        }
        if !output.is_empty() {
            log.extend([&format!("== step {number}: {}\n", step.title), output.trim_end(), "\n"]);
        }
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        timings.push(StepTiming { title: step.title.clone(), milliseconds });
    }
    Ok((timings, log))
}

/// Somebody else built it, perhaps for another pack: the link of this one is still to be made.
pub fn published(request: &Request<'_>) -> Result<Built, BuildError> {
    let Request { layout, key, identity, .. } = *request;
    let State::Ready(marker) = inspect(layout, key, identity) else {
        let source = std::io::ErrorKind::NotFound.into();
        return Err(BuildError::Io { path: layout.built(key), source });
    };
    publish_link(request)?;
    Ok(Built { path: layout.built(key), marker, fresh: false, log: String::new() })
}

fn publish_link(request: &Request<'_>) -> Result<(), BuildError> {
    swap_link(request.link, request.key).map_err(io_at(request.link))
}

/// Removing many files takes a while, so it is done on a thread for such.
async fn clear(layout: &Layout, paths: &[&Path]) -> Result<(), BuildError> {
    for path in paths {
        let (layout, owned) = (layout.clone(), path.to_path_buf());
        let outcome = tokio::task::spawn_blocking(move || discard(&layout, &owned)).await;
        outcome.map_err(std::io::Error::other).flatten().map_err(io_at(path))?;
    }
    Ok(())
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> BuildError {
    move |source| BuildError::Io { path: path.to_owned(), source }
}
