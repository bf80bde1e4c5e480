//! Seeing into a run: its log run again, line by line if asked, and forks of it.

use axum::Json;
use axum::body::{Body as Stream, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use durhai::logs::{Fork, ReplayOptions, ReplayView};
use durhai::trace::{Stop, TraceEvent};
use durhai::{HostError, Run, RunView, StepId};
use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::extract::{JsonBody, OfRun, Params, WHOLE};
use crate::problem::Problem;

/// Events of a trace that wait for the reader; the trace waits where there are more.
const AHEAD: usize = 1024;

/// Events written as one piece, at most.
const PIECE: usize = 256;

/// Runs the log of a run again. Nothing is written.
#[utoipa::path(
    post,
    path = "/runs/{id}/replay",
    operation_id = "replayRun",
    tag = "runs",
    request_body(content = ref("#/components/schemas/ReplayOptions"), content_type = "application/json", description = "With what changed, and where to stop."),
    responses(
        (status = 200, description = "The result.", body = ref("#/components/schemas/Replay")),
        (status = 422, description = "The script is wrong."),
    ),
)]
pub(super) async fn replay(
    OfRun(run): OfRun,
    JsonBody(options): JsonBody<ReplayOptions>,
) -> Result<Json<ReplayView>, Problem> {
    Ok(Json(run.replay(options).await?))
}

/// Runs the log of a run again and tells each thing that is seen.
///
/// The last line has the type `end` and the result of the replay, or `error` and the reason.
#[utoipa::path(
    get,
    path = "/runs/{id}/trace",
    operation_id = "traceRun",
    tag = "runs",
    params(
        ("at" = Option<String>, Query, pattern = "^[1-9][0-9]{0,8}([.][1-9][0-9]{0,8}[.][1-9][0-9]{0,8})*$", description = "Stop before this step id."),
        ("break" = Option<String>, Query, pattern = "^([^:]+:)?[1-9][0-9]{0,8}$", description = "Stop at this line, as `12` or `lib/money:12`."),
        ("value_bytes" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991u64, description = "Bytes of one value, about; 120 unless given."),
    ),
    responses(
        (status = 200, description = "Lines, each a `TraceLine`.", content_type = "application/x-ndjson", body = String),
        (status = 422, description = "The script is wrong."),
    ),
)]
pub(super) async fn trace(OfRun(run): OfRun, mut params: Params) -> Result<Response, Problem> {
    let mut options = ReplayOptions::default();
    if let Some(step) = params.one("at")? {
        let step_id = StepId::parse(&step).ok_or_else(|| Problem::invalid(format!("{step:?} is no step id")))?;
        options.stop = Some(Stop::Step { step_id });
    }
    if let Some(place) = params.one("break")? {
        let stop = Stop::place(&place).ok_or_else(|| {
            Problem::invalid(format!(
                "`break` is {place:?}; it must be a line, or a module and a line like lib/money:12"
            ))
        })?;
        options.stop = Some(stop);
    }
    options.value_bytes = params.whole("value_bytes", 0..=WHOLE)?.map(|bytes| bytes as usize);
    params.done()?;
    traced(run, options).await
}

/// The same with all that a replay can be told.
#[utoipa::path(
    post,
    path = "/runs/{id}/trace",
    operation_id = "traceRunWith",
    tag = "runs",
    request_body(content = ref("#/components/schemas/ReplayOptions"), content_type = "application/json", description = "With what changed, and where to stop."),
    responses(
        (status = 200, description = "Lines, each a `TraceLine`.", content_type = "application/x-ndjson", body = String),
        (status = 422, description = "The script is wrong."),
    ),
)]
pub(super) async fn trace_with(
    OfRun(run): OfRun,
    JsonBody(options): JsonBody<ReplayOptions>,
) -> Result<Response, Problem> {
    traced(run, options).await
}

/// Starts a run that takes over the log of this one up to a step.
#[utoipa::path(
    post,
    path = "/runs/{id}/fork",
    operation_id = "forkRun",
    tag = "runs",
    request_body(content = ref("#/components/schemas/Fork"), content_type = "application/json", description = "Up to where, and what is changed."),
    responses(
        (status = 201, description = "The new run.", body = ref("#/components/schemas/Run")),
        (status = 409, description = "The text does not fit what would be taken over; or the name is taken."),
        (status = 422, description = "The script is wrong."),
    ),
)]
pub(super) async fn fork(
    OfRun(run): OfRun,
    JsonBody(fork): JsonBody<Fork>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    Ok((StatusCode::CREATED, Json(run.fork(fork).await?.view().await?)))
}

type Tracing = JoinHandle<Result<ReplayView, HostError>>;

async fn traced(run: Run, options: ReplayOptions) -> Result<Response, Problem> {
    let (tx, mut rx) = mpsc::channel(AHEAD);
    let work: Tracing =
        tokio::spawn(async move { run.trace(options, move |event| tx.blocking_send(event).is_ok()).await });
    // What is wrong from the beginning is answered as a problem.
    let Some(first) = rx.recv().await else {
        let view = work.await.map_err(|_| HostError::Closed)??;
        return Ok(ndjson(Stream::from(end(Ok(view)))));
    };
    let lines = stream::unfold((vec![first], rx, Some(work)), |(mut seen, mut rx, work)| async move {
        let mut work = work?;
        if seen.is_empty() && rx.recv_many(&mut seen, PIECE).await == 0 {
            let view = (&mut work).await.unwrap_or(Err(HostError::Closed));
            return Some((Ok::<_, std::convert::Infallible>(end(view)), (seen, rx, None)));
        }
        let mut text = Vec::with_capacity(seen.len() * 160);
        for event in seen.drain(..) {
            line(&mut text, &event);
        }
        Some((Ok(Bytes::from(text)), (seen, rx, Some(work))))
    });
    Ok(ndjson(Stream::from_stream(lines)))
}

fn line(text: &mut Vec<u8>, event: &TraceEvent) {
    // Its keys are strings, so it is always JSON.
    serde_json::to_writer(&mut *text, event).expect("events are always JSON");
    text.push(b'\n');
}

fn end(view: Result<ReplayView, HostError>) -> Bytes {
    let mut last = match view {
        Ok(view) => json!({ "type": "end", "replay": view }),
        Err(error) => json!({ "type": "error", "detail": error.to_string() }),
    }
    .to_string();
    last.push('\n');
    Bytes::from(last)
}

fn ndjson(body: Stream) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
