//! Runs as an operator sees them: starting, finding, parking, trying again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use durhai::clock::Clock;
use durhai::{EventBody, HostError, Query, Run, RunError, Status, StepContext, StepError, Value, World};
use durhai_testkit::{Fault, TestHost};
use parking_lot::Mutex;
use serde_json::json;

const SLEEPER: &str = "sleep(\"1 day\"); use_step(\"echo\", input)";

fn test_host() -> TestHost {
    TestHost::new().echo().workflow("echo", "use_step(\"echo\", input)").workflow("sleeper", SLEEPER)
}

#[tokio::test]
async fn a_start_is_idempotent_and_conflicts_are_said() {
    let test = test_host();
    let host = test.start().await;
    let first = host.run("echo").id("order-1").input(&json!({ "n": 1 })).start().await.unwrap();
    assert_eq!(first.output::<Value>().await.unwrap(), json!({ "n": 1 }));
    let again = host.run("echo").id("order-1").input(&json!({ "n": 1 })).start().await.unwrap();
    assert_eq!(again.output::<Value>().await.unwrap(), json!({ "n": 1 }));
    assert_eq!(again.events(1, 100).await.unwrap().len(), 5, "nothing was run again");
    let input = host.run("echo").id("order-1").input(&json!({ "n": 2 })).start().await.unwrap_err();
    assert!(matches!(&input, HostError::Conflict(text) if text.contains("another input")), "{input}");
    let workflow = host.run("sleeper").id("order-1").input(&json!({ "n": 1 })).start().await.unwrap_err();
    assert!(matches!(&workflow, HostError::Conflict(text) if text.contains("\"echo\"")), "{workflow}");
    let unknown = host.run("ecko").start().await.unwrap_err();
    assert!(matches!(&unknown, HostError::NotFound(text) if text.contains("did you mean \"echo\"")), "{unknown}");
    let id = host.run("echo").id("a b/..").start().await.unwrap_err();
    assert!(matches!(id, HostError::Invalid(_)), "{id}");
    host.shutdown().await;
}

#[tokio::test]
async fn delayed_starts_wait_for_their_moment() {
    let test = test_host();
    let host = test.start().await;
    let now = test.clock.now();
    let delayed = host.run("echo").id("delayed").delay(Duration::from_secs(3_600)).input(&1).start().await.unwrap();
    let at = host.run("echo").id("at").at(now + 7_200_000).input(&2).start().await.unwrap();
    let past = host.run("echo").id("past").at(now - 5).input(&3).start().await.unwrap();
    assert_eq!(past.output::<i64>().await.unwrap(), 3);
    for run in [&delayed, &at] {
        assert_eq!(run.status().await.unwrap(), Status::Pending);
        assert_eq!(run.events(1, 10).await.unwrap().len(), 1);
    }
    test.clock.advance(3_600_000);
    assert_eq!(delayed.output::<i64>().await.unwrap(), 1);
    assert_eq!(delayed.view().await.unwrap().started_at, Some(now + 3_600_000));
    assert_eq!(at.status().await.unwrap(), Status::Pending);
    // Before it began, it is cancelled without its script.
    at.cancel("not needed").await.unwrap();
    assert!(matches!(at.output::<i64>().await, Err(RunError::Cancelled(_, reason)) if reason == "not needed"));
    host.shutdown().await;
}

