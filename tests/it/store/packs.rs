//! Packs by themselves, and what installing them again leaves of what somebody added.

use std::collections::BTreeMap;

use attune::pack::{Grants, PluginDeclaration};
use attune::reference::PackRef;
use attune::store::Store;
use attune::store::change::{ChangeError, Kind};
use attune::store::pack::{NewPack, PackDetails, PackInstall, PluginRow, RuntimeInstall};
use attune::store::runtime_version::VersionFilter;
use serde_json::json;

use crate::support::store::{
    action, default_version, install, on_each_engine, pack, runtime, sensor, version,
};

fn details<'a>(label: &'a str, version: &'a semver::Version) -> PackDetails<'a> {
    PackDetails {
        label,
        description: None,
        version,
        author: None,
        config_schema: None,
        tags: &[],
        concurrency: None,
    }
}

async fn is_there(store: &Store, pack: &PackRef) -> bool {
    store.pack(pack).await.expect("an answer").is_some()
}

#[test]
fn made_read_changed_and_deleted() {
    on_each_engine(&async |store, _| {
        let (reference, first, second) =
            ("mine".parse().unwrap(), semver::Version::new(1, 0, 0), semver::Version::new(1, 1, 0));
        let digest = "1".repeat(64);
        let new = NewPack {
            reference: &reference,
            details: details("Mine", &first),
            digest: &digest,
            source: "by hand",
        };
        let made = store.create_pack(&new).await.unwrap();
        let row = store.pack(&reference).await.unwrap().unwrap();
        assert_eq!((row.label.as_str(), row.revision), ("Mine", made));
        assert_eq!(made.to_string().parse(), Ok(made), "a revision can be written down");
        let error = store.create_pack(&new).await.unwrap_err();
        assert!(matches!(error, ChangeError::Duplicate { kind: Kind::Pack, .. }), "{error}");
        assert_eq!(error.to_string(), "the pack `mine` is there already");

        let schema = json!({ "b": 1, "a": [2] });
        let tags = ["one".to_owned()];
        let more = PackDetails {
            description: Some("all mine"),
            author: Some("me"),
            config_schema: Some(&schema),
            tags: &tags,
            concurrency: Some(3),
            ..details("Ours", &second)
        };
        let changed = store.update_pack(&reference, more, Some(made)).await.unwrap();
        let row = store.pack(&reference).await.unwrap().unwrap();
        assert_eq!((row.label.as_str(), row.version.as_str()), ("Ours", "1.1.0"));
        assert_eq!((row.description.as_deref(), row.author.as_deref()), (Some("all mine"), Some("me")));
        assert_eq!(row.config_schema.unwrap().to_string(), r#"{"b":1,"a":[2]}"#, "the order of keys stays");
        assert_eq!(row.concurrency, Some(3));
        assert_eq!((row.tags, row.digest, row.source), (tags.to_vec(), digest.clone(), "by hand".to_owned()));

        let error = store.update_pack(&reference, more, Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Pack, .. }), "{error}");
        let error = store.remove_pack(&reference, Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Pack, .. }), "{error}");
        store.remove_pack(&reference, Some(changed)).await.unwrap();
        let error = store.remove_pack(&reference, None).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotFound { kind: Kind::Pack, .. }), "{error}");
        let error = store.update_pack(&reference, more, None).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotFound { kind: Kind::Pack, .. }), "{error}");
        assert!(!is_there(store, &reference).await);
    });
}

#[test]
fn removing_one_removes_what_is_in_it() {
    on_each_engine(&async |store, _| {
        let mut mine = pack("mine");
        mine.runtimes = vec![runtime("mine.lang", &["1.0"])];
        mine.actions = vec![action("mine.act", "lang", "1.0")];
        mine.sensors = vec![sensor("mine.sense", "mine.lang", "")];
        install(store, &mine).await;
        store.create_program(&action("mine.added", "lang", "")).await.unwrap();
        store.remove_pack(&mine.reference, None).await.unwrap();
        assert!(store.runtimes().await.unwrap().is_empty());
        assert!(store.runtime_versions(VersionFilter::default()).await.unwrap().is_empty());
        assert!(store.actions(None).await.unwrap().is_empty());
        assert!(store.sensors(None).await.unwrap().is_empty());
    });
}

#[test]
fn one_whose_runtimes_others_need_stays() {
    on_each_engine(&async |store, _| {
        let mut base = pack("base");
        base.runtimes = vec![runtime("base.lang", &[])];
        base.actions = vec![action("base.own", "lang", "")];
        install(store, &base).await;
        let mut other = pack("other");
        other.actions = vec![action("other.act", "base.lang", "")];
        other.sensors = vec![sensor("other.sense", "lang", "")];
        install(store, &other).await;
        let error = store.remove_pack(&base.reference, None).await.unwrap_err();
        assert_eq!(error.to_string(), "the pack `base` is used by `other.act`, `other.sense`");
        assert!(is_there(store, &base.reference).await);
        store.remove_pack(&other.reference, None).await.unwrap();
        store.remove_pack(&base.reference, None).await.unwrap();
    });
}

