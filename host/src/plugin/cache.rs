//! Compiled components on disk. What is loaded runs as machine code in this process, so nothing is
//! loaded that this installation has not written itself: each file starts with a code that only the holder
//! of the key could have made. Whatever is wrong with the cache, the answer is to compile again.

use std::fs::{self, DirBuilder, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

const KEY_LENGTH: usize = 32;
const CODE_LENGTH: usize = 32;

/// What the codes are about, so that they prove nothing in another place.
const PURPOSE: &[u8] = b"attune compiled component 1\0";

type Key = [u8; KEY_LENGTH];

/// The folder of compiled components and the key of this installation.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key_file: PathBuf,
    /// None if there can be no key: nothing is cached then.
    key: OnceLock<Option<Key>>,
}

impl Cache {
    pub(crate) fn new(folder: PathBuf, key_file: PathBuf) -> Self {
        Self { folder, key_file, key: OnceLock::new() }
    }

    /// The compiled component, if there is one and it can be trusted. Blocks.
    pub(crate) fn load(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let name = file_name(engine, sha256);
        let path = self.folder.join(&name);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                distrust(&path, &error.to_string());
                return None;
            }
        };
        let Some(compiled) = verified(self.key()?, &name, &file) else {
            distrust(&path, "it was not written by this installation, or it is damaged");
            return None;
        };
        // SAFETY: these very bytes carry a code made with this installation's key, so they are what
        // `serialize` returned for a component that was compiled here; the engine itself checks that it was
        // compiled by the same version of itself with the same settings.
        #[allow(unsafe_code, reason = "the only way to load what was compiled before")]
        let component = unsafe { Component::deserialize(engine, compiled) };
        component.map_err(|error| distrust(&path, &error.to_string())).ok()
    }

    /// Keeps a compiled component. Blocks.
    pub(crate) fn store(&self, engine: &Engine, sha256: &str, component: &Component) {
        if let Err(error) = self.try_store(engine, sha256, component) {
            tracing::warn!(
                plugin.digest = sha256,
                "the compiled component can't be kept in {}: {error}",
                self.folder.display()
            );
        }
    }

    fn try_store(&self, engine: &Engine, sha256: &str, component: &Component) -> io::Result<()> {
        let Some(key) = self.key() else { return Ok(()) };
        let name = file_name(engine, sha256);
        let compiled = component.serialize().map_err(io::Error::other)?;
        make_private_folder(&self.folder)?;
        // Beside its final place, so that the rename is atomic; whoever comes second replaces the same contents.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&code(key, &name, &compiled))?;
        file.write_all(&compiled)?;
        file.persist(self.folder.join(name))?;
        Ok(())
    }

    fn key(&self) -> Option<&Key> {
        let key = self.key.get_or_init(|| {
            let key = load_key(&self.key_file);
            if let Err(error) = &key {
                tracing::warn!(
                    "compiled components are not cached, since the key {} can't be used: {error}",
                    self.key_file.display()
                );
            }
            key.ok()
        });
        key.as_ref()
    }
}

fn distrust(path: &Path, reason: &str) {
    tracing::warn!("the compiled component {} is not used: {reason}; compiling again", path.display());
}

/// The name says what the contents depend on: the component and the engine.
fn file_name(engine: &Engine, sha256: &str) -> String {
    /// Feeds what would otherwise become a 64-bit hash to one that nobody can make collide.
    struct Feed(Sha256);
    impl Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut feed = Feed(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut feed);
    format!("{sha256}-{}.compiled", &crate::digest::hexadecimal(&feed.0.finalize())[..16])
}

fn mac(key: &Key, name: &str, compiled: &[u8]) -> Hmac<Sha256> {
    // A whole block, which is what the key would be padded to with zeros anyway.
    let mut block = [0; 64];
    block[..KEY_LENGTH].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(PURPOSE);
    mac.update(name.as_bytes());
    mac.update(&[0]);
    mac.update(compiled);
    mac
}

fn code(key: &Key, name: &str, compiled: &[u8]) -> [u8; CODE_LENGTH] {
    mac(key, name, compiled).finalize().into_bytes().into()
}

/// The compiled component within a file, if the file is ours and is meant to have this name.
fn verified<'a>(key: &Key, name: &str, file: &'a [u8]) -> Option<&'a [u8]> {
    let (code, compiled) = file.split_at_checked(CODE_LENGTH)?;
    mac(key, name, compiled).verify_slice(code).ok()?;
    Some(compiled)
}

