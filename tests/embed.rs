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
    assert_eq!(host.doctor().await.unwrap().findings, []);
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

/// Nothing counts memory in this program, so a budget would be an empty promise; without one the host starts.
#[tokio::test]
async fn a_budget_of_memory_that_nothing_counts_is_refused() {
    assert!(!durhai::memory_is_counted());
    let error = host().script_memory(64 << 20, 256 << 20).start().await.expect_err("a refusal");
    let text = error.to_string();
    assert!(text.contains("script_memory") && text.contains("CountingAllocator"), "{text}");
    let host = host().workflow("w", "1").start().await.unwrap();
    assert_eq!(host.run("w").start().await.unwrap().output::<i64>().await.unwrap(), 1);
    host.shutdown().await;
}

/// A host that stops between the end of one step and the begin of the next, which may run once only.
#[tokio::test]
async fn a_step_that_had_no_time_to_begin_is_not_interrupted() {
    let world = Arc::new(durhai::MemoryWorld::new());
    let begun = Arc::new(AtomicU32::new(0));
    let build = || {
        let seen = begun.clone();
        let (started, wait) = tokio::sync::oneshot::channel::<()>();
        let started = parking_lot::Mutex::new(Some(started));
        let host = Host::builder()
            .shared_world(world.clone())
            .workflow("w", r#"use_step("first"); print("between"); use_step("only", (), #{ once: true })"#)
            .step("first", move |ctx: StepContext, _: Value| {
                if let Some(started) = started.lock().take() {
                    let _ = started.send(());
                }
                // It ends when it is told that the host stops.
                async move {
                    ctx.cancelled().await;
                    Ok::<_, StepError>(())
                }
            })
            .step("only", move |_: StepContext, _: Value| {
                seen.fetch_add(1, Ordering::SeqCst);
                async move { Ok::<_, StepError>("done") }
            });
        (host, wait)
    };
    let (first, started) = build();
    let host = first.start().await.unwrap();
    host.run("w").id("r").start().await.unwrap();
    started.await.unwrap();
    host.shutdown().await;
    assert_eq!(begun.load(Ordering::SeqCst), 0);

    let (second, _) = build();
    let host = second.start().await.unwrap();
    let run = host.get("r").await.unwrap();
    assert_eq!(run.output::<String>().await.unwrap(), "done");
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    let lines: Vec<_> = run.logs(0, 10).await.unwrap().into_iter().map(|entry| entry.line.message).collect();
    assert_eq!(lines, ["between"]);
    assert_eq!(host.doctor().await.unwrap().findings, []);
    host.shutdown().await;
}

/// A host takes up unfinished runs while it starts; who listened before misses none of their ends.
#[tokio::test]
async fn what_ends_while_a_host_starts_is_heard() {
    let world = Arc::new(durhai::MemoryWorld::new());
    let build = || Host::builder().shared_world(world.clone()).workflow("w", "1 + 1");
    let idle = build().adopt(false).start().await.unwrap();
    idle.run("w").id("r").elsewhere().start().await.unwrap();
    idle.shutdown().await;

    let builder = build();
    let mut commits = builder.commits();
    let host = builder.start().await.unwrap();
    assert_eq!(host.get("r").await.unwrap().wait().await.unwrap().output, json!(2));
    let mut ended = false;
    while let Ok(commit) = commits.try_recv() {
        ended |= commit.run.as_str() == "r" && commit.status.is_terminal();
    }
    assert!(ended, "the end of the run was told");
    host.shutdown().await;
}

/// A closure that a module calls stands in the script all the same.
#[tokio::test]
async fn a_call_has_the_place_where_it_is_written() {
    let script = "import \"std/batch\" as batch;\nimport \"std/saga\" as saga;\nbatch::each([1, 2], 1, |x| {\n    use_step(\"add\", x)\n});\nsaga::run(|s| s.step(|| use_step(\"add\", 3), || 4))";
    let host = Host::builder()
        .workflow("w", script)
        .step("add", async |_: StepContext, n: Value| Ok::<_, StepError>(n))
        .start()
        .await
        .unwrap();
    let run = host.run("w").start().await.unwrap();
    assert_eq!(run.output::<Value>().await.unwrap(), json!(3));
    let events = run.events(1, 100).await.unwrap();
    let started = events.iter().filter(|event| matches!(event.body, durhai::EventBody::StepStarted { .. }));
    let sites: Vec<_> = started.map(|event| event.site.as_ref().unwrap().to_string()).collect();
    assert_eq!(sites, ["4:5", "4:5", "6:25"]);
    host.shutdown().await;
}
