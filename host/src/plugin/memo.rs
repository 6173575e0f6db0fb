//! What programs answered before. An answer holds for one component, one state of one file and one
//! invocation. Whoever owns the store loads the entries before and saves the new ones after.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::child::{Completion, Ending, Invocation};
use crate::installation::{Failure, FailureClass, Identity};

/// Longer output is not worth remembering.
const OUTPUT_MAX: usize = 256 << 10;

/// How long it is remembered that a program hung, at first and at most: twice as long each time. It may have been the
/// machine that was busy, and every try costs all the time that a program may take.
const HUNG: (TimeDelta, TimeDelta) = (TimeDelta::minutes(5), TimeDelta::hours(1));

/// What an answer holds for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemoKey {
    /// SHA-256 of the component that asked, in hexadecimal.
    pub component: String,
    /// Canonical path of the program.
    pub path: PathBuf,
    /// Its identity when it ran.
    pub identity: Identity,
    /// SHA-256 of arguments, variables, standard input and timeout, in hexadecimal.
    pub invocation: String,
}

impl MemoKey {
    pub(crate) fn new(component: &str, path: &Path, identity: &Identity, invocation: &Invocation) -> Self {
        Self {
            component: component.to_owned(),
            path: path.to_owned(),
            identity: identity.clone(),
            invocation: digest(invocation),
        }
    }
}

/// Every part is preceded by its length, so that no two invocations read the same.
fn digest(invocation: &Invocation) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(&(invocation.arguments.len() as u64).to_le_bytes());
    for argument in &invocation.arguments {
        part(argument.as_bytes());
    }
    for (name, value) in &invocation.variables {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    part(&invocation.stdin);
    part(&invocation.timeout.as_millis().to_le_bytes());
    crate::digest::hexadecimal(&hash.finalize())
}

/// A remembered answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoOutcome {
    /// It ran.
    Completed {
        /// How it ended.
        ending: Ending,
        #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
        /// What it printed.
        stdout: Vec<u8>,
        #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
        /// What it complained about.
        stderr: Vec<u8>,
    },
    /// It could not be started.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It did not end in time.
    Hung {
        /// As it was said then.
        failure: Failure,
        /// How often in a row.
        times: u32,
        /// When it is asked again.
        until: DateTime<Utc>,
    },
}

/// An answer and what it holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoEntry {
    /// What it holds for.
    pub key: MemoKey,
    /// What was answered.
    pub outcome: MemoOutcome,
}

impl MemoOutcome {
    /// Whether it says something about the program. A signal or a lack of memory or processes says more about the
    /// moment: on a machine under load, the next try may well succeed. That goes for a timeout as well, but a try costs
    /// much, so it is believed for a while.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Completed { ending, .. } => matches!(ending, Ending::Exited(_)),
            Self::Failed { failure } => matches!(
                failure.class,
                FailureClass::ExecFormat | FailureClass::BadShebang | FailureClass::PermissionDenied
            ),
            Self::Hung { .. } => true,
        }
    }
}

impl MemoEntry {
    /// Whether it may come out differently once something else on the machine has changed: a program that
    /// did not start. A forced detection leaves these out.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match &self.outcome {
            MemoOutcome::Completed { ending: Ending::Exited(_), .. } => false,
            MemoOutcome::Completed { ending: Ending::Signalled(_), .. }
            | MemoOutcome::Failed { .. }
            | MemoOutcome::Hung { .. } => true,
        }
    }

    /// Whether to try again costs the time that a program may take.
    #[must_use]
    pub fn is_hang(&self) -> bool {
        matches!(self.outcome, MemoOutcome::Hung { .. })
    }
}

/// Remembered answers: those known before, and those that were added.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    known: HashMap<MemoKey, MemoOutcome>,
    /// How often those hung that may be asked again.
    hung: HashMap<MemoKey, u32>,
    new: Vec<MemoEntry>,
}

