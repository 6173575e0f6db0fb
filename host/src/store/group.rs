//! Writing in one transaction what several want to have written: waiting for the disk takes as long for many as for one.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, oneshot};

use super::Result;

/// What waits to be written together.
#[derive(Debug)]
pub(super) struct Group<T, R> {
    waiting: Mutex<Vec<(T, oneshot::Sender<R>)>>,
    /// Held by whoever writes for all that waited when his turn came.
    turn: Turn<()>,
}

impl<T, R> Default for Group<T, R> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Turn::default() }
    }
}

impl<T: Clone, R> Group<T, R> {
    /// Has `item` written, alone or with others: `write` answers for each of its items, in their order. If it fails for
    /// all, each of them tries again.
    pub(super) async fn write<F>(&self, item: &T, write: impl Fn(Vec<T>) -> F) -> Result<R>
    where
        F: Future<Output = Result<Vec<R>>>,
    {
        loop {
            let (sender, mut answer) = oneshot::channel();
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((item.clone(), sender));
            // Somebody else may write it while this waits for its turn, or fail to.
            let _turn = tokio::select! {
                biased;
                answer = &mut answer => match answer {
                    Ok(answer) => return Ok(answer),
                    Err(oneshot::error::RecvError { .. }) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            match answer.try_recv() {
                Ok(answer) => return Ok(answer),
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let batch = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let (items, senders): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let answers = write(items).await?;
            for (sender, answer) in senders.into_iter().zip(answers) {
                // Whoever does not wait any more does not need it.
                let _ = sender.send(answer);
            }
            if let Ok(answer) = answer.try_recv() {
                return Ok(answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::future::join_all;

    use super::super::StoreError;
    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_written_together_and_each_gets_its_own_answer() {
        let group = Group::<u32, u32>::default();
        let batches = RefCell::new(Vec::new());
        let write = |items: Vec<u32>| {
            let batches = &batches;
            async move {
                tokio::task::yield_now().await;
                batches.borrow_mut().push(items.len());
                Ok(items.iter().map(|item| item * 2).collect::<Vec<_>>())
            }
        };
        let items = (0..10).collect::<Vec<_>>();
        let answers = join_all(items.iter().map(|item| group.write(item, write))).await;
        let answers = answers.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(answers, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(batches.into_inner(), [1, 9], "all that come while one is written go together");
    }

    #[tokio::test]
    async fn a_failure_is_of_the_one_who_wrote_and_the_others_try_again() {
        let group = Group::<u32, u32>::default();
        let write = |items: Vec<u32>| async move {
            tokio::task::yield_now().await;
            // The item 3 spoils whatever it is part of.
            if items.contains(&3) { Err(StoreError::Query(sqlx::Error::PoolClosed)) } else { Ok(items) }
        };
        let items = [1, 2, 3];
        let answers = join_all(items.iter().map(|item| group.write(item, write))).await;
        assert!(answers.iter().any(Result::is_err));
        assert!(
            answers.into_iter().zip(items).all(|(answer, item)| answer.is_err() || answer.unwrap() == item)
        );
    }
}
