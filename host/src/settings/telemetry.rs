//! Where traces go: the setting, or the variables that all programs have in common which tell of themselves to an
//! OpenTelemetry collector. The rest of those, such as `OTEL_SERVICE_NAME` and `OTEL_EXPORTER_OTLP_HEADERS`, is read
//! where spans are exported.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::{Origin, Resolver, value};
use crate::trace::Endpoint;

const NAME: &str = "otlp_endpoint";

/// How a variable's value says where traces go.
type Read = fn(&str) -> Option<Endpoint>;

/// The first that is set counts.
const ENDPOINTS: [(&str, Read); 2] = [
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Endpoint::exactly),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", Endpoint::below),
];

impl Resolver<'_> {
    /// Where traces go, and a warning if a standard variable says what can't be followed. It may be meant for other
    /// programs, so that is no error.
    pub(super) fn otlp_endpoint(&mut self) -> (Option<Endpoint>, Option<String>) {
        let own = self.find(NAME);
        let is_stronger = own.as_ref().is_some_and(|(_, origin)| !matches!(origin, Origin::File { .. }));
        let mut warning = None;
        if let Some((name, text, read)) = standard(&self.sources.variables).filter(|_| !is_stronger) {
            if let Some(endpoint) = read(text) {
                self.show(NAME, text.to_owned(), Origin::Variable { name });
                return (Some(endpoint), None);
            }
            let way_out = "`ATTUNE_OTLP_ENDPOINT` says another, or `none`";
            warning = Some(format!("the variable `{name}` is no URL to send traces to; {way_out}"));
        }
        let endpoint = match own {
            Some((text, origin)) => self.keep(NAME, origin, &text, value::otlp_endpoint).flatten(),
            None => self.default(NAME, None, |_| "none".to_owned()),
        };
        (endpoint, warning)
    }
}

/// What the standard variables say: name, value, how to read it.
fn standard(variables: &BTreeMap<OsString, OsString>) -> Option<(&'static str, &str, Read)> {
    let value = |name: &str| {
        let value = variables.get(OsStr::new(name))?.to_str()?.trim();
        (!value.is_empty()).then_some(value)
    };
    let is_off = value("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"))
        || value("OTEL_TRACES_EXPORTER")
            .is_some_and(|list| list.split(',').all(|item| item.trim() != "otlp"));
    let found = ENDPOINTS.into_iter().find_map(|(name, read)| Some((name, value(name)?, read)));
    found.filter(|_| !is_off)
}
