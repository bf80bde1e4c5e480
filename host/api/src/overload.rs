//! What is refused for the load, and the answer of a handler that panicked.

use std::any::Any;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::app::Shared;
use crate::guard::needs_nothing;
use crate::pace::{Holding, Timed};
use crate::problem::{Problem, ProblemKind};

/// Lets a request in when there is a place for it, and sees to it that its body keeps coming.
pub(crate) async fn within_capacity(State(app): State<Shared>, request: Request, next: Next) -> Response {
    // Monitors ask whether the server lives just when it has much to do.
    if needs_nothing(request.uri().path()) {
        return next.run(request).await;
    }
    let limits = &app.config.limits;
    let turn = timeout(limits.turn_time, app.capacity.requests.clone().acquire_owned()).await;
    // It is never closed: what fails is the wait.
    let Ok(Ok(place)) = turn else {
        return busy(format!("{} requests are worked on already; try again", limits.requests));
    };
    // A whole store takes as long as it takes.
    let whole = (!request.uri().path().ends_with("/import")).then_some(limits.body_time);
    let request = request.map(|body| Body::new(Timed::new(body, limits.body_pause, whole)));
    let response = next.run(request).await;
    drop(place);
    if !is_streamed(response.headers()) {
        return response;
    }
    match app.capacity.streams.clone().try_acquire_owned() {
        Ok(place) => response.map(|body| Body::new(Holding::new(body, place))),
        Err(_) => busy(format!(
            "{} answers are streamed already: live events, exports, backups and traces together; end one, or try again",
            limits.streams
        )),
    }
}

fn is_streamed(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"text/event-stream") || kind.starts_with(b"application/x-ndjson"))
}

fn busy(detail: String) -> Response {
    ([(header::RETRY_AFTER, "1")], Problem::new(ProblemKind::Busy, detail)).into_response()
}

/// The answer of a handler that panicked. What it said may hold anything, so it stays in the log.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(ProblemKind::Internal, "the server broke over this request; its log tells where").into_response()
}
