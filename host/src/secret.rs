//! Secrets: which an action may read, and masking them in everything that is kept.
//!
//! Masking is best effort: it finds a value, its lines, and the usual ways of writing it, but not what a
//! program made of it otherwise.

mod credential;
mod file;
mod forms;
mod mask;

use std::collections::BTreeMap;
use std::fmt;

pub use credential::without_credentials;
pub use file::SecretsFileError;
pub use mask::{Masked, Masker};

use crate::pack::SecretDeclaration;

/// Values by name. Neither is their `Debug` output nor any error's message ever a value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

/// Secrets that an action cannot do without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the action needs secrets that there are no values for: {}", .names.join(", "))]
pub struct MissingSecrets {
    pub names: Vec<String>,
}

impl Secrets {
    /// Those that are declared, and no other.
    pub fn declared(&self, declarations: &[SecretDeclaration]) -> Result<Self, MissingSecrets> {
        let mut declared = BTreeMap::new();
        let mut missing = Vec::new();
        for declaration in declarations {
            let name = declaration.name.as_str();
            match self.0.get(name) {
                Some(value) => {
                    declared.insert(name.to_owned(), value.clone());
                }
                None if declaration.required => missing.push(name.to_owned()),
                None => {}
            }
        }
        if missing.is_empty() { Ok(Self(declared)) } else { Err(MissingSecrets { names: missing }) }
    }

    /// The value of a secret.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(secrets: T) -> Self {
        Self(secrets.into_iter().collect())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a secret is called where names are those of variables: `api-token` is `SECRET_API_TOKEN`.
#[must_use]
pub fn variable_name(name: &str) -> String {
    format!("SECRET_{}", name.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(name: &str, required: bool) -> SecretDeclaration {
        SecretDeclaration { name: name.parse().expect("a name"), description: None, required, env: None }
    }

    #[test]
    fn only_the_declared_ones_are_handed_out() {
        let pair = |name: &str| (name.to_owned(), format!("value of {name}"));
        let secrets = Secrets::from_iter([pair("a"), pair("b")]);
        let declared =
            secrets.declared(&[declaration("a", true), declaration("c", false)]).expect("all there");
        assert_eq!(declared.iter().collect::<Vec<_>>(), [("a", "value of a")]);
        assert_eq!((declared.get("a"), declared.get("b")), (Some("value of a"), None));
        let declarations = [declaration("d", true), declaration("a", true), declaration("c", true)];
        let error = secrets.declared(&declarations).expect_err("two are missing");
        assert_eq!(error.to_string(), "the action needs secrets that there are no values for: d, c");
        assert!(secrets.declared(&[]).expect("none needed").is_empty());
    }

    #[test]
    fn values_are_not_printed() {
        let secrets = Secrets::from_iter([("name".to_owned(), "precious".to_owned())]);
        assert_eq!(format!("{secrets:?}"), r#"{"name"}"#);
    }
}
