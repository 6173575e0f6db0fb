//! The name of an environment: a digest of everything that two environments must share to be the same.

use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Manifest, Plan};
use crate::digest::hexadecimal;
use crate::installation::{Identity, Installation};

/// Grows when what is hashed, or what a builder makes of it, changes.
const GENERATION: &[u8] = b"attune environment 1";
/// Which of an installation's attributes decide what can be loaded into it.
const BINARY_ATTRIBUTES: [&str; 3] = ["abi", "arch", "libc"];

/// SHA-256 in hexadecimal; checked, since it names a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the key of an environment")]
pub struct InvalidKey {
    text: String,
}

/// A plan that names a path which is not text.
#[derive(Debug, thiserror::Error)]
#[error("the plan cannot be hashed: {source}")]
pub struct UnhashablePlan {
    #[from]
    source: serde_json::Error,
}

/// Everything that goes into a key.
#[derive(Clone, Copy, Debug)]
pub struct Ingredients<'a> {
    pub plan: &'a Plan,
    /// SHA-256 of the component that made the plan.
    pub plugin: &'a str,
    pub installation: &'a Installation,
    pub identity: &'a Identity,
    /// Every one, with those that others include and with lock files.
    pub manifests: &'a [Manifest],
    /// The operator's variables for steps: where packages come from is among them.
    pub variables: &'a [(String, String)],
}

impl Key {
    /// The key of what `ingredients` make. The order of steps matters, that of attributes, manifests and
    /// variables does not.
    pub fn of(ingredients: &Ingredients<'_>) -> Result<Self, UnhashablePlan> {
        let Ingredients { plan, plugin, installation, identity, manifests, variables } = ingredients;
        let mut hash = Hash::default();
        hash.field(GENERATION);
        hash.field(&serde_json::to_vec(plan)?);
        hash.field(plugin.as_bytes());
        hash.field(installation.path.as_os_str().as_bytes());
        hash.field(identity.to_string().as_bytes());
        hash.field(installation.version.semver.to_string().as_bytes());
        hash.field(installation.version.native.as_bytes());
        hash.field(installation.version.variant.as_deref().unwrap_or_default().as_bytes());
        hash.pairs(
            installation
                .attributes
                .iter()
                .filter(|(name, _)| BINARY_ATTRIBUTES.contains(&name.as_str()))
                .map(|(name, value)| (name.as_str(), value.as_bytes())),
        );
        hash.pairs(manifests.iter().map(|manifest| (manifest.name.as_str(), &manifest.contents[..])));
        hash.pairs(variables.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        Ok(Self(hash.finish()))
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of a plan in hexadecimal.
pub fn plan_digest(plan: &Plan) -> Result<String, UnhashablePlan> {
    let mut hash = Hash::default();
    hash.field(&serde_json::to_vec(plan)?);
    Ok(hash.finish())
}

/// Hashes fields such that no two lists of fields are the same text.
#[derive(Default)]
struct Hash(Sha256);

impl Hash {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn pairs<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a [u8])>) {
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_unstable();
        self.0.update((pairs.len() as u64).to_le_bytes());
        for (name, value) in pairs {
            self.field(name.as_bytes());
            self.field(value);
        }
    }

    fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_digit) { Ok(Self(text)) } else { Err(InvalidKey { text }) }
    }
}

impl std::str::FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        text.to_owned().try_into()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::PathBuf;

    use super::*;
    use crate::environment::{PlannedProgram, RunStep, Step, StepAction};
    use crate::version::Version;

    #[derive(Clone)]
    struct Fixture {
        plan: Plan,
        plugin: String,
        installation: Installation,
        identity: Identity,
        manifests: Vec<Manifest>,
        variables: Vec<(String, String)>,
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn fixture() -> Fixture {
        let step = Step { title: "make".to_owned(), action: StepAction::MakeDir { path: "bin".to_owned() } };
        let semver = semver::Version::new(1, 2, 3);
        Fixture {
            plan: Plan { steps: vec![step], stage: None, inputs: vec![pair("tool", "1")] },
            plugin: "aa".to_owned(),
            installation: Installation {
                path: "/usr/bin/tool".into(),
                version: Version { semver, native: "1.2.3".to_owned(), variant: None },
                source: "test".to_owned(),
                aliases: Vec::new(),
                attributes: vec![pair("abi", "x1"), pair("arch", "x86_64"), pair("note", "n")],
            },
            identity: Identity { dev: 1, inode: 2, size: 3, mtime: 4, ctime: 5 },
            manifests: vec![Manifest { name: "deps".to_owned(), contents: b"a".to_vec() }],
            variables: vec![pair("INDEX", "https://one"), pair("OTHER", "2")],
        }
    }

    fn key(fixture: &Fixture) -> Key {
        let Fixture { plan, plugin, installation, identity, manifests, variables } = fixture;
        Key::of(&Ingredients { plan, plugin, installation, identity, manifests, variables }).expect("hashed")
    }

    type Change = fn(&mut Fixture);

    #[test]
    fn every_ingredient_matters() {
        let original = key(&fixture());
        assert_eq!(original, key(&fixture()));
        let changes: &[(&str, Change)] = &[
            ("step", |it| it.plan.steps[0].title.push('x')),
            ("inputs", |it| it.plan.inputs.push(pair("a", "b"))),
            ("plugin", |it| it.plugin.push('x')),
            ("path", |it| it.installation.path = PathBuf::from("/usr/bin/other")),
            ("identity", |it| it.identity.ctime += 1),
            ("version", |it| it.installation.version.semver.patch += 1),
            ("native", |it| it.installation.version.native.push('+')),
            ("variant", |it| it.installation.version.variant = Some("debug".to_owned())),
            ("abi", |it| it.installation.attributes[0].1.push('x')),
            ("arch", |it| it.installation.attributes[1].1.push('x')),
            ("libc", |it| it.installation.attributes.push(pair("libc", "musl"))),
            ("manifest", |it| it.manifests[0].contents.push(b'x')),
            ("manifest name", |it| it.manifests[0].name.push('x')),
            ("border", |it| {
                it.manifests[0] = Manifest { name: "depsa".to_owned(), contents: Vec::new() };
            }),
            ("variable", |it| it.variables[0].1.push('x')),
            ("no variable", |it| it.variables.clear()),
        ];
        let mut keys = vec![original];
        for (name, change) in changes {
            let mut other = fixture();
            change(&mut other);
            let key = key(&other);
            assert!(!keys.contains(&key), "{name}");
            keys.push(key);
        }
    }

    #[test]
    fn what_is_for_people_and_order_do_not_matter() {
        let original = key(&fixture());
        let mut changed = fixture();
        changed.installation.attributes.reverse();
        changed.variables.reverse();
        changed.installation.attributes[0].1.push('x');
        changed.installation.source.push('x');
        changed.installation.aliases.push("/bin/tool".into());
        assert_eq!(original, key(&changed));
    }

    #[test]
    fn refuses_what_is_not_text() {
        let mut plan = fixture().plan;
        plan.steps[0].action = StepAction::Run(RunStep {
            program: PlannedProgram::Tool(OsStr::from_bytes(b"/\xff").into()),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: String::new(),
            network: false,
            timeout: None,
        });
        assert!(plan_digest(&plan).is_err());
        for text in ["", "..", &"A".repeat(64), &"a".repeat(63), &"/".repeat(64)] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
        assert!("0a".repeat(32).parse::<Key>().is_ok());
    }
}
