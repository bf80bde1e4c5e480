//! What clients send is taken as they meant it, or refused with the place: numbers, keys, tags, parameters.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use durhai::{Host, StepContext, StepError, Value};
use durhai_api::{Config, router};
use serde_json::json;

use crate::common::{ask, plain, send};

const WAITS: &str = r#"
    let h = hook(#{ token: input });
    [suspend("which?"), wait_for("go"), h.wait().body]
"#;

async fn host() -> Host {
    let give = |_: StepContext, value: Value| async move { Ok::<_, StepError>(value) };
    let host =
        Host::builder().step("give", give).workflow("echo", "use_step(\"give\", input)").workflow("waits", WAITS);
    host.start().await.expect("a host")
}

async fn post(router: &Router, path: &str, body: String) -> (StatusCode, Value) {
    let request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
    send(router, request.body(Body::from(body)).expect("a request")).await
}

/// Until it is asked.
async fn asked(host: &Host, id: &str) {
    let mut commits = host.commits();
    while host.get(id).await.expect("a run").suspensions().await.expect("questions").is_empty() {
        commits.recv().await.expect("something happens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_takes_a_number_as_it_is_or_refuses_it() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    host.run("echo").id("e").input(&1).start().await.expect("a run").output::<Value>().await.expect("an output");
    for (at, (number, fits)) in [
        ("9223372036854775807", true),
        ("-9223372036854775808", true),
        ("1e300", true),
        ("1.0", true),
        ("\"123456789012345678901234567890\"", true),
        ("9223372036854775808", false),
        ("18446744073709551615", false),
        ("18446744073709551616", false),
        ("-9223372036854775809", false),
        ("123456789012345678901234567890", false),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("w{at}");
        host.run("waits").id(&id).input(&id).start().await.expect("a run");
        asked(&host, &id).await;
        let value = format!("{{\"a\":[{number}]}}");
        // The route, its body, and where the number is in it.
        for (path, body, place) in [
            ("/api/v1/runs", format!("{{\"workflow\":\"echo\",\"input\":{value}}}"), "input.a[0]"),
            (&format!("/api/v1/runs/{id}/signal"), format!("{{\"name\":\"go\",\"payload\":{value}}}"), "payload.a[0]"),
            (&format!("/api/v1/runs/{id}/resume"), format!("{{\"data\":{value}}}"), "data.a[0]"),
            (&format!("/hooks/{id}"), value.clone(), "body.a[0]"),
            ("/api/v1/steps/give", format!("{{\"input\":{value}}}"), "input.a[0]"),
            ("/api/v1/runs/e/fork", format!("{{\"after\":\"1\",\"set\":{{\"1\":{value}}}}}"), "set[\"1\"].a[0]"),
            ("/api/v1/runs/e/replay", format!("{{\"set\":{{\"1\":{value}}}}}"), "set[\"1\"].a[0]"),
            ("/api/v1/runs/e/trace", format!("{{\"set\":{{\"1\":{value}}}}}"), "set[\"1\"].a[0]"),
        ] {
            let (status, answer) = post(&router, path, body).await;
            match fits {
                true => assert!(status.is_success(), "{path} {number}: {answer}"),
                false => {
                    let detail = answer["detail"].as_str().expect("a problem").to_owned();
                    let said = format!("{place}: {number} does not fit into 64 bits: send it as text");
                    assert!(status == StatusCode::BAD_REQUEST && detail.ends_with(&said), "{path}: {detail}");
                }
            }
        }
        let run = host.get(&id).await.expect("a run");
        match fits {
            true => {
                let value: Value = serde_json::from_str(&value).expect("JSON");
                let output: Value = run.output().await.expect("an output");
                assert_eq!(output.to_string(), json!([value, value, value]).to_string());
            }
            false => run.terminate("nothing reached it").await.expect("it is there"),
        }
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_key_makes_a_start_idempotent() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let start = async |key: &str, body: Value| {
        let request = Request::post("/api/v1/runs").header("host", "localhost").header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string()));
        send(&router, request.expect("a request")).await
    };
    let long = "k".repeat(255);
    // Ways to write a key, the key, and whether it is the id of its run.
    for (keys, key, is_id) in [
        (&["order-42", "\"order-42\"", " order-42 "][..], "order-42", true),
        (
            &["\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"],
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            true,
        ),
        (&["monthly report, March", "\"monthly report, March\""], "monthly report, March", false),
        (&[&long], &long, false),
        (&["\"say \\\"hi\\\"\"", "say \"hi\""], "say \"hi\"", false),
    ] {
        let body = json!({ "workflow": "echo", "input": keys[0], "tags": { "mine": "1" } });
        let (status, first) = start(keys[0], body.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{keys:?}: {first}");
        if is_id {
            assert_eq!((&first["id"], &first["tags"]), (&json!(key), &json!({ "mine": "1" })));
        } else {
            assert!(first["id"].as_str().expect("an id").starts_with("key-"), "{first}");
            assert_eq!(first["tags"], json!({ "mine": "1", "idempotency_key": key }), "it is found by its key");
        }
        for key in keys {
            let (status, again) = start(key, body.clone()).await;
            assert_eq!((status, &again["id"]), (StatusCode::OK, &first["id"]), "{key}");
            let (status, _) = start(key, json!({ "workflow": "echo", "input": "other" })).await;
            assert_eq!(status, StatusCode::CONFLICT, "{key}");
        }
    }
    let body = json!({ "workflow": "echo" });
    for (key, said) in [("", "is empty"), ("\"open", "in quotes"), (&*"k".repeat(256), "256 bytes; it can have 255")] {
        let (status, problem) = start(key, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{key}");
        assert!(problem["detail"].as_str().expect("text").contains(said), "{problem}");
    }
    let (status, problem) = start("a b", json!({ "workflow": "echo", "id": "other" })).await;
    assert!(status == StatusCode::BAD_REQUEST && problem["detail"].as_str().expect("text").contains("key-"));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_have_limits() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let start = async |tags: &BTreeMap<String, String>| {
        ask(&router, "POST", "/api/v1/runs", Some(json!({ "workflow": "echo", "tags": tags }))).await
    };
    let many = |count: usize| (0..count).map(|n| (format!("k{n}"), "v".into())).collect::<BTreeMap<_, _>>();
    let one = |key: usize, value: usize| BTreeMap::from([("k".repeat(key), "v".repeat(value))]);
    for (tags, said) in [
        (many(32), None),
        (one(64, 256), None),
        (many(33), Some("33 tags are given; a run can have 32")),
        (one(65, 1), Some("has 65 bytes; it can have 64")),
        (one(1, 257), Some("has 257 bytes; it can have 256")),
    ] {
        let (status, answer) = start(&tags).await;
        match said {
            None => assert_eq!((status, &answer["tags"]), (StatusCode::CREATED, &json!(tags))),
            Some(said) => {
                assert_eq!(status, StatusCode::BAD_REQUEST);
                assert!(answer["detail"].as_str().expect("text").contains(said), "{answer}");
            }
        }
    }
    host.shutdown().await;
}

/// Each parameter of each route that is a list may be repeated, each other one may not: none of several is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_given_twice_is_never_passed_over() {
    let host = host().await;
    host.run("echo").id("e").start().await.expect("a run").output::<Value>().await.expect("an output");
    let router = router(host.clone(), Config::default());
    let (_, document) = ask(&plain().await, "GET", "/api/v1/openapi.json", None).await;
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] != "query" || parameter["schema"]["type"] == "array" {
                    continue;
                }
                seen += 1;
                let path = path.replace("{id}", "e").replace("{name}", "echo").replace("{version}", "serving");
                let name = parameter["name"].as_str().expect("a name");
                let path = format!("{path}?{name}=1&{name}=1");
                let (status, problem) = ask(&router, &method.to_uppercase(), &path, None).await;
                assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {path}");
                let said = format!("the parameter `{name}` is given 2 times");
                assert!(problem["detail"].as_str().expect("text").contains(&said), "{method} {path}: {problem}");
            }
        }
    }
    assert!(seen > 20, "{seen}");
    host.shutdown().await;
}
