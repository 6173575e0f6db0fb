//! The configuration file: TOML, with the line of every setting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Origin, SettingsError, grants};
use crate::pack::ceiling::Ceilings;
use crate::pack::signature::PublicKey;
use crate::secret::without_credentials;

/// A configuration file, read.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    pub path: PathBuf,
    /// Settings at the top level.
    pub entries: BTreeMap<String, Entry>,
    /// The table `[variables]`.
    pub variables: BTreeMap<String, Entry>,
    /// The table `[trusted_keys]`.
    pub trusted_keys: BTreeMap<String, PublicKey>,
    /// The same as text.
    pub keys: BTreeMap<String, Entry>,
    /// The table `[grants]`.
    pub ceilings: Ceilings,
    /// The same as text, by name.
    pub grants: BTreeMap<String, Entry>,
}

/// A setting of the file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The value as a variable would have it.
    pub text: String,
    /// 1-based.
    pub line: usize,
    /// Of its name, 1-based.
    pub column: usize,
    /// Of its value, 1-based.
    pub value_column: usize,
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Where the value of an entry is.
    pub(super) fn origin(&self, entry: &Entry) -> Origin {
        Origin::File { path: self.path.clone(), line: entry.line, column: entry.value_column }
    }

    /// The table `[variables]`, credentials masked, and where each is set.
    pub(super) fn shown_variables(&self) -> Vec<(String, String, Origin)> {
        let shown = |(name, entry): (&String, &Entry)| {
            (name.clone(), without_credentials(name, &entry.text), self.origin(entry))
        };
        self.variables.iter().map(shown).collect()
    }

    /// The table `[trusted_keys]` as text, and where each is set.
    pub(super) fn shown_keys(&self) -> Vec<(String, String, Origin)> {
        self.shown(&self.keys)
    }

    /// The table `[grants]` as text, and where each is set.
    pub(super) fn shown_grants(&self) -> Vec<(String, String, Origin)> {
        self.shown(&self.grants)
    }

    fn shown(&self, table: &BTreeMap<String, Entry>) -> Vec<(String, String, Origin)> {
        let entries = table.iter();
        entries.map(|(name, entry)| (name.clone(), entry.text.clone(), self.origin(entry))).collect()
    }

    /// Reads `text` as if it were the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let position = |offset: usize| {
            let before = text.get(..offset).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            (line, column)
        };
        let syntax = |offset: usize, message: String| {
            let (line, column) = position(offset);
            SettingsError::Syntax { path: path.to_owned(), line, column, message }
        };
        let table = DeTable::parse(text)
            .map_err(|error| syntax(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (name, value) in table.into_inner() {
            let at = name.span().start;
            let name = name.into_inner().into_owned();
            let span = value.span();
            let entry = |text| entry(text, position(at), position(span.start).1);
            match (name.as_str(), value.into_inner()) {
                ("variables", DeValue::Table(table)) => {
                    for (variable, value) in table {
                        let (at, offset) = (variable.span().start, value.span().start);
                        let Some(text) = scalar(value.into_inner()) else {
                            return Err(syntax(offset, "a variable's value is a text".to_owned()));
                        };
                        let entry = self::entry(text, position(at), position(offset).1);
                        file.variables.insert(variable.into_inner().into_owned(), entry);
                    }
                }
                ("trusted_keys", DeValue::Table(table)) => {
                    for (name, value) in table {
                        let (at, offset) = (name.span().start, value.span().start);
                        let key = scalar(value.into_inner()).unwrap_or_default().parse::<PublicKey>();
                        let key =
                            key.map_err(|error| syntax(offset, format!("it is no public key: {error}")))?;
                        let entry = self::entry(key.to_string(), position(at), position(offset).1);
                        let name = name.into_inner().into_owned();
                        file.keys.insert(name.clone(), entry);
                        file.trusted_keys.insert(name, key);
                    }
                }
                ("grants", DeValue::Table(table)) => {
                    let mut note = |name, text, at, offset| {
                        let entry = self::entry(text, position(at), position(offset).1);
                        file.grants.insert(name, entry);
                    };
                    file.ceilings = grants::ceilings(table, &mut note)
                        .map_err(|(offset, message)| syntax(offset, message))?;
                }
                (_, DeValue::Array(items)) => {
                    let items =
                        items.into_iter().map(|item| scalar(item.into_inner())).collect::<Option<Vec<_>>>();
                    let Some(items) = items else {
                        return Err(syntax(span.start, format!("`{name}` is a list of texts")));
                    };
                    file.entries.insert(name, entry(items.join(",")));
                }
                (_, DeValue::Table(_)) => {
                    let message = format!(
                        "there is no table `{name}`; write `[variables]`, `[grants]` or `[trusted_keys]`"
                    );
                    return Err(syntax(at, message));
                }
                (_, value) => {
                    let Some(text) = scalar(value) else {
                        return Err(syntax(span.start, format!("`{name}` is a text or a number")));
                    };
                    file.entries.insert(name, entry(text));
                }
            }
        }
        Ok(file)
    }
}

fn entry(text: String, (line, column): (usize, usize), value_column: usize) -> Entry {
    Entry { text, line, column, value_column }
}

pub(super) fn scalar(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
