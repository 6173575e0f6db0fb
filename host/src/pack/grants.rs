//! `plugin`: the component of a runtime, and what it asks to be allowed.

use super::decode::{Fields, boolean, list, nonempty, pairs};
use super::place::{granted_folder, program_name};
use super::problem::{Report, alternatives, nearest};
use super::runtime::Surroundings;
use super::variable;
use super::yaml::Element;
use super::{Grants, PluginDeclaration, SearchRoot};
use crate::reference::PackRef;

/// The operator's own search path.
const OPERATOR_PATH: &str = "$PATH";

pub(crate) fn plugin(
    element: &Element,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<PluginDeclaration> {
    let mut fields = Fields::of("a plugin", element, report)?;
    let component =
        fields.required("component", report, |element, report| component(element, surroundings, report));
    let grants = match fields.element("grants") {
        Some(element) => grants(element, report),
        None => Some(Grants::default()),
    };
    let settings = fields.optional("settings", report, pairs).unwrap_or_default();
    fields.finish(report);
    Some(PluginDeclaration { component: component?, grants: grants?, settings })
}

/// The file of a component, by its name.
pub(crate) fn component_file(name: &str) -> String {
    format!("{}{name}.wasm", super::COMPONENTS)
}

/// The name of the component in a file of a pack, if that is what it is.
pub(crate) fn component_name(path: &str) -> Option<&str> {
    path.strip_prefix(super::COMPONENTS)?.strip_suffix(".wasm").filter(|name| !name.contains('/'))
}

fn component(element: &Element, surroundings: &Surroundings<'_>, report: &mut Report<'_>) -> Option<String> {
    let Surroundings { pack, bundle, components, .. } = surroundings;
    let read = nonempty(element, report)?;
    let (prefix, name) = match read.split_once('.') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, read.as_str()),
    };
    if prefix.is_some_and(|prefix| prefix.parse::<PackRef>().is_err())
        || name.parse::<crate::reference::Name>().is_err()
    {
        report.add(
            &element.span,
            format!("`{read}` is not the name of a component"),
            "write the name of a file of `components` without `.wasm`, or `pack.component` of another pack",
        );
        return None;
    }
    let own = prefix.is_none_or(|prefix| pack.is_some_and(|pack| pack.as_str() == prefix));
    let file = component_file(name);
    if own {
        // What can't be in a pack has been said to be wrong already.
        if bundle.get(&file).is_some() || bundle.is_unfit(&file) {
            return Some(name.to_owned());
        }
        let there =
            bundle.iter().filter_map(|(path, _)| path.strip_prefix(super::COMPONENTS)?.strip_suffix(".wasm"));
        let elsewhere =
            components.iter().find(|known| known.split_once('.').is_some_and(|known| known.1 == name));
        let help = match nearest(name, there).or(elsewhere.map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "build it, or name a component of another pack as `pack.component`".to_owned(),
        };
        report.add(&element.span, format!("there is no component `{file}` in the pack"), help);
        return None;
    }
    // Which pack this is may not be known, and then neither whether the component is its own.
    if pack.is_none() || components.contains(&read) {
        return Some(read);
    }
    let known = components.iter().map(String::as_str);
    let help = match nearest(&read, known.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if components.is_empty() => "install the pack that ships it first".to_owned(),
        None => format!("install the pack that ships it first, or write {}", alternatives(known)),
    };
    report.add(&element.span, format!("there is no component `{read}`: no installed pack has it"), help);
    None
}

fn grants(element: &Element, report: &mut Report<'_>) -> Option<Grants> {
    let mut fields = Fields::of("a grant", element, report)?;
    let tools = fields.optional("tools", report, list(program_name(true))).unwrap_or_default();
    let search = fields.optional("search", report, list(search_root)).unwrap_or_default();
    let read = fields.optional("read", report, list(granted_folder)).unwrap_or_default();
    let variables = fields.optional("variables", report, list(granted_variable)).unwrap_or_default();
    let network = fields.optional("network", report, boolean).unwrap_or_default();
    fields.finish(report);
    Some(Grants { tools, search, read, variables, network, ..Grants::default() })
}

fn search_root(element: &Element, report: &mut Report<'_>) -> Option<SearchRoot> {
    let mut fields = Fields::of("a search root", element, report)?;
    let source = fields.required("source", report, nonempty);
    let folders = fields.required("folders", report, |element, report| {
        let folders = list(search_folder)(element, report)?;
        if folders.is_empty() {
            report.add(
                &element.span,
                "the search root has no folders",
                "name at least one, such as `$PATH` or `~/.versions/*/bin`",
            );
            return None;
        }
        Some(folders)
    });
    fields.finish(report);
    Some(SearchRoot { source: source?, folders: folders? })
}

fn search_folder(element: &Element, report: &mut Report<'_>) -> Option<String> {
    if matches!(&element.value, super::yaml::Value::Scalar(scalar) if scalar.text == OPERATOR_PATH) {
        return Some(OPERATOR_PATH.to_owned());
    }
    granted_folder(element, report)
}

fn granted_variable(element: &Element, report: &mut Report<'_>) -> Option<String> {
    let name = nonempty(element, report)?;
    if crate::variable::steers_programs(&name) {
        report.add(
            &element.span,
            format!("`{name}` decides what a program loads or starts, and is never granted"),
            "leave it out; to look through the search path, use `$PATH` as a folder of `search`",
        );
        return None;
    }
    variable::check_name(&name, &element.span, report).then_some(name)
}
