//! What stands in front of the routes.

use axum::extract::DefaultBodyLimit;
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::{Router, middleware};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use crate::app::Shared;
use crate::guard::guard;
use crate::overload::{panicked, within_capacity};
use crate::page;

/// The routes behind all of it: the last layer is the first to see a request.
pub(crate) fn guarded(routes: Router<Shared>, app: Shared) -> Router {
    routes
        .layer(DefaultBodyLimit::max(app.config.limits.body_bytes))
        .layer(compression())
        .layer(middleware::from_fn_with_state(app.clone(), within_capacity))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(page::harden))
        .with_state(app)
}

/// Long lists take a fifth of the time over slow lines. What is streamed goes out as it comes.
fn compression() -> CompressionLayer<impl Predicate> {
    let json = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
    };
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(1024).and(json))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Body, Bytes};
    use axum::extract::Request;
    use axum::routing::get;
    use durhai::Host;
    use tower::ServiceExt;

    use super::*;
    use crate::app::{App, now};
    use crate::capacity::Capacity;
    use crate::{Config, Limits};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_handler_that_breaks_gives_its_place_back() {
        async fn breaks() -> &'static str {
            panic!("the secret of a handler")
        }
        let host = Host::builder().start().await.expect("a host");
        let limits = Limits { requests: 1, ..Limits::default() };
        let app = App {
            host: host.clone(),
            capacity: Capacity::new(&limits),
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
