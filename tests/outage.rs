//! A host whose world does not answer, whose callers go away in the middle, and that stops while others are at work.

use std::sync::Arc;
use std::time::Duration;

use durhai::{Host, MemoryWorld, Run, RunError, Status, StepContext, StepError, StepRule, Value, World};
use durhai_testkit::{FarWorld, Fault, PATIENCE, ReadFault, TestHost};
use durhai_world::{Forward, Refused, WorldError, Write, Written};
use parking_lot::{Condvar, Mutex};
use serde_json::json;
use tokio::sync::Semaphore;

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn output(run: &Run) -> Value {
    in_time("a run", run.output::<Value>()).await.unwrap()
}

async fn until(what: &str, there: impl AsyncFn() -> bool) {
    let wait = async {
        while !there().await {
            tokio::task::yield_now().await;
        }
    };
    in_time(what, wait).await;
}

async fn far(test: &TestHost) -> (Arc<FarWorld>, Host) {
    let world = Arc::new(FarWorld::new(test.world.clone()));
    (world.clone(), test.builder_on(world).start().await.expect("a host starts"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_begins_although_the_caller_that_starts_it_goes_away() {
    let test = TestHost::new().echo().workflow("w", r#"use_step("echo", input)"#);
    let (world, host) = far(&test).await;
    world.hold("write");
    tokio::select! {
        _ = host.run("w").id("r").input(&7).start() => panic!("its write is held back"),
        () = world.holds("write") => {}
    }
    // The caller is gone, and its run is written.
    world.release();
    until("the run", async || host.get("r").await.is_ok()).await;
    assert_eq!(output(&host.get("r").await.unwrap()).await, json!(7));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_given_back_where_what_it_was_for_cannot_be_done() {
    let test = TestHost::new().workflow("w", "1");
    let connection = Arc::new(test.connect(Fault::Never));
    let host = test.builder_on(connection.clone()).start().await.unwrap();
    let run = host.run("w").delay(Duration::from_secs(86_400)).start().await.unwrap();
    // Between the claim of the run and the write that ends it.
    connection.fail_reads(ReadFault::Next("log_tail", 4));
    run.cancel("no").await.unwrap_err();
    assert_eq!(connection.failed_reads(), 4);
    run.cancel("no").await.unwrap();
    until("the end of the run", async || run.status().await.unwrap() == Status::Cancelled).await;
    host.shutdown().await;
}

/// Threads of a host ask now and then what is to be done. A world behind a network may not answer for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_lives_on_while_a_world_behind_a_network_is_away() {
    let test = TestHost::new().workflow("w", "1");
    let connection = Arc::new(test.connect(Fault::Never));
    let world: Arc<dyn World> = Arc::new(FarWorld::new(connection.clone()));
    let host = test.builder_on(world).start().await.unwrap();
    for call in ["renew", "next_wake", "duty"] {
        let failed = connection.failed_reads();
        // Each reader asks four times. It asks again a moment later.
        connection.fail_reads(ReadFault::Next(call, 8));
        until(call, async || {
            test.clock.advance(60_000);
            connection.failed_reads() == failed + 8
        })
        .await;
        let run = host.run("w").start().await.unwrap();
        assert_eq!(output(&run).await, json!(1), "{call}");
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_alive_for_the_others_until_its_steps_have_ended() {
    let (told, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (tells, waits) = (told.clone(), gate.clone());
    let long = Duration::from_secs(600);
    let test = TestHost::new()
        .workflow("w", r#"use_step("slow")"#)
        .step("slow", move |context: StepContext, _: Value| {
            let (told, gate) = (tells.clone(), waits.clone());
            async move {
                told.add_permits(1);
                context.cancelled().await;
                told.add_permits(1);
                gate.acquire().await.expect("it stays open").forget();
                Ok::<_, StepError>(7)
            }
        })
        .with(move |builder| builder.lease(Duration::from_millis(300)).drain(long).grace(long));
    let (world, host) = far(&test).await;
    let run = host.run("w").id("r").start().await.unwrap();
    in_time("the step", told.acquire()).await.unwrap().forget();
    drop(run);
    let stops = tokio::spawn(async move { host.shutdown().await });
    in_time("the stop", told.acquire()).await.unwrap().forget();
    // Several leases long nobody would have heard of it.
    let before = world.calls("renew");
    until("signs of life", async || world.calls("renew") >= before + 10).await;
    gate.add_permits(1);
    in_time("the shutdown", stops).await.unwrap();
    // What the step came to is recorded.
    let next = test.start().await;
    assert_eq!(output(&next.get("r").await.unwrap()).await, json!(7));
    next.shutdown().await;
}

/// A world behind a network whose server is away while its gate is shut: a write waits for it, until the world is closed.
#[derive(Default)]
struct Gone {
    world: MemoryWorld,
    state: Mutex<GoneState>,
    changed: Condvar,
}

#[derive(Default)]
struct GoneState {
    away: bool,
    waits: bool,
    closed: bool,
}

impl Forward for Gone {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&self.world)
    }

    fn is_local(&self) -> bool {
        false
    }

    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        let mut state = self.state.lock();
        while state.away && !state.closed {
            state.waits = true;
            self.changed.wait(&mut state);
        }
        match state.away {
            true => Err(WorldError::Unavailable("it is away".into())),
            false => self.world.write(batch),
        }
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_stops_while_its_world_is_away() {
    let test = TestHost::new().workflow("w", r#"wait_for("go")"#);
    let world = Arc::new(Gone::default());
    let host = test.builder_on(world.clone()).start().await.unwrap();
    let run = host.run("w").start().await.unwrap();
    until("the run", async || run.status().await.unwrap() == Status::Waiting).await;
    world.state.lock().away = true;
    let sender = tokio::spawn(async move { run.signal("go", &1).await });
    until("the write", async || world.state.lock().waits).await;
    in_time("the shutdown", host.shutdown()).await;
    assert!(world.state.lock().closed);
    in_time("the caller", sender).await.unwrap().unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_may_run_once_and_waits_for_its_place_is_made_by_the_next_host() {
    let began = Arc::new(Semaphore::new(0));
    let begins = began.clone();
    let test = TestHost::new()
        .workflow("w", r#"use_step("slow", input, #{ once: true })"#)
        .step("slow", move |context: StepContext, input: Value| {
            let began = begins.clone();
            async move {
                began.add_permits(1);
                if input == json!("holds the place") {
                    context.cancelled().await;
                }
                Ok::<_, StepError>(input)
            }
        })
        .with(|builder| builder.step_rule("slow", StepRule { concurrency: Some(1), ..StepRule::default() }));
    let host = test.start().await;
    let first = host.run("w").input(&"holds the place").start().await.unwrap();
    in_time("the step", began.acquire()).await.unwrap().forget();
    let second = host.run("w").id("second").input(&7).start().await.unwrap();
    let asked = async || second.events(1, 100).await.unwrap().iter().any(|event| event.body.name() == "step_started");
    until("the other step", asked).await;
    drop(first);
    host.shutdown().await;
    let next = test.start().await;
    assert_eq!(output(&next.get("second").await.unwrap()).await, json!(7));
    next.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_child_another_host_was_faster_to_create_does_not_wait_for_it() {
    let test = TestHost::new()
        .workflow("child", "wait_for(\"never\")")
        .workflow("parent", r#"wait_for("go"); run_workflow("child", (), #{ id: "c" })"#);
    let (world, host) = far(&test).await;
    let other = test.start().await;
    let parent = host.run("parent").start().await.unwrap();
    until("the run", async || parent.status().await.unwrap() == Status::Waiting).await;
    parent_is_told(&parent, &world, &test).await;
    other.run("child").id("c").start().await.unwrap();
    world.release();
    match in_time("the parent", parent.output::<Value>()).await {
        Err(RunError::Failed(_, failure)) => assert!(failure.message.contains("run c already"), "{failure:?}"),
        other => panic!("{other:?}"),
    }
    other.shutdown().await;
    host.shutdown().await;
}

/// The commit that creates the child is held back. The message goes past the connection of the host.
async fn parent_is_told(parent: &Run, world: &FarWorld, test: &TestHost) {
    let sender = test.start().await;
    world.hold("write");
    sender.get(parent.id().as_str()).await.unwrap().signal("go", &()).await.unwrap();
    in_time("the commit", world.holds("write")).await;
    sender.shutdown().await;
}
