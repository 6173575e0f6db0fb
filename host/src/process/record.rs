//! Which process it was: enough to find it again after a restart, and never to take another for it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, told from every other one that had or will have its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Also the number of the group that it leads.
    pub pid: i32,
    /// Ticks between boot and its start.
    pub start_time: u64,
    /// Which boot that was.
    pub boot_id: String,
}

impl ProcessRecord {
    /// The process that has this number now.
    pub(super) fn of(pid: Pid) -> std::io::Result<Self> {
        let start_time = Stat::of(pid)?.start_time;
        Ok(Self { pid: pid.as_raw_pid(), start_time, boot_id: boot_id()?.to_owned() })
    }
}

/// What became of a leftover process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It was still there, and has been sent KILL.
    Killed,
    /// Its leader is gone.
    Gone,
    /// The machine was started anew since.
    OtherBoot,
    /// The number belongs to another process now, which was left alone.
    Recycled,
}

/// Kills what is left of the group that the recorded process leads.
///
/// A group whose leader is gone is left alone: nothing then tells it from a later one of the same number.
pub fn sweep(record: &ProcessRecord) -> std::io::Result<Swept> {
    if boot_id()? != record.boot_id {
        return Ok(Swept::OtherBoot);
    }
    let Some(pid) = Pid::from_raw(record.pid) else { return Ok(Swept::Gone) };
    match Stat::of(pid) {
        Ok(stat) if stat.zombie => return Ok(Swept::Gone),
        Ok(stat) if stat.start_time != record.start_time => return Ok(Swept::Recycled),
        Ok(_) => {}
        Err(error) if is_gone(&error) => return Ok(Swept::Gone),
        Err(error) => return Err(error),
    }
    match kill_process_group(pid, Signal::KILL) {
        Ok(()) => Ok(Swept::Killed),
        Err(Errno::SRCH) => Ok(Swept::Gone),
        Err(errno) => Err(errno.into()),
    }
}

/// The processes that lead a group and were started with this variable: for one whose record was not written, since
/// whoever started it was killed in that moment. Those of other users can't be seen.
pub fn started_with(name: &str, value: &Path) -> std::io::Result<Vec<ProcessRecord>> {
    let mut wanted = name.as_bytes().to_vec();
    wanted.push(b'=');
    wanted.extend_from_slice(value.as_os_str().as_bytes());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        // It may have ended meanwhile.
        let Ok(variables) = std::fs::read(entry.path().join("environ")) else { continue };
        let has_it = variables.split(|byte| *byte == 0).any(|variable| variable == wanted);
        if has_it
            && rustix::process::getpgid(Some(pid)) == Ok(pid)
            && let Ok(record) = ProcessRecord::of(pid)
        {
            found.push(record);
        }
    }
    Ok(found)
}

/// A process that was ended though it had left the group that it was started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escaped {
    pub pid: i32,
    /// What the kernel calls it: the beginning of its program's name, unless it says otherwise.
    pub name: String,
}

/// To follow `ended`: `sleep (4711)`.
impl std::fmt::Display for Escaped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.name, self.pid)
    }
}

/// How often to look for processes: one may start another while they are looked for.
const LOOKS: usize = 5;

/// Kills every process that has all of these variables from its start, whatever group it is in. One that was started with
/// others, or that belongs to another user, is not found. Blocks: it looks at every process there is.
pub fn end_escaped(variables: &[(&str, String)]) -> std::io::Result<Vec<Escaped>> {
    let wanted = variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    let mut ended = Vec::new();
    for _ in 0..LOOKS {
        let mut is_alone = true;
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            // By its descriptor: the number may be another's by the time that it is killed.
            let Some((pid, process)) =
                pid.and_then(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
            else {
                continue;
            };
            let Ok(found) = std::fs::read(entry.path().join("environ")) else { continue };
            let has =
                |wanted: &String| found.split(|byte| *byte == 0).any(|found| found == wanted.as_bytes());
            if !wanted.iter().all(has) || Stat::of(pid).map_or(true, |stat| stat.zombie) {
                continue;
            }
            is_alone = false;
            let name = std::fs::read(entry.path().join("comm")).unwrap_or_default();
            if pidfd_send_signal(&process, Signal::KILL).is_ok() {
                let name = String::from_utf8_lossy(&name).trim_end().to_owned();
                ended.push(Escaped { pid: pid.as_raw_pid(), name });
            }
        }
        if is_alone {
            break;
        }
    }
    ended.sort_by_key(|escaped| escaped.pid);
    ended.dedup();
    Ok(ended)
}

/// Reading a file of `/proc` fails with ESRCH when the process ends between open and read.
fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// The part of `/proc/PID/stat` that is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) zombie: bool,
    /// Ticks.
    pub(super) user: u64,
    /// Ticks.
    pub(super) system: u64,
    pub(super) start_time: u64,
}

