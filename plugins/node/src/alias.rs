//! Words that stand for constraints: `lts`, `lts/iron`, `latest`, `current`.

use attune_plugin::detection::Alias;
use attune_plugin::types::DeclaredVersion;

/// Every alias that the declared versions allow; `lts` is the highest that has a code name.
#[must_use]
pub fn aliases(versions: &[DeclaredVersion]) -> Vec<Alias> {
    let alias = |name: String, constraint: &str| Alias { name, constraint: constraint.to_owned() };
    let mut all = vec![alias("latest".to_owned(), "*"), alias("current".to_owned(), "*")];
    let mut supported: Vec<(Vec<u64>, &str, &str)> = versions
        .iter()
        .filter_map(|version| {
            let (_, name) = version.meta.iter().find(|(key, _)| key == "lts")?;
            let numbers: Option<Vec<u64>> =
                version.version.trim_start_matches('v').split('.').map(|part| part.parse().ok()).collect();
            Some((numbers?, version.version.as_str(), name.as_str()))
        })
        .collect();
    supported.sort();
    all.extend(supported.last().map(|(_, version, _)| alias("lts".to_owned(), version)));
    all.extend(
        supported.iter().map(|(_, version, name)| alias(format!("lts/{}", name.to_lowercase()), version)),
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(version: &str, lts: Option<&str>) -> DeclaredVersion {
        let meta = lts.map(|name| ("lts".to_owned(), name.to_owned())).into_iter().collect();
        DeclaredVersion { version: version.to_owned(), is_default: false, meta }
    }

    #[test]
    fn what_is_declared_decides() {
        #[track_caller]
        fn check(versions: &[DeclaredVersion], expected: &[(&str, &str)]) {
            let aliases = aliases(versions);
            let pairs: Vec<(&str, &str)> =
                aliases.iter().map(|alias| (alias.name.as_str(), alias.constraint.as_str())).collect();
            assert_eq!(pairs, expected);
        }
        let always = [("latest", "*"), ("current", "*")];
        check(&[], &always);
        check(&[declared("23", None), declared("next", Some("no"))], &always);
        check(
            &[declared("22", Some("Jod")), declared("9", Some("old")), declared("23", None)],
            &[always[0], always[1], ("lts", "22"), ("lts/old", "9"), ("lts/jod", "22")],
        );
    }
}