#[tokio::test]
async fn runs_are_found_by_status_workflow_tag_and_time_page_by_page() {
    let test = test_host();
    let host = test.start().await;
    for n in 0..10 {
        let (workflow, colour) = (["echo", "sleeper"][n % 2], ["red", "green", "blue"][n % 3]);
        let start = host.run(workflow).id(format!("run-{n}")).input(&n).tag("colour", colour).tag("n", n.to_string());
        let run = start.start().await.unwrap();
        if workflow == "echo" {
            run.wait().await.unwrap();
        } else {
            test.rests().await;
        }
        test.clock.advance(1_000);
    }
    let ids = async |query: Query| {
        let listing = host.list(query).await.unwrap();
        listing.runs.iter().map(|run| run.id.to_string()).collect::<Vec<_>>()
    };
    let tag = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    assert_eq!(ids(Query { status: vec![Status::Waiting], limit: 2, ..Query::default() }).await, ["run-9", "run-7"]);
    assert_eq!(ids(Query { workflow: Some("echo".into()), limit: 2, ..Query::default() }).await, ["run-8", "run-6"]);
    assert_eq!(
        ids(Query { tags: tag("colour", "red"), ..Query::default() }).await,
        ["run-9", "run-6", "run-3", "run-0"]
    );
    let both = Query { tags: tag("colour", "red"), status: vec![Status::Completed], ..Query::default() };
    assert_eq!(ids(both).await, ["run-6", "run-0"]);
    assert_eq!(ids(Query { tags: tag("colour", "pink"), ..Query::default() }).await, [""; 0]);
    let start = durhai_testkit::START;
    let window = Query { since: Some(start + 3_000), until: Some(start + 5_000), ..Query::default() };
    assert_eq!(ids(window).await, ["run-4", "run-3"]);
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = host.list(Query { limit: 4, cursor, ..Query::default() }).await.unwrap();
        pages.push(page.runs.iter().map(|run| run.id.to_string()).collect::<Vec<_>>().join(" "));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["run-9 run-8 run-7 run-6", "run-5 run-4 run-3 run-2", "run-1 run-0"]);
    let bad = host.list(Query { cursor: Some("nonsense".into()), ..Query::default() }).await.unwrap_err();
    assert!(matches!(bad, HostError::Invalid(_)), "{bad}");
    host.shutdown().await;
}

#[tokio::test]
async fn a_diverged_run_is_parked_with_both_sides_and_goes_on_when_it_fits_again() {
    let test = test_host();
    // A function that is not pure: just what an embedder must not add.
    let secret = Arc::new(AtomicI64::new(1));
    let build = || {
        let secret = secret.clone();
        test.builder()
            .extend_scripts(move |engine| {
                let secret = secret.clone();
                engine.register_fn("impure", move || secret.load(Ordering::SeqCst));
            })
            .workflow("w", "let x = impure();\nuse_step(\"echo\", x);\nsleep(\"1h\");\nx")
    };
    let first = build().start().await.unwrap();
    first.run("w").id("odd").start().await.unwrap();
    test.rests().await;
    first.shutdown().await;

    secret.store(2, Ordering::SeqCst);
    let second = build().start().await.unwrap();
    test.clock.advance(3_600_000);
    let run = second.get("odd").await.unwrap();
    let before = run.events(1, 100).await.unwrap();
    let reason = run.wait().await.unwrap().reason.expect("a reason");
    for part in [
        "diverged",
        "another input",
        "step 1",
        "recorded",
        "with 1 at 2:1",
        "asked",
        "with 2 at 2:1",
        "use_step(\"echo\", x);",
    ] {
        assert!(reason.contains(part), "{part:?} is not in: {reason}");
    }
    assert_eq!(run.events(1, 100).await.unwrap(), before, "the log is untouched");
    assert!(matches!(run.output::<i64>().await, Err(RunError::Parked(..))));

    // It stays parked over a restart, until an operator acts.
    second.shutdown().await;
    secret.store(1, Ordering::SeqCst);
    let third = build().start().await.unwrap();
    let run = third.get("odd").await.unwrap();
    test.rests().await;
    assert_eq!(run.status().await.unwrap(), Status::Parked);
    run.unpark().await.unwrap();
    // `output` would answer at once that it is parked, if the row were not written before `unpark` returns.
    assert_eq!(run.output::<i64>().await.unwrap(), 1);
    assert!(matches!(run.unpark().await, Err(HostError::Conflict(_))));
    third.shutdown().await;
}

