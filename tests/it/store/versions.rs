//! Versions of runtimes: which there are, which is the default, and which somebody has.

use std::collections::BTreeSet;
use std::path::PathBuf;

use attune::installation::{Failure, FailureClass};
use attune::reference::RuntimeRef;
use attune::store::change::{ChangeError, Kind};
use attune::store::installation::{FoundInstallation, InstallationStatus, scan_now};
use attune::store::runtime_version::{RuntimeVersionRow, VersionFilter};
use attune::store::worker::{WorkerId, WorkerStatus};
use attune::store::{Store, now};
use attune::version::Version;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use uuid::Uuid;

use crate::support::store::{default_version, install, on_each_engine, pack, runtime, version, worker};

/// A pack `mine` with the runtime `mine.lang`.
async fn prepare(store: &Store, versions: &[&str]) -> RuntimeRef {
    let mut mine = pack("mine");
    mine.runtimes = vec![runtime("mine.lang", versions)];
    install(store, &mine).await;
    mine.runtimes.remove(0).reference
}

fn installation(label: &str, exact: &str, works: bool, verified_at: DateTime<Utc>) -> FoundInstallation {
    let failure = Failure { class: FailureClass::Timeout, message: "it hangs".to_owned() };
    FoundInstallation {
        path: PathBuf::from(format!("/opt/{exact}")),
        version: Some(Version::lenient(exact).expect("a version")),
        source: "path".to_owned(),
        aliases: Vec::new(),
        attributes: Vec::new(),
        identity: None,
        status: if works { InstallationStatus::Verified } else { InstallationStatus::Failed { failure } },
        checks: Vec::new(),
        verified_against: None,
        runtime_version: Some(label.to_owned()),
        verified_at,
    }
}

async fn detected(store: &Store, worker: WorkerId, lang: &RuntimeRef, found: &[FoundInstallation]) {
    let runtime = store.runtime(lang).await.expect("an answer").expect("a row");
    store.record_detection(worker, &runtime, &scan_now(String::new(), ()), found).await.expect("an answer");
}

fn labels(versions: &[RuntimeVersionRow]) -> Vec<&str> {
    versions.iter().map(|row| row.declared.version.as_str()).collect()
}

async fn one(store: &Store, lang: &RuntimeRef, label: &str) -> RuntimeVersionRow {
    store
        .runtime_version(lang, label)
        .await
        .expect("an answer")
        .unwrap_or_else(|| panic!("there is no {label}"))
}

#[test]
fn made_read_changed_and_deleted() {
    on_each_engine(&async |store, _| {
        let lang: RuntimeRef = "mine.lang".parse().unwrap();
        let error = store.create_runtime_version(&lang, &version("1.0")).await.unwrap_err();
        assert!(matches!(error, ChangeError::Unknown { kind: Kind::Runtime, .. }), "{error}");
        prepare(store, &["1.0"]).await;
        let mut new = version("1.1");
        new.meta.insert("eol".to_owned(), "2030-01-01".to_owned());
        let made = store.create_runtime_version(&lang, &new).await.unwrap();
        let row = one(store, &lang, "1.1").await;
        assert_eq!((row.revision, row.ad_hoc, row.is_declared, row.available), (made, true, true, false));
        assert_eq!((row.declared.meta, row.runtime, row.verified_at), (new.meta.clone(), lang.clone(), None));
        for same in ["1.1", "v1.1", " 1.1 "] {
            let error = store.create_runtime_version(&lang, &version(same)).await.unwrap_err();
            assert_eq!(error.to_string(), "the version `mine.lang 1.1` is there already", "{same}");
        }
        let error = store.create_runtime_version(&lang, &version("1.x")).await.unwrap_err();
        assert!(matches!(error, ChangeError::InvalidVersion { .. }), "{error}");

        new.meta.clear();
        let changed = store.update_runtime_version(&lang, &new, None, Some(made)).await.unwrap();
        let row = one(store, &lang, "1.1").await;
        assert_eq!((row.revision, row.ad_hoc, row.declared.meta.is_empty()), (changed, true, true));
        let error = store.update_runtime_version(&lang, &new, None, Some(made)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the version `mine.lang 1.1` has been changed by somebody else: read it again"
        );
        let error = store.set_default_version(&lang, "1.1", Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Version, .. }), "{error}");
        let error = store.delete_runtime_version(&lang, "1.1", Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Version, .. }), "{error}");
        store.delete_runtime_version(&lang, "1.1", Some(changed)).await.unwrap();
        let gone = store.delete_runtime_version(&lang, "1.1", None).await.unwrap_err();
        assert_eq!(gone.to_string(), "there is no version `mine.lang 1.1`");
        let gone = store.update_runtime_version(&lang, &new, None, None).await.unwrap_err();
        assert!(matches!(gone, ChangeError::NotFound { kind: Kind::Version, .. }), "{gone}");
        let gone = store.set_availability(&lang, "1.1", (true, None), None).await.unwrap_err();
        assert!(matches!(gone, ChangeError::NotFound { kind: Kind::Version, .. }), "{gone}");
        assert_eq!(store.delete_runtime_versions(&lang).await.unwrap(), 1);
        assert_eq!(store.delete_runtime_versions(&lang).await.unwrap(), 0);
        let other = "mine.other".parse().unwrap();
        let gone = store.delete_runtime_versions(&other).await.unwrap_err();
        assert!(matches!(gone, ChangeError::NotFound { kind: Kind::Runtime, .. }), "{gone}");
        let gone = store.clear_default_version(&other).await.unwrap_err();
        assert!(matches!(gone, ChangeError::NotFound { kind: Kind::Runtime, .. }), "{gone}");
    });
}