#[test]
fn one_whose_components_others_need_stays() {
    on_each_engine(&async |store, _| {
        let component = |name: &str| PluginRow {
            sha256: "c".repeat(64),
            name: name.to_owned(),
            size: 1,
            contract_version: None,
            imports: Vec::new(),
            exports: Vec::new(),
        };
        let (base, mut other) = (pack("base"), pack("other"));
        let mut lang = runtime("other.lang", &[]);
        lang.plugin = Some(PluginDeclaration {
            component: "base.component".to_owned(),
            grants: Grants::default(),
            settings: Vec::new(),
        });
        let served = RuntimeInstall { plugin: Some("c".repeat(64)), ..RuntimeInstall::default() };
        let runtimes = BTreeMap::from([(lang.reference.clone(), served)]);
        other.runtimes = vec![lang];
        let put = async |pack, plugins: &[PluginRow], runtimes| {
            let install = PackInstall { pack, source: "a test", verified_by: None, plugins, runtimes };
            store.install_pack(&install).await.unwrap();
        };
        let none = BTreeMap::new();
        put(&base, &[component("component")], &none).await;
        put(&other, &[], &runtimes).await;
        let error = store.remove_pack(&base.reference, None).await.unwrap_err();
        assert_eq!(error.to_string(), "the pack `base` is used by `other.lang`");
        // The same component from elsewhere does as well.
        put(&other, &[component("own")], &runtimes).await;
        store.remove_pack(&base.reference, None).await.unwrap();
    });
}

#[test]
fn installing_again_puts_back_what_the_pack_ships_and_leaves_what_somebody_added() {
    on_each_engine(&async |store, _| {
        let mut mine = pack("mine");
        mine.runtimes = vec![runtime("mine.lang", &["1.0", "1.1"])];
        mine.actions = vec![action("mine.act", "lang", ">=1"), action("mine.old", "lang", "")];
        mine.sensors = vec![sensor("mine.sense", "lang", ">=1")];
        install(store, &mine).await;

        let lang = &mine.runtimes[0].reference.clone();
        store.create_program(&action("mine.added", "lang", "")).await.unwrap();
        store.create_program(&sensor("mine.watch", "lang", "")).await.unwrap();
        store.create_runtime(&runtime("mine.other", &["7"]), &RuntimeInstall::default()).await.unwrap();
        store.create_runtime_version(lang, &default_version("2.0")).await.unwrap();
        store.create_runtime_version(lang, &version("v3.0")).await.unwrap();
        let mut changed = action("mine.act", "lang", "<1");
        changed.enabled = false;
        store.update_program(&changed, None).await.unwrap();
        store.update_program(&sensor("mine.sense", "lang", "<1"), None).await.unwrap();
        store.delete_runtime_version(lang, "1.1", None).await.unwrap();

        mine.actions.pop();
        // It now ships what somebody had added: that is the pack's from here on.
        mine.sensors.push(sensor("mine.watch", "lang", "1.1"));
        mine.runtimes[0].versions.push(version("3.0"));
        install(store, &mine).await;

        let actions = store.actions(None).await.unwrap();
        let actions = actions
            .iter()
            .map(|row| {
                let constraint = row.declared.program.constraint.as_ref().map(ToString::to_string);
                (row.declared.reference.to_string(), constraint, row.declared.enabled, row.ad_hoc)
            })
            .collect::<Vec<_>>();
        assert_eq!(
            actions,
            [
                ("mine.act".to_owned(), Some(">=1".to_owned()), true, false),
                ("mine.added".to_owned(), None, true, true)
            ]
        );
        let sensors = store.sensors(None).await.unwrap();
        let sensors = sensors
            .iter()
            .map(|row| {
                let constraint = row.declared.program.constraint.as_ref().map(ToString::to_string);
                (row.declared.reference.to_string(), constraint.unwrap_or_default(), row.ad_hoc)
            })
            .collect::<Vec<_>>();
        assert_eq!(
            sensors,
            [
                ("mine.sense".to_owned(), ">=1".to_owned(), false),
                ("mine.watch".to_owned(), "1.1".to_owned(), false)
            ]
        );
        let row = store.runtime(lang).await.unwrap().unwrap();
        let versions = row
            .versions
            .iter()
            .map(|row| (row.declared.version.as_str(), row.declared.is_default, row.ad_hoc))
            .collect::<Vec<_>>();
        // The pack has no default of its own.
        assert_eq!(
            versions,
            [("1.0", false, false), ("1.1", false, false), ("3.0", false, false), ("2.0", true, true)]
        );
        assert!(store.runtime(&"mine.other".parse().unwrap()).await.unwrap().unwrap().ad_hoc);

        // A default of the pack's takes the place of any other.
        mine.runtimes[0].versions[0].is_default = true;
        install(store, &mine).await;
        let default = store.default_version(lang).await.unwrap().unwrap();
        assert_eq!(default.declared.version, "1.0");
        mine.sensors.pop();
        install(store, &mine).await;
        assert!(store.sensor(&"mine.watch".parse().unwrap()).await.unwrap().is_none());
    });
}
