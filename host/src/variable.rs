//! Names of environment variables: which there are, and which no grant covers.

/// Names that steer how a program is found, loaded or interpreted before it reads its arguments. No
/// grant covers them: with any of these, what runs is not what was granted.
const NEVER: &[&str] = &[
    "PATH",
    "IFS",
    "ENV",
    "BASH_ENV",
    "BASHOPTS",
    "SHELLOPTS",
    "PS4",
    "CDPATH",
    "GLOBIGNORE",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "NIS_PATH",
    "NLSPATH",
    "RES_OPTIONS",
    "RESOLV_HOST_CONF",
    "TZDIR",
];

/// Prefixes of such names.
const NEVER_PREFIXES: &[&str] = &["LD_", "DYLD_", "MALLOC_", "BASH_FUNC_"];

/// Whether every shell and every system takes the name.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a variable of this name would change which program runs, rather than what it does.
pub(crate) fn steers_programs(name: &str) -> bool {
    NEVER.contains(&name) || NEVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, good) in [
            ("A", true),
            ("_a1", true),
            ("", false),
            ("1A", false),
            ("A B", false),
            ("A=B", false),
            ("Ä", false),
        ] {
            assert_eq!(is_name(name), good, "{name:?}");
        }
    }

    #[test]
    fn what_steers_programs() {
        for (name, steers) in [
            ("PATH", true),
            ("LD_PRELOAD", true),
            ("LD_", true),
            ("DYLD_INSERT_LIBRARIES", true),
            ("BASH_ENV", true),
            ("GLIBC_TUNABLES", true),
            ("HOME", false),
            ("LDFLAGS", false),
            ("path", false),
        ] {
            assert_eq!(steers_programs(name), steers, "{name}");
        }
    }
}