#[tokio::test]
async fn a_run_that_crashes_its_host_again_and_again_is_parked() {
    let test = test_host();
    let good = test.start().await;
    good.run("sleeper").id("good").input(&1).start().await.unwrap();
    good.run("echo").id("bad").at(test.clock.now() + 1_000).input(&2).start().await.unwrap();
    test.rests().await;
    good.shutdown().await;
    test.clock.advance(1_000);
    let mut tries = 0;
    loop {
        // Each host dies when it is about to write the first turn of the bad run.
        let (connection, host) = test.start_with(Fault::Before(1)).await;
        test.pulse.until(|| connection.is_down().then_some(()), || "it writes").await;
        test.bury(&host).await;
        tries += 1;
        if tries == 5 {
            break;
        }
    }
    let host = test.start().await;
    let bad = host.get("bad").await.unwrap();
    let reason = bad.wait().await.unwrap().reason.expect("a reason");
    assert!(reason.contains("poisoned") && reason.contains('5'), "{reason}");
    test.clock.advance(86_400_000);
    assert_eq!(host.get("good").await.unwrap().output::<i64>().await.unwrap(), 1, "the other runs go on");
    bad.unpark().await.unwrap();
    assert_eq!(bad.output::<i64>().await.unwrap(), 2);
    host.shutdown().await;
}

#[tokio::test]
async fn parked_runs_can_be_ended() {
    let test = test_host();
    let doubles = test.doubles();
    let script = "use_step(\"here\")";
    let first = test.builder().steps(doubles.source()).workflow("w", script).start().await.unwrap();
    for id in ["a", "b"] {
        first.run("w").id(id).start().await.unwrap();
        test.pulse.until(|| doubles.has(&format!("{id}/1")).then_some(()), || id).await;
    }
    drop(doubles);
    first.shutdown().await;
    // The next host lacks the step: somebody forgot it.
    let second = test.builder().workflow("w", script).start().await.unwrap();
    let (a, b) = (second.get("a").await.unwrap(), second.get("b").await.unwrap());
    for run in [&a, &b] {
        let view = run.wait().await.unwrap();
        let reason = view.reason.clone().unwrap_or_else(|| panic!("{view:?}"));
        assert!(reason.contains("there is no step \"here\""), "{reason}");
    }
    a.cancel("give up").await.unwrap();
    assert!(matches!(a.output::<Value>().await, Err(RunError::Cancelled(..))));
    b.terminate("give up").await.unwrap();
    assert!(matches!(b.output::<Value>().await, Err(RunError::Failed(..))));
    assert!(matches!(b.signal("x", &1).await, Err(HostError::Conflict(_))), "a run that has ended takes no signal");
    b.delete().await.unwrap();
    assert!(matches!(second.get("b").await, Err(HostError::NotFound(_))));
    assert_eq!(second.doctor().await.unwrap().findings, []);
    second.shutdown().await;
}

