//! Which runs leave memory while they wait, where many do.

use std::time::Duration;

use durhai::{Host, Run, Status};
use durhai_testkit::TestHost;
use serde_json::json;

const MINUTE: u64 = 60_000;

/// More than the log of a run that is back unnoticed.
const LONG: &str = r#"for i in 0..300 { use_step("echo", i); } wait_for("go"); "long""#;

fn test() -> TestHost {
    let test = TestHost::new().echo().workflow("wait", r#"use_step("echo", input); wait_for("go"); input"#);
    test.workflow("soon", r#"wait_for("go", #{ timeout: "9s" }); "soon""#)
        .workflow("later", r#"wait_for("go", #{ timeout: "1h" }); "later""#)
        .workflow("long", LONG)
        .with(|builder| builder.workers(1).max_waiting_runs(10))
}

async fn begin(host: &Host, workflow: &str, number: usize) -> Run {
    let run = host.run(workflow).id(format!("{workflow}-{number}")).input(&number).start().await.unwrap();
    while run.status().await.unwrap() != Status::Waiting {
        tokio::task::yield_now().await;
    }
    run
}

async fn live(host: &Host, expected: u64) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while host.stats().live != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} runs are in memory, expected {expected}", host.stats().live));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_wait_those_go_early_that_are_back_unnoticed() {
    let test = test();
    let host = test.start().await;
    let mut runs = Vec::new();
    for number in 0..3 {
        for workflow in ["soon", "long"] {
            runs.push(begin(&host, workflow, number).await);
        }
    }
    for number in 0..12 {
        runs.push(begin(&host, "wait", number).await);
        runs.push(begin(&host, "later", number).await);
    }
    // Nobody has waited for a second.
    test.rests().await;
    assert_eq!((host.stats().live, host.stats().evicted), (30, 0));
    test.clock.advance(1_000);
    live(&host, 10).await;
    assert_eq!(host.stats().evicted, 20);
    test.rests().await;
    assert_eq!(host.stats().live, 10, "no more than that");
    // The six that stay for what they are, and the last four of the others: what stays is rebuilt by nobody.
    for name in ["soon-0", "soon-2", "long-0", "long-2", "wait-10", "later-10", "wait-11", "later-11"] {
        host.get(name).await.unwrap().signal("go", &1).await.unwrap();
        host.get(name).await.unwrap().output::<serde_json::Value>().await.unwrap();
    }
    assert_eq!(host.stats().rebuilt, 0);
    // Those that went go on as if they had not.
    for run in &runs {
        let _ = run.signal("go", &1).await;
    }
    for run in &runs {
        let output = run.output::<serde_json::Value>().await.unwrap();
        let (workflow, number) = run.id().as_str().split_once('-').unwrap();
        let expected = if workflow == "wait" { json!(number.parse::<u64>().unwrap()) } else { json!(workflow) };
        assert_eq!(output, expected, "{}", run.id());
    }
    assert_eq!(host.stats().rebuilt, 20);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_that_wait_stay_a_minute_and_all_go_after_it() {
    let test = test();
    let host = test.start().await;
    for number in 0..8 {
        begin(&host, "wait", number).await;
    }
    begin(&host, "long", 0).await;
    test.rests().await;
    test.clock.advance(MINUTE - 1);
    test.rests().await;
    assert_eq!((host.stats().live, host.stats().evicted), (9, 0));
    test.clock.advance(1);
    live(&host, 0).await;
    assert_eq!(host.stats().evicted, 9);
    host.shutdown().await;
}
