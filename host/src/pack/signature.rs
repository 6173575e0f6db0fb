//! Signatures of bundles: who vouches for what a pack is.
//!
//! What is signed is the digest of the bundle, so that it is the same for a folder and for every archive of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::digest::hexadecimal;

/// Before the digest: what is signed for something else is no signature of a bundle.
const CONTEXT: &str = "attune bundle sha256:";
const KIND: &str = "ed25519:";
const SECRET: &str = "attune-secret-key ";

/// What is done with packs that nobody who is trusted vouches for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// They are refused.
    Require,
    /// They are installed, with a warning.
    Warn,
    /// They are installed.
    #[default]
    Off,
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "require" => Ok(Self::Require),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

/// What signatures are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A text that is no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write `{KIND}` and 64 hexadecimal digits, as `attune key new` prints them")]
pub struct InvalidKey;

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = text.strip_prefix(KIND).and_then(bytes::<32>).ok_or(InvalidKey)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| InvalidKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{KIND}{}", hexadecimal(self.0.as_bytes()))
    }
}

/// What is signed with. Its `Debug` shows the public half alone.
#[derive(Debug)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Makes one, in a new file that only its owner may read.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut seed = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{SECRET}{KIND}{}", hexadecimal(&seed))?;
        file.sync_all()?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads the one in a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            return Err(invalid("others may read or write it: `chmod 600` it"));
        }
        let text = fs::read_to_string(path)?;
        let seed =
            text.trim_end().strip_prefix(SECRET).and_then(|text| text.strip_prefix(KIND)).and_then(bytes);
        seed.map(|seed| Self(SigningKey::from_bytes(&seed))).ok_or_else(|| invalid("it is no secret key"))
    }

    /// What its signatures are verified with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature of a bundle, by its digest, as it is kept.
    #[must_use]
    pub fn sign(&self, digest: &str) -> String {
        let signature = self.0.sign(message(digest).as_bytes());
        format!("{} {}\n", self.public(), hexadecimal(&signature.to_bytes()))
    }
}

fn message(digest: &str) -> String {
    format!("{CONTEXT}{digest}")
}

/// Why nobody who is trusted vouches for a pack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    #[error("it has no signature: there is no `{}`", path.display())]
    Missing { path: PathBuf },
    #[error("its signature is by `{key}`, which `[trusted_keys]` of the settings does not name")]
    Untrusted { key: String },
    #[error("its signature by `{name}` is not of what is in it: it was changed since, or is another pack's")]
    Wrong { name: String },
    #[error("`{}` is no signature", path.display())]
    Unreadable { path: PathBuf },
}

/// Where the signature of a pack is: beside its folder or archive.
#[must_use]
pub fn path_of(pack: &Path) -> PathBuf {
    let pack = std::path::absolute(pack).unwrap_or_else(|_| pack.to_owned());
    let mut name = pack.file_name().unwrap_or_default().to_owned();
    name.push(".sig");
    pack.with_file_name(name)
}

/// Who of those that are trusted vouches for a bundle with this digest, by the signature in a file.
pub fn verify(
    path: &Path,
    digest: &str,
    trusted: &BTreeMap<String, PublicKey>,
) -> Result<String, Unverified> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Unverified::Missing { path: path.to_owned() });
        }
        Err(_) => return Err(Unverified::Unreadable { path: path.to_owned() }),
    };
    verify_text(&text, path, digest, trusted)
}

/// The same, by a signature that is at hand; `path` says in errors where it came from.
pub fn verify_text(
    text: &str,
    path: &Path,
    digest: &str,
    trusted: &BTreeMap<String, PublicKey>,
) -> Result<String, Unverified> {
    let unreadable = || Unverified::Unreadable { path: path.to_owned() };
    let (key, signature) = text.trim_end().split_once(' ').ok_or_else(unreadable)?;
    let key = key.parse::<PublicKey>().map_err(|_| unreadable())?;
    let signature = Signature::from_bytes(&bytes::<64>(signature).ok_or_else(unreadable)?);
    let Some((name, _)) = trusted.iter().find(|(_, trusted)| **trusted == key) else {
        return Err(Unverified::Untrusted { key: key.to_string() });
    };
    match key.0.verify_strict(message(digest).as_bytes(), &signature) {
        Ok(()) => Ok(name.clone()),
        Err(_) => Err(Unverified::Wrong { name: name.clone() }),
    }
}

/// Bytes written as lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<_>>>()?.try_into().ok()
}
