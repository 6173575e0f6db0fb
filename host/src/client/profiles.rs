//! Servers that somebody logged in to, by names: a file that only its owner may read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ServerUrl;
use crate::token::Token;

/// In the folder of the user's settings.
pub(crate) const FILE: &str = "profiles.toml";

/// What a profile is called unless it is given a name.
pub(crate) const DEFAULT: &str = "default";

/// A server, and what proves to it who asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) server: ServerUrl,
    #[serde(with = "secret")]
    pub(crate) token: Token,
    /// Certificates that are trusted besides those of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// Whether the token may go over the network in the clear.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) plain_http: bool,
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Profiles {
    path: PathBuf,
    pub(crate) named: BTreeMap<String, Profile>,
}

/// Why the profiles can't be used. No message quotes the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfilesError {
    #[error("there is no folder for profiles: neither `XDG_CONFIG_HOME` nor `HOME` is set")]
    NoFolder,
    #[error("can't read the profiles in `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("can't write the profiles into `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("others may read `{0}`, whose mode is {mode:o}: run `chmod 600 {0}`", path.display())]
    Readable { path: PathBuf, mode: u32 },
    #[error("`{}` does not hold profiles{place}", path.display())]
    Malformed { path: PathBuf, place: String },
}

mod secret {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::token::Token;

    pub(super) fn serialize<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(token.reveal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Profiles {
    /// Those in a folder of settings; none if there is no such folder yet.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, ProfilesError> {
        let path = folder.ok_or(ProfilesError::NoFolder)?.join(FILE);
        let failed = |source| ProfilesError::Read { path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, named: BTreeMap::new() });
            }
            Err(error) => return Err(failed(error)),
        };
        // Of the open file: the path may lead to another one a moment later.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ProfilesError::Readable { path, mode });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        match toml::from_str(&text) {
            Ok(named) => Ok(Self { path, named }),
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start));
                let line = before.map(|before| format!(", see line {}", before.matches('\n').count() + 1));
                Err(ProfilesError::Malformed { path, place: line.unwrap_or_default() })
            }
        }
    }

    /// Writes them, whole or not at all.
    pub(crate) fn write(&self) -> Result<(), ProfilesError> {
        let failed = |source| ProfilesError::Write { path: self.path.clone(), source };
        let text = toml::to_string(&self.named).map_err(|error| failed(io::Error::other(error)))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::Builder::new()
            .permissions(PermissionsExt::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// One for a server: the first by name.
    pub(crate) fn of(&self, server: &ServerUrl) -> Option<&Profile> {
        self.named.values().find(|profile| profile.server == *server)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_their_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("attune");
        let mut profiles = Profiles::read(Some(&folder)).unwrap();
        let profile = Profile {
            server: "https://example.org".parse().unwrap(),
            token: Token::random().unwrap(),
            ca: Some("/ca.pem".into()),
            plain_http: false,
        };
        profiles.named.insert("a.b c".to_owned(), profile.clone());
        profiles.write().unwrap();
        let mode = fs::metadata(&profiles.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Profiles::read(Some(&folder)).unwrap();
        let found = read.of(&profile.server).unwrap();
        assert_eq!((&found.token, &found.ca), (&profile.token, &profile.ca));

        fs::set_permissions(&profiles.path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(Profiles::read(Some(&folder)), Err(ProfilesError::Readable { mode: 0o640, .. })));
        fs::set_permissions(&profiles.path, PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&profiles.path, "[a]\nserver = \"https://example.org\"\ntoken = \"attune_secret\"\n")
            .unwrap();
        let error = Profiles::read(Some(&folder)).unwrap_err().to_string();
        assert!(error.contains("line") && !error.contains("secret"), "{error}");
        assert!(matches!(Profiles::read(None), Err(ProfilesError::NoFolder)));
    }
}
