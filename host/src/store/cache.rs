//! What was read a moment ago, for a service that reads the same with every execution.
//!
//! The database counts the changes to what executions are run by, in the transactions that make them (`generation` in the
//! migrations). A claim says how many there were; while that is the same number, what was read since is as good as read
//! again. Between two claims, what is read may be as old as the first of them: no older than the execution that it is read
//! for.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::worker::WorkerId;
use super::{Result, Store};

/// More entries than that are not kept: all of them are read anew.
const ENTRIES_MAX: usize = 4096;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// By reference.
    Action(String),
    /// By reference.
    Runtime(String),
    /// By what it is called.
    RuntimesCalled(String),
    /// Of a runtime.
    Detection(WorkerId, i64),
    /// By component, function and digest of the question.
    Answer(WorkerId, [String; 3]),
    /// By path and interpreter.
    Environment(WorkerId, [String; 2]),
}

/// What was read since the last change.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// None until somebody has looked: nothing is kept before.
    generation: Option<i64>,
    /// Raised whenever entries are dropped: what was read before that is not kept after it.
    dropped: u64,
    values: HashMap<Key, Arc<dyn Any + Send + Sync>>,
}

impl Cache {
    /// How many changes there were, as the database says now.
    pub(super) fn look(&self, generation: i64) {
        let mut entries = self.entries();
        if entries.generation != Some(generation) {
            entries.generation = Some(generation);
            entries.drop_all();
        }
    }

    /// After a change by this process.
    fn forget(&self) {
        self.entries().drop_all();
    }

    async fn read<T: Send + Sync + 'static>(
        &self,
        key: Key,
        read: impl Future<Output = Result<T>>,
    ) -> Result<Arc<T>> {
        let dropped = {
            let entries = self.entries();
            if let Some(known) = entries.values.get(&key)
                && let Ok(value) = Arc::clone(known).downcast()
            {
                return Ok(value);
            }
            entries.dropped
        };
        let value = Arc::new(read.await?);
        let mut entries = self.entries();
        if entries.generation.is_some() && entries.dropped == dropped {
            if entries.values.len() >= ENTRIES_MAX {
                entries.drop_all();
            }
            entries.values.insert(key, Arc::clone(&value) as Arc<dyn Any + Send + Sync>);
        }
        Ok(value)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn drop_all(&mut self) {
        self.values.clear();
        self.dropped += 1;
    }
}

impl Store {
    /// The same database, for whoever claims executions and runs them: what is read for each of them is read once for all,
    /// as long as no claim has seen a change.
    #[must_use]
    pub fn caching(&self) -> Self {
        Self { cache: Some(Arc::default()), ..self.clone() }
    }

    /// What `read` reads, or has read since the last change.
    pub(super) async fn cached<T: Clone + Send + Sync + 'static>(
        &self,
        key: impl FnOnce() -> Key,
        read: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match &self.cache {
            None => read.await,
            Some(cache) => Ok(Arc::unwrap_or_clone(cache.read(key(), read).await?)),
        }
    }

    /// Has everything be read anew, also before the next claim: something has changed, or may have, here or elsewhere.
    pub(crate) fn has_changed(&self) {
        if let Some(cache) = &self.cache {
            cache.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::Action("a.b".to_owned())
    }

    async fn read(cache: &Cache, value: u32) -> u32 {
        *cache.read(key(), async { Ok(value) }).await.unwrap()
    }

    #[tokio::test]
    async fn it_is_read_once_for_each_generation() {
        let cache = Cache::default();
        assert_eq!([read(&cache, 1).await, read(&cache, 2).await], [1, 2], "nobody has looked yet");
        cache.look(7);
        assert_eq!([read(&cache, 3).await, read(&cache, 4).await], [3, 3]);
        cache.look(7);
        assert_eq!(read(&cache, 5).await, 3);
        cache.look(8);
        assert_eq!([read(&cache, 6).await, read(&cache, 7).await], [6, 6]);
        cache.forget();
        assert_eq!([read(&cache, 8).await, read(&cache, 9).await], [8, 8]);
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = Cache::default();
        cache.look(1);
        let old = cache.read(key(), async {
            cache.look(2);
            Ok(1_u32)
        });
        assert_eq!(*old.await.unwrap(), 1);
        assert_eq!(read(&cache, 2).await, 2);
    }

    #[tokio::test]
    async fn there_are_only_so_many() {
        let cache = Cache::default();
        cache.look(1);
        for number in 0..=ENTRIES_MAX {
            cache.read(Key::Action(number.to_string()), async { Ok(()) }).await.unwrap();
        }
        assert_eq!(cache.entries().values.len(), 1);
    }
}