#[tokio::test]
async fn a_failed_run_is_tried_again_from_the_step_that_failed() {
    let test = test_host();
    let (calls, broken) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(1)));
    let (counted, state) = (calls.clone(), broken.clone());
    let host = test.builder()
        .step("count", move |_: StepContext, n: i64| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, StepError>(n) }
        })
        .step("pay", move |_: StepContext, n: i64| {
            let broken = state.load(Ordering::SeqCst) == 1;
            async move { if broken { Err(StepError::fatal("the bank is closed")) } else { Ok(n * 2) } }
        })
        .workflow("w", "let a = rand(0..1_000_000); let b = use_step(\"count\", 1); let c = use_step(\"pay\", b); [a, c, use_step(\"count\", c)]")
        .start()
        .await
        .unwrap();
    let run = host.run("w").id("paying").start().await.unwrap();
    assert!(
        matches!(run.output::<Value>().await, Err(RunError::Failed(_, failure)) if failure.message == "the bank is closed")
    );
    broken.store(0, Ordering::SeqCst);
    let again: Run = run.retry().await.unwrap();
    let output: (i64, i64, i64) = again.output().await.unwrap();
    assert_eq!((output.1, output.2), (2, 2));
    assert_eq!(calls.load(Ordering::SeqCst), 2, "what was done before the failure is not done again");
    let view = again.view().await.unwrap();
    assert!(view.started_at >= Some(view.created_at), "started before it was created: {view:?}");
    assert_eq!(view.origin.expect("an origin").run.as_str(), "paying");
    let mut seen = std::collections::BTreeMap::new();
    for event in again.events(1, 100).await.unwrap() {
        *seen.entry(event.body.name()).or_insert(0) += 1;
        assert!(!matches!(event.body, EventBody::StepFailed { .. }));
    }
    assert_eq!(seen["step_completed"], 3);
    assert!(matches!(again.retry().await, Err(HostError::Conflict(_))), "it did not fail");
    assert_eq!(host.doctor().await.unwrap().findings, []);
    host.shutdown().await;
}

#[tokio::test]
async fn two_hosts_in_one_process_share_nothing() {
    let (one, two) = (test_host(), test_host());
    let a = one.start().await;
    let b = two.start().await;
    a.run("echo").id("x").input(&1).start().await.unwrap().wait().await.unwrap();
    assert!(matches!(b.get("x").await, Err(HostError::NotFound(_))));
    let other = b.run("echo").id("x").input(&2).start().await.unwrap();
    assert_eq!(other.output::<i64>().await.unwrap(), 2);
    a.shutdown().await;
    assert!(matches!(a.get("x").await, Err(HostError::Closed)));
    assert!(matches!(a.run("echo").start().await, Err(HostError::Closed)));
    b.shutdown().await;
}

#[tokio::test]
async fn a_claim_that_was_lost_is_no_run_that_is_lost() {
    let test = test_host();
    let host = test.start().await;
    let run = host.run("sleeper").input(&1).start().await.unwrap();
    test.rests().await;
    // This host sleeps beyond its lease; another one takes the run, and dies.
    let other = durhai_world::Holder { name: "other".into(), lease: 5_000 };
    assert!(test.world.claim_run(run.id(), &other, test.clock.now() + 11_000).unwrap().is_some());
    test.clock.advance(86_400_000);
    assert_eq!(run.output::<i64>().await.unwrap(), 1);
    host.shutdown().await;
}

/// A charge whose answer got lost must not be made twice, whoever asks for it again.
#[tokio::test]
async fn what_is_tried_again_has_the_name_and_the_keys_of_what_failed() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let noted = keys.clone();
    let host = TestHost::new()
        .step("note", async |_: StepContext, id: String| Ok::<_, StepError>(id))
        .step("pay", move |ctx: StepContext, _: Value| {
            let mut keys = noted.lock();
            keys.push((ctx.run_id().to_string(), ctx.idempotency_key()));
            let lost = keys.len() < 3;
            async move { if lost { Err(StepError::fatal("the answer got lost")) } else { Ok(1) } }
        })
        .workflow("w", "let id = use_step(\"note\", run_id()); use_step(\"pay\"); [id, run_id()]")
        .start()
        .await;
    let first = host.run("w").id("paying").start().await.unwrap();
    first.output::<Value>().await.unwrap_err();
    let second = first.retry().await.unwrap();
    second.output::<Value>().await.unwrap_err();
    let third = second.retry().await.unwrap();
    assert_eq!(third.output::<Value>().await.unwrap(), json!(["paying", "paying"]));
    let key = || "paying/2".to_owned();
    let wanted = [&first, &second, &third].map(|run| (run.id().to_string(), key()));
    assert_eq!(*keys.lock(), wanted);
    assert_ne!(first.id(), third.id());
    host.shutdown().await;
}
