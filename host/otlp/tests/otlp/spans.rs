//! What the spans of runs and attempts say.

use std::sync::Arc;

use durhai::observe::TraceContext;
use durhai::{Host, HostBuilder, MemoryWorld, RunId, StepContext, StepError, StepId, Value};
use durhai_steps::{BuiltinSteps, NetGrant, Permissions, StepEnvConfig, StepEnvHandle};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;

use crate::collector::{Collector, Got, attribute, hex, texts};

const STARTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const STARTER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

const ORDER: &str = r#"
    use_step("flaky", (), #{ retry: #{ initial: "1ms", jitter: 0.0 } });
    let child = run_workflow("child", input);
    try { use_step("broken") } catch (e) { }
    start_workflow("beside", (), #{ id: "beside" });
    child
"#;

fn host() -> HostBuilder {
    Host::builder()
        .workflow("order", ORDER)
        .workflow("child", "use_step(\"greet\", input)")
        .workflow("beside", "1")
        .workflow("fails", "throw \"no luck with hunter2\"")
        .step("flaky", |ctx: StepContext, _: Value| async move {
            if ctx.attempt() == 1 { Err(StepError::retry("busy")) } else { Ok(ctx.traceparent()) }
        })
        .step("greet", |_: StepContext, name: String| async move { Ok::<_, StepError>(format!("hello {name}")) })
        .step(
            "broken",
            |_: StepContext, _: Value| async move { Err::<(), _>(StepError::fatal("the key hunter2 is wrong")) },
        )
        .mask(|text| text.contains("hunter2").then(|| text.replace("hunter2", "***")))
}

/// What a collector has once such a host has run and stopped.
async fn told<F: Future<Output = ()>>(
    builder: HostBuilder,
    variables: &[(&str, &str)],
    run: impl FnOnce(Host) -> F,
) -> Got {
    let collector = Collector::start([]).await;
    let exporter = collector.exporter(variables);
    let host = builder.observe(exporter.observer()).start().await.unwrap();
    run(host.clone()).await;
    host.shutdown().await;
    exporter.shutdown().await;
    collector.got()
}

async fn end(host: &Host, id: &str) {
    host.get(id).await.unwrap().wait().await.unwrap();
}

fn span_of(run: &str) -> String {
    TraceContext::of_run(&RunId::new(run).unwrap(), None).span.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_all_that_can_happen() {
    let got = told(host(), &[("OTEL_SERVICE_NAME", "shop")], async |host: Host| {
        let start = host.run("order").id("order-1").input("Ada").tag("tenant", "acme").tag("key", "hunter2");
        start.traceparent(STARTER).start().await.unwrap();
        end(&host, "order-1").await;
        end(&host, "beside").await;
    })
    .await;
    assert_eq!((&*got.resource["service.name"], got.resource.contains_key("service.instance.id")), ("shop", true));
    assert_eq!(got.spans.len(), 3 + 4, "{:?}", got.spans);
    for span in &got.spans {
        assert_eq!(hex(&span.trace_id), STARTER_TRACE, "{}", span.name);
        assert_eq!(span.flags & 0xff, 1, "{}", span.name);
        assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
        assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
    }

    let order = got.one("order");
    assert_eq!((hex(&order.span_id), hex(&order.parent_span_id)), (span_of("order-1"), "b7ad6b7169203331".into()));
    assert_eq!((order.kind(), order.flags), (SpanKind::Server, 0x301));
    assert_eq!(order.status, None);
    let attributes = texts(&order.attributes);
    for (key, value) in [
        ("durhai.run_id", "order-1"),
        ("durhai.workflow", "order"),
        ("durhai.status", "completed"),
        ("durhai.tag.tenant", "acme"),
        ("durhai.tag.key", "***"),
    ] {
        assert_eq!(attributes[key], value);
    }
    assert_eq!(attributes["durhai.version"].len(), 64);

    let child = got.one("child");
    assert_eq!((hex(&child.parent_span_id), child.kind()), (hex(&order.span_id), SpanKind::Internal));
    assert_eq!(attribute(child, "durhai.parent_run_id"), "order-1");
    let beside = got.one("beside");
    assert_eq!((hex(&beside.span_id), &beside.parent_span_id), (span_of("beside"), &order.span_id));

    let flaky = got.named("flaky");
    assert_eq!(flaky.len(), 2);
    for (attempt, span) in (1..).zip(&flaky) {
        let (run, step) = (RunId::new("order-1").unwrap(), StepId::parse("1").unwrap());
        let named = TraceContext::of_run(&run, None).of_attempt(&run, &step, attempt);
        assert_eq!((hex(&span.span_id), &span.parent_span_id), (named.span.to_string(), &order.span_id));
        assert_eq!(attribute(span, "durhai.attempt"), attempt.to_string());
        assert_eq!((attribute(span, "durhai.step"), attribute(span, "durhai.step_id")), ("flaky".into(), "1".into()));
        assert_eq!(span.kind(), SpanKind::Internal);
    }
    assert_eq!(
        flaky[0].status.as_ref().map(|status| (status.code(), &*status.message)),
        Some((StatusCode::Error, "busy"))
    );
    assert_eq!((flaky[1].status.as_ref(), attribute(flaky[1], "durhai.outcome")), (None, "completed".into()));

    let broken = got.one("broken");
    assert_eq!(broken.status.as_ref().unwrap().message, "the key *** is wrong");
    assert_eq!(
        (attribute(broken, "error.type"), attribute(broken, "durhai.outcome")),
        ("step_failed".into(), "failed".into())
    );
    let exception = texts(&broken.events[0].attributes);
    assert_eq!((&*broken.events[0].name, &*exception["exception.message"]), ("exception", "the key *** is wrong"));
    assert_eq!(hex(&got.one("greet").parent_span_id), hex(&child.span_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_its_own_its_failure_and_its_retry() {
    let got = told(host(), &[], async |host: Host| {
        host.run("fails").id("f").start().await.unwrap();
        end(&host, "f").await;
        host.get("f").await.unwrap().retry().await.unwrap().wait().await.unwrap();
    })
    .await;
    let found = got.named("fails");
    assert_eq!(found.len(), 2);
    let (first, second) = match attribute(found[0], "durhai.run_id").as_str() {
        "f" => (found[0], found[1]),
        _ => (found[1], found[0]),
    };
    assert_eq!(first.status.as_ref().unwrap().code(), StatusCode::Error);
    assert!(first.status.as_ref().unwrap().message.contains("no luck with ***"), "{first:?}");
    assert!(first.parent_span_id.is_empty() && second.parent_span_id.is_empty());
    assert_ne!(first.trace_id, second.trace_id);
    assert_eq!(attribute(second, "durhai.origin_run_id"), "f");
    assert_eq!((first.kind(), first.flags), (SpanKind::Internal, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_http_step_sends_is_the_span_it_is_told_as() {
    let other = Collector::start([]).await;
    let net = NetGrant::parse(Some("127.0.0.1")).unwrap();
    let permissions = Permissions { net, ..Permissions::none() };
    let step_env = StepEnvHandle::new(StepEnvConfig { permissions, ..StepEnvConfig::default() });
    let builder =
        Host::builder().workflow("ask", "use_step(\"http.get\", input)").steps(Arc::new(BuiltinSteps::new(step_env)));
    let url = format!("{}/hello", other.url());
    let got = told(builder, &[], async |host: Host| {
        host.run("ask").id("asks").input(&url).start().await.unwrap();
        end(&host, "asks").await;
    })
    .await;
    let span = got.one("http.get");
    let sent = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(other.got().requests[0].1["traceparent"], *sent);
    assert_eq!(span.kind(), SpanKind::Client);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_not_sent_and_says_so() {
    let unsampled = STARTER.replace("-01", "-00");
    for (sampler, starter, sampled) in [
        ("always_off", Some(STARTER), false),
        ("always_on", Some(&*unsampled), true),
        ("parentbased_always_on", Some(&*unsampled), false),
        ("parentbased_always_off", Some(STARTER), true),
        ("parentbased_always_off", None, false),
    ] {
        let builder = host()
            .workflow("tells", "use_step(\"tell\")")
            .step("tell", |ctx: StepContext, _: Value| async move { Ok::<_, StepError>(ctx.traceparent()) });
        let got = told(builder, &[("OTEL_TRACES_SAMPLER", sampler)], async |host: Host| {
            let start = host.run("tells");
            let start = if let Some(starter) = starter { start.traceparent(starter) } else { start };
            let said: String = start.start().await.unwrap().output().await.unwrap();
            assert_eq!(said.ends_with("-01"), sampled, "{sampler} {starter:?} {said}");
        })
        .await;
        assert_eq!(got.spans.len(), if sampled { 2 } else { 0 }, "{sampler} {starter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_moves_to_another_host_is_one_span() {
    let collector = Collector::start([]).await;
    let world = Arc::new(MemoryWorld::new());
    let (begun, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let build = |first: bool| {
        let begun = begun.clone();
        Host::builder()
            .shared_world(world.clone())
            .workflow("long", "use_step(\"quick\"); use_step(\"slow\")")
            .step("quick", |_: StepContext, _: Value| async move { Ok::<_, StepError>(()) })
            .step("slow", move |ctx: StepContext, _: Value| {
                let _ = begun.send(());
                async move {
                    if first {
                        ctx.cancelled().await;
                        return Err(StepError::retry("stopped"));
                    }
                    Ok(json!("done"))
                }
            })
    };
    let first = collector.exporter(&[]);
    let host = build(true).observe(first.observer()).start().await.unwrap();
    let run = host.run("long").id("long-1").traceparent(STARTER).start().await.unwrap();
    waiting.recv().await.unwrap();
    let started = run.view().await.unwrap().started_at.unwrap();
    host.shutdown().await;
    first.shutdown().await;
    let before = collector.got();
    assert!(before.named("long").is_empty(), "{before:?}");
    assert_eq!(before.named("quick").len(), 1);
    assert_eq!(attribute(before.one("slow"), "durhai.outcome"), "cancelled");

    let second = collector.exporter(&[]);
    let host = build(false).observe(second.observer()).start().await.unwrap();
    end(&host, "long-1").await;
    host.shutdown().await;
    second.shutdown().await;
    let got = collector.got();
    let run = got.one("long");
    assert_eq!(run.start_time_unix_nano, started * 1_000_000);
    assert_eq!((hex(&run.trace_id), hex(&run.parent_span_id)), (STARTER_TRACE.into(), "b7ad6b7169203331".into()));
    let slow = got.named("slow");
    assert_eq!(slow.len(), 2);
    assert!(slow.iter().all(|span| span.parent_span_id == run.span_id && span.trace_id == run.trace_id), "{slow:?}");
    assert_eq!(got.named("quick").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_without_its_script() {
    let script = "const WORKFLOW = #{ concurrency: #{ limit: 1 } }; wait_for(\"go\")";
    let got = told(host().workflow("one", script), &[], async |host: Host| {
        let first = host.run("one").id("first").start().await.unwrap();
        let second = host.run("one").id("second").start().await.unwrap();
        second.cancel("not now").await.unwrap();
        end(&host, "second").await;
        first.terminate("over").await.unwrap();
        end(&host, "first").await;
    })
    .await;
    let found = got.named("one");
    let of = |id: &str| found.iter().find(|span| attribute(span, "durhai.run_id") == id).unwrap();
    assert_eq!(found.len(), 2);
    let second = texts(&of("second").attributes);
    assert_eq!((&*second["durhai.status"], &*second["durhai.reason"]), ("cancelled", "not now"));
    assert_eq!(of("second").status, None);
    assert_eq!(attribute(of("first"), "error.type"), "terminated");
}