#[test]
fn listed_by_runtime_by_reference_and_by_availability() {
    on_each_engine(&async |store, _| {
        let mut mine = pack("mine");
        mine.runtimes =
            vec![runtime("mine.lang", &["1.9", "1.10", "2", "1.2"]), runtime("mine.other", &["10", "9"])];
        mine.runtimes[0].versions[1].is_default = true;
        install(store, &mine).await;
        let lang = mine.runtimes[0].reference.clone();
        let id = store.runtime(&lang).await.unwrap().unwrap().id;
        let by_id = VersionFilter { runtime: Some(id), ..VersionFilter::default() };
        let by_ref = VersionFilter { runtime_ref: Some(&lang), ..VersionFilter::default() };
        for filter in [by_id, by_ref] {
            assert_eq!(labels(&store.runtime_versions(filter).await.unwrap()), ["2", "1.10", "1.9", "1.2"]);
        }
        let all = store.runtime_versions(VersionFilter::default()).await.unwrap();
        assert_eq!(labels(&all), ["2", "1.10", "1.9", "1.2", "10", "9"], "by runtime");
        store.set_availability(&lang, "1.2", (true, None), None).await.unwrap();
        store.set_availability(&lang, "1.10", (true, None), None).await.unwrap();
        let available = VersionFilter { available_only: true, ..by_ref };
        assert_eq!(labels(&store.runtime_versions(available).await.unwrap()), ["1.10", "1.2"]);
        let default = store.default_version(&lang).await.unwrap().unwrap();
        assert_eq!(default.declared.version, "1.10");
        assert!(store.default_version(&mine.runtimes[1].reference).await.unwrap().is_none());
        assert!(store.runtime_version(&lang, "10").await.unwrap().is_none());
        assert!(store.clear_default_version(&lang).await.unwrap());
        assert!(!store.clear_default_version(&lang).await.unwrap());
        assert!(store.default_version(&lang).await.unwrap().is_none());
    });
}

