//! What a toolchain is asked about itself, and how its answer is read.

use attune_plugin::failure::{failure, unexpected_exit, with_excerpt};
use attune_plugin::interpreter::Report;
use attune_plugin::tools::Completion;
use attune_plugin::types::{Failure, FailureClass};
use attune_plugin::version;

/// What is asked, in the order of the answers; each is a line of its own.
const ASKED: [&str; 5] = ["GOROOT", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED"];

/// Asks who it is.
#[must_use]
pub fn identity() -> Vec<String> {
    ["env"].iter().chain(&ASKED).map(|&word| word.to_owned()).collect()
}

/// Reads what a toolchain says about itself.
pub fn report(completion: &Completion) -> Result<Report, Failure> {
    if let Some(failure) = unexpected_exit(completion, 0) {
        return Err(failure);
    }
    let text = String::from_utf8_lossy(&completion.stdout);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let &[root, reported, os, arch, cgo] = lines.as_slice() else {
        let message = with_excerpt("did not answer as Go does".to_owned(), completion);
        return Err(failure(FailureClass::UnparsableOutput, message));
    };
    // What follows are experiments that it was built with.
    let native = reported.split_whitespace().next().unwrap_or_default();
    let version = version::read(native).filter(|_| native.starts_with("go")).ok_or_else(|| {
        failure(FailureClass::UnparsableOutput, format!("reports the version `{reported}`"))
    })?;
    let attribute = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Report {
        executable: format!("{root}/bin/go"),
        version: (version.semver, version.native, version.variant),
        environment_of: None,
        attributes: vec![
            attribute("root", root),
            attribute("os", os),
            attribute("arch", arch),
            attribute("cgo", cgo),
        ],
    })
}

#[cfg(test)]
mod tests {
    use attune_plugin::tools::ExitStatus;

    use super::*;

    #[track_caller]
    fn check(stdout: &str, expected: Result<&str, &str>) {
        let completion = Completion {
            status: ExitStatus::Exited(0),
            stdout: stdout.into(),
            stderr: Vec::new(),
            truncated: false,
            extra: Vec::new(),
        };
        match (report(&completion), expected) {
            (Ok(report), Ok(semver)) => {
                assert_eq!((report.version.0.as_str(), report.executable.as_str()), (semver, "/r/bin/go"));
            }
            (Err(failure), Err(words)) => assert!(failure.message.contains(words), "{failure:?}"),
            (report, expected) => panic!("{report:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn answers() {
        check("/r\ngo1.19.8\nlinux\namd64\n1\n", Ok("1.19.8"));
        check("/r\ngo1.25\nlinux\namd64\n0\n", Ok("1.25.0"));
        check("/r\ngo1.21rc2\nlinux\namd64\n1\n", Ok("1.21.0-rc.2"));
        check("/r\ngo1.24.1 X:boringcrypto\nlinux\narm64\n1\n", Ok("1.24.1"));
        check("/r\ndevel go1.26-0a1b2c3 Mon Jan 5\nlinux\namd64\n1\n", Err("`devel go1.26"));
        check("", Err("as Go does"));
        check("/r\n\nlinux\namd64\n1\n", Err("reports the version ``"));
    }
}
