//! The trace that something belongs to, as it is handed from process to process: W3C trace context.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// A trace, and the span in it below which others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(HashMap<String, String>);

impl TraceContext {
    /// The one that whoever started this process gave it.
    pub(crate) fn given(variables: &BTreeMap<String, String>) -> Option<Self> {
        let given = [(PARENT, "TRACEPARENT"), (STATE, "TRACESTATE")];
        let given =
            given.iter().filter_map(|(key, name)| Some(((*key).to_owned(), variables.get(*name)?.clone())));
        Self::checked(given.collect())
    }

    /// Only what is valid is handed on.
    fn checked(given: HashMap<String, String>) -> Option<Self> {
        given.contains_key(PARENT).then(|| Self::of(&Self(given).to_context())).flatten()
    }

    pub(super) fn of(context: &Context) -> Option<Self> {
        let mut carried = HashMap::new();
        TraceContextPropagator::new().inject_context(context, &mut carried);
        carried.retain(|_, value| !value.is_empty());
        carried.contains_key(PARENT).then_some(Self(carried))
    }

    pub(super) fn to_context(&self) -> Context {
        TraceContextPropagator::new().extract_with_context(&Context::new(), &self.0)
    }

    /// 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> String {
        self.to_context().span().span_context().trace_id().to_string()
    }

    /// The variables by which a process is told of it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(name, value)| (name.to_ascii_uppercase(), value.as_str()))
    }
}

/// As JSON, sorted by name.
impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = self.0.iter().collect::<BTreeMap<_, _>>();
        formatter.write_str(&serde_json::to_string(&sorted).map_err(|_| fmt::Error)?)
    }
}

/// A text that is no trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no trace context")]
pub struct InvalidTraceContext;

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        serde_json::from_str(text).ok().and_then(Self::checked).ok_or(InvalidTraceContext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn given(variables: &[(&str, &str)]) -> Option<TraceContext> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        TraceContext::given(&variables.iter().map(owned).collect())
    }

    #[test]
    fn it_is_handed_on_as_it_was_given() {
        let context = given(&[("TRACEPARENT", VALID), ("TRACESTATE", "a=1,b=2")]).unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.to_string(), format!(r#"{{"traceparent":"{VALID}","tracestate":"a=1,b=2"}}"#));
        assert_eq!(context.to_string().parse(), Ok(context.clone()));
        let mut variables = context.variables().collect::<Vec<_>>();
        variables.sort();
        assert_eq!(variables, [("TRACEPARENT".to_owned(), VALID), ("TRACESTATE".to_owned(), "a=1,b=2")]);
        let alone = given(&[("TRACEPARENT", VALID)]).unwrap();
        assert_eq!(alone.to_string(), format!(r#"{{"traceparent":"{VALID}"}}"#));
    }

    #[test]
    fn what_is_no_trace_context_is_left_alone() {
        for invalid in [
            "",
            "x",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(given(&[("TRACEPARENT", invalid)]), None, "{invalid}");
        }
        assert_eq!(given(&[("TRACESTATE", "a=1")]), None);
        for text in ["", "{}", "[]", r#"{"traceparent":"x"}"#] {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceContext), "{text}");
        }
    }
}
