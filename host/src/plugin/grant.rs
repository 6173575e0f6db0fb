//! What a component may ask for, as data with pure answers. Where folders really are is `roots`' business.

use std::collections::BTreeSet;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::Cause;
use crate::pack::{Grants, SearchRoot};
use crate::variable;

/// Grants, checked and compiled.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    tools: NamePatterns,
    only_tools: Vec<NamePatterns>,
    deny_tools: NamePatterns,
    variables: BTreeSet<String>,
    pub(crate) search: Vec<SearchRoot>,
    pub(crate) read: Vec<String>,
}

impl Granted {
    /// Checks what the YAML grants.
    pub(crate) fn compile(grants: &Grants) -> Result<Self, Cause> {
        let mut variables = BTreeSet::new();
        for name in &grants.variables {
            let invalid =
                |reason: &str| Cause::InvalidGrant { grant: name.clone(), reason: reason.to_owned() };
            if !variable::is_name(name) {
                return Err(invalid("use letters, digits and `_`, not starting with a digit"));
            }
            if variable::steers_programs(name) {
                return Err(invalid("this variable steers how programs are found or loaded"));
            }
            variables.insert(name.clone());
        }
        let patterns = |patterns: &Vec<String>| {
            NamePatterns::compile(patterns).map_err(|(grant, reason)| Cause::InvalidGrant { grant, reason })
        };
        Ok(Self {
            tools: patterns(&grants.tools)?,
            only_tools: grants.only_tools.iter().map(patterns).collect::<Result<_, _>>()?,
            deny_tools: patterns(&grants.deny_tools)?,
            variables,
            search: grants.search.clone(),
            read: grants.read.clone(),
        })
    }

    /// Whether a program of this file name may be found and run.
    pub(crate) fn allows_tool(&self, name: &str) -> bool {
        self.tools.matches(name)
            && self.only_tools.iter().all(|only| only.matches(name))
            && !self.deny_tools.matches(name)
    }

    /// Whether a program of this file name was approved, and the operator's settings withhold it.
    pub(crate) fn withholds_tool(&self, name: &str) -> bool {
        self.tools.matches(name) && !self.allows_tool(name)
    }

    /// Whether this variable may be seen, and set for a program.
    pub(crate) fn allows_variable(&self, name: &str) -> bool {
        self.variables.contains(name)
    }
}

/// Patterns for file names: `*`, `?`, `[a-z]`.
#[derive(Clone, Debug)]
pub(crate) struct NamePatterns(GlobSet);

impl NamePatterns {
    /// Compiles all of them, or says which one is wrong and why.
    pub(crate) fn compile(patterns: &[String]) -> Result<Self, (String, String)> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(name_glob(pattern).map_err(|reason| (pattern.clone(), reason))?);
        }
        set.build().map(Self).map_err(|error| (patterns.join(", "), error.to_string()))
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        !name.is_empty() && !name.contains('/') && self.0.is_match(name)
    }
}

fn name_glob(pattern: &str) -> Result<Glob, String> {
    if pattern.is_empty() || pattern.len() > 255 {
        return Err("a name has 1 to 255 bytes".to_owned());
    }
    if pattern.contains('/') {
        return Err("a name has no `/`; folders belong under `search`".to_owned());
    }
    // `{a,b}` would be a second way to write a list, and `**` means nothing within a name.
    if pattern.contains(['{', '}']) || pattern.contains("**") {
        return Err("only `*`, `?` and `[a-z]` have a meaning".to_owned());
    }
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(false)
        .build()
        .map_err(|error| error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn granted(tools: &[&str], variables: &[&str]) -> Result<Granted, Cause> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Granted::compile(&Grants { tools: owned(tools), variables: owned(variables), ..Grants::default() })
    }

    fn check(patterns: &[&str], name: &str, allowed: bool) {
        let granted = granted(patterns, &[]).expect("valid patterns");
        assert_eq!(granted.allows_tool(name), allowed, "{patterns:?} {name}");
    }

    #[test]
    fn tools() {
        for (patterns, name, allowed) in [
            (&[][..], "tool3", false),
            (&["tool3"], "tool3", true),
            (&["tool3"], "tool", false),
            (&["tool3"], "tool3.12", false),
            (&["tool*"], "tool3.12", true),
            (&["tool[0-9]"], "tool3", true),
            (&["tool[0-9]"], "tools", false),
            (&["tool3.?"], "tool3.9", true),
            (&["tool3.?"], "tool3x9", false),
            (&["*"], "anything", true),
            (&["*"], "", false),
            (&["*"], "a/b", false),
            (&["*"], "../sh", false),
            (&["tool3"], "/usr/bin/tool3", false),
            (&["box", "tool*"], "box", true),
            (&["box", "tool*"], "boxx", false),
        ] {
            check(patterns, name, allowed);
        }
    }

    #[test]
    fn tools_that_settings_leave() {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let granted = Granted::compile(&Grants {
            tools: owned(&["tool*", "box"]),
            only_tools: vec![owned(&["tool3*", "box"]), owned(&["*"])],
            deny_tools: owned(&["*-config"]),
            ..Grants::default()
        });
        let granted = granted.expect("valid patterns");
        for (name, allowed) in
            [("tool3.12", true), ("box", true), ("tool2", false), ("tool3-config", false), ("sh", false)]
        {
            assert_eq!(granted.allows_tool(name), allowed, "{name}");
            assert_eq!(granted.withholds_tool(name), !allowed && name != "sh", "{name}");
        }
    }

    #[test]
    fn tool_patterns_that_are_refused() {
        for bad in ["", "a/b", "/bin/sh", "[", "a{b,c}", "a**b", &"x".repeat(256)] {
            let error = granted(&[bad], &[]).expect_err(bad);
            assert!(matches!(error, Cause::InvalidGrant { ref grant, .. } if grant == bad), "{error}");
        }
    }

    #[test]
    fn variables() {
        let granted = granted(&[], &["TOOLS_ROOT", "_x"]).expect("valid names");
        for (name, allowed) in
            [("TOOLS_ROOT", true), ("_x", true), ("tools_root", false), ("HOME", false), ("PATH", false)]
        {
            assert_eq!(granted.allows_variable(name), allowed, "{name}");
        }
    }

    #[test]
    fn variables_that_no_grant_covers() {
        for bad in ["PATH", "LD_PRELOAD", "LD_", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "GLIBC_TUNABLES"] {
            assert!(matches!(granted(&[], &[bad]), Err(Cause::InvalidGrant { .. })), "{bad}");
        }
        for bad in ["", "A=B", "1A", "A B", "Ä", "*"] {
            assert!(matches!(granted(&[], &[bad]), Err(Cause::InvalidGrant { .. })), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_name_with_a_slash_is_ever_allowed(name in ".*/.*", pattern in "[a-z*?.]{1,8}") {
            if let Ok(granted) = granted(&[&pattern], &[]) {
                prop_assert!(!granted.allows_tool(&name));
            }
        }
    }
}
