//! One execution, from what was asked to what came out.
//!
//! [`run`] reads top to bottom as the second half of the pipeline: asked, chosen, environment, launch,
//! process, result. Each stage is a module; here is their order, what is recorded between them, and who
//! is told.

pub mod asked;
pub mod choice;
pub mod launch;
pub mod state;

mod delivery;
mod log;
mod outcome;
mod record;
pub(crate) mod run_folder;
mod supervision;
mod timing;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use crate::environment::prepare::{self, Need, Planned, Prepared};
use crate::environment::retry::Retry;
use crate::process::{Cancel, Stream};
use crate::reference::{ActionRef, RuntimeRef};
use crate::store;
use crate::store::claim::Claimed;
use crate::store::execution::Attempt;
use crate::trace::{self, TraceContext, stage_span};
use crate::version::constraint::Constraint;
use crate::worker::{FilesError, Worker};

pub use asked::{AskError, Asked, Given};
pub use outcome::{Ending, ExecutionError, Outcome};
pub use state::{ExecutionId, IdPrefix, InvalidIdPrefix, Status, UnknownStatus};

use choice::{Choice, ChoiceError, choose};
use launch::Launch;
use record::Record;
use run_folder::RunFolder;
use timing::Timings;

/// An environment that takes longer than this to prepare is waited for: what was chosen is on record meanwhile.
const PATIENCE: Duration = Duration::from_millis(200);

/// What somebody asks to be run.
#[derive(Clone, Debug)]
pub struct Request {
    pub action: ActionRef,
    pub parameters: Given,
    /// Instead of the action's own.
    pub constraint: Option<Constraint>,
    /// Instead of the action's own.
    pub timeout: Option<Duration>,
    /// Instead of the settings' own.
    pub secrets_file: Option<PathBuf>,
    /// When whoever asks began to get ready for it.
    pub since: Instant,
}

/// What happens while an execution runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It was accepted.
    Accepted(ExecutionId),
    /// Something begins that may take a while.
    Doing(&'a str),
    /// An environment is being built.
    Building(&'a crate::environment::build::Progress<'a>),
    /// The process printed something; secrets are masked.
    Output(Stream, &'a [u8]),
}

/// Who is told what happens.
pub type Observer<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// Runs an action to its end. An error means that nothing was accepted; what goes wrong afterwards is
/// recorded and part of the outcome.
pub async fn run(
    worker: &Worker,
    request: &Request,
    observe: Observer<'_>,
    cancel: Cancel,
) -> Result<Outcome, ExecutionError> {
    let mut timings = Timings::begin(request.since);
    timings.end("start");
    let attempt = Attempt { id: ExecutionId::new(), number: 1 };
    let span = span(attempt, &request.action);
    trace::adopt(&span, TraceContext::given(&worker.settings.process_variables).as_ref());
    let running = async {
        let asked = trace::stage(stage_span!("ask"), asked::ask(worker, request, attempt)).await?;
        let folder =
            RunFolder::create(&worker.settings.runs_dir(), attempt).map_err(ExecutionError::RunFolder)?;
        let record = match Record::accept(worker, &asked).await {
            Ok(record) => record,
            Err(error) => {
                folder.remove();
                return Err(error.into());
            }
        };
        observe(Event::Accepted(attempt.id));
        timings.end("ask");
        // Too large to be part of every caller's own.
        Box::pin(run_recorded(worker, &asked, (folder, record, timings), observe, cancel)).await
    };
    let outcome = running.instrument(span.clone()).await;
    if let Err(error) = &outcome {
        trace::ended(&span, Status::Failed.name(), Some(error.class()));
    }
    outcome
}

/// An attempt that has ended, for the log of who ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub status: Status,
    /// None if what was asked is wrong by now.
    pub runtime: Option<RuntimeRef>,
    /// Exact version of the installation; none if none was chosen.
    pub version: Option<String>,
    /// The name under which the error is recorded, if there was one.
    pub error: Option<String>,
}

