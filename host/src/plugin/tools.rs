//! Programs that the host finds and runs on a component's behalf. A component holds handles, never
//! paths that it made up: a handle is a canonical path with the identity that the file had when it was
//! found, and a file that has changed since is not run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::StreamExt;
use wasmtime::component::Resource;

use super::bindings::attune::runtime::{tools as wit, types};
use super::call::{Call, How, Ran, Scope};
use super::child::{self, Completion, Ending, Invocation};
use super::convert::failure_to_wit;
use super::error::Part;
use super::grant::NamePatterns;
use super::machine::Machine;
use super::memo::{Memo, MemoKey};
use super::program::{Executable, Format};
use super::roots::{Folder, Looks, Roots};
use crate::installation::{Failure, FailureClass};

/// Entries that one search may find; more are ignored with a warning.
const FOUND_MAX: usize = 5_000;

/// Bytes of output that one `run-all` may return.
const OUTPUT_MAX: usize = 16 << 20;

/// Bytes that every program may print, however many are run at once.
const OUTPUT_MIN: usize = 16 << 10;

/// One entry of a search root.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    source: String,
    outcome: Result<Executable, Failure>,
}

/// Looks through the folders for entries that both the grants and the patterns cover. Blocks.
fn search(scope: &Scope, folders: &[Folder], patterns: &NamePatterns) -> (Vec<Found>, Vec<Failure>, Looks) {
    let mut found: Vec<Found> = Vec::new();
    let mut withheld = Vec::new();
    let machine = &scope.surroundings.machine;
    let mut looks = Looks::on(machine);
    let mut first_of: HashMap<FileKey, usize> = HashMap::new();
    for folder in folders {
        let is_asked = |name: &str| {
            patterns.matches(name) && (scope.granted.allows_tool(name) || scope.granted.withholds_tool(name))
        };
        for path in entries(machine, folder, is_asked) {
            if !scope.granted.allows_tool(&path.file_name().unwrap_or_default().to_string_lossy()) {
                let message = format!("{} is withheld by `[grants]` of the settings", path.display());
                withheld.push(Failure::new(FailureClass::Denied, message));
                continue;
            }
            if found.len() == FOUND_MAX {
                tracing::warn!(
                    "more than {FOUND_MAX} programs match in the search folders; the rest is ignored"
                );
                return (found, withheld, looks);
            }
            let outcome = Executable::at(&path, &mut looks)
                .map(|program| Executable { source: folder.source.clone(), ..program });
            if let Ok(program) = &outcome {
                if let Some(first) = first_of.get(&FileKey::of(program)) {
                    if let Ok(first) = &mut found[*first].outcome {
                        first.names.extend_from_slice(&program.names);
                    }
                    continue;
                }
                first_of.insert(FileKey::of(program), found.len());
            }
            found.push(Found { path, source: folder.source.clone(), outcome });
        }
    }
    (found, withheld, looks)
}

/// What makes two entries the same program. Hard links in different folders are different ones: what such
/// a program finds beside itself is different, and package managers share files that way.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FileKey {
    folder: Option<PathBuf>,
    dev: u64,
    inode: u64,
}

impl FileKey {
    fn of(program: &Executable) -> Self {
        Self {
            folder: program.path.parent().map(Path::to_owned),
            dev: program.identity.dev,
            inode: program.identity.inode,
        }
    }
}

fn entries(machine: &Machine, folder: &Folder, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = machine.entries(&folder.path, usize::MAX, |name| name.to_str().is_some_and(&wanted));
    let mut paths: Vec<_> =
        entries.unwrap_or_default().into_iter().map(|(name, _)| folder.path.join(name)).collect();
    paths.sort();
    paths
}

/// The program at a path, if the grants cover it. Blocks.
fn open(
    scope: &Scope,
    roots: &Roots,
    environment: Option<&Path>,
    path: &Path,
    looks: &mut Looks,
) -> Result<Executable, Failure> {
    // Before anything is decided: whether the grants cover it depends on where its links lead.
    looks.look(path);
    let denied = || {
        Failure::new(
            FailureClass::Denied,
            format!("{} is not a granted tool in a granted folder", path.display()),
        )
    };
    let name_granted = |path: &Path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| scope.granted.allows_tool(name))
    };
    if !path.is_absolute() {
        return Err(denied());
    }
    // Either `find` would find it at this very path …
    let machine = &scope.surroundings.machine;
    let folder = path.parent().and_then(|folder| machine.canonicalize(folder).ok());
    let entry_of = folder.and_then(|folder| roots.search.iter().find(|root| root.canonical == folder));
    if let Some(root) = entry_of.filter(|_| name_granted(path)) {
        return Executable::at(path, looks)
            .map(|program| Executable { source: root.source.clone(), ..program });
    }
    // … or what it leads to lies deeper in a root or in the environment.
    let canonical = machine.canonicalize(path).map_err(|_| denied())?;
    let root = roots.search_root_of(&canonical);
    let in_environment = environment.is_some_and(|environment| canonical.starts_with(environment));
    if !name_granted(&canonical) || (root.is_none() && !in_environment) {
        return Err(denied());
    }
    let source = root.map(|root| root.source.clone()).unwrap_or_default();
    Executable::at(path, looks).map(|program| Executable { source, ..program })
}

