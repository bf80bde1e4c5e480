//! What comes from outside while a run waits: requests to hooks, and answers of people.

use crate::common::{ask, send};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use durhai::{Host, Run, Status, Value};
use durhai_api::{Config, Token, router};
use serde_json::json;

const HOOKED: &str = r#"
    let hook = hook(#{ token: input });
    let first = hook.wait();
    let second = hook.wait();
    hook.close();
    wait_for("go");
    [first, second]
"#;
const PICKY: &str = r#"
    hook(#{ token: "picky", schema: #{ type: "object", required: ["n"], properties: #{ n: #{ type: "integer" } } } }).wait().body
"#;
const ASKS: &str = r#"
    let answers = parallel(#{
        a: || suspend(#{ price: 5 }, #{ label: "price", schema: #{ type: "object", required: ["ok"] } }),
        b: || suspend("name?", #{ label: "name", timeout: "1h" })
    });
    set_state("answers", answers);
    set_status("answered");
    emit(answers.a);
    emit("names", answers.b);
    answers
"#;

async fn host() -> Host {
    let host = Host::builder().workflow("hooked", HOOKED).workflow("picky", PICKY).workflow("asks", ASKS);
    host.public_url("https://flows.example").start().await.expect("a host")
}

/// Waits until the run stands there.
async fn until(host: &Host, run: &Run, status: Status) {
    let mut commits = host.commits();
    while run.status().await.expect("a status") != status {
        commits.recv().await.expect("something happens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_hooks_reach_the_script_and_nobody_else() {
    let host = host().await;
    let token = Token::new("s3cret").expect("a token");
    let config = Config { token: Some(token), hook_hosts: vec!["flows.example".into()], ..Config::default() };
    let router = router(host.clone(), config);
    let run = host.run("hooked").id("h").input("tok").start().await.expect("a run");
    until(&host, &run, Status::Waiting).await;

    // From a page of another site, by the public name, without a token of the API.
    let request = Request::put("/hooks/tok?a=1&a=2&b=%20")
        .header("host", "flows.example")
        .header("origin", "https://shop.example")
        .header("sec-fetch-site", "cross-site")
        .header("content-type", "application/json")
        .header("idempotency-key", "one")
        .header("x-sign", "abc");
    let (status, body) = send(&router, request.body(Body::from("{\"n\":1}")).expect("a request")).await;
    assert_eq!((status, body), (StatusCode::ACCEPTED, json!({})));
    let bearer = |key: &str| {
        Request::post("/hooks/tok")
            .header("host", "localhost")
            .header("authorization", "Bearer s3cret")
            .header("idempotency-key", key)
            .body(Body::from("plain"))
            .expect("a request")
    };
    assert_eq!(send(&router, bearer("one")).await.0, StatusCode::ACCEPTED);
    assert_eq!(send(&router, bearer("two")).await.0, StatusCode::ACCEPTED);
    host_closes(&host, &run).await;

    let (closed, said) = ask_as("tok", &router).await;
    let (never, also) = ask_as("nonsense", &router).await;
    assert_eq!((closed, &said), (StatusCode::NOT_FOUND, &also));
    assert_eq!(never, StatusCode::NOT_FOUND);

    run.signal("go", &()).await.expect("a signal");
    let output: Value = run.output().await.expect("an output");
    assert_eq!(output[0]["method"], "PUT");
    assert_eq!(output[0]["body"], json!({ "n": 1 }));
    assert_eq!(output[0]["query"], json!({ "a": ["1", "2"], "b": " " }));
    assert_eq!(output[0]["headers"]["x-sign"], "abc");
    // The same key was delivered once; the secret of the API is not in any log.
    assert_eq!((&output[1]["body"], &output[1]["headers"]["authorization"]), (&json!("plain"), &Value::Null));
    assert_eq!(output[1]["headers"]["idempotency-key"], "two");
    host.shutdown().await;
}

/// Waits until its hook is closed.
async fn host_closes(host: &Host, run: &Run) {
    let mut commits = host.commits();
    let closed = |events: &[durhai::Event]| events.iter().any(|event| event.body.name() == "hook_closed");
    while !closed(&run.events(1, 100).await.expect("events")) {
        commits.recv().await.expect("something happens");
    }
}

async fn ask_as(token: &str, router: &axum::Router) -> (StatusCode, Value) {
    let request = Request::get(format!("/hooks/{token}")).header("host", "localhost").body(Body::empty());
    send(router, request.expect("a request")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hook_refuses() {
    let host = host().await;
    let router = router(host.clone(), Config { hook_hosts: vec!["flows.example".into()], ..Config::default() });
    let run = host.run("picky").start().await.expect("a run");
    until(&host, &run, Status::Waiting).await;
    let post = |path: &'static str, at: &'static str, kind: &'static str, body: &'static str| {
        let request = Request::post(path).header("host", at).header("content-type", kind);
        send(&router, request.body(Body::from(body)).expect("a request"))
    };
    let json = "application/json";
    for (path, at, kind, body, status) in [
        ("/hooks/picky", "evil.example", json, "{\"n\":1}", 403),
        ("/api/v1/runs", "flows.example", json, "{}", 403),
        ("/hooks/picky", "localhost", json, "{\"n\":", 400),
        ("/hooks/picky", "localhost", json, "{\"n\":\"x\"}", 400),
        ("/hooks/picky", "localhost", json, "{}", 400),
        ("/hooks/pick%FF", "localhost", json, "{\"n\":1}", 404),
        ("/hooks/", "localhost", json, "{\"n\":1}", 404),
        ("/hooks", "localhost", json, "{\"n\":1}", 404),
    ] {
        let (found, value) = post(path, at, kind, body).await;
        assert_eq!(found.as_u16(), status, "{path} {body}: {value}");
    }
    let (_, problem) = post("/hooks/picky", "localhost", json, "{\"n\":\"x\"}").await;
    assert!(problem["detail"].as_str().expect("text").contains('n'), "{problem}");
    for method in ["HEAD", "OPTIONS", "TRACE"] {
        let request = Request::builder().method(method).uri("/hooks/picky").header("host", "localhost");
        let answer = tower::ServiceExt::oneshot(router.clone(), request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.expect("infallible").status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(run.status().await.expect("a status"), Status::Waiting, "nothing reached it");
    assert_eq!(post("/hooks/picky", "flows.example:443", json, "{\"n\":3}").await.0, StatusCode::ACCEPTED);
    assert_eq!(run.output::<Value>().await.expect("an output"), json!({ "n": 3 }));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_asked_and_answer() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let run = host.run("asks").id("a/1").start().await.expect("a run");
    until(&host, &run, Status::Suspended).await;
    let path = "/api/v1/runs/a%2F1";
    let (_, open) = ask(&router, "GET", &format!("{path}/suspensions"), None).await;
    let open = open["suspensions"].as_array().expect("a list").clone();
    assert_eq!((&open[0]["label"], &open[0]["payload"]), (&json!("price"), &json!({ "price": 5 })));
    assert_eq!(open[0]["schema"]["required"], json!(["ok"]));
    assert!(open[1]["until"].as_u64().expect("a time") > open[1]["since"].as_u64().expect("a time"));

    let resume = format!("{path}/resume");
    for (body, status) in [
        (json!({ "data": 1 }), 409),
        (json!({ "label": "colour", "data": 1 }), 409),
        (json!({ "label": "price", "data": {} }), 400),
        (json!({ "label": "price", "answer": 1 }), 400),
        (json!({ "label": "price", "data": { "ok": true } }), 202),
        (json!({ "label": "price", "data": { "ok": false } }), 409),
        (json!({ "label": "name", "data": "Ada" }), 202),
    ] {
        let (found, value) = ask(&router, "POST", &resume, Some(body.clone())).await;
        assert_eq!(found.as_u16(), status, "{body}: {value}");
    }
    let output: Value = run.output().await.expect("an output");
    assert_eq!(output, json!({ "a": { "ok": true }, "b": "Ada" }));
    assert_eq!(ask(&router, "POST", &resume, Some(json!({ "data": 1 }))).await.0, StatusCode::CONFLICT);
    assert_eq!(ask(&router, "GET", &format!("{path}/state"), None).await.1, json!({ "answers": output }));
    assert_eq!(ask(&router, "GET", path, None).await.1["status_text"], "answered");
    let (_, streams) = ask(&router, "GET", &format!("{path}/streams"), None).await;
    assert_eq!(streams["streams"], json!([{ "name": "default", "entries": 1 }, { "name": "names", "entries": 1 }]));
    let (_, page) = ask(&router, "GET", &format!("{path}/output?stream=names"), None).await;
    assert_eq!((&page["entries"][0]["value"], &page["entries"][0]["index"]), (&json!("Ada"), &json!(0)));
    for wrong in ["stream=a&stream=b", "limit=0", "from=-1", "colour=red"] {
        assert_eq!(ask(&router, "GET", &format!("{path}/output?{wrong}"), None).await.0, StatusCode::BAD_REQUEST);
    }
    for missing in ["state", "streams", "output", "suspensions"] {
        let (status, _) = ask(&router, "GET", &format!("/api/v1/runs/none/{missing}"), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{missing}");
    }
    host.shutdown().await;
}