/// Runs what was claimed from the queue to the end of this attempt. An error means that the attempt is not this
/// worker's any more, or that its end could not be recorded. The current span is the execution's, from [`span`].
pub(crate) async fn run_claimed(
    worker: &Worker,
    claimed: &Claimed,
    observe: Observer<'_>,
    cancel: Cancel,
) -> Result<Ran, ExecutionError> {
    let mut timings = Timings::begin(Instant::now());
    let attempt = claimed.attempt;
    let asked = match claimed_request(claimed) {
        Ok(request) => trace::stage(stage_span!("ask"), asked::ask(worker, &request, attempt)).await,
        Err(error) => Err(error),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) if is_elsewhere(&error) => return Err(not_begun(error.into())),
        Err(error) => return record::refuse(worker, claimed, error).await,
    };
    // A disk that is full, or another fault of this machine's.
    let folder = RunFolder::create(&worker.settings.runs_dir(), attempt)
        .map_err(|error| not_begun(ExecutionError::RunFolder(error)))?;
    let record = Record::claimed(&asked, claimed);
    timings.end("ask");
    let outcome = Box::pin(run_recorded(worker, &asked, (folder, record, timings), observe, cancel)).await?;
    Ok(Ran {
        status: outcome.status,
        runtime: Some(asked.runtime.runtime.reference.clone()),
        version: outcome.choice.map(|choice| choice.version.to_string()),
        error: outcome.error.map(|(class, _)| class),
    })
}

