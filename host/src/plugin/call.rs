//! One call of a component: what it may do, what it has done, and how its time was spent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::child::Ending;
use super::convert::cut;
use super::error::{Function, Part};
use super::files::Readable;
use super::grant::Granted;
use super::home::Home;
use super::limits::{Limits, Usage};
use super::log::{Message, Written};
use super::memo::Memo;
use super::output::Tail;
use super::patterns::Patterns;
use super::roots::{Looks, Roots, Scanned, Surroundings};
use crate::installation::{Failure, FailureClass, Identity};
use crate::reference::{PackRef, RuntimeRef};

/// Handles that a component may hold at a time.
const HANDLES_MAX: usize = 20_000;

/// Denials that are kept for the report.
const DENIALS_MAX: usize = 100;

/// Runs of programs that are kept for the report, and the bytes of the arguments of each.
const RUNS_MAX: usize = 200;
const ARGUMENTS_MAX: usize = 16 << 10;

/// What is the same for all calls of a component for one runtime.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) pack: PackRef,
    pub(crate) component: String,
    pub(crate) digest: String,
    pub(crate) runtime: RuntimeRef,
    pub(crate) granted: Granted,
    pub(crate) patterns: Patterns,
    pub(crate) surroundings: Surroundings,
    pub(crate) limits: Limits,
    /// Where programs get their folders.
    pub(crate) homes: PathBuf,
}

/// The part of a call's time that the programs it runs may take.
const PROGRAMS_SHARE: f32 = 0.8;

/// What one call holds while it runs.
pub(crate) struct Call {
    wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) usage: Usage,
    pub(super) stderr: Tail,
    pub(super) scope: Arc<Scope>,
    pub(super) memo: Arc<Memo>,
    pub(super) meter: Arc<Meter>,
    pub(super) environment: Option<PathBuf>,
    roots: Option<Arc<Roots>>,
    home: Option<Home>,
    pub(super) looks: Looks,
    /// Programs that the component was given handles of.
    pub(super) tools: BTreeMap<PathBuf, Identity>,
    tools_run: u32,
    tools_remembered: u32,
    denials: Vec<String>,
    runs: Vec<ToolRun>,
    pub(super) written: Written,
    /// When programs have had their share of the call's time: a component that looks for many things has
    /// to be able to say what it found, even if some of them hang.
    pub(super) programs_until: Instant,
}

impl Call {
    /// A call that may take as long as `limit`.
    pub(crate) fn new(
        scope: Arc<Scope>,
        memo: Arc<Memo>,
        environment: Option<PathBuf>,
        limit: Duration,
    ) -> Self {
        let stderr = Tail::default();
        // Nothing is granted through WASI: no folder, no socket, no variable, no input.
        let wasi = WasiCtx::builder().stdout(Tail::default()).stderr(stderr.clone()).build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self {
            wasi,
            table,
            usage: Usage::new(&scope.limits),
            stderr,
            looks: Looks::on(&scope.surroundings.machine),
            scope,
            memo,
            meter: Arc::new(Meter::start()),
            programs_until: Instant::now() + limit.mul_f32(PROGRAMS_SHARE),
            environment,
            roots: None,
            home: None,
            tools: BTreeMap::new(),
            tools_run: 0,
            tools_remembered: 0,
            denials: Vec::new(),
            runs: Vec::new(),
            written: Written::default(),
        }
    }

    /// Passes a failure on, and keeps it if it is a refusal of the host's.
    pub(super) fn noting(&mut self, failure: Failure) -> Failure {
        if failure.class == FailureClass::Denied && self.denials.len() < DENIALS_MAX {
            self.denials.push(failure.message.clone());
        }
        failure
    }

    /// Keeps for the report what became of programs that were to be run with the same arguments.
    pub(super) fn noting_runs(&mut self, arguments: &[String], runs: impl IntoIterator<Item = Ran>) {
        let arguments = kept_arguments(arguments);
        for Ran { program, how, ending, took } in runs {
            match how {
                How::Started => self.tools_run += 1,
                How::Remembered => self.tools_remembered += 1,
                How::Refused => {}
            }
            if self.runs.len() < RUNS_MAX {
                let arguments = Arc::clone(&arguments);
                self.runs.push(ToolRun { program, arguments, how, ending, took });
            }
        }
    }

