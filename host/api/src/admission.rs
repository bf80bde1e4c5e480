//! How much is worked on at once, and what happens when a handler breaks.

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Limits;
use crate::guard::needs_nothing;
use crate::pace::{Holding, Timed};
use crate::problem::{Problem, ProblemKind};
use crate::routes::Shared;

/// The places that a server has.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Admission {
    pub fn new(limits: &Limits) -> Admission {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Admission { requests: places(limits.requests), streams: places(limits.streams) }
    }
}

/// Lets a request in when there is a place for it, and sees to it that its body keeps coming.
pub(crate) async fn admit(State(app): State<Shared>, request: Request, next: Next) -> Response {
    // Whoever asks whether the server lives wants to know that just when it has much to do.
    if needs_nothing(request.uri().path()) {
        return next.run(request).await;
    }
    let limits = &app.config.limits;
    let turn = timeout(limits.turn_time, app.admission.requests.clone().acquire_owned()).await;
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
    match app.admission.streams.clone().try_acquire_owned() {
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
pub(crate) fn broke(_: Box<dyn Any + Send>) -> Response {
    Problem::new(ProblemKind::Internal, "the server broke over this request; its log tells where").into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::routing::get;
    use durhai::Host;
    use tower::ServiceExt;

    use super::*;
    use crate::Config;
    use crate::routes::{App, guarded, now};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_handler_that_breaks_gives_its_place_back() {
        async fn breaks() -> &'static str {
            panic!("the secret of a handler")
        }
        let host = Host::builder().start().await.expect("a host");
        let limits = Limits { requests: 1, ..Limits::default() };
        let app = App {
            host: host.clone(),
            admission: Admission::new(&limits),
            config: Config { limits, ..Config::default() },
            started_at: now(),
            document: Bytes::new(),
        };
        let router = guarded(Router::new().route("/breaks", get(breaks)), Arc::new(app));
        for _ in 0..3 {
            let request = Request::get("/breaks").header("host", "localhost").body(Body::empty()).expect("a request");
            let response = router.clone().oneshot(request).await.expect("infallible");
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a body");
            let body = String::from_utf8_lossy(&body);
            assert!(body.contains("urn:durhai:problem:internal") && !body.contains("secret"), "{body}");
        }
        host.shutdown().await;
    }
}
