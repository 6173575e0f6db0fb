//! Executions, as the API shows them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, HeaderName};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tokio::time::{sleep, timeout};

use super::events::{Event, Events};
use super::{Client, ClientError, Result};
use crate::execution::{ExecutionId, IdPrefix, Request, Status};
use crate::queue::Terms;
use crate::queue::outlook::Outlook;
use crate::queue::waiting::Waiting;
use crate::reference::ActionRef;
use crate::store::execution::{ExecutionRow, LogStream};

/// A stream that does not even give a sign of life for so long has broken off.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// A server that does not begin to answer in this time is not asked any longer.
const BEGIN_MAX: Duration = Duration::from_secs(30);

/// How often the same is asked for under the same key while connections break off.
const TRIES: u32 = 4;
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(250);

/// An execution in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) id: ExecutionId,
    pub(crate) action: ActionRef,
    pub(crate) status: Status,
    pub(crate) runtime: Option<String>,
    /// Exact version of the installation.
    pub(crate) selected_version: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

impl From<&ExecutionRow> for Summary {
    fn from(row: &ExecutionRow) -> Self {
        Self {
            id: row.id,
            action: row.action.clone(),
            status: row.status,
            runtime: row.runtime.clone(),
            selected_version: row.selected_version.clone(),
            worker: row.worker.clone(),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

/// An execution with everything that is said of it.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(flatten)]
    summary: Summary,
    pack_digest: String,
    reason: Option<String>,
    waiting: Option<Waiting>,
    attempt: i64,
    retries: i64,
    #[serde(default)]
    rescues: i64,
    #[serde(default)]
    queued: bool,
    priority: i64,
    run_at: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    cancel_requested: bool,
    parameters: Json,
    runtime_version_constraint: Option<String>,
    runtime_label: Option<String>,
    runtime_version: Option<String>,
    installation_path: Option<String>,
    installation_source: Option<String>,
    selection: Option<Json>,
    environment_key: Option<String>,
    environment_path: Option<String>,
    plugin_digest: Option<String>,
    sandbox: Option<String>,
    warnings: Vec<String>,
    result: Option<Json>,
    exit_code: Option<i64>,
    error: Option<Failure>,
    #[serde(default)]
    output_incomplete: bool,
    /// Milliseconds by stage.
    #[serde(default)]
    timings: Map<String, Json>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    class: String,
    message: String,
}

impl From<Document> for ExecutionRow {
    fn from(document: Document) -> Self {
        let Summary { id, action, status, runtime, selected_version, worker, .. } = document.summary;
        let timings = document.timings.into_iter();
        let (error_class, error_message) =
            document.error.map(|Failure { class, message }| (class, message)).unzip();
        Self {
            id,
            action,
            pack_digest: document.pack_digest,
            status,
            reason: document.reason,
            attempt: document.attempt,
            retries: document.retries,
            rescues: document.rescues,
            priority: document.priority,
            run_at: document.run_at,
            deadline_at: document.deadline_at,
            cancel_requested: document.cancel_requested,
            queued: document.queued,
            worker,
            parameters: document.parameters,
            constraint: document.runtime_version_constraint,
            runtime,
            runtime_label: document.runtime_label,
            selected_version,
            runtime_version: document.runtime_version,
            installation_path: document.installation_path,
            installation_source: document.installation_source,
            selection: document.selection,
            environment_key: document.environment_key,
            environment_path: document.environment_path,
            plugin_digest: document.plugin_digest,
            sandbox: document.sandbox,
            warnings: document.warnings,
            result: document.result,
            error_class,
            error_message,
            exit_code: document.exit_code,
            output_incomplete: document.output_incomplete,
            timings: timings.filter_map(|(stage, value)| Some((stage, value.as_f64()?))).collect(),
            created_at: document.summary.created_at,
            started_at: document.summary.started_at,
            finished_at: document.summary.finished_at,
            trace: None,
        }
    }
}

/// Under which asking twice is asking once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is to be run, as the API takes it.
#[derive(Debug, Serialize)]
struct NewExecution<'a> {
    action: &'a ActionRef,
    parameters: &'a Map<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_version_constraint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
    priority: i64,
    delay: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<f64>,
}

impl<'a> NewExecution<'a> {
    fn new(request: &'a Request, parameters: &'a Map<String, Json>, terms: &Terms) -> Self {
        Self {
            action: &request.action,
            parameters,
            runtime_version_constraint: request.constraint.as_ref().map(ToString::to_string),
            timeout: request.timeout.map(|timeout| timeout.as_secs_f64()),
            priority: terms.priority,
            delay: terms.delay.as_secs_f64(),
            deadline: terms.deadline.map(|deadline| deadline.as_secs_f64()),
        }
    }
}

/// What was put into the queue.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Queued {
    pub(crate) id: ExecutionId,
    /// Whether it had been asked for before, under the same key.
    pub(crate) known: bool,
}

