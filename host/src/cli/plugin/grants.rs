//! Grants as items that can be compared.

use crate::pack::Grants;

/// One thing that a component asks to be allowed: what to do, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub verb: &'static str,
    pub object: String,
}

impl std::fmt::Display for Item {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.verb, self.object)
    }
}

/// Everything that grants allow, in the order in which it is shown.
pub(super) fn items(grants: &Grants) -> Vec<Item> {
    let folders = grants.search.iter().flat_map(|root| &root.folders).cloned().collect::<Vec<_>>();
    let network = grants.network.then(|| "the network when it builds environments".to_owned());
    let kinds = [
        ("run", grants.tools.clone()),
        ("look in", folders),
        ("read", grants.read.clone()),
        ("see", grants.variables.clone()),
        ("use", network.into_iter().collect()),
    ];
    let items = |(verb, objects): (&'static str, Vec<String>)| {
        objects.into_iter().map(move |object| Item { verb, object })
    };
    kinds.into_iter().flat_map(items).collect()
}

/// Those of `items` that are not among the others.
pub(super) fn without(items: &[Item], others: &[Item]) -> Vec<Item> {
    items.iter().filter(|item| !others.contains(item)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::SearchRoot;

    #[test]
    fn what_is_asked_beyond_what_is_approved() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let root = |folders| SearchRoot { source: "here".to_owned(), folders: texts(folders) };
        let approved = Grants {
            tools: texts(&["a"]),
            search: vec![root(&["/bin"])],
            read: texts(&["/etc"]),
            ..Grants::default()
        };
        let asked = Grants {
            tools: texts(&["a", "b"]),
            search: vec![root(&["/bin", "/opt"])],
            variables: texts(&["A_ROOT"]),
            network: true,
            ..approved.clone()
        };
        let more = without(&items(&asked), &items(&approved));
        assert_eq!(
            more.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["run b", "look in /opt", "see A_ROOT", "use the network when it builds environments"]
        );
        assert_eq!(without(&items(&approved), &items(&asked)), []);
    }
}
