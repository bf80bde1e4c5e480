//! Two hosts on one world: what happens in one is heard of in the other, although nothing tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use durhai::clock::{Clock, SystemClock};
use durhai::logs::Fork;
use durhai::versions::CompatVerdict;
use durhai::{
    EventBody, Host, MemoryWorld, Millis, Query, Run, RunError, Status, StepContext, StepError, StepId, Value, World,
};
use durhai_testkit::{FarWorld, PATIENCE, TestHost};
use durhai_world::{Forward, Holder, Renewed, Watcher, WorldError};
use serde_json::json;
use tokio::sync::Semaphore;

/// One host's connection to a world that tells it nothing of what others do.
struct Silent(Arc<MemoryWorld>);

impl Forward for Silent {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&*self.0)
    }

    fn is_local(&self) -> bool {
        false
    }

    fn watch(&self, _: Watcher) {}
}

/// A world that is behind a network and has a clock of its own.
struct OtherTime {
    world: MemoryWorld,
    /// Milliseconds that it is ahead.
    ahead: AtomicI64,
}

impl Forward for OtherTime {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&self.world)
    }

    fn is_local(&self) -> bool {
        false
    }

    fn renew(&self, holder: &Holder, _: Millis) -> Result<Renewed, WorldError> {
        let now = SystemClock.now().saturating_add_signed(self.ahead.load(Ordering::SeqCst));
        Ok(Renewed { now: Some(now), ..self.world.renew(holder, now)? })
    }
}

struct Two {
    a: Host,
    b: Host,
    gate: Arc<Semaphore>,
    test: TestHost,
}