impl Stat {
    pub(super) fn of(pid: Pid) -> std::io::Result<Self> {
        let path = PathBuf::from(format!("/proc/{}/stat", pid.as_raw_pid()));
        // The program's name in it may be any bytes.
        let line = std::fs::read(&path)?;
        Self::parse(&String::from_utf8_lossy(&line)).ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{} is malformed", path.display()))
        })
    }

    /// The name is in parentheses and may hold spaces and parentheses itself, so the fields are
    /// counted from the last one on: the state is field 3.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Self {
            zombie: matches!(*fields.first()?, "Z" | "X"),
            user: number(14)?,
            system: number(15)?,
            start_time: number(22)?,
        })
    }
}

fn boot_id() -> std::io::Result<&'static str> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(known);
    }
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| read.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_with_parentheses() {
        let rest = "S 1 7 7 0 -1 4194304 0 0 0 0 11 12 0 0 20 0 1 0 4242 0 0";
        let expected = Stat { zombie: false, user: 11, system: 12, start_time: 4242 };
        for name in ["sleep", "a b", ") S 1 (", "((", "\u{fffd}"] {
            assert_eq!(Stat::parse(&format!("7 ({name}) {rest}")), Some(expected), "{name}");
        }
        for malformed in ["", "7 (sleep)", "7 (sleep) S 1", "7 sleep S"] {
            assert_eq!(Stat::parse(malformed), None, "{malformed}");
        }
        let zombie = Stat::parse(&format!("7 (x) {}", rest.replacen('S', "Z", 1)));
        assert!(zombie.is_some_and(|stat| stat.zombie));
    }

    #[test]
    fn finds_a_process_without_a_record() {
        use std::os::unix::process::CommandExt;
        let place = tempfile::tempdir().expect("a folder");
        let start = |group| {
            let mut command = std::process::Command::new("/bin/sleep");
            command
                .arg("60")
                .env("ATTUNE_TEST_PLACE", place.path())
                .process_group(group)
                .spawn()
                .expect("started")
        };
        let mut leader = start(0);
        let group = i32::try_from(leader.id()).expect("a number");
        let mut member = start(group);
        let found = started_with("ATTUNE_TEST_PLACE", place.path()).expect("looked");
        assert_eq!(found.iter().map(|record| record.pid).collect::<Vec<_>>(), [group]);
        assert_eq!(started_with("ATTUNE_TEST_PLACE", &place.path().join("other")).expect("looked"), []);
        assert_eq!(sweep(&found[0]).expect("swept"), Swept::Killed);
        for process in [&mut leader, &mut member] {
            assert!(!process.wait().expect("it ends").success());
        }
    }

    #[test]
    fn ends_what_has_left_its_group_and_nothing_else() {
        let place = tempfile::tempdir().expect("a folder");
        let place = place.path().to_str().expect("text").to_owned();
        let start = |attempt: &str, script: &str| {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", script]).stdout(std::process::Stdio::piped());
            command.env("ATTUNE_TEST_ESCAPED", &place).env("ATTUNE_TEST_ATTEMPT", attempt);
            let mut child = command.spawn().expect("started");
            let mut said = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
            let mut pid = String::new();
            std::io::BufRead::read_line(&mut said, &mut pid).expect("a number");
            (child, pid.trim().parse::<i32>().expect("a number"))
        };
        // Not a leader either: its own session's leader is gone.
        let script = "setsid sh -c 'sleep 60 & echo $!'; wait";
        let (mut parent, grandchild) = start("1", script);
        let (mut other, _) = start("12", "echo 1; exec sleep 60");
        assert!(parent.wait().expect("it ends").success());
        // It says its number before it becomes what it starts.
        while std::fs::read_to_string(format!("/proc/{grandchild}/comm"))
            .is_ok_and(|name| name.trim() != "sleep")
        {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let variables = [("ATTUNE_TEST_ESCAPED", place.clone()), ("ATTUNE_TEST_ATTEMPT", "1".to_owned())];
        let ended = end_escaped(&variables).expect("looked");
        assert_eq!(ended, [Escaped { pid: grandchild, name: "sleep".to_owned() }]);
        assert_eq!(ended[0].to_string(), format!("sleep ({grandchild})"));
        assert_eq!(other.try_wait().expect("it is there"), None);
        other.kill().expect("it is there");
        other.wait().expect("it ends");
    }

    #[test]
    fn never_touches_another_process() {
        let own = ProcessRecord::of(rustix::process::getpid()).expect("this process has a record");
        let recycled = ProcessRecord { start_time: own.start_time + 1, ..own.clone() };
        assert_eq!(sweep(&recycled).expect("swept"), Swept::Recycled);
        let rebooted = ProcessRecord { boot_id: "another".to_owned(), ..own.clone() };
        assert_eq!(sweep(&rebooted).expect("swept"), Swept::OtherBoot);
        // Above the largest number that the kernel gives.
        for pid in [0, 4_194_305] {
            let gone = ProcessRecord { pid, ..own.clone() };
            assert_eq!(sweep(&gone).expect("swept"), Swept::Gone, "{pid}");
        }
    }
}
