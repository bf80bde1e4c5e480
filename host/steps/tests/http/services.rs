//! Services that settings declare as steps.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use durhai::{FailureKind, Status};
use durhai_steps::{Declared, SecretSource, ServiceStep, StepEnvConfig};
use serde_json::{Value, json};

use super::Place;
use super::resolves_to;
use super::server::{Reply, Seen, Server, answer};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A host whose step `score` is this service. Nothing is granted.
async fn place(service: ServiceStep) -> Place {
    let declared = BTreeMap::from([("score".to_owned(), Declared::Service(service))]);
    let mut config = StepEnvConfig { declared, ..StepEnvConfig::default() };
    config.http.resolver = resolves_to(&["127.0.0.1"]);
    Place::new(config).await
}

fn at(url: String) -> ServiceStep {
    ServiceStep { url, ..ServiceStep::default() }
}

fn reply(seen: &Seen, n: usize) -> Reply {
    match &*seen.target {
        "/echo" => answer(200, &[], &seen.body),
        "/null" => answer(200, &JSON, "null"),
        "/empty" => answer(204, &[], ""),
        "/html" => answer(200, &[("content-type", "text/html")], "<html>hello</html>"),
        "/large" => answer(200, &JSON, format!("\"{}\"", "x".repeat(2_097_152))),
        "/busy" if n < 2 => answer(503, &[("retry-after", "0")], ""),
        "/down" => answer(500, &[], "oops"),
        "/refused" => answer(422, &JSON, r#"{ "field": "name" }"#),
        "/moved" => answer(307, &[("location", "/echo")], ""),
        "/moved-for-good" => answer(301, &[("location", "/seen")], ""),
        "/see-other" => answer(303, &[("location", "/seen")], ""),
        "/moved-away" => answer(307, &[("location", "http://127.0.0.2:1/")], ""),
        "/closed" => Reply::Bytes(Vec::new()),
        _ => answer(200, &JSON, json!({ "method": seen.method }).to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_outcome() {
    let input = json!({ "name": "ann", "list": [1, null] });
    for (path, requests, wanted) in [
        ("/echo", 1, Ok(input.clone())),
        ("/null", 1, Ok(json!(null))),
        ("/empty", 1, Ok(json!(null))),
        ("/seen", 1, Ok(json!({ "method": "POST" }))),
        ("/busy", 3, Ok(json!({ "method": "POST" }))),
        ("/moved", 2, Ok(input.clone())),
        ("/moved-for-good", 2, Ok(json!({ "method": "POST" }))),
        ("/see-other", 2, Ok(json!({ "method": "GET" }))),
        ("/html", 1, Err("answered 200 OK, but not with JSON (expected value at line 1 column 1): <html>hello</html>")),
        ("/large", 1, Err("more than 2097152 bytes")),
        ("/refused", 1, Err("/refused answered 422 Unprocessable Entity: { \"field\": \"name\" }")),
        ("/moved-away", 1, Err("was redirected to http://127.0.0.2:1/: a declared service is followed only within")),
        ("/down", 4, Err("/down answered 500 Internal Server Error: oops")),
        ("/closed", 4, Err("/closed failed: ")),
    ] {
        let server = Server::start(reply).await;
        let view = place(at(server.url(path))).await.run("score", input.clone()).await;
        match (&view.error, wanted) {
            (None, Ok(output)) => assert_eq!(view.output, output, "{path}"),
            (Some(error), Err(part)) => assert!(error.message.contains(part), "{path}: {}", error.message),
            (found, wanted) => panic!("{path}: {found:?}, wanted {wanted:?}"),
        }
        assert_eq!(server.seen().len(), requests, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_told_who_asks() {
    let server = Server::start(|_, n| if n == 0 { answer(500, &[], "") } else { answer(200, &JSON, "true") }).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "sk-live/4242").unwrap();
    let mut service = at(format!("http://score.test:{}/v1?model=2", server.port));
    service.headers = BTreeMap::from([("X-Tenant".into(), "acme".into())]);
    service.secrets = BTreeMap::from([("X-Api-Key".into(), "key".into())]);
    service.bearer = Some("key".into());
    let mut config = StepEnvConfig {
        declared: BTreeMap::from([("score".to_owned(), Declared::Service(service))]),
        secrets: BTreeMap::from([("key".to_owned(), SecretSource::File(folder.path().join("key")))]),
        ..StepEnvConfig::default()
    };
    config.http.resolver = resolves_to(&["127.0.0.1"]);
    let place = Place::new(config).await;
    let run = place.start("told", "score", &json!([1]), 4).await;
    assert_eq!(run.wait().await.unwrap().output, json!(true));
    let events = run.events(1, 10).await.unwrap();
    let step = events.iter().find_map(|event| event.step_id.clone()).unwrap().to_string();
    for (attempt, seen) in server.seen().iter().enumerate() {
        assert_eq!((&*seen.method, &*seen.target, &*seen.body), ("POST", "/v1?model=2", "[1]"));
        for (header, wanted) in [
            ("content-type", "application/json"),
            ("accept", "application/json"),
            ("host", &*format!("score.test:{}", server.port)),
            ("idempotency-key", &*format!("told/{step}")),
            ("durhai-run", "told"),
            ("durhai-step", &*step),
            ("durhai-attempt", &*(attempt + 1).to_string()),
            ("x-tenant", "acme"),
            ("x-api-key", "sk-live/4242"),
            ("authorization", "Bearer sk-live/4242"),
        ] {
            assert_eq!(seen.header(header), Some(wanted), "{header}");
        }
    }
    assert_eq!(server.seen().len(), 2);
    // What the settings may reach, scripts may not, also where a connection is open.
    let error = place.fails("http.get", json!(format!("http://score.test:{}/", server.port))).await;
    assert!(error.message.contains("--allow-net=score.test:"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer() {
    let server = Server::start(|_, _| Reply::Silence).await;
    let slow = ServiceStep { timeout: Some(Duration::from_millis(50)), ..at(server.url("/")) };
    let error = place(slow).await.fails("score", Value::Null).await;
    assert_eq!((error.kind, error.attempts), (FailureKind::StepFailed, 4));
    assert!(error.message.contains("longer than its timeout of 50ms"), "{}", error.message);

    let server = Server::start(|_, _| Reply::Silence).await;
    let place = place(at(server.url("/"))).await;
    let run = place.start("cancelled", "score", &Value::Null, 4).await;
    server.came().await;
    run.cancel("enough").await.unwrap();
    server.left().await;
    assert_eq!(run.wait().await.unwrap().status, Status::Cancelled);
    assert_eq!(server.seen().len(), 1);
}
