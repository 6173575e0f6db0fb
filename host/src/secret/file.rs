//! Secrets from a file that nobody else may read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Secrets;

/// The largest file.
const SIZE_MAX: u64 = 1024 * 1024;

/// Why a file's secrets were not read. No message quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum SecretsFileError {
    #[error("cannot read `{path}`: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("others may read `{path}`, whose mode is {mode:o}: run `chmod 600 {path}`")]
    Readable { path: PathBuf, mode: u32 },
    #[error("`{path}` is larger than {SIZE_MAX} bytes")]
    TooLarge { path: PathBuf },
    #[error("`{path}` is neither .json nor .yaml, .yml or .toml")]
    UnknownFormat { path: PathBuf },
    #[error("`{path}` is not a map of names to texts{place}: quote values that look like numbers")]
    Malformed { path: PathBuf, place: String },
}

impl Secrets {
    /// Reads a map of names to texts: JSON, YAML or TOML, by the file's extension.
    pub fn from_file(path: &Path) -> Result<Self, SecretsFileError> {
        let failed = |source| SecretsFileError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        // Of the open file: the path may lead to another one a moment later.
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretsFileError::Readable { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(SIZE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > SIZE_MAX {
            return Err(SecretsFileError::TooLarge { path: path.to_owned() });
        }
        let at = |line: u64, column: u64| format!(", see line {line}, column {column}");
        let parsed: Result<BTreeMap<String, String>, String> =
            match path.extension().and_then(|it| it.to_str()) {
                Some("json") => serde_json::from_str(&text)
                    .map_err(|error| at(error.line() as u64, error.column() as u64)),
                Some("yaml" | "yml") => serde_saphyr::from_str(&text).map_err(|error| {
                    error.location().map(|place| at(place.line(), place.column())).unwrap_or_default()
                }),
                Some("toml") => toml::from_str(&text).map_err(|error| {
                    let before = error.span().and_then(|span| text.get(..span.start));
                    before
                        .map(|before| format!(", see line {}", before.matches('\n').count() + 1))
                        .unwrap_or_default()
                }),
                Some(_) | None => return Err(SecretsFileError::UnknownFormat { path: path.to_owned() }),
            };
        parsed.map(Self).map_err(|place| SecretsFileError::Malformed { path: path.to_owned(), place })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(name: &str, text: &str, mode: u32) -> Result<Secrets, SecretsFileError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permitted");
        Secrets::from_file(&path)
    }

    #[test]
    fn formats() {
        let expected =
            Secrets::from_iter([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x\ny".to_owned())]);
        for (name, text) in [
            ("s.json", r#"{"a": "1", "b": "x\ny"}"#),
            ("s.yaml", "a: '1'\nb: |-\n  x\n  y\n"),
            ("s.yml", "a: '1'\nb: \"x\\ny\"\n"),
            ("s.toml", "a = '1'\nb = \"x\\ny\"\n"),
        ] {
            assert_eq!(read(name, text, 0o600).expect(name), expected, "{name}");
        }
        assert!(read("s.json", "{}", 0o400).expect("read").is_empty());
    }

    #[test]
    fn others_may_not_read_it() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            let error = read("s.json", "{}", mode).expect_err("readable");
            assert!(
                matches!(error, SecretsFileError::Readable { mode: seen, .. } if seen == mode),
                "{error}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong_without_quoting() {
        for (name, text, place) in [
            ("s.json", "{\n\"a\": precious}", ", see line 2, column 6"),
            ("s.json", r#"["precious"]"#, ""),
            ("s.yaml", "a: [precious]", ""),
            ("s.toml", "a = 'x'\nb = precious", ", see line 2"),
            ("s.toml", "a = 2", ""),
        ] {
            let error = read(name, text, 0o600).expect_err(text);
            assert!(matches!(error, SecretsFileError::Malformed { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(place) && !message.contains("precious"), "{message}");
        }
        let error = read("s.txt", "", 0o600).expect_err("no format");
        assert!(matches!(error, SecretsFileError::UnknownFormat { .. }), "{error}");
        let error = read("s.json", &" ".repeat(1024 * 1024 + 1), 0o600).expect_err("large");
        assert!(matches!(error, SecretsFileError::TooLarge { .. }), "{error}");
        let folder = tempfile::tempdir().expect("a folder");
        for path in [Path::new("/no/such.json"), folder.path()] {
            let error = Secrets::from_file(path).expect_err("no file");
            assert!(matches!(error, SecretsFileError::Io { .. }), "{error}");
        }
    }
}
