//! Which npm installs packages for an installation. npm is JavaScript, so the selected Node.js runs it,
//! and it has to be one that this Node.js can run.

use attune_plugin::Machine;
use attune_plugin::failure::missing_capability;
use attune_plugin::machine::folder;
use attune_plugin::types::Failure;
use semver::{Version, VersionReq};
use serde_json::Value;

/// npm's script, relative to the folder that its package is in.
const SCRIPT: &str = "npm/bin/npm-cli.js";
/// Where packages are, relative to an installation's prefix.
const PACKAGES: [&str; 2] = ["lib/node_modules", "share/nodejs"];
/// The most of a `package.json` that is read.
const MANIFEST_MAX: u32 = 256 * 1024;

/// An npm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Npm {
    /// Absolute path of its script.
    pub path: String,
    /// Its own version.
    pub version: String,
}

/// The npm beside the Node.js at `node`, or else any other that its version can run.
pub fn choose(machine: &impl Machine, node: &str, node_version: &str) -> Result<Npm, Failure> {
    let prefix = folder(folder(node));
    let beside =
        PACKAGES.iter().map(|packages| format!("{}/{packages}/{SCRIPT}", prefix.trim_end_matches('/')));
    let elsewhere = machine.find(&["npm".to_owned()]);
    let elsewhere = elsewhere
        .into_iter()
        .filter_map(|found| Some(found.outcome.ok()?.path))
        .filter(|path| path.ends_with(SCRIPT));
    let mut unfit: Vec<String> = Vec::new();
    for path in beside.chain(elsewhere) {
        let Some((npm, engines)) = inspect(machine, path) else { continue };
        match engines {
            Some(engines) if !satisfies(node_version, &engines) => {
                unfit.push(format!("npm {} (`{}`) needs Node.js {engines}", npm.version, npm.path));
            }
            Some(_) | None => return Ok(npm),
        }
    }
    let message = if unfit.is_empty() {
        format!("no npm was found for `{node}`: install the one that comes with Node.js {node_version}")
    } else {
        unfit.dedup();
        format!("no npm that Node.js {node_version} can run: {}", unfit.join("; "))
    };
    Err(missing_capability("npm", message))
}

/// The npm whose script is at `path`, and the versions of Node.js that it wants.
fn inspect(machine: &impl Machine, path: String) -> Option<(Npm, Option<String>)> {
    machine.stat(&path).ok()?;
    let manifest = format!("{}/package.json", folder(folder(&path)));
    let manifest: Value = serde_json::from_slice(&machine.read(&manifest, MANIFEST_MAX).ok()?).ok()?;
    let version = manifest.get("version")?.as_str()?.to_owned();
    let engines = manifest.pointer("/engines/node").and_then(Value::as_str).map(str::to_owned);
    Some((Npm { path, version }, engines))
}

/// Whether `version` is in an npm range such as `^20.17.0 || >=22.9.0`. A range that can't be read
/// excludes nothing: it is npm's to refuse.
fn satisfies(version: &str, range: &str) -> bool {
    let Ok(version) = Version::parse(version) else { return true };
    range.split("||").any(|alternative| {
        let comparators = alternative.split_whitespace().collect::<Vec<_>>().join(",");
        VersionReq::parse(&comparators).map_or(true, |range| range.matches(&version))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_real_releases() {
        for (range, version, expected) in [
            ("^20.17.0 || >=22.9.0", "20.20.2", true),
            ("^20.17.0 || >=22.9.0", "18.20.8", false),
            ("^20.17.0 || >=22.9.0", "22.8.0", false),
            ("^20.17.0 || >=22.9.0", "24.1.0", true),
            ("^12.13.0 || ^14.15.0 || >=16", "16.0.0", true),
            ("6 >=6.2.0 || 8 || >=9.3.0", "8.17.0", true),
            ("6 >=6.2.0 || 8 || >=9.3.0", "6.1.0", false),
            (">=4", "20.0.0", true),
            ("anything at all", "20.0.0", true),
        ] {
            assert_eq!(satisfies(version, range), expected, "{version} in {range}");
        }
    }
}