/// Checks what a component asks for against the grants and the limits.
fn checked(scope: &Scope, invocation: wit::Invocation) -> Result<(Invocation, bool), Failure> {
    for (name, _) in &invocation.variables {
        if crate::variable::steers_programs(name) || !scope.granted.allows_variable(name) {
            return Err(Failure::new(FailureClass::Denied, format!("the variable `{name}` is not granted")));
        }
    }
    let asked = invocation.timeout.map(|milliseconds| Duration::from_millis(milliseconds.into()));
    let limit = scope.limits.command_timeout;
    let memoize = invocation.memoize;
    Ok((
        Invocation {
            arguments: invocation.arguments,
            variables: invocation.variables,
            stdin: invocation.stdin,
            timeout: asked.map_or(limit, |asked| asked.min(limit)),
        },
        memoize,
    ))
}

/// Runs a program, or remembers what it answered.
async fn run(
    (machine, component): (&Machine, &str),
    program: &Executable,
    invocation: &Invocation,
    surroundings: &child::Surroundings,
    (memo, until): (Option<&Memo>, Instant),
) -> (Result<Completion, Failure>, How, Duration) {
    if let Err(changed) = program.check_unchanged(machine) {
        return (Err(changed), How::Refused, Duration::ZERO);
    }
    let key = MemoKey::new(component, &program.path, &program.identity, invocation);
    if let Some(known) = memo.and_then(|memo| memo.recall(&key)) {
        return (known, How::Remembered, Duration::ZERO);
    }
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        let message = "the time that programs may take in one call was over before it began";
        return (Err(Failure::new(FailureClass::Timeout, message)), How::Refused, Duration::ZERO);
    }
    let bounded = Invocation { timeout: invocation.timeout.min(left), ..invocation.clone() };
    let started = Instant::now();
    let outcome = machine.run(&program.path, &bounded, surroundings).await;
    // One that had less time than it may take has not hung.
    let had_its_time = bounded.timeout == invocation.timeout
        || outcome.as_ref().err().is_none_or(|failure| failure.class != FailureClass::Timeout);
    if let Some(memo) = memo.filter(|_| had_its_time) {
        memo.remember(key, &outcome, Utc::now());
    }
    (outcome, How::Started, started.elapsed())
}

impl Call {
    fn hand_out(&mut self, program: Executable) -> wasmtime::Result<Resource<Executable>> {
        self.tools.insert(program.path.clone(), program.identity.clone());
        Ok(self.table.push(program)?)
    }

    async fn run_programs(
        &mut self,
        programs: Vec<Executable>,
        invocation: wit::Invocation,
    ) -> wasmtime::Result<Vec<Result<wit::Completion, types::Failure>>> {
        let (invocation, memoize) = match checked(&self.scope, invocation) {
            Ok(checked) => checked,
            Err(failure) => {
                let failure = failure_to_wit(&self.noting(failure));
                return Ok(vec![Err(failure); programs.len()]);
            }
        };
        let share = OUTPUT_MAX / programs.len().max(1);
        let most = self.scope.limits.command_output;
        let surroundings =
            child::Surroundings { home: self.home()?, output: share.max(OUTPUT_MIN).min(most) };
        let scope = Arc::clone(&self.scope);
        let memo = memoize.then(|| Arc::clone(&self.memo));
        let outcomes: Vec<_> = {
            let _entered = self.meter.enter(Part::Child);
            let mut runs = Vec::with_capacity(programs.len());
            for program in &programs {
                let bounds = (memo.as_deref(), self.programs_until);
                let asked = (&scope.surroundings.machine, scope.digest.as_str());
                runs.push(run(asked, program, &invocation, &surroundings, bounds));
            }
            futures_util::stream::iter(runs).buffered(programs_at_a_time()).collect().await
        };
        let ran = programs.iter().zip(&outcomes).map(|(program, (outcome, how, took))| Ran {
            program: program.path.clone(),
            how: *how,
            ending: outcome.as_ref().map(|completion| completion.ending).map_err(Clone::clone),
            took: *took,
        });
        self.noting_runs(&invocation.arguments, ran);
        let answers = outcomes.into_iter().map(|(outcome, ..)| match outcome {
            Ok(completion) => Ok(completion_to_wit(completion)),
            Err(failure) => Err(failure_to_wit(&failure)),
        });
        Ok(answers.collect())
    }
}

