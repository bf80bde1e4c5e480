//! Events, log and output streams of a run: a page as JSON, or followed by SSE where the client accepts `text/event-stream`.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use durhai::DEFAULT_STREAM;
use futures_util::stream::{self, Stream};
use serde_json::json;

use super::sse::json_data;
use crate::app::{App, Shared};
use crate::cut::Cut;
use crate::extract::{OfRun, Params, WHOLE};
use crate::feed::{Feed, Item, Want};
use crate::problem::Problem;

/// Lists the events of a run, or follows them.
///
/// With `Accept: text/event-stream` each event is a message with its `seq` as id. Named messages tell the rest: `log` (a
/// line, where `logs=true` asks for them), `parked` and `end` (the run; nothing comes after `end`).
#[utoipa::path(
    get,
    path = "/runs/{id}/events",
    operation_id = "listEvents",
    tag = "runs",
    params(
        ("from" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991u64, description = "The first event; they are counted from 1."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "1000 unless given."),
        ("logs" = Option<bool>, Query, description = "By SSE: the lines of the log too."),
        ("value_bytes" = Option<u64>, Query, minimum = 16, maximum = 1048576, description = "Longer values are replaced by `Cut`."),
        ("Last-Event-ID" = Option<u64>, Header, minimum = 0, maximum = 9007199254740991u64, description = "By SSE: go on behind this one."),
    ),
    responses(
        (status = 200, description = "A page of events; or messages, each with an `Event`, a `LogLine` or a `Run`.", content((ref("#/components/schemas/EventPage") = "application/json"), (ref("#/components/schemas/Message") = "text/event-stream"))),
    ),
)]
pub(super) async fn events(
    State(app): State<Shared>,
    OfRun(run): OfRun,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let from = params.whole("from", 0..=WHOLE)?.unwrap_or(1).max(1);
    let limit = limit(&mut params)?;
    let logs = params.read::<bool>("logs")?.unwrap_or(false);
    let cut = Cut::read(&mut params)?;
    params.done()?;
    let after = last_id(&headers)?;
    if wants_stream(&headers) {
        let from = after.map_or(from, |last| last + 1);
        let want = Want { events: Some(from), lines: logs.then_some(0), output: None };
        return Ok(follow(&app, run.id().as_str(), want, cut).await?.into_response());
    }
    let events = run.events(from, limit).await?;
    let next = (events.len() == limit).then(|| from + limit as u64);
    Ok(Json(json!({ "events": cut.of(events), "next": next })).into_response())
}

/// Lists the lines of a run's log, or follows them.
///
/// With `Accept: text/event-stream` each line is a message with its index as id; then `parked` and `end` as with events.
#[utoipa::path(
    get,
    path = "/runs/{id}/logs",
    operation_id = "listLogs",
    tag = "runs",
    params(
        ("from" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991u64, description = "The first line; they are counted from 0."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "1000 unless given."),
        ("value_bytes" = Option<u64>, Query, minimum = 16, maximum = 1048576, description = "Longer values are replaced by `Cut`."),
        ("Last-Event-ID" = Option<u64>, Header, minimum = 0, maximum = 9007199254740991u64, description = "By SSE: go on behind this one."),
    ),
    responses(
        (status = 200, description = "A page of lines; or messages, each with a `LogLine` or a `Run`.", content((ref("#/components/schemas/LogPage") = "application/json"), (ref("#/components/schemas/Message") = "text/event-stream"))),
    ),
)]
pub(super) async fn logs(
    State(app): State<Shared>,
    OfRun(run): OfRun,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let from = params.whole("from", 0..=WHOLE)?.unwrap_or(0);
    let limit = limit(&mut params)?;
    let cut = Cut::read(&mut params)?;
    params.done()?;
    let after = last_id(&headers)?;
    if wants_stream(&headers) {
        let from = after.map_or(from, |last| last + 1);
        let want = Want { lines: Some(from), ..Want::default() };
        return Ok(follow(&app, run.id().as_str(), want, cut).await?.into_response());
    }
    let lines = run.logs(from, limit).await?;
    let next = (lines.len() == limit).then(|| from + limit as u64);
    Ok(Json(json!({ "lines": cut.of(lines), "next": next })).into_response())
}