#[test]
fn availability_is_what_live_workers_have() {
    on_each_engine(&async |store, _| {
        let lang = prepare(store, &["1.0", "2.0"]).await;
        let (first, second) = (now() - TimeDelta::hours(2), now() - TimeDelta::hours(1));
        let here = worker(store, "here").await;
        let there = worker(store, "there").await;
        store.worker_status((here, Uuid::nil()), WorkerStatus::Active, 1).await.unwrap();
        let revision = one(store, &lang, "1.0").await.revision;

        detected(store, here, &lang, &[installation("1.0", "1.0.3", true, first)]).await;
        detected(store, there, &lang, &[installation("1.0", "1.0.4", true, second)]).await;
        let row = one(store, &lang, "1.0").await;
        assert_eq!((row.available, row.verified_at), (true, Some(second)), "the last verification");
        assert_eq!(row.revision, revision, "nobody has changed what is declared");
        detected(store, there, &lang, &[installation("1.0", "1.0.4", false, second)]).await;
        assert!(one(store, &lang, "1.0").await.available, "another worker has it");
        // Only one of them is a service, which would say so.
        let silent_since = now() + TimeDelta::hours(1);
        assert_eq!(store.lose_workers(silent_since).await.unwrap(), ["here"]);
        assert!(!one(store, &lang, "1.0").await.available, "nobody who lives has it");
        store.worker_status((here, Uuid::nil()), WorkerStatus::Active, 1).await.unwrap();
        assert!(one(store, &lang, "1.0").await.available, "it lives after all");
        assert!(!one(store, &lang, "2.0").await.available);
    });
}

#[test]
fn what_workers_have_overrules_what_was_said() {
    on_each_engine(&async |store, _| {
        let lang = prepare(store, &["1.0", "2.0"]).await;
        let worker = worker(store, "one").await;
        let (said, verified) = (now() - TimeDelta::hours(1), now());
        store.set_availability(&lang, "2.0", (true, Some(said)), None).await.unwrap();
        let row = one(store, &lang, "2.0").await;
        assert_eq!((row.available, row.verified_at), (true, Some(said)));
        store.set_availability(&lang, "2.0", (false, None), None).await.unwrap();
        let row = one(store, &lang, "2.0").await;
        assert_eq!((row.available, row.verified_at), (false, Some(said)), "when it was last verified stays");
        store.set_availability(&lang, "2.0", (true, Some(said)), None).await.unwrap();
        detected(store, worker, &lang, &[installation("1.0", "1.0.3", true, verified)]).await;
        let row = one(store, &lang, "2.0").await;
        assert_eq!((row.available, row.verified_at), (false, Some(said)));
        assert!(one(store, &lang, "1.0").await.available);
    });
}

#[test]
fn one_that_was_detected_is_declared_by_whoever_changes_it() {
    on_each_engine(&async |store, _| {
        let lang = prepare(store, &["1.0"]).await;
        let worker = worker(store, "one").await;
        let found = |label| installation(label, &format!("{label}.0"), true, now());
        detected(store, worker, &lang, &[found("2.5"), found("3.5")]).await;
        let row = one(store, &lang, "2.5").await;
        assert_eq!((row.is_declared, row.ad_hoc, row.available), (false, false, true));
        store.create_runtime_version(&lang, &version("2.5")).await.unwrap();
        store.update_runtime_version(&lang, &default_version("3.5"), None, None).await.unwrap();
        for label in ["2.5", "3.5"] {
            let row = one(store, &lang, label).await;
            assert_eq!((row.is_declared, row.ad_hoc, row.available), (true, true, true), "{label}");
        }
        // Nobody has them any more: what is declared stays.
        detected(store, worker, &lang, &[]).await;
        let row = store.runtime(&lang).await.unwrap().unwrap();
        assert_eq!(labels(&row.versions), ["1.0", "2.5", "3.5"]);
        assert!(row.versions.iter().all(|row| !row.available));
    });
}

#[test]
fn what_is_deleted_is_looked_for_again() {
    on_each_engine(&async |store, _| {
        let lang = prepare(store, &["1.0"]).await;
        let worker = worker(store, "one").await;
        let id = store.runtime(&lang).await.unwrap().unwrap().id;
        for all in [false, true] {
            detected(store, worker, &lang, &[installation("2.5", "2.5.0", true, now())]).await;
            assert!(store.scan::<()>(worker, id).await.unwrap().is_some());
            if all {
                store.delete_runtime_versions(&lang).await.unwrap();
            } else {
                store.delete_runtime_version(&lang, "2.5", None).await.unwrap();
            }
            assert!(store.scan::<()>(worker, id).await.unwrap().is_none());
            let found = store.installations(worker, id).await.unwrap();
            assert_eq!(
                (found.len(), found[0].runtime_version.clone()),
                (1, None),
                "the installation is there"
            );
        }
    });
}