    /// The granted folders, looked up once.
    pub(super) async fn roots(&mut self) -> wasmtime::Result<Arc<Roots>> {
        if let Some(roots) = &self.roots {
            return Ok(Arc::clone(roots));
        }
        let scope = Arc::clone(&self.scope);
        let roots =
            tokio::task::spawn_blocking(move || Arc::new(Roots::expand(&scope.granted, &scope.surroundings)))
                .await?;
        self.looks.extend(roots.looks.clone());
        self.roots = Some(Arc::clone(&roots));
        Ok(roots)
    }

    /// Gives the component arguments and the host's own output, as a test program needs them.
    pub(super) fn with_arguments(self, arguments: &[String], variables: &[(String, String)]) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.args(arguments).envs(variables).inherit_stdout().inherit_stderr();
        Self { wasi: wasi.build(), ..self }
    }

    pub(super) async fn readable(&mut self) -> wasmtime::Result<Readable> {
        // Its links alone: what is in it is looked at when it is asked for.
        let environment = self.environment.as_ref().and_then(|path| {
            self.looks.follow(path);
            self.scope.surroundings.machine.canonicalize(path).ok()
        });
        let machine = self.scope.surroundings.machine.clone();
        Ok(Readable { machine, roots: self.roots().await?, environment })
    }

    /// A folder that only programs of this call see, made when the first of them runs.
    pub(super) fn home(&mut self) -> std::io::Result<PathBuf> {
        if let Some(home) = &self.home {
            return Ok(home.path().to_owned());
        }
        let home = Home::create(&self.scope.homes)?;
        Ok(self.home.insert(home).path().to_owned())
    }

    pub(super) fn report(&mut self, function: Function) -> CallReport {
        let spent = self.meter.spent();
        CallReport {
            function,
            guest: spent.guest,
            host: spent.host,
            child: spent.child,
            memory_peak: self.usage.peak(),
            tools_run: self.tools_run,
            tools_remembered: self.tools_remembered,
            runs: std::mem::take(&mut self.runs),
            messages: self.written.messages(),
            log: self.written.take(),
            denials: std::mem::take(&mut self.denials),
        }
    }
}

impl WasiView for Call {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What a call used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// What was called.
    pub function: Function,
    /// Time in the component's own code, WASI included.
    pub guest: Duration,
    /// Time in the host, answering what the component asked.
    pub host: Duration,
    /// Time in which programs ran for it.
    pub child: Duration,
    /// The most bytes of memory it held.
    pub memory_peak: usize,
    /// Programs that were started.
    pub tools_run: u32,
    /// Programs that were not started, since it was known what they would answer.
    pub tools_remembered: u32,
    /// The first of them, in the order in which they were asked for.
    pub runs: Vec<ToolRun>,
    /// Messages that it wrote or tried to write to the log.
    pub messages: u32,
    /// Those of them that were written.
    pub log: Vec<Message>,
    /// What the host refused, in its own words.
    pub denials: Vec<String>,
}

/// A program that a component had run, or wanted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRun {
    /// Canonical path.
    pub program: PathBuf,
    /// Cut, if they are very long.
    pub arguments: Arc<[String]>,
    /// Whether it really ran.
    pub how: How,
    /// How it ended; or why it did not run, or not to its end.
    pub ending: Result<Ending, Failure>,
    /// How long it took.
    pub took: Duration,
}

/// Where the answer of a program is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was started, or it was tried.
    Started,
    /// It was known what it would answer.
    Remembered,
    /// The host did not try to start it.
    Refused,
}

/// A run, its arguments apart.
pub(super) struct Ran {
    pub(super) program: PathBuf,
    pub(super) how: How,
    pub(super) ending: Result<Ending, Failure>,
    pub(super) took: Duration,
}

/// Arguments as far as a report has room for them.
fn kept_arguments(arguments: &[String]) -> Arc<[String]> {
    let mut room = ARGUMENTS_MAX;
    let keep = |argument: &String| {
        let kept = cut(argument, room);
        room = room.saturating_sub(argument.len());
        kept
    };
    arguments.iter().take(ARGUMENTS_MAX / 16).map(keep).collect()
}

