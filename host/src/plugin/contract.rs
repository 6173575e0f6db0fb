//! Which version of the contract a component was built for: the names of its interfaces say it.

use semver::Version;

use super::error::Cause;

/// The version that this host has.
pub const CONTRACT: Version = Version::new(0, 1, 0);

/// What the names of the contract's interfaces begin with.
pub(super) const PACKAGE: &str = "attune:runtime/";

/// The version that the name of an interface says, if it is one of the contract.
pub(super) fn version_of(interface: &str) -> Option<Version> {
    interface.strip_prefix(PACKAGE)?.split_once('@')?.1.parse().ok()
}

/// Whether what is built for a version may be of use here. A later one that is compatible is, as long as it asks for
/// nothing that was added.
fn is_compatible(version: &Version) -> bool {
    let leading = |version: &Version| {
        if version.major == 0 { (0, version.minor) } else { (version.major, 0) }
    };
    leading(version) == leading(&CONTRACT) && version.pre == CONTRACT.pre
}

/// Refuses a component that was built for a contract that this host does not have.
pub(super) fn check<'a>(interfaces: impl IntoIterator<Item = &'a String>) -> Result<(), Cause> {
    let strange = |interface: &String| {
        version_of(interface).filter(|it| !is_compatible(it)).map(|it| unknown(interface, it))
    };
    interfaces.into_iter().find_map(strange).map_or(Ok(()), Err)
}

/// Why an interface can't be provided, if it is because it is of a later version than the host's.
pub(super) fn check_later(interface: &str) -> Result<(), Cause> {
    match version_of(interface) {
        Some(version) if version > CONTRACT => Err(unknown(interface, version)),
        Some(_) | None => Ok(()),
    }
}

fn unknown(interface: &str, version: Version) -> Cause {
    Cause::UnknownContract { interface: interface.to_owned(), version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_contract() {
        let world = include_str!("../../../wit/world.wit");
        assert!(world.contains(&format!("package attune:runtime@{CONTRACT};")), "{CONTRACT}");
    }

    #[test]
    fn what_can_be_known() {
        for (interface, known) in [
            ("attune:runtime/detection@0.1.0", true),
            ("attune:runtime/detection@0.1.7", true),
            ("attune:runtime/detection@0.2.0", false),
            ("attune:runtime/detection@0.1.0-rc.1", false),
            ("attune:runtime/detection@1.0.0", false),
            ("attune:runtime/detection@0.0.1", false),
            ("attune:runtime/detection", true),
            ("wasi:cli/environment@0.3.0", true),
            ("telepathy", true),
        ] {
            assert_eq!(check([&interface.to_owned()]).is_ok(), known, "{interface}");
        }
        assert!(check_later("attune:runtime/log@0.1.1").is_err());
        assert!(check_later("attune:runtime/log@0.1.0").is_ok());
    }
}
