//! What becomes of executions, and what they print, as it happens: server-sent events.
//!
//! An event's identifier says all that is needed to go on after it; nothing is kept of whoever is away.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::stream::{Stream, StreamExt, unfold};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::access::{Caller, shut_out};
use super::executions::{ExecutionSummary, find};
use super::problem::{self, Problem};
use super::query::Query;
use super::watch::Seen;
use crate::digest;
use crate::execution::{ExecutionId, Status};
use crate::process::Cancel;
use crate::reference::{ActionRef, PackRef};
use crate::store::StoreError;
use crate::store::execution::{Attempt, LogStream};
use crate::store::follow::{Change, Kept, LogPiece, LogPlace, Standing};

/// Something is sent at least this often, so that nobody on the way takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(15);

/// A stream is not longer than this; whoever wants to go on asks again.
const LONGEST: Duration = Duration::from_mins(15);

/// Time between two tries to read what was out of reach.
const AGAIN: Duration = Duration::from_secs(1);

/// So many pieces of a log are read at a time.
const PIECES_MAX: u32 = 8;

/// Where an execution stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stands {
    #[serde(flatten)]
    summary: ExecutionSummary,
    /// Why it is where it is.
    reason: Option<String>,
    /// How often it was started.
    attempt: i64,
}

/// Something that an execution printed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Printed {
    attempt: i64,
    /// Of the piece of the log in which it ends.
    sequence: i64,
    stream: LogStream,
    /// Bytes that are no UTF-8 are replaced.
    text: String,
}

/// What became of an execution.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Became {
    #[schema(value_type = String, format = Uuid)]
    id: String,
    action: String,
    status: Status,
    /// How often it was started.
    attempt: i64,
    /// Why it is where it is.
    reason: Option<String>,
    at: DateTime<Utc>,
}

/// An event of a stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it says what an event is; `Event` writes one")]
pub(super) struct StreamEvent {
    /// Send it as `Last-Event-ID` to go on after this one.
    id: Option<String>,
    /// What kind of event it is.
    event: Option<String>,
    /// A document, as JSON.
    data: Option<String>,
}

/// Which executions are followed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this action.
    action: Option<String>,
    /// Only those of this pack's actions.
    pack: Option<String>,
}

/// Follow an execution until it has ended: what it prints, and where it stands
///
/// Events are `status` with where it stands (`Stands`), at first and whenever that has changed; `log` with what the current and
/// each later attempt prints (`Printed`); and `end` after the last, which nothing follows. A stream that breaks off, or ends without
/// `end`, is gone on with by asking again with the `id` of the last event as `Last-Event-ID`.
#[utoipa::path(get, path = "/executions/{id}/stream", tag = "executions", operation_id = "follow_execution",
    params(("id" = String, Path, description = "Its identifier"),
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, body = StreamEvent, content_type = "text/event-stream"), problem::Every, problem::NotFound))]
pub(super) async fn follow(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Position { place, shown } = last_event(&headers)?.unwrap_or_default();
    let id = find(&api, &caller, &id).await?.id;
    let mut tails = Tails::default();
    if let Some(LogPlace { attempt, sequence }) = place
        && sequence > 0
    {
        let attempt = Attempt { id, number: attempt };
        for stream in STREAMS {
            let before = api.worker.store.log_before(attempt, sequence, stream).await?;
            tails.of(stream).extend(incomplete(&before));
        }
    }
    let following = Following {
        id,
        seen: api.watch.follow(id),
        limit: Limit::new(&api),
        api: Arc::clone(&api),
        place,
        shown,
        tails,
        ready: VecDeque::new(),
        is_over: false,
    };
    let stream = unfold(following, |mut following| async { Some((following.next().await?, following)) });
    Ok(events(stream, shut_out(api, caller)))
}

/// Follow what becomes of all executions
///
/// Events are `status` with each change of a status (`Became`), in order; and `missed` if so much time has passed since
/// `Last-Event-ID` that some are not known any more (ten minutes and more): list them then. An event may have nothing but an `id`.
#[utoipa::path(get, path = "/executions/stream", tag = "executions", operation_id = "follow_executions",
    params(Filter, ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, body = StreamEvent, content_type = "text/event-stream"), problem::Every))]