impl Memo {
    /// Starts with what is known already, as far as it holds `now`.
    #[must_use]
    pub fn from_entries(entries: Vec<MemoEntry>, now: DateTime<Utc>) -> Self {
        let mut start = Entries::default();
        for MemoEntry { key, outcome } in entries {
            match outcome {
                // Longer than it ever waits: the clock has been set back since.
                MemoOutcome::Hung { times, until, .. } if until <= now || until > now + HUNG.1 => {
                    start.hung.insert(key, times);
                }
                // Whoever stored them may have been less strict.
                outcome if outcome.is_lasting() => drop(start.known.insert(key, outcome)),
                MemoOutcome::Completed { .. } | MemoOutcome::Failed { .. } | MemoOutcome::Hung { .. } => {}
            }
        }
        Self(Mutex::new(start))
    }

    /// What was added since the last time, to be kept.
    pub fn take_new(&self) -> Vec<MemoEntry> {
        std::mem::take(&mut self.entries().new)
    }

    pub(crate) fn recall(&self, key: &MemoKey) -> Option<Result<Completion, Failure>> {
        Some(match self.entries().known.get(key)?.clone() {
            MemoOutcome::Completed { ending, stdout, stderr } => {
                Ok(Completion { ending, stdout, stderr, truncated: false })
            }
            MemoOutcome::Failed { failure } => Err(failure),
            MemoOutcome::Hung { failure, until, .. } => {
                let until = until.format("%Y-%m-%d %H:%M UTC");
                Err(Failure::new(
                    failure.class,
                    format!("{}, and is left alone until {until}", failure.message),
                ))
            }
        })
    }

    /// Remembers what says something about the program; half an output does not.
    pub(crate) fn remember(&self, key: MemoKey, outcome: &Result<Completion, Failure>, now: DateTime<Utc>) {
        let outcome = match outcome {
            Ok(done) if done.truncated || done.stdout.len() + done.stderr.len() > OUTPUT_MAX => return,
            Ok(done) => MemoOutcome::Completed {
                ending: done.ending,
                stdout: done.stdout.clone(),
                stderr: done.stderr.clone(),
            },
            Err(failure) if failure.class == FailureClass::Timeout => {
                let times = self.entries().hung.get(&key).map_or(1, |times| times.saturating_add(1));
                let wait = HUNG.0 * 2_i32.saturating_pow(times.saturating_sub(1).min(10));
                let until = now + wait.min(HUNG.1);
                MemoOutcome::Hung { failure: failure.clone(), times, until }
            }
            Err(failure) => MemoOutcome::Failed { failure: failure.clone() },
        };
        if !outcome.is_lasting() {
            return;
        }
        let mut entries = self.entries();
        entries.new.push(MemoEntry { key: key.clone(), outcome: outcome.clone() });
        entries.known.insert(key, outcome);
    }

    /// Nothing that holds the lock can leave the entries half changed, so a poisoned lock is no reason to stop.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn invocation(arguments: &[&str]) -> Invocation {
        Invocation {
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            variables: Vec::new(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(1),
        }
    }

