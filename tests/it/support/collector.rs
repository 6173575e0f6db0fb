//! A collector of traces: it takes what is sent to it over HTTP, reads it with the protocol's own types, and keeps it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;

use super::cli::wait_for;

/// A collector that listens.
pub(crate) struct Collector {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    spans: Vec<Span>,
    bodies: Vec<Vec<u8>>,
    heads: Vec<String>,
}

/// A span as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    /// In hexadecimal digits, as `trace_id`, `parent`, which is empty for none.
    pub(crate) id: String,
    pub(crate) trace_id: String,
    pub(crate) parent: String,
    pub(crate) is_error: bool,
    /// Nanoseconds.
    pub(crate) times: (u64, u64),
    pub(crate) attributes: BTreeMap<String, String>,
    /// Of the process that sent it.
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) events: usize,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle of a request has nothing more to say.
                thread::spawn(move || answer(&stream, &shared));
            }
        });
        Self { url, state }
    }

    /// What was received so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.lock().spans.clone()
    }

    /// Waits for the span of this name that `is_it`.
    #[track_caller]
    pub(crate) fn span(&self, name: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        wait_for(name, || self.spans().into_iter().find(|span| span.name == name && is_it(span)))
    }

    /// Whether anything that was received has this text in it, wherever that may be.
    pub(crate) fn has_received(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.lock().bodies.iter().any(|body| body.windows(text.len()).any(|window| window == text))
    }

    /// The request lines and headers that were received.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.lock().heads.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers what comes over one connection.
fn answer(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or_default();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let spans = read(&body);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.spans.extend(spans);
        state.bodies.push(body);
        state.heads.push(head);
        drop(state);
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        (&*stream).write_all(answer.as_bytes())?;
    }
}

fn read(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("a request of OTLP");
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let of_resource =
            resource.resource.map(|resource| attributes(&resource.attributes)).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                name: span.name,
                id: hexadecimal(&span.span_id),
                trace_id: hexadecimal(&span.trace_id),
                parent: hexadecimal(&span.parent_span_id),
                is_error: span.status.is_some_and(|status| status.code == 2),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
                attributes: attributes(&span.attributes),
                resource: of_resource.clone(),
                events: span.events.len(),
            });
        }
    }
    spans
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: &KeyValue| {
        let value = pair.value.as_ref()?.value.as_ref()?;
        Some((pair.key.clone(), text(value)))
    };
    attributes.iter().filter_map(pair).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