const TEXTS: [(&str, &str); 5] = [
    ("gated", r#"use_step("gate"); emit("one"); let x = use_step("gate"); emit("two"); x"#),
    ("signals", r#"[wait_for("m"), wait_for("m")]"#),
    ("asks", r#"suspend("really?", #{ label: "sure" })"#),
    ("sleeps", r#"sleep("30 days")"#),
    ("chain", r#"if input < 3 { use_step("gate"); continue_as_new(input + 1); } input"#),
];

/// `silent`: the world tells neither host of anything.
async fn two(silent: bool) -> Two {
    let gate = Arc::new(Semaphore::new(0));
    let within = gate.clone();
    let test = TestHost::new().step("gate", move |_: StepContext, _: Value| {
        let gate = within.clone();
        async move {
            gate.acquire().await.expect("it stays open").forget();
            Ok::<_, StepError>("through")
        }
    });
    let test = TEXTS.into_iter().fold(test, |test, (name, text)| test.workflow(name, text));
    let world = || -> Arc<dyn World> { if silent { Arc::new(Silent(test.world.clone())) } else { test.world.clone() } };
    let a = test.builder_on(world()).start().await.unwrap();
    let b = test.builder_on(world()).start().await.unwrap();
    Two { a, b, gate, test }
}

impl Two {
    async fn stop(self) {
        self.a.shutdown().await;
        self.b.shutdown().await;
    }

    /// A run that A has, as A and as B see it.
    async fn run(&self, workflow: &str, input: Value) -> (Run, Run) {
        let here = self.a.run(workflow).id(workflow).input(&input).start().await.unwrap();
        let there = self.b.get(workflow).await.unwrap();
        (here, there)
    }
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE / 4, work).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn output(run: &Run) -> Result<Value, RunError> {
    in_time("an output", run.output::<Value>()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_run_is_heard_of_in_the_other_host() {
    for silent in [false, true] {
        let two = two(silent).await;
        let (_, there) = two.run("gated", json!(null)).await;
        let waits = tokio::spawn({
            let there = there.clone();
            async move { there.wait().await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        two.gate.add_permits(2);
        assert_eq!(in_time("an end", waits).await.unwrap().status, Status::Completed);
        assert_eq!(output(&there).await.unwrap(), json!("through"));

        let (_, there) = two.run("chain", json!(1)).await;
        let ends = tokio::spawn(async move { output(&there).await.unwrap() });
        two.gate.add_permits(2);
        assert_eq!(in_time("a chain", ends).await.unwrap(), json!(3));
        two.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_does_is_heard_of_in_the_other_host() {
    let two = two(true).await;
    let (_, there) = two.run("gated", json!(null)).await;
    let mut follower = there.follow().unwrap();
    let (mut events, mut shown) = (0, 0);
    two.gate.add_permits(1);
    let reads = async {
        loop {
            let news = there.events(events + 1, 100).await.unwrap();
            events += news.len() as u64;
            let values = there.emitted(durhai::DEFAULT_STREAM, shown, 100).await.unwrap();
            shown += values.len() as u64;
            if shown == 1 {
                two.gate.add_permits(1);
            }
            if news.iter().any(|event| matches!(event.body, EventBody::RunCompleted { .. })) {
                return;
            }
            follower.changed().await;
        }
    };
    in_time("the events of a run", reads).await;
    assert_eq!((events, shown), (7, 2));
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_from_the_other_host_arrives() {
    for silent in [false, true] {
        let two = two(silent).await;
        let (here, there) = two.run("signals", json!(null)).await;
        two.test.rests().await;
        there.signal("m", &1).await.unwrap();
        there.signal("m", &2).await.unwrap();
        assert_eq!(output(&here).await.unwrap(), json!([1, 2]), "silent: {silent}");

        let (here, there) = two.run("asks", json!(null)).await;
        two.test.rests().await;
        assert_eq!(there.suspensions().await.unwrap().len(), 1);
        there.resume(Some("sure"), &true).await.unwrap();
        assert_eq!(output(&here).await.unwrap(), json!(true));

        let (here, there) = two.run("sleeps", json!(null)).await;
        two.test.rests().await;
        there.cancel("enough").await.unwrap();
        let cancelled = output(&here).await.unwrap_err();
        assert!(matches!(cancelled, RunError::Cancelled(..)), "{cancelled}");
        two.stop().await;
    }
}

/// One question for many, and none where nobody follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_world_is_looked_at_for_all_that_are_followed_together() {
    let two = two(false).await;
    let world = Arc::new(FarWorld::new(two.test.world.clone()));
    let c = two.test.builder_on(world.clone()).start().await.unwrap();
    let mut followers = Vec::new();
    for number in 0..50 {
        let id = format!("s{number}");
        two.a.run("sleeps").id(&*id).start().await.unwrap();
        followers.push(c.get(&id).await.unwrap().follow().unwrap());
    }
    in_time("the first look", followers[0].changed()).await;
    in_time("the first look", followers[49].changed()).await;
    assert!(world.calls("standings") <= 5, "{}", world.calls("standings"));
    drop(followers);
    // The task that looks ends.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let calls = world.calls("standings");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(world.calls("standings"), calls);
    // A run of its own is heard of without a question.
    let own = c.run("sleeps").id("own").start().await.unwrap();
    let _follower = own.follow().unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(world.calls("standings"), calls);
    c.shutdown().await;
    two.stop().await;
}

/// One small question twice a second for all who look on, and none where nobody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_look_on_hear_that_another_host_wrote() {
    let two = two(false).await;
    let world = Arc::new(FarWorld::new(two.test.world.clone()));
    let c = two.test.builder_on(world.clone()).start().await.unwrap();
    assert_eq!(world.calls("written"), 0);
    let (mut first, mut second) = (c.follow_others(), c.follow_others());
    // What they know is not known at first.
    in_time("the first look", first.wrote()).await;
    in_time("the first look", second.wrote()).await;
    two.test.rests().await;
    let quiet = async {
        // What was written in the beginning may come a look later.
        while tokio::time::timeout(Duration::from_millis(1_100), first.wrote()).await.is_ok() {}
    };
    in_time("a quiet world", quiet).await;
    two.a.run("sleeps").start().await.unwrap();
    in_time("a write", first.wrote()).await;
    in_time("a write", second.wrote()).await;
    // Who comes later is told of what is written from then on.
    let mut third = c.follow_others();
    two.b.run("sleeps").start().await.unwrap();
    in_time("a write", third.wrote()).await;
    let (looks, began) = (world.calls("written"), std::time::Instant::now());
    drop((first, second, third));
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let last = world.calls("written");
    assert!(last <= looks + 3 + began.elapsed().as_secs() * 2, "{looks}, then {last}");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(world.calls("written"), last);
    // In a world of its own there are no others.
    let mut none = two.a.follow_others();
    two.b.run("sleeps").start().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(700), none.wrote()).await.is_err());
    c.shutdown().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_goes_by_the_time_of_a_world_behind_a_network() {
    const HOUR: i64 = 3_600_000;
    let world = Arc::new(OtherTime { world: MemoryWorld::new(), ahead: AtomicI64::new(HOUR) });
    let builder = || Host::builder().shared_world(world.clone()).workflow("naps", "sleep(\"50ms\"); 1");
    let host = builder().lease(Duration::from_millis(300)).start().await.unwrap();
    let is_ahead = |at: Millis, by: i64| at.abs_diff(SystemClock.now().saturating_add_signed(by)) < 120_000;
    let run = host.run("naps").start().await.unwrap();
    assert_eq!(output(&run).await.unwrap(), json!(1));
    assert!(is_ahead(run.view().await.unwrap().created_at, HOUR));
    // The timer that waits is due when the world says so, and what begins later has its time.
    let waits = host.run("naps").delay(Duration::from_secs(5_400)).start().await.unwrap();
    world.ahead.store(3 * HOUR, Ordering::SeqCst);
    assert_eq!(output(&waits).await.unwrap(), json!(1));
    assert!(is_ahead(waits.view().await.unwrap().ended_at.unwrap(), 3 * HOUR));
    host.shutdown().await;
    // A clock that the embedder gave is what he wants.
    let host = builder().clock(Arc::new(SystemClock)).start().await.unwrap();
    let run = host.run("naps").start().await.unwrap();
    assert_eq!(output(&run).await.unwrap(), json!(1));
    assert!(is_ahead(run.view().await.unwrap().created_at, 0));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_moves_to_another_version_in_the_host_that_has_it() {
    const OLD: &str = r#"use_step("echo"); let a = wait_for("m"); [a, "old"]"#;
    for silent in [false, true] {
        let test = TestHost::new().echo();
        let world =
            || -> Arc<dyn World> { if silent { Arc::new(Silent(test.world.clone())) } else { test.world.clone() } };
        let a = test.builder_on(world()).workflow("w", OLD).start().await.unwrap();
        for id in ["one", "two", "three"] {
            a.run("w").id(id).start().await.unwrap();
        }
        test.rests().await;
        let new = r#"use_step("echo"); let a = wait_for("m"); [a, "new"]"#;
        let b = test.builder_on(world()).workflow("w", new).start().await.unwrap();
        let there = b.get("one").await.unwrap();
        let moved = in_time("a move", there.migrate(None, false)).await.unwrap();
        assert!(moved.moved, "{moved:?}");
        // It goes on where it is, with the text that its host never had.
        there.signal("m", &1).await.unwrap();
        assert_eq!(output(&a.get("one").await.unwrap()).await.unwrap(), json!([1, "new"]));
        // Many are asked for at once, and not waited for.
        let query = Query { workflow: Some("w".into()), ..Query::default() };
        let report = in_time("moves", b.migrate(query, None, false)).await.unwrap();
        assert_eq!((report.live, report.elsewhere, report.moved), (2, 2, 0), "{report}");
        let two = b.get("two").await.unwrap();
        let moves = async {
            while two.view().await.unwrap().version != report.to {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        in_time("a move", moves).await;
        b.shutdown().await;
        // What does not fit is said.
        let other = test.builder_on(world()).workflow("w", r#"sleep("1 hour"); 1"#).start().await.unwrap();
        let stays = in_time("a move", other.get("two").await.unwrap().migrate(None, false)).await.unwrap();
        assert!(!stays.moved && stays.verdict != CompatVerdict::Compatible, "{stays:?}");
        other.shutdown().await;
        a.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_knows_the_forks_that_two_hosts_make_at_the_same_time() {
    let two = two(false).await;
    let (here, there) = two.run("sleeps", Value::Null).await;
    in_time("the run waits", async {
        while here.status().await.expect("it is known") != Status::Waiting {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let fork = |run: &Run, number: usize| {
        let run = run.clone();
        tokio::spawn(
            async move { run.fork(Fork::at(StepId::parse("1").expect("an id")).id(format!("f{number:02}"))).await },
        )
    };
    let forks: Vec<_> = (0..24).map(|number| fork(if number % 2 == 0 { &here } else { &there }, number)).collect();
    for fork in forks {
        fork.await.expect("it ends").expect("it forks");
    }
    let mut known: Vec<_> = here.view().await.expect("a view").forks.iter().map(ToString::to_string).collect();
    known.sort();
    assert_eq!(known, (0..24).map(|number| format!("f{number:02}")).collect::<Vec<_>>());
    two.stop().await;
}
