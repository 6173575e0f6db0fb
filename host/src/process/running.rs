//! Waiting for a child: feeding it, reading it, and ending it in time.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest};
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep_until};

use super::record::Stat;
use super::{Cancel, Capture, Captured, Command, ProcessRecord, Stdin, Stream};

/// As much as a pipe holds.
const CHUNK: usize = 64 * 1024;
/// How long output is read after the leader has exited, in case somebody else still holds the pipes.
const DRAIN: Duration = Duration::from_millis(500);
/// The clock of `/proc`: `USER_HZ` is 100 wherever Rust's Linux targets run.
const TICKS_PER_SECOND: u64 = 100;
/// Stands for never: an alarm cannot be put off for longer than the clock reaches.
const NEVER: Duration = Duration::from_hours(365 * 24);

/// Waiting failed, so how the child ended is unknown. It happens if something else in this process
/// reaps children, or has the kernel discard them.
#[derive(Debug, thiserror::Error)]
#[error("lost sight of `{program}`: {source}")]
pub struct WaitError {
    program: PathBuf,
    source: io::Error,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exited(i32),
    /// By this signal, which did not come from here.
    Signalled(i32),
    /// Ended from here, since it took too long.
    TimedOut {
        /// What it was given.
        limit: Duration,
        /// Whether it took KILL.
        forced: bool,
    },
    /// Ended from here, on request.
    Cancelled {
        /// Whether it took KILL.
        forced: bool,
    },
}

/// To follow a subject: `it exited with code 3`.
impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exited with code {code}"),
            Self::Signalled(signal) => write!(formatter, "was killed by {}", signal_text(*signal)),
            Self::TimedOut { limit, .. } => write!(formatter, "took longer than {limit:?}"),
            Self::Cancelled { .. } => formatter.write_str("was cancelled"),
        }
    }
}

/// A signal's number and its name, if it has one: `signal 11 (SIGSEGV)`.
pub(crate) fn signal_text(signal: i32) -> String {
    let name = Signal::from_named_raw(signal).map(|signal| format!("{signal:?}").replace("Signal::", "SIG"));
    let name = name.map(|name| format!(" ({})", name.trim_matches('"')));
    format!("signal {signal}{}", name.unwrap_or_default())
}

/// What became of a child.
#[derive(Clone, Debug)]
pub struct Finished {
    pub ending: Ending,
    pub stdout: Captured,
    pub stderr: Captured,
    /// Whether somebody else still held the output open when reading it was given up.
    pub output_incomplete: bool,
    /// From start to the exit of the leader.
    pub wall: Duration,
    /// Of the leader and the descendants that it waited for; None where the kernel did not say.
    pub cpu: Option<CpuTime>,
}

/// Processor time, to a hundredth of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTime {
    pub user: Duration,
    pub system: Duration,
}

/// A child that was started. Dropping it kills its process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pid: Pid,
    /// Readable once the leader has exited, and without reaping it: until it is reaped, its number, which
    /// is also the group's, can't be given to anyone else. None where the kernel has no such thing.
    exit: Option<AsyncFd<OwnedFd>>,
    record: ProcessRecord,
    started: Instant,
    command: Command,
    reaped: bool,
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// TERM has been sent.
    Asked(Reason),
    /// KILL has been sent.
    Killed(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Timeout(Duration),
    Cancel,
}

impl Phase {
    /// What follows when KILL is sent.
    fn killed(self) -> Self {
        match self {
            Self::Running => Self::Killed(Reason::Cancel),
            Self::Asked(reason) | Self::Killed(reason) => Self::Killed(reason),
        }
    }
}

impl Running {
    pub(super) fn new(child: Child, pid: Pid, record: ProcessRecord, command: Command) -> Self {
        let exit = pidfd_open(pid, PidfdFlags::NONBLOCK).ok().and_then(watch);
        Self { child, pid, exit, record, started: Instant::now(), command, reaped: false }
    }

    /// What finds the process again after a restart.
    #[must_use]
    pub fn record(&self) -> &ProcessRecord {
        &self.record
    }

