//! Regular expressions that a runtime's YAML declares, compiled once with bounded size.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::bindings::attune::runtime::patterns::Host;
use super::bindings::attune::runtime::types;
use super::call::Call;
use super::convert::failure_to_wit;
use super::error::Cause;
use crate::installation::{Failure, FailureClass};

/// Bytes of a compiled pattern.
const SIZE_MAX: usize = 1 << 20;

/// Bytes of a text that is matched.
const TEXT_MAX: usize = 1 << 20;

/// The patterns that may be matched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns(HashMap<String, Regex>);

impl Patterns {
    /// Compiles all of them, or says which one is wrong.
    pub(crate) fn compile(patterns: &[String]) -> Result<Self, Cause> {
        let compiled = patterns.iter().map(|pattern| {
            let regex = RegexBuilder::new(pattern).size_limit(SIZE_MAX).dfa_size_limit(SIZE_MAX).build();
            match regex {
                Ok(regex) => Ok((pattern.clone(), regex)),
                Err(error) => {
                    Err(Cause::InvalidPattern { pattern: pattern.clone(), reason: error.to_string() })
                }
            }
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// The groups of the first match, the whole match first.
    pub(crate) fn captures(&self, pattern: &str, text: &str) -> Result<Option<Vec<Option<String>>>, Failure> {
        let regex = self.0.get(pattern).ok_or_else(|| {
            Failure::new(
                FailureClass::Denied,
                format!("the runtime's YAML does not declare the pattern `{pattern}`"),
            )
        })?;
        if text.len() > TEXT_MAX {
            return Err(Failure::new(
                FailureClass::Other("too-long".to_owned()),
                format!("a text of {} bytes; {TEXT_MAX} can be matched", text.len()),
            ));
        }
        let captures = regex.captures(text).map(|captures| {
            captures.iter().map(|group| group.map(|group| group.as_str().to_owned())).collect()
        });
        Ok(captures)
    }
}

impl Host for Call {
    async fn captures(
        &mut self,
        pattern: String,
        text: String,
    ) -> wasmtime::Result<Result<Option<Vec<Option<String>>>, types::Failure>> {
        let _entered = self.meter.enter(super::error::Part::Host);
        let captures = self.scope.patterns.captures(&pattern, &text);
        Ok(captures.map_err(|failure| failure_to_wit(&self.noting(failure))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = r"^v?(?<version>\d+(\.\d+)*)(-rc)?";

    #[test]
    fn groups_of_the_first_match() {
        let patterns = Patterns::compile(&[VERSION.to_owned()]).expect("a valid pattern");
        for (text, expected) in
            [("v3.12", Some(vec![Some("v3.12"), Some("3.12"), Some(".12"), None])), ("x", None), ("", None)]
        {
            let found = patterns.captures(VERSION, text).expect("declared");
            let expected: Option<Vec<Option<String>>> =
                expected.map(|groups| groups.into_iter().map(|group| group.map(str::to_owned)).collect());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn only_what_is_declared() {
        let patterns = Patterns::compile(&[VERSION.to_owned()]).expect("a valid pattern");
        let failure = patterns.captures(".*", "x").expect_err("not declared");
        assert_eq!(failure.class, FailureClass::Denied);
        let failure = patterns.captures(VERSION, &"x".repeat(TEXT_MAX + 1)).expect_err("too long");
        assert_eq!(failure.class, FailureClass::Other("too-long".to_owned()));
    }

    #[test]
    fn patterns_that_are_refused() {
        for bad in ["(", r"(?=x)", r"(a)\1", "(?:a{1000}){1000}"] {
            let error = Patterns::compile(&[bad.to_owned()]).expect_err(bad);
            assert!(matches!(error, Cause::InvalidPattern { ref pattern, .. } if pattern == bad), "{error}");
        }
    }
}
