//! A host that others take for dead, or that may be dead for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use durhai::clock::Clock;
use durhai::{MemoryWorld, Millis, Run, Status, StepContext, StepError, Value, World};
use durhai_testkit::{PATIENCE, TestHost};
use durhai_world::{Forward, Holder, Renewed, WorldError};
use parking_lot::{Condvar, Mutex};
use serde_json::json;

const LEASE: Duration = Duration::from_secs(10);

async fn output(run: &Run) -> Value {
    tokio::time::timeout(PATIENCE, run.output()).await.expect("it ends").expect("and well")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_declared_dead_drops_its_runs_and_goes_on() {
    let attempts = Arc::new(AtomicU64::new(0));
    let made = attempts.clone();
    let step = move |context: StepContext, input: Value| {
        let first = made.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                // Until the host tells it that its run is lost.
                context.cancelled().await;
                return Err(StepError::retry("nobody hears this"));
            }
            Ok(input)
        }
    };
    let test = TestHost::new()
        .workflow("steps", r#"use_step("slow", input)"#)
        .workflow("waits", r#"wait_for("go")"#)
        .step("slow", step)
        .with(|builder| builder.lease(LEASE));
    let host = test.start().await;
    let (steps, waits) = (host.run("steps").input(&7).start().await.unwrap(), host.run("waits").start().await.unwrap());
    while attempts.load(Ordering::SeqCst) == 0 || waits.status().await.unwrap() != Status::Waiting {
        tokio::task::yield_now().await;
    }
    // Another host looks, and has not heard of this one for a minute.
    let other = Holder { name: "other".into(), lease: LEASE.as_millis() as Millis };
    assert!(test.world.renew(&other, test.clock.now() + 60_000).unwrap().alive);
    waits.signal("go", &"hello").await.unwrap();
    // This one hears of it with its next sign of life.
    test.clock.advance(LEASE.as_millis() as Millis / 3);
    assert_eq!(output(&steps).await, json!(7));
    assert_eq!(output(&waits).await, json!("hello"));
    assert_eq!(attempts.load(Ordering::SeqCst), 2, "the attempt of the dead host, and the one of its successor");
    // It is as good as new.
    let again = host.run("steps").input(&8).start().await.unwrap();
    assert_eq!(output(&again).await, json!(8));
    host.shutdown().await;
}

/// A world behind a network that answers no sign of life while its gate is shut.
struct Deaf {
    world: MemoryWorld,
    shut: Mutex<bool>,
    opens: Condvar,
}

impl Forward for Deaf {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&self.world)
    }

    fn is_local(&self) -> bool {
        false
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<Renewed, WorldError> {
        let mut shut = self.shut.lock();
        while *shut {
            self.opens.wait(&mut shut);
        }
        self.world.renew(holder, now)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_effect_begins_while_the_host_may_be_dead_for_others() {
    let lease = Duration::from_millis(300);
    let (heard, world) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(Deaf { world: MemoryWorld::new(), shut: Mutex::new(false), opens: Condvar::new() }),
    );
    let answers = heard.clone();
    let test = TestHost::new()
        .workflow("w", r#"use_step("answered")"#)
        .step("answered", move |_: StepContext, _: Value| {
            let answered = answers.load(Ordering::SeqCst);
            async move { Ok::<_, StepError>(answered) }
        })
        .with(move |builder| builder.lease(lease));
    let host = test.builder().shared_world(world.clone()).start().await.unwrap();
    let before = host.run("w").start().await.unwrap();
    assert_eq!(output(&before).await, json!(true));
    heard.store(false, Ordering::SeqCst);
    *world.shut.lock() = true;
    // The last answer may have come a moment ago: a lease later it says nothing any more.
    tokio::time::sleep(lease).await;
    let run = host.run("w").start().await.unwrap();
    while run.events(1, 100).await.unwrap().iter().all(|event| event.step_id.is_none()) {
        tokio::task::yield_now().await;
    }
    // Its start is recorded; the step must wait for this.
    heard.store(true, Ordering::SeqCst);
    *world.shut.lock() = false;
    world.opens.notify_all();
    assert_eq!(output(&run).await, json!(true), "the step began while nobody had answered the host");
    host.shutdown().await;
}
