//! The host as an embedder uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use durhai::{Host, HostBuilder, StepContext, StepError, Value};
use serde_json::json;

fn host() -> HostBuilder {
    Host::builder().step("add", |_: StepContext, (a, b): (i64, i64)| async move { Ok::<_, StepError>(a + b) })
}

#[tokio::test]
async fn a_script_calls_steps_and_gives_its_output() {
    let host = host()
        .workflow("sum", "let x = input; for i in 0..10 { x = use_step(\"add\", [x, i]); } x")
        .start()
        .await
        .unwrap();
    let run = host.run("sum").id("sum-1").input(&5).start().await.unwrap();
    assert_eq!(run.output::<i64>().await.unwrap(), 50);
    let names: Vec<_> = run.events(1, 1_000).await.unwrap().iter().map(|event| event.body.name()).collect();
    assert_eq!(names.len(), 2 + 20 + 1);
    let again = host.run("sum").id("sum-1").input(&5).start().await.unwrap();
    assert_eq!(again.output::<i64>().await.unwrap(), 50);
    let other = host.run("sum").id("sum-1").input(&6).start().await.unwrap_err();
    assert!(other.to_string().contains("another input"), "{other}");
    assert_eq!(host.doctor().await.unwrap(), Vec::<String>::new());
    host.shutdown().await;
}

#[tokio::test]
async fn a_step_is_retried_and_its_failure_is_a_value() {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = calls.clone();
    let script = r#"
        let options = #{ retry: #{ max_attempts: 3, initial: "1ms", jitter: 0.0 } };
        let seen = ();
        try { use_step("flaky", (), options) } catch (e) { seen = #{ kind: e.kind, attempts: e.attempts, data: e.data, message: e.message }; }
        seen
    "#;
    let host = Host::builder()
        .workflow("w", script)
        .step("flaky", move |ctx: StepContext, _: Value| {
            seen.fetch_add(1, Ordering::SeqCst);
            async move {
                Err::<(), _>(StepError::retry(format!("no {}", ctx.attempt())).data(json!({ "n": ctx.attempt() })))
            }
        })
        .start()
        .await
        .unwrap();
    let run = host.run("w").start().await.unwrap();
    let output: Value = run.output().await.unwrap();
    assert_eq!(output, json!({ "kind": "step_failed", "attempts": 3, "data": { "n": 3 }, "message": "no 3" }));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    host.shutdown().await;
}
