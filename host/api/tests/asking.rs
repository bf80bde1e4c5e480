//! Requests as strangers, mistakes and machines make them: each is answered as it is described.

use crate::common::{ask, send};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use durhai::{Host, StepContext, StepError, Value};
use durhai_api::{Config, router};
use serde_json::json;

async fn host() -> Host {
    let host = Host::builder()
        .workflow("adds", "let one = use_step(\"echo\", 1);\nlet two = use_step(\"echo\", input);\none + two")
        .workflow("waits", "wait_for(\"go\")")
        .workflow("fails", "use_step(\"burn\", 1)")
        .workflow("team/flow", "input")
        .step("echo", |_: StepContext, value: Value| async move { Ok::<_, StepError>(value) })
        .step("burn", |_: StepContext, _: Value| async move { Err::<Value, _>(StepError::fatal("hot")) })
        .start()
        .await
        .expect("a host");
    for (workflow, id) in [("adds", "done"), ("fails", "failed")] {
        let run = host.run(workflow).id(id).input(&41).start().await.expect("a run");
        run.wait().await.expect("the end");
    }
    host.run("waits").id("live").start().await.expect("a run");
    host
}

/// A body that is sent as it is.
async fn raw(router: &Router, method: &str, path: &str, kind: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost").header("content-type", kind);
    let (status, value) = send(router, request.body(body.into()).expect("a request")).await;
    (status.as_u16(), value)
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_parameters_that_are_none() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    for (path, status) in [
        ("/api/v1/runs/%ff", 400),
        ("/api/v1/runs/%00", 404),
        ("/api/v1/runs/..%2f..%2fetc%2fpasswd", 404),
        ("/api/v1/runs/a%20b", 404),
        ("/api/v1/runs/%F0%9F%98%80/events", 404),
        ("/api/v1/workflows/%ff", 400),
        ("/api/v1/workflows/%ff/versions", 400),
        ("/api/v1/workflows/adds/versions/%ff", 400),
        ("/api/v1/workflows/adds/versions/zzzz", 404),
        ("/api/v1/workflows/adds/versions/serving", 200),
        ("/api/v1/workflows/team%2Fflow/versions", 200),
        ("/api/v1/workflows/team/flow/versions", 404),
        ("/api/v1/workflows/%00", 404),
        ("/api/v1/runs?workflow=%ff", 200),
        ("/api/v1/runs?workflow=%00", 200),
        ("/api/v1/runs?limit=1001", 400),
        ("/api/v1/runs?limit=99999999999999999999999", 400),
        ("/api/v1/runs?limit=-1", 400),
        ("/api/v1/runs?limit=1e3", 400),
        ("/api/v1/runs?limit=", 400),
        ("/api/v1/runs?since=9007199254740992", 400),
        ("/api/v1/runs?since=9007199254740991", 200),
        ("/api/v1/runs?cursor=rubbish", 400),
        ("/api/v1/runs?cursor=%ff%00", 400),
        ("/api/v1/runs?parent=a%20b", 400),
        ("/api/v1/runs?version=abc", 400),
        ("/api/v1/runs?status=done", 400),
        ("/api/v1/runs/done/events?from=9007199254740991", 200),
        ("/api/v1/runs/done/events?from=9007199254740992", 400),
        ("/api/v1/runs/done/events?limit=10001", 400),
        ("/api/v1/runs/done/logs?from=-1", 400),
        ("/api/v1/runs/done/output?from=9007199254740991&stream=none", 200),
        ("/api/v1/runs/done/output?stream=a&stream=b", 400),
        ("/api/v1/runs/done/events?logs=yes", 400),
        ("/api/v1/runs/done/export?children=1", 400),
        ("/api/v1/runs/done/trace?at=0", 400),
        ("/api/v1/runs/done/trace?at=99", 400),
        ("/api/v1/runs/done/trace?break=lib%2Fnone%3A0", 400),
        ("/api/v1/changes?status=done", 400),
        ("/api/v1/changes?colour=red", 400),
    ] {
        let (found, value) = ask(&router, "GET", path, None).await;
        assert_eq!(found.as_u16(), status, "{path}: {value}");
    }
    for (header, value, status) in [
        ("last-event-id", "x", 400),
        ("last-event-id", "-1", 400),
        ("last-event-id", "18446744073709551616", 400),
        ("last-event-id", "3", 200),
    ] {
        let request = Request::get("/api/v1/runs/done/events").header("host", "localhost").header(header, value);
        let (found, body) = send(&router, request.body(Body::empty()).expect("a request")).await;
        assert_eq!(found.as_u16(), status, "{header}: {value}: {body}");
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_none() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let deep = format!("{{\"workflow\":\"adds\",\"input\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies: [(&[u8], u16); 15] = [
        (b" [\"adds\", 1]", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"1", 400),
        (b"\"x\"", 400),
        (b"{", 400),
        (b"{}{}", 400),
        (b"\xff", 400),
        (b"{\"workflow\":\"\xff\"}", 400),
        (b"{\"workflow\":\"adds\",\"workflow\":\"waits\"}", 400),
        (b"{\"workflow\":\"a\\u0000\"}", 404),
        (b"{\"workflow\":\"adds\",\"priority\":1e99}", 400),
        (b"{\"workflow\":\"adds\",\"at\":9007199254740992}", 400),
        (b"{\"workflow\":\"adds\",\"at\":1.5}", 400),
        (deep.as_bytes(), 400),
    ];
    for (body, status) in bodies {
        let (found, value) = raw(&router, "POST", "/api/v1/runs", "application/json", body.to_vec()).await;
        assert_eq!(found, status, "{:?}: {value}", String::from_utf8_lossy(&body[..body.len().min(80)]));
    }
    for (path, body, status) in [
        ("runs/live/signal", json!({}), 400),
        ("runs/live/signal", json!({ "name": "" }), 400),
        ("runs/live/signal", json!({ "name": "n".repeat(257) }), 400),
        ("runs/live/signal", json!({ "name": "go", "paylaod": 1 }), 400),
        ("runs/live/cancel", json!({ "reason": 5 }), 400),
        ("runs/live/unpark", json!({ "now": true }), 400),
        ("runs/live/unpark", json!({}), 409),
        ("runs/live/resume", json!({ "label": "price" }), 409),
        ("runs/live/retry", json!({}), 409),
        ("runs/done/signal", json!({ "name": "go" }), 409),
        ("runs/done/cancel", json!({}), 409),
        ("runs/done/terminate", json!({}), 409),
        ("runs/done/replay", json!({ "stop": { "at": "nowhere" } }), 400),
        ("runs/done/replay", json!({ "stop": { "at": "step", "step_id": "1", "n": 2 } }), 400),
        ("runs/done/replay", json!({ "set": { "99": 1 } }), 400),
        ("runs/done/replay", json!({ "script": { "source": "let = 1" } }), 422),
        ("runs/done/trace", json!({ "script": { "source": "let = 1" } }), 422),
        ("runs/done/trace", json!({ "stop": { "at": "place", "line": "x" } }), 400),
        ("runs/done/fork", json!({ "at": "99" }), 400),
        ("runs/done/fork", json!({ "at": "1", "after": "1" }), 400),
        ("runs/done/fork", json!({ "after": "1", "script": { "source": "sleep(5)" } }), 409),
        ("runs/done/fork", json!({ "after": "1", "script": { "source": "let = 1" } }), 422),
        ("runs/done/fork", json!({ "after": "1", "id": "live" }), 409),
        ("runs/live/migrate", json!({ "to": "zzzz" }), 404),
        ("workflows/adds/migrate", json!({ "to": "" }), 400),
        ("workflows/adds/migrate", json!({ "to": "ffff" }), 404),
        ("workflows/none/migrate", json!({}), 404),
        ("steps/echo", json!({ "input": 1, "inputs": 2 }), 400),
        ("import?go=maybe", json!({}), 400),
        ("import", json!({ "durhai_export": 1 }), 400),
    ] {
        let (found, value) = ask(&router, "POST", &format!("/api/v1/{path}"), Some(body.clone())).await;
        assert_eq!(found.as_u16(), status, "{path} {body}: {value}");
    }
    let (_, live) = ask(&router, "GET", "/api/v1/runs/live", None).await;
    assert_eq!(live["status"], "waiting", "none of them did anything");
    let (status, _) = ask(&router, "DELETE", "/api/v1/runs/live", None).await;
    assert_eq!(status, 409);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_and_what_it_gives() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    for (method, path, body, status, field, wanted) in [
        ("POST", "runs/done/replay", json!({}), 200, "/output", json!(42)),
        ("POST", "runs/done/replay", json!({ "set": { "2": 1 } }), 200, "/output", json!(2)),
        (
            "POST",
            "runs/done/replay",
            json!({ "stop": { "at": "step", "step_id": "2" }, "evaluate": "one" }),
            200,
            "/stopped/value",
            json!("1"),
        ),
        ("POST", "runs/done/fork", json!({ "after": "1", "id": "forked" }), 201, "/origin/run", json!("done")),
        ("POST", "runs/done/fork", json!({ "after": "1", "id": "forked" }), 201, "/id", json!("forked")),
        ("POST", "runs/failed/retry", json!({}), 201, "/attempt", json!(2)),
        ("POST", "runs/failed/retry", json!({}), 200, "/retry_of", json!("failed")),
        ("GET", "runs/failed", json!(null), 200, "/retried_as", json!("failed@2")),
        ("POST", "runs/live/signal", json!({ "name": "other" }), 202, "/id", json!("live")),
        ("POST", "runs/live/migrate", json!({ "dry_run": true }), 200, "/verdict", json!("compatible")),
        ("POST", "workflows/waits/migrate", json!({ "dry_run": true, "to": "serving" }), 200, "/compatible", json!(1)),
        ("GET", "workflows/adds/versions/serving", json!(null), 200, "/workflow", json!("adds")),
        ("GET", "doctor", json!(null), 200, "/findings", json!([])),
        ("GET", "health", json!(null), 200, "/ok", json!(true)),
        ("POST", "runs/live/terminate", json!({ "reason": "enough" }), 202, "/id", json!("live")),
    ] {
        let body = (!body.is_null()).then_some(body);
        let (found, value) = ask(&router, method, &format!("/api/v1/{path}"), body).await;
        assert_eq!(found.as_u16(), status, "{method} {path}: {value}");
        assert_eq!(value.pointer(field), Some(&wanted), "{method} {path}: {value}");
    }
    let (_, health) = ask(&router, "GET", "/api/v1/health", None).await;
    let counts = health["runs"].as_array().expect("counts");
    let adds = counts.iter().find(|count| count["workflow"] == "adds" && count["status"] == "completed");
    assert!(adds.expect("a count")["runs"].as_u64() >= Some(1), "{health}");
    host.shutdown().await;
}

/// Lines of a file or a trace.
async fn lines(router: &Router, method: &str, path: &str) -> Vec<Value> {
    text(router, method, path).await.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn text(router: &Router, method: &str, path: &str) -> String {
    use tower::ServiceExt;
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let response = router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/x-ndjson".parse().expect("a value")),
        "{path}"
    );
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_and_files() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let contract = crate::common::contract::Contract::of(&router, None).await;
    let line = contract.schema("TraceLine");
    for (method, path) in
        [("GET", "trace"), ("POST", "trace"), ("GET", "trace?break=2"), ("GET", "trace?at=2&value_bytes=5")]
    {
        let seen = lines(&router, method, &format!("/api/v1/runs/done/{path}")).await;
        assert!(seen.len() > 3, "{path}");
        for value in &seen {
            assert!(line.is_valid(value), "{path}: {value}");
        }
        assert_eq!(seen.last().expect("an end")["type"], "end", "{path}");
        let stopped = seen.last().expect("an end")["replay"].get("stopped").is_some();
        assert_eq!(stopped, path.contains('?'), "{path}");
    }
    let exported = lines(&router, "GET", "/api/v1/runs/done/export").await;
    assert_eq!(exported[0]["run"], "done");
    assert!(lines(&router, "GET", "/api/v1/backup").await.len() > exported.len());
    let file = text(&router, "GET", "/api/v1/runs/done/export").await;
    let (status, imported) =
        raw(&router, "POST", "/api/v1/import?id=copy&file=a.ndjson", "application/x-ndjson", file).await;
    assert_eq!((status, &imported["run"]), (201, &json!("copy")));
    let (_, copy) = ask(&router, "GET", "/api/v1/runs/copy", None).await;
    assert_eq!((&copy["output"], &copy["origin"]["file"]), (&json!(42), &json!("a.ndjson")));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_contradicts_another_says_both_digests() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let start = async |key: &str, body: Value| {
        let request = Request::post("/api/v1/runs").header("host", "localhost").header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string()));
        send(&router, request.expect("a request")).await
    };
    let first = json!({ "workflow": "waits", "input": { "a": 1, "b": 2 } });
    let turned = json!({ "input": { "b": 2, "a": 1 }, "workflow": "waits" });
    assert_eq!(start("key", first).await.0, 201);
    assert_eq!(start("key", turned).await.0, 200);
    let (status, problem) = start("key", json!({ "workflow": "waits", "input": { "a": 2 } })).await;
    let detail = problem["detail"].as_str().expect("text");
    let digests =
        detail.split([' ', ',']).filter(|word| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit()));
    let digests: std::collections::BTreeSet<_> = digests.collect();
    assert_eq!((status.as_u16(), digests.len()), (409, 2), "{detail}");
    let (status, problem) = start("key", json!({ "workflow": "adds" })).await;
    assert!(status == 409 && problem["detail"].as_str().expect("text").contains("\"waits\""), "{problem}");
    assert_eq!(start("\"a b", json!({ "workflow": "waits" })).await.0, 400);
    assert_eq!(start("", json!({ "workflow": "waits" })).await.0, 400);
    host.shutdown().await;
}
