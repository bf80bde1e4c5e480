//! Schedules, the removal of runs, and files of runs, over HTTP.

use std::convert::Infallible;
use std::time::Duration;

use crate::common::{ask, send};
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use durhai::Host;
use durhai_api::{Config, router};
use futures_util::{StreamExt, stream};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_paused_resumed_and_triggered() {
    let text = "const WORKFLOW = #{ schedule: \"0 9 1 1 *\" };\n\"done\"";
    let host = Host::builder().workflow("a/yearly", text).workflow("plain", "1").start().await.expect("a host");
    let router = router(host.clone(), Config::default());
    let (_, all) = ask(&router, "GET", "/api/v1/schedules", None).await;
    assert_eq!(all["schedules"].as_array().expect("a list").len(), 1);
    assert_eq!(all["schedules"][0]["workflow"], "a/yearly");
    let path = "/api/v1/schedules/a%2Fyearly";
    for (action, paused) in [("pause", true), ("pause", true), ("resume", false), ("pause", true)] {
        let (status, view) = ask(&router, "POST", &format!("{path}/{action}"), None).await;
        assert_eq!((status, &view["paused"]), (StatusCode::OK, &json!(paused)));
    }
    let (status, run) = ask(&router, "POST", &format!("{path}/trigger"), None).await;
    assert_eq!((status, &run["workflow"]), (StatusCode::CREATED, &json!("a/yearly")));
    let run = host.get(run["id"].as_str().expect("an id")).await.expect("the run");
    assert_eq!(run.wait().await.expect("the end").output, "done");
    for (method, path, status) in [
        ("POST", "/api/v1/schedules/plain/pause", 404),
        ("POST", "/api/v1/schedules/none/trigger", 404),
        ("GET", "/api/v1/schedules/a%2Fyearly/pause", 405),
    ] {
        assert_eq!(ask(&router, method, path, None).await.0, status, "{method} {path}");
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_is_purged_and_nothing_by_mistake() {
    let host =
        Host::builder().workflow("one", "1").workflow("waits", "wait_for(\"go\")").start().await.expect("a host");
    let router = router(host.clone(), Config::default());
    for id in ["a", "b"] {
        host.run("one").id(id).start().await.expect("a run").wait().await.expect("the end");
    }
    host.run("waits").id("live").start().await.expect("a run");
    for body in
        [json!({}), json!({ "all": true, "workflow": "one" }), json!({ "status": ["waiting"] }), json!({ "x": 1 })]
    {
        assert_eq!(ask(&router, "POST", "/api/v1/purge", Some(body.clone())).await.0, 400, "{body}");
    }
    let purge = async |body| ask(&router, "POST", "/api/v1/purge", Some(body)).await;
    assert_eq!(purge(json!({ "ended_before": 1 })).await.1["runs"], 0);
    assert_eq!(purge(json!({ "workflow": "one", "status": ["completed"] })).await.1["runs"], 2);
    assert_eq!(purge(json!({ "all": true })).await.1["runs"], 0);
    assert_eq!(ask(&router, "GET", "/api/v1/runs/a", None).await.0, 404);
    assert_eq!(ask(&router, "GET", "/api/v1/runs/live", None).await.0, 200);
    host.shutdown().await;
}

/// The answer does not wait for the rest of a file that is wrong at its beginning, here one that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_refused_before_it_has_come() {
    let host = Host::builder().start().await.expect("a host");
    let router = router(host.clone(), Config::default());
    let pieces = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"no export\n"))]).chain(stream::pending());
    let request = Request::post("/api/v1/import").header("host", "127.0.0.1:7788").body(Body::from_stream(pieces));
    let answer = send(&router, request.expect("a request"));
    let (status, problem) = tokio::time::timeout(Duration::from_secs(20), answer).await.expect("an answer");
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    host.shutdown().await;
}