pub(super) async fn follow_all(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let action = filter.action.as_deref().map(str::parse::<ActionRef>).transpose();
    let action = action.map_err(|error| Problem::invalid("query/action", error.to_string()))?;
    let pack = caller.pack(filter.pack.as_deref())?;
    let last: Option<i64> = last_event(&headers)?;
    let mut kept = api.watch.follow_all();
    // From then on nothing is missed, and whoever lists executions after the answer knows all of before.
    let known = kept.wait_for(Option::is_some).await.ok().and_then(|kept| *kept);
    let Some(Kept { last: newest, .. }) = known else { return Err(Problem::internal()) };
    let mut following = FollowingAll {
        kept,
        limit: Limit::new(&api),
        api: Arc::clone(&api),
        action,
        pack,
        number: last.unwrap_or(newest),
        sent: last.unwrap_or(newest),
        ready: VecDeque::new(),
    };
    if following.number > newest {
        // Of another database.
        following.miss(newest);
    } else {
        following.ready.push_back(Event::default().id(following.number.to_string()));
    }
    let stream = unfold(following, |mut following| async { Some((following.next().await?, following)) });
    Ok(events(stream, shut_out(api, caller)))
}

/// What is sent, until there is nothing more or whoever asked is shut out.
fn events(
    stream: impl Stream<Item = Event> + Send + 'static,
    shut_out: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let stream = stream.take_until(Box::pin(shut_out)).map(Ok::<_, Infallible>);
    let alive = KeepAlive::new().interval(ALIVE).text("alive");
    // A proxy is not to hold them back.
    ([("x-accel-buffering", "no")], Sse::new(stream).keep_alive(alive)).into_response()
}

/// After which event to go on.
fn last_event<T: FromStr>(headers: &HeaderMap) -> Result<Option<T>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    let wrong = || Problem::invalid("header/Last-Event-ID", "this is no event of this stream");
    id.ok_or_else(wrong).map(Some)
}

fn event(name: &str, id: &impl fmt::Display, data: &impl Serialize) -> Event {
    unnumbered(name, data).id(id.to_string())
}

fn unnumbered(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

/// What ends a stream from outside.
#[derive(Debug)]
struct Limit {
    ended: Cancel,
    until: Instant,
}

impl Limit {
    fn new(api: &Api) -> Self {
        Self { ended: api.watch.ended(), until: Instant::now() + LONGEST }
    }

    /// What comes of it, unless the stream is to end before.
    async fn within<T>(&mut self, coming: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // What has come when it ends is sent; nothing comes after that.
            biased;
            () = sleep_until(self.until) => None,
            come = coming => Some(come),
            () = self.ended.asked() => None,
        }
    }

    /// Waits before what failed is tried again; not if that is in vain.
    async fn again(&mut self, error: &StoreError) -> Option<()> {
        if !error.is_outage() {
            tracing::error!("an execution can't be followed: {}", crate::printable::with_causes(error));
            return None;
        }
        self.within(sleep(AGAIN)).await
    }
}

/// Up to where somebody has seen an execution.
#[derive(Debug, Default, PartialEq, Eq)]
struct Position {
    /// None before anything was printed that could have been seen.
    place: Option<LogPlace>,
    /// Tells where it stood from everywhere else; empty before that was shown.
    shown: String,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogPlace { attempt, sequence } = self.place.unwrap_or(LogPlace { attempt: 0, sequence: 0 });
        write!(formatter, "{attempt}.{sequence}.{}", self.shown)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse::<u32>().ok().map(i64::from);
        let (Some(attempt), Some(sequence)) = (number(), number()) else { return Err(()) };
        let shown = parts.next().ok_or(())?.to_owned();
        Ok(Self { place: (attempt > 0).then_some(LogPlace { attempt, sequence }), shown })
    }
}

