//! Requirements files, as far as a plan has to understand them: what they include, and whether they
//! ask for anything. The installer reads them in earnest.

use attune_plugin::failure::invalid_declaration;
use attune_plugin::types::Failure;

/// Options that name another file.
const INCLUDES: [&str; 4] = ["--requirement", "--constraint", "-r", "-c"];

/// How many packages the file `name` of `files` asks for, includes too. A file that is included and is
/// not among `files` is an error, and so is whatever the environment's folder would not have.
pub(super) fn count(files: &[(&str, &[u8])], name: &str) -> Result<usize, Failure> {
    let mut seen = Vec::new();
    count_in(files, name, &mut seen)
}

fn count_in(files: &[(&str, &[u8])], name: &str, seen: &mut Vec<String>) -> Result<usize, Failure> {
    if seen.iter().any(|other| other == name) {
        return Ok(0);
    }
    seen.push(name.to_owned());
    let contents = files.iter().find(|(other, _)| *other == name).map_or(&b""[..], |(_, contents)| contents);
    let text = String::from_utf8_lossy(contents);
    let mut count = 0;
    for (number, line) in logical_lines(text.trim_start_matches('\u{feff}')) {
        let at = |message: String| invalid_declaration(format!("{name}:{number}: {message}"));
        if let Some((constraint, included)) = include(&line) {
            let path = resolve(name, included)
                .ok_or_else(|| at(format!("`{included}` has to lie in the folder of the manifest")))?;
            if !files.iter().any(|(other, _)| *other == path) {
                return Err(at(format!(
                    "includes `{included}`, which is not there, or not among `dependencies.manifests` of the runtime"
                )));
            }
            let included = count_in(files, &path, seen)?;
            count += if constraint { 0 } else { included };
        } else if let Some(path) = local_path(&line) {
            return Err(at(format!("`{path}` is a path: packages come from an index or by a URL")));
        } else if !line.starts_with('-') || line.starts_with("-e") || line.starts_with("--editable") {
            count += 1;
        }
    }
    Ok(count)
}

/// Lines without comments, continued ones joined, with the number of their first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (number, mut joined) = pending.take().unwrap_or((index + 1, String::new()));
        if let Some(continued) = line.strip_suffix('\\').filter(|line| !line.trim_start().starts_with('#')) {
            joined.push_str(continued);
            pending = Some((number, joined));
            continue;
        }
        joined.push_str(line);
        lines.push((number, joined));
    }
    lines.extend(pending);
    lines.retain_mut(|(_, line)| {
        *line = without_comment(line).trim().to_owned();
        !line.is_empty()
    });
    lines
}

/// A `#` begins a comment at the start of a line or after a space; in a URL it does not.
fn without_comment(line: &str) -> &str {
    let starts = |(index, _): &(usize, &str)| *index == 0 || line[..*index].ends_with(char::is_whitespace);
    line.match_indices('#').find(starts).map_or(line, |(index, _)| &line[..index])
}

/// The file that a line includes, and whether it is for constraints only.
fn include(line: &str) -> Option<(bool, &str)> {
    let option = INCLUDES.into_iter().find(|option| line.starts_with(option))?;
    let rest = &line[option.len()..];
    let separated = rest.starts_with(char::is_whitespace) || rest.starts_with('=');
    if option.starts_with("--") && !separated {
        return None;
    }
    Some((option.ends_with("-c") || option == "--constraint", rest.trim_start_matches('=').trim()))
}

/// Where an included file is, relative to the manifests' folder.
fn resolve(including: &str, included: &str) -> Option<String> {
    if included.is_empty() || included.starts_with('/') || included.contains("://") {
        return None;
    }
    let mut parts: Vec<&str> = including.split('/').collect();
    parts.pop();
    for part in included.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// What a requirement names by path, if it does.
fn local_path(line: &str) -> Option<&str> {
    let target = ["--editable=", "--editable ", "-e "]
        .into_iter()
        .find_map(|option| line.strip_prefix(option))
        .map_or(line, str::trim);
    let by_path = target.starts_with(['.', '/']) || target.starts_with("file:") || target.contains("@ file:");
    (by_path || (target.len() < line.len() && !target.contains("://"))).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Result<usize, &str>) {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        match (count(&files, "requirements.txt"), expected) {
            (Ok(count), Ok(expected)) => assert_eq!(count, expected),
            (Err(failure), Err(start)) => {
                assert!(failure.message.starts_with(start), "{}", failure.message);
            }
            (count, expected) => panic!("{count:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn requirements() {
        check(&[("requirements.txt", "")], Ok(0));
        check(&[("requirements.txt", "# nothing\n\n--index-url https://x/#y\n")], Ok(0));
        check(&[("requirements.txt", "\u{feff}six==1.16 # why\nidna>=3\r\n")], Ok(2));
        check(&[("requirements.txt", "a @ https://x/a.whl#sha256=0\nb \\\n  --hash=sha256:0\n")], Ok(2));
        check(&[("requirements.txt", "-e git+https://x/y#egg=z")], Ok(1));
    }

    #[test]
    fn includes() {
        let base = ("requirements/base.txt", "six\n-c constraints.txt\n-r ../requirements.txt");
        let constraints = ("requirements/constraints.txt", "six<2\nidna<4");
        for line in
            ["-r requirements/base.txt", "-rrequirements/base.txt", "--requirement=./requirements/base.txt"]
        {
            check(&[("requirements.txt", line), base, constraints], Ok(1));
        }
        check(&[("requirements.txt", "six\n-r other.txt")], Err("requirements.txt:2: includes `other.txt`"));
        check(&[("requirements.txt", "-r requirements/base.txt"), base], Err("requirements/base.txt:2: "));
        check(&[("requirements.txt", "-c ../x.txt")], Err("requirements.txt:1: `../x.txt` has to lie"));
        check(&[("requirements.txt", "-r https://x/y.txt")], Err("requirements.txt:1: `https"));
    }

    #[test]
    fn paths_are_no_requirements() {
        for path in ["./lib", "../lib", "/lib", "-e .", "-e lib", "a @ file:///a.whl", "file:a.whl"] {
            check(&[("requirements.txt", path)], Err("requirements.txt:1: "));
        }
    }
}
