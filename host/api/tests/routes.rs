//! The routes against a host in memory: what they answer, and what they refuse.

use crate::common::{ask, send};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use durhai::{Host, MemoryWorld, StepContext, StepError, Value};
use durhai_api::{Config, Token, router};
use serde_json::json;

const WAITS: &str = "print(\"asking\"); let by = wait_for(\"approved\"); use_step(\"double\", input.n) + by.n";

async fn host() -> Host {
    Host::builder()
        .world(MemoryWorld::new())
        .workflow("double", "//! Doubles a number.\nuse_step(\"double\", input.n)")
        .workflow("waits", WAITS)
        .workflow("fails", "throw \"no\"")
        .workflow("broken", "let = ;")
        .step("double", |_: StepContext, n: i64| async move { Ok::<_, StepError>(n * 2) })
        .step("burn", |_: StepContext, _: Value| async move { Err::<(), _>(StepError::fatal("hot")) })
        .start()
        .await
        .expect("a host")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_from_its_start_to_its_end() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let (status, run) = ask(
        &router,
        "POST",
        "/api/v1/runs",
        Some(json!({ "workflow": "waits", "input": { "n": 4 }, "id": "a/b:1", "tags": { "k": "v" } })),
    )
    .await;
    assert_eq!((status, &run["id"]), (StatusCode::CREATED, &json!("a/b:1")));
    let path = "/api/v1/runs/a%2Fb%3A1";

    let (status, again) =
        ask(&router, "POST", "/api/v1/runs", Some(json!({ "workflow": "waits", "input": { "n": 4 }, "id": "a/b:1" })))
            .await;
    assert_eq!((status, &again["created_at"]), (StatusCode::OK, &run["created_at"]));
    let other = json!({ "workflow": "waits", "input": { "n": 5 }, "id": "a/b:1" });
    assert_eq!(ask(&router, "POST", "/api/v1/runs", Some(other)).await.0, StatusCode::CONFLICT);

    let signal = json!({ "name": "approved", "payload": { "n": 1 }, "id": "s1" });
    assert_eq!(ask(&router, "POST", &format!("{path}/signal"), Some(signal)).await.0, StatusCode::ACCEPTED);
    host.get("a/b:1").await.expect("the run").wait().await.expect("its end");

    let (status, run) = ask(&router, "GET", path, None).await;
    assert_eq!((status, &run["status"], &run["output"]), (StatusCode::OK, &json!("completed"), &json!(9)));
    let (_, page) = ask(&router, "GET", &format!("{path}/events?from=2&limit=2"), None).await;
    assert_eq!(page["events"].as_array().expect("events").len(), 2);
    assert_eq!((&page["events"][0]["seq"], &page["next"]), (&json!(2), &json!(4)));
    let (_, logs) = ask(&router, "GET", &format!("{path}/logs"), None).await;
    assert_eq!(logs["lines"][0]["message"], "asking");

    let (_, list) =
        ask(&router, "GET", "/api/v1/runs?tag=k:v&status=completed&status=failed&workflow=waits", None).await;
    assert_eq!(list["runs"][0]["id"], "a/b:1");
    let (_, list) = ask(&router, "GET", "/api/v1/runs?tag=k:w", None).await;
    assert_eq!(list, json!({ "runs": [], "next": null }));

    assert_eq!(ask(&router, "POST", &format!("{path}/cancel"), None).await.0, StatusCode::CONFLICT);
    assert_eq!(ask(&router, "DELETE", path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&router, "GET", path, None).await.0, StatusCode::NOT_FOUND);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_their_answers() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let runs = "/api/v1/runs";
    for (method, path, body, status) in [
        ("GET", "/healthz", None, 200),
        ("GET", "/readyz", None, 200),
        ("GET", "/api/v1/workflows", None, 200),
        ("GET", "/api/v1/steps", None, 200),
        ("GET", "/api/v1/doctor", None, 200),
        ("GET", "/page/nothing", None, 404),
        ("GET", "/api/v1/nothing", None, 404),
        ("GET", "/api/v1/runs/none", None, 404),
        ("GET", "/api/v1/runs/none/events", None, 404),
        ("POST", "/api/v1/runs/none/cancel", None, 404),
        ("PUT", runs, None, 405),
        ("GET", "/api/v1/steps/double", None, 405),
        ("POST", runs, None, 400),
        ("POST", runs, Some(json!({ "workflow": "nope" })), 404),
        ("POST", runs, Some(json!({ "workflow": "broken" })), 422),
        ("POST", runs, Some(json!({ "workflow": "double", "inptu": {} })), 400),
        ("POST", runs, Some(json!({ "workflow": "double", "id": "a b" })), 400),
        ("POST", runs, Some(json!({ "workflow": "double", "delay": "soon" })), 400),
        ("POST", runs, Some(json!({ "workflow": "double", "delay": "-1" })), 400),
        ("POST", runs, Some(json!({ "workflow": "double", "delay": 1, "at": 1 })), 400),
        ("POST", runs, Some(json!([])), 400),
        ("GET", "/api/v1/runs?status=asleep", None, 400),
        ("GET", "/api/v1/runs?tag=x", None, 400),
        ("GET", "/api/v1/runs?limit=0", None, 400),
        ("GET", "/api/v1/runs?limit=5&limit=6", None, 400),
        ("GET", "/api/v1/runs?colour=red", None, 400),
        ("GET", "/api/v1/runs?since=yesterday", None, 400),
        ("POST", "/api/v1/steps/double", Some(json!({ "input": 21 })), 200),
        ("POST", "/api/v1/steps/double", Some(json!({ "input": "x" })), 400),
        ("POST", "/api/v1/steps/burn", Some(json!({})), 422),
        ("POST", "/api/v1/steps/nope", None, 404),
    ] {
        let (found, value) = ask(&router, method, path, body.clone()).await;
        assert_eq!(found.as_u16(), status, "{method} {path} {body:?}: {value}");
    }
    let (_, workflows) = ask(&router, "GET", "/api/v1/workflows", None).await;
    let find =
        |name: &str| workflows["workflows"].as_array().expect("a list").iter().find(|w| w["name"] == name).cloned();
    assert_eq!(find("double").expect("it is there")["description"], "Doubles a number.");
    assert!(find("broken").expect("it is there")["error"].as_str().expect("an error").contains('^'));
    let (_, doubled) = ask(&router, "POST", "/api/v1/steps/double", Some(json!({ "input": 21 }))).await;
    assert_eq!(doubled, json!({ "output": 42 }));
    let (_, burnt) = ask(&router, "POST", "/api/v1/steps/burn", None).await;
    assert_eq!(burnt["error"]["message"], "hot");
    host.shutdown().await;
    assert_eq!(ask(&router, "GET", "/readyz", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&router, "GET", "/api/v1/doctor", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_key_happens_once() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let start = |key: &str, body: Value| {
        let request = Request::post("/api/v1/runs")
            .header("host", "localhost")
            .header("content-type", "application/json; charset=utf-8")
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .expect("a request");
        send(&router, request)
    };
    let body = json!({ "workflow": "double", "input": { "n": 1 } });
    let (first, run) = start("key-1", body.clone()).await;
    let (second, same) = start("key-1", body).await;
    assert_eq!((first, second), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!((&run["id"], &same["id"]), (&json!("key-1"), &json!("key-1")));
    let both = json!({ "workflow": "double", "input": { "n": 1 }, "id": "key-2" });
    assert_eq!(start("key-1", both).await.0, StatusCode::BAD_REQUEST);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_kind_and_a_size() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let post = |kind: Option<&str>, body: String| {
        let request = Request::post("/api/v1/runs").header("host", "localhost");
        let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        send(&router, request.body(Body::from(body)).expect("a request"))
    };
    let start = json!({ "workflow": "double", "input": { "n": 1 } }).to_string();
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        assert_eq!(post(kind, start.clone()).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind:?}");
    }
    let large = format!("{{\"workflow\":\"double\",\"input\":\"{}\"}}", "x".repeat(durhai_api::BODY_LIMIT));
    assert_eq!(post(Some("application/json"), large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, problem) = post(Some("application/json"), "{\"workflow\":".into()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().expect("text").contains("line 1"), "{problem}");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask() {
    let host = host().await;
    let token = || Some(Token::new("s3cret").expect("a token"));
    let open = Config::default();
    let closed = Config { token: token(), ..Config::default() };
    let wide = Config { token: token(), listen: Some("0.0.0.0:80".parse().expect("an address")), ..Config::default() };
    let named = Config { allowed_hosts: vec!["flows.example".into()], ..Config::default() };
    let api = "/api/v1/runs";
    for (config, path, headers, status) in [
        (&open, api, &[("host", "localhost:7788")][..], 200),
        (&open, api, &[("host", "[::1]:7788")], 200),
        (&open, api, &[("host", "evil.example")], 403),
        (&open, "/healthz", &[("host", "evil.example")], 403),
        (&open, api, &[], 400),
        (&open, api, &[("host", "localhost"), ("origin", "http://evil.example")], 403),
        (&open, api, &[("host", "localhost"), ("origin", "null")], 403),
        (&open, api, &[("host", "localhost:7788"), ("origin", "http://localhost:7788")], 200),
        (&open, api, &[("host", "localhost"), ("sec-fetch-site", "cross-site")], 403),
        (&named, api, &[("host", "flows.example")], 200),
        (&closed, api, &[("host", "localhost")], 401),
        (&closed, api, &[("host", "localhost"), ("authorization", "Bearer s3cret")], 200),
        (&closed, api, &[("host", "localhost"), ("authorization", "bearer s3cret")], 200),
        (&closed, api, &[("host", "localhost"), ("authorization", "Bearer s3cre")], 401),
        (&closed, api, &[("host", "localhost"), ("authorization", "Basic s3cret")], 401),
        (&closed, api, &[("host", "evil.example"), ("authorization", "Bearer s3cret")], 403),
        (&closed, "/healthz", &[("host", "localhost")], 200),
        (&closed, "/readyz", &[("host", "localhost")], 200),
        (&wide, api, &[("host", "box.example"), ("authorization", "Bearer s3cret")], 200),
        (&wide, api, &[("host", "box.example")], 401),
    ] {
        let mut request = Request::builder().method(Method::GET).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let (found, value) = send(&router(host.clone(), config.clone()), request).await;
        assert_eq!(found.as_u16(), status, "{path} {headers:?}: {value}");
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_left_for_another_host_does_not_begin() {
    // One that takes up nothing by itself, as those that leave starts do.
    let host = Host::builder().workflow("double", "input").adopt(false).start().await.expect("a host");
    let router = router(host.clone(), Config { leave_starts: true, ..Config::default() });
    let start = json!({ "workflow": "double", "input": { "n": 1 }, "id": "left" });
    let (_, run) = ask(&router, "POST", "/api/v1/runs", Some(start)).await;
    assert_eq!(run["status"], "pending");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_may_bring_the_span_it_is_part_of() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let (one, other) = (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    );
    let cases: [(&str, &[&str], Option<&str>); 4] = [
        ("led", &[one], Some(one)),
        ("alone", &[], None),
        ("malformed", &["00-1-2-3"], None),
        ("two", &[one, other], None),
    ];
    for (id, spans, kept) in cases {
        let mut request = Request::post("/api/v1/runs").header("host", "127.0.0.1:7788");
        for span in spans {
            request = request.header("traceparent", *span);
        }
        let body = json!({ "workflow": "double", "input": { "n": 1 }, "id": id }).to_string();
        let request = request.header("content-type", "application/json").body(Body::from(body)).expect("a request");
        assert_eq!(send(&router, request).await.0, StatusCode::CREATED, "{id}");
        let (_, page) = ask(&router, "GET", &format!("/api/v1/runs/{id}/events?limit=1"), None).await;
        assert_eq!(page["events"][0]["traceparent"].as_str(), kept, "{id}");
    }
    host.shutdown().await;
}
