//! Places that a workflow's `concurrency` gives: whoever waits for one is told for which and behind whom, and those who could
//! never get one, because those inside wait for them, fail and say so.

use std::time::Duration;

use durhai::clock::Clock;
use durhai::view::PlaceView;
use durhai::{FailureKind, Run, RunView, Status, Value, World};
use durhai_testkit::{Fault, TestHost};
use serde_json::json;

/// One that a run waits for, and that asks for a place itself.
const FLOWS: &[(&str, &str)] = &[
    ("self", r#"const WORKFLOW = #{ concurrency: 1 }; run_workflow("self", 1)"#),
    ("a", r#"const WORKFLOW = #{ concurrency: 1 }; run_workflow("b", 1)"#),
    ("b", r#"const WORKFLOW = #{ concurrency: 1 }; run_workflow("between", 1)"#),
    ("between", r#"run_workflow("a", 1)"#),
    ("two", r#"const WORKFLOW = #{ concurrency: 2 }; if input == 0 { return 0; } run_workflow("two", input - 1)"#),
    (
        "caught",
        r#"const WORKFLOW = #{ concurrency: 1 }; let why = (); try { run_workflow("caught", 1) } catch (e) { why = e.cause.kind; } why"#,
    ),
    (
        "keyed",
        r#"const WORKFLOW = #{ concurrency: #{ limit: 1, key: "input.n" } }; if input.n > 1 { return input.n; } run_workflow("keyed", #{ n: input.n + 1 })"#,
    ),
    (
        "detached",
        r#"const WORKFLOW = #{ concurrency: 1 }; if input == 1 { return 7; } start_workflow("detached", 1, #{ id: "later" })"#,
    ),
    ("waits", r#"const WORKFLOW = #{ concurrency: 1 }; wait_for("go")"#),
];

fn test_host() -> TestHost {
    FLOWS.iter().fold(TestHost::new(), |test, (name, script)| test.workflow(*name, *script))
}

/// On whatever host it is.
async fn ended(run: &Run) -> RunView {
    for _ in 0..60_000 {
        let view = run.view().await.unwrap();
        if view.status.is_terminal() {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it hangs: {:#?}", run.view().await)
}

/// The failure at the bottom, and what it says.
fn root(view: &RunView) -> (FailureKind, String) {
    let mut error = view.error.as_ref().unwrap_or_else(|| panic!("{view:#?}"));
    while let Some(cause) = &error.cause {
        error = cause;
    }
    (error.kind, error.message.clone())
}

#[tokio::test]
async fn a_circle_of_runs_that_wait_for_each_others_places_fails_with_limit_and_is_named() {
    let test = test_host();
    let host = test.start().await;
    for (flow, circle) in [
        (
            "self",
            &["run self:1 can never begin", "\"self\" (limit 1) is held by run self, which waits for run self:1"][..],
        ),
        ("a", &["run a:1:1:1 can never begin", "\"a\" (limit 1) is held by run a, which waits for run a:1:1:1"]),
    ] {
        let run = host.run(flow).id(flow).input(&0).start().await.unwrap();
        let (kind, message) = root(&ended(&run).await);
        assert_eq!(kind, FailureKind::Limit, "{message}");
        for part in circle.iter().chain(&["start_workflow", "concurrency"]) {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    // The run that waits is told, and may do something else.
    let run = host.run("caught").start().await.unwrap();
    assert_eq!(
        (ended(&run).await.status, run.output::<String>().await.unwrap().as_str()),
        (Status::Completed, "limit")
    );
    host.shutdown().await;
}

#[tokio::test]
async fn what_is_no_circle_goes_on() {
    let test = test_host();
    let host = test.start().await;
    for (flow, input, output) in [("two", json!(1), 0), ("keyed", json!({ "n": 1 }), 2)] {
        let run = host.run(flow).input(&input).start().await.unwrap();
        assert_eq!(run.output::<i64>().await.unwrap(), output, "{flow}");
    }
    let run = host.run("detached").input(&0).start().await.unwrap();
    assert_eq!(run.output::<String>().await.unwrap(), "later");
    assert_eq!(host.get("later").await.unwrap().output::<i64>().await.unwrap(), 7);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn families_that_hold_all_places_together_do_not_hang() {
    let test = test_host();
    let hosts = [test.start().await, test.start().await];
    for round in 0..10 {
        let mut runs = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            // Each holds one of two places and needs two more.
            runs.push(host.run("two").id(format!("{round}-{n}")).input(&2).start().await.unwrap());
        }
        for run in &runs {
            let view = ended(run).await;
            assert_eq!(root(&view).0, FailureKind::Limit, "{view:#?}");
        }
    }
    for host in hosts {
        host.shutdown().await;
    }
}

#[tokio::test]
async fn a_circle_is_found_whenever_its_host_died() {
    let mut crashes = 0;
    for write in 1..10 {
        let test = test_host();
        let (connection, host) = test.start_with(Fault::After(write)).await;
        let _ = host.run("self").id("r").start().await;
        let id = durhai::RunId::new("r").unwrap();
        let rests = || {
            let row = test.world.row(&id).unwrap();
            (connection.is_down() || row.is_some_and(|row| row.status.is_terminal())).then_some(())
        };
        test.pulse.until(rests, || write).await;
        crashes += u32::from(connection.is_down());
        test.bury(&host).await;
        let host = test.start().await;
        let run = host.run("self").id("r").start().await.unwrap();
        assert_eq!(root(&ended(&run).await).0, FailureKind::Limit, "{write}");
        host.shutdown().await;
    }
    assert!(crashes >= 3, "{crashes} crashes");
}

#[tokio::test]
async fn a_pending_run_says_what_it_waits_for_and_behind_whom() {
    let test = test_host();
    let host = test.start().await;
    let mut runs = Vec::new();
    for (id, priority) in [("first", 0), ("second", 0), ("third", 0), ("urgent", 5)] {
        runs.push(host.run("waits").id(id).priority(priority).start().await.unwrap());
    }
    let place = |ahead| PlaceView {
        gate: "waits".into(),
        limit: 1,
        ahead,
        waiting: 3,
        inside: 1,
        holders: vec![runs[0].id().clone()],
    };
    let mut seen = Vec::new();
    for run in &runs {
        seen.push(run.view().await.unwrap().place);
    }
    assert_eq!(seen, [None, Some(place(1)), Some(place(2)), Some(place(0))]);
    let later = host.run("waits").id("later").delay(Duration::from_secs(60)).start().await.unwrap();
    let view = later.view().await.unwrap();
    assert_eq!((view.begins_at, view.place), (Some(test.clock.now() + 60_000), None));
    test.clock.advance(60_000);
    while later.view().await.unwrap().place.is_none() {
        tokio::task::yield_now().await;
    }
    runs[0].signal("go", &1).await.unwrap();
    assert_eq!(runs[0].output::<Value>().await.unwrap(), 1);
    while runs[3].status().await.unwrap() == Status::Pending {
        tokio::task::yield_now().await;
    }
    let now = runs[1].view().await.unwrap().place.unwrap();
    assert_eq!((now.ahead, now.holders), (0, vec![runs[3].id().clone()]));
    host.shutdown().await;
}
