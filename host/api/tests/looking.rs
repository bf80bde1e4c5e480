//! What clients that look on use: health, one workflow, values cut short, and what changes.

use std::sync::Arc;

use axum::http::StatusCode;
use durhai::{Host, MemoryWorld, StepContext, StepError, Value};
use durhai_api::{Config, router};
use durhai_testkit::FarWorld;
use serde_json::json;

use crate::common::{Messages, ask};

const LONG: &str = r#"
    set_state("big", input.text);
    print("a line");
    emit(input.text);
    let echoed = use_step("echo", input.text);
    try { use_step("burn", echoed); } catch (error) { }
    let answer = suspend(#{ text: echoed }, #{ label: "ask", schema: #{ type: "object" } });
    answer.text + "!"
"#;

async fn host() -> Host {
    Host::builder()
        .workflow("long", LONG)
        .workflow("one", "1")
        .workflow("waits", "wait_for(\"go\")")
        .step("echo", |_: StepContext, text: String| async move { Ok::<_, StepError>(text) })
        .step("burn", |_: StepContext, text: String| async move {
            Err::<Value, _>(StepError::fatal("hot").data(json!({ "text": text })))
        })
        .start()
        .await
        .expect("a host")
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_cut_where_that_is_asked_for() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let text = "0123456789".repeat(10);
    let run = host.run("long").id("r").input(&json!({ "text": text })).start().await.expect("a run");
    let mut early = Messages::open(&router, "/api/v1/runs/r/events?value_bytes=16", None).await;
    while let Some(message) = early.next().await {
        if message.data["type"] == "suspended" {
            break;
        }
    }
    run.resume(Some("ask"), &json!({ "text": text })).await.expect("an answer");
    run.wait().await.expect("the end");

    let value = |start: &str, length: usize| json!({ "$cut": length, "start": start });
    let (map, plain) = (value("{\"text\":\"0123456", 111), value("\"012345678901234", 102));
    let (_, page) = ask(&router, "GET", "/api/v1/runs/r/events?value_bytes=16", None).await;
    let (_, full) = ask(&router, "GET", "/api/v1/runs/r/events", None).await;
    let find = |page: &Value, kind: &str, field: &str| {
        let event = page["events"].as_array().expect("events").iter().find(|event| event["type"] == kind).cloned();
        event.expect(kind).pointer(field).cloned().unwrap_or_else(|| panic!("{kind} has no {field}"))
    };
    for (kind, field, wanted) in [
        ("run_created", "/input", &map),
        ("step_started", "/input", &plain),
        ("step_completed", "/output", &plain),
        ("step_failed", "/error/data", &map),
        ("suspended", "/payload", &map),
        ("resumed", "/data", &map),
        ("run_completed", "/output", &value("\"012345678901234", 103)),
    ] {
        assert_eq!(find(&page, kind, field), *wanted, "{kind}");
        assert!(find(&full, kind, field).to_string().contains(&text), "{kind}");
    }
    assert_eq!(find(&page, "suspended", "/schema"), json!({ "type": "object" }));
    let mut late = Messages::open(&router, "/api/v1/runs/r/events?value_bytes=16", None).await;
    let created = late.next().await.expect("an event");
    assert_eq!((created.id.as_deref(), &created.data["input"]), (Some("1"), &map));
    let mut last = None;
    while let Some(message) = late.next().await {
        last = Some(message);
    }
    let end = last.expect("an end");
    assert_eq!((end.event.as_str(), &end.data["input"]), ("end", &map));

    let (_, view) = ask(&router, "GET", "/api/v1/runs/r?value_bytes=16", None).await;
    assert_eq!((&view["input"], &view["state"]), (&map, &value("{\"big\":\"01234567", 110)));
    let (_, list) = ask(&router, "GET", "/api/v1/runs?value_bytes=102", None).await;
    assert_eq!(list["runs"][0]["output"], value(&format!("\"{text}!"), 103));
    let (_, output) = ask(&router, "GET", "/api/v1/runs/r/output?value_bytes=16", None).await;
    assert_eq!(output["entries"][0]["value"], plain);
    let (_, lines) = ask(&router, "GET", "/api/v1/runs/r/logs?value_bytes=16", None).await;
    assert_eq!(lines["lines"][0]["message"], "a line");
    for bad in ["15", "1048577", "-1", "x", ""] {
        for path in ["runs", "runs/r", "runs/r/events", "runs/r/logs", "runs/r/output"] {
            let path = format!("/api/v1/{path}?value_bytes={bad}");
            assert_eq!(ask(&router, "GET", &path, None).await.0, StatusCode::BAD_REQUEST, "{path}");
        }
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_told_once_with_its_latest_status() {
    let scripts = tempfile::tempdir().expect("a folder");
    let save = |text: &str| std::fs::write(scripts.path().join("kept.rhai"), text).expect("a file");
    save("1");
    let host = Host::builder()
        .workflow("one", "1")
        .workflow("waits", "wait_for(\"go\")")
        .workflows(scripts.path())
        .watch(false)
        .start()
        .await
        .expect("a host");
    let router = router(host.clone(), Config { instance: Some("i".into()), ..Config::default() });
    let (_, health) = ask(&router, "GET", "/api/v1/health", None).await;
    let mut all = Messages::open(&router, "/api/v1/changes", None).await;
    let mut waits = Messages::open(&router, "/api/v1/changes?workflow=waits", None).await;
    let mut done = Messages::open(&router, "/api/v1/changes?status=completed&status=failed", None).await;
    for stream in [&mut all, &mut waits, &mut done] {
        let hello = stream.next().await.expect("a message");
        assert_eq!(hello.event, "hello");
        assert_eq!(hello.data, json!({ "instance": "i", "started_at": health["started_at"] }));
    }

    let one = host.run("one").id("a").start().await.expect("a run");
    one.wait().await.expect("the end");
    host.run("waits").id("b").start().await.expect("a run");
    // A run can change while what it did before is being told.
    let mut latest = std::collections::BTreeMap::new();
    while latest.get("a").is_none_or(|status| status != "completed")
        || latest.get("b").is_none_or(|status| status != "waiting")
    {
        let message = all.next().await.expect("a message");
        assert_eq!((message.event.as_str(), &message.data["more"]), ("runs", &json!(false)));
        for run in message.data["runs"].as_array().expect("runs") {
            let id = run["id"].as_str().expect("an id").to_owned();
            assert_eq!(run["workflow"], if id == "a" { "one" } else { "waits" });
            latest.insert(id, run["status"].as_str().expect("a status").to_owned());
        }
    }
    let only = waits.next().await.expect("a message");
    assert!(only.data["runs"].as_array().expect("runs").iter().all(|run| run["id"] == "b"), "{only:?}");
    let only = done.next().await.expect("a message");
    assert_eq!(only.data["runs"], json!([{ "id": "a", "workflow": "one", "status": "completed" }]));

    save("2 2");
    host.reload().await.expect("a look");
    loop {
        let message = waits.next().await.expect("a message");
        if message.event == "workflow" {
            assert_eq!((&message.data["event"], &message.data["workflow"]), (&json!("broken"), &json!("kept")));
            break;
        }
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_are_told_by_the_newest_two_hundred() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let mut changes = Messages::open(&router, "/api/v1/changes", None).await;
    changes.next().await.expect("hello");
    for n in 0..1000 {
        host.run("one").id(format!("r{n}")).start().await.expect("a run");
    }
    let mut more = false;
    let mut seen = 0;
    // The reader was away for the whole time, and is told at most 200 of what it missed in each message.
    while !more || seen < 200 {
        let message = changes.next().await.expect("a message");
        let runs = message.data["runs"].as_array().expect("runs");
        assert!(runs.len() <= 200);
        seen += runs.len();
        more |= message.data["more"] == true;
    }
    host.shutdown().await;
}

/// On a world that is shared what another host does is told, too: that there was something.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_in_another_host_is_told() {
    let world = Arc::new(MemoryWorld::new());
    let builder = || {
        let far = Arc::new(FarWorld::new(world.clone()));
        Host::builder().shared_world(far).workflow("one", "1")
    };
    let (here, there) = (builder().start().await.expect("a host"), builder().start().await.expect("a host"));
    let router = router(here.clone(), Config::default());
    let mut changes = Messages::open(&router, "/api/v1/changes?workflow=one", None).await;
    assert_eq!(changes.next().await.expect("a message").event, "hello");
    // What the client knows is not known at first.
    let first = changes.next().await.expect("a message");
    assert_eq!((first.event.as_str(), &first.data), ("runs", &json!({ "runs": [], "more": true })));
    there.run("one").id("there").start().await.expect("a run").wait().await.expect("the end");
    let status = async || ask(&router, "GET", "/api/v1/runs/there", None).await.1["status"].clone();
    while status().await != "completed" {}
    let next = changes.next().await.expect("a message");
    assert_eq!((next.event.as_str(), &next.data["more"]), ("runs", &json!(true)));
    drop(changes);
    here.shutdown().await;
    there.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_one_workflow() {
    let host = host().await;
    let router = router(host.clone(), Config::default());
    let (_, before) = ask(&router, "GET", "/api/v1/health", None).await;
    assert_eq!((&before["ok"], &before["error"]), (&json!(true), &Value::Null));
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
    assert!(before["now"].as_u64() >= before["started_at"].as_u64());
    host.run("one").start().await.expect("a run").wait().await.expect("the end");
    host.run("waits").start().await.expect("a run");
    let (_, after) = ask(&router, "GET", "/api/v1/health", None).await;
    assert!(after["stats"]["flushes"].as_u64() > before["stats"]["flushes"].as_u64());

    let (_, waits) = ask(&router, "GET", "/api/v1/workflows/waits", None).await;
    assert_eq!((&waits["name"], &waits["live"][0]["runs"], &waits["gate"]), (&json!("waits"), &json!(1), &Value::Null));
    assert_eq!(ask(&router, "GET", "/api/v1/workflows/none", None).await.0, StatusCode::NOT_FOUND);
    host.shutdown().await;
    let (status, stopped) = ask(&router, "GET", "/api/v1/health", None).await;
    assert_eq!((status, &stopped["ok"]), (StatusCode::OK, &json!(false)));
}
