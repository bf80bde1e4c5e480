//! The span of an attempt goes out with its requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai::observe::{AttemptEnded, Observer, RunEnded, TraceContext};
use durhai::{Host, RunId, StepId};
use durhai_steps::{BuiltinSteps, Declared, DeclaredSteps, RhaiSteps, ServiceStep, StepEnvConfig, StepEnvHandle};
use serde_json::json;

use super::server::{Seen, Server, answer};
use super::{Place, config, resolves_to};

const STARTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What the run `ID` of `call` sends from its step: that is its first durable call.
fn span(id: &str, attempt: u32, starter: Option<&str>) -> TraceContext {
    let (run, step) = (RunId::new(id).unwrap(), StepId::parse("1").unwrap());
    let starter = starter.map(|text| TraceContext::parse(text).unwrap());
    TraceContext::of_run(&run, starter.as_ref()).of_attempt(&run, &step, attempt)
}

fn seen(server: &Server) -> Vec<Option<String>> {
    server.seen().iter().map(|seen| seen.header("traceparent").map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_names_the_span_of_its_attempt() {
    let server = Server::start(|_, n| answer(if n % 2 == 0 { 503 } else { 200 }, &[], "")).await;
    let service = Declared::Service(ServiceStep { url: server.url("/"), ..ServiceStep::default() });
    let declared = BTreeMap::from([("score".to_owned(), service)]);
    let place = Place::new(StepEnvConfig { declared, ..config("127.0.0.1") }).await;
    place.script("ask", "fn it(url) { http::get(url).body }");
    let url = json!(server.url("/"));
    let mut wanted = Vec::new();
    for (id, step) in [("built-in", "http.get"), ("rhai", "ask.it"), ("service", "score")] {
        let run = place.start(id, step, &url, 4).await;
        assert_eq!(run.wait().await.unwrap().error, None, "{step}");
        wanted.extend([1, 2].map(|attempt| Some(span(id, attempt, None).to_string())));
    }
    assert_eq!(seen(&server), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_is_that_of_the_start_and_recorded_if_it_says_so() {
    let server = Server::always(200, &[], "").await;
    let place = Place::granted("127.0.0.1").await;
    let input = json!({ "step": "http.get", "with": server.url("/") });
    let unsampled = STARTER.replace("-01", "-00");
    for (id, starter) in [("led", STARTER), ("led-silently", &unsampled), ("misled", "00-not-one")] {
        let start = place.host.run("call").id(id).input(&input).traceparent(starter);
        assert_eq!(start.start().await.unwrap().wait().await.unwrap().error, None);
    }
    assert_eq!(
        seen(&server),
        [
            Some(span("led", 1, Some(STARTER)).to_string()),
            Some(span("led-silently", 1, Some(&unsampled)).to_string()),
            Some(span("misled", 1, None).to_string()),
        ]
    );
    assert!(seen(&server)[0].as_ref().unwrap().ends_with("-01") && seen(&server)[1].as_ref().unwrap().ends_with("-00"));
}

struct Watching;

impl Observer for Watching {
    fn attempt_ended(&self, _: &AttemptEnded) {}
    fn run_ended(&self, _: &RunEnded) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_records_is_flagged() {
    let server = Server::always(200, &[], "").await;
    let folder = tempfile::tempdir().unwrap();
    let step_env = StepEnvHandle::new(config("127.0.0.1"));
    let host = Host::builder()
        .workflow("call", "use_step(\"http.get\", input)")
        .steps(Arc::new(RhaiSteps::open(folder.path(), step_env.clone())))
        .steps(Arc::new(BuiltinSteps::new(step_env.clone())))
        .steps(Arc::new(DeclaredSteps::new(step_env)))
        .observe(Arc::new(Watching))
        .start()
        .await
        .unwrap();
    host.run("call").id("told").input(&server.url("/")).start().await.unwrap().wait().await.unwrap();
    assert_eq!(seen(&server), [Some(span("told", 1, None).sampled(true).to_string())]);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_script_says_counts_and_no_other_origin_is_told() {
    let told = |seen: &Seen| seen.header("traceparent").unwrap_or("none").to_owned();
    let other = Server::start(move |seen, _| answer(200, &[], told(seen))).await;
    let port = other.port;
    let door = Server::start(move |seen, _| match &*seen.target {
        "/same" => answer(307, &[("location", "/")], ""),
        "/away" => answer(307, &[("location", &format!("http://api.test:{port}/"))], ""),
        _ => answer(200, &[], told(seen)),
    });
    let door = door.await;
    let mut config = config("api.test,127.0.0.1");
    config.http.resolver = resolves_to(&["127.0.0.1"]);
    let place = Place::new(config).await;
    for (id, path, headers, wanted) in [
        ("same", "/same", json!({}), span("same", 1, None).to_string()),
        ("away", "/away", json!({}), "none".into()),
        ("own", "/same", json!({ "Traceparent": "mine" }), "mine".into()),
        ("own-away", "/away", json!({ "traceparent": "mine" }), "none".into()),
    ] {
        let url = format!("http://api.test:{}{path}", door.port);
        let run = place.start(id, "http.get", &json!({ "url": url, "headers": headers }), 1).await;
        assert_eq!(run.wait().await.unwrap().output["body"], wanted, "{id}");
    }
}