/// What a component answered, and what has to be known about how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    /// Programs that the component was given handles of, by canonical path: the only ones that a plan or a
    /// launch may name as tools.
    pub tools: BTreeMap<PathBuf, Identity>,
    /// Folders, files and links that the answer depends on. As long as all of them, the grants, the component,
    /// `PATH` and the operator's variables stay the same, so does the answer. One that was changed just before
    /// it was looked at never counts as unchanged: ask [`Scanned::is_unchanged`].
    pub scanned: Vec<Scanned>,
    /// What it cost.
    pub report: CallReport,
}

impl<T> Answer<T> {
    /// The same answer in another form.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: convert(self.value), tools: self.tools, scanned: self.scanned, report: self.report }
    }
}

/// Time by who spent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) guest: Duration,
    pub(crate) host: Duration,
    pub(crate) child: Duration,
}

impl Spent {
    fn of(&mut self, part: Part) -> &mut Duration {
        match part {
            Part::Guest => &mut self.guest,
            Part::Host => &mut self.host,
            Part::Child => &mut self.child,
        }
    }

    /// Who spent most.
    pub(crate) fn most(self) -> Part {
        [(self.child, Part::Child), (self.host, Part::Host), (self.guest, Part::Guest)]
            .into_iter()
            .max_by_key(|(spent, _)| *spent)
            .map_or(Part::Guest, |(_, part)| part)
    }
}

/// A clock with three hands, one of which moves at a time.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    spent: Spent,
    part: Part,
    since: Instant,
}

impl Reading {
    fn switch(&mut self, part: Part) -> Part {
        let now = Instant::now();
        *self.spent.of(self.part) += now - self.since;
        self.since = now;
        std::mem::replace(&mut self.part, part)
    }
}

impl Meter {
    fn start() -> Self {
        Self(Mutex::new(Reading { spent: Spent::default(), part: Part::Guest, since: Instant::now() }))
    }

    /// Time is this part's until the returned value is dropped.
    pub(crate) fn enter(self: &Arc<Self>, part: Part) -> Entered {
        Entered { previous: self.reading().switch(part), meter: Arc::clone(self) }
    }

    pub(crate) fn spent(&self) -> Spent {
        let mut reading = self.reading();
        let part = reading.part;
        reading.switch(part);
        reading.spent
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, time is someone else's.
#[derive(Debug)]
pub(crate) struct Entered {
    meter: Arc<Meter>,
    previous: Part,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.meter.reading().switch(self.previous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_charged_to_who_spends_it() {
        let meter = Arc::new(Meter::start());
        {
            let _host = meter.enter(Part::Host);
            {
                let _child = meter.enter(Part::Child);
                let started = Instant::now();
                while started.elapsed() < Duration::from_millis(5) {
                    std::hint::spin_loop();
                }
            }
            assert_eq!(meter.reading().part, Part::Host);
        }
        assert_eq!(meter.reading().part, Part::Guest);
        let spent = meter.spent();
        assert!(spent.child >= Duration::from_millis(5), "{spent:?}");
        assert_eq!(spent.most(), Part::Child);
    }

    #[test]
    fn arguments_of_a_report_are_bounded() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(*kept_arguments(&words(&["-c", "print"])), words(&["-c", "print"]));
        let long = "x".repeat(2 * ARGUMENTS_MAX);
        let kept = kept_arguments(&words(&["-c", &long, "after"]));
        let cut = format!("{}…", &long[..ARGUMENTS_MAX - 2]);
        assert_eq!(*kept, words(&["-c", &cut, "…"]));
        assert!(kept_arguments(&vec![String::new(); 2 * ARGUMENTS_MAX]).len() < ARGUMENTS_MAX);
    }

    #[test]
    fn who_spent_most() {
        for (guest, host, child, most) in
            [(3, 2, 1, Part::Guest), (1, 2, 1, Part::Host), (1, 2, 3, Part::Child), (0, 0, 0, Part::Guest)]
        {
            let spent = Spent {
                guest: Duration::from_secs(guest),
                host: Duration::from_secs(host),
                child: Duration::from_secs(child),
            };
            assert_eq!(spent.most(), most, "{spent:?}");
        }
    }
}
