//! The queue against a model of it: random requests, claims, ends, crashes, losses, deadlines, cancellations and late words,
//! on each engine.

mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use attune::execution::{ExecutionId, Status};
use attune::reference::{ActionRef, RuntimeRef};
use attune::store::execution::{Attempt, Decided, End, Ended, LogChunk, LogStream};
use attune::store::lease::Lessee;
use attune::store::pack::{NewPack, PackDetails};
use attune::store::queue::{CancelOutcome, Enqueued, NewQueued};
use attune::store::requirement::NewRequirement;
use attune::store::slice::Slice;
use attune::store::{Store, now};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value as Json;

use steps::{Step, When, step};

use crate::support::store::{on_each_engine, verdict, worker};

/// Rescues that an execution gets at most.
const RESCUES_MAX: u32 = 3;

/// Kinds of executions: what they need, and of which of the actions they are.
const KINDS: [(&str, usize); 6] =
    [(">=3.12", 0), ("<3.12", 0), (">=3.12", 1), ("<3.12", 1), (">=3.12", 2), ("<3.12", 2)];
/// Actions, how many of each may run at a time, and which of the packs each is of.
const ACTIONS: [(&str, Option<i64>, usize); 3] =
    [("tests.act", None, 0), ("tests.narrow", Some(1), 0), ("others.act", None, 1)];
/// Packs, and how many of each may run at a time.
const PACKS: [(&str, Option<u32>); 2] = [("tests", None), ("others", Some(2))];
/// So many of each pack come first in the queue, and no worker can run them: more than a claim looks at before it asks
/// for the first of each requirement.
const BACKLOG: usize = 101;
/// What each of the workers satisfies.
const WORKERS: [&[&str]; 2] = [&[">=3.12"], &[">=3.12", "<3.12"]];

/// What there should be of an execution.
#[derive(Clone, Debug)]
struct Expected {
    kind: usize,
    status: Status,
    attempt: i64,
    order: DateTime<Utc>,
    priority: i64,
    retries: u32,
    idempotent: bool,
    rescues: u32,
    cancel: bool,
    when: When,
    /// The worker that has it, while it runs.
    holder: usize,
    /// Whether its attempt may have been started.
    begun: bool,
    /// Which claim took it last; 0 for none that counts.
    claim: usize,
}

impl Expected {
    /// What becomes of one whose worker is gone.
    fn lose(&mut self) {
        self.status = if self.cancel {
            Status::Cancelled
        } else if (self.idempotent || self.retries > 0 || !self.begun) && self.rescues < RESCUES_MAX {
            self.rescues += 1;
            Status::Queued
        } else {
            Status::Abandoned
        };
    }

    fn has_ended(&self) -> bool {
        !matches!(self.status, Status::Queued | Status::Running)
    }
}

struct World {
    store: Store,
    workers: [Lessee; 2],
    actions: [ActionRef; ACTIONS.len()],
    /// When each was claimed last.
    started: BTreeMap<ExecutionId, DateTime<Utc>>,
    claims: usize,
    runtime: RuntimeRef,
    began: DateTime<Utc>,
    asked: u32,
    keys: BTreeMap<u8, (ExecutionId, String)>,
    executions: BTreeMap<ExecutionId, Expected>,
}

impl World {
    async fn new(store: &Store) -> Self {
        let one = worker(store, "one").await;
        let two = worker(store, "two").await;
        for (name, concurrency) in PACKS {
            let details = PackDetails {
                label: name,
                description: None,
                version: &semver::Version::new(1, 0, 0),
                author: None,
                config_schema: None,
                tags: &[],
                concurrency,
            };
            let reference = &name.parse().expect("a reference");
            let pack = NewPack { reference, details, digest: "", source: "a test" };
            store.create_pack(&pack).await.expect("a pack");
        }
        Self {
            store: store.clone(),
            workers: [Lessee::new(one), Lessee::new(two)],
            actions: ACTIONS.map(|(action, ..)| action.parse().expect("a reference")),
            started: BTreeMap::new(),
            claims: 0,
            runtime: "tests.lang".parse().expect("a reference"),
            began: now() - TimeDelta::hours(10),
            asked: 0,
            keys: BTreeMap::new(),
            executions: BTreeMap::new(),
        }
    }

    fn new_queued<'a>(&'a self, action: usize, constraint: &'a str, run_at: DateTime<Utc>) -> NewQueued<'a> {
        let (runtime, limit, action) = (&self.runtime, ACTIONS[action].1, &self.actions[action]);
        NewQueued {
            id: ExecutionId::new(),
            action,
            pack_digest: "",
            requirement: NewRequirement { runtime, constraint, variant: "", fallback: false, action, limit },
            parameters: &Json::Null,
            constraint: None,
            timeout: None,
            priority: 0,
            created_at: run_at,
            run_at,
            deadline: None,
            retries: 0,
            idempotent: false,
            idempotency_key: None,
            request_digest: "",
            trace: None,
        }
    }

