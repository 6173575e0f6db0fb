//! Runtimes: who uses one, what serves it, and that it is not taken away from those.

use std::collections::BTreeMap;

use attune::pack::{Action, Grants, PluginDeclaration, Sensor};
use attune::store::change::{ChangeError, Kind};
use attune::store::pack::{Approval, PackInstall, PluginRow, RuntimeInstall};

use crate::support::store::{
    action, default_version, install, on_each_engine, pack, runtime, sensor, version,
};

#[test]
fn made_read_changed_and_deleted() {
    on_each_engine(&async |store, _| {
        let served = RuntimeInstall::default();
        let mut lang = runtime("mine.lang", &["1.0"]);
        lang.versions.push(default_version("2.0"));
        lang.aliases = vec!["lang2".to_owned(), "tongue".to_owned()];
        let error = store.create_runtime(&lang, &served).await.unwrap_err();
        assert_eq!(error.to_string(), "`mine.lang` needs the pack `mine`, which is not there");
        install(store, &pack("mine")).await;
        let made = store.create_runtime(&lang, &served).await.unwrap();
        let row = store.runtime(&lang.reference).await.unwrap().unwrap();
        assert_eq!((row.revision, row.ad_hoc), (made, true));
        assert_eq!(row.runtime.aliases, lang.aliases);
        let versions = row.runtime.versions.iter().map(|version| version.version.as_str());
        assert_eq!(versions.collect::<Vec<_>>(), ["1.0", "2.0"], "in their order");
        let error = store.create_runtime(&lang, &served).await.unwrap_err();
        assert!(matches!(error, ChangeError::Duplicate { kind: Kind::Runtime, .. }), "{error}");

        let mut changed = lang.clone();
        changed.label = "Another".to_owned();
        changed.aliases = vec!["tongue".to_owned()];
        changed.versions.clear();
        let revision = store.update_runtime(&changed, None, Some(made)).await.unwrap();
        let row = store.runtime(&lang.reference).await.unwrap().unwrap();
        assert_eq!((row.revision, row.ad_hoc, row.runtime.label.as_str()), (revision, true, "Another"));
        assert_eq!((row.runtime.aliases, row.versions.len()), (changed.aliases.clone(), 2), "versions stay");
        let error = store.update_runtime(&changed, None, Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Runtime, .. }), "{error}");
        let error = store.delete_runtime(&lang.reference, Some(made)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Changed { kind: Kind::Runtime, .. }), "{error}");
        store.delete_runtime(&lang.reference, Some(revision)).await.unwrap();
        assert!(store.runtime(&lang.reference).await.unwrap().is_none());
        assert!(store.runtime_names().await.unwrap().is_empty());
        let error = store.delete_runtime(&lang.reference, None).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotFound { kind: Kind::Runtime, .. }), "{error}");
        let error = store.update_runtime(&changed, None, None).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotFound { kind: Kind::Runtime, .. }), "{error}");
    });
}

#[test]
fn versions_that_are_wrong_make_none() {
    on_each_engine(&async |store, _| {
        install(store, &pack("mine")).await;
        let served = RuntimeInstall::default();
        let error = store.create_runtime(&runtime("mine.lang", &["1.0", "v1.0"]), &served).await.unwrap_err();
        assert_eq!(error.to_string(), "the version `mine.lang v1.0` is there already");
        let error = store.create_runtime(&runtime("mine.lang", &["1.x"]), &served).await.unwrap_err();
        assert!(matches!(error, ChangeError::InvalidVersion { .. }), "{error}");
        assert!(store.runtimes().await.unwrap().is_empty(), "all or nothing");
    });
}