/// The key of this installation, made if there is none that can be trusted.
fn load_key(path: &Path) -> io::Result<Key> {
    match read_key(path) {
        Ok(Some(key)) => return Ok(key),
        Ok(None) => {
            tracing::warn!("the key {} is damaged or open to others; making a new one", path.display());
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut key = [0; KEY_LENGTH];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    // Complete before it has its name, and readable by nobody else from its first moment on.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        // Another process was faster; its key is as good.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(path)?.ok_or_else(|| io::Error::other("another process wrote something else there"))
        }
        Err(error) => Err(error.error),
    }
}

/// None if what is there is no key, or others could have read or written it.
fn read_key(path: &Path) -> io::Result<Option<Key>> {
    let mut file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    let is_private = metadata.mode() & OTHERS == 0 && metadata.uid() == rustix::process::geteuid().as_raw();
    if !is_private || metadata.len() != KEY_LENGTH as u64 {
        return Ok(None);
    }
    let mut key = [0; KEY_LENGTH];
    file.read_exact(&mut key)?;
    Ok(Some(key))
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::metadata(folder)?;
    if metadata.mode() & OTHERS != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmtime::Config;

    use super::*;

    const SHA256: &str = "00ff";

    struct Scene {
        engine: Engine,
        folder: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                engine: Engine::new(&Config::new()).expect("an engine"),
                folder: tempfile::tempdir().expect("a folder"),
            }
        }

        fn cache(&self) -> Cache {
            Cache::new(self.folder.path().join("compiled"), self.folder.path().join("keys/cache"))
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("compiled").join(file_name(&self.engine, SHA256))
        }

        fn filled(&self) -> Cache {
            let component = Component::new(&self.engine, b"\0asm\x0d\0\x01\0").expect("an empty component");
            let cache = self.cache();
            cache.store(&self.engine, SHA256, &component);
            cache
        }

        fn is_loaded(&self, cache: &Cache) -> bool {
            cache.load(&self.engine, SHA256).is_some()
        }
    }

    #[test]
    fn what_was_stored_is_loaded() {
        let scene = Scene::new();
        assert!(!scene.is_loaded(&scene.cache()), "empty at first");
        let cache = scene.filled();
        assert!(scene.is_loaded(&cache));
        assert!(scene.is_loaded(&scene.cache()), "by another process too");
        let mode = |path: &str| fs::metadata(scene.folder.path().join(path)).expect("there").mode() & 0o777;
        assert_eq!((mode("compiled"), mode("keys/cache")), (0o700, 0o600));
    }

    #[test]
    fn what_others_wrote_is_not_loaded() {
        let scene = Scene::new();
        let cache = scene.filled();
        let good = fs::read(scene.file()).expect("a file");
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        for bad in [
            Vec::new(),
            good[..31].to_vec(),
            good[..100].to_vec(),
            flipped(0),
            flipped(32),
            flipped(good.len() - 1),
        ] {
            fs::write(scene.file(), &bad).expect("written");
            assert!(!scene.is_loaded(&cache), "{} bytes", bad.len());
        }
        fs::write(scene.file(), &good).expect("written");
        assert!(scene.is_loaded(&cache));
        // The code holds for this name only: no component passes for another.
        let other = scene.file().with_file_name(file_name(&scene.engine, "11ff"));
        fs::copy(scene.file(), other).expect("copied");
        assert!(cache.load(&scene.engine, "11ff").is_none());
    }

    #[test]
    fn a_key_that_others_could_know_is_replaced() {
        let scene = Scene::new();
        drop(scene.filled());
        let key = scene.folder.path().join("keys/cache");
        let before = fs::read(&key).expect("a key");
        fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("a mode");
        assert!(!scene.is_loaded(&scene.cache()));
        assert_ne!(fs::read(&key).expect("a key"), before);
        fs::write(&key, "short").expect("written");
        assert!(scene.is_loaded(&scene.filled()), "works again with yet another key");
    }

    #[test]
    fn without_a_key_nothing_is_cached_and_nothing_fails() {
        let scene = Scene::new();
        fs::create_dir_all(scene.folder.path().join("keys/cache")).expect("a folder in the key's place");
        let cache = scene.filled();
        assert!(!scene.is_loaded(&cache));
        assert!(!scene.file().exists());
    }

    proptest! {
        #[test]
        fn codes_hold_for_one_content_only(one: Vec<u8>, other: Vec<u8>) {
            let key = [7; KEY_LENGTH];
            let mut file = code(&key, "name", &one).to_vec();
            file.extend(&other);
            prop_assert_eq!(verified(&key, "name", &file).is_some(), one == other);
            prop_assert!(verified(&[8; KEY_LENGTH], "name", &file).is_none());
        }
    }
}