/// What became of an execution that somebody changed.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Changed {
    pub(crate) status: Status,
}

/// A piece of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) sequence: i64,
    pub(crate) stream: LogStream,
    pub(crate) text: String,
}

/// Which executions are listed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) action: Option<&'a ActionRef>,
    pub(crate) status: Option<Status>,
    /// Those whose identifiers begin so.
    pub(crate) prefix: Option<IdPrefix>,
    pub(crate) limit: u32,
}

impl Client {
    /// An execution with everything that is said of it, and why it waits while it does.
    pub(crate) async fn execution(&self, id: ExecutionId) -> Result<(ExecutionRow, Option<Waiting>)> {
        let mut document = self.get::<Document>(&["executions", &id.to_string()], &[]).await?;
        let waiting = document.waiting.take();
        Ok((document.into(), waiting))
    }

    /// Executions, the newest first.
    pub(crate) async fn executions(&self, wanted: Wanted<'_>) -> Result<Vec<Summary>> {
        let Wanted { action, status, prefix, limit } = wanted;
        let mut query = Vec::new();
        query.extend(action.map(|action| ("action", action.to_string())));
        query.extend(status.map(|status| ("status", status.name().to_owned())));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        query.extend(prefix.map(|prefix| ("id", prefix.to_string())));
        self.list(&["executions"], &query, limit).await
    }

    /// Asks for an execution. Under a key it is asked for again when the answer is lost.
    pub(crate) async fn enqueue(
        &self,
        request: &Request,
        parameters: &Map<String, Json>,
        terms: &Terms,
    ) -> Result<Queued> {
        let new = NewExecution::new(request, parameters, terms);
        let mut tries = TRIES;
        loop {
            let mut asked = self.with_json(self.request(Method::POST, &["executions"], &[]), &new)?;
            if let Some(key) = &terms.idempotency_key {
                asked = asked.header(IDEMPOTENCY_KEY, key);
            }
            tries -= 1;
            match self.document(asked).await {
                Err(ClientError::Unreachable { unasked: false, .. })
                    if tries > 0 && terms.idempotency_key.is_some() =>
                {
                    sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    /// What asking for an execution would put into the queue.
    pub(crate) async fn outlook(
        &self,
        request: &Request,
        parameters: &Map<String, Json>,
        terms: &Terms,
    ) -> Result<Outlook> {
        let new = NewExecution::new(request, parameters, terms);
        let dry = [("dry_run", true.to_string())];
        let mut asked = self.with_json(self.request(Method::POST, &["executions"], &dry), &new)?;
        if let Some(key) = &terms.idempotency_key {
            asked = asked.header(IDEMPOTENCY_KEY, key);
        }
        self.document(asked).await
    }

    /// Asks for the end of an execution.
    pub(crate) async fn cancel(&self, id: ExecutionId) -> Result<Changed> {
        self.ask(Method::POST, &["executions", &id.to_string(), "cancel"]).await
    }

    /// Has an execution that has ended tried again.
    pub(crate) async fn retry(&self, id: ExecutionId) -> Result<Changed> {
        self.ask(Method::POST, &["executions", &id.to_string(), "retry"]).await
    }

    /// What an execution printed, in its last attempt unless told.
    pub(crate) async fn log(&self, id: ExecutionId, attempt: Option<i64>) -> Result<Vec<Piece>> {
        let query = attempt.map(|attempt| ("attempt", attempt.to_string()));
        let query = query.into_iter().collect::<Vec<_>>();
        self.list(&["executions", &id.to_string(), "log"], &query, usize::MAX).await
    }

    /// What becomes of an execution from its beginning, and what it prints.
    pub(crate) fn follow(&self, id: ExecutionId) -> Following<'_> {
        Following { client: self, id, last: None, open: None }
    }
}

/// Something that came of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It printed something.
    Printed { stream: LogStream, text: String },
    /// It stands somewhere else.
    Moved,
    /// Nothing more comes of it.
    Ended,
}

/// A stream of what becomes of an execution. When it breaks off, asking for more goes on where that was.
#[derive(Debug)]
pub(crate) struct Following<'a> {
    client: &'a Client,
    id: ExecutionId,
    /// The last event that was passed on and can be gone on after.
    last: Option<String>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    response: Response,
    events: Events,
    /// Whether anything came.
    is_begun: bool,
}

#[derive(Debug, Deserialize)]
struct Printed {
    stream: LogStream,
    text: String,
}

impl Following<'_> {
    /// Which execution it is of.
    pub(crate) fn id(&self) -> ExecutionId {
        self.id
    }

