//! Actions and sensors, and what waits in the queue for an action that changes.

use std::time::Duration;

use attune::execution::Status;
use attune::pack::{Action, Sensor};
use attune::reference::RuntimeRef;
use attune::store::change::{ChangeError, Kind};
use attune::store::execution::Attempt;
use attune::store::pack::RuntimeInstall;
use attune::store::program::ProgramFilter;
use attune::store::slice::Slice;
use attune::store::{Location, Store};
use serde_json::json;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::store::{action, claim, enqueue, install, on_each_engine, pack, runtime, sensor, worker};

/// A pack with a runtime and nothing that uses it.
async fn prepare(store: &Store) -> RuntimeRef {
    let mut mine = pack("mine");
    mine.runtimes = vec![runtime("mine.lang", &["1.0"])];
    install(store, &mine).await;
    mine.runtimes.remove(0).reference
}

#[test]
fn actions_are_made_read_changed_and_deleted() {
    on_each_engine(&async |store, _| {
        prepare(store).await;
        let mut act = action("mine.act", "lang", ">=1.0");
        act.parameters.schema = Some(json!({ "type": "object" }));
        act.timeout = Some(Duration::from_millis(1500));
        act.concurrency = Some(2);
        let made = store.create_program(&act).await.unwrap();
        let row = store.action(&act.reference).await.unwrap().unwrap();
        assert_eq!((row.revision, row.ad_hoc), (made, true));
        assert_eq!(json!(row.declared), json!(act), "as it was given");
        let error = store.create_program(&act).await.unwrap_err();
        assert!(matches!(error, ChangeError::Duplicate { kind: Kind::Action, .. }), "{error}");

        let mut changed = action("mine.act", "mine.lang", "<2");
        changed.enabled = false;
        let revision = store.update_program(&changed, Some(made)).await.unwrap();
        let row = store.action(&act.reference).await.unwrap().unwrap();
        assert_eq!((json!(row.declared), row.revision, row.ad_hoc), (json!(changed), revision, true));
        let error = store.update_program(&act, Some(made)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the action `mine.act` has been changed by somebody else: read it again"
        );
        assert_eq!(json!(store.action(&act.reference).await.unwrap().unwrap().declared), json!(changed));
        let error = store.delete_program::<Action>(&act.reference, Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Action, .. }), "{error}");
        store.delete_program::<Action>(&act.reference, Some(revision)).await.unwrap();
        let error = store.delete_program::<Action>(&act.reference, None).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotFound { kind: Kind::Action, .. }), "{error}");
        let error = store.update_program(&act, None).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotFound { kind: Kind::Action, .. }), "{error}");
        // Made anew, it is another one: who has read the first does not change it.
        store.create_program(&act).await.unwrap();
        let error = store.update_program(&changed, Some(revision)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Action, .. }), "{error}");
    });
}

#[test]
fn sensors_are_made_read_changed_and_deleted() {
    on_each_engine(&async |store, _| {
        prepare(store).await;
        let mut sense = sensor("mine.sense", "lang", ">=1.0");
        sense.event_schema = Some(json!({ "type": "object" }));
        let made = store.create_program(&sense).await.unwrap();
        let row = store.sensor(&sense.reference).await.unwrap().unwrap();
        assert_eq!((json!(row.declared), row.revision, row.ad_hoc), (json!(sense), made, true));
        let error = store.create_program(&sense).await.unwrap_err();
        assert!(matches!(error, ChangeError::Duplicate { kind: Kind::Sensor, .. }), "{error}");
        let changed = sensor("mine.sense", "mine.lang", "<2");
        let revision = store.update_program(&changed, Some(made)).await.unwrap();
        let row = store.sensor(&sense.reference).await.unwrap().unwrap();
        assert_eq!((json!(row.declared), row.revision, row.ad_hoc), (json!(changed), revision, true));
        let error = store.update_program(&sense, Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Sensor, .. }), "{error}");
        let error = store.delete_program::<Sensor>(&sense.reference, Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Sensor, .. }), "{error}");
        store.delete_program::<Sensor>(&sense.reference, None).await.unwrap();
        let error = store.delete_program::<Sensor>(&sense.reference, None).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotFound { kind: Kind::Sensor, .. }), "{error}");
    });
}

