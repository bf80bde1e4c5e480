//! A store that does not answer is told as such: nobody takes it for a request that was wrong.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use durhai::{Host, MemoryWorld};
use durhai_api::{Config, router};
use durhai_testkit::{Fault, FaultWorld, Pulse};
use serde_json::json;

use crate::common::{ask, send};

#[tokio::test(flavor = "multi_thread")]
async fn every_route_says_that_the_store_does_not_answer() {
    let world = Arc::new(FaultWorld::new(Arc::new(MemoryWorld::default()), Fault::Never, Pulse::default()));
    let host = Host::builder().shared_world(world.clone()).workflow("waits", "hook(#{ token: \"tok\" }).wait()");
    let host = host.start().await.expect("a host");
    host.run("waits").id("w").start().await.expect("a run");
    let router = router(host.clone(), Config::default());
    assert_eq!(ask(&router, "GET", "/api/v1/runs/w", None).await.0, StatusCode::OK);
    world.crash();
    let run = json!({ "workflow": "waits", "id": "x" });
    for (method, path, body) in [
        ("GET", "/api/v1/runs", None),
        ("GET", "/api/v1/runs/w", None),
        ("GET", "/api/v1/runs/w/events", None),
        ("GET", "/api/v1/runs/w/logs", None),
        ("GET", "/api/v1/runs/w/state", None),
        ("GET", "/api/v1/workflows/waits/versions", None),
        ("GET", "/api/v1/doctor", None),
        ("POST", "/api/v1/runs", Some(run)),
        ("POST", "/api/v1/runs/w/signal", Some(json!({ "name": "go" }))),
        ("POST", "/api/v1/runs/w/cancel", Some(json!({}))),
        ("POST", "/api/v1/runs/w/replay", Some(json!({}))),
        ("DELETE", "/api/v1/runs/w", None),
        ("POST", "/hooks/tok", Some(json!(1))),
    ] {
        let (status, problem) = ask(&router, method, path, body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {problem}");
        assert_eq!(problem["type"], "urn:durhai:problem:unavailable", "{method} {path}: {problem}");
    }
    // A stream is refused like all else, and the process is no less alive for it.
    let follow =
        Request::get("/api/v1/runs/w/events").header("host", "localhost").header("accept", "text/event-stream");
    let (status, _) = send(&router, follow.body(Body::empty()).expect("a request")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&router, "GET", "/healthz", None).await.0, StatusCode::OK);
    // The write that failed was the host's end.
    host.failed().await;
    assert_eq!(ask(&router, "GET", "/readyz", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    host.shutdown().await;
}
