//! Paths that YAML names: files of the pack, files of an environment, folders of the machine.

use globset::Glob;

use super::bundle::Bundle;
use super::decode;
use super::problem::{Report, nearest};
use super::yaml::Element;

/// A path that stays beneath the folder it is relative to.
pub(crate) fn relative(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let path = decode::nonempty(element, report)?;
    let path = path.strip_prefix("./").unwrap_or(&path);
    let fault = if path.starts_with('/') || path.starts_with('~') {
        "is absolute"
    } else if path.split('/').any(|name| name == "..") {
        "leads out of its folder"
    } else if path.contains('\\') || path.chars().any(char::is_control) {
        "has characters that paths of a pack can't have"
    } else if path.split('/').any(|name| name.is_empty() || name == ".") {
        "has an empty name or a `.` in it"
    } else {
        return Some(path.to_owned());
    };
    report.add(
        &element.span,
        format!("`{path}` {fault}"),
        "write a path like `folder/file`, relative, with `/` between names and without `..`",
    );
    None
}

/// A relative path with `*`, `?`, `[a-z]`.
pub(crate) fn relative_glob(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let glob = relative(element, report)?;
    check_glob(&glob, element, report).then_some(glob)
}

/// The name of a program, without a folder; patterns as in [`relative_glob`] if `globs`.
pub(crate) fn program_name(globs: bool) -> impl Fn(&Element, &mut Report<'_>) -> Option<String> {
    move |element, report| {
        let name = decode::nonempty(element, report)?;
        if name.contains('/') {
            report.add(
                &element.span,
                format!("`{name}` is a path, and a program is named without its folder"),
                "write the name alone, and the folder under `plugin.grants.search`",
            );
            return None;
        }
        (!globs || check_glob(&name, element, report)).then_some(name)
    }
}

fn check_glob(glob: &str, element: &Element, report: &mut Report<'_>) -> bool {
    let Err(error) = Glob::new(glob) else { return true };
    report.add(
        &element.span,
        format!("`{glob}` is not a pattern of names: {}", error.kind()),
        "use `*`, `?` and `[a-z]`",
    );
    false
}

/// A folder of the machine, for grants: absolute, in the home folder, or in one that a variable names.
pub(crate) fn granted_folder(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let folder = decode::nonempty(element, report)?;
    let rooted = folder.starts_with('/')
        || folder == "~"
        || folder.starts_with("~/")
        || folder.starts_with("${") && folder.contains('}');
    if !rooted {
        report.add(
            &element.span,
            format!("`{folder}` does not say where it starts"),
            "start with `/`, `~/` or `${VARIABLE:-default}`",
        );
        return None;
    }
    if folder.split('/').any(|name| name == "..") {
        report.add(&element.span, format!("`{folder}` has a `..` in it"), "write the folder that is meant");
        return None;
    }
    check_glob(&folder.replace("${", "").replace('}', ""), element, report).then_some(folder)
}

/// A file that has to be in the pack.
pub(crate) fn pack_file(element: &Element, bundle: &Bundle, report: &mut Report<'_>) -> Option<String> {
    let path = relative(element, report)?;
    // What can't be in a pack has been said to be wrong already.
    if bundle.get(&path).is_some() || bundle.is_unfit(&path) {
        return Some(path);
    }
    if bundle.has_folder(&path) {
        report.add(
            &element.span,
            format!("`{path}` is a folder"),
            "name the file in it that is to be started",
        );
        return None;
    }
    // Written relative to the YAML file, or with a typing mistake.
    let beside = report.source().path.rsplit_once('/').map(|(folder, _)| format!("{folder}/{path}"));
    let help = match beside.filter(|beside| bundle.get(beside).is_some()) {
        Some(beside) => format!("write `{beside}`: paths are relative to the pack"),
        None => match nearest(&path, bundle.iter().map(|(path, _)| path)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "add the file, or correct the path, which is relative to the pack".to_owned(),
        },
    };
    report.add(&element.span, format!("there is no file `{path}` in the pack"), help);
    None
}