/// Lists what a run emitted, or follows it.
///
/// With `Accept: text/event-stream` each value is a message with its index as id; then `parked` and `end` as with events.
#[utoipa::path(
    get,
    path = "/runs/{id}/output",
    operation_id = "listOutput",
    tag = "runs",
    params(
        ("stream" = Option<String>, Query, description = "`default` unless given."),
        ("from" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991u64, description = "The first value; they are counted from 0."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "1000 unless given."),
        ("value_bytes" = Option<u64>, Query, minimum = 16, maximum = 1048576, description = "Longer values are replaced by `Cut`."),
        ("Last-Event-ID" = Option<u64>, Header, minimum = 0, maximum = 9007199254740991u64, description = "By SSE: go on behind this one."),
    ),
    responses(
        (status = 200, description = "A page of values; or messages, each with an `OutputEntry` or a `Run`.", content((ref("#/components/schemas/OutputPage") = "application/json"), (ref("#/components/schemas/Message") = "text/event-stream"))),
    ),
)]
pub(super) async fn output(
    State(app): State<Shared>,
    OfRun(run): OfRun,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let stream = params.one("stream")?.unwrap_or_else(|| DEFAULT_STREAM.into());
    let from = params.whole("from", 0..=WHOLE)?.unwrap_or(0);
    let limit = limit(&mut params)?;
    let cut = Cut::read(&mut params)?;
    params.done()?;
    let after = last_id(&headers)?;
    if wants_stream(&headers) {
        let from = after.map_or(from, |last| last + 1);
        let want = Want { output: Some((stream, from)), ..Want::default() };
        return Ok(follow(&app, run.id().as_str(), want, cut).await?.into_response());
    }
    let entries = run.emitted(&stream, from, limit).await?;
    let next = (entries.len() == limit).then(|| from + limit as u64);
    Ok(Json(json!({ "entries": cut.of(entries), "next": next })).into_response())
}

fn limit(params: &mut Params) -> Result<usize, Problem> {
    Ok(params.whole("limit", 1..=10_000)?.unwrap_or(1000) as usize)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

fn last_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    match headers.get("last-event-id").map(|id| (id, id.to_str().ok().and_then(|text| text.parse().ok()))) {
        None => Ok(None),
        Some((_, Some(id))) if id <= WHOLE => Ok(Some(id)),
        Some((id, _)) => Err(Problem::invalid(format!("the header Last-Event-ID is {id:?}; it must be a number"))),
    }
}

async fn follow(
    app: &App,
    id: &str,
    want: Want,
    cut: Cut,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>> + use<>>, Problem> {
    let only_lines = want.events.is_none();
    let feed = Feed::open(&app.host, id, want).await?;
    let messages = stream::unfold((feed, app.config.closing.clone()), move |(mut feed, closing)| async move {
        let item = tokio::select! {
            () = closing.closed() => return None,
            item = feed.next() => item,
        };
        match item {
            Ok(Some(item)) => Some((Ok(message(cut.of(item), only_lines)), (feed, closing))),
            Ok(None) | Err(_) => None,
        }
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::default()))
}

fn message(item: Item, only_lines: bool) -> Message {
    match item {
        Item::Event(event) => json_data(Message::default().id(event.seq.to_string()), &event),
        Item::Line(line) if only_lines => json_data(Message::default().id(line.index.to_string()), &line),
        Item::Line(line) => json_data(Message::default().event("log"), &line),
        Item::Emitted(entry) => json_data(Message::default().id(entry.index.to_string()), &entry),
        Item::Parked(run) => json_data(Message::default().event("parked"), &run),
        Item::Ended(run) => json_data(Message::default().event("end"), &run),
    }
}
