//! A world behind a network: no worker waits for it, so that what one run needs of it holds no other run up.

use std::sync::Arc;

use durhai::{Host, Run, StepContext, StepError, Value, World};
use durhai_testkit::{FarWorld, Fault, PATIENCE, ReadFault, TestHost, events};
use serde_json::json;
use tokio::sync::Semaphore;

/// One worker, which has all runs; each script asks the world for one thing after the step `gate`.
const TEXTS: [(&str, &str); 10] = [
    ("other", r#"let x = 0; for i in 0..5 { x = use_step("echo", x + 1); } x"#),
    ("hook", r#"use_step("gate"); let h = hook(); h.token.len()"#),
    ("named", r#"use_step("gate"); let h = hook(#{ token: "mine" }); h.token"#),
    ("child", r#"use_step("gate"); run_workflow("double", 21)"#),
    ("detached", r#"use_step("gate"); start_workflow("double", 21, #{ id: "d" })"#),
    ("double", "input * 2"),
    ("goes_on", r#"if input == 0 { use_step("gate"); continue_as_new(7); } input"#),
    ("ends_child", r#"race([|| run_workflow("sleeps"), || use_step("gate")]).value"#),
    ("sleeps", r#"sleep("30 days"); 1"#),
    ("signal", r#"use_step("gate"); [wait_for("m"), wait_for("m")]"#),
];

struct Far {
    test: TestHost,
    gate: Arc<Semaphore>,
}

impl Far {
    fn new() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let within = gate.clone();
        let test = TestHost::new().workers(1).echo().step("gate", move |_: StepContext, _: Value| {
            let gate = within.clone();
            async move {
                gate.acquire().await.expect("it stays open").forget();
                Ok::<_, StepError>("through")
            }
        });
        let test = TEXTS.into_iter().fold(test, |test, (name, text)| test.workflow(name, text));
        Far { test, gate }
    }

    async fn host(&self) -> (Arc<FarWorld>, Host) {
        let world = Arc::new(FarWorld::new(self.test.world.clone()));
        (world.clone(), self.test.builder_on(world).start().await.expect("a host starts"))
    }

    fn open(&self) {
        self.gate.add_permits(1);
    }
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn output(run: &Run) -> Value {
    in_time("a run", run.output::<Value>()).await.unwrap()
}

/// Until the run's log has such an event.
async fn recorded(test: &TestHost, run: &Run, name: &str) {
    let there = || events(&*test.world, run.id()).iter().any(|event| event.body.name() == name);
    let wait = async {
        while !there() {
            tokio::task::yield_now().await;
        }
    };
    in_time(name, wait).await;
}

/// Another run of the same worker goes on to its end.
async fn others_go_on(host: &Host, id: &str) {
    let other = host.run("other").id(id).start().await.unwrap();
    assert_eq!(output(&other).await, json!(5), "{id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_of_one_run_holds_no_other_up() {
    let far = Far::new();
    let (world, host) = far.host().await;
    let questions = [
        ("hook", "reserve", json!(32)),
        ("named", "reserve", json!("mine")),
        ("child", "row", json!(42)),
        ("detached", "row", json!("d")),
        ("goes_on", "row", json!(7)),
        ("ends_child", "row", json!("through")),
    ];
    for (workflow, call, expected) in questions {
        let run = host.run(workflow).id(workflow).input(&0).start().await.unwrap();
        // Whatever it asks for before that is answered.
        recorded(&far.test, &run, "step_started").await;
        world.hold(call);
        far.open();
        in_time(workflow, world.holds(call)).await;
        others_go_on(&host, &format!("beside-{workflow}")).await;
        assert!(!run.status().await.unwrap().is_terminal(), "{workflow}");
        world.release();
        assert_eq!(output(&run).await, expected, "{workflow}");
    }
    assert_eq!(world.on_workers(), Vec::<&str>::new());
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_is_slow_to_read_holds_no_other_up_and_loses_nothing() {
    let far = Far::new();
    let (world, host) = far.host().await;
    let run = host.run("signal").id("s").start().await.unwrap();
    far.open();
    recorded(&far.test, &run, "step_completed").await;
    far.test.rests().await;
    world.hold("inbox");
    run.signal("m", &1).await.unwrap();
    world.holds("inbox").await;
    // This one comes while the inbox is being read.
    run.signal("m", &2).await.unwrap();
    others_go_on(&host, "beside").await;
    world.release();
    assert_eq!(output(&run).await, json!([1, 2]));
    assert_eq!(world.on_workers(), Vec::<&str>::new());
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_or_a_text_that_is_slow_to_read_holds_no_other_up() {
    for call in ["log", "program", "inbox"] {
        let far = Far::new();
        let (_, first) = far.host().await;
        let run = first.run("signal").id("s").start().await.unwrap();
        far.open();
        recorded(&far.test, &run, "step_completed").await;
        far.test.rests().await;
        first.shutdown().await;
        // The text of the run's version is in no folder any more.
        let other = TestHost::new().workers(1).echo().workflow("other", TEXTS[0].1);
        let world = Arc::new(FarWorld::new(far.test.world.clone()));
        let host = other.builder_on(world.clone()).clock(far.test.clock.clone()).start().await.unwrap();
        let run = host.get("s").await.unwrap();
        world.hold(call);
        run.signal("m", &1).await.unwrap();
        in_time(call, world.holds(call)).await;
        // What comes while it is being read is not lost.
        run.signal("m", &2).await.unwrap();
        others_go_on(&host, "beside").await;
        world.release();
        assert_eq!(output(&run).await, json!([1, 2]), "{call}");
        assert_eq!(world.on_workers(), Vec::<&str>::new());
        host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_timer_fires_comes_before_it() {
    const RACE: &str = r#"race([|| { sleep("1 hour"); "timer" }, || wait_for("m")]).value"#;
    let test = TestHost::new().workers(1).echo().workflow("race", RACE).workflow("other", TEXTS[0].1);
    let world = Arc::new(FarWorld::new(test.world.clone()));
    let host = test.builder_on(world.clone()).start().await.unwrap();
    let run = host.run("race").id("r").start().await.unwrap();
    test.rests().await;
    world.hold("inbox");
    run.signal("m", &"signal").await.unwrap();
    world.holds("inbox").await;
    // The signal is on its way, and the timer becomes due.
    test.clock.advance(3_600_000);
    others_go_on(&host, "beside").await;
    assert!(!run.status().await.unwrap().is_terminal());
    world.release();
    assert_eq!(output(&run).await, json!("signal"));
    assert_eq!(world.on_workers(), Vec::<&str>::new());
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_waits_for_no_answer_that_can_come_later() {
    let far = Far::new();
    let (world, host) = far.host().await;
    let run = host.run("hook").id("h").start().await.unwrap();
    recorded(&far.test, &run, "step_started").await;
    world.hold("reserve");
    far.open();
    world.holds("reserve").await;
    let stops = tokio::spawn(async move { host.shutdown().await });
    world.release();
    in_time("a shutdown", stops).await.unwrap();
    let (world, host) = far.host().await;
    assert_eq!(output(&host.get("h").await.unwrap()).await, json!(32));
    assert_eq!(world.on_workers(), Vec::<&str>::new());
    host.shutdown().await;
}

/// The step before a question ends while the host stops: the question is asked by the next host, of any world.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_that_stops_does_not_ask_the_next_one_does() {
    for (local, last, expected) in [
        (true, "hook().token.len()", json!(32)),
        (true, r#"run_workflow("double", 21)"#, json!(42)),
        (false, "hook().token.len()", json!(32)),
        (false, "if input == 0 { continue_as_new(7); } input", json!(7)),
    ] {
        let test = TestHost::new().workers(1).workflow("double", "input * 2");
        let text = format!("if input == 0 {{ use_step(\"stays\"); }} {last}");
        let begun = Arc::new(Semaphore::new(0));
        let begins = begun.clone();
        let test = test.workflow("last", text).step("stays", move |context: StepContext, _: Value| {
            begins.add_permits(1);
            async move {
                context.cancelled().await;
                Ok::<_, StepError>("done")
            }
        });
        let world: Arc<dyn World> = match local {
            true => test.world.clone(),
            false => Arc::new(FarWorld::new(test.world.clone()).strict()),
        };
        let host = test.builder_on(world.clone()).start().await.unwrap();
        let run = host.run("last").id("r").input(&0).start().await.unwrap();
        drop(in_time("the step", begun.acquire()).await);
        in_time("a shutdown", host.shutdown()).await;
        let log = events(&*test.world, run.id());
        assert!(log.iter().any(|event| event.body.name() == "step_completed"), "{last}, local: {local}: {log:#?}");
        let host = test.builder_on(world).start().await.unwrap();
        assert_eq!(output(&host.get("r").await.unwrap()).await, expected, "{last}, local: {local}");
        host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_moves_to_another_version_without_its_worker_reading_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let save = |text: &str| std::fs::write(folder.path().join("moves.rhai"), text).unwrap();
    save(r#"let a = wait_for("m"); [a, 1]"#);
    let far = Far::new();
    let world = Arc::new(FarWorld::new(far.test.world.clone()));
    let host = far.test.builder_on(world.clone()).workflows(folder.path()).start().await.unwrap();
    let run = host.run("moves").id("m").start().await.unwrap();
    far.test.rests().await;
    save(r#"let a = wait_for("m"); [a, 2]"#);
    // The new text serves, and was checked against the run.
    assert!(!run.migrate(None, true).await.unwrap().moved);
    world.hold("log");
    let moving = tokio::spawn({
        let run = run.clone();
        async move { run.migrate(None, false).await }
    });
    in_time("the log", world.holds("log")).await;
    others_go_on(&host, "beside").await;
    run.signal("m", &"x").await.unwrap();
    world.release();
    let moved = in_time("a move", moving).await.unwrap().unwrap();
    assert!(moved.moved, "{moved:?}");
    assert_eq!(output(&run).await, json!(["x", 2]));
    assert_eq!(world.on_workers(), Vec::<&str>::new());
    host.shutdown().await;
}

/// Each read is made four times before the host learns that it failed, and is made later then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_does_not_answer_for_a_moment_loses_nothing() {
    let far = Far::new();
    let connection = Arc::new(far.test.connect(Fault::Never));
    let world = Arc::new(FarWorld::new(connection.clone()).strict());
    let host = far.test.builder_on(world.clone()).start().await.unwrap();
    for (workflow, call, expected) in
        [("hook", "reserve", json!(32)), ("goes_on", "row", json!(7)), ("child", "row", json!(42))]
    {
        let run = host.run(workflow).id(workflow).input(&0).start().await.unwrap();
        recorded(&far.test, &run, "step_started").await;
        let failed = connection.failed_reads();
        connection.fail_reads(ReadFault::Next(call, 4));
        far.open();
        let fail = async {
            while connection.failed_reads() < failed + 4 {
                tokio::task::yield_now().await;
            }
        };
        in_time("a failure", fail).await;
        assert_eq!(output(&run).await, expected, "{workflow}");
    }
    let run = host.run("signal").id("s").start().await.unwrap();
    far.open();
    recorded(&far.test, &run, "step_completed").await;
    far.test.rests().await;
    connection.fail_reads(ReadFault::Next("inbox", 4));
    run.signal("m", &1).await.unwrap();
    far.test.rests().await;
    host.shutdown().await;
    let connection = Arc::new(far.test.connect(Fault::Never));
    let host = far.test.builder_on(Arc::new(FarWorld::new(connection.clone()).strict())).start().await.unwrap();
    let run = host.get("s").await.unwrap();
    connection.fail_reads(ReadFault::Next("log", 4));
    run.signal("m", &2).await.unwrap();
    assert_eq!(output(&run).await, json!([1, 2]));
    host.shutdown().await;
}