    /// Waits until the child has ended, or ends it when its time is over or `cancel` asks for it: with TERM,
    /// and KILL after the grace period or as soon as `cancel` asks for an end at once.
    ///
    /// `on_chunk` sees the output as it arrives, all of it; while it does not return, the child is not
    /// read either. What is left of the process group afterwards is killed.
    pub async fn wait(
        mut self,
        mut on_chunk: impl FnMut(Stream, &[u8]) + Send,
        mut cancel: Cancel,
    ) -> Result<Finished, WaitError> {
        let limit = self.command.limits.per_stream;
        let mut stdout = Reader::new(self.child.stdout.take(), limit);
        let mut stderr = Reader::new(self.child.stderr.take(), limit);
        let mut stdin = Writer::new(self.child.stdin.take(), &mut self.command.stdin);
        let mut phase = Phase::Running;
        let mut wall = None;
        let mut force = cancel.clone();
        let mut alarm = pin!(sleep_until(self.started + self.command.timeout.unwrap_or(NEVER).min(NEVER)));

        while wall.is_none() || stdout.is_open() || stderr.is_open() {
            tokio::select! {
                count = stdout.read() => stdout.take_in(&count, |chunk| on_chunk(Stream::Stdout, chunk)),
                count = stderr.read() => stderr.take_in(&count, |chunk| on_chunk(Stream::Stderr, chunk)),
                () = stdin.feed() => {}
                exited = leader_exited(self.exit.as_ref(), &mut self.child), if wall.is_none() => {
                    exited.map_err(|source| self.lost(source))?;
                    wall = Some(self.started.elapsed());
                    stdin.close();
                    alarm.as_mut().reset(Instant::now() + DRAIN);
                }
                () = cancel.asked(), if wall.is_none() && phase == Phase::Running => {
                    phase = Phase::Asked(Reason::Cancel);
                    self.signal(Signal::TERM);
                    alarm.as_mut().reset(Instant::now() + self.command.grace.min(NEVER));
                }
                () = force.forced(), if wall.is_none() && !matches!(phase, Phase::Killed(_)) => {
                    phase = phase.killed();
                    self.signal(Signal::KILL);
                    alarm.as_mut().reset(Instant::now() + NEVER);
                }
                () = &mut alarm => {
                    if wall.is_some() {
                        break;
                    }
                    phase = match phase {
                        Phase::Running => {
                            let limit = self.command.timeout.unwrap_or(NEVER);
                            self.signal(Signal::TERM);
                            alarm.as_mut().reset(Instant::now() + self.command.grace.min(NEVER));
                            Phase::Asked(Reason::Timeout(limit))
                        }
                        Phase::Asked(_) | Phase::Killed(_) => {
                            self.signal(Signal::KILL);
                            alarm.as_mut().reset(Instant::now() + NEVER);
                            phase.killed()
                        }
                    };
                }
            }
        }

        // Before it is reaped: see `exit`.
        self.signal(Signal::KILL);
        let cpu = cpu_time(self.pid);
        let status = self.child.wait().await.map_err(|source| self.lost(source))?;
        self.reaped = true;
        Ok(Finished {
            ending: ending(phase, status),
            output_incomplete: stdout.is_incomplete() || stderr.is_incomplete(),
            stdout: stdout.capture.finish(),
            stderr: stderr.capture.finish(),
            wall: wall.unwrap_or_else(|| self.started.elapsed()),
            cpu,
        })
    }

    /// A group that is gone already needs no signal.
    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(self.pid, signal) {
            tracing::debug!(process.pid = self.record.pid, %error, "a process group could not be signalled");
        }
    }

    fn lost(&self, source: io::Error) -> WaitError {
        WaitError { program: self.command.program.clone(), source }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            // The leader itself is killed and reaped by the runtime, since `kill_on_drop` is set.
            self.signal(Signal::KILL);
        }
    }
}

#[expect(deprecated, reason = "its unsafe successor asks for what an OwnedFd already guarantees")]
fn watch(exit: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(exit, Interest::READABLE).ok()
}

async fn leader_exited(exit: Option<&AsyncFd<OwnedFd>>, child: &mut Child) -> io::Result<()> {
    match exit {
        Some(exit) => exit.readable().await.map(drop),
        None => child.wait().await.map(drop),
    }
}

fn ending(phase: Phase, status: ExitStatus) -> Ending {
    match phase {
        Phase::Running => match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, signal) => Ending::Signalled(signal.unwrap_or_default()),
        },
        Phase::Asked(Reason::Timeout(limit)) => Ending::TimedOut { limit, forced: false },
        Phase::Killed(Reason::Timeout(limit)) => Ending::TimedOut { limit, forced: true },
        Phase::Asked(Reason::Cancel) => Ending::Cancelled { forced: false },
        Phase::Killed(Reason::Cancel) => Ending::Cancelled { forced: true },
    }
}

fn cpu_time(pid: Pid) -> Option<CpuTime> {
    let stat = Stat::of(pid).ok()?;
    let duration = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND));
    Some(CpuTime { user: duration(stat.user), system: duration(stat.system) })
}

/// One of the child's output streams.
struct Reader<R> {
    source: Option<R>,
    buffer: Box<[u8]>,
    capture: Capture,
    failed: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    fn new(source: Option<R>, limit: usize) -> Self {
        Self { source, buffer: vec![0; CHUNK].into(), capture: Capture::new(limit), failed: false }
    }

    fn is_open(&self) -> bool {
        self.source.is_some()
    }

    fn is_incomplete(&self) -> bool {
        self.failed || self.is_open()
    }

    /// How many bytes came into the buffer; for ever pending once the stream has ended.
    async fn read(&mut self) -> io::Result<usize> {
        match &mut self.source {
            Some(source) => source.read(&mut self.buffer).await,
            None => std::future::pending().await,
        }
    }

    fn take_in(&mut self, count: &io::Result<usize>, mut on_chunk: impl FnMut(&[u8])) {
        match count {
            Ok(0) => self.source = None,
            &Ok(count) => {
                let chunk = &self.buffer[..count];
                self.capture.push(chunk);
                on_chunk(chunk);
            }
            Err(_) => {
                self.source = None;
                self.failed = true;
            }
        }
    }
}

/// The child's input.
struct Writer {
    sink: Option<ChildStdin>,
    bytes: Vec<u8>,
    written: usize,
}

impl Writer {
    fn new(sink: Option<ChildStdin>, stdin: &mut Stdin) -> Self {
        let bytes = match std::mem::replace(stdin, Stdin::Null) {
            Stdin::Null => Vec::new(),
            Stdin::Bytes(bytes) => bytes,
        };
        Self { sink, bytes, written: 0 }
    }

    fn close(&mut self) {
        self.sink = None;
    }

    /// Writes as much as the pipe takes; for ever pending once all is written.
    async fn feed(&mut self) {
        let Some(sink) = &mut self.sink else { return std::future::pending().await };
        let rest = &self.bytes[self.written..];
        if rest.is_empty() {
            self.close();
            return;
        }
        match sink.write(rest).await {
            Ok(count) => self.written += count,
            // It has closed its input, which is its own business.
            Err(_) => self.close(),
        }
    }
}
