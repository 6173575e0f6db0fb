//! Building a child's environment from nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::pack::VariableChange;

/// Where a child looks for programs unless it is told otherwise.
pub const STANDARD_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why a variable cannot be handed to a child.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVariable {
    #[error("`{name}` cannot be the name of a variable")]
    Name { name: String },
    #[error("the value of the variable `{name}` contains a NUL byte")]
    Value { name: String },
}

/// A child's environment in the making; nothing of this process's own is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// What every child gets: a locale that is everywhere, the standard search path, and folders of its
    /// own for what it would write to the user's.
    #[must_use]
    pub fn base(home: &Path, temporary: &Path) -> Self {
        Self(BTreeMap::from([
            ("LANG".into(), "C.UTF-8".into()),
            ("PATH".into(), STANDARD_PATH.into()),
            ("HOME".into(), home.into()),
            ("TMPDIR".into(), temporary.into()),
        ]))
    }

    /// Sets one variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> Result<(), InvalidVariable> {
        let value = value.into();
        check(name, &value)?;
        self.0.insert(name.into(), value);
        Ok(())
    }

    /// Applies changes in their order.
    pub fn apply(&mut self, changes: &[(String, VariableChange)]) -> Result<(), InvalidVariable> {
        for (name, change) in changes {
            let present = self.0.get(OsStr::new(name)).filter(|value| !value.is_empty());
            let value = match (change, present) {
                (VariableChange::Unset, _) => {
                    check(name, OsStr::new(""))?;
                    self.0.remove(OsStr::new(name));
                    continue;
                }
                (VariableChange::Set(value), _)
                | (VariableChange::Prepend(value) | VariableChange::Append(value), None) => value.into(),
                (VariableChange::Prepend(value), Some(present)) => join(OsStr::new(value), present),
                (VariableChange::Append(value), Some(present)) => join(present, OsStr::new(value)),
            };
            self.set(name, value)?;
        }
        Ok(())
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// In alphabetical order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(OsString, OsString)> {
        self.0.into_iter().collect()
    }
}

fn join(first: &OsStr, second: &OsStr) -> OsString {
    let mut joined = first.to_owned();
    joined.push(":");
    joined.push(second);
    joined
}

fn check(name: &str, value: &OsStr) -> Result<(), InvalidVariable> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(InvalidVariable::Name { name: name.to_owned() });
    }
    if value.as_encoded_bytes().contains(&0) {
        return Err(InvalidVariable::Value { name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: Option<&str>, changes: &[VariableChange], expected: Option<&str>) {
        let mut variables = Variables::default();
        if let Some(value) = start {
            variables.set("X", value).expect("a valid variable");
        }
        let changes: Vec<_> = changes.iter().map(|change| ("X".to_owned(), change.clone())).collect();
        variables.apply(&changes).expect("valid changes");
        assert_eq!(variables.get("X"), expected.map(OsStr::new), "{start:?} {changes:?}");
    }

    #[test]
    fn changes_apply_in_order() {
        let set = |text: &str| VariableChange::Set(text.to_owned());
        let prepend = |text: &str| VariableChange::Prepend(text.to_owned());
        let append = |text: &str| VariableChange::Append(text.to_owned());
        check(None, &[], None);
        check(None, &[set("a")], Some("a"));
        check(Some("z"), &[set("a")], Some("a"));
        check(Some("z"), &[VariableChange::Unset], None);
        check(None, &[VariableChange::Unset], None);
        check(None, &[prepend("a")], Some("a"));
        check(None, &[append("a")], Some("a"));
        check(Some(""), &[append("a")], Some("a"));
        check(Some("z"), &[prepend("a"), prepend("b")], Some("b:a:z"));
        check(Some("z"), &[append("a"), append("b")], Some("z:a:b"));
        check(Some("z"), &[VariableChange::Unset, append("a"), prepend("b")], Some("b:a"));
        check(Some("z"), &[set("$X ~ ${Y}")], Some("$X ~ ${Y}"));
    }

    #[test]
    fn base_is_all_there_is() {
        let variables = Variables::base(Path::new("/run/1"), Path::new("/run/1/tmp")).into_vec();
        let expected =
            [("HOME", "/run/1"), ("LANG", "C.UTF-8"), ("PATH", STANDARD_PATH), ("TMPDIR", "/run/1/tmp")];
        assert_eq!(variables, expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn refuses_what_no_child_can_be_given() {
        for name in ["", "A=B", "A\0"] {
            let error = InvalidVariable::Name { name: name.to_owned() };
            assert_eq!(Variables::default().set(name, "x"), Err(error.clone()), "{name:?}");
            let unset = [(name.to_owned(), VariableChange::Unset)];
            assert_eq!(Variables::default().apply(&unset), Err(error), "{name:?}");
        }
        let error = InvalidVariable::Value { name: "A".to_owned() };
        assert_eq!(Variables::default().set("A", "x\0y"), Err(error));
    }
}
