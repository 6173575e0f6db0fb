//! What is known of an installation: by its file `release`, and by what its virtual machine says when it is started.

use attune_plugin::Machine;
use attune_plugin::failure::{failure, with_excerpt};
use attune_plugin::machine::folder;
use attune_plugin::tools::Completion;
use attune_plugin::types::{Failure, FailureClass, Version};
use attune_plugin::version;

/// The file, relative to an installation's folder.
const FILE: &str = "release";
/// The most of it that is read.
const FILE_MAX: u32 = 64 * 1024;

/// Has a virtual machine start, and say what it is. Every Java since 7 knows this.
pub const QUESTION: [&str; 2] = ["-XshowSettings:properties", "-version"];

/// What is known of an installation.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its version.
    pub version: Version,
    /// Who built it.
    pub vendor: Option<String>,
    /// The processor that it is for, as its own file or itself calls it.
    pub arch: Option<String>,
    /// The virtual machine, if it is said.
    pub machine: Option<String>,
    /// Its own folder, as it says itself.
    pub home: Option<String>,
}

/// What the file of the installation at `program` says, if there is one that says a version.
///
/// Java 8 has its program in `jre/bin` as well, with the file in the folder above.
pub fn read(machine: &impl Machine, program: &str) -> Option<Facts> {
    let home = folder(folder(program));
    let above = home.strip_suffix("/jre");
    std::iter::once(home).chain(above).find_map(|home| {
        let contents = machine.read(&format!("{home}/{FILE}"), FILE_MAX).ok()?;
        of_file(&String::from_utf8_lossy(&contents))
    })
}

fn of_file(text: &str) -> Option<Facts> {
    let value = |wanted: &str| {
        let (_, value) =
            text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| *key == wanted)?;
        let value = value.trim().trim_matches('"');
        (!value.is_empty()).then(|| value.to_owned())
    };
    let version = value("JAVA_VERSION")?;
    Some(Facts {
        version: complete(&version, value("JAVA_RUNTIME_VERSION").as_deref())?,
        vendor: value("IMPLEMENTOR"),
        arch: value("OS_ARCH"),
        machine: value("JVM_VARIANT"),
        home: None,
    })
}

/// What a virtual machine says of itself.
pub fn of_settings(completion: &Completion) -> Result<Facts, Failure> {
    let mut text = String::from_utf8_lossy(&completion.stderr).into_owned();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&completion.stdout));
    let value = |wanted: &str| {
        let (_, value) =
            text.lines().filter_map(|line| line.trim().split_once(" = ")).find(|(key, _)| *key == wanted)?;
        Some(value.trim().to_owned())
    };
    let version = value("java.version")
        .and_then(|version| complete(&version, value("java.runtime.version").as_deref()));
    let Some(version) = version else {
        let message = with_excerpt("did not say which Java it is".to_owned(), completion);
        return Err(failure(FailureClass::UnparsableOutput, message));
    };
    Ok(Facts {
        version,
        vendor: value("java.vendor"),
        arch: value("os.arch"),
        machine: value("java.vm.name"),
        home: value("java.home"),
    })
}

/// The version with its prerelease and its build, which only the longer text has: `17.0.15` and
/// `17.0.15+6-Debian-1deb12u1` are `17.0.15+6`. What builders append after that is no part of it.
fn complete(short: &str, long: Option<&str>) -> Option<Version> {
    let rest = long.and_then(|long| long.strip_prefix(short)).unwrap_or_default();
    let early = if rest.starts_with("-ea") { "-ea" } else { "" };
    let digits: String = rest[early.len()..]
        .strip_prefix('+')
        .map(|build| build.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default();
    let build = if digits.is_empty() { String::new() } else { format!("+{digits}") };
    version::read(&format!("{short}{early}{build}"))
}

#[cfg(test)]
mod tests {
    use attune_plugin::tools::ExitStatus;

    use super::*;

    #[test]
    fn versions_of_both_texts() {
        for (short, long, semver) in [
            ("17.0.15", Some("17.0.15+6-Debian-1deb12u1"), Some("17.0.15+6")),
            ("25.0.3", Some("25.0.3+9-LTS"), Some("25.0.3+9")),
            ("21", Some("21+35-2513"), Some("21.0.0+35")),
            ("22", Some("22-ea+20-1594"), Some("22.0.0-ea+20")),
            ("22-ea", Some("22-ea+20-1594"), Some("22.0.0-ea+20")),
            ("11.0.9.1", Some("11.0.9.1+1-LTS"), Some("11.0.9+1.1")),
            ("1.8.0_392", Some("1.8.0_392-b08"), Some("8.0.392")),
            ("1.8.0_392", None, Some("8.0.392")),
            ("17.0.9", Some("something else"), Some("17.0.9")),
            ("unknown", None, None),
        ] {
            let version = complete(short, long).map(|version| version.semver);
            assert_eq!(version.as_deref(), semver, "{short} {long:?}");
        }
    }

    #[test]
    fn a_file() {
        let facts = of_file(
            "IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_RUNTIME_VERSION=\"25.0.3+9-LTS\"\nJAVA_VERSION=\"25.0.3\"\n\
             OS_ARCH=\"x86_64\"\nSOURCE=\"\"\nJVM_VARIANT=\"Hotspot\"\n",
        );
        let facts = facts.expect("facts");
        assert_eq!(
            (facts.version.semver.as_str(), facts.vendor.as_deref()),
            ("25.0.3+9", Some("Eclipse Adoptium"))
        );
        assert_eq!((facts.arch.as_deref(), facts.machine.as_deref()), (Some("x86_64"), Some("Hotspot")));
        assert!(of_file("ID=debian\nVERSION_ID=\"12\"\n").is_none());
    }

    #[test]
    fn what_a_machine_says() {
        let completion = |stderr: &str| Completion {
            status: ExitStatus::Exited(0),
            stdout: Vec::new(),
            stderr: stderr.into(),
            truncated: false,
            extra: Vec::new(),
        };
        let said = "Picked up JAVA_TOOL_OPTIONS: -Da.b = c\nProperty settings:\n    java.home = /j\n    \
                    java.runtime.version = 17.0.15+6-Debian-1deb12u1\n    java.vendor = Debian\n    \
                    java.version = 17.0.15\n    line.separator = \\n \n\nopenjdk version \"17.0.15\"\n";
        let facts = of_settings(&completion(said)).expect("facts");
        assert_eq!((facts.version.semver.as_str(), facts.home.as_deref()), ("17.0.15+6", Some("/j")));
        let failure = of_settings(&completion("Error: could not find libjava.so")).expect_err("none");
        assert!(failure.message.contains("libjava.so"), "{failure:?}");
    }
}