#[test]
fn what_they_belong_to_and_are_started_with_must_be_there() {
    on_each_engine(&async |store, _| {
        prepare(store).await;
        let error = store.create_program(&action("other.act", "mine.lang", "")).await.unwrap_err();
        assert!(matches!(error, ChangeError::Unknown { kind: Kind::Pack, .. }), "{error}");
        let error = store.create_program(&action("mine.act", "long", "")).await.unwrap_err();
        assert_eq!(error.to_string(), "`mine.act` needs the runtime `long`, which is not there");
        let error = store.create_program(&sensor("mine.sense", "other.lang", "")).await.unwrap_err();
        assert!(matches!(error, ChangeError::Unknown { kind: Kind::Runtime, .. }), "{error}");
        for name in ["other", "third"] {
            install(store, &pack(name)).await;
            let served = RuntimeInstall::default();
            store.create_runtime(&runtime(&format!("{name}.tongue"), &[]), &served).await.unwrap();
        }
        let error = store.create_program(&action("mine.act", "tongue", "")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`mine.act` asks for the runtime `tongue`, which may mean `other.tongue`, `third.tongue`: write which"
        );
        store.create_program(&action("mine.act", "lang", "")).await.unwrap();
        let error = store.update_program(&action("mine.act", "long", ""), None).await.unwrap_err();
        assert!(matches!(error, ChangeError::Unknown { kind: Kind::Runtime, .. }), "{error}");
        assert_eq!(store.actions(None).await.unwrap().len(), 1);
    });
}

#[test]
fn lists_come_in_pages() {
    on_each_engine(&async |store, _| {
        prepare(store).await;
        install(store, &pack("other")).await;
        let mut expected = Vec::new();
        for number in 0..7 {
            let name = if number == 3 { "other.act".to_owned() } else { format!("mine.act{number}") };
            let mut act = action(&name, "mine.lang", "");
            let mut sense = sensor(&name, "mine.lang", "");
            (act.enabled, sense.enabled) = (number != 5, number != 5);
            store.create_program(&act).await.unwrap();
            store.create_program(&sense).await.unwrap();
            if number != 3 && number != 5 {
                expected.push(name);
            }
        }
        let mine = "mine".parse().unwrap();
        for is_descending in [false, true] {
            let (mut actions, mut sensors, mut after) = (Vec::new(), Vec::new(), None::<String>);
            loop {
                let filter =
                    ProgramFilter { pack: Some(&mine), enabled: Some(true), ..ProgramFilter::default() };
                let slice = Slice { after, is_descending, limit: 2 };
                let page = store.programs::<Action>(&filter, &slice).await.unwrap();
                sensors.extend(store.programs::<Sensor>(&filter, &slice).await.unwrap());
                assert!(page.len() <= 2);
                let Some(last) = page.last() else { break };
                after = Some(last.declared.reference.to_string());
                actions.extend(page);
            }
            let actions = actions.iter().map(|row| row.declared.reference.to_string()).collect::<Vec<_>>();
            let sensors = sensors.iter().map(|row| row.declared.reference.to_string()).collect::<Vec<_>>();
            assert_eq!((&actions, &sensors), (&expected, &expected));
            expected.reverse();
        }
        let filter = ProgramFilter { runtime: Some("other.lang"), ..ProgramFilter::default() };
        assert!(store.programs::<Action>(&filter, &Slice::default()).await.unwrap().is_empty());
        assert_eq!(store.actions(None).await.unwrap().len(), 7);
    });
}

#[test]
fn of_two_who_change_the_same_state_one_is_refused() {
    on_each_engine(&async |store, location| {
        prepare(store).await;
        let other = Store::open(location).await.unwrap();
        let mut revision = store.create_program(&action("mine.act", "lang", "")).await.unwrap();
        for turn in 0..10 {
            let (one, two) = (action("mine.act", "lang", "1"), action("mine.act", "lang", "2"));
            let outcome = tokio::join!(
                store.update_program(&one, Some(revision)),
                other.update_program(&two, Some(revision))
            );
            revision = match outcome {
                (Ok(revision), Err(ChangeError::Changed { .. }))
                | (Err(ChangeError::Changed { .. }), Ok(revision)) => revision,
                both => panic!("turn {turn}: {both:?}"),
            };
            assert_eq!(store.action(&one.reference).await.unwrap().unwrap().revision, revision);
        }
        other.close().await;
    });
}