#[test]
fn what_a_detection_found_is_never_older_than_its_scan() {
    on_each_engine(&async |store, location| {
        let lang = prepare(store, &["1.0"]).await;
        let worker = worker(store, "one").await;
        let runtime = store.runtime(&lang).await.unwrap().unwrap();
        let other = Store::open(location).await.unwrap();
        let record = async {
            let mut found = Vec::new();
            for count in 1..=60 {
                found.push(installation("1.0", &format!("1.0.{count}"), true, now()));
                let scan = scan_now(count.to_string(), ());
                other.record_detection(worker, &runtime, &scan, &found).await.unwrap();
            }
        };
        let read = async {
            let mut newest = 0;
            while newest < 60 {
                let known = store.last_detection::<()>(worker, runtime.id).await.unwrap();
                newest = known.scan.as_ref().map_or(0, |scan| scan.detected_against.parse().unwrap());
                assert!(known.found.len() >= newest, "{} of {newest}", known.found.len());
            }
        };
        tokio::join!(record, read);
        other.close().await;
    });
}

#[test]
fn of_many_who_set_the_default_one_has_the_last_word() {
    on_each_engine(&async |store, location| {
        let lang = prepare(store, &["1", "2", "3", "4"]).await;
        let other = Store::open(location).await.unwrap();
        let third = default_version("3");
        for _ in 0..10 {
            let set = tokio::join!(
                store.set_default_version(&lang, "1", None),
                other.set_default_version(&lang, "2", None),
                store.update_runtime_version(&lang, &third, None, None),
                other.set_default_version(&lang, "4", None),
            );
            let revisions = [set.0.unwrap(), set.1.unwrap(), set.2.unwrap(), set.3.unwrap()];
            let by_ref = VersionFilter { runtime_ref: Some(&lang), ..VersionFilter::default() };
            let versions = store.runtime_versions(by_ref).await.unwrap();
            let defaults = versions.iter().filter(|row| row.declared.is_default).collect::<Vec<_>>();
            assert_eq!(defaults.len(), 1);
            assert!(revisions.contains(&defaults[0].revision));
        }
        other.close().await;
    });
}

/// The lowest version that a label stands for.
fn floor(label: &str) -> semver::Version {
    let complete = match label.split('.').count() {
        1 => format!("{label}.0.0"),
        2 => format!("{label}.0"),
        _ => label.to_owned(),
    };
    semver::Version::parse(&complete).unwrap_or_else(|error| panic!("{label}: {error}"))
}

fn label() -> impl Strategy<Value = String> {
    let number = || prop_oneof![0_u64..3, 8_u64..12, 98_u64..102];
    let tail = proptest::sample::select(vec!["", "", "-rc.2", "-rc.10", "-alpha", "+9", "+11"]);
    (number(), number(), number(), tail, 1..=3_u8).prop_map(
        |(major, minor, patch, tail, parts)| match parts {
            1 => major.to_string(),
            2 => format!("{major}.{minor}"),
            _ => format!("{major}.{minor}.{patch}{tail}"),
        },
    )
}

async fn newest_come_first(store: &Store, given: &BTreeSet<String>) {
    let lang = prepare(store, &[]).await;
    let worker = worker(store, "one").await;
    // Some are declared, some detected: those with build metadata can't be declared.
    let mut found = Vec::new();
    for (number, label) in given.iter().enumerate() {
        if label.contains('+') || number % 2 == 0 {
            found.push(installation(label, label, true, now()));
        } else {
            store.create_runtime_version(&lang, &version(label)).await.expect("an answer");
        }
    }
    detected(store, worker, &lang, &found).await;
    let versions = store.runtime_versions(VersionFilter::default()).await.expect("an answer");
    let labels = labels(&versions);
    assert_eq!(labels.iter().map(|&label| label.to_owned()).collect::<BTreeSet<_>>(), *given);
    assert!(labels.is_sorted_by(|newer, older| floor(newer) >= floor(older)), "{labels:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_come_first(given in proptest::collection::btree_set(label(), 1..20)) {
        on_each_engine(&async |store, _| newest_come_first(store, &given).await);
    }
}