/// How many programs to run at once: they mostly wait for the disk when they start, so a few more than there
/// are processors.
#[must_use]
pub fn programs_at_a_time() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| (cores.get() * 2).max(4))
}

fn completion_to_wit(completion: Completion) -> wit::Completion {
    wit::Completion {
        status: match completion.ending {
            Ending::Exited(code) => wit::ExitStatus::Exited(code),
            Ending::Signalled(signal) => wit::ExitStatus::Signalled(signal),
        },
        stdout: completion.stdout,
        stderr: completion.stderr,
        truncated: completion.truncated,
        extra: Vec::new(),
    }
}

impl types::Host for Call {}

impl wit::HostExecutable for Call {
    async fn path(&mut self, program: Resource<Executable>) -> wasmtime::Result<String> {
        Ok(self.table.get(&program)?.path_text())
    }

    async fn names(&mut self, program: Resource<Executable>) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&program)?.names.clone())
    }

    async fn source(&mut self, program: Resource<Executable>) -> wasmtime::Result<String> {
        Ok(self.table.get(&program)?.source.clone())
    }

    async fn format(&mut self, program: Resource<Executable>) -> wasmtime::Result<wit::Format> {
        Ok(match &self.table.get(&program)?.format {
            Format::Native => wit::Format::Native,
            Format::Script(line) => wit::Format::Script(line.clone()),
            Format::Unreadable => wit::Format::Other("unreadable".to_owned()),
        })
    }

    async fn run(
        &mut self,
        program: Resource<Executable>,
        invocation: wit::Invocation,
    ) -> wasmtime::Result<Result<wit::Completion, types::Failure>> {
        let _entered = self.meter.enter(Part::Host);
        let program = self.table.get(&program)?.clone();
        let mut answers = self.run_programs(vec![program], invocation).await?;
        answers.pop().ok_or_else(|| wasmtime::format_err!("a program without an outcome"))
    }

    async fn drop(&mut self, program: Resource<Executable>) -> wasmtime::Result<()> {
        self.table.delete(program)?;
        Ok(())
    }
}

impl wit::Host for Call {
    async fn find(&mut self, patterns: Vec<String>) -> wasmtime::Result<Vec<wit::Found>> {
        let _entered = self.meter.enter(Part::Host);
        let roots = self.roots().await?;
        let scope = Arc::clone(&self.scope);
        // A pattern that is none finds nothing; the others still do.
        let patterns: Vec<_> = patterns
            .into_iter()
            .filter(|pattern| NamePatterns::compile(std::slice::from_ref(pattern)).is_ok())
            .collect();
        let Ok(patterns) = NamePatterns::compile(&patterns) else { return Ok(Vec::new()) };
        let (found, withheld, looks) =
            tokio::task::spawn_blocking(move || search(&scope, &roots.search, &patterns)).await?;
        self.looks.extend(looks);
        for failure in withheld {
            self.noting(failure);
        }
        let mut answer = Vec::with_capacity(found.len());
        for entry in found {
            // Only UTF-8 names match, but the folder may be anything.
            let Some(path) = entry.path.to_str().map(str::to_owned) else { continue };
            let outcome = match entry.outcome {
                Ok(program) => Ok(self.hand_out(program)?),
                Err(failure) => Err(failure_to_wit(&failure)),
            };
            answer.push(wit::Found { path, source: entry.source, outcome });
        }
        Ok(answer)
    }

    async fn open(&mut self, path: String) -> wasmtime::Result<Result<Resource<Executable>, types::Failure>> {
        let _entered = self.meter.enter(Part::Host);
        let readable = self.readable().await?;
        let scope = Arc::clone(&self.scope);
        let (opened, looks) = tokio::task::spawn_blocking(move || {
            let mut looks = Looks::on(&scope.surroundings.machine);
            let environment = readable.environment.as_deref();
            let opened = open(&scope, &readable.roots, environment, Path::new(&path), &mut looks);
            (opened, looks)
        })
        .await?;
        self.looks.extend(looks);
        match opened {
            Ok(program) => Ok(Ok(self.hand_out(program)?)),
            Err(failure) => Ok(Err(failure_to_wit(&self.noting(failure)))),
        }
    }

    async fn run_all(
        &mut self,
        programs: Vec<Resource<Executable>>,
        invocation: wit::Invocation,
    ) -> wasmtime::Result<Vec<Result<wit::Completion, types::Failure>>> {
        let _entered = self.meter.enter(Part::Host);
        let programs: Vec<_> =
            programs.iter().map(|program| self.table.get(program).cloned()).collect::<Result<_, _>>()?;
        self.run_programs(programs, invocation).await
    }
}