    fn key(component: &str, ctime: i64, arguments: &[&str]) -> MemoKey {
        let identity = Identity { dev: 1, inode: 2, size: 3, mtime: 4, ctime };
        MemoKey::new(component, Path::new("/bin/x"), &identity, &invocation(arguments))
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn completion(ending: Ending) -> Completion {
        Completion { ending, stdout: vec![0, 255], stderr: Vec::new(), truncated: false }
    }

    #[test]
    fn an_answer_holds_for_its_key_only() {
        let memo = Memo::default();
        memo.remember(key("a", 5, &["-V"]), &Ok(completion(Ending::Exited(0))), at(0));
        assert_eq!(memo.recall(&key("a", 5, &["-V"])), Some(Ok(completion(Ending::Exited(0)))));
        for other in [key("b", 5, &["-V"]), key("a", 6, &["-V"]), key("a", 5, &["-v"]), key("a", 5, &[])] {
            assert_eq!(memo.recall(&other), None, "{other:?}");
        }
    }

    #[test]
    fn entries_survive_being_stored() {
        let memo = Memo::default();
        let failed = Err(Failure::new(FailureClass::ExecFormat, "no program"));
        memo.remember(key("a", 5, &[]), &Ok(completion(Ending::Exited(9))), at(0));
        memo.remember(key("a", 6, &[]), &failed, at(0));
        let new = memo.take_new();
        assert_eq!(memo.take_new(), []);
        assert_eq!(new.iter().map(MemoEntry::is_failure).collect::<Vec<_>>(), [false, true]);
        let text = serde_json::to_string(&new).expect("JSON");
        let memo = Memo::from_entries(serde_json::from_str(&text).expect("the same"), at(0));
        assert_eq!(memo.recall(&key("a", 5, &[])), Some(Ok(completion(Ending::Exited(9)))));
        assert_eq!(memo.recall(&key("a", 6, &[])), Some(failed));
        assert_eq!(memo.take_new(), []);
    }

    #[test]
    fn what_is_not_remembered() {
        let memo = Memo::default();
        let cut = Completion { ending: Ending::Exited(0), stdout: vec![], stderr: vec![], truncated: true };
        let long = Completion { stdout: vec![0; OUTPUT_MAX + 1], truncated: false, ..cut.clone() };
        for outcome in [
            Ok(cut),
            Ok(long),
            Ok(completion(Ending::Signalled(9))),
            Err(Failure::new(FailureClass::Other("not-started".to_owned()), "no memory")),
        ] {
            memo.remember(key("a", 5, &[]), &outcome, at(0));
            assert_eq!(memo.take_new(), [], "{outcome:?}");
            assert_eq!(memo.recall(&key("a", 5, &[])), None, "{outcome:?}");
        }
    }

    #[test]
    fn what_was_stored_and_does_not_last_is_not_recalled() {
        let failure = Failure::new(FailureClass::Timeout, "too slow");
        let entry = MemoEntry { key: key("a", 5, &[]), outcome: MemoOutcome::Failed { failure } };
        assert_eq!(Memo::from_entries(vec![entry], at(0)).recall(&key("a", 5, &[])), None);
    }

    #[test]
    fn that_it_hung_is_believed_longer_each_time_for_as_long_as_it_is_the_same_file() {
        let hung = Err(Failure::new(FailureClass::Timeout, "too slow"));
        let (mut now, mut waits, mut entries) = (at(0), Vec::new(), Vec::new());
        for _ in 0..6 {
            let memo = Memo::from_entries(std::mem::take(&mut entries), now);
            assert_eq!(memo.recall(&key("a", 5, &[])), None, "it is asked again");
            memo.remember(key("a", 5, &[]), &hung, now);
            entries = memo.take_new();
            let [entry] = &entries[..] else { panic!("{entries:?}") };
            let MemoOutcome::Hung { until, .. } = entry.outcome else { panic!("{entry:?}") };
            assert!(entry.is_hang() && entry.is_failure());
            waits.push((until - now).num_minutes());

            let later = Memo::from_entries(entries.clone(), until - TimeDelta::seconds(1));
            let known = later.recall(&key("a", 5, &[])).expect("known").expect_err("it hung");
            assert_eq!(known.class, FailureClass::Timeout);
            assert!(known.message.starts_with("too slow, and is left alone until 1970-01-01 0"), "{known}");
            assert_eq!(later.recall(&key("a", 6, &[])), None, "another file");
            let earlier = Memo::from_entries(entries.clone(), now - TimeDelta::hours(2));
            assert_eq!(earlier.recall(&key("a", 5, &[])), None, "the clock was set back");
            now = until;
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        let memo = Memo::from_entries(entries, now);
        memo.remember(key("a", 5, &[]), &Ok(completion(Ending::Exited(0))), now);
        assert!(memo.recall(&key("a", 5, &[])).expect("known").is_ok(), "it was the machine's fault");
    }

    proptest! {
        #[test]
        fn different_invocations_have_different_digests(
            one in proptest::collection::vec(".{0,3}", 0..4),
            other in proptest::collection::vec(".{0,3}", 0..4),
        ) {
            let digest_of = |list: &[String]| digest(&invocation(&list.iter().map(String::as_str).collect::<Vec<_>>()));
            prop_assert_eq!(one == other, digest_of(&one) == digest_of(&other));
        }
    }
}
