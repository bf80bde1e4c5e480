//! Requests to a router, without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use durhai::Value;
use tower::ServiceExt;

/// One request, as a client on this machine makes it; the status and the body as JSON (null if it is none).
pub async fn ask(router: &Router, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7788");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    send(router, request.body(body).expect("a request")).await
}

pub async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.clone().oneshot(request).await.expect("infallible");
    let status = response.status();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_string());
    let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if status.is_client_error() || status.is_server_error() && value.get("ok").is_none() {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status} {value}");
        assert_eq!(value["status"], status.as_u16());
        for field in ["type", "title", "detail"] {
            assert!(value[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {value}");
        }
    }
    (status, value)
}
