//! Versions, the gate and moves over HTTP.

use crate::common::ask;
use axum::http::StatusCode;
use durhai::{Host, MemoryWorld, StepContext, StepError, Value};
use durhai_api::{Config, router};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_with_two_versions() {
    let scripts = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(scripts.path().join("a")).expect("a folder");
    let save = |text: &str| std::fs::write(scripts.path().join("a/w.rhai"), text).expect("a file");
    save("use_step(\"s\", 1); wait_for(\"go\"); 1");
    let host = Host::builder()
        .world(MemoryWorld::new())
        .workflows(scripts.path())
        .watch(false)
        .step("s", |_: StepContext, n: Value| async move { Ok::<_, StepError>(n) })
        .start()
        .await
        .expect("a host");
    let router = router(host.clone(), Config::default());
    let path = "/api/v1/workflows/a%2Fw";
    assert_eq!(ask(&router, "GET", &format!("{path}/gate"), None).await.0, StatusCode::NOT_FOUND);
    let run = host.run("a/w").id("r").start().await.expect("a run");
    save("use_step(\"s\", 1); wait_for(\"go\"); 2");
    host.reload().await.expect("a look");

    let (status, report) = ask(&router, "GET", &format!("{path}/gate"), None).await;
    assert_eq!((status, &report["live"], &report["compatible"]), (StatusCode::OK, &json!(1), &json!(1)));
    let (_, found) = ask(&router, "GET", &format!("{path}/versions"), None).await;
    assert_eq!(found["versions"].as_array().expect("versions").len(), 2);
    let (_, source) = ask(&router, "GET", &format!("{path}/versions/serving"), None).await;
    assert_eq!(source["files"]["a/w.rhai"], "use_step(\"s\", 1); wait_for(\"go\"); 2");
    let (_, listed) = ask(&router, "GET", "/api/v1/workflows", None).await;
    assert_eq!(listed["workflows"][0]["live"][0]["runs"], 1);

    let wrong = Some(json!({ "to": "ffff" }));
    assert_eq!(ask(&router, "POST", "/api/v1/runs/r/migrate", wrong).await.0, StatusCode::NOT_FOUND);
    let unknown = Some(json!({ "dry": true }));
    assert_eq!(ask(&router, "POST", "/api/v1/runs/r/migrate", unknown).await.0, StatusCode::BAD_REQUEST);
    let (_, dry) = ask(&router, "POST", &format!("{path}/migrate"), Some(json!({ "dry_run": true }))).await;
    assert_eq!((&dry["moved"], &dry["compatible"]), (&json!(0), &json!(1)));
    let (status, moved) = ask(&router, "POST", "/api/v1/runs/r/migrate", None).await;
    assert_eq!((status, &moved["moved"], &moved["verdict"]), (StatusCode::OK, &json!(true), &json!("compatible")));
    run.signal("go", &()).await.expect("sent");
    assert_eq!(run.output::<i64>().await.expect("its output"), 2);
    assert_eq!(ask(&router, "POST", "/api/v1/runs/r/migrate", None).await.0, StatusCode::CONFLICT);
    host.shutdown().await;
}
