//! Words that stand for a constraint: `lts`, `lts/iron`, `latest`.

use super::{ConstraintError, Range, parser};
use crate::version::fault::Fault;

/// Why an alias can't be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct UnknownAlias {
    /// As written.
    pub alias: String,
    /// What the runtime knows, in its order.
    pub known: Vec<String>,
    /// The known one that was probably meant.
    pub nearest: Option<String>,
    /// Set if the runtime knows the alias, but gives something for it that is no range of versions.
    pub unusable: Option<Box<ConstraintError>>,
}

impl UnknownAlias {
    fn message(&self) -> String {
        match &self.unusable {
            Some(error) => {
                format!("the runtime resolves `{}` to `{}`, but {}", self.alias, error.text, error.message)
            }
            None if self.known.is_empty() => {
                format!("`{}` is neither a version nor an alias, this runtime has no aliases", self.alias)
            }
            None => format!("`{}` stands for no version of this runtime", self.alias),
        }
    }

    /// What would be right.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if self.unusable.is_some() {
            return Some("the runtime's component is at fault; write a range instead".to_owned());
        }
        if self.known.is_empty() {
            return Some("write a version, such as `3.12`".to_owned());
        }
        let known = format!("known aliases: {}", self.known.join(", "));
        Some(match &self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`? {known}"),
            None => known,
        })
    }
}

/// The range that the alias called `name` stands for.
pub(super) fn resolve(name: &str, aliases: &[(String, String)]) -> Result<Range, UnknownAlias> {
    let unknown = |nearest, unusable| UnknownAlias {
        alias: name.to_owned(),
        known: aliases.iter().map(|(known, _)| known.clone()).collect(),
        nearest,
        unusable,
    };
    let Some((_, text)) = aliases.iter().find(|(known, _)| known == name) else {
        return Err(unknown(nearest(name, aliases), None));
    };
    let fault = match parser::parse(text) {
        Ok(parser::Meaning::Range(range)) => return Ok(range),
        // A chain of aliases could be a circle.
        Ok(parser::Meaning::Alias(_)) => {
            Fault::new(0..text.len(), format!("`{}` is an alias itself", text.trim()))
        }
        Err(fault) => fault,
    };
    Err(unknown(None, Some(Box::new(ConstraintError::new(text, fault)))))
}

fn nearest(name: &str, aliases: &[(String, String)]) -> Option<String> {
    crate::nearest::nearest_name(aliases.iter().map(|(known, _)| known.clone()), name)
}
