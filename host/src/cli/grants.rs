//! Grants as items that can be compared, and what runtimes ask for as people read it.

use std::fmt::Write as _;

use crate::pack::Grants;
use crate::pack::install::Asked;

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

/// What a runtime's component asks for: first what it was not allowed before.
pub(super) fn asked_text(asked: &Asked) -> String {
    let Asked { runtime, grants, before, withheld, .. } = asked;
    let mut text = format!("{runtime} asks to\n");
    let items = items(grants);
    match before.as_ref().map(self::items) {
        None => list(&mut text, &items),
        Some(before) => {
            list(&mut text, &without(&items, &before));
            let sections = [
                (
                    "and, as approved before, to",
                    items.iter().filter(|item| before.contains(item)).cloned().collect(),
                ),
                ("and no longer to", without(&before, &items)),
            ];
            for (heading, items) in sections {
                if !items.is_empty() {
                    text.extend([heading, "\n"]);
                    list(&mut text, &items);
                }
            }
        }
    }
    for withheld in withheld {
        line(&mut text, "but not", &format!("{withheld} (`[grants]` of the settings)"));
    }
    text
}

/// A line for each thing to do.
fn list(text: &mut String, items: &[Item]) {
    for items in items.chunk_by(|one, other| one.verb == other.verb) {
        let objects = items.iter().map(|item| item.object.as_str()).collect::<Vec<_>>();
        line(text, items[0].verb, &objects.join(", "));
    }
}

fn line(text: &mut String, what: &str, objects: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "  {what:<14}{objects}");
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