/// Somebody who follows an execution.
#[derive(Debug)]
struct Following {
    api: Arc<Api>,
    id: ExecutionId,
    seen: watch::Receiver<Seen>,
    limit: Limit,
    place: Option<LogPlace>,
    shown: String,
    tails: Tails,
    ready: VecDeque<Event>,
    is_over: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            let seen = self.seen.borrow_and_update().clone();
            let went_on = match seen {
                Seen::Nothing => Ok(false),
                Seen::Standing(standing) => self.go_on(&standing).await,
                Seen::Gone => return None,
            };
            match went_on {
                Ok(true) => {}
                Ok(false) => self.limit.within(self.seen.changed()).await?.ok()?,
                Err(error) => self.limit.again(&error).await?,
            }
        }
    }

    /// Goes on towards where an execution stands. Whether there was any way to go.
    async fn go_on(&mut self, standing: &Standing) -> Result<bool, StoreError> {
        let is_running = standing.status == Status::Running;
        let first = LogPlace { attempt: standing.attempt.max(1), sequence: 0 };
        let place = *self.place.get_or_insert(first);
        // Nothing is printed any more in these attempts.
        let past = if is_running { standing.attempt - 1 } else { standing.attempt };
        if place.attempt <= past {
            let pieces = self.read(place, past).await?;
            if pieces.is_empty() {
                self.begin_attempt(past + 1);
            }
            self.print(pieces);
            return Ok(true);
        }
        if self.show(standing) {
            return Ok(true);
        }
        if is_running && standing.printed.is_some_and(|last| last >= place.sequence) {
            let pieces = self.read(place, standing.attempt).await?;
            let is_any = !pieces.is_empty();
            self.print(pieces);
            return Ok(is_any);
        }
        Ok(false)
    }

    async fn read(&self, from: LogPlace, last_attempt: i64) -> Result<Vec<LogPiece>, StoreError> {
        self.api.worker.store.log_between(self.id, from, last_attempt, PIECES_MAX).await
    }

    /// Says where it stands, and that it has ended, unless that was said.
    fn show(&mut self, standing: &Standing) -> bool {
        let stands = Stands {
            summary: ExecutionSummary::from(standing),
            reason: standing.reason.clone(),
            attempt: standing.attempt,
        };
        let mark = digest::of_bytes(&serde_json::to_vec(&stands).unwrap_or_default());
        let is_new = !mark.starts_with(&self.shown) || self.shown.is_empty();
        if is_new {
            mark[..8].clone_into(&mut self.shown);
            self.ready.push_back(event("status", &self.position(), &stands));
        }
        self.is_over = standing.status.has_ended();
        if self.is_over {
            let end = json!({ "status": standing.status });
            self.ready.push_back(event("end", &self.position(), &end));
        }
        is_new || self.is_over
    }

    fn print(&mut self, pieces: Vec<LogPiece>) {
        for LogPiece { attempt, sequence, chunk } in pieces {
            if self.place.is_some_and(|place| place.attempt != attempt) {
                self.begin_attempt(attempt);
            }
            self.place = Some(LogPlace { attempt, sequence: sequence + 1 });
            let text = self.tails.complete(chunk.stream, chunk.bytes);
            if !text.is_empty() {
                let printed = Printed { attempt, sequence, stream: chunk.stream, text };
                self.ready.push_back(event("log", &self.position(), &printed));
            }
        }
    }

    /// Leaves the attempts before one, with what is left of characters that were never printed to their end.
    fn begin_attempt(&mut self, attempt: i64) {
        let left = self.place.replace(LogPlace { attempt, sequence: 0 });
        let mut rest = STREAMS
            .map(|stream| (stream, std::mem::take(self.tails.of(stream))))
            .into_iter()
            .filter(|(_, tail)| !tail.is_empty())
            .peekable();
        while let Some((stream, tail)) = rest.next() {
            let LogPlace { attempt, sequence } = left.unwrap_or(LogPlace { attempt, sequence: 0 });
            let text = String::from_utf8_lossy(&tail).into_owned();
            let printed = Printed { attempt, sequence: sequence - 1, stream, text };
            // Whoever has seen only some of it has seen none.
            self.ready.push_back(match rest.peek() {
                Some(_) => unnumbered("log", &printed),
                None => event("log", &self.position(), &printed),
            });
        }
    }

    fn position(&self) -> Position {
        Position { place: self.place, shown: self.shown.clone() }
    }
}

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];