    /// What comes next. After an outage it can be asked for again.
    pub(crate) async fn next(&mut self) -> Result<News> {
        let news = self.read().await;
        if news.is_err() {
            self.open = None;
        }
        news
    }

    async fn read(&mut self) -> Result<News> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                closed => closed.insert(begin(self.client, self.id, self.last.as_deref()).await?),
            };
            while let Some(event) = open.events.next() {
                let news = news(&event).map_err(|error| self.client.unreadable(error.to_string()))?;
                if event.id.is_some() {
                    self.last = event.id;
                }
                if let Some(news) = news {
                    return Ok(news);
                }
            }
            let lost = |problem: &str| ClientError::Unreachable {
                server: self.client.server.clone(),
                problem: problem.to_owned(),
                unasked: false,
            };
            let bytes = timeout(SILENCE_MAX, open.response.chunk())
                .await
                .map_err(|_| lost("there was no sign of life"))?
                .map_err(|error| self.client.unreachable(&error))?;
            match bytes {
                Some(bytes) => {
                    open.is_begun = true;
                    open.events.push(&bytes).map_err(|error| self.client.unreadable(error.to_string()))?;
                }
                // A server ends a stream that has lasted for long, and expects to be asked again.
                None if open.is_begun => self.open = None,
                None => return Err(lost("the connection was closed")),
            }
        }
    }
}

async fn begin(client: &Client, id: ExecutionId, last: Option<&str>) -> Result<Open> {
    let mut request = client
        .stream(Method::GET, &["executions", &id.to_string(), "stream"], &[])
        .header(ACCEPT, "text/event-stream");
    if let Some(last) = last {
        request = request.header(HeaderName::from_static("last-event-id"), last);
    }
    let response = timeout(BEGIN_MAX, client.answer(request)).await.unwrap_or_else(|_| {
        Err(ClientError::Unreachable {
            server: client.server.clone(),
            problem: "there was no answer in time".to_owned(),
            unasked: false,
        })
    })?;
    Ok(Open { response, events: Events::default(), is_begun: false })
}

/// What an event says; none for one that says nothing to this program.
fn news(event: &Event) -> serde_json::Result<Option<News>> {
    Ok(match event.name.as_str() {
        "log" => {
            let Printed { stream, text } = serde_json::from_str(&event.data)?;
            Some(News::Printed { stream, text })
        }
        "status" => Some(News::Moved),
        "end" => Some(News::Ended),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_news() {
        let news = |name: &str, data: &str| {
            news(&Event { name: name.to_owned(), data: data.to_owned(), id: None }).unwrap()
        };
        let printed = r#"{"attempt": 1, "sequence": 0, "stream": "stderr", "text": "é\n"}"#;
        let expected = News::Printed { stream: LogStream::Stderr, text: "é\n".to_owned() };
        assert_eq!(news("log", printed), Some(expected));
        assert_eq!(news("status", "{}"), Some(News::Moved));
        assert_eq!(news("end", ""), Some(News::Ended));
        assert_eq!(news("other", "?"), None);
    }
}