#[test]
fn what_waits_in_the_queue_follows_its_action() {
    on_each_engine(&async |store, _| {
        let lang = prepare(store).await;
        let old = worker(store, "old").await;
        let new = worker(store, "new").await;
        let before = action("mine.act", "lang", "1.0");
        store.create_program(&before).await.unwrap();
        let follows = enqueue(store, &before, &lang, None).await;
        let stays = enqueue(store, &before, &lang, Some("1.0")).await;
        assert!(claim(store, new, &["2.0"]).await.is_empty());

        let after = action("mine.act", "lang", "2.0");
        store.update_program(&after, None).await.unwrap();
        let row = store.execution(follows).await.unwrap().unwrap();
        assert_eq!(row.constraint.as_deref(), Some("2.0"));
        assert_eq!(claim(store, old, &["1.0"]).await, [stays], "its own constraint is its own");
        assert_eq!(claim(store, new, &["2.0"]).await, [follows]);

        // So does installing a pack; what has begun stays as it is on record.
        let waits = enqueue(store, &after, &lang, None).await;
        let mut mine = pack("mine");
        mine.runtimes = vec![runtime("mine.lang", &["1.0"])];
        mine.actions = vec![action("mine.act", "lang", "3.0")];
        install(store, &mine).await;
        assert_eq!(store.execution(waits).await.unwrap().unwrap().constraint.as_deref(), Some("3.0"));
        assert_eq!(store.execution(follows).await.unwrap().unwrap().constraint.as_deref(), Some("2.0"));
    });
}

#[test]
fn what_comes_back_into_the_queue_needs_what_its_action_does_by_then() {
    on_each_engine(&async |store, _| {
        let lang = prepare(store).await;
        let old = worker(store, "old").await;
        let new = worker(store, "new").await;
        let act = action("mine.act", "lang", "1.0");
        store.create_program(&act).await.unwrap();
        let ids = [enqueue(store, &act, &lang, None).await, enqueue(store, &act, &lang, None).await];
        assert_eq!(claim(store, old, &["1.0"]).await.len(), ids.len());
        store.update_program(&action("mine.act", "lang", "2.0"), None).await.unwrap();

        let [lost, given_back] = ids.map(|id| Attempt { id, number: 1 });
        let status = store.lose(lost, "its worker was killed").await.unwrap();
        assert_eq!(status, Some(Status::Queued));
        let row = store.execution(given_back.id).await.unwrap().unwrap();
        assert!(
            store.give_back(given_back, row.started_at.unwrap(), Duration::ZERO, "not now").await.unwrap()
        );
        assert_eq!(claim(store, new, &["2.0"]).await, ids);
    });
}

#[test]
fn what_is_decided_while_it_is_given_up_is_not_begun_by_another() {
    on_each_engine(&async |store, location| {
        let lang = prepare(store).await;
        let worker = worker(store, "one").await;
        let act = action("mine.act", "lang", "1.0");
        store.create_program(&act).await.unwrap();
        let id = enqueue(store, &act, &lang, None).await;
        assert_eq!(claim(store, worker, &["1.0"]).await, [id]);
        // Another process decides, and has not committed yet when the execution is given up.
        macro_rules! beside {
            ($connection:expr, $begin:literal) => {{
                let mut other = $connection.await.unwrap();
                let decide = concat!($begin, "; update execution set sandbox = 'T0'");
                sqlx::raw_sql(decide).execute(&mut other).await.unwrap();
                tokio::join!(store.lose(Attempt { id, number: 1 }, "it is gone"), async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
                })
            }};
        }
        let (lost, ()) = match location {
            Location::File(path) => {
                beside!(SqliteConnection::connect(&format!("sqlite://{}", path.display())), "begin immediate")
            }
            Location::Server(url) => beside!(PgConnection::connect(url), "begin"),
        };
        assert_eq!(lost.unwrap(), Some(Status::Abandoned), "it may be running");
    });
}

#[test]
fn a_new_limit_holds_for_what_waits() {
    on_each_engine(&async |store, _| {
        let lang = prepare(store).await;
        let worker = worker(store, "one").await;
        let mut act = action("mine.act", "lang", "1.0");
        store.create_program(&act).await.unwrap();
        for _ in 0..4 {
            enqueue(store, &act, &lang, None).await;
        }
        act.concurrency = Some(1);
        store.update_program(&act, None).await.unwrap();
        assert_eq!(claim(store, worker, &["1.0"]).await.len(), 1);
        act.concurrency = Some(2);
        store.update_program(&act, None).await.unwrap();
        assert_eq!(claim(store, worker, &["1.0"]).await.len(), 1);
        act.concurrency = None;
        store.update_program(&act, None).await.unwrap();
        assert_eq!(claim(store, worker, &["1.0"]).await.len(), 2);
    });
}
