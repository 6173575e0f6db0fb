//! The versions of a runtime against a model of them: random creations, changes, deletions, defaults and installations of
//! its pack.

use std::collections::BTreeMap;

use attune::reference::RuntimeRef;
use attune::store::Store;
use attune::store::change::{ChangeError, Kind};
use attune::store::runtime_version::VersionFilter;
use proptest::prelude::*;

use crate::support::store::{default_version, install, on_each_engine, pack, runtime, version};

/// Two of them are the same series in different words.
const LABELS: [&str; 5] = ["1.0", "1.1", "2.0", "v2.0", "3"];
/// Those that the pack may ship.
const SHIPPED: [usize; 4] = [0, 1, 2, 4];

/// What somebody does.
#[derive(Clone, Debug)]
enum Step {
    Create {
        label: &'static str,
        default: bool,
    },
    Update {
        label: &'static str,
        default: bool,
    },
    Delete {
        label: &'static str,
    },
    SetDefault {
        label: &'static str,
    },
    ClearDefault,
    DeleteAll,
    /// The pack with some of its versions, and which of those is the default.
    Install {
        shipped: Vec<usize>,
        default: Option<usize>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let label = || proptest::sample::select(LABELS.to_vec());
    let shipped = proptest::sample::subsequence(SHIPPED.to_vec(), 0..=4);
    prop_oneof![
        5 => (label(), any::<bool>()).prop_map(|(label, default)| Step::Create { label, default }),
        3 => (label(), any::<bool>()).prop_map(|(label, default)| Step::Update { label, default }),
        2 => label().prop_map(|label| Step::Delete { label }),
        5 => label().prop_map(|label| Step::SetDefault { label }),
        1 => Just(Step::ClearDefault),
        1 => Just(Step::DeleteAll),
        3 => (shipped, proptest::option::of(0..4_usize))
            .prop_map(|(shipped, default)| Step::Install { shipped, default }),
    ]
}

/// What there should be of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expected {
    default: bool,
    ad_hoc: bool,
}

struct World<'a> {
    store: &'a Store,
    lang: RuntimeRef,
    versions: BTreeMap<&'static str, Expected>,
}

fn series(label: &str) -> &str {
    label.trim_start_matches('v')
}

/// What should come of a change: it is made, unless the version is not there.
fn made<T>(outcome: Result<T, ChangeError>, is_there: bool) -> bool {
    match outcome {
        Ok(_) => assert!(is_there),
        Err(ChangeError::NotFound { kind: Kind::Version, .. }) => assert!(!is_there),
        Err(other) => panic!("{other}"),
    }
    is_there
}

impl World<'_> {
    fn clear_default(&mut self) {
        for expected in self.versions.values_mut() {
            expected.default = false;
        }
    }

    async fn take(&mut self, step: &Step) {
        let Self { store, ref lang, .. } = *self;
        match step {
            Step::Create { label, default } => {
                let new = if *default { default_version(label) } else { version(label) };
                let outcome = store.create_runtime_version(lang, &new).await;
                let taken = self.versions.keys().any(|other| series(other) == series(label));
                match outcome {
                    Ok(_) => assert!(!taken),
                    Err(ChangeError::Duplicate { kind: Kind::Version, .. }) => assert!(taken),
                    Err(other) => panic!("{other}"),
                }
                if !taken {
                    self.write(label, *default, true);
                }
            }
            Step::Update { label, default } => {
                let new = if *default { default_version(label) } else { version(label) };
                let expected = self.versions.get(label).copied();
                let outcome = store.update_runtime_version(lang, &new, None, None).await;
                if made(outcome, expected.is_some()) {
                    self.write(label, *default, expected.is_some_and(|expected| expected.ad_hoc));
                }
            }
            Step::Delete { label } => {
                let is_there = self.versions.contains_key(label);
                if made(store.delete_runtime_version(lang, label, None).await, is_there) {
                    self.versions.remove(label);
                }
            }
            Step::SetDefault { label } => {
                let expected = self.versions.get(label).copied();
                let outcome = store.set_default_version(lang, label, None).await;
                if made(outcome, expected.is_some()) {
                    self.write(label, true, expected.is_some_and(|expected| expected.ad_hoc));
                }
            }
            Step::ClearDefault => {
                let had = store.clear_default_version(lang).await.expect("an answer");
                assert_eq!(had, self.versions.values().any(|expected| expected.default));
                self.clear_default();
            }
            Step::DeleteAll => {
                let deleted = store.delete_runtime_versions(lang).await.expect("an answer");
                assert_eq!(deleted, self.versions.len() as u64);
                self.versions.clear();
            }
            Step::Install { shipped, default } => self.install(shipped, *default).await,
        }
    }

    fn write(&mut self, label: &'static str, default: bool, ad_hoc: bool) {
        if default {
            self.clear_default();
        }
        self.versions.insert(label, Expected { default, ad_hoc });
    }

    async fn install(&mut self, shipped: &[usize], default: Option<usize>) {
        let labels = shipped.iter().map(|&label| LABELS[label]).collect::<Vec<_>>();
        let default = default.and_then(|position| labels.get(position).copied());
        let mut mine = pack("mine");
        let mut lang = runtime("mine.lang", &labels);
        for version in &mut lang.versions {
            version.is_default = Some(version.version.as_str()) == default;
        }
        mine.runtimes = vec![lang];
        install(self.store, &mine).await;
        self.versions.retain(|label, expected| {
            let replaced = labels.iter().any(|other| series(other) == series(label));
            labels.contains(label) || (expected.ad_hoc && !replaced)
        });
        for label in &labels {
            self.write(label, Some(*label) == default, false);
        }
    }

    /// What is kept is what should be.
    async fn check(&self, step: &Step) {
        let filter = VersionFilter { runtime_ref: Some(&self.lang), ..VersionFilter::default() };
        let rows = self.store.runtime_versions(filter).await.expect("an answer");
        let are = rows
            .iter()
            .map(|row| {
                let expected = Expected { default: row.declared.is_default, ad_hoc: row.ad_hoc };
                (row.declared.version.as_str(), expected)
            })
            .collect::<BTreeMap<_, _>>();
        assert_eq!(are, self.versions, "after {step:?}");
        let defaults = rows.iter().filter(|row| row.declared.is_default).collect::<Vec<_>>();
        assert!(defaults.len() <= 1, "after {step:?}");
        let default = self.store.default_version(&self.lang).await.expect("an answer");
        assert_eq!(default.map(|row| row.id), defaults.first().map(|row| row.id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_versions_at_most_one_is_the_default(steps in proptest::collection::vec(step(), 1..30)) {
        on_each_engine(&async |store, _| {
            let lang = "mine.lang".parse().expect("a reference");
            let mut world = World { store, lang, versions: BTreeMap::new() };
            world.install(&[0, 1], Some(0)).await;
            for step in &steps {
                world.take(step).await;
                world.check(step).await;
            }
        });
    }
}
