//! The most that runtimes get of what they ask for, as the operator's settings say.

use std::collections::BTreeMap;
use std::path::Path;

use super::Grants;
use crate::reference::PackRef;

/// What runtimes get at most. What is not said is not narrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Tools have to match one of these as well.
    pub tools: Option<Vec<String>>,
    /// Tools that match one of these are never run.
    pub deny_tools: Vec<String>,
    /// Tools are looked for in these folders and below them only, as packs write them.
    pub search: Option<Vec<String>>,
    /// The same for folders that are read.
    pub read: Option<Vec<String>>,
    pub variables: Option<Vec<String>>,
    pub network: Option<bool>,
}

/// The operator's ceilings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// For every runtime.
    pub all: Ceiling,
    /// For the runtimes of a pack, beside that.
    pub packs: BTreeMap<PackRef, Ceiling>,
}

impl Ceilings {
    /// What is left of the grants of a pack's runtime.
    #[must_use]
    pub fn narrow(&self, pack: &PackRef, grants: &Grants) -> Grants {
        let mut left = grants.clone();
        for ceiling in std::iter::once(&self.all).chain(self.packs.get(pack)) {
            ceiling.lower(&mut left);
        }
        left
    }
}

impl Ceiling {
    fn lower(&self, grants: &mut Grants) {
        grants.only_tools.extend(self.tools.clone());
        grants.deny_tools.extend_from_slice(&self.deny_tools);
        if let Some(allowed) = &self.search {
            for root in &mut grants.search {
                root.folders.retain(|folder| is_within(folder, allowed));
            }
            grants.search.retain(|root| !root.folders.is_empty());
        }
        if let Some(allowed) = &self.read {
            grants.read.retain(|folder| is_within(folder, allowed));
        }
        if let Some(allowed) = &self.variables {
            grants.variables.retain(|name| allowed.contains(name));
        }
        grants.network &= self.network.unwrap_or(true);
    }
}

/// Whether a folder is one of these or below one, as they are written: what a pattern leads to is not known here.
fn is_within(folder: &str, allowed: &[String]) -> bool {
    !folder.split('/').any(|part| part == "..")
        && allowed.iter().any(|allowed| Path::new(folder).starts_with(allowed))
}

impl Grants {
    /// What is not in `left`, a line each: what the operator's settings withhold.
    #[must_use]
    pub fn withheld(&self, left: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |what: &str, items: Vec<&String>| {
            if !items.is_empty() {
                let items = items.into_iter().map(String::as_str).collect::<Vec<_>>();
                lines.push(format!("{what} {}", items.join(", ")));
            }
        };
        if !self.tools.is_empty() {
            for only in &left.only_tools {
                match only.as_slice() {
                    [] => line("run", self.tools.iter().collect()),
                    only => line("run anything but", only.iter().collect()),
                }
            }
            line("run", left.deny_tools.iter().collect());
        }
        let folders = |grants: &Self| {
            grants.search.iter().flat_map(|root| root.folders.iter().cloned()).collect::<Vec<_>>()
        };
        line("look in", gone(&folders(self), &folders(left)));
        line("read", gone(&self.read, &left.read));
        line("see", gone(&self.variables, &left.variables));
        if self.network && !left.network {
            lines.push("use the network".to_owned());
        }
        lines
    }
}

/// What is in one list and not in the other.
fn gone<'a>(asked: &'a [String], left: &[String]) -> Vec<&'a String> {
    asked.iter().filter(|item| !left.contains(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::SearchRoot;

    fn owned(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn asked() -> Grants {
        Grants {
            tools: owned(&["tool*", "box"]),
            search: vec![
                SearchRoot { source: "path".to_owned(), folders: owned(&["$PATH"]) },
                SearchRoot { source: "own".to_owned(), folders: owned(&["~/tools/*/bin", "/opt/tools"]) },
            ],
            read: owned(&["/etc/tools", "/etcetera"]),
            variables: owned(&["TOOLS_ROOT", "OTHER"]),
            network: true,
            ..Grants::default()
        }
    }

    fn check(ceiling: Ceiling, withheld: &[&str]) {
        let pack = "tools".parse::<PackRef>().expect("a name");
        let of_all = Ceilings { all: ceiling.clone(), ..Ceilings::default() };
        let of_it = Ceilings { packs: [(pack.clone(), ceiling)].into(), ..Ceilings::default() };
        for ceilings in [of_all, of_it] {
            let left = ceilings.narrow(&pack, &asked());
            assert_eq!(asked().withheld(&left), withheld, "{left:?}");
            assert!(asked().covers(&left), "it is never more: {left:?}");
            assert_eq!(ceilings.narrow(&pack, &Grants::default()).withheld(&left), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_not_said_is_not_narrowed() {
        check(Ceiling::default(), &[]);
        check(
            Ceiling {
                network: Some(true),
                variables: Some(owned(&["TOOLS_ROOT", "OTHER"])),
                ..Ceiling::default()
            },
            &[],
        );
    }

    #[test]
    fn each_is_narrowed_by_itself() {
        let none = Ceiling::default;
        check(Ceiling { network: Some(false), ..none() }, &["use the network"]);
        check(Ceiling { tools: Some(owned(&["tool3", "b*"])), ..none() }, &["run anything but tool3, b*"]);
        check(Ceiling { tools: Some(Vec::new()), ..none() }, &["run tool*, box"]);
        check(Ceiling { deny_tools: owned(&["box"]), ..none() }, &["run box"]);
        check(Ceiling { search: Some(owned(&["~/tools", "/op"])), ..none() }, &["look in $PATH, /opt/tools"]);
        check(Ceiling { read: Some(owned(&["/etc"])), ..none() }, &["read /etcetera"]);
        check(
            Ceiling { read: Some(owned(&["/etc/tools/deeper"])), ..none() },
            &["read /etc/tools, /etcetera"],
        );
        check(Ceiling { variables: Some(owned(&["TOOLS_ROOT"])), ..none() }, &["see OTHER"]);
    }

    #[test]
    fn another_packs_ceiling_is_none_of_its() {
        let other = "others".parse::<PackRef>().expect("a name");
        let pack = "tools".parse::<PackRef>().expect("a name");
        let ceiling = Ceiling { network: Some(false), ..Ceiling::default() };
        let ceilings = Ceilings { packs: [(other, ceiling)].into(), ..Ceilings::default() };
        assert_eq!(ceilings.narrow(&pack, &asked()), asked());
    }
}
