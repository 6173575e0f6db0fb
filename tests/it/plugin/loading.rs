//! From bytes to something that can be called: compiling, caching, linking.

use attune::pack::{ExecutionConfig, Grants};
use attune::plugin::{Cause, ComponentSource, Function, Limits, PlanRequest, Plugins, Wasm};

use super::{Scene, grants, installation, load, runtime, scope};
use crate::support::guests::{source, source_of};

/// A component of nothing but its header.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

#[tokio::test]
async fn a_component_is_compiled_once() {
    let scene = Scene::new();
    let plugins = scene.plugins();
    let (one, other) = tokio::join!(load(&plugins, "detector"), load(&plugins, "detector"));
    assert!(one.was_compiled());
    assert!(std::sync::Arc::ptr_eq(&one, &other), "loaded twice");
    let restarted = load(&scene.plugins(), "detector").await;
    assert!(!restarted.was_compiled(), "compiled again");
    let answer = runtime(&scene.plugins(), "detector").await.aliases(&[]).await.expect("it works");
    assert_eq!(answer.value, []);
}

#[tokio::test]
async fn what_two_packs_ship_is_named_by_each() {
    let scene = Scene::new();
    let plugins = scene.plugins();
    let other = ComponentSource {
        pack: "others".parse().expect("a reference"),
        name: "copy".to_owned(),
        ..source("detector")
    };
    let (one, other) = (load(&plugins, "detector").await, plugins.load(&other).await.expect("it loads"));
    assert_eq!((one.pack().as_str(), one.name()), ("tests", "detector"));
    assert_eq!((other.pack().as_str(), other.name()), ("others", "copy"));
    assert!(!other.was_compiled(), "it is compiled once");
}

#[tokio::test]
async fn a_cache_that_was_tampered_with_is_compiled_again() {
    let scene = Scene::new();
    load(&scene.plugins(), "detector").await;
    for entry in std::fs::read_dir(scene.path.join("cache")).expect("a cache") {
        let path = entry.expect("an entry").path();
        let mut bytes = std::fs::read(&path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x80;
        std::fs::write(&path, bytes).expect("written");
    }
    assert!(load(&scene.plugins(), "detector").await.was_compiled());
    assert!(!load(&scene.plugins(), "detector").await.was_compiled(), "and replaced");
}

#[tokio::test]
async fn bytes_are_not_needed_once_compiled() {
    let scene = Scene::new();
    load(&scene.plugins(), "detector").await;
    let gone = ComponentSource { wasm: Wasm::File("/no/such".into()), ..source("detector") };
    scene.plugins().load(&gone).await.expect("from the cache");
}

async fn cause(plugins: &Plugins, source: &ComponentSource) -> Cause {
    let error = plugins.load(source).await.expect_err("it does not load");
    assert_eq!(
        (error.pack.as_str(), &error.component, error.function),
        ("tests", &source.name, Function::Load)
    );
    *error.cause
}

#[tokio::test]
async fn what_does_not_load() {
    let scene = Scene::new();
    let plugins = scene.plugins();
    let garbage = source_of("garbage", b"no component".as_slice().into());
    assert!(matches!(cause(&plugins, &garbage).await, Cause::Compile { .. }));
    let module = source_of("module", b"\0asm\x01\0\0\0".as_slice().into());
    assert!(matches!(cause(&plugins, &module).await, Cause::Compile { .. }));
    let missing = ComponentSource { wasm: Wasm::File("/no/such".into()), ..source("hostile") };
    assert!(matches!(cause(&plugins, &missing).await, Cause::Unreadable { .. }));
    let swapped = ComponentSource { wasm: Wasm::Bytes(EMPTY.into()), ..source("hostile") };
    assert!(matches!(cause(&plugins, &swapped).await, Cause::DigestMismatch { .. }));
    load(&plugins, "hostile").await;
}

/// The empty component with an import of a function without parameters.
fn importing(name: &str) -> Vec<u8> {
    let mut bytes = EMPTY.to_vec();
    // Section 7, types: one function, no parameters, no result.
    bytes.extend([7, 5, 1, 0x40, 0, 1, 0]);
    // Section 10, imports: one, by a plain name, a function of type 0.
    let length = u8::try_from(name.len()).expect("a short name");
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(name.as_bytes());
    bytes.extend([1, 0]);
    bytes
}

#[tokio::test]
async fn an_import_that_is_not_provided_is_named() {
    let scene = Scene::new();
    let source = source_of("future", importing("telepathy").into());
    match cause(&scene.plugins(), &source).await {
        Cause::IncompatibleImport { import, .. } => assert_eq!(import, "telepathy"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_needs_too_much_to_start_is_refused() {
    let scene = Scene::new();
    let small = Limits { memory: 64 << 10, ..Limits::default() };
    match cause(&Plugins::new(scene.settings(small)), &source("detector")).await {
        Cause::TooLarge { what, needed, allowed } => {
            assert_eq!((what, allowed), ("bytes of memory", 64 << 10));
            assert!(needed > allowed);
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_missing_export_is_named_when_it_is_called() {
    let scene = Scene::new();
    let plugin = runtime(&scene.plugins(), "detector").await;
    assert!(plugin.plugin().exports(Function::Detect));
    assert!(!plugin.plugin().exports(Function::Plan));
    let request = PlanRequest {
        installation: installation("/bin/sh".as_ref()),
        config: ExecutionConfig::default(),
        settings: Vec::new(),
        manifests: Vec::new(),
    };
    let error = plugin.plan(request).await.expect_err("it only detects");
    assert!(matches!(*error.cause, Cause::MissingExport { interface: "environment" }), "{error}");
    for part in ["tests", "detector", "environment.plan", &error.digest[..12]] {
        assert!(error.to_string().contains(part), "{error} lacks {part}");
    }
    plugin.detect(attune::plugin::DetectionRequest::default()).await.expect("it detects");
}

#[tokio::test]
async fn an_empty_component_loads_and_exports_nothing() {
    let scene = Scene::new();
    let plugin = scene.plugins().load(&source_of("empty", EMPTY.into())).await.expect("it is valid");
    assert!(!plugin.exports(Function::Detect));
}

#[tokio::test]
async fn grants_and_patterns_are_checked_when_bound() {
    let scene = Scene::new();
    let plugins = scene.plugins();
    let plugin = load(&plugins, "detector").await;
    let bad = Grants { tools: vec!["../sh".to_owned()], ..grants() };
    let error = plugins.runtime(&plugin, scope(bad)).expect_err("a path is no name");
    assert!(matches!(*error.cause, Cause::InvalidGrant { .. }), "{error}");
    let bad = attune::plugin::RuntimeScope { patterns: vec!["(".to_owned()], ..scope(grants()) };
    let error = plugins.runtime(&plugin, bad).expect_err("not closed");
    assert!(matches!(*error.cause, Cause::InvalidPattern { .. }), "{error}");
}

#[tokio::test]
async fn two_hosts_at_once_share_a_cache() {
    let scene = Scene::new();
    let (one, other) = (scene.plugins(), scene.plugins());
    tokio::join!(load(&one, "obliging"), load(&other, "obliging"));
    assert!(!load(&scene.plugins(), "obliging").await.was_compiled());
}
