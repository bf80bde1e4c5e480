//! Runs that have not begun, because their time or their turn has not come: what reaches them and what does not.

use std::sync::Arc;
use std::time::Duration;

use durhai::clock::Clock;
use durhai::{MemoryWorld, Query, RunError, RunId, SledWorld, Status, Value, World};
use durhai_core::FailureKind;
use durhai_testkit::{TestHost, events};
use durhai_world::{NewMessage, Write};
use serde_json::json;

const HOUR: u64 = 3_600_000;

fn test_host() -> TestHost {
    TestHost::new()
        .echo()
        .workflow("hears", "use_step(\"echo\", 1); [poll_signal(\"a\"), poll_signal(\"b\"), poll_signal(\"a\")]")
        .workflow("one", "const WORKFLOW = #{ concurrency: 1 }; use_step(\"echo\", 1); wait_for(\"go\")")
        .workflow("parent", "run_workflow(\"one\")")
        .workflow("leaves", "let t = task(|| run_workflow(\"one\")); sleep(60); \"left\"")
}

fn id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

fn names(world: &dyn World, run: &str) -> Vec<&'static str> {
    events(world, &id(run)).iter().map(|event| event.body.name()).collect()
}

/// A message as hosts write it, from one that is not here.
fn message(run: &str, json: &Value, urgent: bool) -> Write {
    Write::Send(NewMessage { run: id(run), at: 1, urgent, bytes: json.to_string().into_bytes() })
}

#[tokio::test]
async fn a_signal_begins_no_run_before_its_time_and_is_there_then() {
    let folder = tempfile::tempdir().unwrap();
    let sled: Arc<dyn World> = Arc::new(SledWorld::open(folder.path()).unwrap());
    let memory: Arc<dyn World> = Arc::new(MemoryWorld::new());
    for world in [memory, sled] {
        let test = test_host();
        let first = test.builder_on(world.clone()).start().await.unwrap();
        let begun_at = test.clock.now() + HOUR;
        let run = first.run("hears").id("late").delay(Duration::from_secs(3_600)).start().await.unwrap();
        run.signal("a", &1).await.unwrap();
        run.signal_once("b", &2, "x").await.unwrap();
        run.signal_once("b", &2, "x").await.unwrap();
        test.rests_on(&*world).await;
        // Nor does a start that finds it there, or another host.
        let again = first.run("hears").id("late").start().await.unwrap();
        test.rests_on(&*world).await;
        assert_eq!((again.status().await.unwrap(), names(&*world, "late").len()), (Status::Pending, 1));
        first.shutdown().await;
        let second = test.builder_on(world.clone()).start().await.unwrap();
        let run = second.get("late").await.unwrap();
        run.signal("a", &3).await.unwrap();
        test.clock.advance(HOUR - 1);
        test.rests_on(&*world).await;
        assert_eq!((run.status().await.unwrap(), names(&*world, "late").len()), (Status::Pending, 1));
        test.clock.advance(1);
        assert_eq!(run.output::<Value>().await.unwrap(), json!([1, 2, 3]));
        assert_eq!(run.view().await.unwrap().started_at, Some(begun_at));
        assert_eq!(second.doctor().await.unwrap().findings, []);
        second.shutdown().await;
    }
}

/// One that has begun must hear at once, however long it sleeps.
#[tokio::test]
async fn a_signal_wakes_a_run_that_sleeps_and_is_in_no_memory() {
    let test = test_host();
    let first = test.start().await;
    first.run("one").id("asleep").start().await.unwrap();
    test.rests().await;
    first.shutdown().await;
    assert_eq!(
        test.world
            .write(vec![message("asleep", &json!({ "kind": "signal", "name": "go", "payload": 7 }), false)])
            .unwrap()
            .len(),
        1
    );
    let second = test.start().await;
    assert_eq!(second.get("asleep").await.unwrap().output::<i64>().await.unwrap(), 7);
    second.shutdown().await;
}

#[tokio::test]
async fn what_ends_a_run_that_has_not_begun_ends_it_at_once_without_its_script() {
    let test = test_host();
    let host = test.start().await;
    host.run("one").id("inside").start().await.unwrap();
    test.rests().await;
    for (workflow, delay) in [("hears", 3_600), ("one", 3_600), ("one", 0)] {
        for terminate in [false, true] {
            let run = host.run(workflow).id("x").delay(Duration::from_secs(delay)).start().await.unwrap();
            run.signal("a", &1).await.unwrap();
            if terminate { run.terminate("why").await } else { run.cancel("why").await }.unwrap();
            let error = run.output::<Value>().await.unwrap_err();
            match terminate {
                true => {
                    assert!(matches!(&error, RunError::Failed(_, failure) if failure.kind == FailureKind::Terminated))
                }
                false => assert!(matches!(&error, RunError::Cancelled(_, why) if why == "why"), "{error}"),
            }
            let last = if terminate { "run_failed" } else { "run_cancelled" };
            assert_eq!(names(&*test.world, "x"), ["run_created", last], "{workflow} {delay}");
            run.delete().await.unwrap();
        }
    }
    assert_eq!(host.get("inside").await.unwrap().status().await.unwrap(), Status::Waiting);
    assert_eq!(host.doctor().await.unwrap().findings, []);
    host.shutdown().await;
}

