//! Sending spans to a collector, beside what runs: OTLP over HTTP, from a thread of its own. What can't be delivered
//! is dropped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter as Exporter};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::TARGET;

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Of a collector that takes traces below `url`, as `OTEL_EXPORTER_OTLP_ENDPOINT` says it.
    #[must_use]
    pub fn below(url: &str) -> Option<Self> {
        Self::exactly(&format!("{}/v1/traces", url.trim().trim_end_matches('/')))
    }

    /// That takes traces at `url`, as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says it.
    #[must_use]
    pub fn exactly(url: &str) -> Option<Self> {
        let url = url.trim();
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // Credentials have a variable of their own, which nothing shows.
        let is_usable = !host.is_empty() && !host.contains('@') && reqwest::Url::parse(url).is_ok();
        is_usable.then(|| Self(url.to_owned()))
    }
}

/// Where spans go, and who makes them; none while traces are off.
static EXPORT: OnceLock<(SdkTracerProvider, SdkTracer, Arc<AtomicBool>)> = OnceLock::new();

/// Whether traces are exported.
pub(crate) fn is_on() -> bool {
    EXPORT.get().is_some()
}

pub(super) fn tracer() -> Option<&'static SdkTracer> {
    EXPORT.get().map(|(_, tracer, _)| tracer)
}

/// Begins to export, and gives what the log's subscriber needs for that.
pub(crate) fn begin<S>(endpoint: &Endpoint, is_service: bool) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (_, tracer, _) = EXPORT.get_or_init(|| {
        let has_failed = Arc::new(AtomicBool::new(false));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(Late {
                endpoint: endpoint.clone(),
                // A command is not kept waiting by a collector that is not there.
                retries: if is_service { RetryPolicy::default() } else { RetryPolicy::disabled() },
                resource: None,
                exporter: OnceLock::new(),
                has_failed: Arc::clone(&has_failed),
            })
            .build();
        let tracer = provider.tracer("attune");
        (provider, tracer, has_failed)
    });
    // Messages are for the log: what they say may be more than a trace should tell.
    let spans: FilterFn = filter_fn(|metadata| {
        let target = metadata.target();
        metadata.is_span()
            && *metadata.level() <= Level::DEBUG
            && (target == TARGET || target == "attune" || target.starts_with("attune::"))
    });
    tracing_opentelemetry::layer()
        .with_tracer(tracer.clone())
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(spans.and(LevelFilter::DEBUG))
}

/// Sends what is left, for at most `limit`.
pub(crate) fn end(limit: Duration) {
    let Some((provider, _, has_failed)) = EXPORT.get() else { return };
    if let Err(error) = provider.shutdown_with_timeout(limit) {
        warn(has_failed, &error);
    }
}

/// What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say, and a name if they give none.
fn resource() -> Resource {
    let key = Key::from_static_str("service.name");
    let said = Resource::builder().build();
    let is_named = said.get(&key).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let name = (!is_named).then(|| KeyValue::new(key, "attune"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder().with_attributes(name.into_iter().chain([version])).build()
}

/// An exporter that is made when there is something to export, since making it takes a while.
#[derive(Debug)]
struct Late {
    endpoint: Endpoint,
    retries: RetryPolicy,
    resource: Option<Resource>,
    exporter: OnceLock<Result<SpanExporter, String>>,
    has_failed: Arc<AtomicBool>,
}

impl Late {
    fn make(&self) -> Result<SpanExporter, String> {
        // An error would mean that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(&self.endpoint.0)
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(self.retries.clone())
            .build()
            .map_err(|error| error.to_string())?;
        if let Some(resource) = &self.resource {
            exporter.set_resource(resource);
        }
        Ok(exporter)
    }
}

impl Exporter for Late {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = match self.exporter.get_or_init(|| self.make()) {
            Ok(exporter) => exporter.export(batch).await,
            Err(reason) => Err(OTelSdkError::InternalFailure(reason.clone())),
        };
        match &outcome {
            Ok(()) => self.has_failed.store(false, Ordering::Relaxed),
            Err(error) => warn(&self.has_failed, error),
        }
        outcome
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        match self.exporter.get() {
            Some(Ok(exporter)) => exporter.shutdown_with_timeout(limit),
            Some(Err(_)) | None => Ok(()),
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = Some(resource.clone());
    }
}

/// Once, until it works again.
fn warn(has_failed: &AtomicBool, error: &OTelSdkError) {
    if !has_failed.swap(true, Ordering::Relaxed) {
        tracing::warn!("can't deliver traces, and goes on without: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_without_credentials() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(Endpoint::below(url).map(|endpoint| endpoint.0).as_deref(), expected, "{url}");
        };
        check("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/traces"));
        check(" https://otel.example/base/ ", Some("https://otel.example/base/v1/traces"));
        check("http://[::1]:4318", Some("http://[::1]:4318/v1/traces"));
        for url in ["", "collector:4317", "grpc://host", "http://", "http://me:pw@host", "http://a b"] {
            check(url, None);
        }
        let exactly = Endpoint::exactly("http://host/custom").unwrap();
        assert_eq!(exactly.0, "http://host/custom");
    }
}
