//! Traces: what an execution did and for how long, from the moment it was asked for to its result, told to an
//! OpenTelemetry collector.
//!
//! Stages are spans of `tracing`. They have a target of their own, so that the log does without them: nobody makes
//! them unless traces are exported. What is told of an execution is its names, versions and outcome; never a
//! parameter, a secret, an error's message or what was printed.

mod context;
mod export;

use std::future::Future;
use std::time::SystemTime;

use futures_util::FutureExt;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer};
use opentelemetry::{Context, KeyValue};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub(crate) use context::TraceContext;
pub use export::Endpoint;
pub(crate) use export::{begin, end, is_on};

use export::tracer;

/// Of the spans that are made for traces alone.
pub(crate) const TARGET: &str = "trace";

/// A span for a stage.
macro_rules! stage_span {
    ($name:literal $($fields:tt)*) => {
        tracing::info_span!(target: $crate::trace::TARGET, $name $($fields)*)
    };
}
pub(crate) use stage_span;

/// Goes through a stage that may fail.
pub(crate) fn stage<T, E>(
    span: Span,
    stage: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // Boxed: otherwise whoever awaits it would be as large as all of its stages.
    let running = Box::pin(stage.instrument(span.clone()));
    running.inspect(move |outcome| {
        if outcome.is_err() {
            span.set_status(Status::error(""));
        }
    })
}

/// Makes a span part of the trace that it was asked for in.
pub(crate) fn adopt(span: &Span, parent: Option<&TraceContext>) {
    if let Some(parent) = parent.filter(|_| is_on()) {
        // Only a span that nobody has asked for its identity can have a parent; this one is new.
        let _ = span.set_parent(parent.to_context());
    }
}

/// What others need to go on with a trace below a span; none if there is no trace.
pub(crate) fn below(span: &Span) -> Option<TraceContext> {
    is_on().then(|| TraceContext::of(&span.context())).flatten()
}

/// Says more about a span than the log does.
pub(crate) fn describe<const N: usize>(span: &Span, attributes: [(&'static str, &dyn std::fmt::Display); N]) {
    if is_on() {
        for (name, value) in attributes {
            span.set_attribute(name, value.to_string());
        }
    }
}

/// How what a span stands for has ended. An error is told by its class.
pub(crate) fn ended(span: &Span, status: &'static str, error: Option<&str>) {
    if !is_on() {
        return;
    }
    span.set_attribute("execution.status", status);
    if let Some(class) = error {
        span.set_attribute("error.type", class.to_owned());
        span.set_status(Status::error(class.to_owned()));
    }
}

/// A span for something that is over already.
pub(crate) fn past(
    name: &'static str,
    parent: Option<&TraceContext>,
    (from, to): (SystemTime, SystemTime),
    attributes: Vec<KeyValue>,
) {
    let Some(tracer) = tracer() else { return };
    let parent = parent.map_or_else(Context::new, TraceContext::to_context);
    let builder = tracer.span_builder(name).with_kind(SpanKind::Internal).with_start_time(from);
    builder.with_attributes(attributes).start_with_context(tracer, &parent).end_with_timestamp(to.max(from));
}