/// What was printed of characters that are not complete yet.
#[derive(Debug, Default)]
struct Tails {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Tails {
    fn of(&mut self, stream: LogStream) -> &mut Vec<u8> {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    /// The text of the next bytes, up to the last character that is complete.
    fn complete(&mut self, stream: LogStream, bytes: Vec<u8>) -> String {
        let tail = self.of(stream);
        let mut all = std::mem::take(tail);
        all.extend(bytes);
        *tail = all.split_off(all.len() - incomplete(&all).len());
        String::from_utf8(all).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// The beginning of a character that bytes end with.
fn incomplete(bytes: &[u8]) -> &[u8] {
    let ends = (1..=bytes.len().min(3)).map(|length| &bytes[bytes.len() - length..]);
    let mut begun = ends.filter(|end| {
        std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    });
    begun.next().unwrap_or_default()
}

/// Somebody who follows all executions.
#[derive(Debug)]
struct FollowingAll {
    api: Arc<Api>,
    kept: watch::Receiver<Option<Kept>>,
    limit: Limit,
    action: Option<ActionRef>,
    pack: Option<PackRef>,
    /// Up to which change.
    number: i64,
    /// The last of which somebody was told.
    sent: i64,
    ready: VecDeque<Event>,
}

impl FollowingAll {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let kept = *self.kept.borrow_and_update();
            match kept {
                Some(kept) if self.number < kept.from => self.miss(kept.last),
                Some(kept) if self.number < kept.last => {
                    match self.api.watch.changes_after(self.number).await {
                        Ok(changes) => self.tell(&changes, kept.last),
                        Err(error) => self.limit.again(&error).await?,
                    }
                }
                Some(_) | None => {
                    let changed = tokio::time::timeout(ALIVE, self.kept.changed());
                    let is_silent = self.limit.within(changed).await?.is_err();
                    // So that nothing that is not for this one has to be looked at again.
                    if is_silent && self.sent != self.number {
                        self.sent = self.number;
                        self.ready.push_back(Event::default().id(self.sent.to_string()));
                    }
                }
            }
        }
    }

    fn tell(&mut self, changes: &[Arc<Change>], last: i64) {
        for change in changes {
            if !self.is_wanted(change) {
                continue;
            }
            let Change { number, id, action, status, attempt, reason, at } = &**change;
            let became = Became {
                id: id.to_string(),
                action: action.to_string(),
                status: *status,
                attempt: *attempt,
                reason: reason.clone(),
                at: *at,
            };
            self.ready.push_back(event("status", number, &became));
            self.sent = *number;
        }
        self.number = changes.last().map_or(last, |change| change.number);
    }

    fn is_wanted(&self, change: &Change) -> bool {
        self.action.as_ref().is_none_or(|action| *action == change.action)
            && self.pack.as_ref().is_none_or(|pack| pack == change.action.pack())
    }

    /// Says that not all is known, and goes on after a change.
    fn miss(&mut self, number: i64) {
        (self.number, self.sent) = (number, number);
        let missed = json!({ "detail": "some changes are not known any more" });
        self.ready.push_back(event("missed", &number, &missed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole_wherever_they_were_split() {
        let text = "aä→🦀z".repeat(3);
        for length in 1..=5 {
            let mut tails = Tails::default();
            let pieces = text.as_bytes().chunks(length);
            let whole =
                pieces.map(|piece| tails.complete(LogStream::Stdout, piece.to_vec())).collect::<String>();
            assert_eq!((whole, tails.stdout.len()), (text.clone(), 0));
        }
        let mut tails = Tails::default();
        let crab = "🦀".as_bytes();
        assert_eq!(tails.complete(LogStream::Stdout, crab[..2].to_vec()), "");
        assert_eq!(tails.complete(LogStream::Stderr, b"x\xc3".to_vec()), "x");
        assert_eq!(tails.complete(LogStream::Stdout, crab[2..].to_vec()), "🦀");
        assert_eq!(tails.complete(LogStream::Stderr, b"y".to_vec()), "\u{fffd}y");
        // What is no beginning of anything is replaced at once.
        assert_eq!(tails.complete(LogStream::Stdout, b"\xff\x80".to_vec()), "\u{fffd}\u{fffd}");
        assert_eq!(incomplete(b"ab\xf0\x9f\xa6"), b"\xf0\x9f\xa6");
        assert_eq!(incomplete("🦀".as_bytes()), b"");
    }

    #[test]
    fn positions_read_back() {
        let place = Some(LogPlace { attempt: 2, sequence: 17 });
        for position in [
            Position { place, shown: "0123abcd".to_owned() },
            Position { place, shown: String::new() },
            Position::default(),
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in ["", "1", "1.2", "1.-2.x", "x.1.y", "99999999999.1.x"] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }
}
