//! What a service has read holds until a claim has seen a change, whoever made that and wherever.

use attune::pack::Action;
use attune::reference::{ActionRef, RuntimeRef};
use attune::store::answer::AnswerKey;
use attune::store::environment::EnvironmentRow;
use attune::store::installation::scan_now;
use attune::store::worker::WorkerId;
use attune::store::{Location, Store, now};

use crate::support::store::{
    action, claim, enqueue, install, on_each_engine, pack, runtime, version, worker,
};

const PATH: &str = "/envs/mine";
const ANSWER: AnswerKey<'static> = AnswerKey { plugin: "p", function: "f", asked: "a" };

/// What somebody may change.
#[derive(Clone, Copy, Debug)]
enum Change {
    Action,
    Pack,
    RuntimeVersion,
    Detection,
    Answer,
    Environment,
    NoEnvironment,
}

struct Subject {
    worker: WorkerId,
    lang: RuntimeRef,
    act: Action,
}

impl Subject {
    async fn change(&self, store: &Store, change: Change) {
        match change {
            Change::Action => {
                let other = Action { label: "Another label".to_owned(), ..self.act.clone() };
                store.update_program(&other, None).await.expect("changed");
            }
            Change::Pack => self.install(store, &"1".repeat(64)).await,
            Change::RuntimeVersion => {
                store.create_runtime_version(&self.lang, &version("2.0")).await.expect("made");
            }
            Change::Detection => {
                let runtime = store.runtime(&self.lang).await.expect("an answer").expect("a row");
                let scan = scan_now("something else".to_owned(), ());
                store.record_detection(self.worker, &runtime, &scan, &[]).await.expect("recorded");
            }
            Change::Answer => store.keep_answer(self.worker, ANSWER, &"yes").await.expect("kept"),
            Change::Environment => {
                store.record_environment(self.worker, &environment()).await.expect("recorded");
            }
            Change::NoEnvironment => {
                store.forget_environment(self.worker, PATH, "/bin/lang").await.expect("forgotten");
            }
        }
    }

    async fn install(&self, store: &Store, digest: &str) {
        let mut mine = pack("mine");
        mine.digest = digest.to_owned();
        mine.runtimes = vec![runtime("mine.lang", &["1.0"])];
        mine.actions = vec![self.act.clone()];
        install(store, &mine).await;
    }

    /// All of what is kept between claims.
    async fn read(&self, store: &Store) -> String {
        let act: ActionRef = self.act.reference.clone();
        let runtime = store.runtime(&self.lang).await.expect("an answer");
        let id = runtime.as_ref().expect("a row").id;
        format!(
            "{:?}\n{runtime:?}\n{:?}\n{:?}\n{:?}\n{:?}",
            store.action(&act).await.expect("an answer"),
            store.runtimes_called("lang").await.expect("an answer"),
            store.last_detection::<()>(self.worker, id).await.expect("an answer"),
            store.answer::<String>(self.worker, ANSWER).await.expect("an answer"),
            store.environment(self.worker, PATH, "/bin/lang").await.expect("an answer"),
        )
    }

    async fn claim_one(&self, store: &Store) {
        let id = enqueue(store, &self.act, &self.lang, None).await;
        assert_eq!(claim(store, self.worker, &[""]).await, [id]);
    }
}

fn environment() -> EnvironmentRow {
    EnvironmentRow {
        pack: "mine".to_owned(),
        runtime: "mine.lang".to_owned(),
        runtime_version: "1.0".to_owned(),
        scope: String::new(),
        key: "0".repeat(64),
        path: PATH.to_owned(),
        installation: "/bin/lang".to_owned(),
        status: "ready".to_owned(),
        plan_digest: String::new(),
        prepared_for: String::new(),
        stage: None,
        size: None,
        log: None,
        error: None,
        created_at: now(),
        last_used_at: now(),
    }
}

async fn prepare(store: &Store) -> Subject {
    let worker = worker(store, "here").await;
    let act = action("mine.act", "mine.lang", "");
    let subject = Subject { worker, lang: "mine.lang".parse().expect("a reference"), act };
    subject.install(store, &"0".repeat(64)).await;
    subject
}

#[test]
fn what_another_process_has_changed_is_seen_with_the_next_claim() {
    on_each_engine(&async |store: &Store, location: &Location| {
        let subject = prepare(store).await;
        let service = Store::open(location).await.expect("a database").caching();
        subject.claim_one(&service).await;
        for change in [
            Change::Action,
            Change::Pack,
            Change::RuntimeVersion,
            Change::Detection,
            Change::Answer,
            Change::Environment,
            Change::NoEnvironment,
        ] {
            let before = subject.read(&service).await;
            assert_eq!(before, subject.read(store).await, "before {change:?}");
            subject.change(store, change).await;
            let after = subject.read(store).await;
            assert_ne!(after, before, "{change:?} changes what is read");
            assert_eq!(subject.read(&service).await, before, "{change:?}: it is read once");
            subject.claim_one(&service).await;
            assert_eq!(subject.read(&service).await, after, "{change:?}: the claim has seen it");
        }
        service.close().await;
    });
}

#[test]
fn what_the_service_itself_has_found_out_is_seen_at_once() {
    on_each_engine(&async |store: &Store, location: &Location| {
        let subject = prepare(store).await;
        let service = Store::open(location).await.expect("a database").caching();
        subject.claim_one(&service).await;
        for change in [Change::Detection, Change::Answer, Change::Environment, Change::NoEnvironment] {
            let before = subject.read(&service).await;
            subject.change(&service, change).await;
            let after = subject.read(&service).await;
            assert_ne!(after, before, "{change:?} changes what is read");
            assert_eq!(after, subject.read(store).await, "{change:?}");
        }
        service.close().await;
    });
}

#[test]
fn who_claims_nothing_reads_everything_anew() {
    on_each_engine(&async |store: &Store, location: &Location| {
        let subject = prepare(store).await;
        let idle = Store::open(location).await.expect("a database").caching();
        let before = subject.read(&idle).await;
        subject.change(store, Change::Action).await;
        assert_ne!(subject.read(&idle).await, before);
        idle.close().await;
    });
}