/// The message of somebody else, which came while no host was there; and one that no host here knows.
#[tokio::test]
async fn a_host_that_comes_up_ends_what_was_to_end_before_it_began() {
    let test = test_host();
    let first = test.start().await;
    first.run("one").id("inside").start().await.unwrap();
    test.rests().await;
    for name in ["waits", "waits-2", "waits-3"] {
        first.run("one").id(name).start().await.unwrap();
    }
    for name in ["late", "late-2"] {
        first.run("hears").id(name).delay(Duration::from_secs(3_600)).start().await.unwrap();
    }
    first.shutdown().await;
    let cancel = json!({ "kind": "cancel", "reason": "off" });
    let signal = json!({ "kind": "signal", "name": "a", "payload": 7 });
    let newer = json!({ "kind": "from the future" });
    let mut batch = vec![message("waits-2", &json!({ "kind": "terminate", "reason": "off" }), true)];
    batch.extend((0..300).map(|_| message("waits", &signal, false)));
    batch.extend([message("late", &signal, false), message("late", &cancel, true), message("waits", &cancel, true)]);
    batch.extend([message("late-2", &newer, true), message("waits-3", &signal, false)]);
    assert!(test.world.write(batch).unwrap().iter().all(Result::is_ok));
    let second = test.start().await;
    for name in ["late", "waits"] {
        let error = second.get(name).await.unwrap().output::<Value>().await.unwrap_err();
        assert!(matches!(&error, RunError::Cancelled(_, why) if why == "off"), "{name}: {error}");
        assert_eq!(names(&*test.world, name), ["run_created", "run_cancelled"], "{name}");
    }
    let error = second.get("waits-2").await.unwrap().output::<Value>().await.unwrap_err();
    assert!(matches!(&error, RunError::Failed(..)), "{error}");
    let parked = second.get("late-2").await.unwrap().wait().await.unwrap();
    let reason = parked.reason.expect("one");
    assert!(parked.status == Status::Parked && reason.contains("does not know"), "{reason}");
    test.rests().await;
    assert_eq!(second.get("waits-3").await.unwrap().status().await.unwrap(), Status::Pending);
    second.get("inside").await.unwrap().signal("go", &1).await.unwrap();
    second.get("waits-3").await.unwrap().signal("go", &2).await.unwrap();
    assert_eq!(second.get("waits-3").await.unwrap().output::<i64>().await.unwrap(), 2);
    second.shutdown().await;
}

/// Its parent is cancelled, terminated, over: a child that waits for its turn goes with it, wherever it stands.
#[tokio::test]
async fn a_child_that_has_not_begun_does_not_outlive_its_parent() {
    for adopt in [true, false] {
        let test = test_host();
        let host = test.builder().adopt(adopt).start().await.unwrap();
        host.run("one").id("inside").start().await.unwrap();
        test.rests().await;
        for (workflow, end) in [("parent", "cancel"), ("parent", "terminate"), ("leaves", "leave")] {
            let parent = host.run(workflow).id("p").start().await.unwrap();
            let query = Query { parent: Some(id("p")), ..Query::default() };
            test.rests().await;
            let child = test.world.list(&query).unwrap().rows.remove(0).run;
            assert_eq!(names(&*test.world, child.as_str()), ["run_created"]);
            match end {
                "cancel" => parent.cancel("enough").await.unwrap(),
                "terminate" => parent.terminate("enough").await.unwrap(),
                _ => test.clock.advance(60_000),
            }
            let ended = parent.wait().await.unwrap();
            assert!(ended.status.is_terminal(), "{end}: {ended:?}");
            let ended = host.get(child.as_str()).await.unwrap().wait().await.unwrap();
            let wanted = if end == "terminate" { Status::Failed } else { Status::Cancelled };
            assert_eq!(ended.status, wanted, "{end}: {ended:?}");
            assert_eq!(names(&*test.world, child.as_str()).len(), 2, "its script never ran");
            parent.delete().await.unwrap();
            assert!(test.world.row(&child).unwrap().is_none());
        }
        assert_eq!(host.get("inside").await.unwrap().status().await.unwrap(), Status::Waiting, "all that while");
        host.shutdown().await;
    }
}
