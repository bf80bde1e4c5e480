//! The description of the API holds together: by itself, and with the routes.

use std::collections::BTreeSet;

use crate::common::contract::{Contract, walk};
use crate::common::plain;
use axum::body::Body;
use axum::http::Request;
use durhai::{Host, Value};
use durhai_api::{Config, PROBLEMS, Token, router};
use serde_json::json;
use tower::ServiceExt;

fn operations(contract: &Contract) -> Vec<(&String, &String, &Value)> {
    let paths = contract.document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().expect("methods").iter().map(move |(method, operation)| (path, method, operation))
        })
        .collect()
}

#[tokio::test]
async fn every_operation_is_described_whole() {
    let contract = Contract::of(&plain().await, None).await;
    assert_eq!(contract.document["openapi"], "3.1.0");
    let tags: BTreeSet<_> =
        contract.document["tags"].as_array().expect("tags").iter().map(|tag| tag["name"].clone().to_string()).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&contract) {
        let place = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().expect(&place)), "{place}: its id is not its own");
        let summary = operation["summary"].as_str().expect(&place);
        assert!(summary.ends_with('.') && !summary.contains("GET"), "{place}: {summary:?}");
        for tag in operation["tags"].as_array().expect(&place) {
            assert!(tags.contains(&tag.to_string()), "{place}: {tag}");
        }
        for param in operation["parameters"].as_array().expect(&place) {
            assert!(param["description"].is_string() && param["schema"].is_object(), "{place}: {param}");
            if let Some(example) = param.get("example") {
                contract.fit(&param["schema"], example, &place);
            }
        }
        let responses = operation["responses"].as_object().expect(&place);
        assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
        for status in ["400", "403", "500", "503"] {
            assert!(responses.contains_key(status), "{place}: {status}");
        }
        let takes_json = operation.pointer("/requestBody/content/application~1json").is_some();
        assert_eq!(responses.contains_key("415"), takes_json, "{place}");
    }
    let known: BTreeSet<_> = PROBLEMS.iter().map(|(_, status, _)| status.to_string()).collect();
    let described = contract.document["components"]["responses"].as_object().expect("responses");
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), known);
}

#[tokio::test]
async fn references_resolve_and_examples_fit() {
    let contract = Contract::of(&plain().await, None).await;
    walk(&contract.document, &mut |value| {
        if let Some(reference) = value["$ref"].as_str() {
            let there = contract.document.pointer(reference.trim_start_matches('#')).is_some();
            assert!(reference.starts_with("#/components/") && there, "{reference}");
        }
    });
    let mut used = BTreeSet::new();
    walk(&contract.document, &mut |value| {
        used.extend(value["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()).map(String::from));
    });
    // Some are for messages and lines, which are described in words.
    used.extend(["Cut", "TraceLine", "Changes", "Hello", "Report", "LogLine", "OutputEntry"].map(String::from));
    for (name, schema) in contract.document["components"]["schemas"].as_object().expect("schemas") {
        assert!(used.contains(name), "nothing refers to {name}");
        let validator = contract.schema(name);
        let examples = schema["examples"].as_array().into_iter().flatten().chain(schema.get("example"));
        for example in examples {
            assert!(validator.is_valid(example), "{name}: {example}");
        }
    }
}

/// What is described is there, and the other methods are not: what `Allow` says is what is described.
#[tokio::test]
async fn what_is_described_is_what_is_routed() {
    let router = plain().await;
    let contract = Contract::of(&router, None).await;
    for (path, item) in contract.document["paths"].as_object().expect("paths") {
        let at =
            path.replace("{id}", "none").replace("{name}", "none").replace("{version}", "ff").replace("{token}", "x");
        let request = Request::builder().method("PROPFIND").uri(&at).header("host", "localhost");
        let response =
            router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
        assert_eq!(response.status(), 405, "{path}");
        let allowed: BTreeSet<_> = response.headers()["allow"]
            .to_str()
            .expect("text")
            .split(',')
            .map(|method| method.trim().to_ascii_lowercase())
            .filter(|method| method != "head")
            .collect();
        let described: BTreeSet<_> = item.as_object().expect("methods").keys().cloned().collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_described_is_taken_and_others_are_not() {
    let router = plain().await;
    let contract = Contract::of(&router, None).await;
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method.to_uppercase().as_str()).uri(path).header("host", "localhost");
        let response =
            router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20);
        let text = tokio::time::timeout(std::time::Duration::from_millis(200), bytes).await;
        text.map(|bytes| String::from_utf8_lossy(&bytes.expect("bytes")).into_owned()).unwrap_or_default()
    };
    let unknown = "there is no parameter";
    for (path, method, operation) in operations(&contract) {
        // Where a run is named, it is looked for first.
        if path.contains('{') || *method != "get" && *path != "/api/v1/import" {
            continue;
        }
        for param in operation["parameters"].as_array().expect("parameters") {
            let name = param["name"].as_str().expect("a name");
            if param["in"] == "query" {
                let answer = ask(method, &format!("{path}?{name}=1")).await;
                assert!(!answer.contains(unknown), "{method} {path}: {name}: {answer}");
            }
        }
        if operation["parameters"].as_array().is_some_and(|params| !params.is_empty()) || path.ends_with("/backup") {
            let answer = ask(method, &format!("{path}?colour=red")).await;
            assert!(answer.contains(unknown), "{method} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let host = Host::builder().start().await.expect("a host");
    let token = Config { token: Some(Token::new("s3cret").expect("a token")), ..Config::default() };
    let open = Contract::of(&router(host.clone(), Config::default()), None).await;
    let closed = Contract::of(&router(host.clone(), token), Some("s3cret")).await;
    for (path, method, operation) in operations(&open) {
        assert_eq!(operation.get("security"), None, "{method} {path}");
    }
    for (path, method, operation) in operations(&closed) {
        let wanted = (path.starts_with("/api/") || *path == "/metrics").then(|| json!([{ "bearer": [] }]));
        assert_eq!(operation.get("security"), wanted.as_ref(), "{method} {path}");
    }
    host.shutdown().await;
}