#[test]
fn one_that_is_used_is_not_deleted() {
    on_each_engine(&async |store, _| {
        let mut base = pack("base");
        base.runtimes = vec![runtime("base.lang", &[]), runtime("base.spare", &[])];
        base.runtimes[0].aliases = vec!["tongue".to_owned()];
        install(store, &base).await;
        let mut mine = pack("mine");
        mine.runtimes = vec![runtime("mine.spare", &[])];
        mine.actions = vec![
            action("mine.by_ref", "base.lang", ""),
            action("mine.by_name", "lang", ""),
            // The pack's own comes first.
            action("mine.own", "spare", ""),
        ];
        mine.sensors = vec![sensor("mine.by_alias", "tongue", "")];
        install(store, &mine).await;

        let lang = &base.runtimes[0].reference;
        let users = ["mine.by_alias", "mine.by_name", "mine.by_ref"];
        assert_eq!(store.runtime_users(lang).await.unwrap(), users);
        match store.delete_runtime(lang, None).await.unwrap_err() {
            ChangeError::InUse { kind: Kind::Runtime, name, users: named } => {
                assert_eq!((name.as_str(), named), ("base.lang", users.map(str::to_owned).to_vec()));
            }
            other => panic!("{other}"),
        }
        store.delete_runtime(&base.runtimes[1].reference, None).await.unwrap();

        let mut renamed = base.runtimes[0].clone();
        renamed.aliases.clear();
        let error = store.update_runtime(&renamed, None, None).await.unwrap_err();
        assert_eq!(error.to_string(), "the runtime `base.lang` is used by `mine.by_alias`");
        assert_eq!(store.runtime(lang).await.unwrap().unwrap().runtime.aliases, ["tongue"]);

        for action in ["mine.by_ref", "mine.by_name"] {
            store.delete_program::<Action>(&action.parse().unwrap(), None).await.unwrap();
        }
        store.delete_program::<Sensor>(&"mine.by_alias".parse().unwrap(), None).await.unwrap();
        store.delete_runtime(lang, None).await.unwrap();
    });
}

#[test]
fn what_serves_one_changes_only_when_asked() {
    on_each_engine(&async |store, _| {
        let sha256 = "c".repeat(64);
        let plugins = [PluginRow {
            sha256: sha256.clone(),
            name: "component".to_owned(),
            size: 1,
            contract_version: None,
            imports: Vec::new(),
            exports: Vec::new(),
        }];
        let (base, runtimes) = (pack("base"), BTreeMap::new());
        let install = PackInstall {
            pack: &base,
            source: "a test",
            verified_by: None,
            plugins: &plugins,
            runtimes: &runtimes,
        };
        store.install_pack(&install).await.unwrap();
        let grants = Grants { tools: vec!["lang*".to_owned()], ..Grants::default() };
        let mut lang = runtime("base.lang", &[]);
        lang.versions.push(version("1.0"));
        lang.plugin = Some(PluginDeclaration {
            component: "component".to_owned(),
            grants: grants.clone(),
            settings: Vec::new(),
        });
        let served = RuntimeInstall {
            plugin: Some(sha256),
            constraint_aliases: vec![("newest".to_owned(), "*".to_owned())],
            approved: Some(Approval { grants: grants.clone(), by: "me".to_owned() }),
        };
        let elsewhere = RuntimeInstall { plugin: Some("d".repeat(64)), ..served.clone() };
        let error = store.create_runtime(&lang, &elsewhere).await.unwrap_err();
        assert!(matches!(error, ChangeError::Unknown { kind: Kind::Component, .. }), "{error}");
        store.create_runtime(&lang, &served).await.unwrap();

        lang.label = "Another".to_owned();
        store.update_runtime(&lang, None, None).await.unwrap();
        let row = store.runtime(&lang.reference).await.unwrap().unwrap();
        assert_eq!(row.plugin.unwrap().approved, Some(grants));
        assert_eq!(row.constraint_aliases, served.constraint_aliases);

        let unapproved = RuntimeInstall { approved: None, ..served };
        store.update_runtime(&lang, Some(&unapproved), None).await.unwrap();
        let row = store.runtime(&lang.reference).await.unwrap().unwrap();
        assert_eq!(row.plugin.unwrap().approved, None, "what is not approved again is not");
        let error = store.update_runtime(&lang, Some(&elsewhere), None).await.unwrap_err();
        assert!(matches!(error, ChangeError::Unknown { kind: Kind::Component, .. }), "{error}");
    });
}