/// Whether it is no fault of what was asked: the database is out of reach, or the place where packs are kept. Another
/// worker may be luckier, or this one later.
fn is_elsewhere(error: &(dyn std::error::Error + 'static)) -> bool {
    store::is_to_blame(error)
        || std::iter::successors(Some(error), |error| error.source())
            .any(<dyn std::error::Error>::is::<FilesError>)
}

/// Whether this worker claimed it by a judgement that no longer holds: an interpreter is gone, can't be looked for any more,
/// or is of a runtime that this worker was told to leave alone.
fn is_misjudged(error: &ExecutionError) -> bool {
    use ChoiceError::{Detection, NoMatch, NotServed};
    matches!(error, ExecutionError::Choice(NoMatch { .. } | NotServed { .. } | Detection(_)))
}

/// Has the execution wait for a worker that can run it, this one once it can again.
async fn withdraw_judgement(worker: &Worker, attempt: Attempt, error: &ExecutionError) {
    // Who can't ask the database, or fetch files, knows nothing of what is installed.
    if is_elsewhere(error) || !is_misjudged(error) {
        return;
    }
    let selection = error.selection().and_then(|selection| serde_json::to_value(selection).ok());
    let reason = error.to_string();
    let withdrawn = worker.store.withdraw_judgement(worker.id, attempt.id, &reason, selection.as_ref()).await;
    if let Err(error) = withdrawn {
        tracing::debug!("can't withdraw a judgement: {error}");
    }
}

fn not_begun(source: ExecutionError) -> ExecutionError {
    ExecutionError::NotBegun { source: Box::new(source) }
}

/// What was asked when the execution was put into the queue.
fn claimed_request(claimed: &Claimed) -> Result<Request, AskError> {
    let constraint = claimed.constraint.as_deref().map(Constraint::parse).transpose();
    Ok(Request {
        action: claimed.action.clone(),
        parameters: Given {
            values: claimed.parameters.as_object().cloned().unwrap_or_default(),
            ..Given::default()
        },
        constraint: constraint.map_err(AskError::Constraint)?,
        timeout: claimed.timeout,
        secrets_file: None,
        since: Instant::now(),
    })
}

/// Of the highest level, so that whatever is logged while it runs says for which execution and version.
pub(crate) fn span(attempt: Attempt, action: &ActionRef) -> Span {
    tracing::error_span!(
        "execution",
        execution.id = %attempt.id,
        execution.attempt = attempt.number,
        action.r#ref = %action,
        runtime.version = tracing::field::Empty,
    )
}

/// From the record of its beginning to that of its end.
async fn run_recorded(
    worker: &Worker,
    asked: &Asked,
    (folder, mut record, mut timings): (RunFolder, Record, Timings),
    observe: Observer<'_>,
    cancel: Cancel,
) -> Result<Outcome, ExecutionError> {
    let span = Span::current();
    let runtime = &asked.runtime.runtime.reference;
    let worker_name = &worker.settings.worker_name;
    let pack = asked.action.reference.pack();
    trace::describe(&span, [("pack.ref", pack), ("runtime.ref", runtime), ("worker.name", worker_name)]);
    let mut ending = carry_out(worker, asked, (&folder, &mut record, &mut timings), observe, cancel).await;
    if record.can_begin_again()
        && let Some(error) = ending.cause.take_if(|error| is_elsewhere(error) || is_misjudged(error))
    {
        withdraw_judgement(worker, asked.attempt, &error).await;
        folder.remove();
        return Err(not_begun(error));
    }
    let result = record.end(worker, asked, ending, timings.stages());
    let outcome = trace::stage(stage_span!("result"), result).await;
    match &outcome {
        Ok(outcome) => {
            let class = outcome.error.as_ref().map(|(class, _)| class.as_str());
            trace::ended(&span, outcome.status.name(), class);
        }
        Err(error) => trace::ended(&span, Status::Failed.name(), Some(error.class())),
    }
    if matches!(outcome, Ok(_) | Err(ExecutionError::NotRunning { .. })) {
        // Only now: by its folder, an execution that nobody ended is found and abandoned.
        folder.remove();
    }
    outcome
}

/// The stages after acceptance; each one's failure is an ending.
async fn carry_out(
    worker: &Worker,
    asked: &Asked,
    (folder, record, timings): (&RunFolder, &mut Record, &mut Timings),
    observe: Observer<'_>,
    mut cancel: Cancel,
) -> Ending {
    let launch = tokio::select! {
        launch = stages_before_launch(worker, asked, record, timings, observe) => launch,
        // Dropping the stages ends what they started: probes, and steps that build.
        () = cancel.asked() => return Ending::cancelled_before_start(),
    };
    let launch = match launch {
        Ok(launch) => launch,
        Err(error) => return error.into(),
    };
    let mut command = match delivery::deliver(worker, asked, &launch, folder, record.version()) {
        Ok(command) => command,
        Err(error) => {
            timings.end("launch");
            return error.into();
        }
    };
    let decided = record.decided(worker).await;
    timings.end("launch");
    if let Err(error) = decided {
        return error.into();
    }
    if let Err(error) = launch.check() {
        return ExecutionError::from(error).into();
    }
    observe(Event::Doing("running"));
    let span = stage_span!("process");
    delivery::hand_on(trace::below(&span), &mut command);
    let process = supervision::supervise(worker, asked, command, folder, record, observe, cancel);
    let finished = trace::stage(span, process).await;
    timings.end("run");
    let mut ending = match finished {
        Ok(supervised) => outcome::conclude(asked, &supervised),
        Err(error) => error.into(),
    };
    if ending.status == Status::Failed {
        let pack = asked.action.reference.pack();
        ending.warnings.extend(worker.mend_after_failure(pack, &asked.pack_digest).await);
    }
    timings.end("result");
    ending
}

async fn stages_before_launch(
    worker: &Worker,
    asked: &Asked,
    record: &mut Record,
    timings: &mut Timings,
    observe: Observer<'_>,
) -> Result<Launch, ExecutionError> {
    let program = &asked.action.program;
    if asked.is_direct() {
        choice::served(worker, &asked.runtime)?;
        let launch = launch::direct(&asked.runtime, &asked.pack_folder, program);
        record.starts_by_itself(&launch.program);
        return Ok(launch);
    }
    observe(Event::Doing("looking for installations"));
    let selection = choose(worker, &asked.runtime, asked.wanted());
    let choice = match trace::stage(stage_span!("selection"), selection).await {
        Ok(choice) => choice,
        Err(error) => {
            record.not_chosen(&error);
            timings.end("detect");
            return Err(error.into());
        }
    };
    record.chosen(&choice);
    timings.end(if choice.looked { "detect" } else { "select" });
    // What comes from the queue has nobody who watches, and may be one of many.
    let retry = if record.is_from_queue() { Retry::WhenDue } else { Retry::AtOnce };
    let environment =
        prepare::prepare(worker, need(asked, &choice), retry, |progress| observe(Event::Building(&progress)));
    let (ready, is_ready) = oneshot::channel::<()>();
    let environment = async {
        let prepared = trace::stage(stage_span!("environment"), environment).await;
        drop(ready);
        prepared
    };
    // Beside it, and not in its stead: it may have the connection to the database that this needs.
    let note = async {
        if timeout(PATIENCE, is_ready).await.is_err() {
            record.note_choice(worker).await;
        }
    };
    let (prepared, ()) = tokio::join!(environment, note);
    timings.end("environment");
    let prepared = prepared?;
    record.prepared(&prepared);
    let launch = launch::interpreted(worker, &asked.runtime, &choice, &prepared, program);
    let launch = trace::stage(stage_span!("launch"), launch).await;
    if launch.is_err() {
        timings.end("launch");
    }
    Ok(launch?)
}

fn need<'a>(asked: &'a Asked, choice: &'a Choice) -> Need<'a> {
    Need {
        pack: asked.action.reference.pack(),
        pack_digest: &asked.pack_digest,
        pack_folder: &asked.pack_folder,
        entry_point: &asked.action.program.entry_point,
        runtime: &asked.runtime,
        choice,
    }
}

/// What running an action would do.
#[derive(Debug)]
pub struct Preview {
    /// Without secrets.
    pub asked: Asked,
    /// Where the secrets that the action declares would be read from; none if nobody says.
    pub secrets_file: Option<PathBuf>,
    /// None if the entry point is itself the program.
    pub choice: Option<Choice>,
    /// None if no environment is needed.
    pub environment: Option<Planned>,
    /// None while the environment that it starts from is not built.
    pub launch: Option<Launch>,
    /// Why it would not be started, and the rest is not known.
    pub cause: Option<ExecutionError>,
}

/// Works out what running an action would do, and does none of it. It needs no secrets.
pub async fn preview(worker: &Worker, request: &Request) -> Result<Preview, ExecutionError> {
    let attempt = Attempt { id: ExecutionId::new(), number: 1 };
    let asked = asked::ask_without_secrets(worker, request, attempt).await?;
    let secrets_file = asked::secrets_file(worker, request).map(Path::to_owned);
    let mut preview =
        Preview { asked, secrets_file, choice: None, environment: None, launch: None, cause: None };
    preview.cause = look_ahead(worker, &mut preview).await.err();
    Ok(preview)
}

/// The stages before a start, as far as they are known without building anything.
async fn look_ahead(worker: &Worker, preview: &mut Preview) -> Result<(), ExecutionError> {
    let asked = &preview.asked;
    let program = &asked.action.program;
    if asked.is_direct() {
        choice::served(worker, &asked.runtime)?;
        preview.launch = Some(launch::direct(&asked.runtime, &asked.pack_folder, program));
        return Ok(());
    }
    let choice = &*preview.choice.insert(choose(worker, &asked.runtime, asked.wanted()).await?);
    let planned = prepare::plan(worker, need(asked, choice)).await?;
    let planned = &*preview.environment.insert(planned);
    if planned.key.is_none() || planned.ready {
        let environment = planned.ready_environment(worker);
        let prepared = Prepared { environment, root: planned.root.clone(), fresh: false };
        preview.launch = Some(launch::interpreted(worker, &asked.runtime, choice, &prepared, program).await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::DetectionError;
    use crate::environment::prepare::PrepareError;
    use crate::store::{Cause, StoreError, Unreachable};

    #[test]
    fn what_the_database_fails_at_is_no_fault_of_what_was_asked() {
        let unreachable = |source| {
            let place = "a socket".to_owned();
            StoreError::Unreachable(Box::new(Unreachable { place, waited: Duration::ZERO, source }))
        };
        let makers: [(&str, &dyn Fn() -> StoreError); 5] = [
            ("silence", &|| unreachable(Cause::Silence)),
            ("busy", &|| unreachable(Cause::Busy)),
            ("the server", &|| unreachable(Cause::Server(sqlx::Error::PoolTimedOut))),
            ("lost", &|| StoreError::from(sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into()))),
            ("a query", &|| StoreError::from(sqlx::Error::PoolTimedOut)),
        ];
        for (what, error) in makers {
            assert!(is_elsewhere(&AskError::from(error())), "{what} while it is asked");
            for wrapped in [
                ExecutionError::from(error()),
                AskError::from(error()).into(),
                ChoiceError::from(DetectionError::from(error())).into(),
                PrepareError::from(error()).into(),
            ] {
                assert!(is_elsewhere(&wrapped), "{what}: {wrapped}");
            }
        }
        let action = "examples.none".parse().expect("a reference");
        assert!(!is_elsewhere(&ExecutionError::from(AskError::NoAction { action })));
    }
}