    /// Puts much into the queue that nobody can run, before all else.
    async fn back_up(&self) {
        for action in [0, 2].repeat(BACKLOG) {
            let new = NewQueued { priority: 100, ..self.new_queued(action, ">=99", self.began) };
            assert_eq!(self.store.enqueue(&new).await.expect("an answer"), Enqueued::New);
        }
    }

    /// Earlier than now, and later than any before.
    fn tick(&mut self) -> DateTime<Utc> {
        self.asked += 1;
        self.began + TimeDelta::seconds(self.asked.into())
    }

    fn some(&self, which: Index) -> Option<ExecutionId> {
        self.some_of(which, |_| true)
    }

    /// One of those to which something can happen, if there are any, or else any.
    fn some_of(&self, which: Index, can: impl Fn(&Expected) -> bool) -> Option<ExecutionId> {
        let all = self.executions.keys().copied().collect::<Vec<_>>();
        let can = all.iter().copied().filter(|id| can(&self.executions[id])).collect::<Vec<_>>();
        let ids = if can.is_empty() { all } else { can };
        (!ids.is_empty()).then(|| *which.get(&ids))
    }

    /// One that runs, or any for somebody who is late.
    fn some_running(&self, which: Index, late: bool) -> Option<ExecutionId> {
        self.some_of(which, |expected| late || expected.status == Status::Running)
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Ask { .. } => self.ask(step).await,
            Step::Claim { worker, free } => self.claim(*worker, *free).await,
            Step::End { which, ok, late } => {
                let Some(id) = self.some_running(*which, *late) else { return };
                self.end(id, *ok, *late).await;
            }
            Step::Lose { which, late } => {
                let Some(id) = self.some_running(*which, *late) else { return };
                self.lose(id, *late).await;
            }
            Step::GiveBack { which, late } => {
                let Some(id) = self.some_running(*which, *late) else { return };
                self.give_back(id, *late).await;
            }
            Step::Crash { worker } => self.crash(*worker).await,
            Step::Silence { worker } => self.silence(*worker).await,
            Step::Expire => self.expire().await,
            Step::Cancel { which } => {
                let Some(id) = self.some_of(*which, |expected| !expected.has_ended()) else { return };
                self.cancel(id).await;
            }
            Step::Retry { which } => {
                let Some(id) = self.some(*which) else { return };
                let before = now();
                let expected = self.executions.get_mut(&id).expect("one of them");
                let can = expected.has_ended();
                assert_eq!(self.store.retry_execution(id).await.expect("an answer"), can);
                if can {
                    *expected = Expected {
                        status: Status::Queued,
                        order: before,
                        rescues: 0,
                        cancel: false,
                        when: When::Now,
                        ..expected.clone()
                    };
                }
            }
        }
    }

    async fn ask(&mut self, step: &Step) {
        let Step::Ask { kind, priority, retries, idempotent, key, when } = *step else { return };
        let (constraint, action) = KINDS[kind];
        let (id, tick, hour) = (ExecutionId::new(), self.tick(), TimeDelta::hours(1));
        let (run_at, deadline) = match when {
            When::Now => (tick, None),
            When::Later => (now() + hour, None),
            When::TooLate => (tick, Some(tick)),
            When::Soon => (tick, Some(now() + hour)),
        };
        let key_text = key.map(|key| format!("key {key}"));
        let digest = format!("{kind} {priority}");
        let enqueued = self
            .store
            .enqueue(&NewQueued {
                id,
                priority,
                run_at,
                created_at: now(),
                deadline,
                retries,
                idempotent,
                idempotency_key: key_text.as_deref(),
                request_digest: &digest,
                ..self.new_queued(action, constraint, run_at)
            })
            .await
            .expect("an answer");
        let expected = match key.and_then(|key| self.keys.get(&key)) {
            None => Enqueued::New,
            Some((known, same)) if *same == digest => Enqueued::Known(*known),
            Some((known, _)) => Enqueued::Conflict(*known),
        };
        assert_eq!(enqueued, expected);
        if enqueued == Enqueued::New {
            self.keys.extend(key.map(|key| (key, (id, digest))));
            let status = Status::Queued;
            self.executions.insert(
                id,
                Expected {
                    kind,
                    status,
                    attempt: 0,
                    order: run_at,
                    priority,
                    retries,
                    idempotent,
                    rescues: 0,
                    cancel: false,
                    when,
                    holder: 0,
                    begun: false,
                    claim: 0,
                },
            );
        }
        // As services do when something comes that nobody has judged yet.
        for (worker, satisfies) in self.workers.iter().zip(WORKERS) {
            let new = self.store.requirements(worker.worker, false).await.expect("requirements");
            let judged =
                new.iter().map(|row| (row.id, verdict(satisfies.contains(&row.constraint.as_str()))));
            let judged = judged.collect::<Vec<_>>();
            self.store.keep_judgements(worker.worker, &judged).await.expect("kept");
        }
    }

    /// What a worker gets: the first by order, as long as there is room for its kind.
    async fn claim(&mut self, worker: usize, free: usize) {
        let claimed =
            self.store.claim(self.workers[worker], free, Duration::from_mins(1)).await.expect("an answer");
        let mut waiting = self
            .executions
            .iter()
            .filter(|(_, expected)| {
                expected.status == Status::Queued
                    && matches!(expected.when, When::Now | When::Soon)
                    && WORKERS[worker].contains(&KINDS[expected.kind].0)
            })
            .map(|(id, expected)| {
                (expected.order - TimeDelta::minutes(expected.priority), *id, expected.kind)
            })
            .collect::<Vec<_>>();
        waiting.sort_unstable();
        let (mut running, mut turns, mut served) = ([0; ACTIONS.len()], [0; PACKS.len()], [0; PACKS.len()]);
        for expected in self.executions.values() {
            let action = KINDS[expected.kind].1;
            let pack = ACTIONS[action].2;
            served[pack] = expected.claim.max(served[pack]);
            if expected.status == Status::Running {
                running[action] += 1;
                turns[pack] += 1;
            }
        }
        let mut possible = Vec::new();
        for (order, id, kind) in waiting {
            let action = KINDS[kind].1;
            let (_, limit, pack) = ACTIONS[action];
            running[action] += 1;
            if limit.is_some_and(|limit| running[action] > limit) {
                continue;
            }
            turns[pack] += 1;
            if PACKS[pack].1.is_none_or(|limit| turns[pack] <= i64::from(limit)) {
                possible.push((turns[pack], served[pack], order, id));
            }
        }
        possible.sort_unstable();
        possible.truncate(free);
        let mut expected = possible.into_iter().map(|(_, _, order, id)| (order, id)).collect::<Vec<_>>();
        expected.sort_unstable();
        let expected = expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
        assert_eq!(claimed.iter().map(|claimed| claimed.attempt.id).collect::<Vec<_>>(), expected);
        self.claims += 1;
        for claimed in claimed {
            let expected = self.executions.get_mut(&claimed.attempt.id).expect("one of them");
            expected.status = Status::Running;
            expected.attempt += 1;
            expected.holder = worker;
            expected.claim = self.claims;
            self.started.insert(claimed.attempt.id, claimed.started_at);
            assert_eq!(claimed.attempt.number, expected.attempt);
            // Whether it was begun matters to those alone that must not be begun twice.
            expected.begun = self.claims.is_multiple_of(2);
            let sandbox = expected.begun.then(|| "T0".to_owned());
            let decided = Decided { sandbox, ..Decided::default() };
            assert!(self.store.decide_execution(claimed.attempt, &decided).await.expect("an answer"));
        }
    }

    async fn end(&mut self, id: ExecutionId, ok: bool, late: bool) {
        let tried_again_at = self.tick();
        let expected = self.executions.get_mut(&id).expect("one of them");
        let number = expected.attempt - i64::from(late);
        let retries = !ok && number <= i64::from(expected.retries);
        let status = if ok { Status::Succeeded } else { Status::Failed };
        let ended = Ended {
            status,
            reason: None,
            result: None,
            error_class: None,
            error_message: None,
            exit_code: None,
            output_incomplete: false,
            warnings: Vec::new(),
            timings: Vec::new(),
            retry_at: retries.then_some(tried_again_at),
        };
        let attempt = Attempt { id, number };
        let before = self.store.execution_log(attempt, &Slice::default()).await.expect("a log");
        let sequence = before.last().map_or(0, |(last, _)| last + 1);
        let rest = vec![LogChunk { stream: LogStream::Stdout, bytes: Vec::new() }];
        let end = End { attempt, ended, sequence, rest };
        let said = self.store.finish_execution(&end).await.expect("an answer");
        let slice = Slice { after: Some(sequence - 1), ..Slice::default() };
        let logged = self.store.execution_log(attempt, &slice).await.expect("a log");
        assert_eq!(logged.len(), usize::from(said));
        assert_eq!(said, expected.status == Status::Running && !late, "of attempt {number} of {expected:?}");
        if said && retries && !expected.cancel {
            (expected.status, expected.order) = (Status::Queued, tried_again_at);
        } else if said {
            expected.status = status;
        }
    }

    async fn lose(&mut self, id: ExecutionId, late: bool) {
        let expected = self.executions.get_mut(&id).expect("one of them");
        let number = expected.attempt - i64::from(late);
        let lost = self.store.lose(Attempt { id, number }, "it is gone").await.expect("an answer");
        if expected.status != Status::Running || late {
            assert_eq!(lost, None);
            return;
        }
        expected.lose();
        assert_eq!(lost, Some(expected.status));
    }

    async fn give_back(&mut self, id: ExecutionId, late: bool) {
        let expected = self.executions.get_mut(&id).expect("one of them");
        let number = expected.attempt - i64::from(late);
        let started_at = self.started.get(&id).copied().unwrap_or_else(now);
        let given = self.store.give_back(Attempt { id, number }, started_at, Duration::ZERO, "not now");
        let given = given.await.expect("an answer");
        assert_eq!(given, expected.status == Status::Running && !late);
        if given {
            expected.status = if expected.cancel { Status::Cancelled } else { Status::Queued };
            expected.attempt -= 1;
            expected.claim = 0;
        }
    }

    async fn crash(&mut self, worker: usize) {
        let before = self.workers[worker];
        self.workers[worker] = Lessee::new(before.worker);
        self.rescue(worker, Some(self.workers[worker])).await;
        let held = self.store.renew(before, Duration::from_mins(1)).await.expect("an answer");
        assert!(held.is_empty(), "the one before has nothing any more: {held:?}");
    }

    async fn silence(&mut self, worker: usize) {
        self.store.renew(self.workers[worker], Duration::ZERO).await.expect("an answer");
        // Until then it still is the same moment.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.rescue(worker, None).await;
    }

    /// Takes from a worker what it has, as the services do that find it gone.
    async fn rescue(&mut self, worker: usize, successor: Option<Lessee>) {
        let found = match successor {
            Some(successor) => self.store.left_to(successor).await,
            None => self.store.leases_run_out().await,
        };
        let mut found = found.expect("an answer");
        found.sort_by_key(|attempt| attempt.id);
        let held = self
            .executions
            .iter()
            .filter(|(_, expected)| expected.status == Status::Running && expected.holder == worker);
        let held = held.map(|(id, expected)| Attempt { id: *id, number: expected.attempt });
        assert_eq!(found, held.collect::<Vec<_>>());
        for attempt in found {
            let lost = self.store.lose(attempt, "it is gone").await.expect("an answer");
            let expected = self.executions.get_mut(&attempt.id).expect("one of them");
            expected.lose();
            assert_eq!(lost, Some(expected.status));
        }
    }

    async fn expire(&mut self) {
        let late = self.executions.values_mut();
        let late =
            late.filter(|expected| expected.status == Status::Queued && expected.when == When::TooLate);
        let late = late.map(|expected| expected.status = Status::TimedOut).count();
        assert_eq!(self.store.expire().await.expect("an answer"), late);
    }

    async fn cancel(&mut self, id: ExecutionId) {
        let outcome = self.store.cancel_execution(id).await.expect("an answer");
        let expected = self.executions.get_mut(&id).expect("one of them");
        match expected.status {
            Status::Queued => {
                assert_eq!(outcome, CancelOutcome::Cancelled);
                expected.status = Status::Cancelled;
            }
            Status::Running => {
                assert_eq!(outcome, CancelOutcome::Requested);
                expected.cancel = true;
            }
            status => assert_eq!(outcome, CancelOutcome::Ended(status)),
        }
    }

    /// What is on record is what should be.
    async fn check(&self) {
        for (id, expected) in &self.executions {
            let row = self.store.execution(*id).await.expect("an answer").expect("a row");
            let is = (row.status, row.attempt, row.cancel_requested, row.finished_at.is_some());
            assert_eq!(
                is,
                (expected.status, expected.attempt, expected.cancel, expected.has_ended()),
                "{id}"
            );
        }
        for lessee in self.workers {
            let held = self.store.renew(lessee, Duration::from_mins(1)).await.expect("an answer");
            for held in held {
                let expected = &self.executions[&held.attempt.id];
                assert_eq!((expected.status, expected.attempt), (Status::Running, held.attempt.number));
                assert_eq!(held.cancel_requested, expected.cancel);
            }
        }
    }
}

fn holds(backlog: bool, steps: &[Step]) {
    on_each_engine(&async |store, _| {
        let mut world = World::new(store).await;
        if backlog {
            world.back_up().await;
        }
        for step in steps {
            world.take(step).await;
        }
        world.check().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_queue_is_as_its_model(
        backlog in proptest::bool::weighted(0.3),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        holds(backlog, &steps);
    }
}
