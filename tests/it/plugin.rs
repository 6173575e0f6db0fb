//! Components as they come: obliging, hostile and incomplete.

mod bounds;
mod calls;
mod contract;
mod loading;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attune::installation::{Candidate, Failure, Installation};
use attune::pack::{Grants, SearchRoot, VerificationCommand};
use attune::plugin::{
    Cause, DetectionRequest, Limits, Machine, Plugin, PluginError, PluginSettings, Plugins, RuntimePlugin,
    RuntimeScope, Surroundings,
};
use attune::version::Version;

use crate::support::guests::source;

const PATTERN: &str = r"tool (\d+\.\d+\.\d+)";

/// A machine of its own: a home folder, tools in `bin`, a cache and a key.
struct Scene {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        fs::create_dir(path.join("bin")).expect("a folder");
        Self { folder, path }
    }

    /// A path of the scene's, as text.
    fn at(&self, name: &str) -> String {
        self.path.join(name).to_string_lossy().into_owned()
    }

    /// An executable script in `bin`.
    fn tool(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path.join("bin").join(name);
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    fn settings(&self, limits: Limits) -> PluginSettings {
        PluginSettings {
            cache_folder: self.folder.path().join("cache"),
            key_file: self.folder.path().join("key"),
            homes_folder: self.folder.path().join("homes"),
            limits,
            surroundings: Surroundings {
                machine: Machine::This,
                home: self.path.clone(),
                path: OsString::from("/usr/bin:/bin"),
                variables: BTreeMap::from(
                    [("TOOL_HOME", "/opt/tool"), ("SECRET", "hidden")]
                        .map(|(name, value)| (name.into(), value.into())),
                ),
            },
        }
    }

    fn plugins(&self) -> Plugins {
        Plugins::new(self.settings(Limits::default()))
    }
}

async fn load(plugins: &Plugins, guest: &str) -> Arc<Plugin> {
    plugins.load(&source(guest)).await.expect("it loads")
}

fn grants() -> Grants {
    Grants {
        tools: vec!["tool-*".to_owned(), "sh".to_owned()],
        search: vec![SearchRoot { source: "here".to_owned(), folders: vec!["~/bin".to_owned()] }],
        read: vec!["~/readable".to_owned()],
        variables: vec!["TOOL_HOME".to_owned()],
        ..Grants::default()
    }
}

fn scope(grants: Grants) -> RuntimeScope {
    RuntimeScope {
        runtime: "tests.lang".parse().expect("a reference"),
        grants,
        patterns: vec![PATTERN.to_owned()],
    }
}

async fn runtime(plugins: &Plugins, guest: &str) -> RuntimePlugin {
    plugins.runtime(&load(plugins, guest).await, scope(grants())).expect("valid grants")
}

fn instruction(what: &str, with: &str) -> Vec<(String, String)> {
    vec![("do".to_owned(), what.to_owned()), ("with".to_owned(), with.to_owned())]
}

/// Has the hostile guest do something, and returns what it reports of that.
async fn provoke(plugin: &RuntimePlugin, what: &str, with: &str) -> Result<String, PluginError> {
    let request = DetectionRequest { settings: instruction(what, with), ..DetectionRequest::default() };
    let answer = plugin.detect(request).await?;
    match answer.value.as_slice() {
        [Candidate { outcome: Err(Failure { message, .. }), .. }] => Ok(message.clone()),
        other => panic!("not a report: {other:?}"),
    }
}

async fn provoked(plugin: &RuntimePlugin, what: &str, with: &str) -> Cause {
    *provoke(plugin, what, with).await.expect_err(what).cause
}

fn command() -> VerificationCommand {
    VerificationCommand {
        binary: "tool".to_owned(),
        args: vec!["--version".to_owned()],
        exit_code: 0,
        pattern: Some(PATTERN.to_owned()),
        priority: 1,
        optional: false,
    }
}

fn detection_request() -> DetectionRequest {
    DetectionRequest {
        binaries: vec!["tool-*".to_owned()],
        commands: vec![command()],
        ..DetectionRequest::default()
    }
}

fn installation(path: &Path) -> Installation {
    Installation {
        path: path.to_owned(),
        version: Version { semver: semver::Version::new(1, 2, 3), native: "1.2.3".to_owned(), variant: None },
        source: "here".to_owned(),
        aliases: Vec::new(),
        attributes: Vec::new(),
    }
}
